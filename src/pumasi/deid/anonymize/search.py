"""The optimum over the lattice: every node is judged, or ruled out by a bound that holds for it.

A judged node rules out others in three ways: too many records owed dooms all more specific nodes; what it owes adds to their loss;
what it loses before suppression is a floor for all more general ones. Ties go to fewer levels, then to the first in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.anonymize.lattice import Bools, Classes, Grouping, Node
from pumasi.deid.anonymize.metrics import Loss, Metric, PerColumn
from pumasi.deid.anonymize.models import Model, Verdict
from pumasi.deid.hierarchy import Floats

_HOLDS_RARELY = 16  # most nodes fail, so those with many below them are tried first; measured, decides nothing but the time
_SLACK = 1 - 1e-9  # keeps a bound below the value that it bounds, whatever is rounded
_SPREAD = 3_000  # one more node is chosen at a time for so many nodes, because choosing looks at all of them


Watch = Callable[[float], None]


@dataclass(frozen=True)
class Best:
    """The best node found, its loss, and how good any node can be at most; the two are equal when the search was complete."""

    node: Node
    loss: float
    bound: float
    checked: int
    seconds: float

    @property
    def optimal(self) -> bool:
        return self.bound >= self.loss


class Search:
    """Best-first over all nodes from `floor` upwards; `deadline` is a reading of `time.perf_counter`."""

    def __init__(
        self, grouping: Grouping, model: Model, metric: Metric, tops: Node, *, floor: Node | None = None, deadline: float | None = None
    ) -> None:
        self._grouping, self._model, self._metric = grouping, model, metric
        self._floor = floor or (0,) * len(tops)
        self._deadline = deadline
        self._started = time.perf_counter()
        self.checked = 0
        heights = tuple(top - low + 1 for top, low in zip(tops, self._floor, strict=True))
        self._open: Bools = np.ones(heights, dtype=np.bool_)  # neither judged nor doomed
        self._sums = _level_sums(heights)
        self._extra = np.zeros((len(heights), *heights)) if isinstance(metric, PerColumn) and metric.counts_suppression else None
        self._bound = self._first_bound(heights)
        self._best: tuple[float, float, int] = (np.inf, 0.0, 0)  # loss, levels, place
        self._below, self._above = _Running(heights, upwards=True), _Running(heights, upwards=False)
        self._batch = 4 + self._open.size // _SPREAD
        self._tie = metric.tie if isinstance(metric, Loss) else None

    def run(self, watch: Watch = lambda share: None) -> Best | None:
        """The optimum; None when no node holds the model. After the deadline the best so far, with the bound that was reached.

        `watch` is told how much of the lattice is settled, in per cent.
        """
        self._judge(tuple(height - 1 for height in self._open.shape))
        while True:
            wanted = self._wanted()
            if not wanted.any():
                break
            if self._deadline is not None and time.perf_counter() > self._deadline and np.isfinite(self._best[0]):
                break
            watch(100.0 - 100.0 * np.count_nonzero(wanted) / wanted.size)
            for node in self._choose(wanted):
                if self._open[node] and self._bound[node] <= self._best[0]:
                    self._judge(node)
        if not np.isfinite(self._best[0]):
            return None
        wanted = self._wanted()
        bound = min(self._best[0], float(self._bound[wanted].min())) if wanted.any() else self._best[0]
        node = self._node(tuple(map(int, np.unravel_index(self._best[2], self._open.shape))))
        return Best(node, self._best[0], bound, self.checked, time.perf_counter() - self._started)

    def _wanted(self) -> Bools:
        """Nodes that could still be better than the best, ties included."""
        loss, levels, place = self._best
        found = self._open & (self._bound <= loss)
        if np.isfinite(loss):
            equal = found & (self._bound == loss)
            if equal.any():
                places = np.flatnonzero(equal)
                sums = self._sums.ravel()[places]
                worse = places[(sums > levels) | ((sums == levels) & (places > place))]
                found.ravel()[worse] = False
        return found

    def _node(self, place: Node) -> Node:
        return tuple(low + step for low, step in zip(self._floor, place, strict=True))

    def _judge(self, node: Node) -> None:
        self.checked += 1
        self._open[node] = False
        classes = self._grouping.classes(self._node(node))
        below = tuple(slice(0, level + 1) for level in node)
        verdict = self._model.verdict(classes, self._tie)
        self._floor_above(node, classes)
        if verdict.doomed:
            self._open[below] = False
            return
        extra = self._raise_below(below, classes, verdict)
        if verdict.holds:
            loss = self._loss(classes, verdict, extra)
            place = int(np.ravel_multi_index(node, self._open.shape))
            self._best = min(self._best, (loss, float(self._sums[node]), place))

    def _loss(self, classes: Classes, verdict: Verdict, extra: Floats | None) -> float:
        if extra is not None and isinstance(self._metric, PerColumn):
            return self._metric.with_extra(classes.node, extra)
        return self._metric.value(classes, verdict.fails)

    def _floor_above(self, node: Node, classes: Classes) -> None:
        if not isinstance(self._metric, PerColumn):
            above = tuple(slice(level, None) for level in node)
            np.maximum(self._bound[above], self._metric.whole(classes), out=self._bound[above])

    def _raise_below(self, below: tuple[slice, ...], classes: Classes, verdict: Verdict) -> Floats | None:
        """Let all more specific nodes lose what is owed here; returns it per column when it is also all that is suppressed here."""
        metric = self._metric
        if self._extra is None or not isinstance(metric, PerColumn):
            return None
        owed = metric.countable(classes, verdict.owed)
        exact = bool(np.array_equal(owed, np.where(verdict.fails, classes.counts, 0.0)))
        if not exact and not owed.any():
            return None
        added = metric.extra(classes, owed)
        if added.any() and self._open[below].any():
            parts = []
            for column, base in enumerate(metric.base):
                extra = self._extra[column][below]
                np.maximum(extra, added[column] * _SLACK, out=extra)
                parts.append(extra + _along(base[self._floor[column] :][below[column]], column, len(below)))
            self._bound[below] = metric.aggregate(parts)
        return added if exact else None

    def _first_bound(self, heights: Node) -> Floats:
        if not isinstance(self._metric, PerColumn):
            return np.full(heights, -np.inf)
        parts = [_along(base[self._floor[column] :], column, len(heights)) for column, base in enumerate(self._metric.base)]
        return np.broadcast_to(self._metric.aggregate(parts), heights).copy()

    def _choose(self, wanted: Bools) -> list[Node]:
        """Nodes that rule out most, whichever way they turn out."""
        below, above = self._below.of(wanted), self._above.of(wanted)
        score = np.where(wanted, np.minimum(below, _HOLDS_RARELY * above), 0).ravel()
        places = np.argpartition(score, -self._batch)[-self._batch :] if len(score) > self._batch else np.arange(len(score))
        places = places[np.argsort(-score[places], kind="stable")]
        return [tuple(map(int, node)) for node in np.transpose(np.unravel_index(places[score[places] > 0], wanted.shape))]


class _Running:
    """Sums over the lattice of everything below (or above) each node."""

    def __init__(self, heights: Node, *, upwards: bool) -> None:
        self._sums = np.zeros(heights, dtype=np.int32)
        self._steps = []
        for axis, height in enumerate(heights):
            levels = list(np.moveaxis(self._sums, axis, 0))
            ordered = levels if upwards else levels[::-1]
            self._steps += list(zip(ordered[1:], ordered[:-1], strict=True)) if height > 1 else []

    def of(self, wanted: Bools) -> NDArray[np.int32]:
        self._sums[...] = wanted
        for onto, level in self._steps:
            onto += level
        return self._sums


def _along(values: Floats, axis: int, axes: int) -> Floats:
    """One value per level of one column, shaped to be added over the lattice."""
    return values.reshape([-1 if place == axis else 1 for place in range(axes)])


def _level_sums(heights: Node) -> Floats:
    return sum((_along(np.arange(height, dtype=np.float64), axis, len(heights)) for axis, height in enumerate(heights)), np.zeros(()))
