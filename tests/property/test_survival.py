"""However people are dealt to hospitals, curves, tests and Cox models on a grid are those of all people together."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis_models import ask

GRID = [1.0, 2, 4, 8, 16, 32]
SURVIVAL: dict[str, Any] = {"time": "time", "event": "died", "grid": GRID}
ASKED: dict[str, dict[str, Any]] = {
    "kaplan_meier": {**SURVIVAL, "by": "arm"},
    "logrank": {**SURVIVAL, "by": "arm"},
    "cox": {**SURVIVAL, "formula": "age + arm", "strata": "none"},
}


@st.composite
def dealt(draw: st.DrawFn) -> list[pd.DataFrame]:
    """Missing values, ties, any scale of the covariate, and three to six hospitals, some of them empty or sorted by time."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(120, 400))
    table = pd.DataFrame({"age": 10.0 ** draw(st.integers(-6, 9)) * chance.normal(size=rows)})
    table["arm"] = pd.Categorical(chance.choice(["a", "b"], rows, p=[0.6, 0.4]), ["a", "b"])
    table["time"] = chance.exponential(draw(st.sampled_from([3.0, 10.0])), rows)
    table["died"] = (chance.random(rows) < draw(st.sampled_from([0.4, 0.8]))).astype(int)
    table.loc[chance.random(rows) < draw(st.sampled_from([0.0, 0.1])), "age"] = np.nan
    hospitals = draw(st.integers(3, 6))
    order = table.index if draw(st.booleans()) else table["time"].argsort()
    site = pd.Series(np.sort(chance.integers(0, hospitals, rows)), index=order)
    return [table[site.sort_index() == number] for number in range(hospitals)]


@pytest.mark.parametrize("kind", list(ASKED))
@settings(deadline=None, max_examples=40)
@given(tables=dealt())
def test_it_does_not_matter_who_is_at_which_hospital(kind: str, tables: list[pd.DataFrame]) -> None:
    together = [pd.concat(tables), tables[0][:0], tables[0][:0]]
    one, other = (ask(kind, each, levels={"arm": ["a", "b"]}, **ASKED[kind]) for each in (tables, together))
    assert one.get("refused") == other.get("refused")
    if "refused" in one:
        assert not any(re.search(r"\d", reason) for reason in one["refused"])
    elif kind == "cox":
        for key in ("coefficients", "standard_errors"):
            assert one[key] == pytest.approx(other[key], rel=1e-7, abs=1e-9 * max(map(abs, other["standard_errors"].values())))
    else:
        assert one == other
