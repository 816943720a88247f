"""Cox regression over hospitals: the fit that pooled rows would give, from sums alone.

1. count   people, events, and who has a value other than zero in each column; with a grid, who leaves when
2. mean    of each column, of the times of events
3. spread  people on each side of the mean, and squares
4. fit     Newton's steps (cox_fit.py), stratified by hospital: only score and information leave, times never do

With `strata = "none"` all hospitals share a baseline hazard; then sums over those at risk are opened, on a grid of times (cox_grid.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, covariates, cox_fit, design, follow_up, sums, time_grid
from pumasi.analysis.cox_fit import HOSPITAL, NONE, cases_of, columns_of, strata_of
from pumasi.analysis.cox_result import finish
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.glm_fit import FOLDS
from pumasi.analysis.matrix import levels_used, outside
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]

FEW_EVENTS = Refusal("too-many-parameters", "the model has too many parameters for its events; leave columns out or merge levels")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Why a node may not fit this model, whatever the client said."""
    plain, time, strata = question["design"], question["time"], strata_of(question)
    reasons = design.check(plain, kinds, levels)
    if reasons:
        return reasons
    if plain["outcome"] != question["event"]:
        reasons.append("the design of a Cox model has the event as its outcome; make jobs with the client")
    if any(not column["factors"] for column in plain["columns"]):
        reasons.append("a Cox model has no intercept; make jobs with the client")
    used = design.named(plain)
    reasons += checks.numbers([time], kinds)
    if time in used:
        reasons.append(f"the time '{time}' may not be its own predictor or event")
    if strata not in (HOSPITAL, NONE):
        reasons += [f"'{strata}' has no agreed levels to be strata; give levels = [...] in study.toml"] if not levels.get(strata) else []
        reasons += [f"'{strata}' is both a stratum and in the formula; leave it out of one of them"] if strata in used else []
    if strata == HOSPITAL and HOSPITAL in used:
        reasons.append("hospitals are strata already, so they can have no coefficients; leave C(hospital) out, or give strata = 'none'")
    if strata == NONE and "grid" not in question:
        reasons.append("without strata by hospital a Cox model needs 'grid', because sums at exact times single people out")
    if strata != NONE and "grid" in question:
        reasons.append("strata by hospital need no 'grid', because their times stay there; leave it out, or give strata = 'none'")
    if "grid" in question:
        reasons += time_grid.reasons(question["grid"])
        reasons += ["a penalty is chosen by cross-validation only with strata by hospital"] if question.get("ridge") == "cv" else []
    return reasons


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: 0 for a complete case, -1 for a row that the model leaves out.

    On a grid, once its intervals are known: interval and event, which the baseline hazard tells. There a row counts as well that lacks a
    predictor alone: what two grids tell about who leaves between their times is compared, not who lacks a value in between.
    """
    if "edges" not in question:
        return [frame.complete(columns_of(question))]
    place = time_grid.places(frame.numbers(question["time"]), question["edges"])
    event = (frame.numbers(question["event"]) == 1) & (place < len(question["edges"]))
    followed = frame.complete([question["time"], question["event"]])
    return [np.where(followed < 0, -1, 2 * place + event).astype(np.int64)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [2 * len(question["edges"]) + 1 if "edges" in question else 1]


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    cases = cases_of(frame, question)
    match state["step"]:
        case "count":
            partial = [frame.people(np.ones(frame.rows, dtype=bool)), *_counts(cases, question), *outside(frame, question["design"])]
            partial.append(_strata_outside(frame, question))
        case "mean":
            times = cases.time[cases.event]
            columns = [*covariates.values(cases.cases, question["design"]), times, np.abs(times)]
            partial = [len(times), *(digit for column in columns for digit in sums.wide(column))]
        case "spread":
            partial = _spreads(cases, question, state)
        case "fit":
            partial = cox_fit.local(cases, question, state)
        case step:
            raise ValueError(f"a Cox model has no step {step!r}")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used: too few people or events, too many parameters, a column or an interval that singles people out."""
    match state["step"]:
        case "count":
            return _count_refusals(total, question, terms)
        case "spread":
            names = [column["name"] for column in question["design"]["columns"]]
            names += [question["event"]] * bool(_folds(question))
            return covariates.side_refusals(names, _read_spreads(total, question), smallest_cell=terms.smallest_cell)
        case _:
            return []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries `result`, or `refused` where no finite and unique estimate exists."""
    match state["step"]:
        case "count":
            return _advance_count(total, question, terms)
        case "mean":
            return _advance_mean(total, question, state)
        case "spread":
            return _advance_spread(total, question, state)
        case "fit":
            return cox_fit.advance(total, question, state)
        case step:
            raise ValueError(f"a Cox model has no step {step!r}")


def _folds(question: dict[str, Any]) -> int:
    return FOLDS if question.get("ridge") == "cv" else 0


# 1. count


def _counts(cases: cox_fit.Survival, question: dict[str, Any]) -> list[float]:
    frame, columns = cases.cases.frame, covariates.values(cases.cases, question["design"])
    partial: list[float] = [
        frame.people(np.ones(len(cases.time), dtype=bool)),
        len(cases.time),
        frame.people(cases.event),
        frame.people(~cases.event),
        any(sums.too_large(one) for one in [*columns, cases.time]),
        bool(np.any((cases.cases.outcome != 0) & (cases.cases.outcome != 1))),
        bool(np.any(cases.time < 0)),
        *(frame.people(one != 0) for one in columns),
    ]
    if "grid" in question:
        place = time_grid.places(cases.time, question["grid"])
        partial += time_grid.exits(frame, place, cases.event, size=len(question["grid"]))
    return partial


def _strata_outside(frame: Frame, question: dict[str, Any]) -> float:
    """1.0 where a value of the strata is not agreed."""
    strata = strata_of(question)
    if strata in (HOSPITAL, NONE):
        return 0.0
    return float(np.any(frame.codes(strata, question["levels"][strata]) == OUTSIDE))


def _read_counts(total: Sequence[float], question: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    counted: dict[str, Any] = {key: reader.count() for key in ("everybody", "people", "rows", "events", "censored")}
    counted |= {key: reader.flag() for key in ("too_large", "no_event", "negative")}
    counted["other_than_zero"] = [reader.count() for _ in question["design"]["columns"]]
    if "grid" in question:
        size = len(question["grid"]) + 1
        counted["exits"] = [[reader.count() for _ in range(size)], [reader.count() for _ in range(size)]]
    counted["outside"] = [name for name in levels_used(question["design"]) if reader.flag()]
    counted["outside"] += [strata_of(question)] if reader.flag() else []
    reader.end()
    return counted


def _count_refusals(total: Sequence[float], question: dict[str, Any], terms: Terms) -> list[Refusal]:
    columns, least = question["design"]["columns"], terms.smallest_cell
    counted = _read_counts(total, question)
    reasons = [checks.OUTSIDE.about(name) for name in counted["outside"]]
    reasons += covariates.size_refusals(people=counted["people"], parameters=len(columns), smallest_cell=least)
    if counted["people"] == 0:
        return reasons
    if counted["no_event"]:
        reasons.append(follow_up.NO_EVENT.about(question["event"]))
    if counted["negative"]:
        reasons.append(follow_up.NEGATIVE.about(question["time"]))
    if counted["too_large"]:
        reasons.append(covariates.TOO_LARGE)
    if min(counted["events"], counted["censored"]) < least:
        reasons.append(covariates.ONE_SIDED.about(question["event"]))
    elif counted["events"] - len(columns) < covariates.LEAST_RESIDUAL:
        reasons.append(FEW_EVENTS)
    for column, people in zip(columns, counted["other_than_zero"], strict=True):
        if people < least:
            reasons.append(covariates.ONE_SIDED.about(column["name"]))
    if "grid" in question and not time_grid.merged(*counted["exits"], smallest_cell=least):
        reasons.append(time_grid.COARSE)
    return reasons


def _advance_count(total: Sequence[float], question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    counted = _read_counts(total, question)
    after: dict[str, Any] = {"step": "mean"} | {key: counted[key] for key in ("people", "rows", "events", "censored")}
    after["dropped"] = covariates.dropped(counted["everybody"], counted["people"], smallest_cell=terms.smallest_cell)
    if "grid" in question:
        after["kept"] = time_grid.merged(*counted["exits"], smallest_cell=terms.smallest_cell)
    return after


# 2. mean


def _advance_mean(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    events = reader.count()
    means = [reader.wide() / state["rows"] for _ in question["design"]["columns"]]
    centre, scale = reader.wide() / events, reader.wide() / events
    reader.end()
    return {**state, "step": "spread", "means": means, "trend": [centre, scale or 1.0]}


# 3. spread


def _spreads(cases: cox_fit.Survival, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    frame, count = cases.cases.frame, _folds(question)
    fold = covariates.folds(frame.persons, count or 1)
    columns = list(zip(covariates.values(cases.cases, question["design"]), state["means"], strict=True))
    if count:  # each fold needs people with the event and without it
        columns.append((cases.event.astype(np.float64), 0.5))
    return [value for column, mean in columns for value in covariates.local_sides(frame, column, float(mean), fold, count)]


def _read_spreads(total: Sequence[float], question: dict[str, Any]) -> list[covariates.Sides]:
    reader, count = sums.Reader(total), _folds(question)
    sides = [covariates.read_sides(reader, count) for _ in range(len(question["design"]["columns"]) + bool(count))]
    reader.end()
    return sides


def _advance_spread(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    columns = question["design"]["columns"]
    sides = _read_spreads(total, question)[: len(columns)]
    scales = [covariates.scale(side.squares, rows=state["rows"]) for side in sides]
    same = [column["name"] for column, scale in zip(columns, scales, strict=True) if scale == 0.0]
    if same:
        return covariates.flat(same)
    kept = {key: value for key, value in state.items() if key != "means"}
    return kept | {"step": "fit", "centres": state["means"], "scales": scales, "fits": cox_fit.plans(question)}
