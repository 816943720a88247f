"""study.toml: whatever a researcher writes in the fixed format is read as written, and every mistake is named with its key and line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.client.studyfile import StudyFile, read, read_to_run
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import level_text

STUDY = """\
title = "Death within 14 days of a stroke"
purpose = "scientific-research"
smallest_cell = 10

[tables.patients]
person = "patient_no"
[tables.patients.columns]
name       = { is = "identifier" }
birth_date = { is = "quasi", keep = "year" }
age        = { is = "quasi" }
aspirin    = { is = "plain" }
conscious  = { is = "plain", levels = ["full", "drowsy", "unconscious"] }
death14    = { is = "sensitive" }

[[analysis]]
name = "who was treated"
kind = "table"
table = "patients"
by = ["aspirin", "conscious"]

[[analysis]]
name = "baseline"
kind = "describe"
table = "patients"
columns = ["age", "aspirin"]

[[analysis]]
name = "death14 model"
kind = "glm"
family = "binomial"
table = "patients"
formula = "death14 ~ aspirin + age + conscious"
"""


def written(text: str | bytes) -> Path:
    path = Path(tempfile.mkdtemp()) / "study.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(Invalid) as invalid:
        read(written(text))
    return [reason.partition("study.toml")[2].lstrip(", ") for reason in invalid.value.reasons]


# --- what is right

names = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters='"\\'), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and text.isprintable()
)
plain = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
levels = st.lists(
    st.one_of(names, st.integers(-(10**6), 10**6), st.booleans(), st.floats(-1e6, 1e6, allow_nan=False)),
    min_size=1, max_size=4, unique_by=lambda level: _text(level),
)  # fmt: skip


def _text(level: Any) -> str:
    if isinstance(level, bool):
        return str(level)
    return level if isinstance(level, str) else level_text(float(level))


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    tables = {}
    for table in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        columns: dict[str, Any] = {}
        for column in draw(st.lists(plain, min_size=1, max_size=5, unique=True)):
            columns[column] = {"is": draw(st.sampled_from(["quasi", "sensitive", "plain"]))}
            if draw(st.booleans()):
                columns[column]["keep"] = "year"
            if draw(st.booleans()):
                columns[column]["levels"] = draw(levels)
        for column in draw(st.lists(names, max_size=2, unique=True)):
            columns.setdefault(column, {"is": "identifier"})
        tables[table] = {"person": draw(names.filter(lambda name, columns=columns: name not in columns)), "columns": columns}
    analyses = []
    for name in draw(st.lists(names, max_size=4, unique=True)):
        table = draw(st.sampled_from(sorted(tables)))
        usable = [column for column, rule in tables[table]["columns"].items() if rule["is"] != "identifier"]
        kind = draw(st.sampled_from(["table", "describe", "glm"]))
        analysis: dict[str, Any] = {"name": name, "kind": kind, "table": table}
        if kind == "glm":
            family = draw(st.sampled_from(["gaussian", "binomial", "poisson"]))
            analysis |= {"family": family, "formula": f"{usable[0]} ~ {' + '.join(usable[1:]) or '1'}"}
        else:
            most = 2 if kind == "table" else len(usable)
            analysis["by" if kind == "table" else "columns"] = draw(st.permutations(usable))[: draw(st.integers(1, most))]
        analyses.append(analysis)
    return {
        "title": draw(names), "purpose": draw(st.sampled_from(["scientific-research", "statistics", "education"])),
        "smallest_cell": draw(st.integers(1, 1000)), "tables": tables, "analysis": analyses,
    }  # fmt: skip


def value(one: Any) -> str:
    if isinstance(one, bool):
        return str(one).lower()
    if isinstance(one, dict):
        return "{ " + ", ".join(f"{key} = {value(inner)}" for key, inner in one.items()) + " }"
    if isinstance(one, list):
        return "[" + ", ".join(map(value, one)) + "]"
    return json.dumps(one, ensure_ascii=False) if isinstance(one, str) else repr(one)


def toml(study: dict[str, Any], *, sections: bool) -> str:
    """The study as a file; with `sections` each column as a section of its own instead of inline."""
    lines = [f"{key} = {value(study[key])}" for key in ("title", "purpose", "smallest_cell")]
    for name, table in study["tables"].items():
        lines += ["", f"[tables.{value(name)}]  # a table", f"person = {value(table['person'])}"]
        if not sections:
            lines.append(f"[tables.{value(name)}.columns]")
        for column, rule in table["columns"].items():
            if sections:
                lines += [f"[tables.{value(name)}.columns.{value(column)}]", *(f"{key} = {value(one)}" for key, one in rule.items())]
            else:
                lines.append(f"{value(column)} = {value(rule)}")
    for analysis in study["analysis"]:
        lines += ["", "[[analysis]]", *(f"{key} = {value(one)}" for key, one in analysis.items())]
    return "\n".join(lines) + "\n"


@settings(max_examples=40, deadline=None)
@given(studies(), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_study_is_read_as_it_was_written(study: dict[str, Any], sections: bool, newline: str, mark: bool) -> None:
    found = read(written(("\ufeff" if mark else "") + toml(study, sections=sections).replace("\n", newline)))
    assert isinstance(found, StudyFile)
    assert (found.title, found.purpose, found.smallest_cell) == (study["title"], study["purpose"], study["smallest_cell"])
    assert found.analyses == study["analysis"] and found.kinds == sorted({analysis["kind"] for analysis in study["analysis"]})
    assert found.tables.keys() == study["tables"].keys()
    for name, table in study["tables"].items():
        assert found.tables[name].person == table["person"] and list(found.tables[name].columns) == list(table["columns"])
        for column, rule in table["columns"].items():
            read_rule = found.tables[name].columns[column]
            wanted = [_text(level) for level in rule["levels"]] if "levels" in rule else None
            assert (read_rule.is_, read_rule.keep, read_rule.levels) == (rule["is"], rule.get("keep"), wanted)


@settings(max_examples=40, deadline=None)
@given(studies(), st.data())
def test_an_unknown_key_is_named_with_its_line_at_every_level(study: dict[str, Any], data: st.DataObject) -> None:
    lines = toml(study, sections=True).splitlines()
    heads = [0] + [number + 1 for number, line in enumerate(lines) if line.startswith("[")]
    at = data.draw(st.sampled_from(heads))
    lines.insert(at, "colour = 1")
    told = mistakes("\n".join(lines))
    assert [reason for reason in told if reason.startswith(f"line {at + 1}: unknown key 'colour'; known here are")]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_else_is_in_the_file_ends_in_sentences(data: bytes) -> None:
    assert mistakes(data)


scalars = st.one_of(
    st.integers(), st.booleans(), st.text(max_size=5), st.floats(), st.lists(st.integers() | st.text(max_size=3), max_size=2)
)
anything = st.one_of(scalars, st.dictionaries(plain, scalars, max_size=2))


@settings(max_examples=60, deadline=None)
@given(studies().filter(lambda study: study["analysis"]), st.data())
def test_a_value_of_any_other_type_anywhere_ends_in_sentences(study: dict[str, Any], data: st.DataObject) -> None:
    """Never in a traceback; and if it is read all the same, it was a value that fits."""
    places: list[tuple[dict[str, Any], str]] = [(study, key) for key in ("title", "purpose", "smallest_cell")]
    for table in study["tables"].values():
        places += [(table, "person"), *((rule, key) for rule in table["columns"].values() for key in rule)]
        places += [(table["columns"], column) for column in table["columns"]]
    places += [(analysis, key) for analysis in study["analysis"] for key in analysis]
    inside, key = data.draw(st.sampled_from(places))
    inside[key] = data.draw(anything)
    text = toml_of(study)
    try:
        read(written(text))
    except Invalid as invalid:
        assert all("study.toml" in reason for reason in invalid.reasons)


def toml_of(study: dict[str, Any]) -> str:
    def one(inner: Any) -> str:
        if isinstance(inner, float):
            return repr(inner).replace("inf", "inf") if inner == inner else "nan"
        if isinstance(inner, str):
            return '"' + "".join(char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in inner) + '"'
        if isinstance(inner, dict):
            return "{ " + ", ".join(f"{one(key)} = {one(value)}" for key, value in inner.items()) + " }"
        return (
            "[" + ", ".join(map(one, inner)) + "]"
            if isinstance(inner, list)
            else str(inner).lower()
            if isinstance(inner, bool)
            else str(inner)
        )

    lines = [f"{key} = {one(study[key])}" for key in ("title", "purpose", "smallest_cell")]
    lines += [f"tables = {one(study['tables'])}"]
    for analysis in study["analysis"]:
        lines += ["[[analysis]]", *(f"{key} = {one(inner)}" for key, inner in analysis.items())]
    return "\n".join(lines) + "\n"


# --- each mistake


def test_the_study_in_the_documentation_is_one() -> None:
    study = read_to_run(written(STUDY))
    assert study.kinds == ["describe", "glm", "table"] and study.tables["patients"].columns["conscious"].levels == [
        "full",
        "drowsy",
        "unconscious",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('title = "Death within 14 days of a stroke"\n', "", 1, "the key 'title' is missing"),
        ('title = "Death within 14 days of a stroke"', "title = 5", 1, "'title' must be a text in quotes"),
        ('title = "Death within 14 days of a stroke"', 'title = "  "', 1, "'title' must be a text in quotes"),
        ('title = "Death within 14 days of a stroke"', 'title = "two\\nlines"', 1, "'title' is one printable line"),
        ('"scientific-research"', '"curiosity"', 2, "the purpose is not one of scientific-research"),
        ('"scientific-research"', "[1]", 2, "'purpose' must be a text in quotes"),
        ("smallest_cell = 10", "smallest_cell = 0", 3, "smallest_cell is at least 1"),
        ("smallest_cell = 10", "smallest_cell = true", 3, "'smallest_cell' must be a whole number"),
        ("smallest_cell = 10", "smallest_cell = 10.0", 3, "'smallest_cell' must be a whole number"),
        ('person = "patient_no"\n', "", 5, "the key 'person' is missing"),
        ('person = "patient_no"', 'person = " no"', 6, "'person' is one printable line"),
        ("[tables.patients.columns]", '[tables.patients.columns]\n" x" = { is = "plain" }', 8, "the name of a column is one printable"),
        ("[tables.patients.columns]", '[tables.patients.columns]\n"" = { is = "plain" }', 8, "the name of a column is one printable line"),
        ('{ is = "identifier" }', '{ is = "secret" }', 8, "'is' is not one of identifier, quasi"),
        ('{ is = "identifier" }', "{}", 8, "the key 'is' is missing"),
        ('{ is = "identifier" }', '"identifier"', 8, "this is a section of keys"),
        ('keep = "year"', 'keep = "month"', 9, "'keep' is not one of year"),
        ('keep = "year"', "keep = 1", 9, "'keep' must be a text in quotes"),
        ('["full", "drowsy", "unconscious"]', "[]", 12, "'levels' lists texts, numbers or true and false"),
        ('["full", "drowsy", "unconscious"]', '["full", "full"]', 12, "'levels' lists"),
        ('["full", "drowsy", "unconscious"]', '["1", 1]', 12, "'levels' lists"),
        ('["full", "drowsy", "unconscious"]', '[" full"]', 12, "'levels' lists"),
        ('["full", "drowsy", "unconscious"]', '["a\\tb"]', 12, "'levels' lists"),
        ('["full", "drowsy", "unconscious"]', "[[1]]", 12, "'levels' lists"),
        ('["full", "drowsy", "unconscious"]', '"full"', 12, "'levels' must be a list in brackets"),
        ('kind = "table"', 'kind = "survival"', 17, "the kind of an analysis is one of count, describe, table, table1"),
        ('kind = "table"', 'kind = "tabel"', 17, "there is no kind 'tabel'; did you mean 'table'? The kind of an analysis is one of count"),
        ('by = ["aspirin", "conscious"]', 'by = ["Asprin"]', 19, "; did you mean 'aspirin'? There are "),
        ('kind = "table"', 'kind = ["table"]', 17, "the kind of an analysis is one of"),
        ('name = "who was treated"\n', "", 15, "the key 'name' is missing"),
        ('table = "patients"\nby', 'table = "visits"\nby', 18, "there is no section [tables.visits]"),
        ('by = ["aspirin", "conscious"]', "by = []", 19, "'by' must be a list of columns, each once and at least one"),
        ('by = ["aspirin", "conscious"]', 'by = ["aspirin", "aspirin"]', 19, "'by' must be a list of columns, each once"),
        ('by = ["aspirin", "conscious"]', "by = [1]", 19, "'by' must be a list of columns"),
        ('by = ["aspirin", "conscious"]', 'by = ["height"]', 19, "'height' is not a column that the study may use in 'patients'"),
        ('by = ["aspirin", "conscious"]', 'by = ["name"]', 19, "'name' is not a column that the study may use"),
        ('by = ["aspirin", "conscious"]', 'by = ["patient_no"]', 19, "'patient_no' is not a column"),
        ('name = "baseline"', 'name = "who was treated"', None, "two analyses are called 'who was treated'"),
        ('columns = ["age", "aspirin"]', 'by = ["age"]', 25, "unknown key 'by'; known here are name, kind, table, columns"),
        ('family = "binomial"', 'family = "weibull"', 30, "'family' must be one of gaussian, binomial, poisson, gamma"),
        ("death14 ~ aspirin + age", "death14 ~ asprin + age", 32, "'asprin' is not a column"),
        ("death14 ~ aspirin + age", "death14 ~ name + age", 32, "'name' is not a column"),
    ],
)  # fmt: skip
def test_each_mistake_names_its_key_and_line(old: str, new: str, line: int | None, told: str) -> None:
    assert STUDY.count(old) >= 1
    found = mistakes(STUDY.replace(old, new, 1))
    where = f"line {line}: " if line else ""
    assert any(reason.startswith(where) and told in reason for reason in found), found


def test_all_mistakes_are_told_at_once() -> None:
    text = STUDY.replace("smallest_cell = 10", "smallest_cell = 0").replace('"scientific-research"', '"x"').replace('"binomial"', '"y"')
    assert [reason.partition(":")[0] for reason in mistakes(text)] == ["line 2", "line 3", "line 30"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the key 'title' is missing"),
        (b"title = ", "is not valid TOML"),
        (STUDY.replace("stroke", "뇌졸중").encode("cp949"), "is not UTF-8 text; save it as UTF-8"),
        (STUDY.encode("utf-16"), "is not UTF-8 text"),
        (STUDY.partition("[tables")[0].encode() + b"tables = 5\n", "'tables' must be a section"),
        (STUDY.partition("[tables")[0].encode() + b"[tables]\n", "a study uses at least one table"),
        (STUDY.partition("[tables")[0].encode() + b"analysis = 5\n", "'analysis' must be a list"),
        (STUDY.partition("[tables")[0].encode() + b"tables = { a = 5 }\nanalysis = [5]\n", "this is a section of keys"),
    ],
)
def test_a_file_that_is_none_says_so(data: bytes, told: str) -> None:
    assert any(told in reason for reason in mistakes(data))


def test_a_file_that_is_not_there_or_asks_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no study file at"):
        read(tmp_path / "study.toml")
    path = written(STUDY.partition("[[analysis]]")[0])
    assert read(path).analyses == []
    with pytest.raises(Invalid, match="asks nothing"):
        read_to_run(path)


def test_the_condition_of_a_table_holds_for_each_of_its_analyses(tmp_path: Path) -> None:
    both = STUDY.replace('person = "patient_no"', 'person = "patient_no"\nwhere = "age > 1 OR age < 9"', 1)
    both = both.replace('by = ["aspirin", "conscious"]', 'by = ["aspirin", "conscious"]\nwhere = "aspirin = 1"', 1)
    file = tmp_path / "study.toml"
    file.write_text(both + META, encoding="utf-8")
    found = {analysis["kind"]: analysis.get("where") for analysis in read(file).analyses}
    assert found["table"] == "(age > 1 OR age < 9) AND (aspirin = 1)"
    assert found["describe"] == "age > 1 OR age < 9"
    assert found["meta"] is None  # that of its model


META = """
[[analysis]]
name = "over hospitals"
kind = "meta"
table = "patients"
analysis = "death14 model"
term = "age"
"""
