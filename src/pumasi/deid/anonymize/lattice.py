"""The lattice of generalisations (one level per column) and the classes that the table falls into at each of its nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.hierarchy import Floats, Hierarchy, Ints

Node = tuple[int, ...]
Bools = NDArray[np.bool_]
_REMEMBERED = 5_000_000  # entries of groupings that a part keeps, 8 bytes each
_DENSE = 4  # slots per combination up to which classes are counted without sorting


@dataclass(frozen=True)
class Sensitive:
    """A sensitive column over the combinations: `counts[i]` sampled records of combination `of[i]` have the value `value[i]`."""

    column: str
    of: Ints
    value: Ints
    counts: Floats
    values: tuple[str, ...]

    def distribution(self) -> Floats:
        """The share of each value among all sampled records."""
        found = np.bincount(self.value, self.counts, minlength=len(self.values))
        return np.asarray(found / found.sum(), dtype=np.float64)


@dataclass(frozen=True)
class Combinations:
    """The distinct combinations of quasi-identifiers: value numbers per column, sampled records, and where each first occurs.

    `populations` holds the records of each population table per combination; a combination that only the population has counts 0.
    """

    hierarchies: tuple[Hierarchy, ...]
    codes: tuple[Ints, ...]
    counts: Floats
    first: Ints
    sensitive: tuple[Sensitive, ...] = ()
    populations: tuple[Floats, ...] = ()

    @cached_property
    def records(self) -> int:
        return int(self.counts.sum())

    @property
    def heights(self) -> Node:
        return tuple(hierarchy.levels for hierarchy in self.hierarchies)


@dataclass(frozen=True)
class Classes:
    """The table at one node: combination i is in slot `of[i]`; a slot holds `counts` sampled records (a slot may be empty)."""

    node: Node
    of: Ints
    slots: int
    counts: Floats

    def sums(self, weights: Floats) -> Floats:
        """The sum of a weight over the combinations of each slot."""
        return sums(self.of, weights, self.slots)


def sums(places: Ints, weights: Floats, size: int) -> Floats:
    """The sum of the weights at each place."""
    return np.asarray(np.bincount(places, weights, minlength=size), dtype=np.float64)


class Grouping:
    """Classes of any node, fast: the columns are halved again and again, and every part remembers its groupings.

    A node that differs from earlier ones in one column costs one new grouping in each part that holds the column.
    """

    def __init__(self, combinations: Combinations) -> None:
        self._counts = combinations.counts
        self._parts = [_part(combinations, half) for half in _split(combinations.codes, range(len(combinations.codes)))]

    def classes(self, node: Node) -> Classes:
        of, slots = np.zeros(len(self._counts), dtype=np.int64), 1
        for part in self._parts:
            groups, size = part.groups(node)
            of, slots = of * size + groups[part.of], slots * size
        if slots > _DENSE * max(len(of), 1 << 14):
            found, of = np.unique(of, return_inverse=True)
            slots = len(found)
        return Classes(node, of, slots, sums(of, self._counts, slots))


class _Part:
    """Some columns: `of` numbers the values of every combination in them, `groups` those numbers at a node."""

    def __init__(self, columns: Sequence[int], of: Ints) -> None:
        self._columns, self.of = columns, of
        self._known: dict[Node, tuple[Ints, int]] = {}

    def groups(self, node: Node) -> tuple[Ints, int]:
        """The group of every number, and how many groups there are."""
        levels = tuple(node[column] for column in self._columns)
        found = self._known.get(levels)
        if found is None:
            of, distinct = numbered(self._lifted(node))
            if (len(self._known) + 1) * len(of) > _REMEMBERED:
                self._known.clear()
            found = self._known[levels] = of, len(distinct)
        return found

    def _lifted(self, node: Node) -> list[Ints]:
        raise NotImplementedError


class _Column(_Part):
    def __init__(self, combinations: Combinations, column: int) -> None:
        of, first = numbered([combinations.codes[column]])
        super().__init__([column], of)
        self._tree, self._values = combinations.hierarchies[column], combinations.codes[column][first]

    def _lifted(self, node: Node) -> list[Ints]:
        return [self._tree.codes[node[self._columns[0]]][self._values]]


class _Halves(_Part):
    def __init__(self, columns: Sequence[int], halves: Sequence[_Part]) -> None:
        of, first = numbered([half.of for half in halves])
        super().__init__(columns, of)
        self._halves = [(half, half.of[first]) for half in halves]

    def _lifted(self, node: Node) -> list[Ints]:
        return [half.groups(node)[0][of] for half, of in self._halves]


def _part(combinations: Combinations, columns: Sequence[int]) -> _Part:
    if len(columns) == 1:
        return _Column(combinations, columns[0])
    return _Halves(columns, [_part(combinations, half) for half in _split(combinations.codes, columns)])


def numbered(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Numbers for the distinct rows of these columns, and a row of each."""
    of = columns[0]
    for place, column in enumerate(columns[1:]):
        small = np.unique(of, return_inverse=True)[1] if place else of  # so that no product leaves 64 bits
        of = small * (int(column.max(initial=0)) + 1) + column
    found, of = np.unique(of, return_inverse=True)
    row = np.empty(len(found), dtype=np.int64)
    row[of] = np.arange(len(of))
    return of, row


def _split(codes: Sequence[Ints], columns: Sequence[int]) -> list[list[int]]:
    """Two halves of the columns with about as many combinations each; one column is one half."""
    sizes = sorted(((len(np.unique(codes[column])), column) for column in columns), reverse=True)
    halves: list[list[int]] = [[], []]
    weights = [0.0, 0.0]
    for size, column in sizes:
        lighter = int(weights[1] < weights[0])
        halves[lighter].append(column)
        weights[lighter] += math.log(size) + 1e-9  # columns of one value are shared out too
    return [sorted(half) for half in halves if half]
