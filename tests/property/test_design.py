"""A design multiplied out with numpy is formulaic's model matrix, names and values, whatever the formula."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from formulaic import model_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis import design
from pumasi.analysis.matrix import complete_cases
from pumasi.kernel.errors import Invalid
from tests.analysis_rounds import frame

KINDS: dict[str, design.Kind] = {"y": "number", "a": "number", "b": "number", "n": "number", "s": "text", "t": "text", "z": "boolean"}
LEVELS = {"s": ["x", "y", "w"], "t": ["late", "early"], "n": ["0", "1", "2"], "z": ["False", "True"]}

columns = st.sampled_from(["a", "b", "s", "t", "z", "n", "C(n)", "C(s)"])
terms = st.recursive(
    columns,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([":", "*", " + ", " - "]), inner).map(lambda parts: f"({parts[0]}{parts[1]}{parts[2]})"),
        st.tuples(inner, st.sampled_from(["**2", "^2", " ** 3"])).map("".join),
    ),
    max_leaves=5,
)
formulas = st.tuples(
    st.sampled_from(["y ~ ", "y ~ 0 + ", "y ~ 1 + ", "y ~ -1 + "]), terms, st.sampled_from(["", " - 1", " + 0", " + a:s"])
).map("".join)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(1, 12))
    table = pd.DataFrame({"y": chance.normal(size=rows), "a": chance.normal(size=rows) * 1e6, "b": chance.normal(size=rows)})
    table["n"] = chance.integers(0, 3, rows)
    for name in ("s", "t"):
        table[name] = pd.Categorical(chance.choice(LEVELS[name], rows), categories=LEVELS[name])
    table["z"] = chance.random(rows) < 0.5
    table.loc[chance.random(rows) < 0.1, ["a", "s"]] = np.nan
    return table


@settings(deadline=None, max_examples=150)
@given(formula=formulas, table=tables())
def test_a_design_is_the_model_matrix(formula: str, table: pd.DataFrame) -> None:
    try:
        plain = design.compile(formula, kinds=KINDS, levels=LEVELS)
    except Invalid as none:
        if "without any column" in str(none):
            assert model_matrix(formula, table).rhs.shape[1] == 0
        else:  # C(s):s, which formulaic would allow
            assert "with itself" in str(none) and {"C(n)", "C(s)"} & set(re.findall(r"C\(\w\)", formula))
        return
    assert design.check(plain, KINDS, LEVELS) == []
    used = {factor["column"] for column in plain["columns"] for factor in column["factors"]}
    complete = table.dropna(subset=["y", *used])
    cases = complete_cases(frame(table, LEVELS), plain)
    assert cases.rows == len(complete)
    mine = np.array([cases.column(column["factors"]) for column in plain["columns"]]).T
    # every level of C(n) must be seen once, so three rows more, taken off again; a bare bool would be a number for formulaic
    seen = pd.concat([complete, pd.DataFrame({"y": 0.0, "a": 0.0, "b": 0.0, "n": [0, 1, 2], "s": "x", "t": "late", "z": False})])
    for name, levels in {"s": LEVELS["s"], "t": LEVELS["t"], "z": [False, True]}.items():
        seen[name] = pd.Categorical(seen[name], categories=levels)
    theirs = model_matrix(formula, seen.reset_index(drop=True)).rhs
    assert [column["name"] for column in plain["columns"]] == list(theirs.columns)
    np.testing.assert_allclose(mine, theirs.to_numpy(dtype=float)[:-3], rtol=1e-12)
