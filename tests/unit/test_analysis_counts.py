"""describe and table against pandas, and what is left out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import methods
from pumasi.analysis.frame import Column, Frame, Terms
from tests.analysis_rounds import frame, run, split

LEVELS = {"ward": ["x", "y", "z"], "aspirin": ["0", "1"], "smoker": ["False", "True"]}


def people(rows: int = 400) -> pd.DataFrame:
    chance = np.random.default_rng(2)
    table = pd.DataFrame(
        {"age": chance.normal(60, 12, rows), "money": chance.lognormal(20, 2, rows), "dose": chance.normal(5e-9, 1e-9, rows)}
    )
    table["stamp"] = 1.7e12 + chance.integers(0, 1000, rows)
    table["ward"] = pd.Categorical(chance.choice(["x", "y", "z"], rows), categories=LEVELS["ward"])
    table["aspirin"] = chance.integers(0, 2, rows).astype(float)
    table["smoker"] = chance.random(rows) < 0.3
    table["seen"] = [f"2020-01-{1 + day % 28:02d}" for day in range(rows)]
    for name in ("age", "ward", "aspirin", "seen"):
        table.loc[chance.random(rows) < 0.1, name] = np.nan
    return table


PEOPLE = people()
KINDS = {"ward": "text", "smoker": "boolean", "seen": "date"}


def describe(tables: list[pd.DataFrame], *, smallest_cell: int = 10, person: str | None = None) -> dict[str, Any]:
    columns = [name for name in tables[0].columns if name != person]
    question = {"kind": "describe", "name": "d", "table": "t", "columns": columns, "two_valued": ["aspirin"], "levels": LEVELS}
    question["column_kinds"] = {name: KINDS.get(name, "number") for name in columns}
    return run(question, [frame(table, LEVELS, person=person) for table in tables], smallest_cell=smallest_cell)


def table(tables: list[pd.DataFrame], by: list[str], *, smallest_cell: int = 10, person: str | None = None) -> dict[str, Any]:
    question = {"kind": "table", "name": "d", "table": "t", "by": by, "levels": {name: LEVELS[name] for name in by}}
    return run(question, [frame(one, LEVELS, person=person) for one in tables], smallest_cell=smallest_cell)


@pytest.mark.parametrize("hospitals", [1, 3, 7])
def test_describe_says_what_pandas_says(hospitals: int) -> None:
    found = describe(split(PEOPLE, hospitals))
    assert (found["n"], found["rounds"]) == (400, 4)
    for name in ("age", "money", "dose", "stamp"):
        column = found["columns"][name]
        assert column["mean"] == pytest.approx(PEOPLE[name].mean(), rel=1e-12)
        assert column["sd"] == pytest.approx((PEOPLE[name] - PEOPLE[name].mean()).std(), rel=1e-9)
        assert (column["n"], column["missing"]) == (PEOPLE[name].count(), PEOPLE[name].isna().sum())
    for name in ("ward", "smoker", "aspirin"):
        counted = PEOPLE[name].value_counts()
        found_levels = {level: counted[{"0": 0, "1": 1, "True": True, "False": False}.get(level, level)] for level in LEVELS[name]}
        assert found["columns"][name]["levels"] == found_levels and "mean" not in found["columns"][name]
    assert found["columns"]["seen"] == {"n": PEOPLE["seen"].count(), "missing": PEOPLE["seen"].isna().sum()}


def test_a_column_of_few_people_loses_all_its_numbers_and_its_mean_is_never_summed() -> None:
    rare = PEOPLE.copy()
    rare.loc[9:, ["age", "ward"]] = np.nan
    found = describe([rare[:100], rare[100:200], rare[200:]])["columns"]
    assert found["age"] == {"n": None, "missing": None, "mean": None, "sd": None}
    assert found["ward"] == {"n": None, "missing": None, "levels": {"x": None, "y": None, "z": None}}
    assert found["money"]["mean"] is not None
    only = describe([rare[["age"]][:100], rare[["age"]][100:], rare[["age"]][:0]])
    assert only["rounds"] == 1


def test_few_missing_people_are_not_told_apart() -> None:
    nearly = PEOPLE.assign(age=np.where(PEOPLE.index < 9, np.nan, 50.0 + PEOPLE.index))
    column = describe(split(nearly, 3))["columns"]["age"]
    assert (column["n"], column["missing"]) == (None, None)
    assert column["mean"] == pytest.approx(nearly["age"].mean())
    ten = PEOPLE.assign(age=np.where(PEOPLE.index < 10, np.nan, 50.0 + PEOPLE.index))
    assert describe(split(ten, 3))["columns"]["age"]["missing"] == 10


def test_people_are_counted_and_rows_are_averaged() -> None:
    twice = pd.concat([PEOPLE, PEOPLE.assign(age=np.nan, ward="x")], ignore_index=True).assign(who=lambda rows: rows.index % 400)
    found = describe([twice], person="who")
    assert found["n"] == 400
    assert found["columns"]["age"]["n"] == PEOPLE["age"].count()
    assert found["columns"]["ward"]["levels"]["x"] == 400
    assert found["columns"]["ward"]["levels"]["y"] == (PEOPLE["ward"] == "y").sum()
    assert found["columns"]["money"]["sd"] == pytest.approx(twice["money"].std())


def test_table_counts_what_pandas_counts() -> None:
    found = table(split(PEOPLE, 5), ["aspirin", "ward"])
    both = PEOPLE.dropna(subset=["aspirin", "ward"])
    expected = [
        {"aspirin": one, "ward": two, "n": int(((both["aspirin"] == float(one)) & (both["ward"] == two)).sum())}
        for one in LEVELS["aspirin"]
        for two in LEVELS["ward"]
    ]
    assert (found["cells"], found["n"], found["rounds"]) == (expected, len(both), 1)
    assert [cell["smoker"] for cell in table(split(PEOPLE, 3), ["smoker"])["cells"]] == ["False", "True"]


def test_table_counts_people_of_several_rows_once_per_cell() -> None:
    thrice = pd.concat([PEOPLE] * 3, ignore_index=True).assign(who=lambda rows: rows.index % 400)
    thrice.loc[400, "ward"] = "y" if PEOPLE.loc[0, "ward"] == "x" else "x"
    found = table([thrice], ["ward"], person="who")
    assert found["n"] == thrice.dropna(subset=["ward"])["who"].nunique()
    assert sum(cell["n"] for cell in found["cells"]) == found["n"] + 1


def test_between_two_hospitals_a_small_count_is_the_others_to_see() -> None:
    few = PEOPLE[PEOPLE["ward"].isin(["x", "y"])]
    few = pd.concat([few, PEOPLE[PEOPLE["ward"] == "z"][:9]])
    assert "with two hospitals" in table([PEOPLE, few], ["ward"])["refused"][0]
    assert "one of 'ward' is of fewer people" in describe([PEOPLE, few])["refused"][0]
    assert "cells" in table([PEOPLE, few, PEOPLE], ["ward"])
    assert "cells" in table([few], ["ward"])  # alone, nobody else sees the raw count; it is suppressed afterwards
    assert "cells" in table([PEOPLE, PEOPLE[PEOPLE["ward"] != "z"]], ["ward"])


def test_values_that_nobody_measures_are_refused() -> None:
    strange = PEOPLE.assign(age=np.where(PEOPLE.index == 3, np.inf, 1.0))
    assert describe([strange, PEOPLE, PEOPLE])["refused"] == ["'age' holds values beyond anything that is measured; correct the file"]


def test_levels_are_matched_by_name_not_by_place() -> None:
    """A hospital may hold its levels in another order, or a two-valued number without codes."""
    codes = np.array([0, 1, 1, -1, 0], dtype=np.int32)
    persons = np.arange(5, dtype=np.int64)
    turned = Frame(persons=persons, columns={"ward": Column("ward", None, codes, ("z", "x"))})
    plain = Frame(persons=persons, columns={"aspirin": Column("aspirin", np.array([0, 1, 1, np.nan, 1.0]), None, ())})
    assert turned.codes("ward", LEVELS["ward"]).tolist() == [2, 0, 0, -1, 2]
    assert turned.codes("ward", ["x"]).tolist() == [-2, 0, 0, -1, -2]
    assert plain.codes("aspirin", ["0", "1"]).tolist() == [0, 1, 1, -1, 1]
    assert plain.codes("aspirin", ["0", "none"]).tolist() == [0, -2, -2, -1, -2]


def test_one_row_has_a_mean_and_no_sd() -> None:
    assert describe([PEOPLE[["money"]][:1], PEOPLE[["money"]][:0]], smallest_cell=1)["columns"]["money"]["sd"] is None


@pytest.mark.parametrize("kind", ["describe", "glm"])
def test_an_unknown_step_is_an_error(kind: str) -> None:
    design = {"outcome": "money", "columns": [{"name": "Intercept", "factors": []}]}
    question = {"kind": kind, "columns": [], "family": "gaussian", "design": design}
    with pytest.raises(ValueError, match="no step 'guess'"):
        methods.KINDS[kind].local(frame(PEOPLE[["money"]]), question, {"step": "guess"})
    with pytest.raises(ValueError, match="no step 'guess'"):
        methods.KINDS[kind].advance([], question, {"step": "guess"}, Terms(smallest_cell=10, hospitals=3))
