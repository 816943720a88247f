"""Cox regression over hospitals is the pooled fit, by statsmodels' PHReg and by numbers from R's survival."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from formulaic import model_matrix
from lifelines.utils import concordance_index

from pumasi.analysis import checks, risk_sets, time_grid
from pumasi.analysis.covariates import folds
from pumasi.analysis.frame import Terms
from pumasi.analysis.glm_fit import FOLDS, PENALTIES
from pumasi.analysis.methods import KINDS
from tests.analysis_models import ask, frames, near, pooled, question
from tests.analysis_rounds import split

COLON = Path(__file__).parents[3] / "shared" / "data" / "r-clinical" / "survival_colon.csv"
needs_colon = pytest.mark.skipif(not COLON.is_file(), reason=f"the colon cancer trial is not at {COLON}")
LEVELS = {"ward": ["x", "y", "z"]}
GRID = [1.0, 2, 5, 10, 15, 20, 30, 40, 60, 90, 120]


def patients(rows: int = 900, *, seed: int = 4) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "sex": chance.integers(0, 2, rows), "dose": chance.lognormal(20, 1, rows)})
    table["ward"] = pd.Categorical(chance.choice(["x", "y", "z"], rows, p=[0.6, 0.25, 0.15]), categories=LEVELS["ward"])
    linear = 0.03 * (table["age"] - 60) + 0.5 * table["sex"]
    table["time"] = np.ceil(chance.exponential(30 * np.exp(-linear)))  # many events at one time
    table["dead"] = (chance.random(rows) < 0.7).astype(int)
    table.loc[chance.random(rows) < 0.05, "age"] = np.nan
    table.loc[chance.random(rows) < 0.02, "time"] = np.nan
    return table


PATIENTS = patients()
TABLES = split(PATIENTS, 6)


def reference(formula: str, table: pd.DataFrame, ties: str, strata: Any = None) -> Any:
    matrix = pd.DataFrame(model_matrix(formula, table)).iloc[:, 1:]
    scale = matrix.std().to_numpy()
    fit = sm.PHReg(table["time"].to_numpy(), (matrix / scale).to_numpy(), status=table["dead"].to_numpy(), strata=strata, ties=ties).fit(
        disp=0
    )
    return dict(zip(matrix.columns, fit.params / scale, strict=True)), dict(zip(matrix.columns, fit.bse / scale, strict=True)), fit.llf


def assert_fit(found: dict[str, Any], wanted: tuple[dict[str, float], dict[str, float], float]) -> None:
    assert "refused" not in found, found
    coefficients, errors, log_likelihood = wanted
    assert found["terms"] == list(coefficients)
    for name in coefficients:
        near(found["coefficients"][name] / errors[name], coefficients[name] / errors[name])
        near(found["standard_errors"][name] / errors[name], 1.0, within=1e-6)
    near(found["log_likelihood"], log_likelihood)


def on_grid(table: pd.DataFrame, grid: list[float]) -> pd.DataFrame:
    """Times as the first grid time not before them; after the last nobody is seen to die."""
    place = np.searchsorted(grid, table["time"])
    times = np.append(grid, grid[-1] + 1)
    return table.assign(time=times[place], dead=np.where(place == len(grid), 0, table["dead"]))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("formula", ["age", "age + sex*ward", "dose + C(sex):age"])
def test_stratified_by_hospital(formula: str, ties: str) -> None:
    found = ask("cox", TABLES, levels={**LEVELS, "sex": ["0", "1"]}, time="time", event="dead", formula=formula, ties=ties)
    used = ["time", "dead", "sex", *(["age"] if "age" in formula else [])]
    table = pooled(TABLES).dropna(subset=used)
    assert_fit(found, reference(formula, table, ties, table["hospital"]))
    assert (found["n"], found["events"]) == (len(table), int(table["dead"].sum()))
    assert found["dropped"] == len(PATIENTS) - len(table)
    assert found["rounds"] <= 9


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_stratified_by_hospital_and_a_column(ties: str) -> None:
    found = ask("cox", TABLES, levels=LEVELS, time="time", event="dead", formula="age + sex", strata="ward", ties=ties)
    table = pooled(TABLES).dropna()
    assert_fit(found, reference("age + sex", table, ties, table["hospital"] + table["ward"].astype(str)))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("smallest_cell", [1, 5, 25])
def test_one_baseline_on_a_grid(ties: str, smallest_cell: int) -> None:
    found = ask(
        "cox", TABLES, levels=LEVELS, time="time", event="dead", formula="age + sex*ward", strata="none", ties=ties, grid=GRID,
        smallest_cell=smallest_cell,
    )  # fmt: skip
    table = on_grid(pooled(TABLES).dropna(), found["grid"])
    assert_fit(found, reference("age + sex*ward", table, ties))
    assert set(found["grid"]) <= set(GRID) and (len(found["grid"]) < len(GRID)) == (smallest_cell > 5)
    exits = table.groupby(["time", "dead"]).size()
    assert exits.min() >= smallest_cell


def test_one_baseline_with_hospitals_as_effects() -> None:
    tables = split(PATIENTS, 3)
    found = ask("cox", tables, levels=LEVELS, time="time", event="dead", formula="age + C(hospital)", strata="none", grid=GRID)
    assert_fit(found, reference("age + C(hospital)", on_grid(pooled(tables).dropna(), found["grid"]), "efron"))


def colon() -> list[pd.DataFrame]:
    table = pd.read_csv(COLON)
    table = table[table["etype"] == 2].dropna(subset=["nodes"])
    table = table.assign(lev=(table["rx"] == "Lev").astype(int), both=(table["rx"] == "Lev+5FU").astype(int))
    return [part[["time", "status", "age", "sex", "nodes", "lev", "both", "rx"]] for _, part in table.groupby(table["id"] % 6)]


# R 4.2.2 with survival 3.5-3: d <- the deaths (etype == 2) of survival_colon.csv without missing nodes, site <- id %% 6;
# f <- coxph(Surv(time, status) ~ age + sex + nodes + lev + both + strata(site), d, ties = ..., control = coxph.control(eps = 1e-14));
# coef(f), sqrt(diag(vcov(f))), f$loglik, cox.zph(f, transform = "identity", terms = FALSE)$table[, 1], concordance(f)$concordance
R_STRATIFIED = {
    "efron": (
        [0.00515705896110646, -0.02873712212672033, 0.09525826575993167, -0.07164800617638196, -0.40944138814897457],
        [0.00406558259264709, 0.09652885550553687, 0.00917342687528019, 0.11206298918339923, 0.12096977032343242],
        [-2061.92797614068, -2017.34019147568],
        [0.112675244279272, 1.607952263427236, 0.190921764183004, 0.620151266808908, 0.541818575519456, 4.178242590152786],
    ),
    "breslow": (
        [0.0051635229873551, -0.0285636813258143, 0.0952098935594995, -0.0716129147609998, -0.4096598531391233],
        [0.00406544811394440, 0.09652724226029104, 0.00917344668464096, 0.11206215990631807, 0.12096901882152701],
        [-2061.98728106177, -2017.42740076033],
        [0.113566726370911, 1.606451699808147, 0.192869706832750, 0.620561531262798, 0.540235859301333, 4.177431999425548],
    ),
}
R_CONCORDANCE = 0.638834182689379
# the same without strata, times moved up to g <- c(180, 365, 545, 730, 1095, 1460, 1825, 2190, 2555) and nobody dying after it;
# last: summary(survfit(f, newdata = the means), times = g)$cumhaz
R_GRID = {
    "efron": (
        [0.00543799684506822, -0.06427377856427167, 0.09166827349117231, -0.10278494171248811, -0.39981676892971557],
        [0.00406122946647646, 0.09635506634578295, 0.00883720696251998, 0.11261763197447240, 0.12096457904392724],
        [-2832.64362202603, -2789.60151921013],
        [0.2552862674299101, 0.0262139892144815, 0.2023190014087662, 1.7357393361067817, 0.3509420387581115, 4.0767290826723261],
        [0.0243832662522920, 0.0799235725968568, 0.1461710713576489, 0.2369991609651965, 0.3717386058805440, 0.4891210963697732,
         0.5539722635142082, 0.6190270135889785, 0.6590591466981293],
    ),
    "breslow": (
        [0.0050870468279763, -0.0607736986199707, 0.0864967980186806, -0.0922015008506472, -0.3737018652262451],
        [0.00405466430401520, 0.09634522690461832, 0.00889642911157778, 0.11251608595065130, 0.12096308395940576],
        [-2851.33845041607, -2812.69262049156],
        [0.2284775087489675, 0.0118846902943627, 0.0260891814715008, 1.7653173494506713, 0.3055056718202842, 3.7533515158918163],
        [0.0243032502703564, 0.0786536339682482, 0.1424278384197680, 0.2290350525380188, 0.3539057668484717, 0.4639079073637430,
         0.5263119161351615, 0.5892715380203533, 0.6284489016487584],
    ),
}  # fmt: skip


def assert_r(found: dict[str, Any], coefficients: list[float], errors: list[float], likelihoods: list[float], trends: list[float]) -> None:
    assert "refused" not in found, found
    for name, value, error, trend in zip(found["terms"], coefficients, errors, trends, strict=False):
        near(found["coefficients"][name], value)
        near(found["standard_errors"][name], error, within=1e-6)
        near(found["proportional_hazards"]["terms"][name]["statistic"], trend, within=1e-6)
    near(found["proportional_hazards"]["whole"]["statistic"], trends[-1], within=1e-6)
    near(found["null_log_likelihood"], likelihoods[0])
    near(found["log_likelihood"], likelihoods[1])


@needs_colon
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_colon_trial_is_that_of_r(ties: str) -> None:
    asked = {"time": "time", "event": "status", "formula": "age + sex + nodes + lev + both", "ties": ties}
    found = ask("cox", colon(), **asked)
    assert_r(found, *R_STRATIFIED[ties])
    near(found["concordance"], R_CONCORDANCE)
    assert found["proportional_hazards"]["whole"]["p"] == pytest.approx(0.524, abs=1e-3)
    grid = [180.0, 365, 545, 730, 1095, 1460, 1825, 2190, 2555]
    found = ask("cox", colon(), strata="none", grid=grid, smallest_cell=1, **asked)
    *model, baseline = R_GRID[ties]
    assert_r(found, *model)  # type: ignore[arg-type]  # four lists of five
    for one, wanted in zip(found["baseline"], baseline, strict=True):
        near(one["cumulative_hazard"], wanted, within=1e-8)
    assert "concordance" not in found


# ridge(age, sex, nodes, lev, both, theta = 20, scale = FALSE) + strata(site): coef(f), sqrt(diag(f$var)), f$loglik[2], f$df[1]
R_RIDGE = (
    [0.00511499969770393, -0.02140681428090713, 0.09498327958395286, -0.02629706280856555, -0.31450797135257058],
    [0.00406589363205220, 0.08859829821973229, 0.00917265717143765, 0.09895910273065173, 0.10406563504023160],
    -2017.65207849562,
    4.42854224024746,
)


@needs_colon
def test_a_ridge_on_the_columns_is_that_of_r() -> None:
    found = ask("cox", colon(), time="time", event="status", formula="age + sex + nodes + lev + both", ridge=20, ridge_on="columns")
    coefficients, errors, log_likelihood, worth = R_RIDGE
    for name, value, error in zip(found["terms"], coefficients, errors, strict=True):
        near(found["coefficients"][name], value, within=1e-6)  # R stops its penalised fit early
        near(found["standard_errors"][name], error, within=1e-6)
    near(found["log_likelihood"], log_likelihood)
    near(found["df_model"], worth, within=1e-6)


def test_cross_validation_picks_the_penalty_that_predicts_those_left_out() -> None:
    table = (
        patients(300, seed=1)
        .dropna()
        .assign(**{f"n{i}": lambda rows, i=i: np.random.default_rng(i).normal(size=len(rows)) for i in range(8)})
    )
    tables = split(table, 3)
    names = ["age", "sex", *(f"n{i}" for i in range(8))]
    for scale in ("standardised", "columns"):
        found = ask("cox", tables, time="time", event="dead", formula=" + ".join(names), ridge="cv", ridge_on=scale)
        fold = np.concatenate([folds(np.arange(len(part)), FOLDS) for part in tables])
        whole = pooled(tables)
        lost = []
        for penalty in PENALTIES:
            total = 0.0
            for number in range(FOLDS):
                beta = penalised(whole[fold != number], names, penalty, whole if scale == "standardised" else None)
                total -= 2 * (likelihood(whole, names, beta) - likelihood(whole[fold != number], names, beta))
            lost.append(total)
        assert found["ridge"] == PENALTIES[int(np.argmin(lost))] and found["ridge_on"] == scale
        for one, wanted in zip(found["ridge_path"], lost, strict=True):
            near(one["deviance"], wanted, within=1e-4)
        fixed = ask("cox", tables, time="time", event="dead", formula=" + ".join(names), ridge=found["ridge"], ridge_on=scale)
        assert fixed["coefficients"] == pytest.approx(found["coefficients"], rel=1e-9)


def strata_of(table: pd.DataFrame, names: list[str]) -> list[risk_sets.Stratum]:
    parts = [part.sort_values("time") for _, part in table.groupby("hospital")]
    return [risk_sets.Stratum(part["time"].to_numpy(), part["dead"].to_numpy() == 1, part[names].to_numpy(dtype=float)) for part in parts]


def likelihood(table: pd.DataFrame, names: list[str], beta: Any) -> float:
    return sum(risk_sets.evaluate(one, one.matrix @ beta, "efron").log_likelihood for one in strata_of(table, names))


def penalised(table: pd.DataFrame, names: list[str], penalty: float, whole: pd.DataFrame | None) -> Any:
    """Newton's method on the columns as they are; the penalty on those of `whole`, standardised."""
    weights = penalty * (whole[names].to_numpy(dtype=float).var(axis=0) if whole is not None else np.ones(len(names)))
    beta = np.zeros(len(names))
    for _ in range(15):
        found = [risk_sets.evaluate(one, one.matrix @ beta, "efron") for one in strata_of(table, names)]
        information = sum(one.information for one in found) + np.diag(weights)
        beta = beta + np.linalg.solve(information, sum(one.score for one in found) - weights * beta)
    return beta


def test_concordance_counts_pairs_as_lifelines_does() -> None:
    chance = np.random.default_rng(9)
    for rows in (1, 2, 7, 64, 333):
        time, event = np.sort(chance.integers(0, 12, rows)).astype(float), chance.random(rows) < 0.6
        risk = np.round(chance.normal(size=rows), 1)
        stratum = risk_sets.Stratum(time, event, np.zeros((rows, 0)))
        concordant, discordant, tied = risk_sets.pairs(stratum, risk)
        if concordant + discordant + tied == 0:
            with pytest.raises(ZeroDivisionError):
                concordance_index(time, -risk, event)
        else:
            near((concordant + tied / 2) / (concordant + discordant + tied), concordance_index(time, -risk, event))


def test_a_hospital_without_events_and_one_of_few_people_change_nothing() -> None:
    table = PATIENTS.dropna()
    alive, dead = table[table["dead"] == 0], table[table["dead"] == 1]
    tables = [alive[:60], table[:0], dead[:1], alive[60:62], pd.concat([alive[62:], dead[1:]])]
    found = ask("cox", tables, levels=LEVELS, time="time", event="dead", formula="age + sex")
    whole = pooled(tables)
    assert_fit(found, reference("age + sex", whole, "efron", whole["hospital"]))


def test_the_length_of_a_partial_says_nothing_about_the_data() -> None:
    for fields in ({}, {"strata": "ward"}, {"strata": "none", "grid": GRID}, {"ridge": "cv"}):
        asked = question("cox", TABLES[:3], levels=LEVELS, time="time", event="dead", formula="age + sex", **fields)
        full, none = frames([PATIENTS, PATIENTS[:0], PATIENTS[:0]], asked)[:2]
        method, terms, state = KINDS["cox"], Terms(smallest_cell=5, hospitals=3), {"step": "count"}
        while state["step"] != "done":
            one, other = method.local(full, asked, state), method.local(none, asked, state)
            assert one.shape == other.shape and np.all(other == 0)
            state = method.advance(one.tolist(), asked, state, terms)
        with pytest.raises(ValueError, match="no step"):
            method.local(full, asked, state)
        with pytest.raises(ValueError, match="no step"):
            method.advance([], asked, state, terms)


def why(table: pd.DataFrame, formula: str = "age + sex", *, hospitals: int = 3, **fields: Any) -> str:
    found = ask("cox", split(table, hospitals), levels=LEVELS, time="time", event="dead", formula=formula, **fields)
    assert "refused" in found, found
    told = "; ".join(found["refused"])
    assert not re.search(r"\d", told), told
    return told


def test_what_no_cox_model_answers() -> None:
    table = PATIENTS.dropna().reset_index(drop=True)
    alike = table.assign(twice=2 * table["age"], never=np.where(table["dead"] == 1, 0, table["sex"]))
    assert "collinearity), leave one of them out: 'age', 'twice'" in why(alike, "age + twice")
    assert "separation" in why(alike, "age + never")
    assert "nobody has a value" in why(table.assign(age=np.nan))
    assert "'dead'" in why(table.assign(dead=0)) and "'dead'" in why(table.assign(dead=1))
    few = table.assign(dead=(np.arange(len(table)) < 11).astype(int))
    assert "too many parameters for its events" in why(few)
    assert "must be zero or one" in why(table.assign(dead=table["dead"] * 2))
    assert "below zero" in why(table.assign(time=table["time"].where(table.index != 4, -1)))
    assert "beyond anything" in why(table.assign(age=table["age"].where(table.index != 4, np.inf)))
    rare = table.assign(rare=(np.arange(len(table)) < 4).astype(int))
    assert "on one side of 'rare'" in why(rare, "age + rare")
    common = table.assign(rare=(np.arange(len(table)) >= 4).astype(int))
    assert "on one side of 'rare'" in why(common, "age + rare")
    assert "same value for everybody" in why(table.assign(faint=(table["age"] - 60) * 1e-200), "faint")
    assert "more than one parameter for every ten" in why(table[:25], "age + sex + ward")
    strange = table.astype({"ward": object})
    strange.loc[4, "ward"] = "secret"
    assert why(strange, strata="ward") == checks.OUTSIDE.about("ward")
    assert "too few people leave between any two times" in why(table, strata="none", grid=[0.5])


def test_one_hospital_of_two_with_few_events_refuses() -> None:
    table = PATIENTS.dropna()
    dead = table[table["dead"] == 1]
    tables = [pd.concat([table[table["dead"] == 0][:50], dead[:3]]), dead[3:]]
    assert "refused" in ask("cox", tables, levels=LEVELS, time="time", event="dead", formula="age")


def test_what_a_node_does_not_fit_whatever_the_client_says() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("needs 'grid'", {"strata": "none"}),
        ("need no 'grid'", {"grid": GRID}),
        ("increasing times above zero", {"strata": "none", "grid": [1.0, 1.0]}),
        ("increasing times above zero", {"strata": "none", "grid": [0.0, 1.0]}),
        ("only with strata by hospital", {"strata": "none", "grid": GRID, "ridge": "cv"}),
        ("both a stratum and in the formula", {"strata": "ward", "formula": "age + ward"}),
        ("no agreed levels to be strata", {"strata": "sex", "formula": "age"}),
        ("hospitals are strata already", {"formula": "age + C(hospital)"}),
        ("own predictor", {"formula": "age + time"}),
        ("numbers are needed", {"time": "ward"}),
    ]
    for sentence, fields in cases:
        with pytest.raises(AssertionError, match=sentence):
            ask("cox", TABLES, levels=LEVELS, **{"time": "time", "event": "dead", "formula": "age + sex", **fields})
    asked = question("cox", TABLES, levels=LEVELS, time="time", event="dead", formula="age")
    kinds = {**asked["column_kinds"]}
    plain = {"outcome": "dead", "columns": [{"name": "Intercept", "factors": []}]}
    assert "no intercept" in KINDS["cox"].check({**asked, "design": plain}, kinds, {})[0]
    assert "has the event as its outcome" in KINDS["cox"].check({**asked, "event": "sex"}, kinds, {})[0]
    assert "object of 'outcome' and 'columns'" in KINDS["cox"].check({**asked, "design": {}}, kinds, {})[0]


def test_a_grid_is_made_coarse_until_nobody_leaves_alone() -> None:
    assert time_grid.merged([5, 5, 5, 0], [0, 0, 0, 9], smallest_cell=5) == [0, 1, 2]
    assert time_grid.merged([5, 4, 1, 0], [0, 0, 0, 9], smallest_cell=5) == [0, 2]
    assert time_grid.merged([5, 4, 0], [0, 0, 9], smallest_cell=5) == [1]  # what is left joins the interval before it
    assert time_grid.merged([5, 5, 0], [0, 0, 3], smallest_cell=5) == [0]  # few are left at the end, so it ends before
    assert time_grid.merged([5, 0, 9], [0, 0, 0], smallest_cell=5) == [0]
    assert time_grid.merged([2, 0], [0, 9], smallest_cell=5) == []
    chance = np.random.default_rng(2)
    for _ in range(300):
        size = int(chance.integers(1, 15))
        events, censored = chance.integers(0, 9, size + 1).tolist(), chance.integers(0, 9, size + 1).tolist()
        kept = time_grid.merged(events, censored, smallest_cell=6)
        bounds = [*kept, size]
        before = 0
        for number, place in enumerate(bounds):
            had, left = sum(events[before : place + 1]), sum(censored[before : place + 1])
            if number < len(kept):
                assert (had == 0 or had >= 6) and (left == 0 or left >= 6) and had + left >= 6
            elif kept:
                assert had + left == 0 or had + left >= 6
            before = place + 1
