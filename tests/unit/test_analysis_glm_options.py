"""Gamma, offsets, weights, robust and clustered errors, hospitals as effects, likelihood-ratio tests, ridges: as pooled rows give them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.api as sm
from formulaic import model_matrix

from pumasi.analysis.covariates import folds
from pumasi.analysis.glm_fit import FOLDS, PENALTIES
from tests.analysis_models import ask, near, pooled
from tests.analysis_rounds import split

INDO = Path(__file__).parents[3] / "shared" / "data" / "r-clinical" / "medicaldata_indo_rct.csv"
LEVELS = {"ward": ["x", "y", "z"]}
FAMILIES = {
    "gaussian": sm.families.Gaussian(),
    "binomial": sm.families.Binomial(),
    "poisson": sm.families.Poisson(),
    "gamma": sm.families.Gamma(sm.families.links.Log()),
}


def patients(rows: int = 1200) -> pd.DataFrame:
    chance = np.random.default_rng(11)
    table = pd.DataFrame({"age": chance.normal(60, 12, rows), "dose": chance.gamma(2, 3, rows)})
    table["ward"] = pd.Categorical(chance.choice(["x", "y", "z"], rows, p=[0.5, 0.3, 0.2]), categories=LEVELS["ward"])
    linear = 0.02 * (table["age"] - 60) + 0.3 * (table["ward"] == "y").astype(float)
    table["years"] = chance.gamma(3, 1, rows) + 0.1
    table["exposure"] = np.log(table["years"])
    table["worth"] = chance.gamma(2, 1e3, rows) + 1
    table["cost"] = chance.gamma(2, np.exp(linear + 8 + 0.5 * table["exposure"]) / 2, rows)
    table["falls"] = chance.poisson(np.exp(linear) * table["years"])
    table["death"] = (chance.random(rows) < 1 / (1 + np.exp(-linear + 0.2))).astype(int)
    table["weight"] = 70 + 5 * linear + chance.normal(0, 1 + 0.05 * table["age"], rows)
    table.loc[chance.random(rows) < 0.04, "dose"] = np.nan
    table.loc[chance.random(rows) < 0.03, "years"] = np.nan
    table["exposure"] = table["exposure"].where(table["years"].notna())
    return table


PATIENTS = patients()
TABLES = split(PATIENTS, 6)
OUTCOME = {"gaussian": "weight", "binomial": "death", "poisson": "falls", "gamma": "cost"}


def statsmodels(formula: str, family: str, table: pd.DataFrame, fit: dict[str, Any] | None = None, **columns: str) -> Any:
    used = table.dropna(subset=[name for name in [*model_columns(formula, table), *columns.values()]])
    matrices = model_matrix(formula, used)
    beside = {key: used[name].to_numpy() for key, name in columns.items()}
    matrix, outcome = pd.DataFrame(matrices.rhs), np.asarray(matrices.lhs, dtype=float).ravel()
    model = sm.GLM(outcome, matrix, family=FAMILIES[family], **beside)
    options = dict(fit or {})
    if options.get("cov_type") == "cluster":
        options["cov_kwds"] = {"groups": pd.factorize(used["hospital"])[0]}
    return model.fit(tol=1e-14, maxiter=300, **options)


def model_columns(formula: str, table: pd.DataFrame) -> list[str]:
    return [
        name for name in table.columns if name in formula.replace("~", " ").replace("*", " ").replace("(", " ").replace(")", " ").split()
    ]


def assert_fit(found: dict[str, Any], wanted: Any, *, correction: float = 1.0) -> None:
    """`correction` of standard errors: statsmodels has no n/(n-k) for its GLM."""
    assert "refused" not in found, found
    assert found["terms"] == list(wanted.params.index)
    for name in found["terms"]:
        near(found["coefficients"][name], wanted.params[name])
        near(found["standard_errors"][name], correction * wanted.bse[name], within=1e-6)
    near(found["deviance"], wanted.deviance)
    near(found["null_deviance"], wanted.null_deviance)
    near(found["log_likelihood"], wanted.llf)
    near(found["aic"], wanted.aic)
    near(found["bic"], wanted.bic_llf)
    near(found["dispersion"], wanted.scale)
    assert found["df_residual"] == wanted.df_resid
    assert found["df_model"] == wanted.df_model or "Intercept" not in found["terms"]  # statsmodels always takes one off


@pytest.mark.parametrize("family", list(OUTCOME))
@pytest.mark.parametrize("columns", [{}, {"offset": "exposure"}, {"weights": "worth"}, {"offset": "exposure", "weights": "worth"}])
@pytest.mark.parametrize("terms", ["age + dose*ward", "age - 1"])
def test_offset_and_weights_are_those_of_statsmodels(family: str, columns: dict[str, str], terms: str) -> None:
    formula = f"{OUTCOME[family]} ~ {terms}"
    found = ask("glm", TABLES, levels=LEVELS, family=family, formula=formula, **columns)
    beside = {{"weights": "var_weights"}.get(key, key): name for key, name in columns.items()}
    wanted = statsmodels(formula, family, pooled(TABLES), **beside)
    if terms.endswith("- 1"):  # statsmodels takes the constant for a null model only where the model has one
        wanted.null_deviance = found["null_deviance"]
    assert_fit(found, wanted)


@pytest.mark.filterwarnings("ignore:cov_type not fully supported with var_weights")
@pytest.mark.parametrize("family", list(OUTCOME))
@pytest.mark.parametrize("errors", [{"robust": "HC0"}, {"robust": "HC1"}, {"cluster": "hospital"}])
@pytest.mark.parametrize("columns", [{}, {"weights": "worth"}])
def test_robust_and_clustered_errors_are_those_of_statsmodels(family: str, errors: dict[str, str], columns: dict[str, str]) -> None:
    formula = f"{OUTCOME[family]} ~ age + dose + ward"
    found = ask("glm", TABLES, levels=LEVELS, family=family, formula=formula, **errors, **columns)
    beside = {"var_weights": columns["weights"]} if columns else {}
    wanted = statsmodels(formula, family, pooled(TABLES), {"cov_type": "cluster" if "cluster" in errors else "HC0"}, **beside)
    assert_fit(found, wanted, correction=math.sqrt(wanted.nobs / wanted.df_resid) if errors.get("robust") == "HC1" else 1.0)


def test_hc1_is_that_of_least_squares() -> None:
    found = ask("glm", TABLES, levels=LEVELS, family="gaussian", formula="weight ~ age + ward", robust="HC1")
    matrices = model_matrix("weight ~ age + ward", PATIENTS)
    wanted = sm.OLS(np.asarray(matrices.lhs).ravel(), pd.DataFrame(matrices.rhs)).fit(cov_type="HC1")
    for name in found["terms"]:
        near(found["standard_errors"][name], wanted.bse[name], within=1e-9)


def test_hospitals_are_fixed_effects() -> None:
    tables = split(PATIENTS, 4)
    found = ask("glm", tables, levels=LEVELS, family="binomial", formula="death ~ age + C(hospital)")
    wanted = statsmodels("death ~ age + C(hospital)", "binomial", pooled(tables))
    assert_fit(found, wanted)
    assert "hospital" not in found["columns"]
    few = [tables[0], tables[1], tables[2].head(4)]
    assert "on one side of" in ask("glm", few, levels=LEVELS, family="binomial", formula="death ~ age + C(hospital)")["refused"][0]


@pytest.mark.parametrize("family", list(OUTCOME))
def test_a_smaller_model_is_compared_on_the_same_people(family: str) -> None:
    large, small = f"{OUTCOME[family]} ~ age + dose + ward", f"{OUTCOME[family]} ~ age"
    found = ask("glm", TABLES, levels=LEVELS, family=family, formula=large, compare=small)
    complete = pooled(TABLES).dropna(subset=["dose"])
    one, other = statsmodels(large, family, complete), statsmodels(small, family, complete)
    assert_fit(found, one)
    statistic = (other.deviance - one.deviance) / one.scale if family == "gamma" else 2 * (one.llf - other.llf)
    near(found["compare"]["statistic"], statistic, within=1e-7)
    near(found["compare"]["p"], scipy.stats.chi2.sf(statistic, 3), within=1e-6)
    assert found["compare"]["df"] == 3 and found["compare"]["formula"] == small


def standardised(formula: str, table: pd.DataFrame) -> tuple[Any, Any, Any, Any]:
    matrices = model_matrix(formula, table)
    matrix = np.asarray(matrices.rhs, dtype=float)[:, 1:]
    centre, scale = matrix.mean(axis=0), matrix.std(axis=0)
    return np.asarray(matrices.lhs, dtype=float).ravel(), (matrix - centre) / scale, centre, scale


def penalised(family: str, outcome: Any, matrix: Any, penalty: float) -> Any:
    """The ridge fit by a general optimiser: intercept first."""
    full = np.column_stack([np.ones(len(matrix)), matrix])

    def objective(beta: Any) -> tuple[float, Any]:
        linear = full @ beta
        if family == "binomial":
            loss, slope = np.sum(np.logaddexp(0, linear) - outcome * linear), outcome - 1 / (1 + np.exp(-linear))
        elif family == "poisson":
            loss, slope = np.sum(np.exp(linear) - outcome * linear), outcome - np.exp(linear)
        else:
            loss, slope = np.sum((outcome - linear) ** 2) / 2, outcome - linear
        shrunk = np.concatenate([[0], beta[1:]])
        return float(loss + penalty / 2 * np.sum(shrunk**2)), -full.T @ slope + penalty * shrunk

    begin = np.zeros(full.shape[1])
    begin[0] = {"binomial": 0.0, "poisson": np.log(outcome.mean()), "gaussian": outcome.mean()}[family]
    found = scipy.optimize.minimize(objective, begin, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    return found.x


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
@pytest.mark.parametrize("penalty", [0.5, 40])
def test_a_ridge_penalises_the_standardised_columns(family: str, penalty: float) -> None:
    formula = f"{OUTCOME[family]} ~ age + dose + ward"
    found = ask("glm", TABLES, levels=LEVELS, family=family, formula=formula, ridge=penalty)
    outcome, matrix, centre, scale = standardised(formula, PATIENTS.dropna(subset=["dose"]))
    beta = penalised(family, outcome, matrix, penalty)
    for name, value in zip(found["terms"][1:], beta[1:] / scale, strict=True):
        near(found["coefficients"][name], value, within=1e-5)
    near(found["coefficients"]["Intercept"], beta[0] - np.sum(beta[1:] / scale * centre), within=1e-5)
    if family == "gaussian":  # the ridge in closed form
        exact = np.linalg.solve(matrix.T @ matrix + penalty * np.eye(4), matrix.T @ (outcome - outcome.mean())) / scale
        for name, value in zip(found["terms"][1:], exact, strict=True):
            near(found["coefficients"][name], value)
        worth = 1 + np.trace(np.linalg.solve(matrix.T @ matrix + penalty * np.eye(4), matrix.T @ matrix))
        near(found["df_model"], worth - 1)
    assert found["ridge"] == penalty and found["df_model"] < 4


def test_a_ridge_allows_columns_that_depend_on_each_other_and_separation() -> None:
    table = PATIENTS.assign(twice=2 * PATIENTS["age"], old=(PATIENTS["age"] > 60).astype(int))
    tables = split(table, 3)
    assert "collinearity" in ask("glm", tables, family="binomial", formula="death ~ age + twice")["refused"][0]
    found = ask("glm", tables, family="binomial", formula="death ~ age + twice", ridge=1)
    assert abs(found["coefficients"]["age"] - 2 * found["coefficients"]["twice"]) < 1e-9
    assert "separation" in ask("glm", tables, family="binomial", formula="old ~ age + dose")["refused"][0]
    assert "refused" not in ask("glm", tables, family="binomial", formula="old ~ age + dose", ridge=1)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_cross_validation_picks_the_penalty_that_predicts_those_left_out(family: str) -> None:
    table = PATIENTS.head(300).assign(**{f"n{i}": np.random.default_rng(i).normal(size=300) for i in range(12)}).drop(columns="dose")
    tables = split(table, 3)
    formula = f"{OUTCOME[family]} ~ age + ward + " + " + ".join(f"n{i}" for i in range(12))
    found = ask("glm", tables, levels=LEVELS, family=family, formula=formula, ridge="cv")
    assert "refused" not in found, found
    whole = pd.concat(tables, ignore_index=True)
    fold = np.concatenate([folds(np.arange(len(part)), FOLDS) for part in tables])
    outcome, matrix, _, _ = standardised(formula, whole)  # scaled once, on everybody
    model = FAMILIES[family]
    lost = []
    for penalty in PENALTIES:
        total = 0.0
        for number in range(FOLDS):
            beta = penalised(family, outcome[fold != number], matrix[fold != number], penalty)
            linear = beta[0] + matrix[fold == number] @ beta[1:]
            total += model.deviance(outcome[fold == number], model.link.inverse(linear), scale=1.0)
        lost.append(total)
    assert found["ridge"] == PENALTIES[int(np.argmin(lost))]
    assert [one["ridge"] for one in found["ridge_path"]] == PENALTIES
    for one, wanted in zip(found["ridge_path"], lost, strict=True):
        near(one["deviance"], wanted, within=1e-3)
    fixed = ask("glm", tables, levels=LEVELS, family=family, formula=formula, ridge=found["ridge"])
    assert fixed["coefficients"] == pytest.approx(found["coefficients"], rel=1e-9)
    assert found["rounds"] <= 12


def test_a_fold_that_would_single_people_out_refuses_the_cross_validation() -> None:
    table = PATIENTS.assign(rare=(np.arange(len(PATIENTS)) < 12).astype(int))
    found = ask("glm", split(table, 3), family="binomial", formula="death ~ age + rare", ridge="cv", smallest_cell=5)
    assert "in a fold of the cross-validation" in found["refused"][0] and "'rare'" in found["refused"][0]
    assert "refused" not in ask("glm", split(table, 3), family="binomial", formula="death ~ age + rare", ridge=1, smallest_cell=5)


def test_weights_and_exposures_of_a_few_people_are_refused() -> None:
    heavy = PATIENTS.assign(worth=np.where(np.arange(len(PATIENTS)) < 2, 1e9, 1.0), exposure=np.where(PATIENTS.index < 3, 20.0, 0.0))
    tables = split(heavy, 3)
    told = ask("glm", tables, family="binomial", formula="death ~ age", weights="worth")["refused"]
    assert "a few people have most of the weight of 'worth'" in told[0]
    told = ask("glm", tables, family="poisson", formula="falls ~ age", offset="exposure")["refused"]
    assert any("on one side of 'exposure'" in one for one in told) and any("most of the exposure" in one for one in told)
    nothing = split(PATIENTS.assign(worth=np.where(PATIENTS.index == 5, 0.0, 1.0)), 3)
    assert "must be above zero" in ask("glm", nothing, family="binomial", formula="death ~ age", weights="worth")["refused"][0]
    hardly = split(PATIENTS.assign(worth=1e-200), 3)  # their sum is lost on its way
    assert "must be above zero" in ask("glm", hardly, family="binomial", formula="death ~ age", weights="worth")["refused"][0]


def test_three_hospitals_are_too_few_clusters() -> None:
    told = ask("glm", split(PATIENTS, 3), family="binomial", formula="death ~ age", cluster="hospital")
    assert "at least four hospitals" in told["refused"][0] and told["rounds"] == 1


def test_gamma_needs_outcomes_above_zero() -> None:
    table = PATIENTS.assign(cost=PATIENTS["cost"].where(PATIENTS.index != 7, 0.0))
    assert "must be numbers above zero" in ask("glm", split(table, 3), family="gamma", formula="cost ~ age")["refused"][0]


def test_few_incomplete_cases_are_not_told() -> None:
    assert ask("glm", TABLES, family="binomial", formula="death ~ age")["dropped"] == 0
    assert ask("glm", TABLES, family="binomial", formula="death ~ dose")["dropped"] == int(PATIENTS["dose"].isna().sum())
    few = PATIENTS.assign(age=PATIENTS["age"].where(PATIENTS.index >= 4))
    assert ask("glm", split(few, 3), family="binomial", formula="death ~ age")["dropped"] is None


def test_what_a_node_does_not_fit_whatever_the_client_says() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("likelihood-ratio test compares models without a penalty", {"compare": "death ~ age", "ridge": 1}),
        ("take terms away from it", {"compare": "death ~ age + dose + years"}),
        ("take terms away from it", {"compare": "death ~ age + dose"}),
        ("two kinds of standard errors", {"robust": "HC0", "cluster": "hospital"}),
        ("uses already", {"offset": "age"}),
        ("must be a column of numbers", {"weights": "ward"}),
    ]
    for sentence, fields in cases:
        with pytest.raises(AssertionError, match=sentence):
            ask("glm", TABLES, levels=LEVELS, family="binomial", formula="death ~ age + dose", **fields)
    with pytest.raises(AssertionError, match="clustered by hospital mean nothing"):
        ask("glm", TABLES, levels=LEVELS, family="binomial", formula="death ~ C(hospital)", cluster="hospital")


@pytest.mark.skipif(not INDO.is_file(), reason=f"the trial is not at {INDO}")
def test_a_trial_in_four_hospitals() -> None:
    table = pd.read_csv(INDO)
    table = table.assign(event=(table["outcome"] == "1_yes").astype(int), treated=(table["rx"] == "1_indomethacin").astype(int))
    tables = [part[["event", "treated", "age", "risk"]] for _, part in table.groupby("site")]
    for options in ({"robust": "HC0"}, {"cluster": "hospital"}):
        found = ask("glm", tables, family="binomial", formula="event ~ treated + age + risk", **options)
        kind = {"cov_type": "cluster" if "cluster" in options else "HC0"}
        assert_fit(found, statsmodels("event ~ treated + age + risk", "binomial", pooled(tables), kind))
    assert math.isclose(found["n"] + found["dropped"], 602)
