"""Generalised linear models over hospitals: the fit that pooled rows would give, from sums alone, one round over the hospitals per step.

1. count   people and rows with complete cases, and who has a value other than zero in each column: before anything is added up
2. mean    of each column and of the outcome
3. spread  people on each side of the mean, squares, and the cells of a model that is a table in disguise
4. start   the first weighted least squares step, on columns centred and scaled by what 2 and 3 found
5. fit     Newton's step from summed score and information (newton.py), until it is done: no total is ever NaN
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import disguise, newton, sums
from pumasi.analysis.family import OUTCOMES, deviance, saturated, valid
from pumasi.analysis.matrix import complete_cases, levels_used, numbers_used, outside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms
    from pumasi.analysis.matrix import Cases


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    design = question["design"]
    cases = complete_cases(frame, design)
    match state["step"]:
        case "count":
            partial = [*_counts(cases, question), *outside(frame, design)]
        case "mean":
            numbers = [cases.number(name) for name in numbers_used(design)] if state["disguised"] else []
            partial = [digit for values in [*_columns(cases, design), *numbers] for digit in sums.wide(values)]
        case "spread":
            partial = _spreads(cases, question, state)
        case "start":
            partial = newton.local_start(cases, question, state)
        case "fit":
            partial = newton.local_fit(cases, question, state)
        case step:
            raise ValueError(f"a glm has no step {step!r}")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[str]:
    """Why these totals may not be used: too few people, too many parameters, a column or a cell that singles people out."""
    match state["step"]:
        case "count":
            return _count_refusals(total, question, terms)
        case "spread":
            return _spread_refusals(total, question, state, terms)
        case _:
            return []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries `result`, or `refused` where no finite and unique estimate exists."""
    match state["step"]:
        case "count":
            counted = _read_counts(total, question)
            return {"step": "mean"} | {key: counted[key] for key in ("people", "rows", "disguised", "zero_one")}
        case "mean":
            return _advance_mean(total, question, state)
        case "spread":
            return _advance_spread(total, question, state)
        case "start":
            return newton.advance_start(total, question, state)
        case "fit":
            return newton.advance_fit(total, question, state)
        case step:
            raise ValueError(f"a glm has no step {step!r}")


def _predictors(design: dict[str, Any]) -> list[dict[str, Any]]:
    return [column for column in design["columns"] if column["factors"]]


def _columns(cases: Cases, design: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Each design column but the intercept, then the outcome."""
    return [*(cases.column(column["factors"]) for column in _predictors(design)), cases.outcome]


def _many(values: NDArray[np.float64]) -> bool:
    """More than two different values, at this hospital."""
    others = values[values != values[0]] if len(values) else values
    return bool(np.any(others != others[0])) if len(others) else False


# 1. count


def _counts(cases: Cases, question: dict[str, Any]) -> list[float]:
    columns = _columns(cases, question["design"])
    numbers = [cases.number(name) for name in numbers_used(question["design"])]
    return [
        cases.frame.people(np.ones(cases.rows, dtype=bool)),
        cases.rows,
        any(sums.too_large(values) for values in [*columns, *numbers]),
        not valid(question["family"], cases.outcome),
        not valid("binomial", cases.outcome),
        any(_many(values) for values in [cases.outcome, *numbers]),
        *(cases.frame.people(values != 0) for values in columns[:-1]),
    ]


def _read_counts(total: Sequence[float], question: dict[str, Any]) -> dict[str, Any]:
    design = question["design"]
    reader = sums.Reader(total)
    counted: dict[str, Any] = {"people": reader.count(), "rows": reader.count()}
    counted |= {"too_large": reader.flag(), "invalid": reader.flag(), "zero_one": not reader.flag(), "disguised": not reader.flag()}
    counted["other_than_zero"] = [reader.count() for _ in _predictors(design)]
    counted["outside"] = [name for name in levels_used(design) if reader.flag()]
    reader.end()
    return counted


def _count_refusals(total: Sequence[float], question: dict[str, Any], terms: Terms) -> list[str]:
    design = question["design"]
    counted = _read_counts(total, question)
    reasons = [f"'{name}' holds a value that the permits do not name as a level" for name in counted["outside"]]
    if counted["people"] == 0:
        return [*reasons, "nobody has a value in every column of the model"]
    if counted["people"] < terms.smallest_cell:
        reasons.append("fewer people than the smallest cell allows have a value in every column of the model")
    if 10 * len(design["columns"]) > counted["people"]:
        reasons.append("the model has more than one parameter for every ten people; leave columns out or merge levels")
    if counted["invalid"]:
        reasons.append(f"the outcome '{design['outcome']}' of a {question['family']} model must be {OUTCOMES[question['family']]}")
    if counted["too_large"]:
        reasons.append("a column of the model holds values beyond anything that is measured; correct the file")
    for column, people in zip(_predictors(design), counted["other_than_zero"], strict=True):
        if people < terms.smallest_cell:
            reasons.append(_one_sided(column["name"]))
    return reasons


def _one_sided(name: str) -> str:
    return f"fewer people than the smallest cell allows are on one side of '{name}'; merge levels, or leave it out"


# 2. mean


def _advance_mean(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    means = [reader.wide() / state["rows"] if column["factors"] else 0.0 for column in question["design"]["columns"]]
    outcome_mean = reader.wide() / state["rows"]
    numbers = numbers_used(question["design"]) if state["disguised"] else []
    number_means = [reader.wide() / state["rows"] for _ in numbers]
    reader.end()
    return {**state, "step": "spread", "means": means, "outcome_mean": outcome_mean, "number_means": number_means}


# 3. spread


def _spreads(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    design = question["design"]
    means = [float(mean) for column, mean in zip(design["columns"], state["means"], strict=True) if column["factors"]]
    outcome_mean = float(state["outcome_mean"])
    partial: list[float] = []
    for values, mean in zip(_columns(cases, design), [*means, outcome_mean], strict=True):
        above = values > mean
        partial += [cases.frame.people(above), cases.frame.people(~above), *sums.wide((values - mean) ** 2)]
    middle = newton.link(question["family"], outcome_mean)
    null = np.zeros(cases.rows) if middle is None else deviance(question["family"], cases.outcome, linear=np.full(cases.rows, middle))
    partial += [*sums.wide(null), *sums.wide(saturated(question["family"], cases.outcome))]
    if state["disguised"]:
        partial += disguise.local_counts(cases, design, means=state["number_means"], outcome_mean=outcome_mean)
    return partial


def _read_spreads(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    design = question["design"]
    reader = sums.Reader(total)
    sides = [(reader.count(), reader.count(), reader.wide()) for _ in [*_predictors(design), "outcome"]]
    spread = {"sides": sides, "null_deviance": reader.wide(), "saturated": reader.wide()}
    if state["disguised"]:
        spread["counts"] = disguise.read(reader, design, means=state["number_means"], outcome_mean=state["outcome_mean"])
    reader.end()
    return spread


def _spread_refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[str]:
    design = question["design"]
    spread = _read_spreads(total, question, state)
    names = [*(column["name"] for column in _predictors(design)), design["outcome"]]
    reasons = [
        _one_sided(name) for name, (above, below, _) in zip(names, spread["sides"], strict=True) if min(above, below) < terms.smallest_cell
    ]
    if not state["disguised"] or not spread["counts"].table:
        return reasons
    if not state["zero_one"]:
        reasons.append(
            f"the outcome '{design['outcome']}' has two values and every predictor has only levels; code the outcome zero and one"
        )
    return reasons + disguise.refusals(spread["counts"], design, smallest_cell=terms.smallest_cell)


def _advance_spread(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    design, rows = question["design"], state["rows"]
    spread = _read_spreads(total, question, state)
    intercept = len(_predictors(design)) < len(design["columns"])
    centres, scales = [], []
    left = iter(spread["sides"])
    for column, mean in zip(design["columns"], state["means"], strict=True):
        squares = next(left)[2] if column["factors"] else 0.0
        centres.append(mean if intercept else 0.0)
        scales.append(_scale(squares, rows=rows, mean=0.0 if intercept else mean) if column["factors"] else 1.0)
    above, below, squares = next(left)
    flat = [column["name"] for column, scale in zip(design["columns"], scales, strict=True) if scale == 0.0]
    if squares == 0.0:
        flat.append(design["outcome"])
    if flat:
        return {"step": "done", "refused": [f"'{name}' has the same value for everybody; leave it out" for name in flat]}
    after = {key: state[key] for key in ("people", "rows", "outcome_mean")} | {"step": "start", "centres": centres, "scales": scales}
    after |= {"null_deviance": spread["null_deviance"], "saturated": spread["saturated"]}
    after |= newton.outcome_scale(question["family"], state["outcome_mean"], spread=_scale(squares, rows=rows), intercept=intercept)
    if state["disguised"]:
        after["implied_counts"] = disguise.implied(spread["counts"], design, outcome=(above, below))
    return after


def _scale(squares: float, *, rows: int, mean: float = 0.0) -> float:
    """Root mean square about the centre that is used: the mean, or zero in a model without an intercept."""
    return math.sqrt(squares / rows + mean * mean)
