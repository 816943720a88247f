"""What hospitals describe becomes one agreed table: a table of what fits together, and a sentence for each thing that does not."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from pumasi.deid.agreement import agree
from pumasi.kernel.codes import choices
from pumasi.kernel.envelope import canonical
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import (
    UNTREATED,
    AgreedColumn,
    AgreedTreatedColumn,
    Application,
    Dataset,
    level_order,
    level_text,
    level_value,
    read_agreed,
)

Column = tuple[str | None, str, list[str]]  # kind, spread, levels


def dataset(hospital: str, column: Column | None, *, table: str = "patients", person: str = "patient_no") -> Dataset:
    kind, spread, levels = column or (None, "many", [])
    columns = {"x": {"kind": kind, "spread": spread, "levels": levels}} if column else {}
    return Dataset.read({"hospital": hospital, "smallest_cell": 10, "tables": {table: {"person": person, "columns": columns}}})


def application(rule: dict[str, Any], *, column: str = "x") -> Application:
    return Application.read(
        {
            "title": "t",
            "purpose": "scientific-research",
            "smallest_cell": 10,
            "applicant": "ari@company-a",
            "case": "ca" * 16,
            "tables": {"patients": {"person": "patient_no", "columns": {column: rule}}},
            "kinds": ["table"],
            "hospitals": ["haneul", "bada"],
            "datasets": {},
        }
    )


def agreed(rule: dict[str, Any], *columns: Column) -> AgreedColumn:
    """A column on which nobody has rules."""
    hospitals = ["haneul", "bada", "gang"]
    datasets = [dataset(hospital, column) for hospital, column in zip(hospitals, columns, strict=False)]
    column = agree(application({"is": "plain", **rule}), datasets)["patients"].columns["x"]
    assert isinstance(column, AgreedColumn)
    return column


def reasons(rule: dict[str, Any], *datasets: Dataset) -> list[str]:
    with pytest.raises(Invalid) as refused:
        agree(application({"is": "plain", **rule}), list(datasets))
    return refused.value.reasons


NUMBER: Column = ("number", "many", [])
TWO: Column = ("number", "one-or-two", ["0", "1"])
NONE: Column = (None, "one-or-two", [])
GIVEN = {"levels": ["full", "drowsy"]}

# what the study says, what the hospitals describe -> kind, levels, two-valued
FITS: list[tuple[dict[str, Any], list[Column], str, list[str], bool]] = [
    # text: the union in alphabetical order, or as given
    ({}, [("text", "few", ["b", "a"]), ("text", "few", ["c", "a"])], "text", ["a", "b", "c"], False),
    ({}, [("text", "one-or-two", ["b"]), ("text", "one-or-two", [])], "text", ["b"], False),
    (GIVEN, [("text", "few", ["x"]), ("text", "few", [])], "text", ["full", "drowsy"], False),
    ({"levels": []}, [("text", "few", ["x"])], "text", [], False),
    # numbers: by size, not as text; a measurement anywhere has no levels unless the study gives them
    ({}, [("number", "few", ["10", "9"]), ("number", "few", ["-1", "0.5"])], "number", ["-1", "0.5", "9", "10"], False),
    ({}, [("number", "few", ["1", "2", "3"]), NUMBER], "number", [], False),
    ({}, [TWO, NUMBER], "number", [], False),
    ({"levels": ["2", "1"]}, [NUMBER], "number", ["2", "1"], False),
    ({"levels": ["1.0", "2.50", "1e1"]}, [NUMBER], "number", ["1", "2.5", "10"], False),
    ({}, [("number", "few", ["1"]), ("number", "few", ["1.0"])], "number", ["1"], False),
    # two-valued: numbers, at most two levels in all, and nowhere more than two values
    ({}, [TWO, TWO], "number", ["0", "1"], True),
    ({}, [TWO, ("number", "one-or-two", ["1"])], "number", ["0", "1"], True),
    ({}, [TWO, NONE], "number", ["0", "1"], True),
    ({}, [("number", "one-or-two", ["1"])], "number", ["1"], True),
    ({"levels": ["0", "1"]}, [("number", "one-or-two", [])], "number", ["0", "1"], True),
    ({}, [TWO, ("number", "one-or-two", ["1", "2"])], "number", ["0", "1", "2"], False),
    ({}, [TWO, ("number", "few", ["1"])], "number", ["0", "1"], False),
    ({}, [("number", "one-or-two", [])], "number", [], False),
    ({}, [("text", "one-or-two", ["0", "1"])], "text", ["0", "1"], False),
    # booleans always have both levels
    ({}, [("boolean", "one-or-two", ["True"])], "boolean", ["False", "True"], False),
    ({}, [("boolean", "one-or-two", []), NONE], "boolean", ["False", "True"], False),
    # dates
    ({}, [("date", "many", [])], "date", [], False),
    ({"keep": "year"}, [("date", "many", []), NONE], "number", [], False),
    ({"keep": "year"}, [NONE], "number", [], False),
    # texts that look like numbers or days at some hospital
    ({"levels": ["12", "12A"]}, [("number", "few", ["12"]), ("text", "few", ["12A"])], "text", ["12", "12A"], False),
    ({"levels": ["A", "2020-01-01"]}, [("date", "many", []), ("text", "few", [])], "text", ["A", "2020-01-01"], False),
    # nothing known anywhere
    ({}, [NONE, NONE], "text", [], False),
    ({}, [], "text", [], False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "columns", "kind", "levels", "two_valued"), FITS)
def test_what_fits_together(rule: dict[str, Any], columns: list[Column], kind: str, levels: list[str], two_valued: bool) -> None:
    column = agreed(rule, *columns)
    assert (column.kind, column.levels, column.two_valued) == (kind, levels, two_valued)
    assert (column.is_, column.keep) == ("plain", rule.get("keep"))


@pytest.mark.parametrize(("rule", "columns", "kind", "levels", "two_valued"), FITS)
def test_the_order_of_hospitals_changes_nothing(
    rule: dict[str, Any], columns: list[Column], kind: str, levels: list[str], two_valued: bool
) -> None:
    assert agreed(rule, *columns) == agreed(rule, *reversed(columns))


YEAR = 'patients.x: keep = "year" needs dates (like 1960-05-01) at every hospital; '
MISFITS: list[tuple[dict[str, Any], list[Column], str]] = [
    (
        {},
        [("number", "few", []), ("text", "few", [])],
        "patients.x: the hospitals hold different kinds of value (bada holds text values; haneul holds number values); "
        "correct the files so that they agree, or give levels = [...] in study.toml, of which one is no number, and all count as texts",
    ),
    (
        {},
        [("boolean", "one-or-two", []), ("number", "few", []), ("boolean", "one-or-two", [])],
        "patients.x: the hospitals hold different kinds of value (bada holds number values; gang, haneul hold boolean values); "
        "correct the files so that they agree",
    ),
    ({"keep": "year"}, [("number", "many", [])], f"{YEAR}haneul holds something else"),
    ({"keep": "year"}, [("text", "few", []), ("date", "many", []), ("number", "few", [])], f"{YEAR}gang, haneul hold something else"),
    ({"levels": ["0", "yes"]}, [TWO], "patients.x: the study gives levels that are not numbers, but the hospitals hold numbers"),
    ({"levels": ["nan"]}, [NUMBER], "patients.x: the study gives levels that are not numbers, but the hospitals hold numbers"),
    ({"levels": ["-inf"]}, [NUMBER], "patients.x: the study gives levels that are not numbers, but the hospitals hold numbers"),
    ({"levels": ["1e999"]}, [NUMBER], "patients.x: the study gives levels that are not numbers, but the hospitals hold numbers"),
    ({"levels": ["1", "1.0"]}, [NUMBER], "patients.x: the study gives the same level twice"),
    ({"levels": ["a", "a"]}, [("text", "few", [])], "patients.x: the study gives the same level twice"),
    ({}, [("number", "few", ["a"])], "patients.x: a hospital describes levels that are not numbers, but the hospitals hold numbers"),
    ({}, [("number", "few", ["inf"])], "patients.x: a hospital describes levels that are not numbers, but the hospitals hold numbers"),
]


@pytest.mark.parametrize(("rule", "columns", "sentence"), MISFITS)
def test_what_does_not(rule: dict[str, Any], columns: list[Column], sentence: str) -> None:
    datasets = [dataset(hospital, column) for hospital, column in zip(["haneul", "bada", "gang"], columns, strict=False)]
    assert reasons(rule, *datasets) == [sentence]


MONTH = '{ do = "date", to = "month" }'


def ruled(hospital: str, column: Column, treat: str) -> Dataset:
    kind, spread, levels = column
    columns = {"x": {"kind": kind, "spread": spread, "levels": levels, "treat": treat}}
    table = {"person": "patient_no", "rules": {"name": "kr-pseudonym", "sha256": "0" * 64}, "columns": columns}
    return Dataset.read({"hospital": hospital, "smallest_cell": 10, "tables": {"patients": table}})


def test_a_column_that_is_asked_for_as_it_is_comes_as_all_hospitals_show_it() -> None:
    months: Column = ("text", "few", ["2024-01"])
    column = agree(application({"is": "plain"}), [ruled("haneul", months, MONTH), ruled("bada", months, MONTH)])["patients"].columns["x"]
    assert column == AgreedTreatedColumn.read({"is": "plain", "treat": MONTH, "kind": "text", "levels": ["2024-01"], "two_valued": False})
    kept = agree(application({"is": "plain"}), [ruled("haneul", TWO, UNTREATED), dataset("bada", TWO)])["patients"].columns["x"]
    assert kept == AgreedColumn.read({"is": "plain", "keep": None, "kind": "number", "levels": ["0", "1"], "two_valued": True})
    for one in (kept, column):
        assert read_agreed(one.model_dump(by_alias=True)) == one


def test_hospitals_that_show_a_column_in_different_forms_are_told() -> None:
    told = reasons({}, ruled("haneul", ("text", "few", []), MONTH), dataset("bada", ("date", "many", [])))
    assert told == [
        f"patients.x: the hospitals show it in different forms (bada: {UNTREATED}; haneul: {MONTH}); "
        "ask for one that each of them allows, with treat = …"
    ]


def test_a_study_may_ask_for_a_form_of_its_own() -> None:
    rule = {"is": "plain", "treat": MONTH, "kind": "text", "levels": ["2024-02", "2024-01"]}
    datasets = [dataset("haneul", ("date", "many", [])), ruled("bada", ("text", "many", []), MONTH)]
    column = agree(application(rule), datasets)["patients"].columns["x"]
    assert column == AgreedTreatedColumn.read({**rule, "two_valued": False})


def test_the_year_may_be_asked_of_what_a_hospital_shows_as_a_year() -> None:
    years: Column = ("number", "many", [])
    datasets = [ruled("haneul", years, '{ do = "date", to = "year" }'), dataset("bada", ("date", "many", []))]
    assert agree(application({"is": "plain", "keep": "year"}), datasets)["patients"].columns["x"].kind == "number"


def test_missing_tables_and_columns_are_all_named() -> None:
    told = reasons({}, dataset("haneul", TWO, table="people"), dataset("bada", None), dataset("gang", TWO, person="id"))
    assert told == [
        "haneul describes no table 'patients'; ask it to add the table to node.toml, or leave it out of the study",
        "gang identifies people in 'patients' by another column than 'patient_no'",
        "bada has no column 'x' in 'patients' that a study may use (missing from the file, or an identifier there); "
        "correct the file or leave the column out of study.toml",
    ]


def test_of_hundreds_of_hospitals_the_first_few_are_named() -> None:
    hundreds = [dataset(f"hospital-{number:03}", None if number % 2 else TWO) for number in range(467)]
    (told,) = reasons({}, *hundreds)
    assert told.startswith(
        "hospital-001, hospital-003, hospital-005, hospital-007, hospital-009 and 228 others have no column 'x' in 'patients' that a study"
    )
    (told,) = reasons({}, dataset("bada", ("text", "few", [])), *(dataset(f"h{number}", ("number", "few", [])) for number in range(300)))
    assert "(bada holds text values; h0, h1, h10, h100, h101 and 295 others hold number values)" in told


@pytest.mark.parametrize(("rule", "column"), [({"is": "identifier"}, "x"), ({"is": "plain"}, "patient_no")])
def test_identifiers_and_the_person_are_never_agreed(rule: dict[str, Any], column: str) -> None:
    assert agree(application(rule, column=column), [dataset("haneul", TWO)])["patients"].columns == {}


def test_a_table_without_any_column_that_fits_is_refused_once() -> None:
    assert len(reasons({}, dataset("haneul", None))) == 1


def test_an_agreed_column_is_never_an_identifier() -> None:
    with pytest.raises(Invalid):
        AgreedColumn.read({"is": "identifier", "keep": None, "kind": "text", "levels": [], "two_valued": False})


def test_an_application_travels_as_it_was_written() -> None:
    asked = application({"is": "quasi", "keep": "year"})
    assert asked.plain()["tables"] == {
        "patients": {"person": "patient_no", "columns": {"x": {"is": "quasi", "keep": "year", "levels": None}}}
    }
    assert Application.read(asked.plain()) == asked


@pytest.mark.parametrize(
    "rule", [{}, {"is": "secret"}, {"is": "plain", "keep": "month"}, {"is_": "plain"}, {"is": "plain", "keeps": "year"}]
)
def test_unknown_words_about_a_column_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        application(rule)
    assert all(reason.startswith("Application: tables.patients.columns.x") for reason in refused.value.reasons)


LEVELS: list[tuple[float, str, int | float]] = [
    (1.0, "1", 1), (-1.0, "-1", -1), (-0.0, "0", 0), (0.5, "0.5", 0.5), (1e15, "1000000000000000", 10**15),
    (2.0**53, "9007199254740992.0", 2.0**53), (1e300, "1e+300", 1e300), (1e-7, "1e-07", 1e-7),
]  # fmt: skip


@pytest.mark.parametrize(("number", "text", "value"), LEVELS)
def test_numbers_as_levels(number: float, text: str, value: int | float) -> None:
    assert level_text(number) == text
    assert level_value(text, "number") == value and type(level_value(text, "number")) is type(value)
    assert canonical(level_value(text, "number"))


def test_what_is_no_number_is_still_written() -> None:
    assert [level_text(odd) for odd in (float("inf"), float("-inf"), float("nan"))] == ["inf", "-inf", "nan"]


@pytest.mark.parametrize(
    ("level", "kind", "value"),
    [("True", "boolean", True), ("False", "boolean", False), ("1", "text", "1"), ("2020-01-01", "date", "2020-01-01")],
)
def test_levels_of_other_kinds(level: str, kind: Any, value: object) -> None:
    assert level_value(level, kind) == value and type(level_value(level, kind)) is type(value)


def test_numbers_by_size_and_text_as_text() -> None:
    levels = ["10", "9", "-1"]
    assert sorted(levels, key=level_order("number")) == ["-1", "9", "10"]
    assert sorted(levels, key=level_order("text")) == ["-1", "10", "9"]


def test_a_closed_list_can_be_told() -> None:
    assert choices(Literal["a", "b"]) == "a, b"
