"""Models, curves and meta-analyses as text that reads like lifelines' and statsmodels', and as tidy rows."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from pumasi.analysis import printed
from pumasi.analysis.printed import tidy
from tests.analysis_models import ask
from tests.analysis_rounds import split


def people(rows: int = 700) -> pd.DataFrame:
    chance = np.random.default_rng(77)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "arm": chance.integers(0, 2, rows), "cost": chance.gamma(2, 100, rows)})
    table["group"] = pd.Categorical(chance.choice(["a", "b"], rows))
    table["time"] = np.ceil(chance.exponential(30 * np.exp(-0.5 * table["arm"])))
    table["dead"] = (chance.random(rows) < 0.7).astype(int)
    return table


PEOPLE = people()
SURVIVAL: dict[str, Any] = {"time": "time", "event": "dead"}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "gamma": ("glm", {"family": "gamma", "formula": "cost ~ age + arm", "robust": "HC1", "compare": "cost ~ age"}),
    "ridge": ("glm", {"family": "gaussian", "formula": "cost ~ age + arm", "ridge": 5, "ridge_on": "columns"}),
    "cox": ("cox", {**SURVIVAL, "formula": "age + arm"}),
    "grid": ("cox", {**SURVIVAL, "formula": "age + arm", "strata": "none", "grid": [5.0, 10, 20, 40, 80], "ridge": 2}),
    "curves": ("kaplan_meier", {**SURVIVAL, "grid": [5.0, 10, 20, 40], "by": "group"}),
    "curve": ("kaplan_meier", {**SURVIVAL, "grid": [5.0, 10, 20, 40]}),
    "logrank": ("logrank", {**SURVIVAL, "grid": [5.0, 10, 20, 40], "by": "group"}),
    "meta": ("meta", {"analysis": "m", "of": "cox", **SURVIVAL, "formula": "age + arm", "term": "arm"}),
}


def result(name: str, tables: list[pd.DataFrame] | None = None) -> dict[str, Any]:
    kind, fields = ASKED[name]
    found = ask(kind, tables or split(PEOPLE, 3), levels={"group": ["a", "b"]}, **fields)
    assert "refused" not in found, found
    by = {"by": fields["by"]} if "by" in fields else {}
    return {"name": name, "kind": kind, "table": "t", **by, "hospitals": ["h0", "h1", "h2"], **found}


@pytest.mark.parametrize("name", list(ASKED))
def test_every_model_prints_and_has_tidy_rows(name: str) -> None:
    found = result(name)
    text = printed.text(found)
    assert text.startswith(f"{name}: ") and "{" not in text and max(map(len, text.splitlines())) <= 110
    rows = list(csv.DictReader(io.StringIO(tidy.text(found))))
    assert rows and all(row["analysis"] == name and row["kind"] == found["kind"] for row in rows)
    assert len({tuple(row) for row in rows}) == 1


def test_a_cox_model_reads_like_the_one_of_lifelines() -> None:
    whole = PEOPLE.assign(site=0)[["age", "arm", "time", "dead"]]
    theirs = CoxPHFitter().fit(whole, "time", "dead").summary
    rows = tidy.rows(result("cox", [whole]))
    for row in rows:
        for mine, other in (("estimate", "coef"), ("standard_error", "se(coef)"), ("z", "z"), ("p", "p"), ("low", "coef lower 95%")):
            assert row[mine] == pytest.approx(theirs.loc[row["term"], other], rel=1e-5)
    text = printed.text(result("cox", [whole]))
    for term in ("age", "arm"):
        words = next(line.split() for line in text.splitlines() if line.startswith(term))
        assert words[1:4] == [f"{theirs.loc[term, key]:.4g}" for key in ("coef", "exp(coef)", "se(coef)")]
    assert "Concordance within strata = " in text and "proportional hazards" in text


def test_what_stands_under_a_model() -> None:
    assert "Standard errors: HC1" in printed.text(result("gamma")) and "Against cost ~ age: chi-square" in printed.text(result("gamma"))
    assert re.search(r"Ridge 5 on the columns as they are: worth 1\.\d+ coefficients", printed.text(result("ridge")))
    grid = printed.text(result("grid"))
    assert "one baseline on a grid" in grid and "baseline survival" in grid and "ridge = 2 on standardised columns" in grid


def test_a_curve_prints_who_is_at_risk_and_its_median() -> None:
    found = result("curves")
    text = printed.text(found)
    for curve in found["curve"]:
        assert f"group = {curve['group']}: {curve['n']} people, median " in text
    never = {**found, "curve": [{**found["curve"][0], "median": None}]}
    assert "median not reached" in printed.text(never)


def test_a_meta_analysis_names_the_hospitals() -> None:
    tables = [*split(PEOPLE, 3), PEOPLE[:8]]
    found = result("meta", tables)
    text = printed.text(found)
    assert all(one["hospital"] in text for one in found["estimates"]) and "another hospital" in text
    assert "being too small: h3" in text
    rows = {row["term"]: row for row in tidy.rows(found)}
    assert rows["random"]["estimate"] == found["random"]["estimate"] and rows["prediction"]["low"] == found["prediction"]["low"]
