"""The fitting rounds of a Cox model: Newton's steps from zero, for every penalty and fold of the question at once.

Stratified by hospital, or by hospital and a column: log-likelihood, score and information are sums over strata, and so are the sums behind
the test of proportional hazards and the concordance, which travel along, so that no round is spent on them.
The penalty that predicts best has the largest cross-validated partial likelihood (Verweij and van Houwelingen, Stat. Med. 12, 1993): what
the fit without a fold makes of everybody, less what it makes of those it was fitted to. For `advance` see linear.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import covariates, cox_grid, design, forms, newton, refusal, risk_sets, time_grid
from pumasi.analysis.cox_result import result
from pumasi.analysis.glm_fit import ALL, ENOUGH_TO_COMPARE, FOLDS, PENALTIES
from pumasi.analysis.linear import factor
from pumasi.analysis.matrix import Cases, complete_cases
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

# The squared step in standard errors after which the error, which Newton squares, is below every digit that anybody compares.
SHARP = 1e-11
# Below this squared step the end is near, and what is only asked of the last point travels along.
NEAR = 1e-2
HOSPITAL, NONE = forms.HOSPITAL, "none"


def strata_of(question: dict[str, Any]) -> str:
    return str(question.get("strata", HOSPITAL))


def ties_of(question: dict[str, Any]) -> risk_sets.Ties:
    return "breslow" if question.get("ties") == "breslow" else "efron"


def columns_of(question: dict[str, Any]) -> list[str]:
    """The columns of the table in which a complete case has a value; sorted."""
    strata = {strata_of(question)} - {NONE}
    return sorted({*design.named(question["design"]), question["time"], *strata} - {HOSPITAL})


@dataclass(frozen=True)
class Survival:
    """The complete cases of one hospital with their times and strata; `outcome` of the cases is the event."""

    cases: Cases
    time: NDArray[np.float64]
    event: NDArray[np.bool_]
    stratum: NDArray[np.int64]


def cases_of(frame: Frame, question: dict[str, Any]) -> Survival:
    strata = strata_of(question)
    codes = np.zeros(frame.rows, dtype=np.int64)
    if strata not in (HOSPITAL, NONE):
        codes = frame.codes(strata, question["levels"][strata])
        frame, codes = frame.only(codes >= 0), codes[codes >= 0]
    cases = complete_cases(frame, question["design"], beside=[question["time"]])
    return Survival(cases, cases.beside[question["time"]], cases.outcome == 1, codes[cases.kept])


def plans(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Every fit of the question at its first point; without a fold left out come first those that may be the answer."""
    size, ridge = len(question["design"]["columns"]), question.get("ridge", 0)
    chosen = [(one, left) for one in PENALTIES for left in (ALL, *range(FOLDS))] if ridge == "cv" else [(float(ridge), ALL)]
    nowhere = {"point": [0.0] * size, "objective": None}
    return [{"ridge": one, "left": left, **newton.begin([0.0] * size, last=nowhere)} for one, left in chosen]


def _is_near(fit: dict[str, Any]) -> bool:
    """Whether the next step of a fit to everybody may be its last."""
    return fit["left"] == ALL and fit["decrement"] is not None and fit["decrement"] <= NEAR


def local(cases: Survival, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """The sums of every fit that still runs, each behind a flag."""
    matrix = cases.cases.matrix(question["design"]["columns"], centres=state["centres"], scales=state["scales"])
    running = [fit for fit in state["fits"] if fit["status"] == "running"]
    if "grid" in question:
        place = time_grid.places(cases.time, question["grid"])
        interval, count = time_grid.coarse(place, state["kept"]), len(state["kept"])
        with np.errstate(over="ignore", invalid="ignore"):
            binned = [cox_grid.local(interval, cases.event, matrix, fit["point"], intervals=count) for fit in running]
        return [value for sums in binned for value in newton.carried(sums)]
    order = np.lexsort((cases.time, cases.stratum))
    whole = risk_sets.Stratum(cases.time[order], cases.event[order], matrix[order])
    stratum, fold = cases.stratum[order], covariates.folds(cases.cases.frame.persons, FOLDS)[order]
    partial: list[float] = []
    for fit in running:
        parts = [_stratum_sums(whole, stratum == one, fold, fit, question, state) for one in range(max(1, _strata(question)))]
        partial += newton.carried(np.sum(parts, axis=0).tolist())
    return partial


def _strata(question: dict[str, Any]) -> int:
    strata = strata_of(question)
    return 1 if strata == HOSPITAL else len(question["levels"][strata])


def _stratum_sums(
    whole: risk_sets.Stratum,
    here: NDArray[np.bool_],
    fold: NDArray[np.int64],
    fit: dict[str, Any],
    question: dict[str, Any],
    state: dict[str, Any],
) -> NDArray[np.float64]:
    """-2 log-likelihood, that of the fold left out, score, information; near the end also trend and concordance."""
    point, ties = np.array(fit["point"], dtype=np.float64), ties_of(question)
    rows = here & (fold != fit["left"])
    stratum = whole.only(rows)
    linear = stratum.matrix @ point
    half = np.triu_indices(len(point))
    if fit["left"] != ALL:
        found = risk_sets.evaluate(stratum, linear, ties)
        everybody = whole.only(here)
        held_out = risk_sets.evaluate(everybody, everybody.matrix @ point, ties).log_likelihood - found.log_likelihood
        return np.concatenate([[-2 * found.log_likelihood, -2 * held_out], found.score, found.information[half]])
    if not _is_near(fit):
        found = risk_sets.evaluate(stratum, linear, ties)
        return np.concatenate([[-2 * found.log_likelihood, 0.0], found.score, found.information[half]])
    centre, scale = (float(one) for one in state["trend"])
    found = risk_sets.evaluate(stratum, linear, ties, trend=(centre, scale))
    alike = risk_sets.pairs(stratum, linear) if np.all(np.isfinite(linear)) else (0.0, 0.0, 0.0)
    informations = [matrix[half] for matrix in found.informations]
    return np.concatenate([[-2 * found.log_likelihood, 0.0], found.score, informations[0], found.scores[1], *informations[1:], alike])


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Every fit's next point; the result where no step matters any more."""
    reader, size = Reader(total), len(state["scales"])
    names = [column["name"] for column in question["design"]["columns"]]
    running = [fit for fit in state["fits"] if fit["status"] == "running"]
    read, sums = [], []
    for fit in running:
        found = _read_grid(reader, fit, question, state) if "grid" in question else _read(reader, fit, size)
        penalty = covariates.penalty(fit["ridge"], state["scales"], question)
        if "null" not in fit and found["ran_away"]:  # at zero nothing can run away
            return refusal.end(newton.NO_CONVERGENCE)
        if "null" not in fit:
            dependent = factor(newton.penalised(found["information"], penalty)).dependent
            if dependent:
                return refusal.end(newton.collinear(names, dependent))
        read.append(found)
        told = {key: found[key] for key in ("ran_away", "objective", "score")} | {"information": np.array(found["information"])}
        sums.append(newton.Sums(**told, penalty=penalty, dispersion=1.0, enough=_enough(fit, question)))
    reader.end()
    begun = [fit if "null" in fit else fit | {"null": found["objective"]} for fit, found in zip(running, read, strict=True)]
    steps = zip(newton.move(begun, sums), read, running, sums, strict=True)
    moved = iter(_arrived(fit, found, before, at.penalty) if fit["status"] == "converged" else fit for fit, found, before, at in steps)
    return _settled({**state, "fits": [next(moved) if fit["status"] == "running" else fit for fit in state["fits"]]}, question)


def _enough(fit: dict[str, Any], question: dict[str, Any]) -> float:
    """The squared step that ends a fit; none where its end would lack what travels along only near it."""
    if fit["left"] != ALL:
        return ENOUGH_TO_COMPARE
    return SHARP if "grid" in question or _is_near(fit) else -1.0


def _read(reader: Reader, fit: dict[str, Any], size: int) -> dict[str, Any]:
    found: dict[str, Any] = {"ran_away": reader.flag(), "objective": reader.one(), "held_out": reader.one()}
    found |= {"score": reader.many(size), "information": newton.square(reader, size)}
    if _is_near(fit):
        found |= {"trend_score": reader.many(size), "trend": newton.square(reader, size), "trend_squared": newton.square(reader, size)}
        found["pairs"] = [reader.count() for _ in range(3)]
    return found


def _read_grid(reader: Reader, fit: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    ran_away, (centre, scale) = reader.flag(), state["trend"]
    total = cox_grid.Total.read(reader, len(state["scales"]), intervals=len(state["kept"]))
    trend = [(question["grid"][place] - centre) / scale for place in state["kept"]]
    if ran_away:
        size = len(state["scales"])
        return {"ran_away": True, "objective": 0.0, "score": [0.0] * size, "information": [[0.0] * size] * size}
    folded = cox_grid.folded(total, fit["point"], ties=ties_of(question), trend=trend)
    found: dict[str, Any] = {"ran_away": not math.isfinite(folded.log_likelihood), "objective": -2 * folded.log_likelihood, "held_out": 0.0}
    found |= {"score": folded.scores[0], "trend_score": folded.scores[1], "pairs": None, "hazards": folded.hazards}
    return found | dict(zip(("information", "trend", "trend_squared"), folded.informations, strict=True))


def _arrived(fit: dict[str, Any], found: dict[str, Any], before: dict[str, Any], penalty: Sequence[float]) -> dict[str, Any]:
    """A converged fit with what the result needs; of one without a fold only how it predicts that fold."""
    kept = {key: fit[key] for key in ("status", "ridge", "left", "iterations")}
    if fit["left"] != ALL:
        return kept | {"held_out": found["held_out"]}
    step = [there - here for here, there in zip(before["point"], fit["point"], strict=True)]
    # the score of the trend at the last point, which is one tiny step further
    moved = [
        slope - math.fsum(by * each for by, each in zip(row, step, strict=True))
        for slope, row in zip(found["trend_score"], found["trend"], strict=True)
    ]
    kept |= {key: fit[key] for key in ("point", "objective", "information", "null")} | {
        "pairs": found["pairs"],
        "hazards": found.get("hazards"),
    }
    ridge = math.fsum(by * value * value for by, value in zip(penalty, before["point"], strict=True))
    return kept | {
        "objective": fit["objective"] - ridge,
        "trend_score": moved,
        "trend": newton.triangle(found["trend"]),
        "trend_squared": newton.triangle(found["trend_squared"]),
    }


def _settled(state: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """The result once nothing runs; the penalty as soon as the folds are done, so that only its fit goes on."""
    refused = newton.refused(state["fits"])
    if refused:
        return refusal.end(*refused)
    if (
        question.get("ridge") == "cv"
        and "path" not in state
        and all(fit["status"] == "converged" for fit in state["fits"] if fit["left"] != ALL)
    ):
        state = _chosen(state)
    if any(fit["status"] == "running" for fit in state["fits"]):
        return state
    return {"step": "done", "result": result(question, state)}


def _chosen(state: dict[str, Any]) -> dict[str, Any]:
    """The penalty of the largest cross-validated partial likelihood; of equal ones the stronger."""
    path = [
        {"ridge": one, "deviance": math.fsum(fit["held_out"] for fit in state["fits"] if fit["ridge"] == one and fit["left"] != ALL)}
        for one in PENALTIES
    ]
    best = min(path, key=lambda one: (one["deviance"], -one["ridge"]))["ridge"]
    return {**state, "fits": [fit for fit in state["fits"] if fit["ridge"] == best and fit["left"] == ALL], "path": path}
