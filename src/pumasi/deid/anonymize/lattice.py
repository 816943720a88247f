"""The lattice of generalisations (one level per column) and the classes that the table falls into at each of its nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.hierarchy import Floats, Hierarchy, Ints

Node = tuple[int, ...]
Bools = NDArray[np.bool_]
_REMEMBERED = 20_000_000  # entries of half groupings kept, 8 bytes each
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

    @property
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
    """Classes of any node, fast: the columns are split in two halves whose groupings are remembered, so a node costs two look-ups."""

    def __init__(self, combinations: Combinations) -> None:
        self._counts = combinations.counts
        self._halves = [_Half(combinations, columns) for columns in _split(combinations.codes)]

    def classes(self, node: Node) -> Classes:
        (left, rows), (right, columns) = (half.groups(node) for half in self._halves)
        of = left * columns + right if columns > 1 else left
        slots = rows * columns
        if slots > _DENSE * max(len(of), 1 << 14):
            found, of = np.unique(of, return_inverse=True)
            slots = len(found)
        return Classes(node, of, slots, sums(of, self._counts, slots))


class _Half:
    def __init__(self, combinations: Combinations, columns: Sequence[int]) -> None:
        self._columns = columns
        self._of, distinct = numbered([combinations.codes[column] for column in columns])
        self._codes = [combinations.codes[column][distinct] for column in columns]
        self._hierarchies = [combinations.hierarchies[column] for column in columns]
        self._known: dict[Node, tuple[Ints, int]] = {}

    def groups(self, node: Node) -> tuple[Ints, int]:
        """The group of every combination, and how many groups there are."""
        levels = tuple(node[column] for column in self._columns)
        found = self._known.get(levels)
        if found is None:
            if len(self._known) * len(self._codes[0]) > _REMEMBERED:
                self._known.clear()
            lifted = [tree.codes[level][codes] for tree, level, codes in zip(self._hierarchies, levels, self._codes, strict=True)]
            of, distinct = numbered(lifted)
            found = self._known[levels] = of, len(distinct)
        return found[0][self._of], found[1]


def numbered(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Numbers for the distinct rows of these columns, and a row of each."""
    of = columns[0]
    for column in columns[1:]:
        of = np.unique(of * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    _, first, of = np.unique(of, return_index=True, return_inverse=True)
    return of, first


def _split(codes: Sequence[Ints]) -> list[list[int]]:
    """Two halves of the columns with about as many combinations each; a single column stands beside an empty grouping."""
    sizes = sorted(((len(np.unique(column)), place) for place, column in enumerate(codes)), reverse=True)
    halves: list[list[int]] = [[], []]
    weights = [0.0, 0.0]
    for size, place in sizes:
        lighter = int(weights[1] < weights[0])
        halves[lighter].append(place)
        weights[lighter] += math.log(size)
    return [sorted(half) or [0] for half in halves]
