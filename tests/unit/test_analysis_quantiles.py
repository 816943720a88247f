"""quantiles against numpy, and against those who ask for them again and again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.analysis_rounds import answered, split

Q = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]


def quantiles(tables: list[pd.DataFrame], columns: list[str], q: list[float] | None = None, **more: Any) -> dict[str, Any]:
    return answered({"kind": "quantiles", "columns": columns, "q": q or Q}, tables, {}, **more)


def people(rows: int = 1200) -> pd.DataFrame:
    chance = np.random.default_rng(11)
    table = pd.DataFrame({"lab": chance.lognormal(2, 0.8, rows), "age": chance.integers(18, 95, rows).astype(float)})
    table["money"] = chance.lognormal(20, 2, rows)
    table["stamp"] = 1.7e12 + chance.integers(0, 10**9, rows)
    table["visits"] = chance.poisson(0.7, rows).astype(float)
    table.loc[chance.random(rows) < 0.1, "lab"] = np.nan
    return table


PEOPLE = people()


def in_bracket(values: pd.Series[float], lower: float | None, upper: float | None) -> int:
    low, high = -math.inf if lower is None else lower, math.inf if upper is None else upper
    return int(((values >= low) & (values <= high)).sum())


@pytest.mark.parametrize("hospitals", [1, 3, 8])
def test_the_bracket_holds_the_quantile_and_enough_people(hospitals: int) -> None:
    names = ["lab", "age", "money", "stamp"]
    found = quantiles(split(PEOPLE, hospitals), names)
    assert found["n"] == 1200 and found["rounds"] < 100
    for name in names:
        values = PEOPLE[name].dropna()
        assert found["columns"][name]["n"] == len(values)
        for one in found["columns"][name]["quantiles"]:
            theirs = float(values.quantile(one["q"]))
            assert (one["lower"] is None or one["lower"] <= theirs) and (one["upper"] is None or theirs <= one["upper"])
            assert in_bracket(values, one["lower"], one["upper"]) >= 10
            assert one["lower"] <= one["value"] <= one["upper"]
            rank = (values <= one["value"]).mean()
            assert abs(rank - one["q"]) < 0.03, "the tolerance is a few people"


def test_a_value_that_many_share_is_exact() -> None:
    for one in quantiles(split(PEOPLE, 3), ["visits"], [0.1, 0.3, 0.5, 0.7, 0.9])["columns"]["visits"]["quantiles"]:
        theirs = float(np.quantile(PEOPLE["visits"], one["q"]))
        assert (one["value"], one["lower"], one["upper"]) == (theirs, theirs, theirs)


def test_neither_minimum_nor_maximum_is_told() -> None:
    found = quantiles(split(PEOPLE, 3), ["lab", "age"], [0.0001, 0.001, 0.999, 0.9999])["columns"]
    for column in found.values():
        assert [one["value"] for one in column["quantiles"]] == [None] * 4
        assert all(one["lower"] is None for one in column["quantiles"][:2]) and all(one["upper"] is None for one in column["quantiles"][2:])
    far = PEOPLE.assign(lab=np.where(PEOPLE.index == 7, 1e9, PEOPLE["lab"]))
    told = str(quantiles(split(far, 3), ["lab"], [0.5, 0.99, 0.999])["columns"])
    assert "e+0" not in told and "0000000" not in told


def test_asking_again_and_again_tells_only_counts_of_the_smallest_cell_and_more() -> None:
    """Repeated bisection over q: where the answer changes, a rank is found out; ranks must lie as far apart as the smallest cell."""
    rows = PEOPLE.dropna(subset=["lab"])
    tables = split(rows, 4)
    tried = [(number + 0.5) / len(rows) for number in range(len(rows))]
    brackets: dict[tuple[Any, Any], list[float]] = {}
    for at in range(0, len(tried), 90):
        for one in quantiles(tables, ["lab"], tried[at : at + 90])["columns"]["lab"]["quantiles"]:
            brackets.setdefault((one["lower"], one["upper"]), []).append(one["q"])
    # two neighbouring rows may lie in two brackets, whose union then is the answer; all others are the brackets of the tree
    own = [(lower, upper) for lower, upper in brackets if len(brackets[lower, upper]) > 1]
    assert len(own) > 30
    assert all(in_bracket(rows["lab"], lower, upper) >= 10 for lower, upper in own)
    assert all(len(brackets[bracket]) >= 9 for bracket in own)


def test_the_same_brackets_whatever_else_is_asked() -> None:
    tables = split(PEOPLE, 3)
    alone, among = quantiles(tables, ["age"], [0.5])["columns"]["age"]["quantiles"][0], quantiles(tables, ["lab", "age"])["columns"]["age"]
    assert alone == among["quantiles"][3]


def test_people_of_several_rows_count_once() -> None:
    rows = pd.DataFrame({"x": np.arange(400.0), "who": np.where(np.arange(400) < 200, 0, np.arange(400))})
    found = quantiles([rows], ["x"], [0.25, 0.75], person="who")["columns"]["x"]
    assert found["n"] == 201
    assert found["quantiles"][0]["lower"] is None, "two hundred rows of one person are no bracket"
    assert found["quantiles"][1]["upper"] - found["quantiles"][1]["lower"] < 25


def test_what_is_refused_or_left_out() -> None:
    assert "between two hospitals" in quantiles(split(PEOPLE, 2), ["age"])["refused"][0]
    few = quantiles(split(PEOPLE.assign(lab=PEOPLE["lab"].where(PEOPLE.index < 9)), 3), ["lab", "age"])["columns"]
    assert few["lab"]["quantiles"][3] == {"q": 0.5, "value": None, "lower": None, "upper": None} and few["age"]["quantiles"][3]["value"]
    same = quantiles(split(PEOPLE.assign(lab=3.5), 3), ["lab", "age"])
    assert same["columns"]["age"]["quantiles"][3]["value"] and "3.5" not in str(same) and "same value for everybody" in same["findings"][0]
    infinite = quantiles(split(PEOPLE.assign(lab=np.where(PEOPLE.index == 3, np.inf, 1.0)), 3), ["lab"])
    assert infinite["refused"] == ["'lab' holds values beyond anything that is measured; correct the file"]
    for q in ([0.0], [1.0], [0.5, 0.5]):
        with pytest.raises(AssertionError):
            quantiles([PEOPLE], ["age"], q)
