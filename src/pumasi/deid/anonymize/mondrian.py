"""Local recoding (Mondrian, LeFevre 2006, over hierarchies): parts of the table are split as long as every part holds the models.

Fast and mostly less lossy than one level for all, but no optimum: the same value may be published at several levels. Nothing is suppressed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pumasi.deid.anonymize.lattice import Bools, Classes, Combinations, numbered, sums
from pumasi.deid.anonymize.models import AtLeast, FewSingles, Judge, Model, Present
from pumasi.deid.hierarchy import Hierarchy, Ints


@dataclass(frozen=True)
class Parts:
    """The parts of a table, and per column the level at which all values of each combination's part have one label.

    A level equal to the number of levels of the hierarchy means that there is none: the cells become `*`.
    """

    classes: Classes
    levels: list[Ints]


def split(combinations: Combinations, model: Model, weights: Sequence[float], *, start: Ints | None = None) -> Parts | None:
    """The finest parts that greedy splits reach from `start` (a part number per combination) or from the whole table.

    None when the parts to start from do not hold the model.
    """
    work = _Work(combinations, model, weights, start if start is not None else np.zeros(len(combinations.counts), dtype=np.int64))
    if not work.good(work.of, work.parts).all():
        return None
    while work.step():
        pass
    levels = [work.levels[column][work.of] for column in range(len(combinations.codes))]
    classes = Classes((), work.of, work.parts, sums(work.of, combinations.counts, work.parts))
    return Parts(classes, levels)


class _Work:
    """All parts at once: every round each part that can still be split tries the column in which it is widest."""

    def __init__(self, combinations: Combinations, model: Model, weights: Sequence[float], start: Ints) -> None:
        self._combinations, self._judges = combinations, (*model.judges, *_class_by_class(model))
        self._everyone = any(isinstance(judge, Present) and judge.judges_absent and judge.least > 0 for judge in model.judges)
        self._weights = np.asarray(weights)
        # Labels of every combination at every level of each column; one more level that is the same for all.
        self._labels = [_labels(tree, codes) for tree, codes in zip(combinations.hierarchies, combinations.codes, strict=True)]
        self.of, first = numbered([start])
        self.parts = len(first)
        self._tried = np.zeros((self.parts, len(self._labels)), dtype=np.bool_)
        self.levels = [self._common(column) for column in range(len(self._labels))]

    def step(self) -> bool:
        """One split of every part that can be split; False when there is none left."""
        column = self._widest()
        active = column >= 0
        if not active.any():
            return False
        of, tries = self._children(column)
        good = self.good(of, len(tries))
        rest = ~good & active[tries]
        of, rest = self._pooled(of, tries, rest)
        self._tried[active, column[active]] = True
        pieces, first = numbered([of])
        parents, own = self.of[first], np.bincount(self.of[first], minlength=self.parts)
        tried = self._tried[parents]
        tried[own[parents] > 1] = False
        self.of, self.parts, self._tried = pieces, len(first), tried
        self.levels = [self._common(each) for each in range(len(self._labels))]
        return True

    def good(self, of: Ints, parts: int) -> Bools:
        """Which parts hold the model."""
        classes = Classes((), of, parts, sums(of, self._combinations.counts, parts))
        result = np.ones(parts, dtype=np.bool_)
        for judge in self._judges:
            result &= ~judge.judge(classes, result).fails | (classes.counts == 0)
        return result & (classes.counts > 0) if self._everyone else result

    def _widest(self) -> Ints:
        """For each part the column to try next, or -1."""
        width = np.stack([self._width(column) for column in range(len(self._labels))], axis=1)
        width[self._tried | (np.stack(self.levels, axis=1) == 0)] = -1.0
        return np.where(width.max(axis=1) >= 0, width.argmax(axis=1), -1)

    def _width(self, column: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The share of the domain that a part's label stands for, weighted."""
        tree, level = self._combinations.hierarchies[column], self.levels[column]
        first = np.zeros(self.parts, dtype=np.int64)
        first[self.of] = np.arange(len(self.of))
        codes = self._combinations.codes[column][first]
        share = np.ones(self.parts)
        for each in range(tree.levels):
            here = level == each
            share[here] = tree.shares(each)[codes[here]]
        return np.asarray(share * self._weights[column])

    def _children(self, column: Ints) -> tuple[Ints, Ints]:
        """Each part by the labels one level below its common one, in its column; and the part of every child."""
        label = np.zeros(len(self.of), dtype=np.int64)
        mine = column[self.of]
        for each, labels in enumerate(self._labels):
            here = np.flatnonzero(mine == each)
            label[here] = labels[self.levels[each][self.of[here]] - 1, here]
        of, first = numbered([self.of, label])
        return of, self.of[first]

    def _pooled(self, of: Ints, parent: Ints, rest: Bools) -> tuple[Ints, Bools]:
        """Children that fail stay together as the rest of their part, which takes in its smallest siblings until it holds the model."""
        counts = sums(of, self._combinations.counts, len(parent))
        while True:
            pooled = np.where(rest, len(parent) + parent, np.arange(len(parent)))[of]
            slots = len(parent) + self.parts
            bad = ~self.good(pooled, slots)[len(parent) :] & np.isin(np.arange(self.parts), parent[rest])
            candidates = np.flatnonzero(~rest & bad[parent])
            if len(candidates) == 0:
                return pooled, rest
            order = candidates[np.lexsort((counts[candidates], parent[candidates]))]
            rest[order[np.unique(parent[order], return_index=True)[1]]] = True

    def _common(self, column: int) -> Ints:
        """For each part the lowest level at which its combinations share one label."""
        labels = self._labels[column]
        level = np.full(self.parts, len(labels) - 1, dtype=np.int64)
        for each in range(len(labels) - 2, -1, -1):
            low = np.full(self.parts, np.iinfo(np.int64).max)
            high = np.full(self.parts, -1)
            np.minimum.at(low, self.of, labels[each])
            np.maximum.at(high, self.of, labels[each])
            level[low == high] = each
        return level


def _labels(tree: Hierarchy, codes: Ints) -> Ints:
    return np.stack([*(level[codes] for level in tree.codes), np.zeros_like(codes)])


def _class_by_class(model: Model) -> list[Judge]:
    """What models of the whole sample ask, asked of every class: enough for them to hold."""
    sizes = [2 if isinstance(rule, FewSingles) else math.ceil(1.0 / rule.most - 1e-9) for rule in model.of_sample]
    return [AtLeast(size) for size in sizes]
