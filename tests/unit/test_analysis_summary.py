"""The printed model reads like the one of statsmodels."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import statsmodels.api as sm
from formulaic import model_matrix

from pumasi.analysis.summary import glm_summary
from tests.analysis_rounds import glm, split


def lines(text: str) -> dict[str, list[str]]:
    """First word of each line of the coefficient table: the other columns."""
    return {words[0]: words[1:] for line in text.splitlines() if len(words := line.split()) == 7 and re.match(r"[-\d.]+$", words[1])}


def test_the_rows_are_those_of_statsmodels() -> None:
    chance = np.random.default_rng(8)
    table = pd.DataFrame({"age": chance.normal(60, 10, 500), "ward": pd.Categorical(chance.choice(["x", "y"], 500))})
    table["death"] = (chance.random(500) < 1 / (1 + np.exp(3 - 0.05 * table["age"]))).astype(int)
    found = glm("death ~ ward + age", "binomial", split(table, 3), levels={"ward": ["x", "y"]})
    matrices = model_matrix("death ~ ward + age", table)
    theirs = sm.GLM(matrices.lhs, matrices.rhs, family=sm.families.Binomial()).fit().summary().as_text()
    mine = glm_summary({**found, "hospitals": ["a", "b", "c"]})
    assert lines(mine) == lines(theirs) and list(lines(mine)) == ["Intercept", "ward[T.y]", "age"]
    assert "Df Residuals:" in mine and re.search(r"No\. People:\s+500\n", mine) and re.search(r"No\. Hospitals:\s+3 ", mine)
    assert {len(line) for line in mine.splitlines()[1:-1]} == {78} and re.match(r"AIC \d+\.\d\d, BIC", mine.splitlines()[-1])


def test_long_names_and_extreme_numbers_keep_their_columns() -> None:
    name = "a_very_long_column_name_indeed[T.with a long level]"
    result = {
        "terms": ["Intercept", name],
        "coefficients": {name: 1e-9, "Intercept": 0.0},
        "standard_errors": {name: 3e12, "Intercept": 0.0},
    }
    result |= {"n": 30, "rows": 60, "family": "gaussian", "outcome": "income", "df_residual": 58, "deviance": 5.8, "iterations": 1}
    text = glm_summary({**result, "log_likelihood": -1e7, "converged": True})
    assert {len(line) for line in text.splitlines()[1:] if not line.startswith("Intercept")} == {len(name) + 66}
    assert re.search(r"Scale:\s+0\.1\n", text) and "1.000e-09" in text
