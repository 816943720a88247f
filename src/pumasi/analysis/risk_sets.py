"""Cox's partial likelihood of one stratum, with Breslow's or Efron's treatment of events at one time; its score and its information.

Time and memory are linear in the rows: what a row adds to the second moments of all risk sets that it is in is one weight (Therneau and
Grambsch, Modeling Survival Data, 2000, 3.1 to 3.3). Only numpy: it runs inside the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True)
class Stratum:
    """The rows of one stratum in the order of their times."""

    time: Vector
    event: NDArray[np.bool_]
    matrix: Vector

    def only(self, rows: NDArray[np.bool_]) -> Stratum:
        return Stratum(self.time[rows], self.event[rows], self.matrix[rows])


@dataclass(frozen=True)
class Sums:
    """Of one stratum at one point. `scores` and `informations` are weighted by powers 0, 1 and 2 of a function of time."""

    log_likelihood: float
    scores: list[Vector]
    informations: list[Vector]

    @property
    def score(self) -> Vector:
        return self.scores[0]

    @property
    def information(self) -> Vector:
        return self.informations[0]


def evaluate(stratum: Stratum, linear: Vector, ties: Ties, *, trend: tuple[float, float] | None = None) -> Sums:
    """At the linear predictor of each row. With `trend` = (centre, scale) also weighted by (time - centre) / scale and by its square, which
    the test of proportional hazards needs. Overflow becomes NaN, which the caller looks for."""
    size, powers = stratum.matrix.shape[1], 1 if trend is None else 3
    if not stratum.event.any():
        return Sums(0.0, [np.zeros(size)] * powers, [np.zeros((size, size))] * powers)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return _evaluate(stratum, linear, ties, trend, powers)


def _evaluate(stratum: Stratum, linear: Vector, ties: Ties, trend: tuple[float, float] | None, powers: int) -> Sums:
    time, event, matrix = stratum.time, stratum.event, stratum.matrix
    top = float(linear.max())
    risk = np.exp(linear - top)
    moments = risk[:, np.newaxis] * matrix
    times = np.unique(time[event])
    # 1. sums over those at risk at each event time, and over those who have the event then
    begin, begin_event = np.searchsorted(time, times), np.searchsorted(time[event], times)
    at_risk, at_risk_moments = _from_here(np.add.reduceat(risk, begin)), _from_here(np.add.reduceat(moments, begin, axis=0))
    dying, dying_moments = np.add.reduceat(risk[event], begin_event), np.add.reduceat(moments[event], begin_event, axis=0)
    # 2. Efron: of d events at one time the k-th sees k/d of the others still at risk; Breslow: all of them
    events = np.diff([*begin_event, int(event.sum())])
    place = np.repeat(np.arange(len(times)), events)
    gone = (np.arange(len(place)) - begin_event[place]) / events[place] if ties == "efron" else np.zeros(len(place))
    total = at_risk[place] - gone * dying[place]
    log_likelihood = float(np.sum(linear[event] - top) - np.sum(np.log(total)))
    # 3. score and information, each event weighted by a power of its time
    row_place = np.searchsorted(times, time, side="right")
    scores, informations = [], []
    for power in range(powers):
        weight = np.ones(len(times)) if trend is None else ((times - trend[0]) / trend[1]) ** power
        by = [np.bincount(place, weight[place] * gone**k / total, minlength=len(times)) for k in (0, 1)]
        squared = [np.bincount(place, weight[place] * gone**k / total**2, minlength=len(times)) for k in (0, 1, 2)]
        seen = matrix[event].T @ weight[place]
        scores.append(seen - at_risk_moments.T @ by[0] + dying_moments.T @ by[1])
        hazard = np.concatenate([[0.0], np.cumsum(by[0])])[row_place]
        hazard[event] -= by[1][place]
        second = matrix.T @ (moments * hazard[:, np.newaxis])
        cross = at_risk_moments.T @ (dying_moments * squared[1][:, np.newaxis])
        square = at_risk_moments.T @ (at_risk_moments * squared[0][:, np.newaxis])
        square += dying_moments.T @ (dying_moments * squared[2][:, np.newaxis]) - cross - cross.T
        informations.append(second - square)
    return Sums(log_likelihood, scores, informations)


def _from_here(pieces: Vector) -> Vector:
    return pieces[::-1].cumsum(axis=0)[::-1]


def pairs(stratum: Stratum, linear: Vector) -> tuple[float, float, float]:
    """Pairs of people of whom one had the event before the other's time: the higher risk had it first, the lower, or both are equal.

    Harrell's concordance (Harrell and others, JAMA 247, 1982): at one time an event comes before leaving without it.
    """
    # rows alike must tie, whatever order their products were added in
    risk = np.unique(np.round(linear, 9), return_inverse=True)[1].reshape(-1)
    moment = 2 * np.unique(stratum.time, return_inverse=True)[1].reshape(-1) + ~stratum.event
    later = len(moment) - np.searchsorted(np.sort(moment), moment, side="right")
    comparable = float(later[stratum.event].sum())
    # among rows of one moment, in this order none comes after another of higher (lower) risk
    concordant = _later_and_less(risk[np.lexsort((risk, moment))], stratum.event[np.lexsort((risk, moment))])
    discordant = _later_and_less(-risk[np.lexsort((-risk, moment))], stratum.event[np.lexsort((-risk, moment))])
    return concordant, discordant, comparable - concordant - discordant


def _later_and_less(risk: NDArray[np.int64], event: NDArray[np.bool_]) -> float:
    """Over all rows with an event, how many of the rows after it have a lower risk. Halves are compared, then halves of halves."""
    count, width, rows = 0.0, 1, len(risk)
    risk = risk - risk.min() if rows else risk
    span = int(risk.max()) + 1 if rows else 1
    while width < rows:
        block = np.arange(rows) // width
        keys = (block // 2) * span + risk  # the two halves of a pair of blocks share a key range
        right = np.sort(keys[block % 2 == 1])
        left = keys[(block % 2 == 0) & event]
        # those of this pair with a lower risk: all before this key, less all before this pair
        count += float(np.sum(np.searchsorted(right, left) - np.searchsorted(right, (left // span) * span)))
        width *= 2
    return count
