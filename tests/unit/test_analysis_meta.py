"""A coefficient at each hospital and over them: statsmodels' fits and combination, and R's metafor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from formulaic import model_matrix
from statsmodels.stats.meta_analysis import combine_effects

from pumasi.analysis import meta
from pumasi.analysis.frame import Terms
from tests.analysis_models import ask, digits, frames, names, near, question

INDO = Path(__file__).parents[3] / "shared" / "data" / "r-clinical" / "medicaldata_indo_rct.csv"


def hospital(rows: int, *, seed: int, effect: float = 0.5) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "sex": chance.integers(0, 2, rows)})
    linear = 0.02 * (table["age"] - 60) + effect * table["sex"]
    table["death"] = (chance.random(rows) < 1 / (1 + np.exp(-linear))).astype(int)
    table["time"] = np.ceil(chance.exponential(20 * np.exp(-linear))) + 1
    return table


SIZES = [(300, 0.2), (150, 1.2), (500, 0.5), (90, -0.4), (250, 0.9)]
TABLES = [hospital(rows, seed=seed, effect=effect) for seed, (rows, effect) in enumerate(SIZES)]
ASKED: dict[str, Any] = {"analysis": "model", "of": "glm", "family": "binomial", "formula": "death ~ age + sex", "term": "sex"}
COX: dict[str, Any] = {"analysis": "model", "of": "cox", "time": "time", "event": "death", "formula": "age + sex", "term": "sex"}


def own(table: pd.DataFrame) -> tuple[float, float]:
    matrices = model_matrix("death ~ age + sex", table)
    fit = sm.GLM(np.asarray(matrices.lhs).ravel(), pd.DataFrame(matrices.rhs), family=sm.families.Binomial()).fit(tol=1e-14)
    return fit.params["sex"], fit.bse["sex"]


def own_cox(table: pd.DataFrame) -> tuple[float, float]:
    columns, event = table[["age", "sex"]].to_numpy(float), table["death"].to_numpy()
    fit = sm.PHReg(table["time"].to_numpy(), columns, status=event, ties="efron").fit(disp=0)
    return fit.params[1], fit.bse[1]


@pytest.mark.parametrize(("asked", "each"), [(ASKED, own), (COX, own_cox)])
def test_each_hospital_is_its_own_fit_and_together_they_are_those_of_statsmodels(asked: dict[str, Any], each: Any) -> None:
    found = ask("meta", TABLES, **asked)
    assert "refused" not in found, found
    assert found["rounds"] == 1 and found["left_out"] == []
    wanted = [each(table) for table in TABLES]
    for one, (value, error), table in zip(found["estimates"], wanted, TABLES, strict=True):
        near(one["estimate"], value, within=1e-8)
        near(one["standard_error"], error, within=1e-6)
        assert one["n"] == len(table)
    values, variances = np.array([value for value, _ in wanted]), np.array([error**2 for _, error in wanted])
    pooled = combine_effects(values, variances, method_re="iterated", use_t=False)
    near(found["heterogeneity"]["tau_squared"], pooled.tau2, within=1e-4)  # it stops early
    near(found["heterogeneity"]["tau_squared_dersimonian_laird"], combine_effects(values, variances, method_re="dl").tau2, within=1e-6)
    near(found["heterogeneity"]["q"], pooled.q, within=1e-6)
    near(found["heterogeneity"]["i_squared"], max(0.0, pooled.i2), within=1e-6)
    near(found["fixed"]["estimate"], pooled.mean_effect_fe, within=1e-7)
    near(found["random"]["estimate"], pooled.mean_effect_re, within=1e-4)
    near(found["random"]["standard_error"], pooled.sd_eff_w_re_hksj, within=1e-4)
    near(sum(one["weight"] for one in found["estimates"]), 1.0)


# R 4.2.2, metafor 3.8-1: f <- rma(yi, vi, method = "PM", test = "knha"); f$b, f$se, f$ci.lb, f$ci.ub, f$tau2, f$QE, f$pval
# for yi <- c(0.10, 0.80, 0.40, -0.30, 0.95), vi <- c(0.02, 0.05, 0.01, 0.08, 0.04); rma(yi, vi, method = "DL")$tau2
VALUES, VARIANCES = [0.10, 0.80, 0.40, -0.30, 0.95], [0.02, 0.05, 0.01, 0.08, 0.04]
METAFOR = {
    "b": 0.401206556423634,
    "se": 0.219731371997433,
    "low": -0.208865535817034,
    "high": 1.011278648664301,
    "tau2": 0.203791678830128,
    "q": 21.368222891566266,
    "p": 0.141902105215035,
    "dl": 0.122686170212766,
}


def test_heterogeneity_is_that_of_metafor() -> None:
    estimates = [
        {"hospital": f"h{at}", "n": 99, "estimate": value, "standard_error": variance**0.5}
        for at, (value, variance) in enumerate(zip(VALUES, VARIANCES, strict=True))
    ]
    found = meta.finish({"estimates": estimates, **meta._combined(estimates)})
    near(found["random"]["estimate"], METAFOR["b"], within=1e-6)
    near(found["random"]["standard_error"], METAFOR["se"], within=1e-6)
    near(found["random"]["low"], METAFOR["low"], within=1e-6)
    near(found["random"]["high"], METAFOR["high"], within=1e-6)
    near(found["random"]["p"], METAFOR["p"], within=1e-6)
    near(found["heterogeneity"]["tau_squared"], METAFOR["tau2"], within=1e-6)
    near(found["heterogeneity"]["tau_squared_dersimonian_laird"], METAFOR["dl"], within=1e-9)
    near(found["heterogeneity"]["q"], METAFOR["q"], within=1e-9)
    half = 3.182446305284263 * (METAFOR["se"] ** 2 + METAFOR["tau2"]) ** 0.5  # Student's t with 5 - 2 degrees of freedom
    near(found["prediction"]["low"], METAFOR["b"] - half, within=1e-6)
    near(found["prediction"]["high"], METAFOR["b"] + half, within=1e-6)


def test_hospitals_that_are_alike_differ_by_chance_only() -> None:
    found = ask("meta", [hospital(300, seed=9)] * 4, **ASKED)
    assert found["heterogeneity"]["tau_squared"] == 0 and found["heterogeneity"]["i_squared"] == 0
    near(found["random"]["estimate"], own(hospital(300, seed=9))[0], within=1e-8)
    assert found["prediction"]["low"] == pytest.approx(found["random"]["estimate"])


def test_small_hospitals_are_left_out_by_themselves() -> None:
    tables = [*TABLES, hospital(12, seed=20), hospital(300, seed=21).assign(death=1), hospital(5, seed=3)[:0]]
    found = ask("meta", tables, **ASKED)
    assert [one["hospital"] for one in found["estimates"]] == names(tables)[:5]
    assert [one["hospital"] for one in found["left_out"]] == names(tables)[5:]
    told = {one["who"].get("hospital"): one["n"] for one in found["said"]}
    assert told == {None: found["n"], **{name: len(table) for name, table in zip(names(tables), tables, strict=True)}}
    alone = ask("meta", [TABLES[0], hospital(12, seed=20), hospital(9, seed=5)], **ASKED)
    assert "fewer than two hospitals are large enough" in alone["refused"][0]


def test_two_hospitals_give_no_prediction() -> None:
    found = ask("meta", TABLES[:2], **ASKED)
    assert found["prediction"] is None and found["random"]["df"] == 1


def test_a_hospital_that_fills_the_place_of_another_is_noticed() -> None:
    asked = question("meta", TABLES, **ASKED)
    state = meta.start(asked, Terms(smallest_cell=5, hospitals=5))
    total = sum(meta.local(one, asked | {"here": "h0"}, state) for one in frames(TABLES, asked))
    told = meta.advance(total.tolist(), asked, state, Terms(smallest_cell=5, hospitals=5))["refused"]
    assert told == [meta.INCONSISTENT] and not digits(told)


def test_whom_it_is_about_is_each_hospital_that_is_told_by_itself() -> None:
    asked = question("meta", TABLES, **ASKED)
    told = asked | {"edges": ["h0", "h1", "h3"]}
    found = [meta.groups(one, told)[0] for one in frames(TABLES, asked)]
    assert [np.unique(cells).tolist() for cells in found] == [[0], [1], [-2], [2], [-2]] and meta.group_counts(told) == [3]
    assert {int(cell) for one in frames(TABLES, asked) for cell in meta.groups(one, asked)[0]} == {0} and meta.group_counts(asked) == [1]


def test_the_length_of_a_partial_says_nothing_about_the_data() -> None:
    asked = question("meta", TABLES, **ASKED)
    full, none = frames([TABLES[0], TABLES[0][:0], *TABLES[2:]], asked)[:2]
    state = meta.start(asked, Terms(smallest_cell=5, hospitals=5))
    one, other = meta.local(full, asked | {"here": "h0"}, state), meta.local(none, asked | {"here": "h1"}, state)
    assert one.shape == other.shape and np.all(other == 0)


def test_what_a_node_does_not_answer_whatever_the_client_says() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("is no term of the model; there are Intercept, age, sex", {**ASKED, "term": "ward"}),
        ("leave C\\(hospital\\) out", {**ASKED, "formula": "death ~ sex + C(hospital)"}),
        ("hospitals are strata already", {**COX, "formula": "sex + C(hospital)"}),
        ("carries all keys of its model", {key: value for key, value in ASKED.items() if key != "family"}),
    ]
    for sentence, fields in cases:
        with pytest.raises(AssertionError, match=sentence):
            ask("meta", TABLES, **fields)


@pytest.mark.skipif(not INDO.is_file(), reason=f"the trial is not at {INDO}")
def test_a_trial_whose_smallest_hospitals_have_three_and_twenty_two_patients() -> None:
    table = pd.read_csv(INDO)
    table = table.assign(event=(table["outcome"] == "1_yes").astype(int), treated=(table["rx"] == "1_indomethacin").astype(int))
    tables = [part[["event", "treated"]] for _, part in table.groupby("site")]
    asked = {**ASKED, "formula": "event ~ treated", "term": "treated"}
    found = ask("meta", tables, **asked)
    assert len(found["estimates"]) == 2 and sorted(one["n"] for one in found["left_out"]) == [3, 22]


def test_nothing_but_the_standard_library_and_numpy_runs_beside_the_data() -> None:
    code = "import json, sys, pumasi.analysis.meta; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert "numpy" in loaded and not {"scipy", "pandas", "formulaic", "pydantic"} & set(loaded)
