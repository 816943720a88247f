"""The fitting rounds of a GLM: the score and information of every model of the question in, a Newton step for each of them out.

Columns are centred and scaled, so that the step is well conditioned and every sum fits the fixed point; a gaussian outcome is standardised
and other sums are taken in units of an average row for the same reason. Models of one question: the one asked for; the smaller one it is
compared with; that of the intercept alone, where weights or an offset make it unknown; one per penalty, in all and for each fold.
`advance_*` compute the same bits everywhere: see linear.py.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import covariates, design, newton, refusal, robust
from pumasi.analysis import family as families
from pumasi.analysis.glm_result import dispersion_of, result
from pumasi.analysis.linear import factor, solutions
from pumasi.analysis.matrix import complete_cases
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame
    from pumasi.analysis.matrix import Cases

FOLDS = 5
PENALTIES = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
# A fit that only decides which penalty predicts best is sharp enough where the squared step to the optimum is this in standard errors.
ENOUGH_TO_COMPARE = 1e-3
ALL = -1  # no fold is left out

EXACT = Refusal("exact-fit", "the predictors reproduce '{}' exactly, so the model would give away every value of it")


def cases_of(frame: Frame, question: dict[str, Any]) -> Cases:
    """The complete cases of a model, its offset and weights included. A gaussian outcome is taken less its offset, which is the same."""
    beside = [question[key] for key in ("offset", "weights") if key in question]
    cases = complete_cases(frame, question["design"], beside=beside)
    if question["family"] == "gaussian" and "offset" in question:
        return dataclasses.replace(cases, outcome=cases.outcome - cases.beside[question["offset"]])
    return cases


def weight_of(cases: Cases, question: dict[str, Any]) -> NDArray[np.float64]:
    return cases.beside[question["weights"]] if "weights" in question else np.ones(cases.rows)


def offset_of(cases: Cases, question: dict[str, Any]) -> NDArray[np.float64]:
    return cases.beside[question["offset"]] if "offset" in question and question["family"] != "gaussian" else np.zeros(cases.rows)


def _augmented(question: dict[str, Any], state: dict[str, Any]) -> tuple[list[dict[str, Any]], list[float], list[float]]:
    """The columns of all models of the question with their centres and scales: those of the design, and an intercept for the null model."""
    own = state["null_deviance"] is None
    columns = [*question["design"]["columns"], *([{"name": "Intercept", "factors": []}] if own else [])]
    return columns, [*state["centres"], *([0.0] if own else [])], [*state["scales"], *([1.0] if own else [])]


@dataclasses.dataclass(frozen=True)
class _Block:
    """Some rows of one hospital, on the scale of the fit."""

    matrix: NDArray[np.float64]
    outcome: NDArray[np.float64]
    weight: NDArray[np.float64]
    offset: NDArray[np.float64]
    fold: NDArray[np.int64]


def _blocks(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> Iterator[_Block]:
    columns, centres, scales = _augmented(question, state)
    outcome = (cases.outcome - float(state["centre"])) / float(state["scale"])
    weight, offset = weight_of(cases, question) / float(state["unit"]), offset_of(cases, question)
    fold = covariates.folds(cases.frame.persons, FOLDS)
    for within, matrix in cases.blocks(columns, centres=centres, scales=scales):
        yield _Block(matrix, outcome[within], weight[within], offset[within], fold[within])


# 4. start


def _left_out(question: dict[str, Any]) -> list[int]:
    """The fold that each set of rows leaves out."""
    return [ALL, *range(FOLDS)] if question.get("ridge") == "cv" else [ALL]


def local_start(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """Whether one person leads each column; then, for each set of rows, flag, Z'Wz, and the upper triangle of Z'WZ at fitted values
    half-way between the outcome and a middle."""
    size = len(_augmented(question, state)[0])
    led: list[float] = []
    for column, centre, scale in zip(question["design"]["columns"], state["centres"], state["scales"], strict=True):
        squares = ((cases.column(column["factors"]) - float(centre)) / float(scale)) ** 2 if column["factors"] else np.zeros(0)
        whole = float(state["rows"])
        led.append(bool(len(squares)) and robust.dominates(squares, cases.frame.persons, whole=whole, part=robust.LEADING_PART))
    right = {left: np.zeros(size) for left in _left_out(question)}
    information = {left: np.zeros((size, size)) for left in _left_out(question)}
    for block in _blocks(cases, question, state):
        weight, response = families.first(question["family"], block.outcome, mean=float(state["outcome_mean"]))
        for left in right:
            counted = weight * block.weight * (block.fold != left)
            right[left] += block.matrix.T @ (counted * (response - block.offset))
            information[left] += block.matrix.T @ (block.matrix * counted[:, np.newaxis])
    return led + [
        value for left in right for value in newton.carried([*right[left].tolist(), *information[left][np.triu_indices(size)].tolist()])
    ]


def advance_start(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The first point of every fit, unless some columns are combinations of others; then their names."""
    names = [column["name"] for column in _augmented(question, state)[0]]
    reader, starts = Reader(total), {}
    led = [column["name"] for column in question["design"]["columns"] if reader.flag()]
    if led:
        return refusal.end(*(covariates.LED.about(name) for name in led))
    for left in _left_out(question):
        if reader.flag():
            return refusal.end(newton.NO_CONVERGENCE)
        starts[left] = (reader.many(len(names)), newton.symmetric(reader, len(names)))
    reader.end()
    plans, fits = _plans(question, state), []
    systems = [
        newton.ridged(starts[plan["left"]][1][np.ix_(plan["columns"], plan["columns"])], _penalty(plan, question, state)) for plan in plans
    ]
    points = solutions(systems, [[starts[plan["left"]][0][place] for place in plan["columns"]] for plan in plans])
    for plan, system, point in zip(plans, systems, points, strict=True):
        if point is None:
            return refusal.end(newton.collinear([names[place] for place in plan["columns"]], factor(system.tolist()).dependent))
        fits.append(plan | newton.begin(point, last=_known(plan, question, state)))
    size = len(state["scales"])
    expected = starts[ALL][1][np.triu_indices(size)].tolist()
    return {**state, "step": "fit", "fits": fits} | ({"expected": expected} if question["family"] == "gamma" else {})


def _plans(question: dict[str, Any], state: dict[str, Any]) -> list[dict[str, Any]]:
    """The fits of a question, the model asked for first: `columns` are places among the augmented ones, `left` the fold left out."""
    every = list(range(len(state["scales"])))
    ridge = question.get("ridge", 0)
    if ridge == "cv":
        plans = [{"role": "model", "columns": every, "ridge": one, "left": left} for one in PENALTIES for left in _left_out(question)]
    else:
        plans = [{"role": "model", "columns": every, "ridge": float(ridge), "left": ALL}]
    if "compare" in question:
        smaller = design.subset(question["compare_design"], question["design"])
        plans.append({"role": "compare", "columns": smaller, "ridge": 0.0, "left": ALL})
    if state["null_deviance"] is None:
        plans.append({"role": "null", "columns": [len(every)], "ridge": 0.0, "left": ALL})
    return plans


def _penalty(fit: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """The ridge on each coefficient in units of the sums; the intercept is free."""
    columns, _, scales = _augmented(question, state)
    each = covariates.penalty(fit["ridge"] / state["unit"], scales, question)
    return [each[place] if columns[place]["factors"] else 0.0 for place in fit["columns"]]


def _known(fit: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The model of the intercept alone, as a point to fall back to."""
    columns, family = _augmented(question, state)[0], question["family"]
    middle = 0.0 if family == "gaussian" else families.link(family, state["outcome_mean"])
    if middle is None or all(columns[place]["factors"] for place in fit["columns"]):
        return {"point": [0.0] * len(fit["columns"]), "objective": None}
    known = state["null_deviance"] is not None and fit["left"] == ALL
    objective = float(state["null_deviance"]) / (float(state["unit"]) * float(state["scale"]) ** 2) if known else None
    return {"point": [0.0 if columns[place]["factors"] else middle for place in fit["columns"]], "objective": objective}


# 5. fit


def _running(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [fit for fit in state["fits"] if fit["status"] == "running"]


def local_fit(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """For each fit that still runs: flag, deviance, squares, deviance of the fold left out, score, upper triangle of the information."""
    running = _running(state)
    totals = [np.zeros(3 + len(fit["columns"]) * (len(fit["columns"]) + 3) // 2) for fit in running]
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _blocks(cases, question, state):
            for fit, total in zip(running, totals, strict=True):
                total += _evaluated(block, fit, question["family"])
    return [value for total in totals for value in newton.carried(total.tolist())]


def _evaluated(block: _Block, fit: dict[str, Any], family: families.Family) -> NDArray[np.float64]:
    matrix = block.matrix if len(fit["columns"]) == block.matrix.shape[1] else block.matrix[:, fit["columns"]]
    linear = matrix @ np.array(fit["point"], dtype=np.float64) + block.offset
    slope, curvature = families.slope(family, block.outcome, linear=linear)
    counted = block.weight * (block.fold != fit["left"])
    deviance = block.weight * families.deviance(family, block.outcome, linear=linear)
    out = block.fold == fit["left"]
    squares = np.sum(counted * slope**2) if family in families.DISPERSED else 0.0
    head = [np.sum(deviance[~out]), squares, np.sum(deviance[out])]
    information = matrix.T @ (matrix * (counted * curvature)[:, np.newaxis])
    return np.concatenate([head, matrix.T @ (counted * slope), information[np.triu_indices(len(information))]])


def advance_fit(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Every fit's next point; the result, or one more round for what only the last point tells, where no step matters any more."""
    reader, read = Reader(total), []
    running = _running(state)
    for fit in running:
        ran_away, size = reader.flag(), len(fit["columns"])
        told = dict(zip(("deviance", "squares", "held_out"), reader.many(3), strict=True))
        score, information = reader.many(size), newton.symmetric(reader, size)
        if question["family"] == "gaussian" and fit["role"] == "model" and not ran_away and told["deviance"] < 1e-20 * state["rows"]:
            return refusal.end(EXACT.about(question["design"]["outcome"]))
        spent = told["squares"] / max(1, state["rows"] - size) if question["family"] in families.DISPERSED else 1 / state["unit"]
        sums = newton.Sums(
            ran_away=ran_away,
            objective=told["deviance"],
            score=score,
            information=information,
            penalty=_penalty(fit, question, state),
            dispersion=spent or 1.0,
            least_squares=question["family"] == "gaussian",
            enough=newton.CONVERGED if fit["left"] == ALL else ENOUGH_TO_COMPARE,
        )
        read.append((told, sums))
    reader.end()
    moved = iter(zip(newton.move(running, [sums for _, sums in read]), [told for told, _ in read], strict=True))
    fits = [_arrived(*next(moved)) if fit["status"] == "running" else fit for fit in state["fits"]]
    return _settled({**state, "fits": fits}, question)


def _arrived(fit: dict[str, Any], told: dict[str, float]) -> dict[str, Any]:
    """A fit that goes on, or a converged one with what the result needs; of one without a fold only how it predicts that fold."""
    if fit["status"] != "converged":
        return fit
    fit = {key: value for key, value in fit.items() if key not in ("last", "slow", "decrement", "first")}
    return fit | told | ({"information": [], "point": []} if fit["left"] != ALL else {})


def _settled(state: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """What follows once no fit runs any more: the penalty that predicts best, and the errors."""
    refused = newton.refused(state["fits"])
    if refused:
        return refusal.end(*refused)
    if _running(state):
        return state
    if question.get("ridge") == "cv":
        state = _chosen(state)
    if question["family"] == "gamma" or "robust" in question or "cluster" in question:
        model = state["fits"][0]
        return {**state, "step": "errors", "dispersion": dispersion_of(model, question, state) * state["unit"]}
    return {"step": "done", "result": result(question, state)}


def _chosen(state: dict[str, Any]) -> dict[str, Any]:
    """The fit with the least deviance of people who were left out; of equal ones the stronger penalty. The other fits are done with."""
    models = [fit for fit in state["fits"] if fit["role"] == "model"]
    unit = state["unit"] * state["scale"] ** 2
    path = [
        {
            "ridge": penalty,
            "deviance": unit * math.fsum(fit["held_out"] for fit in models if fit["ridge"] == penalty and fit["left"] != ALL),
        }
        for penalty in PENALTIES
    ]
    best = min(path, key=lambda one: (one["deviance"], -one["ridge"]))["ridge"]
    model = next(fit for fit in models if fit["ridge"] == best and fit["left"] == ALL)
    others = [fit for fit in state["fits"] if fit["role"] != "model"]
    return {**state, "fits": [model, *others], "path": path}


# 6. errors


def local_errors(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """At the last point: flag, log-likelihood of gamma, and the squares of the rows' scores, or of this hospital's."""
    model, size = state["fits"][0], len(state["scales"])
    point = np.array(model["point"], dtype=np.float64)
    meat, score, log_likelihood = np.zeros((size, size)), np.zeros(size), 0.0
    for block in _blocks(cases, question, state):
        matrix = block.matrix[:, :size]
        linear = matrix @ point + block.offset
        slope, _ = families.slope(question["family"], block.outcome, linear=linear)
        each = matrix * (block.weight * slope)[:, np.newaxis]
        meat += each.T @ each
        score += each.sum(axis=0)
        if question["family"] == "gamma":
            weight = block.weight * float(state["unit"])
            rows = families.gamma_likelihood(block.outcome, weight, linear=linear, dispersion=float(state["dispersion"]))
            log_likelihood += float(np.sum(rows))
    if "cluster" in question:
        meat = np.outer(score, score)
    return newton.carried([log_likelihood, *meat[np.triu_indices(size)].tolist()])


def advance_errors(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = Reader(total)
    ran_away, log_likelihood = reader.flag(), reader.one()
    meat = newton.square(reader, len(state["scales"]))
    reader.end()
    if ran_away:
        return refusal.end(newton.NO_CONVERGENCE)
    return {"step": "done", "result": result(question, {**state, "log_likelihood": log_likelihood}, meat=meat)}
