"""Results as text line up and read like a paper's tables; as tidy CSV every number is in a row of its own."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import printed
from pumasi.analysis.printed import layout, tidy
from tests.analysis_rounds import answered, split

LEVELS = {"성별": ["남", "여"], "ward": ["x", "y"], "died": ["0", "1"]}


def people(rows: int = 600) -> pd.DataFrame:
    chance = np.random.default_rng(51)
    table = pd.DataFrame({"성별": chance.choice(["남", "여"], rows), "ward": chance.choice(["x", "y"], rows)})
    table["age"] = chance.normal(60, 12, rows)
    table["bmi"] = chance.normal(25, 4, rows)
    table["risk"] = chance.uniform(0.05, 0.95, rows)
    table["died"] = (chance.random(rows) < table["risk"]).astype(float)
    table.loc[:30, "age"] = np.nan
    return table


PEOPLE = people()
NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?")
ASKED: list[dict[str, Any]] = [
    {"kind": "count"},
    {"kind": "describe", "columns": ["age", "ward"]},
    {"kind": "table", "by": ["성별"]},
    {"kind": "table", "by": ["ward", "성별", "died"]},
    {"kind": "table1", "by": "성별", "columns": ["age", "ward"]},
    {"kind": "table1", "columns": ["age", "ward"]},
    {"kind": "histogram", "column": "age", "edges": [30, 50, 60, 70, 90]},
    {"kind": "quantiles", "columns": ["age", "bmi"], "q": [0.01, 0.5]},
    {"kind": "correlation", "columns": ["age", "bmi", "risk"]},
    {"kind": "ttest", "column": "age", "by": "성별"},
    {"kind": "anova", "column": "age", "by": "ward"},
    {"kind": "roc", "score": "risk", "outcome": "died"},
    {"kind": "calibration", "score": "risk", "outcome": "died"},
    {"kind": "brier", "score": "risk", "outcome": "died"},
]


def result(asked: dict[str, Any]) -> dict[str, Any]:
    found = {"name": "이름", "table": "t", **asked, "hospitals": ["a", "b", "c"], **answered(asked, split(PEOPLE, 3), LEVELS)}
    return {key: value for key, value in found.items() if key != "said"}


def without(value: Any) -> Any:
    """The same with every number left out but those that the question gave."""
    if isinstance(value, dict):
        given = ("q", "from", "to", "threshold", "level", "died")
        return {key: inner if key in given else without(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without(inner) for inner in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked['kind']}{len(asked)}")
def test_a_text_lines_up_and_csv_has_every_number(asked: dict[str, Any]) -> None:
    found = result(asked)
    text = printed.text(found).splitlines()
    assert text[0].startswith("이름: ") and " people at 3 hospitals" in text[1]
    assert not any(line != line.rstrip() for line in text) and "None" not in "\n".join(text)
    for at, line in enumerate(text):
        if set(line) == {"-"} and asked["kind"] != "histogram":
            assert layout.width(text[at - 1]) <= len(line) and layout.width(text[at + 1]) <= len(line)
    rows = list(csv.DictReader(io.StringIO(tidy.text(found))))
    assert rows and all(row["analysis"] == "이름" and row["kind"] == asked["kind"] for row in rows)
    told = {float(value) for row in rows for value in row.values() if NUMBER.fullmatch(value)}
    keys = ("estimates",) if "estimates" in found else ("columns", "bins", "pairs")
    assert set(numbers([found.get(key) for key in keys])) <= told


@pytest.mark.parametrize("asked", [one for one in ASKED if one["kind"] not in ("roc", "calibration", "brier")], ids=lambda one: one["kind"])
def test_numbers_that_are_left_out_are_dashes_with_a_note(asked: dict[str, Any]) -> None:
    found = result(asked)
    kept = {key: found[key] for key in ("name", "kind", "by", "hospitals", "edges") if key in found}
    gone = {**without({key: value for key, value in found.items() if key not in kept}), **kept}
    text = printed.text(gone)
    assert layout.LEFT_OUT in text and layout.NOTE in text and "None" not in text
    assert tidy.rows(gone)


def test_refusals_and_findings_are_told() -> None:
    refused = {"name": "a", "kind": "glm", "refused": ["too few people", "a flat column"], "reasons": ["smallest-cell", "constant-column"]}
    assert printed.text(refused) == "a: refused\n  too few people [smallest-cell]\n  a flat column [constant-column]"
    assert tidy.text(refused).splitlines()[:2] == ["analysis,kind,refused,reason", "a,glm,too few people,smallest-cell"]
    before = {"name": "a", "kind": "glm", "refused": ["too few people"]}  # as versions without codes wrote it
    assert printed.text(before) == "a: refused\n  too few people"
    assert tidy.text(before).splitlines() == ["analysis,kind,refused,reason", "a,glm,too few people,"]
    found = result(ASKED[1]) | {"findings": ["'age' may be in another unit"]}
    assert printed.text(found).splitlines()[-1] == "Note: 'age' may be in another unit"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0.0, "0"), (1234567.0, "1,235,000"), (61.25, "61.25"), (1e-9, "1.000e-09"), (3.2e12, "3.200e+12"), (-0.5, "-0.5")],
)
def test_numbers(value: float | None, text: str) -> None:
    assert layout.number(value) == text


def test_models_and_unknown_kinds_have_rows_too() -> None:
    model = {"name": "m", "kind": "glm", "terms": ["b", "a"], "coefficients": {"a": 1.0, "b": 2.0}, "standard_errors": {"a": 0.1, "b": 0.2}}
    assert [row["term"] for row in tidy.rows(model)] == ["b", "a"] and tidy.rows(model)[0]["standard_error"] == 0.2
    other = {"name": "k", "kind": "another", "curves": [{"n": 5, "curve": [{"time": 1.0}]}]}
    assert [(row["term"], row["estimate"]) for row in tidy.rows(other)] == [("curves.0.n", 5), ("curves.0.curve.0.time", 1.0)]
