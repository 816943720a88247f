"""`pumasi deid table`: every treatment, what joins and what does not, and that a run is whole or nothing."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from pumasi.cli import app
from pumasi.deid import keys, reading, table
from pumasi.kernel.errors import Invalid, PumasiError, Refused

TODAY = date(2026, 1, 1)
Row = dict[str, Any]


def treat(
    folder: Path, columns: dict[str, list[Any]], rules: str, *, key: str | None = None, out: str = "out.parquet", source: str = "in.csv"
) -> list[Row]:
    """The treated rows of a small table that is given column by column."""
    path = folder / source
    path.parent.mkdir(exist_ok=True)
    with duckdb.connect() as made:
        made.execute("CREATE TABLE t (" + ", ".join(f'"{name}" VARCHAR' for name in columns) + ")")
        made.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(columns))})", list(zip(*columns.values(), strict=True)))
        made.execute(f"COPY t TO '{path}' ({'FORMAT parquet' if path.suffix == '.parquet' else 'HEADER'})")
    (folder / "rules.toml").write_text(rules, encoding="utf-8")
    table.pseudonymise(str(path), rules=str(folder / "rules.toml"), out=str(folder / out), key=folder / key if key else None, today=TODAY)
    return rows(folder / out)


def rows(path: Path | str) -> list[Row]:
    with reading.read(path) as found:
        cursor = found.connection.execute(f"SELECT * FROM ({found.sql})")
        names = [one[0] for one in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def treated(folder: Path, values: list[Any], step: str, **more: Any) -> dict[Any, Any]:
    """What becomes of each value of one column; a number in another column says which is which."""
    columns = {"n": [str(number) for number in range(len(values))], "x": values}
    found = treat(folder, columns, f'[columns]\nn = "keep"\nx = {step}\n', **more)
    by_number = {int(row["n"]): row.get("x") for row in found}
    return {value: by_number[number] for number, value in enumerate(values)}


def reasons(action: Callable[[], object], kind: type[PumasiError] = Invalid) -> str:
    with pytest.raises(kind) as refused:
        action()
    return "; ".join(refused.value.reasons)


# --- treatments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ('"keep"', {"a": "a", " b ": " b ", None: None, "NA": "NA"}),
        ('{ do = "date", to = "year" }', {"2024-03-05": 2024, "20240305": 2024, "2024년 3월 5일": 2024, "2024.03.05": 2024, "NA": None}),
        ('{ do = "date", to = "year" }', {"1999-07": 1999, "2024": 2024, "2024-03-05T10:11:12+09:00": 2024, "25/12/2024": 2024}),
        ('{ do = "date", to = "year", at = "today", top = 90 }', {"1900-05-01": 1936, "1936-01-01": 1936, "1937-01-01": 1937}),
        ('{ do = "date", to = "quarter" }', {"2024-03-05": "2024-Q1", "20241231": "2024-Q4"}),
        ('{ do = "date", to = "month" }', {"2024-03-05": "2024-03", "2024년 11월": "2024-11"}),
        (
            '{ do = "date", to = "age", at = "2024-03-05" }',
            {"1990-03-05": "34", "1990-03-06": "33", "1934-03-05": "90+", "1934-03-06": "89", "2025-01-01": None},
        ),
        ('{ do = "age", width = 5, top = 90 }', {"0": "0-4", "34": "30-34", "35.9": "35-39", "89": "85-89", "90": "90+", "90+": "90+"}),
        ('{ do = "age" }', {"7": "7", "89": "89", "104": "90+"}),
        ('{ do = "bucket", width = 10 }', {"0": "[0, 10)", "9.99": "[0, 10)", "10": "[10, 20)", "-1": "[-10, 0)", "1,234": "[1230, 1240)"}),
        ('{ do = "bucket", width = 0.5, from = 0.25 }', {"0.3": "[0.25, 0.75)", "0.75": "[0.75, 1.25)"}),
        ('{ do = "bucket", width = 0.1 }', {"0.3": "[0.3, 0.4)", "0.29": "[0.2, 0.3)", "-0.7": "[-0.7, -0.6)", "1.1": "[1.1, 1.2)"}),
        ('{ do = "bucket", width = 0.1, from = 0.05 }', {"0.35": "[0.35, 0.45)", "1000000.15": "[1000000.15, 1000000.25)"}),
        ('{ do = "round", to = 0.1 }', {"0.15": Decimal("0.2"), "-0.15": Decimal("-0.2"), "0.149": Decimal("0.1"), "1": 1}),
        ('{ do = "bucket", edges = [18, 65] }', {"17": "<18", "18": "[18, 65)", "65": ">=65", None: None}),
        ('{ do = "round", to = 5 }', {"12": 10, "13": 15, "-13": -15, "nan": None}),
        ('{ do = "limit", low = 130, high = 200 }', {"120": 130, "151.5": 151.5, "215": 200, None: None}),
        ('{ do = "generalise", by = "age", level = "10" }', {"34": "30-39", "91": "90+"}),
        ('{ do = "generalise", by = "age", level = "20" }', {"34": "20-39", "79": "60-79", "81": "80+", "101": "80+"}),
        (
            '{ do = "generalise", by = "zip", level = "zip3" }',
            {"02139": "021", "2139": "021", "02139-1234": "021", "03601": "000", "89301": "000", "K1A 0B1": None},
        ),
        (
            '{ do = "generalise", by = "kr-address", level = "district" }',
            {
                "서울특별시 종로구 세종대로 209": "서울특별시 종로구",
                "서울  종로구, 세종로": "서울특별시 종로구",
                "경기 수원시 영통구 1": "경기도 수원시",
                "강원도 평창군 대관령면": "강원특별자치도 평창군",
                "세종특별자치시 한누리대로 2130": "세종특별자치시",
                "종로구 세종대로": None,
                "서울 홍길동": "서울특별시",
            },
        ),
        ('{ do = "generalise", by = "kr-address", level = "province" }', {"제주도 서귀포시 중문동": "제주특별자치도", "Seoul": None}),
        ('{ do = "generalise", by = "kr-code", level = "district" }', {"1111010100": "11110", "41117": "41117", "999": None}),
        ('{ do = "generalise", by = "kr-postcode", level = "province" }', {"03154": "03", "3154": None}),
        ('{ do = "generalise", by = "kcd", level = "category" }', {"E11.90": "E11", "e119": "E11", "hello": None}),
        (
            '{ do = "generalise", by = "icd10", level = "chapter" }',
            {"I10": "I00-I99", "C61": "C00-D49", "D50.0": "D50-D89", "S72.0": "S00-T98"},
        ),
        (
            '{ do = "generalise", by = "kcd", level = "block" }',
            {
                "E11.90": "E10-E14",
                "b20": "B20-B24",
                "A91": "A90-A99",
                "C7A.0": "C00-D49",
                "U98": "U00-U99",
                "Y09": "X85-Y09",
                "hello": None,
            },
        ),
        ('{ do = "generalise", by = "atc", level = "therapeutic" }', {"C09AA05": "C09", "c09": "C09", "C0": None}),
        (
            '{ do = "withhold", codes = ["F", "B20"], as = "withheld" }',
            {"F20.0": "withheld", "b20.1": "withheld", "E11": "E11", None: None},
        ),
        ('{ do = "only", values = ["A", "B"] }', {"A": "A", " B ": "B", "C": None}),
        ('[{ do = "date", to = "year" }, { do = "limit", low = 1950 }]', {"1932-02-02": 1950, "1951-01-01": 1951}),
    ],
)
@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
def test_a_treatment_as_its_words_promise(tmp_path: Path, step: str, expected: dict[Any, Any], source: str) -> None:
    assert treated(tmp_path, list(expected), step, source=source) == expected


@pytest.mark.parametrize(
    "step", ['{ do = "date", to = "year" }', '{ do = "bucket", width = 10 }', '{ do = "generalise", by = "atc", level = "therapeutic" }']
)
def test_treating_each_different_value_once_changes_nothing(tmp_path: Path, step: str) -> None:
    """A column with few different values goes another way through the engine than one with many."""
    few = {
        "date": ["2024-03-05", "20231224", " 1999-01-01 ", "NA"],
        "bucket": ["5", "17.5", "1,200", "NULL"],
        "generalise": ["C09AA05", "b01", "?"],
    }
    values = next(found for name, found in few.items() if name in step)
    alone = treated(tmp_path, values, step)
    many = treat(
        tmp_path,
        {"n": [str(n) for n in range(4000)], "x": [values[n % len(values)] for n in range(4000)]},
        f'[columns]\nn="keep"\nx={step}\n',
    )
    assert {values[int(row["n"]) % len(values)]: row["x"] for row in many} == alone
    assert len(many) == 4000


def test_typed_columns_of_parquet_are_treated_by_what_they_hold(tmp_path: Path) -> None:
    with duckdb.connect() as made:
        made.execute(
            "COPY (SELECT 7 AS person_id, DATE '2024-03-05' AS seen, 20240305 AS day, 71.26 AS kg, "
            "TIMESTAMP '1990-05-05 10:00:00' AS born, true AS ok) "
            f"TO '{tmp_path}/t.parquet'"
        )
    rules = (
        'person = ["person_id"]\n[columns]\nperson_id = { do = "pseudonym", of = "person", format = "number" }\n'
        'day = { do = "date", to = "month" }\n'
        'seen = { do = "date", to = "quarter" }\nkg = { do = "round", to = 0.5 }\nborn = { do = "date", to = "year" }\nok = "keep"\n'
    )
    (tmp_path / "rules.toml").write_text(rules)
    table.pseudonymise(f"{tmp_path}/t.parquet", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o.parquet")
    (row,) = rows(tmp_path / "o.parquet")
    assert (row["seen"], row["day"], float(row["kg"]), row["born"], row["ok"]) == ("2024-Q1", "2024-03", 71.5, 1990, True)
    assert isinstance(row["person_id"], int) and 0 <= row["person_id"] < 2**63


def test_a_csv_hierarchy_is_climbed_and_has_to_know_every_value(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("의사;의료;*\n간호사;의료;*\n교사;교육;*\n", encoding="utf-8")
    step = '{ do = "generalise", by = "jobs.csv", level = 1 }'
    assert treated(tmp_path, ["의사", "교사", None], step) == {"의사": "의료", "교사": "교육", None: None}
    told = reasons(lambda: treated(tmp_path, ["의사", "판사"], step))
    assert "values that its hierarchy" in told and "written like aa" in told and "판사" not in told


def test_rare_levels_are_counted_in_people(tmp_path: Path) -> None:
    columns = {"person_id": list("aaabbccd"), "x": ["many"] * 3 + ["two", "many", "two", "many", "one"]}
    rules = 'person = ["person_id"]\n[columns]\nperson_id = "drop"\nx = { do = "rare", fewer_than = 3, as = "other" }\n'
    assert sorted(row["x"] for row in treat(tmp_path, columns, rules)) == ["many"] * 5 + ["other"] * 3


def test_rare_levels_of_many_columns_are_counted_each_for_itself(tmp_path: Path) -> None:
    """More than are counted together, listed, and joined: few and many levels, with steps before."""
    columns = {"p": [f"{n % 90}" for n in range(180)]}
    columns |= {f"few{c}": [f"{c}-{n % 90 % (c + 2)}" for n in range(180)] for c in range(10)}
    columns |= {f"many{c}": [f"{c}-{n % 90 if n % 90 > 20 + c else 'x'}" for n in range(180)] for c in range(42)}
    columns |= {"cut": [f"E{n % 90 % 30:02}.{n % 9}" for n in range(180)]}
    rare = '{ do = "rare", fewer_than = 21, as = "other" }'
    rules = f'person = ["p"]\n[columns]\np = "keep"\n"few*" = {rare}\n"many*" = {rare}\n'
    found = treat(tmp_path, columns, rules + f'cut = [{{ do = "generalise", by = "icd10", level = "chapter" }}, {rare}]\n')
    for name, given in columns.items():
        people: dict[str, set[str]] = {}
        for person, level in zip(columns["p"], given, strict=True):
            people.setdefault("E00-E90" if name == "cut" else level, set()).add(person)
        shown = {level for level, whose in people.items() if len(whose) >= 21}
        expected = sorted(columns["p"]) if name == "p" else sorted(level if level in shown else "other" for level in given)
        if name != "cut":
            assert sorted(row[name] for row in found) == expected, name
    assert len({row["cut"] for row in found}) == 1 and found[0]["cut"] != "other"


def test_a_table_of_many_columns_is_treated_in_little_memory(tmp_path: Path) -> None:
    names = [f"v{number}" for number in range(160)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(names), *[",".join(["a", "b", "c", "d"] * 40)] * 20]), encoding="utf-8")
    (tmp_path / "rules.toml").write_text('[columns]\n"v*" = { do = "rare", fewer_than = 2 }\n', encoding="utf-8")
    done = table.pseudonymise(f"{tmp_path}/t.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o.parquet", memory_mb=700)
    assert (done.tables[0].rows, len(done.tables[0].treated.columns)) == (20, 160)


def test_noise_is_of_the_size_asked_for_and_belongs_to_the_key(tmp_path: Path) -> None:
    columns = {"n": [str(n) for n in range(4000)], "x": ["100"] * 4000}
    for kind, deviation in (("normal", 10.0), ("uniform", 10 / 3**0.5), ("laplace", 10 * 2**0.5)):
        rules = f'[columns]\nn = "keep"\nx = {{ do = "noise", kind = "{kind}", scale = 10, to = 0.1 }}\n'
        first, again, other = (
            [float(row["x"]) for row in sorted(treat(tmp_path, columns, rules, key=key), key=lambda row: int(row["n"]))]
            for key in ("a.key", "a.key", "b.key")
        )
        assert first == again != other
        mean = sum(first) / len(first)
        spread = (sum((one - mean) ** 2 for one in first) / len(first)) ** 0.5
        assert abs(mean - 100) < 5 * deviation / 4000**0.5
        assert abs(spread - deviation) < 0.1 * deviation


# --- pseudonyms and shifted dates -------------------------------------------------------------------------------------

PEOPLE = 'person = ["person_id"]\n[columns]\nperson_id = { do = "pseudonym", of = "person" }\nday = "shift"\nn = "keep"\n'
VISITS = {
    "person_id": ["0012", " 0012", "0013", "0014", "0013"],
    "day": ["2024-03-05", "2024년 3월 25일", "20240305", "9999-12-31", "2024.12.31"],
    "n": list("01234"),
}


def by_number(found: list[Row]) -> list[Row]:
    return sorted(found, key=lambda row: str(row["n"]))


def test_a_pseudonym_is_hmac_sha256_of_the_id_under_a_key_of_its_kind(tmp_path: Path) -> None:
    found = by_number(treat(tmp_path, VISITS, PEOPLE, key="a.key"))
    secret = bytes.fromhex((tmp_path / "a.key").read_text())
    key = hmac.digest(secret, b"pumasi deid 1 pseudonym person", "sha256")
    assert found[0]["person_id"] == hmac.digest(key, b"0012", "sha256").hex()[:32] == found[1]["person_id"]
    assert len({row["person_id"] for row in found}) == 3
    assert keys.pseudonyms(["0012"], key) == [found[0]["person_id"]]


def test_dates_of_a_person_keep_their_distance_and_none_stays_where_it_was(tmp_path: Path) -> None:
    for number in range(20):
        found = by_number(treat(tmp_path, VISITS, PEOPLE, key=f"{number}.key"))
        moved = [(row["day"] - date(2024, 3, 5)).days for row in found[:3]]
        assert moved[1] - moved[0] == 20
        assert all(1 <= abs(days) <= 365 for days in (moved[0], moved[2]))
        assert (found[4]["day"] - found[2]["day"]).days == (date(2024, 12, 31) - date(2024, 3, 5)).days
        assert found[3]["day"] == date(9999, 12, 31)  # a placeholder is nobody's date, and moved it would tell how far


def test_a_date_that_stands_for_something_else_does_not_tell_how_far_the_others_moved(tmp_path: Path) -> None:
    written = ["9999-12-31", "1900-01-01", "8888-08-08", "9999-01-01", "1111-11-11", "2204-05-06", "2024-05-06"]
    columns = {"n": [str(number) for number in range(len(written))], "person_id": ["P1"] * len(written), "day": written}
    rules = 'person = ["person_id"]\n[columns]\nn = "keep"\nperson_id = "drop"\nday = "shift"\n'
    shown = [str(row["day"]) for row in by_number(treat(tmp_path, columns, rules))]
    assert shown[:-1] == ["9999-12-31", "1900-01-01", "8888-01-01", "9999-01-01", "1111-01-01", "2204-01-01"]
    assert shown[-1] != written[-1]


def test_dates_may_keep_their_day_of_the_week_and_their_time(tmp_path: Path) -> None:
    columns = {"person_id": ["a", "b"], "at": ["2024-03-05 10:11:12", "20240306"]}
    rules = 'person = ["person_id"]\n[shift]\nweekday = true\n[columns]\nperson_id = "drop"\nat = { do = "shift", time = true }\n'
    first, second = sorted((row["at"] for row in treat(tmp_path, columns, rules)), key=lambda at: at.weekday())
    assert (first.weekday(), first.strftime("%H:%M:%S"), second.weekday()) == (1, "10:11:12", 2)


def test_one_person_has_one_pseudonym_and_one_shift_in_all_tables(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "visits.csv").write_text("person_id,day\n7,2024-01-01\n8,2024-01-01\n")
    duckdb.sql("SELECT 7 AS person_id, DATE '2024-02-01' AS day, 'x' AS drug").write_parquet(str(folder / "drugs.parquet"))
    (tmp_path / "rules.toml").write_text(PEOPLE + 'drug = "keep"\n')
    table.pseudonymise(str(folder), rules=str(tmp_path / "rules.toml"), out=str(tmp_path / "out"))
    (drug,) = rows(tmp_path / "out" / "drugs.parquet")
    visit = next(row for row in rows(tmp_path / "out" / "visits.parquet") if row["person_id"] == drug["person_id"])
    assert (drug["day"] - visit["day"]).days == 31


def test_ids_of_different_kinds_never_share_a_pseudonym(tmp_path: Path) -> None:
    rules = '[columns]\na = { do = "pseudonym", of = "person" }\nb = { do = "pseudonym", of = "provider" }\n'
    (row,) = treat(tmp_path, {"a": ["1"], "b": ["1"]}, rules)
    assert row["a"] != row["b"]


def test_a_pseudonym_may_keep_the_shape_of_the_id(tmp_path: Path) -> None:
    ids = [f"SN-{number:07d}" for number in range(500)]
    found = treated(tmp_path, ids, '{ do = "pseudonym", of = "person", format = "same" }')
    assert all(len(new) == 10 and new[2] == "-" and new[:2].isupper() and new[3:].isdigit() for new in found.values())
    assert len(set(found.values())) == 500 and sum(old == new for old, new in found.items()) < 2


@pytest.mark.parametrize(("ids", "told"), [(["12345"], "could be guessed"), (["홍길동1234567"], "letters other than a-z")])
def test_a_shape_that_would_give_the_id_away_is_refused(tmp_path: Path, ids: list[str], told: str) -> None:
    step = '{ do = "pseudonym", of = "person", format = "same" }'
    assert told in reasons(lambda: treated(tmp_path, ids, step), Refused)
    assert not (tmp_path / "out.parquet").exists()


# --- two permits ------------------------------------------------------------------------------------------------------


def many(people: int = 300) -> dict[str, list[Any]]:
    """One row for each person, in the order of their ids, all alike in what is shown."""
    return {"person_id": [f"P{n:05d}" for n in range(people)], "day": ["2024-03-05"] * people, "n": ["0"] * people}


def test_extracts_of_two_permits_cannot_be_joined_by_pseudonym_shift_or_order(tmp_path: Path) -> None:
    columns = many()
    secrets = []
    extracts = []
    for key in ("a.key", "b.key"):
        extracts.append(treat(tmp_path, columns, PEOPLE, key=key))
        secrets.append(keys.in_file(tmp_path / key))
    one, two = ([row["person_id"] for row in extract] for extract in extracts)
    assert not set(one) & set(two)
    truth = []
    for secret in secrets:
        pseudonyms = keys.pseudonyms(columns["person_id"], secret.of("pseudonym person"))
        truth.append({pseudonym: person for pseudonym, person in zip(pseudonyms, columns["person_id"], strict=True)})
    order = [[known[pseudonym] for pseudonym in extract] for known, extract in zip(truth, (one, two), strict=True)]
    assert sorted(order[0]) == sorted(order[1]) == columns["person_id"]
    assert sum(a == b for a, b in zip(*order, strict=True)) < 12  # by chance about one row stands at the same place
    assert sum(a == b for a, b in zip(order[0], columns["person_id"], strict=True)) < 12
    days = [{known[row["person_id"]]: row["day"] for row in extract} for known, extract in zip(truth, extracts, strict=True)]
    assert sum(days[0][person] == days[1][person] for person in columns["person_id"]) < 12


def test_rows_are_not_grouped_by_person_where_the_pseudonym_is_not_shown(tmp_path: Path) -> None:
    columns = {"person_id": [f"{n // 20}" for n in range(2000)], "x": [f"{n}" for n in range(2000)]}
    found = treat(tmp_path, columns, 'person = ["person_id"]\n[columns]\nperson_id = "drop"\nx = "keep"\n')
    neighbours = sum(int(a["x"]) // 20 == int(b["x"]) // 20 for a, b in itertools.pairwise(found))
    assert len(found) == 2000 and neighbours < 60  # by chance 19 of 1,999


@pytest.mark.parametrize("out", ["out.parquet", "out.csv"])
def test_the_same_key_gives_the_same_bytes(tmp_path: Path, out: str) -> None:
    digests = []
    for _ in range(2):
        treat(tmp_path, many(), PEOPLE, key="a.key", out=out)
        digests.append(hashlib.sha256((tmp_path / out).read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("out", ["out.parquet", "out.csv"])
def test_zeros_of_either_sign_are_shown_alike_whatever_the_order_of_the_rows(tmp_path: Path, out: str) -> None:
    (tmp_path / "rules.toml").write_text('[columns]\nx = "keep"\ny = "keep"\n', encoding="utf-8")
    written = set()
    for order in ("n", "-n"):
        with duckdb.connect(str(tmp_path / "in.duckdb")) as made:
            zero = "CAST(CASE WHEN n % 2 = 0 THEN '0' ELSE '-0.0' END AS {})"
            columns = f"{zero.format('DOUBLE')} AS x, {zero.format('FLOAT')} AS y"
            made.execute(f"CREATE OR REPLACE TABLE t AS SELECT {columns} FROM range(60) r(n) ORDER BY {order}")
        table.pseudonymise(f"{tmp_path / 'in.duckdb'}::t", rules=str(tmp_path / "rules.toml"), out=str(tmp_path / out))
        written.add((tmp_path / out).read_bytes())
    assert len(written) == 1


# --- identifiers in columns that are shown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "planted", ["880503-1234567", "231225-4****** 신생아", "010-1234-5678", "call +82 10 1234 5678", "(010) 1234-5678", "<hong@naver.com>"]
)
@pytest.mark.parametrize("rule", ['"keep"', '{ do = "rare", fewer_than = 2 }', '{ do = "withhold", codes = ["F"] }'])
def test_an_identifier_in_a_column_that_is_shown_stops_the_run(tmp_path: Path, planted: str, rule: str) -> None:
    columns = {"부서": ["내과", planted] * 3}
    with pytest.raises(Invalid, match="looks like a registration number") as told:
        treat(tmp_path, columns, f'[columns]\n"부서" = {rule}\n')
    assert planted not in str(told.value) and not (tmp_path / "out.parquet").exists()


def test_what_somebody_has_seen_to_be_no_identifier_is_shown(tmp_path: Path) -> None:
    told = ["240103-1000123"] * 3
    assert treated(tmp_path, told, '{ do = "keep", checked = true }') == {told[0]: told[0]}
    assert treated(tmp_path, told, '[{ do = "withhold", codes = ["F"] }, { do = "rare", fewer_than = 2, checked = true }]') == {
        told[0]: told[0]
    }


@pytest.mark.parametrize(
    "honest", ["2024-01-03 10:11:12", "1.2.840.10008.5.1", "00071-0155-23", "2345-7", "a @ b", "120/80 mmHg", "240103-0000123"]
)
def test_what_only_begins_like_an_identifier_is_kept(tmp_path: Path, honest: str) -> None:
    assert treated(tmp_path, [honest], '"keep"') == {honest: honest}


def test_a_header_that_is_a_row_of_data_is_refused_without_being_quoted(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="column 2 holds what looks like a resident registration number") as told:
        treat(tmp_path, {"a": ["1"], "880503-1234568": ["2"]}, 'unknown = "drop"\n[columns]\na = "keep"\n')
    assert "880503" not in str(told.value)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_made_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    first = treat(tmp_path, many(5), PEOPLE, key="a.key")
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert treat(tmp_path, many(5), PEOPLE, key="a.key") == first
    assert treat(tmp_path, many(5), PEOPLE) != first


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    treat(tmp_path, many(5), PEOPLE, key="a.key")
    (tmp_path / "a.key").chmod(0o640)
    assert "others on this machine may read the key" in reasons(lambda: treat(tmp_path, many(5), PEOPLE, key="a.key"), Refused)


@pytest.mark.parametrize("written", ["", "abc", "zz" * 32, "00" * 31])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "a.key").write_text(written)
    (tmp_path / "a.key").chmod(0o600)
    assert "64 hexadecimal digits" in reasons(lambda: treat(tmp_path, many(5), PEOPLE, key="a.key"))


def test_a_key_never_lies_beside_the_treated_tables(tmp_path: Path) -> None:
    treat(tmp_path, many(5), PEOPLE)
    assert "keep them apart" in reasons(
        lambda: table.pseudonymise(f"{tmp_path}/in.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o", key=tmp_path / "o" / "a.key"),
        Refused,
    )


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "values", "told"),
    [
        ('{ do = "date", to = "year" }', ["2024-03-05", "03/05/2024"], "no dates, or could be two different days"),
        ('{ do = "date", to = "year" }', ["550505"], "written like 999999"),
        ('{ do = "date", to = "year" }', ["2024-02-30"], "no dates"),
        ('{ do = "date", to = "month" }', ["2024"], "no dates"),
        ('{ do = "round", to = 5 }', ["12", "twelve"], "values that are no numbers (1 row, written like aaaaaa)"),
        ('{ do = "round", to = 5 }', ["inf"], "no numbers"),
        ('{ do = "age" }', ["34", "340"], "ages below 0 or above 130"),
        ('"shift"', ["2024-03-05"], "has no person column"),
        ('[{ do = "round", to = 5 }, { do = "pseudonym", of = "x" }]', ["5"], "let it be the first step"),
    ],
)
@pytest.mark.parametrize("copies", [1, 300])
def test_a_value_that_is_not_understood_is_a_sentence_and_nothing_is_written(
    tmp_path: Path, step: str, values: list[str], told: str, copies: int
) -> None:
    many_values = (
        [f"{number % 40 + 1}" if "round" in step or "age" in step else "2023-05-05" for number in range(copies * 4)] if copies > 1 else []
    )
    columns = {"n": [str(n) for n in range(len(many_values) + len(values))], "x": many_values + values}
    found = reasons(lambda: treat(tmp_path, columns, f'[columns]\nn = "keep"\nx = {step}\n', key="a.key"))
    assert told.replace("1 row,", "1 different value,") in found or told in found
    assert "03/05" not in found and "twelve" not in found
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.csv", "rules.toml"]


def test_a_missing_person_is_refused_or_left_out_as_the_rules_say(tmp_path: Path) -> None:
    columns = {"person_id": ["a", None, " ", "b"], "day": ["2024-01-01"] * 4, "n": list("0123")}
    told = reasons(lambda: treat(tmp_path, columns, PEOPLE))
    assert "the person column 'person_id' has no value" in told and "(2 rows)" in told
    assert [row["n"] for row in by_number(treat(tmp_path, columns, 'without_person = "drop"\n' + PEOPLE))] == ["0", "3"]


def test_unknown_columns_are_named_all_at_once(tmp_path: Path) -> None:
    told = reasons(lambda: treat(tmp_path, {"a": ["1"], "b": ["1"], "c": ["1"]}, '[columns]\na = "keep"\n'))
    assert "know nothing of 'b', 'c'" in told
    assert treat(tmp_path, {"a": ["1"], "b": ["1"]}, 'unknown = "drop"\n[columns]\na = "keep"\n') == [{"a": "1"}]


def test_every_fault_of_every_table_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("day,z\n2024-01-01,1\n")
    (tmp_path / "rules.toml").write_text('[columns]\nx = "keep"\nday = "shift"\nz = "keep"\n')
    told = reasons(lambda: table.pseudonymise(str(folder), rules=str(tmp_path / "rules.toml"), out=str(tmp_path / "o")))
    assert "know nothing of 'y'" in told and "no person column" in told


def test_nested_and_long_values_are_refused(tmp_path: Path) -> None:
    duckdb.sql("SELECT {'a': 1} AS s, repeat('x', 1000001) AS x").write_parquet(str(tmp_path / "t.parquet"))
    for rule, told in (('s = "keep"\nx = "drop"', "nested values"), ('s = "drop"\nx = "keep"', "longer than a megabyte")):
        (tmp_path / "rules.toml").write_text(f"[columns]\n{rule}\n")
        assert told in reasons(
            lambda: table.pseudonymise(f"{tmp_path}/t.parquet", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o.parquet")
        )


@pytest.mark.parametrize("out", ["in.csv", "./in.csv"])
def test_the_original_is_never_overwritten(tmp_path: Path, out: str) -> None:
    treat(tmp_path, many(5), PEOPLE)
    assert "original would be overwritten" in reasons(
        lambda: table.pseudonymise(f"{tmp_path}/in.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/{out}"), Refused
    )


def test_a_name_for_another_kind_of_file_is_no_folder(tmp_path: Path) -> None:
    treat(tmp_path, many(5), PEOPLE)
    told = reasons(lambda: table.pseudonymise(f"{tmp_path}/in.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o.xlsx"))
    assert "written as .csv, .parquet" in told


@pytest.mark.parametrize("name", ["thesis.doc", "originals.csv"])
def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path, name: str) -> None:
    treat(tmp_path, many(5), PEOPLE)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / name).write_text("years of work")
    assert "other things than these tables" in reasons(
        lambda: table.pseudonymise(f"{tmp_path}/in.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/o"), Refused
    )


def test_no_result_is_written_over_what_is_read_or_over_another(tmp_path: Path) -> None:
    treat(tmp_path, many(5), PEOPLE, key="a.key", source="o/in.csv")
    given = {one: (tmp_path / one).read_bytes() for one in ("o/in.csv", "rules.toml", "a.key")}
    (tmp_path / "second.csv").hardlink_to(tmp_path / "o" / "in.csv")
    (tmp_path / "link.toml").symlink_to(tmp_path / "rules.toml")
    start = ["deid", "table", f"{tmp_path}/o/in.csv", "--rules", f"{tmp_path}/rules.toml", "--key", f"{tmp_path}/a.key"]
    for told, out, *more in (
        ("lies in this folder", "o"),
        ("overwritten", "second.csv"),
        ("overwritten", "x.csv", "--json", "o/in.csv"),
        ("overwritten", "x.csv", "--json", "link.toml"),
        ("overwritten", "x.csv", "--report", "a.key"),
        ("two results", "x.csv", "--report", "x.csv"),
        ("two results", "x.csv", "--report", "r.html", "--json", "r.html"),
        ("replaced as a whole", "x", "--json", "x/done.json"),
    ):
        (tmp_path / "x").mkdir(exist_ok=True)
        places = [one if one.startswith("--") else f"{tmp_path}/{one}" for one in more]
        done = CliRunner().invoke(app, [*start, "--out", f"{tmp_path}/{out}", *places])
        assert isinstance(done.exception, Refused) and told in str(done.exception), (out, more, done.exception)
    for command in (["suggest", "--out", "o/in.csv"], ["suggest", "--out", "s.toml", "--json", "o/in.csv"]):
        places = [one if one.startswith("--") else f"{tmp_path}/{one}" for one in command[1:]]
        assert isinstance(CliRunner().invoke(app, ["deid", command[0], f"{tmp_path}/o/in.csv", *places]).exception, Refused)
    assert {one: (tmp_path / one).read_bytes() for one in given} == given
    assert not (tmp_path / "x.csv").exists()


def test_a_report_that_cannot_be_made_is_told_before_anything_is_written(tmp_path: Path) -> None:
    treat(tmp_path, many(5), PEOPLE)
    start = ["deid", "table", f"{tmp_path}/in.csv", "--rules", f"{tmp_path}/rules.toml", "--out", f"{tmp_path}/x.csv"]
    done = CliRunner().invoke(app, [*start, "--report", f"{tmp_path}/r.html", "--quasi", "nothing"])
    assert isinstance(done.exception, Invalid) and "does not show" in str(done.exception)
    assert not (tmp_path / "x.csv").exists()


# --- databases --------------------------------------------------------------------------------------------------------


def test_from_one_duckdb_file_to_another(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as made:
        made.execute("CREATE TABLE visits AS SELECT 7 AS person_id, DATE '2024-01-01' AS day, 1 AS n")
    (tmp_path / "rules.toml").write_text(PEOPLE)
    for _ in range(2):
        done = table.pseudonymise(f"{tmp_path}/a.duckdb::visits", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/b.duckdb::shown")
    assert done.tables[0].rows == 1
    (row,) = rows(f"{tmp_path}/b.duckdb::shown")
    assert len(row["person_id"]) == 32


def test_a_database_is_left_as_it_was_when_a_run_fails(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("person_id,day,n\n1,2024-01-01,1\n2,garbage,2\n")
    (tmp_path / "rules.toml").write_text(PEOPLE)
    assert "no dates" in reasons(
        lambda: table.pseudonymise(f"{tmp_path}/t.csv", rules=f"{tmp_path}/rules.toml", out=f"{tmp_path}/b.duckdb::shown")
    )
    assert not (tmp_path / "b.duckdb").exists()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_record_and_a_report(tmp_path: Path) -> None:
    lines = [f"{n:05d},홍길동,{1940 + n % 60}-05-05,{'남여'[n % 2]},서울특별시 종로구 {n},2024-03-05" for n in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["환자번호,성명,생년월일,성별,주소,내원일", *lines]), encoding="cp949")
    command = ["deid", "table", f"{tmp_path}/t.csv", "--rules", "kr-pseudonym", "--out", f"{tmp_path}/o.csv", "--key", f"{tmp_path}/a.key"]
    ran = CliRunner().invoke(app, [*command, "--json", f"{tmp_path}/o.json", "--report", f"{tmp_path}/o.html"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    record = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert (record["rows"], record["key"], record["rules"]["name"]) == (200, "made", "kr-pseudonym")
    assert record["tables"]["t"]["columns"]["성명"]["treatment"] == '"drop"'
    assert record["risk"]["average_risk"] < record["risk"]["before"]["average_risk"]
    assert "홍길동" not in (tmp_path / "o.csv").read_text(encoding="utf-8") + (tmp_path / "o.html").read_text(encoding="utf-8")


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_remove(tmp_path: Path) -> None:
    with duckdb.connect() as made:
        made.execute(
            f"COPY (SELECT i AS person_id, DATE '2024-01-01' AS day, i AS n FROM range(1000000) AS t(i)) TO '{tmp_path}/t.csv' (HEADER)"
        )
    (tmp_path / "rules.toml").write_text(PEOPLE)
    command = [
        sys.executable,
        "-m",
        "pumasi.cli",
        "deid",
        "table",
        "t.csv",
        "--rules",
        "rules.toml",
        "--out",
        "o.parquet",
        "--key",
        "a.key",
    ]
    for how in (signal.SIGKILL, signal.SIGINT):
        running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        while running.poll() is None and not (tmp_path / f".o.parquet.{running.pid}.part").exists():
            time.sleep(0.01)
        os.kill(running.pid, how)
        running.communicate(timeout=60)
        assert not (tmp_path / "o.parquet").exists()
        assert running.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "a.key").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_stays_as_it_was_when_a_run_for_it_is_killed_between_two_tables(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with duckdb.connect() as made:
        for name, rows_of in (("a", 1000), ("b", 500_000)):
            columns = f"i AS person_id, DATE '2024-01-01' AS day, i AS n{', 1 AS more' if name == 'b' else ''}"
            made.execute(f"COPY (SELECT {columns} FROM range({rows_of}) AS t(i)) TO '{tmp_path}/in/{name}.csv' (HEADER)")
    (tmp_path / "rules.toml").write_text(PEOPLE + 'more = "keep"\n')
    source, rules, out, key = (str(tmp_path / name) for name in ("in", "rules.toml", "out", "a.key"))
    table.pseudonymise(source, rules=rules, out=out, key=Path(key))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    words = ["deid", "table", "in", "--rules", "rules.toml", "--out", "out", "--key", "a.key"]
    running = subprocess.Popen([sys.executable, "-m", "pumasi.cli", *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    part = tmp_path / f".out.{running.pid}.part"
    while running.poll() is None and len(list(part.glob("*.csv"))) < 2:
        time.sleep(0.01)
    running.kill()
    running.wait(timeout=60)
    assert part.is_dir() and {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    table.pseudonymise(source, rules=rules, out=out, key=Path(key))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not list(tmp_path.glob(".*"))
