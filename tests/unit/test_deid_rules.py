"""Rule files: how a column finds its rule, what is wrong with a file, when one is as tight as another, and what the built-in ones cover."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import date
from pathlib import Path

import pytest

from pumasi.deid import keys, reading, rulefile, table, tightness, treatments
from pumasi.kernel.errors import Invalid, NotFound

DATA = Path(__file__).parents[3] / "shared" / "data"


def load(folder: Path, text: str, name: str = "mine.toml") -> rulefile.Rules:
    (folder / name).write_text(text, encoding="utf-8")
    return rulefile.load(folder / name)


def reasons(folder: Path, text: str) -> str:
    with pytest.raises(Invalid) as refused:
        load(folder, text)
    return "\n".join(refused.value.reasons)


def step_of(rules: rulefile.Rules, table: str, column: str, kind: str | None = None) -> str | None:
    rule = rules.rule_of(table, column, kind)
    return None if rule is None else treatments.told(rule.steps)


def test_the_most_particular_rule_wins(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        '[columns]\nname = "drop"\n"*_code" = "keep"\n"icd_*_code" = { do = "withhold", codes = ["F"] }\n'
        '[tables.Drug]\nname = "keep"\n"a*" = "drop"\n[types]\ndate = { do = "date", to = "year" }\n',
    )
    assert step_of(rules, "drug", "NAME") == '"keep"'
    assert step_of(rules, "person", "Name") == '"drop"'
    assert step_of(rules, "drug", "atc_code") == '"drop"'
    assert step_of(rules, "person", "atc_code") == '"keep"'
    assert step_of(rules, "person", "icd_main_code") == '{ do = "withhold", codes = ["F"] }'
    assert step_of(rules, "person", "seen", "date") == '{ do = "date", to = "year" }'
    assert step_of(rules, "person", "seen", "text") is None


def test_a_file_extends_others_and_has_the_last_word(tmp_path: Path) -> None:
    load(tmp_path, 'person = ["pid"]\n[shift]\ndays = 100\n[columns]\na = "drop"\nb = "drop"\n', "base.toml")
    rules = load(tmp_path, 'extends = "base.toml"\nperson = ["ptno"]\n[columns]\na = "keep"\n')
    assert (step_of(rules, "t", "a"), step_of(rules, "t", "b")) == ('"keep"', '"drop"')
    assert (rules.person, rules.shift.days, rules.sources) == (("ptno", "pid"), 100, ("base.toml", "mine.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[columns", "this is no TOML"),
        ('colums = "x"', "there is no setting 'colums'"),
        ('unknown = "keep"', '\'unknown\' is "refuse" or "drop"'),
        ('[columns]\na = "kep"', "there is no treatment 'kep'"),
        ('[columns]\na = { do = "round", by = 5 }', "'round' has no parameter 'by'"),
        ('[columns]\na = { do = "round", by = 5 }', "'round' needs 'to'"),
        ('[columns]\na = { do = "bucket", width = 5, edges = [1, 2] }', "either 'width' or 'edges'"),
        ('[columns]\na = { do = "bucket", edges = [2, 1] }', "is rising numbers"),
        ('[columns]\na = { do = "age", width = 7 }', "a multiple of 'width'"),
        ('[columns]\na = { do = "date", to = "age" }', "an age needs 'at'"),
        ('[columns]\na = { do = "generalise", by = "zip", level = "zip9" }', "the levels of 'zip' are zip3"),
        ('[columns]\na = { do = "generalise", by = "moon", level = 1 }', "there is no hierarchy 'moon'"),
        ('[columns]\na = ["drop", "keep"]', "stand alone"),
        ("[columns]\na = []", "the list of steps is empty"),
        ("[columns]\na = 5", "a treatment is a word"),
        ('[columns]\n"*" = "keep"', "nobody has looked at"),
        ('[types]\ntext = "keep"', "keep columns by name"),
        ('[types]\nnumbers = "drop"', "[types] knows"),
        ('[columns]\nA = "keep"\na = "drop"', "names 'a' twice"),
        ("[shift]\ndays = 3", "from 30 to 3650"),
        ('[shift]\nlandmarks = ["yesterday"]', "dates like 9999-12-31"),
        ("person = 5", "'person' is a list"),
        ('extends = "mine.toml"', "extends itself"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    assert told in reasons(tmp_path, text)


def test_all_faults_of_a_file_come_at_once(tmp_path: Path) -> None:
    assert len(reasons(tmp_path, '[columns]\na = "kep"\nb = { do = "round" }\n[types]\ntext = "keep"\n').splitlines()) == 3


def test_two_patterns_that_disagree_are_refused_for_the_column_they_meet_in(tmp_path: Path) -> None:
    rules = load(tmp_path, '[columns]\n"*date" = "drop"\n"last*" = "keep"\n')
    with pytest.raises(Invalid, match="disagree"):
        rules.rule_of("t", "last_date")


def test_a_name_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(NotFound, match=r"hipaa-limited, hipaa-safe-harbor, kr-linked, kr-pseudonym, nhis-nsc, omop-5\.4"):
        rulefile.load("hippa")


# --- at least as tight ------------------------------------------------------------------------------------------------

A = (
    'person = ["pid"]\n[columns]\npid = { do = "pseudonym", of = "person" }\nx = { do = "round", to = 5 }\n'
    '"*date" = "shift"\nsecret = "drop"\n'
)


@pytest.mark.parametrize(
    "change",
    [
        '[columns]\nx = { do = "round", to = 15 }\n',
        '[columns]\nx = [{ do = "round", to = 5 }, { do = "round", to = 10 }]\n',
        '[columns]\nx = "drop"\n',
        '[columns]\nx = [{ do = "round", to = 5 }, { do = "limit", high = 100 }]\n',
        '[columns]\nx_date = "drop"\n"birth*" = "drop"\n',
        'unknown = "drop"\n',
        "[shift]\ndays = 1000\n",
    ],
)
def test_rules_that_hide_more_are_as_tight(tmp_path: Path, change: str) -> None:
    a = load(tmp_path, A, "a.toml")
    assert tightness.looser(load(tmp_path, f'extends = "a.toml"\n{change}', "b.toml"), a) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('[columns]\nx = { do = "round", to = 1 }\n', "not as tight"),
        ('[columns]\nx = { do = "round", to = 7 }\n', "not as tight"),
        ('[columns]\nx = { do = "round", to = 10 }\n', "not as tight"),  # parts 3 and 7, which rounding to 5 joins
        ('[columns]\nx = [{ do = "withhold", codes = ["1"] }, { do = "round", to = 5 }]\n', "not as tight"),
        ('[columns]\nx = "keep"\n', "not as tight"),
        ('[columns]\nsecret = { do = "date", to = "year" }\n', "not as tight"),
        ('[columns]\nnew = { do = "date", to = "year" }\n', "knows nothing"),
        ('[columns]\n"birth*date" = "keep"\n', "not as tight"),
        ('[columns]\n"birth*" = "keep"\n', "not as tight"),
        ('[columns]\n"birth*" = "shift"\n', "knows nothing"),  # of birth_place
        ('[columns]\nx_date = { do = "shift", time = true }\n', "not as tight"),
        ('[tables.visits]\nx = "keep"\n', "'x' of 'visits'"),
        ('[types]\ndate = { do = "date", to = "year" }\n', "columns of type date"),
        ('[columns]\npid = { do = "pseudonym", of = "person", format = "same" }\n', "not as tight"),
        ("[shift]\ndays = 60\n", "moves dates less"),
        ('[shift]\nlandmarks = ["2024-03-05"]\n', "different landmarks"),
        ("[shift]\nlandmarks = []\n", "different landmarks"),  # 9999-12-31 would move, and tell how far
        ('person = ["other"]\n', "different columns"),
        ('without_person = "drop"\n', "in silence"),
    ],
)
def test_rules_that_show_more_are_not(tmp_path: Path, change: str, told: str) -> None:
    a = load(tmp_path, A, "a.toml")
    found = tightness.looser(load(tmp_path, f'extends = "a.toml"\n{change}', "b.toml"), a)
    assert any(told in one for one in found), found


def test_a_file_that_forgets_a_name_may_not_show_it_by_its_type(tmp_path: Path) -> None:
    types = '[types]\ndate = { do = "date", to = "year" }\n'
    a = load(tmp_path, f'[columns]\nsecret = "drop"\n{types}', "a.toml")
    assert any("'secret'" in one for one in tightness.looser(load(tmp_path, types, "b.toml"), a))


@pytest.mark.parametrize(("b", "a"), [("kr-linked", "kr-pseudonym"), ("hipaa-safe-harbor", "hipaa-limited")])
def test_built_in_files_in_order_of_tightness(b: str, a: str) -> None:
    assert tightness.looser(rulefile.load(b), rulefile.load(a)) == []
    assert tightness.looser(rulefile.load(a), rulefile.load(b)) != []


@pytest.mark.parametrize("name", rulefile.names())
def test_every_file_is_as_tight_as_itself_and_says_its_sources(name: str) -> None:
    rules = rulefile.load(name)
    assert tightness.looser(rules, rules) == []
    text = (rulefile.FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert re.search("[가-힣]", text) and re.search(r"^source = ", text, re.MULTILINE)
    assert rules.unknown == "refuse"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("*date", "birth*", True),
        ("a*b", "a?c", False),
        ("a*", "b*", False),
        ("*", "", True),
        ("a?c", "ab*", True),
        ("*_dt", "*_date", False),
    ],
)
def test_whether_a_name_can_match_both_patterns(one: str, other: str, expected: bool) -> None:
    assert tightness.overlap(one, other) == tightness.overlap(other, one) == expected


# --- what the built-in files cover ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["5.3", "5.4"])
def test_every_field_of_the_omop_cdm_is_decided(version: str) -> None:
    checks = DATA / "suites" / "omop-dqd-checks.zip"
    if not checks.is_file():
        pytest.skip("the field list of the OHDSI DataQualityDashboard is not at ../shared/data")
    with zipfile.ZipFile(checks) as packed:
        text = packed.read(f"OMOP_CDMv{version}_Field_Level.csv").decode("utf-8-sig")
    rules = rulefile.load("omop-5.4")
    fields = [(row["cdmTableName"], row["cdmFieldName"], row["cdmDatatype"].lower()) for row in csv.DictReader(io.StringIO(text))]
    assert len(fields) > 300
    open_fields = [(name, field) for name, field, _ in fields if rules.rule_of(name, field) is None]
    assert open_fields == []
    for name, field, kind in fields:
        if "varchar(max)" in kind or field.lower().endswith(("source_value", "_text", "value_as_string")):
            assert step_of(rules, name, field) == '"drop"', (name, field)


def test_an_omop_database_goes_through_whole_and_stays_joined(tmp_path: Path) -> None:
    source = DATA / "omop-synthea27nj" / "Synthea27Nj_5.4.zip"
    if not source.is_file():
        pytest.skip("the synthetic OMOP database Synthea27Nj is not at ../shared/data")
    (tmp_path / "in").mkdir()
    wanted = ("PERSON", "VISIT_OCCURRENCE", "CONDITION_OCCURRENCE", "DEATH", "LOCATION", "NOTE", "COST")
    with zipfile.ZipFile(source) as packed:
        for name in wanted:
            (tmp_path / "in" / f"{name}.csv").write_bytes(packed.read(f"{name}.csv"))
    done = table.pseudonymise(
        str(tmp_path / "in"), rules="omop-5.4", out=str(tmp_path / "out"), key=tmp_path / "a.key", today=date(2026, 1, 1)
    )
    assert done.empty == ("NOTE",)

    def both(query: str) -> list[list[tuple[object, ...]]]:
        found = []
        for folder in ("in", "out"):
            with reading.engine.connection() as connection:
                for name in wanted[:4]:
                    connection.execute(f"CREATE VIEW {name} AS FROM read_csv('{tmp_path}/{folder}/{name}.csv')")
                found.append(sorted(connection.execute(query).fetchall(), key=str))
        return found

    joined = "FROM condition_occurrence c JOIN visit_occurrence v USING (visit_occurrence_id) JOIN person p ON p.person_id = c.person_id"
    before, after = both(
        f"SELECT condition_concept_id, gender_concept_id, CAST(condition_start_date AS DATE) - CAST(visit_start_date AS DATE) {joined}"
    )
    assert before == after and len(before) > 100  # joins and intervals are what they were
    before, after = both("SELECT person_id, CAST(visit_start_date AS DATE) FROM visit_occurrence")
    assert not set(before) & set(after)
    secret = keys.in_file(tmp_path / "a.key")
    assert secret.kept == "found"


def test_the_nhis_cohort_columns_that_its_etl_names_are_decided() -> None:
    script = DATA / "nhis-nsc-schema" / "130.Measurement.sql"
    if not script.is_file():
        pytest.skip("the ETL of the NHIS sample cohort is not at ../shared/data")
    listed = re.search(r"unpivot \(meas_value for meas_type in \((.*?)\)\)", script.read_text(encoding="utf-8"), re.DOTALL)
    assert listed is not None
    columns = [one.strip() for one in re.sub("--.*", "", listed[1]).split(",")]
    rules = rulefile.load("nhis-nsc")
    assert len(columns) > 40
    assert rules.undecided("gj", (*columns, "person_id", "hchk_year", "KEY_SEQ", "RECU_FR_DT", "MAIN_SICK", "STND_Y", "SGG")) == []
