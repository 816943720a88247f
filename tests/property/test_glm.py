"""However people are dealt to hospitals, the answer is the one of all people together."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.analysis_rounds import Pooled, assert_pooled, frame, glm, run

LEVELS = {"s": ["x", "y", "w"], "z": ["0", "1"]}
FORMULAS = ["{} ~ a", "{} ~ a + b", "{} ~ a + s", "{} ~ 0 + s + b", "{} ~ a*z", "{} ~ s:b + z", "{} ~ b - 1", "{} ~ C(z) + s", "{} ~ s*b"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Any scale and place of the numbers, unbalanced levels, missing values, and a site for each row."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(150, 500))
    scale, place = 10.0 ** draw(st.integers(-9, 12)), draw(st.sampled_from([0.0, 1.0, -100.0]))
    a, b = chance.normal(size=rows), chance.gamma(1.5, 1, rows)
    table = pd.DataFrame({"a": scale * (a + place), "b": b, "z": chance.integers(0, 2, rows)})
    table["s"] = pd.Categorical(chance.choice(LEVELS["s"], rows, p=draw(st.sampled_from([[0.4, 0.3, 0.3], [0.8, 0.1, 0.1]]))), LEVELS["s"])
    linear = 0.5 * a - 0.4 * b + 0.5 * table["z"] - 0.3 * (table["s"] == "y")
    table["gaussian"] = scale * (linear + chance.normal(size=rows))
    table["binomial"] = (chance.random(rows) < 1 / (1 + np.exp(-linear))).astype(int)
    table["poisson"] = chance.poisson(np.exp(linear + draw(st.sampled_from([0.0, 5.0]))))
    table.loc[chance.random(rows) < draw(st.sampled_from([0.0, 0.2])), "b"] = np.nan
    hospitals = draw(st.integers(1, 7))
    order = table.index if draw(st.booleans()) else table["a"].argsort()  # hospitals that differ as much as they can
    table["site"] = 0
    table.loc[order, "site"] = np.sort(chance.integers(0, hospitals, rows))
    return table


def dealt(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table[table["site"] == site] for site in range(int(table["site"].max()) + 1)]


@settings(deadline=None, max_examples=120)
@given(table=tables(), formula=st.sampled_from(FORMULAS), family=st.sampled_from(["gaussian", "binomial", "poisson"]))
def test_the_fit_is_the_pooled_one_or_a_refusal_without_a_number(table: pd.DataFrame, formula: str, family: str) -> None:
    found = glm(formula.format(family), family, dealt(table), levels=LEVELS, smallest_cell=5)
    if "refused" in found:
        assert found["refused"] and not any(re.search(r"\d", reason) for reason in found["refused"])
        assume(False)
    assert_pooled(found, Pooled(formula.format(family), family, table.drop(columns="site")))


@settings(deadline=None, max_examples=50)
@given(table=tables(), smallest_cell=st.integers(1, 60))
def test_describe_and_table_are_pandas(table: pd.DataFrame, smallest_cell: int) -> None:
    frames = [frame(part, LEVELS) for part in dealt(table)]
    assume(len(frames) != 2)
    kinds = {"a": "number", "b": "number", "s": "text", "z": "number"}
    question: dict[str, Any] = {"kind": "describe", "columns": list(kinds), "column_kinds": kinds, "levels": LEVELS, "two_valued": ["z"]}
    columns = run(question, frames, smallest_cell=smallest_cell)["columns"]
    for name in ("a", "b"):
        values = table[name].dropna()
        missing = len(table) - len(values)
        np.testing.assert_allclose(columns[name]["mean"], values.mean(), rtol=1e-9, atol=1e-12 * values.abs().max())
        np.testing.assert_allclose(columns[name]["sd"], values.std(), rtol=1e-9)
        told = not 0 < missing < smallest_cell
        assert (columns[name]["n"], columns[name]["missing"]) == ((len(values), missing) if told else (None, None))
    assert columns["z"]["levels"] == {"0": int((table["z"] == 0).sum()), "1": int((table["z"] == 1).sum())}
    cells = run({"kind": "table", "by": ["s", "z"], "levels": LEVELS}, frames, smallest_cell=smallest_cell)["cells"]
    assert {(cell["s"], int(cell["z"])): cell["n"] for cell in cells} == pd.crosstab(table["s"], table["z"], dropna=False).stack().to_dict()
