"""Whatever the rows and however they are dealt: counts and means are the pooled ones, and quantiles lie in brackets of enough people."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis_rounds import answered

LEVELS = {"arm": ["a", "b", "c"]}


@st.composite
def tables(draw: st.DrawFn) -> list[pd.DataFrame]:
    """Three to six hospitals, some empty, people with several rows at one of them, ties and missing values."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(0, 160))
    scale, digits = draw(st.sampled_from([(1e-6, 9), (1.0, 0), (1.0, 3), (1e6, -4)]))
    table = pd.DataFrame({"x": np.round(chance.lognormal(0, 1, rows) * 10 * scale, digits)})
    table["arm"] = chance.choice(LEVELS["arm"], rows, p=draw(st.sampled_from([[0.4, 0.3, 0.3], [0.9, 0.08, 0.02]])))
    table["who"] = np.arange(rows) if draw(st.booleans()) else chance.integers(0, max(1, rows // 2), rows)
    table.loc[chance.random(rows) < draw(st.sampled_from([0.0, 0.2])), "x"] = np.nan
    hospitals = draw(st.integers(3, 6))
    site = np.minimum(table["who"] % (hospitals + 2), hospitals - 1)
    return [table[site == hospital].assign(who=lambda part: part["who"]) for hospital in range(hospitals)]


@settings(max_examples=60, deadline=None)
@given(parts=tables(), smallest=st.sampled_from([3, 10]))
def test_counts_and_means_are_the_pooled_ones_or_left_out(parts: list[pd.DataFrame], smallest: int) -> None:
    pooled = pd.concat(parts)
    asked = {"kind": "table1", "by": "arm", "columns": ["x"]}
    found = answered(asked, parts, LEVELS, person="who", smallest_cell=smallest, finish=False)
    for group in (found, *found["groups"]):
        inside = pooled if group is found else pooled[pooled["arm"] == group["level"]]
        have = inside.dropna(subset=["x"])
        column = group["columns"]["x"]
        assert group["n"] == inside["who"].nunique()
        assert column["n"] in (None, have["who"].nunique())
        if column["mean"] is not None:
            assert have["who"].nunique() >= smallest and have["x"].nunique() > 2
            assert column["mean"] == pytest.approx(have["x"].mean(), rel=1e-11)
            assert column["sd"] is None or column["sd"] == pytest.approx(have["x"].std(), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(parts=tables(), smallest=st.sampled_from([3, 10]), q=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5, unique=True))
def test_quantiles_lie_in_brackets_of_enough_people(parts: list[pd.DataFrame], smallest: int, q: list[float]) -> None:
    found = answered({"kind": "quantiles", "columns": ["x"], "q": q}, parts, LEVELS, person="who", smallest_cell=smallest)
    have = pd.concat(parts).dropna(subset=["x"])
    for one in found["columns"]["x"]["quantiles"]:
        if one["lower"] is None and one["upper"] is None:
            assert one["value"] is None
            continue
        low, high = -math.inf if one["lower"] is None else one["lower"], math.inf if one["upper"] is None else one["upper"]
        near = 1e-9 * max(abs(end) for end in (low, high) if math.isfinite(end))
        assert low - near <= float(have["x"].quantile(one["q"])) <= high + near
        inside = have[(have["x"] >= low - near) & (have["x"] <= high + near)]
        assert inside["who"].nunique() >= smallest
