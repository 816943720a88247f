"""The fitting rounds of a GLM: summed score and information in, one Newton step out, the same bits at every hospital.

The information of a sum of rows is the sum of the hospitals' informations, so the step is the pooled one (McCullagh and Nelder, 2.5).
Columns are centred and scaled, so that the step is well conditioned and every sum fits the fixed point; a gaussian outcome is standardised
and a count is taken in units of its mean for the same reason. `advance_*` use no numpy: see linear.py.
"""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import family as families
from pumasi.analysis.linear import Factor, factor
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.family import Family
    from pumasi.analysis.matrix import Cases

MOST_STEPS = 60
# The squared step in standard errors at which the next one would be lost in rounding.
CONVERGED = 1e-16
# And the one that rounding may leave where counts are so large that standard errors are near the last digit of a coefficient.
STALLED = 1e-8
# Larger sums than this come only from a step that ran away; up to it they fit the fixed point of 2^16 hospitals.
_RUNAWAY = 2.0**46


def link(family: Family, mean: float) -> float | None:
    """The linear predictor of everybody's mean; None where it is infinite."""
    if family == "gaussian":
        return mean
    if mean <= 0 or (family == "binomial" and mean >= 1):
        return None
    return math.log(mean) if family == "poisson" else math.log(mean / (1 - mean))


def outcome_scale(family: Family, mean: float, *, spread: float, intercept: bool) -> dict[str, float]:
    """How the outcome is standardised: (y - centre) / scale for gaussian, and sums in units of the mean count for poisson."""
    if family == "gaussian":
        return (
            {"centre": mean, "scale": spread, "unit": 1.0} if intercept else {"centre": 0.0, "scale": math.hypot(spread, mean), "unit": 1.0}
        )
    return {"centre": 0.0, "scale": 1.0, "unit": mean if family == "poisson" else 1.0}


def _standardised(
    cases: Cases, question: dict[str, Any], state: dict[str, Any]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for columns, outcome in cases.blocks(question["design"], centres=state["centres"], scales=state["scales"]):
        yield columns, (outcome - float(state["centre"])) / float(state["scale"])


def _carried(sums: list[float]) -> list[float]:
    """The sums behind a flag that says they ran away; then they are zeros, because a total may not hold NaN or infinity."""
    if all(abs(value) < _RUNAWAY for value in sums):
        return [0.0, *sums]
    return [1.0] + [0.0] * len(sums)


def local_start(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """Flag, Z'Wz, and the upper triangle of Z'WZ at fitted values half-way between the outcome and a middle."""
    size = len(question["design"]["columns"])
    right, information = np.zeros(size), np.zeros((size, size))
    for columns, outcome in _standardised(cases, question, state):
        weight, response = families.first(question["family"], outcome, mean=float(state["outcome_mean"]))
        weight = weight / float(state["unit"])
        right += columns.T @ (weight * response)
        information += columns.T @ (columns * weight[:, np.newaxis])
    return _carried([*right.tolist(), *information[np.triu_indices(size)].tolist()])


def local_fit(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """Flag, deviance, score, and the upper triangle of the information at the state's point."""
    size = len(question["design"]["columns"])
    point, unit = np.array(state["point"], dtype=np.float64), float(state["unit"])
    deviance, score, information = 0.0, np.zeros(size), np.zeros((size, size))
    with np.errstate(over="ignore", invalid="ignore"):
        for columns, outcome in _standardised(cases, question, state):
            linear = columns @ point
            mean, weight = families.fitted(question["family"], linear)
            deviance += float(np.sum(families.deviance(question["family"], outcome, linear=linear))) / unit
            score += columns.T @ ((outcome - mean) / unit)
            information += columns.T @ (columns * (weight / unit)[:, np.newaxis])
    return _carried([deviance, *score.tolist(), *information[np.triu_indices(size)].tolist()])


def _square(reader: Reader, size: int) -> list[list[float]]:
    matrix = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = reader.one()
    return matrix


def _refused(reason: str) -> dict[str, Any]:
    return {"step": "done", "refused": [reason]}


_NO_CONVERGENCE = "the fit did not converge; look for very skewed columns, and leave out or combine some of them"
# Which column separates would say that everybody on one side of it had the same outcome; that is a count of zero, so it is not named.
_SEPARATED = (
    "no finite estimate exists: some combination of the predictors foretells the outcome without error (separation); "
    "leave out or merge the levels that do so"
)


def advance_start(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The first point, unless some columns are combinations of others; then their names."""
    names = [column["name"] for column in question["design"]["columns"]]
    reader = Reader(total)
    ran_away = reader.flag()
    right = reader.many(len(names))
    solver = factor(_square(reader, len(names)))
    reader.end()
    if ran_away:
        return _refused(_NO_CONVERGENCE)
    if solver.dependent:
        told = "; ".join(", ".join(f"'{names[i]}'" for i in group) for group in solver.dependent)
        return {"step": "done", "refused": [f"these columns depend on each other (collinearity), leave one of them out: {told}"]}
    null = _null_point(question, state)
    last = {"point": [0.0] * len(names), "deviance": None} if null is None else {"point": null, "deviance": _null_deviance(state)}
    again = {"iterations": 1, "slow": 0, "decrement": None, "first": True}
    return {**state, **again, "step": "fit", "point": solver.solve(right), "last": last}


def _null_point(question: dict[str, Any], state: dict[str, Any]) -> list[float] | None:
    """The model of the intercept alone, on the standardised columns; None without an intercept."""
    family, columns = question["family"], question["design"]["columns"]
    middle = 0.0 if family == "gaussian" else link(family, state["outcome_mean"])
    if middle is None or all(column["factors"] for column in columns):
        return None
    return [0.0 if column["factors"] else middle for column in columns]


def _null_deviance(state: dict[str, Any]) -> float:
    return float(state["null_deviance"]) / (float(state["unit"]) * float(state["scale"]) ** 2)


def advance_fit(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Newton's step from this point; back where the deviance rose; the result where the step no longer matters."""
    size = len(question["design"]["columns"])
    reader = Reader(total)
    ran_away = reader.flag()
    deviance, score = reader.one(), reader.many(size)
    information = _square(reader, size)
    reader.end()
    last = state["last"]
    if ran_away or (last["deviance"] is not None and deviance > last["deviance"] * (1 + 1e-10)):
        return _step_back(state)
    if question["family"] == "gaussian" and deviance < 1e-20 * state["rows"]:
        return _refused(
            f"the predictors reproduce '{question['design']['outcome']}' exactly, so the model would give away every value of it"
        )
    solver = factor(information)
    if solver.dependent:  # the start was of full rank, so the weights have vanished
        return _refused(_SEPARATED)
    step = solver.solve(score)
    decrement = state["unit"] * math.fsum(map(mul, score, step))
    point = [here + by for here, by in zip(state["point"], step, strict=True)]
    dispersion = deviance / (state["rows"] - size) if question["family"] == "gaussian" else 1.0
    # Near an optimum Newton squares the error. Where a tiny step shrinks no further only rounding is left (least squares: after three
    # refinements), and where a small one shrinks by a constant factor the optimum is at infinity.
    before = state["decrement"]
    stalled = before is not None and decrement > 0.1 * before
    rounding = (stalled and decrement <= STALLED) or (question["family"] == "gaussian" and state["iterations"] >= 3)
    if decrement <= CONVERGED * dispersion or rounding:
        return {"step": "done", "result": _result(question, state, point=point, deviance=deviance, solver=solver)}
    slow = state["slow"] + 1 if stalled and decrement < 0.05 else 0
    if slow >= 3:
        return _refused(_SEPARATED)
    if state["iterations"] >= MOST_STEPS:
        return _refused(_NO_CONVERGENCE)
    after = {"iterations": state["iterations"] + 1, "slow": slow, "decrement": decrement, "first": False}
    return {**state, **after, "point": point, "last": {"point": state["point"], "deviance": deviance}}


def _step_back(state: dict[str, Any]) -> dict[str, Any]:
    """Half the way back to the last good point. A first point that is worse than the intercept alone is given up for the latter.

    Where nothing has an effect the first point is always worse, and halving would creep towards an optimum that is next to the other end.
    """
    if state["iterations"] >= MOST_STEPS:
        return _refused(_NO_CONVERGENCE)
    last = state["last"]
    after = {"iterations": state["iterations"] + 1, "slow": 0, "decrement": None, "first": False}
    if state["first"] and last["deviance"] is not None:
        return {**state, **after, "point": last["point"], "last": {**last, "deviance": None}}
    return {**state, **after, "point": [(here + there) / 2 for here, there in zip(state["point"], last["point"], strict=True)]}


def _result(question: dict[str, Any], state: dict[str, Any], *, point: list[float], deviance: float, solver: Factor) -> dict[str, Any]:
    """Back on the scale of the columns and the outcome."""
    family, design = question["family"], question["design"]
    names = [column["name"] for column in design["columns"]]
    rows, scale, unit = state["rows"], float(state["scale"]), float(state["unit"])
    residual = rows - len(names)
    dispersion = deviance / residual if family == "gaussian" else 1 / unit
    estimates: dict[str, float] = {}
    errors: dict[str, float] = {}
    for index, column in enumerate(design["columns"]):
        weights = _weights(index, column, state)
        offset = float(state["centre"]) if not column["factors"] else 0.0
        estimates[names[index]] = offset + scale * math.fsum(map(mul, weights, point))
        errors[names[index]] = scale * math.sqrt(dispersion * solver.quadratic(weights))
    deviance *= unit * scale**2
    result = {
        "n": state["people"],
        "terms": names,  # the order of the columns; canonical JSON sorts the keys of the next two
        "coefficients": estimates,
        "standard_errors": errors,
        "log_likelihood": families.log_likelihood(family, deviance=deviance, saturated=state["saturated"], rows=rows),
        "deviance": deviance,
        "null_deviance": state["null_deviance"],
        "df_residual": residual,
        "converged": True,
        "iterations": state["iterations"],
        "family": family,
        "formula": question["formula"],
        "outcome": design["outcome"],
        "columns": sorted({design["outcome"], *(one["column"] for column in design["columns"] for one in column["factors"])}),
    }
    if rows != state["people"]:
        result["rows"] = rows
    if state.get("implied_counts"):
        result["implied_counts"] = state["implied_counts"]
    return result


def _weights(index: int, column: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """The coefficient of this column as a combination of the standardised ones: beta = scale * weights . point."""
    scales = [float(scale) for scale in state["scales"]]
    if column["factors"]:
        return [1 / scales[index] if i == index else 0.0 for i in range(len(scales))]
    return [1.0 if i == index else -float(centre) / scales[i] for i, centre in enumerate(state["centres"])]
