"""Information loss of a generalisation with suppressed records: loss, entropy, AECS, discernibility, height.

Values follow ARX's published definitions, so that its published optima can be compared digit by digit. The factor `gs` weighs
generalisation against suppression: 0 makes suppression free, 1 generalisation, 0.5 neither. `monotonic`: suppression does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pumasi.deid.anonymize.lattice import Bools, Classes, Combinations, Node, numbered, sums
from pumasi.deid.hierarchy import Floats, Ints

_DIGITS = 1e10  # published values are cut after ten decimals


@dataclass(frozen=True)
class Factors:
    """The weights of generalised and of suppressed cells that follow from one factor in [0, 1]."""

    gs: float

    @property
    def generalised(self) -> float:
        return 1.0 if self.gs <= 0.5 else 2.0 - 2.0 * self.gs

    @property
    def suppressed(self) -> float:
        return 1.0 if self.gs >= 0.5 else 2.0 * self.gs


class Metric(Protocol):
    """`value` is what is minimised; `whole` what it is at least, for this and all more general nodes, before any suppression.

    `local` is the value where every combination has levels of its own and nothing is suppressed.
    """

    def value(self, classes: Classes, fails: Bools) -> float: ...

    def whole(self, classes: Classes) -> float: ...

    def local(self, classes: Classes, levels: Sequence[Ints]) -> float: ...


class PerColumn:
    """A metric that adds up per column. `base[column][level]` is the part of generalisation, the rest comes with suppressed records."""

    def __init__(self, combinations: Combinations, weights: Sequence[float], *, counts_suppression: bool) -> None:
        self.combinations = combinations
        self.counts_suppression = counts_suppression
        self.weights = np.asarray(weights, dtype=np.float64) / max(weights)
        self.base = [
            np.array([self._generalised(column, level) for level in range(tree.levels)])
            for column, tree in enumerate(combinations.hierarchies)
        ]
        self._terms = [self._term(column, base).tolist() for column, base in enumerate(self.base)]

    def least(self, node: Node) -> float:
        """What a node loses before suppression, and every more general one at least."""
        return float(self._joined([terms[level] for terms, level in zip(self._terms, node, strict=True)]))

    def value(self, classes: Classes, fails: Bools) -> float:
        if not self.counts_suppression:
            return self.least(classes.node)
        return self.with_extra(classes.node, self.extra(classes, np.where(fails, classes.counts, 0.0)))

    def with_extra(self, node: Node, extra: Floats) -> float:
        """What a node loses with what suppression adds per column."""
        return float(self.aggregate([self.base[column][level] + extra[column] for column, level in enumerate(node)]))

    def whole(self, classes: Classes) -> float:
        return self.least(classes.node)

    def local(self, classes: Classes, levels: Sequence[Ints]) -> float:
        parts = [np.asarray(self._local(column, mine)) for column, mine in enumerate(levels)]
        return float(self.aggregate(parts))

    def extra(self, classes: Classes, suppressed: Floats) -> Floats:
        """Per column, what suppressing so many records of each slot adds."""
        share = np.divide(suppressed, classes.counts, out=np.zeros_like(classes.counts), where=classes.counts > 0)
        weight = share[classes.of] * self.combinations.counts
        mine = np.flatnonzero(weight)
        if len(mine) == 0:
            return np.zeros(len(self.base))
        codes = self.combinations.codes
        return np.array([self._suppressed(column, level, codes[column][mine], weight[mine]) for column, level in enumerate(classes.node)])

    def countable(self, classes: Classes, owed: Floats) -> Floats:
        """What of the records owed bounds the loss of more specific nodes from below."""
        return owed

    def aggregate(self, parts: Sequence[Floats]) -> Floats:
        """All columns as one number; arrays of parts give an array."""
        return np.asarray(self._joined([self._term(column, part) for column, part in enumerate(parts)]))

    def _term(self, column: int, part: Floats) -> Floats:
        return np.asarray(self.weights[column] * _cut(part))

    def _joined(self, terms: Sequence[Any]) -> Any:
        """From the terms of all columns, numbers or arrays alike."""
        return sum(terms)

    def _generalised(self, column: int, level: int) -> float:
        raise NotImplementedError

    def _suppressed(self, column: int, level: int, codes: Ints, weight: Floats) -> float:
        raise NotImplementedError

    def _local(self, column: int, levels: Ints) -> float:
        raise NotImplementedError

    def _by_value(self, column: int) -> Floats:
        values = len(self.combinations.hierarchies[column].values)
        return sums(self.combinations.codes[column], self.combinations.counts, values)


class Loss(PerColumn):
    """Granularity (Iyengar 2002): a cell loses the share of the column's domain that its label stands for, a suppressed one everything.

    Columns are joined by the geometric mean of 1 + loss, weighted; 0 is the original table, 1 an empty one.
    """

    def __init__(self, combinations: Combinations, weights: Sequence[float], *, factors: Factors, monotonic: bool) -> None:
        self._factors = factors
        self._shares = [[tree.shares(level) for level in range(tree.levels)] for tree in combinations.hierarchies]
        least = [factors.generalised / len(tree.values) for tree in combinations.hierarchies]
        self._least = np.array(least) * combinations.records
        super().__init__(combinations, weights, counts_suppression=not monotonic)

    def _term(self, column: int, part: Floats) -> Floats:
        room = self.combinations.records - self._least[column]
        share = np.maximum((part - self._least[column]) / room, 0.0) if room > 0 else np.zeros_like(part)
        return np.asarray(np.power(_cut(share) + 1.0, self.weights[column] / self.weights.sum()))

    def _joined(self, terms: Sequence[Any]) -> Any:
        return math.prod(terms) - 1.0

    def tie(self, classes: Classes, kept: Ints) -> Floats:
        """The loss of each kept class: of equally small classes the one that loses least by generalisation goes first."""
        found = np.ones(classes.slots)
        for column, level in enumerate(classes.node):
            cells = self._shares[column][level][self.combinations.codes[column]] * self.combinations.counts
            found *= np.power(classes.sums(cells) + 1.0, 1.0 / len(self.base))
        return found[kept]

    def _generalised(self, column: int, level: int) -> float:
        return float(self._factors.generalised * (self._shares[column][level] * self._by_value(column)).sum())

    def _suppressed(self, column: int, level: int, codes: Ints, weight: Floats) -> float:
        share = self._shares[column][level][codes]
        cell = share + self._factors.suppressed * (1.0 - share)
        return float(((cell - self._factors.generalised * share) * weight).sum())

    def _local(self, column: int, levels: Ints) -> float:
        codes, total = self.combinations.codes[column], 0.0
        for level in np.unique(levels):
            mine = levels == level
            share = self._shares[column][level][codes[mine]] if level < len(self._shares[column]) else 1.0
            total += float((share * self.combinations.counts[mine]).sum())
        return self._factors.generalised * total


class Entropy(PerColumn):
    """Non-uniform entropy (Gionis and Tassa 2009): the bits lost by not knowing a label's value, or a suppressed record's label.

    Columns are added, each times its weight over the largest weight.
    """

    def __init__(self, combinations: Combinations, weights: Sequence[float], *, factors: Factors, monotonic: bool) -> None:
        self._factors = factors
        super().__init__(combinations, weights, counts_suppression=not monotonic)

    def countable(self, classes: Classes, owed: Floats) -> Floats:
        # Only what is suppressed wholly bounds an entropy from below: n H grows with every record added.
        return np.where(owed >= classes.counts, classes.counts, 0.0)

    def _generalised(self, column: int, level: int) -> float:
        tree, counts = self.combinations.hierarchies[column], self._by_value(column)
        labels = np.bincount(tree.codes[level], counts, minlength=len(tree.labels[level]))[tree.codes[level]]
        found = counts > 0
        return float(-self._factors.generalised * (counts[found] * np.log2(counts[found] / labels[found])).sum()) + 0.0

    def _suppressed(self, column: int, level: int, codes: Ints, weight: Floats) -> float:
        tree = self.combinations.hierarchies[column]
        counts = np.bincount(tree.codes[level][codes], weight)
        counts = counts[counts > 0]
        return float(-self._factors.suppressed * (counts * np.log2(counts / counts.sum())).sum()) + 0.0

    def _local(self, column: int, levels: Ints) -> float:
        tree, codes, weight = self.combinations.hierarchies[column], self.combinations.codes[column], self.combinations.counts
        labels = np.zeros_like(codes)
        for level in np.unique(levels):
            mine = levels == level
            labels[mine] = tree.codes[level][codes[mine]] if level < tree.levels else 0
        label = numbered([levels, labels])[0]
        cell = numbered([label, codes])[0]
        wholes, parts = np.bincount(label, weight), np.bincount(cell, weight)
        shown = weight > 0
        return float(-self._factors.generalised * (weight[shown] * np.log2(parts[cell][shown] / wholes[label][shown])).sum()) + 0.0


class Height(PerColumn):
    """The sum of the levels, weighted. Suppression does not count."""

    def __init__(self, combinations: Combinations, weights: Sequence[float]) -> None:
        super().__init__(combinations, weights, counts_suppression=False)

    def _generalised(self, column: int, level: int) -> float:
        return float(level)

    def _local(self, column: int, levels: Ints) -> float:
        return float((levels * self.combinations.counts).sum() / self.combinations.records)


@dataclass(frozen=True)
class ClassSize:
    """AECS (LeFevre 2006): records over classes; the suppressed records are one class."""

    records: int
    factors: Factors
    monotonic: bool

    def value(self, classes: Classes, fails: Bools) -> float:
        if self.monotonic:
            return self.whole(classes)
        filled = classes.counts > 0
        gone = bool(np.any(filled & fails))
        # A class counts by the factor of suppression and the suppressed class by that of generalisation: more classes are better.
        weight = np.count_nonzero(filled & ~fails) * self.factors.suppressed + gone * self.factors.generalised
        return float(self.records / weight) if weight else float("inf")

    def whole(self, classes: Classes) -> float:
        weight = np.count_nonzero(classes.counts > 0) * max(self.factors.suppressed, 0.0 if self.monotonic else self.factors.generalised)
        return float(self.records / weight) if weight else float("inf")

    def local(self, classes: Classes, levels: Sequence[Ints]) -> float:
        return self.value(classes, np.zeros(classes.slots, dtype=np.bool_))


@dataclass(frozen=True)
class Discernibility:
    """Bayardo and Agrawal 2005: every record is charged the size of its class, a suppressed one the whole table; `monotonic`: DM*."""

    records: int
    monotonic: bool

    def value(self, classes: Classes, fails: Bools) -> float:
        squares = classes.counts**2
        return float(np.where(fails & (not self.monotonic), self.records * classes.counts, squares).sum())

    def whole(self, classes: Classes) -> float:
        return float((classes.counts**2).sum())

    def local(self, classes: Classes, levels: Sequence[Ints]) -> float:
        return self.whole(classes)


def _cut(values: Floats) -> Floats:
    return np.asarray(np.floor(values * _DIGITS) / _DIGITS)
