"""Cox's partial likelihood over hospitals that share one baseline hazard: sums per interval of a time grid, put together by every node.

Per interval the sums over those who leave in it are opened to the hospitals of the job, so an interval holds at least `smallest_cell`
people with the event, or none, and as many without it, or none (time_grid.py). `folded` is plain Python: see linear.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pumasi.analysis.newton import square
from pumasi.kernel.errors import Tampered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.sums import Reader

    Vector = NDArray[np.float64]


def local(interval: NDArray[np.int64], event: NDArray[np.bool_], matrix: Vector, point: Sequence[float], *, intervals: int) -> list[float]:
    """For each interval sums over those who leave in it and over those of them with the event; then over those who are there after it."""
    risk = np.exp(matrix @ np.array(point, dtype=np.float64))
    partial: list[float] = []
    for number in range(intervals):
        here = interval == number
        dying = here & event
        partial += [float(np.count_nonzero(dying)), *matrix[dying].sum(axis=0).tolist()]
        partial += [*_moments(risk[here], matrix[here]), *_moments(risk[dying], matrix[dying])]
    after = interval >= intervals
    return [*partial, *_moments(risk[after], matrix[after])]


def _moments(risk: Vector, matrix: Vector) -> list[float]:
    """Of the risks: sum, first, and upper triangle of the second moments."""
    weighted = matrix * risk[:, np.newaxis]
    second = matrix.T @ weighted
    return [float(risk.sum()), *weighted.sum(axis=0).tolist(), *second[np.triu_indices(len(second))].tolist()]


MOST_EVENTS = 2_000_000  # in one interval: Efron's terms are added one by one


@dataclass
class Moments:
    zeroth: float
    first: list[float]
    second: list[list[float]]

    @staticmethod
    def read(reader: Reader, size: int) -> Moments:
        return Moments(reader.one(), reader.many(size), square(reader, size))

    def add(self, other: Moments) -> None:
        self.zeroth += other.zeroth
        self.first = [one + two for one, two in zip(self.first, other.first, strict=True)]
        self.second = [[one + two for one, two in zip(row, more, strict=True)] for row, more in zip(self.second, other.second, strict=True)]


@dataclass(frozen=True)
class Interval:
    events: int
    seen: list[float]  # sums of the columns over those with the event
    everybody: Moments
    dying: Moments


@dataclass(frozen=True)
class Total:
    """What the hospitals' sums add up to."""

    intervals: list[Interval]
    after: Moments

    @staticmethod
    def read(reader: Reader, size: int, *, intervals: int) -> Total:
        found = [
            Interval(reader.count(), reader.many(size), Moments.read(reader, size), Moments.read(reader, size)) for _ in range(intervals)
        ]
        if any(interval.events > MOST_EVENTS for interval in found):
            raise Tampered("the hospitals' shares add up to more events than there can be: one of them is wrong")
        return Total(found, Moments.read(reader, size))


@dataclass(frozen=True)
class Folded:
    """Log-likelihood; scores weighted by powers 0 and 1 of `trend`, informations also by 2; the baseline hazard of each interval."""

    log_likelihood: float
    scores: list[list[float]]
    informations: list[list[list[float]]]
    hazards: list[float]


def folded(total: Total, point: Sequence[float], *, ties: str, trend: Sequence[float]) -> Folded:
    """As if everybody who leaves in an interval left at one time; `trend` is a number for each interval."""
    size = len(point)
    log_likelihood = 0.0
    scores = [[0.0] * size for _ in range(2)]
    informations = [[[0.0] * size for _ in range(size)] for _ in range(3)]
    hazards = [0.0] * len(total.intervals)
    risk = Moments(total.after.zeroth, list(total.after.first), [list(row) for row in total.after.second])
    for number in reversed(range(len(total.intervals))):
        interval = total.intervals[number]
        risk.add(interval.everybody)
        if interval.events == 0:
            continue
        gone = [k / interval.events if ties == "efron" else 0.0 for k in range(interval.events)]
        left = [risk.zeroth - part * interval.dying.zeroth for part in gone]
        log_likelihood += math.fsum(value * by for value, by in zip(interval.seen, point, strict=True))
        log_likelihood -= math.fsum(math.log(one) if one > 0 else math.inf for one in left)
        by = [math.fsum(part**k / one for part, one in zip(gone, left, strict=True)) for k in (0, 1)]
        squared = [math.fsum(part**k / one**2 for part, one in zip(gone, left, strict=True)) for k in (0, 1, 2)]
        hazards[number] = by[0]
        expected = [by[0] * one - by[1] * two for one, two in zip(risk.first, interval.dying.first, strict=True)]
        for power, score in enumerate(scores):
            for i in range(size):
                score[i] += trend[number] ** power * (interval.seen[i] - expected[i])
        _add_information(informations, risk, interval.dying, by, squared, trend[number])
    return Folded(log_likelihood, scores, informations, hazards)


def _add_information(
    informations: list[list[list[float]]], risk: Moments, dying: Moments, by: list[float], squared: list[float], trend: float
) -> None:
    for i, (at_risk, died) in enumerate(zip(risk.first, dying.first, strict=True)):
        for j, (also, gone) in enumerate(zip(risk.first, dying.first, strict=True)):
            second = by[0] * risk.second[i][j] - by[1] * dying.second[i][j]
            cross = squared[1] * (at_risk * gone + died * also)
            value = second - (squared[0] * at_risk * also - cross + squared[2] * died * gone)
            for power, information in enumerate(informations):
                information[i][j] += trend**power * value
