"""A lattice too large to hold: good generalisations soon, and a bound on how much better any other can be, until the time is over.

1. levels that no solution can have are cut off from below; what is left is searched wholly if it is small enough   2. greedy descents
from the top, in turns with 3. a best-first climb from the bottom, whose frontier is the bound. If they meet, the result is the optimum.
"""

from __future__ import annotations

import heapq
import math
import random
import time

import numpy as np

from pumasi.deid.anonymize.lattice import Grouping, Node
from pumasi.deid.anonymize.metrics import Loss, Metric, PerColumn
from pumasi.deid.anonymize.models import Model
from pumasi.deid.anonymize.search import Best, Search, Watch

LARGEST = 500_000  # nodes that are searched wholly; about 100 bytes each
_AXES = 60  # columns of a lattice that numpy can hold
_LIMIT = 60.0  # seconds
_TURN = 0.25  # seconds of climbing between two descents


def best(
    grouping: Grouping,
    model: Model,
    metric: Metric,
    heights: Node,
    *,
    time_limit: float | None,
    largest: int = LARGEST,
    watch: Watch = lambda share: None,
) -> Best | None:
    """The optimum, or after `time_limit` seconds (60 where the lattice is too large) the best found; None when no node holds the model.

    `watch` is told how far the search, or its time, is, in per cent.
    """
    started = time.perf_counter()
    tops = tuple(height - 1 for height in heights)
    floor: Node = (0,) * len(heights)
    if math.prod(heights) > largest:
        floor = _floor(grouping, model, tops)
    if math.prod(top - low + 1 for top, low in zip(tops, floor, strict=True)) <= largest and len(tops) <= _AXES:
        deadline = started + time_limit if time_limit else None
        return Search(grouping, model, metric, tops, floor=floor, deadline=deadline).run(watch)
    return _Climb(grouping, model, metric, tops, floor).run(started + (time_limit or _LIMIT), watch)


def _floor(grouping: Grouping, model: Model, tops: Node) -> Node:
    """For each column the lowest level at which it is not doomed even when every other column is at its top."""
    floor = list(tops)
    for column, top in enumerate(tops):
        for level in range(top + 1):
            node = (*tops[:column], level, *tops[column + 1 :])
            if not model.verdict(grouping.classes(node)).doomed:
                floor[column] = level
                break
    return tuple(floor)


class _Climb:
    """The nodes between `floor` and `tops`, none of them held but those that were met."""

    def __init__(self, grouping: Grouping, model: Model, metric: Metric, tops: Node, floor: Node) -> None:
        self._grouping, self._model, self._metric, self._tops, self._floor = grouping, model, metric, tops, floor
        self._tie = metric.tie if isinstance(metric, Loss) else None
        self._doomed = np.zeros((0, len(tops)), dtype=np.int64)
        self._known: dict[Node, float] = {}
        self._best: tuple[float, int, Node] = (math.inf, 0, tops)
        self._chance = random.Random(0)  # noqa: S311 - the way down a lattice is no secret, and two runs should agree
        self._frontier = [(self._least(floor), floor)]
        self._met = {floor}
        self.checked = 0

    def run(self, deadline: float, watch: Watch) -> Best | None:
        started = time.perf_counter()
        self._value(self._tops)
        while self._frontier and self._frontier[0][0] < self._best[0] and time.perf_counter() < deadline:
            watch(100.0 * (time.perf_counter() - started) / (deadline - started))
            self._descend(deadline)
            self._climb(min(deadline, time.perf_counter() + _TURN))
        loss, _, node = self._best
        if not math.isfinite(loss):
            return None
        bound = min(loss, self._frontier[0][0]) if self._frontier else loss
        return Best(node, loss, bound, self.checked, time.perf_counter() - started)

    def _value(self, node: Node) -> float:
        """The loss of a node, infinite where the model does not hold."""
        if node in self._known:
            return self._known[node]
        found = math.inf
        if self._doom(node) is None:
            self.checked += 1
            classes = self._grouping.classes(node)
            verdict = self._model.verdict(classes, self._tie)
            if verdict.doomed:
                below = np.all(self._doomed <= node, axis=1)
                self._doomed = np.vstack([self._doomed[~below], np.asarray(node)])
            elif verdict.holds:
                found = self._metric.value(classes, verdict.fails)
                self._best = min(self._best, (found, sum(node), node))
        self._known[node] = found
        return found

    def _descend(self, deadline: float) -> None:
        """From the top, or at times from a neighbour of the best, always to the best node one level lower, as long as there is one."""
        node = self._tops
        if self._chance.random() < 0.7 and math.isfinite(self._best[0]):
            node = tuple(min(top, level + self._chance.choice((0, 0, 1))) for level, top in zip(self._best[2], self._tops, strict=True))
        value = self._value(node)
        while time.perf_counter() < deadline:
            steps = [column for column in range(len(node)) if node[column] > self._floor[column]]
            lower = [(*node[:column], node[column] - 1, *node[column + 1 :]) for column in steps]
            self._chance.shuffle(lower)
            found = min(((self._value(each), each) for each in lower), default=(math.inf, node))
            if found[0] >= value or not math.isfinite(found[0]):
                return
            value, node = found

    def _climb(self, until: float) -> None:
        """Judge the nodes in the order of what they lose at least; all that were never met lie above the frontier.

        Above a node below a doomed one, only what leaves the doomed one behind in some column can hold the model.
        """
        while self._frontier and self._frontier[0][0] < self._best[0] and time.perf_counter() < until:
            _, node = heapq.heappop(self._frontier)
            if self._doom(node) is None:
                self._value(node)
                self._raise(node)
            passed = self._doom(node) or node
            for column, top in enumerate(self._tops):
                if passed[column] < top:
                    self._meet((*node[:column], passed[column] + 1, *node[column + 1 :]))

    def _meet(self, node: Node) -> None:
        if node not in self._met:
            self._met.add(node)
            heapq.heappush(self._frontier, (self._least(node), node))

    def _raise(self, node: Node) -> None:
        """Look how far up what is doomed here still is, so that nothing in between need be judged."""
        columns = list(range(len(node)))
        self._chance.shuffle(columns)
        for column in columns:
            if self._doom(node) is None:
                return
            top = (*node[:column], self._tops[column], *node[column + 1 :])
            self._value(top)
            node = top if self._doom(top) else node

    def _doom(self, node: Node) -> Node | None:
        """A doomed node that this one is below, or is."""
        found = np.flatnonzero(np.all(self._doomed >= node, axis=1))
        return tuple(map(int, self._doomed[found[0]])) if len(found) else None

    def _least(self, node: Node) -> float:
        """What a node and all above it lose at least."""
        if isinstance(self._metric, PerColumn):
            return self._metric.least(node)
        return self._metric.whole(self._grouping.classes(node))
