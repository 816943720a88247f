"""Newton's method as a state that travels: one step from summed score and information, the same bits at every hospital.

The information of a sum of rows is the sum of the hospitals' informations, so the step is the pooled one (McCullagh and Nelder, 2.5).
A *fit* is plain data: `point`, the `last` good one, and its `status`: running, converged, separated (the optimum is at infinity), lost.
The same bits everywhere: see linear.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis.linear import solutions
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.sums import Reader

MOST_STEPS = 60
# The squared step in standard errors at which the next one would be lost in rounding.
CONVERGED = 1e-16
# And the one that rounding may leave where counts are so large that standard errors are near the last digit of a coefficient.
STALLED = 1e-8
# Larger sums than this come only from a step that ran away; up to it they fit the fixed point of 2^16 hospitals.
_RUNAWAY = 2.0**46

NO_CONVERGENCE = Refusal("no-convergence", "the fit did not converge; look for very skewed columns, and leave out or combine some of them")
COLLINEAR = Refusal("collinear", "these columns depend on each other (collinearity), leave one of them out: {}")
# Which column separates would say that everybody on one side of it had the same outcome; that is a count of zero, so it is not named.
SEPARATED = Refusal(
    "separation",
    "no finite estimate exists: some combination of the predictors foretells the outcome without error (separation); "
    "leave out or merge the levels that do so",
)


def carried(sums: Sequence[float]) -> list[float]:
    """The sums behind a flag that says they ran away; then they are zeros, because a total may not hold NaN or infinity."""
    if all(abs(value) < _RUNAWAY for value in sums):
        return [0.0, *sums]
    return [1.0] + [0.0] * len(sums)


def square(reader: Reader, size: int) -> list[list[float]]:
    """A symmetric matrix from its upper triangle, row by row."""
    matrix = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = reader.one()
    return matrix


def symmetric(reader: Reader, size: int) -> NDArray[np.float64]:
    """The same as an array."""
    matrix, (above, beside) = np.empty((size, size)), np.triu_indices(size)
    matrix[above, beside] = matrix[beside, above] = reader.many(len(above))
    return matrix


def triangle(matrix: Sequence[Sequence[float]]) -> list[float]:
    return [value for i, row in enumerate(matrix) for value in row[i:]]


def penalised(matrix: Sequence[Sequence[float]], penalty: Sequence[float]) -> list[list[float]]:
    """The matrix with a ridge on its diagonal."""
    return [[value + penalty[i] if i == j else value for j, value in enumerate(row)] for i, row in enumerate(matrix)]


def ridged(matrix: NDArray[np.float64], penalty: Sequence[float]) -> NDArray[np.float64]:
    """The same of an array."""
    matrix = matrix.copy()
    matrix[range(len(penalty)), range(len(penalty))] += penalty
    return matrix


def collinear(names: Sequence[str], groups: Sequence[Sequence[int]]) -> Refusal:
    told = "; ".join(", ".join(f"'{names[i]}'" for i in group) for group in groups)
    return COLLINEAR.about(told)


def begin(point: list[float], *, last: dict[str, Any]) -> dict[str, Any]:
    """A fit at its first point. `last` holds a point that is known to be good and its objective; None where that is not known."""
    return {"status": "running", "point": point, "last": last, "iterations": 1, "slow": 0, "decrement": None, "first": True}


@dataclass(frozen=True)
class Sums:
    """What is known of one fit at its point. `objective` is -2 log-likelihood, to be made small; all sums are without the ridge."""

    ran_away: bool
    objective: float
    score: Sequence[float]
    information: NDArray[np.float64]
    penalty: Sequence[float]  # the ridge on each squared coefficient
    dispersion: float  # the size of a squared step of one standard error
    least_squares: bool = False
    enough: float = CONVERGED  # the squared step in standard errors that ends the fit


def move(fits: Sequence[dict[str, Any]], sums: Sequence[Sums]) -> list[dict[str, Any]]:
    """Newton's step of each of these fits from its point; back where the objective rose. The steps of one size are solved at once."""
    objectives = [
        at.objective + math.fsum(by * here * here for by, here in zip(at.penalty, fit["point"], strict=True))
        for fit, at in zip(fits, sums, strict=True)
    ]
    forwards = [place for place, fit in enumerate(fits) if not (sums[place].ran_away or _rose(fit["last"]["objective"], objectives[place]))]
    pulls = {
        place: [slope - by * here for slope, by, here in zip(sums[place].score, sums[place].penalty, fits[place]["point"], strict=True)]
        for place in forwards
    }
    informations = [ridged(sums[place].information, sums[place].penalty) for place in forwards]
    steps = dict(zip(forwards, solutions(informations, list(pulls.values())), strict=True))
    return [
        _step(fit, at, objective=objectives[place], pull=pulls[place], step=steps[place]) if place in pulls else _step_back(fit)
        for place, (fit, at) in enumerate(zip(fits, sums, strict=True))
    ]


def _rose(before: float | None, now: float) -> bool:
    return before is not None and now > before + 1e-10 * abs(before)


def _step(fit: dict[str, Any], at: Sums, *, objective: float, pull: list[float], step: list[float] | None) -> dict[str, Any]:
    if step is None:  # the start was of full rank, so the weights have vanished
        return {**fit, "status": "separated"}
    decrement = math.fsum(map(mul, pull, step)) / at.dispersion
    point = [here + by for here, by in zip(fit["point"], step, strict=True)]
    # Near an optimum Newton squares the error. Where a tiny step shrinks no further only rounding is left (least squares: after three
    # refinements), and where a small one shrinks by a constant factor the optimum is at infinity.
    before = fit["decrement"]
    stalled = before is not None and decrement > 0.1 * before
    rounding = (stalled and decrement <= STALLED) or (at.least_squares and fit["iterations"] >= 3)
    if decrement <= at.enough or rounding:
        information = at.information[np.triu_indices(len(point))].tolist()
        return {**fit, "status": "converged", "point": point, "objective": objective, "information": information}
    slow = fit["slow"] + 1 if stalled and decrement < 0.05 else 0
    if slow >= 3 or fit["iterations"] >= MOST_STEPS:
        return {**fit, "status": "separated" if slow >= 3 else "lost"}
    after = {"iterations": fit["iterations"] + 1, "slow": slow, "decrement": decrement, "first": False}
    return {**fit, **after, "point": point, "last": {"point": fit["point"], "objective": objective}}


def _step_back(fit: dict[str, Any]) -> dict[str, Any]:
    """Half the way back to the last good point. A first point that is worse than the one known before is given up for the latter.

    Where nothing has an effect the first point is always worse, and halving would creep towards an optimum that is next to the other end.
    """
    if fit["iterations"] >= MOST_STEPS:
        return {**fit, "status": "lost"}
    last = fit["last"]
    after = {"iterations": fit["iterations"] + 1, "slow": 0, "decrement": None, "first": False}
    if fit["first"] and last["objective"] is not None:
        return {**fit, **after, "point": last["point"], "last": {**last, "objective": None}}
    return {**fit, **after, "point": [(here + there) / 2 for here, there in zip(fit["point"], last["point"], strict=True)]}


def refused(fits: Sequence[dict[str, Any]]) -> list[Refusal]:
    """Why one of these fits has no answer."""
    said = {"separated": SEPARATED, "lost": NO_CONVERGENCE}
    return list(dict.fromkeys(said[fit["status"]] for fit in fits if fit["status"] in said))
