"""Models as whole jobs: compiled by the client, checked, masked, judged together with everything else, and sealed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from formulaic import model_matrix

from pumasi.analysis import printed
from pumasi.analysis.printed import tidy
from pumasi.kernel.study import AgreedTable
from tests.joint_jobs import Joint, column, dealt, results

COLUMNS = {
    "age": column("number", []),
    "arm": column("text", ["A", "B"]),
    "days": column("number", []),
    "died": column("number", ["0", "1"], two=True),
    "cost": column("number", []),
    "weight": column("number", []),
    "log_days": column("number", []),
}
AGREED = AgreedTable.model_validate({"person": "no", "columns": COLUMNS})


def trial(rows: int = 1000) -> pd.DataFrame:
    chance = np.random.default_rng(21)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "arm": chance.choice(["A", "B"], rows)})
    linear = 0.03 * (table["age"] - 60) - 0.5 * (table["arm"] == "B")
    table["days"] = np.ceil(chance.exponential(300 * np.exp(-linear)))
    table["died"] = (chance.random(rows) < 0.6).astype(int)
    table["cost"] = chance.gamma(2, 500 * np.exp(linear), rows)
    table["weight"], table["log_days"] = chance.uniform(0.5, 2, rows), np.log(table["days"])
    table.loc[:29, "age"] = np.nan
    return table


TRIAL = trial()
HEAD = {"table": "patients"}
SURVIVAL = {"time": "days", "event": "died"}
ASKED: list[dict[str, Any]] = [
    {"name": "cost", "kind": "glm", "family": "gamma", "formula": "cost ~ age + arm", "robust": "HC1", "compare": "cost ~ age"},
    {"name": "odds", "kind": "glm", "family": "binomial", "formula": "died ~ age + arm + C(hospital)", "offset": "log_days"},
    {"name": "clustered", "kind": "glm", "family": "gaussian", "formula": "cost ~ age", "cluster": "hospital", "weights": "weight"},
    {"name": "ridge", "kind": "glm", "family": "gaussian", "formula": "cost ~ age + arm", "ridge": 0.5},
    {"name": "folds", "kind": "glm", "family": "binomial", "formula": "died ~ age + arm", "ridge": "cv"},
    {"name": "hazard", "kind": "cox", **SURVIVAL, "formula": "age + arm"},
    {"name": "strata", "kind": "cox", **SURVIVAL, "formula": "age", "strata": "arm", "ties": "breslow"},
    {"name": "grid", "kind": "cox", **SURVIVAL, "formula": "age + arm", "strata": "none", "grid": [30, 90.5, 180, 365, 730]},
    {"name": "curves", "kind": "kaplan_meier", **SURVIVAL, "by": "arm", "grid": [90, 180, 365, 730]},
    {"name": "test", "kind": "logrank", **SURVIVAL, "by": "arm", "grid": [90, 180, 365, 730]},
    {"name": "sites", "kind": "meta", "analysis": "hazard", "term": "arm[T.B]"},
    {"name": "baseline", "kind": "table1", "by": "arm", "columns": ["age", "died"]},
    {"name": "people", "kind": "table", "by": ["arm", "died"]},
]
QUESTIONS = [{**HEAD, **asked} for asked in ASKED]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    joint = Joint(tmp_path_factory.mktemp("job"), dealt(5, TRIAL), QUESTIONS, agreed=AGREED)
    outcome = joint.sealed()
    assert len({sealed.digest for sealed in outcome.values()}) == 1
    return {one["name"]: one for one in results(next(iter(outcome.values())))}


def test_every_model_is_answered_together_with_the_others(found: dict[str, dict[str, Any]]) -> None:
    assert {name: one["refused"] for name, one in found.items() if "refused" in one} == {}
    for one in found.values():
        assert "said" not in one and "implied_counts" not in one
        assert printed.text(one) and tidy.rows(one)


def test_the_numbers_are_those_of_all_rows_together(found: dict[str, dict[str, Any]]) -> None:
    whole = TRIAL.dropna()
    gamma = sm.GLM(*_matrices("cost ~ age + arm", whole), family=sm.families.Gamma(sm.families.links.Log())).fit(tol=1e-14, maxiter=99)
    for name in found["cost"]["terms"]:
        assert found["cost"]["coefficients"][name] == pytest.approx(gamma.params[name], rel=1e-9)
    assert (found["cost"]["n"], found["cost"]["dropped"]) == (len(whole), 30)
    assert found["cost"]["compare"]["p"] < 0.001 and found["hazard"]["proportional_hazards"]["whole"]["p"] > 0
    hospital = np.arange(len(TRIAL)) % 5
    columns = np.column_stack([TRIAL["age"], TRIAL["arm"] == "B"])[TRIAL["age"].notna()]
    cox = sm.PHReg(whole["days"], columns, status=whole["died"], strata=hospital[TRIAL["age"].notna()], ties="efron").fit(disp=0)
    assert list(found["hazard"]["coefficients"][name] for name in found["hazard"]["terms"]) == pytest.approx(cox.params, rel=1e-8)
    assert len(found["sites"]["estimates"]) == 5 and found["sites"]["of"] == "cox"
    assert [one["arm"] for one in found["curves"]["curve"]] == ["A", "B"]


def _matrices(formula: str, table: pd.DataFrame) -> tuple[Any, Any]:
    matrices = model_matrix(formula, table)
    return np.asarray(matrices.lhs, dtype=float).ravel(), pd.DataFrame(matrices.rhs)


def test_a_small_hospital_is_left_out_of_a_meta_analysis_and_its_people_stay_unsaid(tmp_path: Path) -> None:
    tables = dealt(5, TRIAL.dropna())
    small = min(tables)
    tables = {name: table.head(4) if name == small else table for name, table in tables.items()}
    asked = [QUESTIONS[5], QUESTIONS[10]]
    outcome = Joint(tmp_path, tables, asked, agreed=AGREED, number="2").sealed()
    model, sites = results(next(iter(outcome.values())))
    assert "refused" not in model and "refused" not in sites, (model, sites)
    # four people at a hospital: another one is left out with it, or the model less all estimates would be theirs
    assert sites["left_out"][0]["hospital"] == small and len(sites["left_out"]) == 2 and len(sites["estimates"]) == 3
    # neither its count nor, next to the total, that of all others
    assert sites["left_out"][0]["n"] is None
    assert any(one["n"] is None for one in sites["estimates"]) or model["n"] is None


@pytest.mark.parametrize(
    ("first", "second"), [("kaplan_meier", "kaplan_meier"), ("cox", "cox"), ("cox", "kaplan_meier"), ("kaplan_meier", "cox")]
)
def test_a_second_grid_is_compared_with_the_first(tmp_path: Path, first: str, second: str) -> None:
    kinds = {"kaplan_meier": {"kind": "kaplan_meier"}, "cox": {"kind": "cox", "formula": "arm", "strata": "none"}}
    whole = {**HEAD, "name": "one", **kinds[first], **SURVIVAL, "grid": [90, 180, 365, 730]}
    shifted = {**HEAD, "name": "two", **kinds[second], **SURVIVAL, "grid": [91, 180, 365, 730]}
    table = TRIAL.assign(days=TRIAL["days"].where(TRIAL["days"] != 91, 92))
    table.loc[[100, 101], "days"] = 91.0
    outcome = Joint(tmp_path, dealt(4, table), [whole, shifted], agreed=AGREED, number="3").sealed()
    one, two = results(next(iter(outcome.values())))
    assert "refused" not in one and two["reasons"] == ["remembered-difference"]
