"""histogram against numpy, with edges of one's own and with edges that are found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis.suppression import protect
from tests.analysis_rounds import answered, finished, split


def people(rows: int = 900) -> pd.DataFrame:
    chance = np.random.default_rng(21)
    table = pd.DataFrame({"age": chance.normal(60, 12, rows), "money": chance.lognormal(10, 1.5, rows)})
    table["visits"] = chance.poisson(3, rows).astype(float)
    table.loc[chance.random(rows) < 0.1, "age"] = np.nan
    return table


PEOPLE = people()
EDGES = [20, 40, 50, 60, 70, 80, 100]


def histogram(tables: list[pd.DataFrame], column: str, **more: Any) -> dict[str, Any]:
    return answered({"kind": "histogram", "column": column} | more, tables, {})


@pytest.mark.parametrize("hospitals", [1, 3, 7])
def test_edges_of_ones_own(hospitals: int) -> None:
    found = histogram(split(PEOPLE, hospitals), "age", edges=EDGES)
    inner = [-np.inf, *EDGES[1:-1], np.inf]
    assert [one["n"] for one in found["bins"]] == np.histogram(PEOPLE["age"].dropna(), inner)[0].tolist()
    assert (found["n"], found["edges"], found["rounds"]) == (PEOPLE["age"].count(), EDGES, 1)
    assert (found["bins"][0]["from"], found["bins"][0]["to"], found["bins"][-1]["to"]) == (None, 40, None)
    assert sum(one["percent"] for one in found["bins"]) == pytest.approx(100)


@pytest.mark.parametrize("column", ["age", "money", "visits"])
@pytest.mark.parametrize("bins", [None, 8])
def test_edges_that_are_found(column: str, bins: int | None) -> None:
    found = histogram(split(PEOPLE, 5), column, **({"bins": bins} if bins else {}))
    inner = [-np.inf, *found["edges"][1:-1], np.inf]
    counts = np.histogram(PEOPLE[column].dropna(), inner)[0].tolist()
    assert [one["n"] for one in found["bins"]] == counts and sum(counts) == found["n"]
    assert min(counts[0], counts[-1]) >= 10 and found["rounds"] < 60
    steps = {round(other - one, 9) for one, other in itertools.pairwise(found["edges"])}
    assert len(steps) == 1
    assert steps == {1.0} if column == "visits" else (bins or 20) / 3 <= len(counts) <= 2 * (bins or 20)


def test_small_bins_are_left_out_with_enough_beside_them() -> None:
    question = {"kind": "histogram", "column": "age", "edges": [0, 20, 30, 60, 90, 95, 120]}
    raw = answered(question, split(PEOPLE, 3), {}, finish=False)
    safe = protect([{**raw, **question, "name": "h", "table": "t"}], earlier=[], levels={}, smallest_cell=10, repeated_people=False)[0]
    counts = [one["n"] for one in raw["bins"]]
    assert counts[0] < 10 and counts[-1] < 10
    left = [one["n"] for one in safe["bins"]]
    assert all(left[place] is None for place, count in enumerate(counts) if count < 10)
    assert sum(count for count, shown in zip(counts, left, strict=True) if shown is None) >= 10
    assert [one["percent"] is None for one in finished({**question, "name": "h", "table": "t"}, safe)["bins"]] == [n is None for n in left]


def test_what_is_refused() -> None:
    assert "with two hospitals" in histogram(split(PEOPLE, 2), "age", edges=[0, 25, 50, 90])["refused"][0]
    assert "bins" in histogram(split(PEOPLE, 2), "age", edges=[0, 50, 60, 90])
    assert "between two hospitals" in histogram(split(PEOPLE, 2), "age")["refused"][0]
    assert "give edges" in histogram(split(PEOPLE.assign(age=1.0), 3), "age")["refused"][0]
    assert "give edges" in histogram(split(PEOPLE[:12], 3), "age")["refused"][0]
    for wrong in ({"edges": [1, 2]}, {"edges": [1, 3, 2]}, {"edges": EDGES, "bins": 4}, {"bins": 1}, {"bins": 201}):
        with pytest.raises(AssertionError):
            histogram([PEOPLE], "age", **wrong)
