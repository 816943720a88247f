"""The people whom published numbers are about: unknown numbers of them, and what holds between these whatever the data are.

Unknown are the numbers of people over the joint of the columns that appear together, each column with its levels and one more for
"missing". A published number is an equation over these unknowns. Limit: a joint of more than `LARGEST` unknowns is replaced by its
parts, which agree on what they share; that allows a few more worlds than there are.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LARGEST = 20_000
PRESENT, MISSING = -1, -2  # next to the places 0, 1, ... of a column's levels

Who = tuple[tuple[str, int], ...]  # a group of people: sorted pairs of a column and what it must be; () is everybody
Grain = frozenset[tuple[str, bool]]  # columns: (column, False) tells missing from present, (column, True) next to it the levels too
Array = NDArray[Any]


@dataclass(frozen=True)
class Sum:
    """A weighted sum of unknowns."""

    at: Array
    weights: Array

    @staticmethod
    def of(at: Array) -> Sum:
        return Sum(at, np.ones(len(at)))

    def less(self, other: Sum, times: float = 1.0) -> Sum:
        return Sum(np.concatenate((self.at, other.at)), np.concatenate((self.weights, -times * other.weights)))


@dataclass(frozen=True)
class Equation:
    """A weighted sum of unknowns that is known to lie between two numbers, which are mostly the same."""

    sum: Sum
    low: float
    high: float


class Model(Protocol):
    """Which unknowns there are, and what holds between them whatever the data are."""

    size: int

    def sum_of(self, who: Who) -> Sum | None:
        """How many people `who` are; None when no unknowns stand for just these columns."""
        ...

    def said(self, who: Who, value: float) -> list[Equation]:
        """What is known once `value` is published as the number of `who`."""
        ...

    def structure(self, known: Mapping[Who, float]) -> list[Equation]:
        """What holds between the unknowns anyway; `known` numbers only make the equations smaller."""
        ...


class Joint:
    """Every person has one value in every column, or none: the counts of disjoint groups add up.

    Each part holds some columns by level, and others only by whether they are missing, as the published groups need it.
    """

    def __init__(self, levels: Mapping[str, int], groups: Iterable[Who], *, complete: frozenset[str]) -> None:
        self._levels, self._complete = dict(levels), complete
        wanted = {_grain(who) for who in groups}
        singles = {frozenset({pair for pair in part if pair[0] == column}) for part in wanted for column, _ in part}
        self._parts = _arrange([frozenset(), *singles, *(part for part in wanted if self._cells(part) <= LARGEST)], self._cells)
        sizes = [self._cells(part) for part in self._parts]
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        self.size = sum(sizes)
        self._links = list(self._agreements())

    def sum_of(self, who: Who) -> Sum | None:
        home = next((number for number, part in enumerate(self._parts) if _grain(who) <= part), None)
        return None if home is None else Sum.of(self._in_part(home, who))

    def said(self, who: Who, value: float) -> list[Equation]:
        whole = self.sum_of(who)
        if whole is not None:
            return [Equation(whole, value, value)]
        # Too many columns for one joint: what the single columns say about their intersection (Fréchet's bounds).
        singles = [single for pair in who if (single := self.sum_of((pair,))) is not None]
        everybody = self.sum_of(())
        if everybody is None or len(singles) < len(who):
            return []
        outside = Sum(everybody.at, -(len(singles) - 1) * everybody.weights)
        for single in singles:
            outside = outside.less(single, -1.0)
        return [*(Equation(single, value, math.inf) for single in singles), Equation(outside, -math.inf, value)]

    def structure(self, known: Mapping[Who, float]) -> list[Equation]:
        equations = []
        for who, one, other in self._links:
            value = known.get(who)
            if value is None:
                equations.append(Equation(Sum.of(one).less(Sum.of(other)), 0, 0))
            else:  # two equations that share no unknown, so that the parts can be solved apart
                equations += [Equation(Sum.of(one), value, value), Equation(Sum.of(other), value, value)]
        return equations

    def _picks(self, part: Grain) -> list[tuple[str, tuple[int, ...]]]:
        """The columns of a part, each with what tells its cells apart."""
        named = sorted({column for column, _ in part})
        told = {name: tuple(range(self._levels[name])) if (name, True) in part else (PRESENT,) for name in named}
        return [(name, told[name] if name in self._complete else (*told[name], MISSING)) for name in named]

    def _cells(self, part: Grain) -> int:
        return math.prod(len(picks) for _, picks in self._picks(part))

    def _in_part(self, number: int, who: Who) -> Array:
        asked, picks = dict(who), self._picks(self._parts[number])
        chosen = []
        for column, some in picks:
            pick = asked.get(column)
            fits = [pick is None or pick == one or (pick == PRESENT and one != MISSING) for one in some]
            chosen.append(np.flatnonzero(fits))
        shape = [len(some) for _, some in picks]
        places: Array = np.arange(math.prod(shape)).reshape(shape)[np.ix_(*chosen)].ravel()
        return places + self._starts[number]

    def _agreements(self) -> Iterable[tuple[Who, Array, Array]]:
        """Parts that share columns agree on them; along a tree, since agreement is transitive."""
        linked: list[tuple[Grain, int, int]] = []
        shared = {one & other for one, other in itertools.combinations(self._parts, 2)}
        for columns in sorted(shared, key=_order):
            members = [number for number, part in enumerate(self._parts) if columns <= part]
            leader = {number: number for number in members}
            for on, one, other in linked:
                if columns <= on:
                    leader = {number: leader[one] if head == leader[other] else head for number, head in leader.items()}
            for one, other in itertools.pairwise(members):
                if leader[one] == leader[other]:
                    continue
                leader = {number: leader[one] if head == leader[other] else head for number, head in leader.items()}
                linked.append((columns, one, other))
                for who in itertools.product(*([(name, pick) for pick in picks] for name, picks in self._picks(columns))):
                    yield who, self._in_part(one, who), self._in_part(other, who)


class Overlaps:
    """People may be in several groups at once, because they have several rows; who lacks a column lacks it in every row.

    Columns that no group combines: a union is no larger than the sum of its parts and no smaller than any, and nothing more is certain.
    Columns that groups combine: a person has a set of up to so many different rows that `LARGEST` sets are not exceeded. That makes
    this attacker, who believes in such a bound, stronger than a true one; numbers that no such people could give have no solution.
    No row lacks a `complete` column.
    """

    def __init__(self, levels: Mapping[str, int], groups: Iterable[Who], *, complete: frozenset[str]) -> None:
        self._sums: dict[Who, Sum] = {(): Sum.of(np.array([0]))}
        self._rules: list[Equation] = []
        self.size = 1
        groups = {who for who in groups if who}
        told_by_level = {_columns(who) for who in groups if any(pick >= 0 for _, pick in who)}
        # Having several columns at once, of which no combination of levels is counted, ties these columns to nothing.
        tied = {who for who in groups if len(who) == 1 or _columns(who) in told_by_level or any(pick != PRESENT for _, pick in who)}
        tied |= {((name, PRESENT),) for name in frozenset().union(*map(_columns, groups)) - frozenset().union(*map(_columns, tied))}
        fine = {column for who in tied for column, pick in who if pick >= 0}
        for columns in _connected(_columns(who) for who in sorted(tied)):
            inside = [who for who in sorted(tied) if who[0][0] in columns]
            told = [[(name, pick) for pick in (range(levels[name]) if name in fine else (PRESENT,))] for name in sorted(columns)]
            rows = [some if some[0][0] in complete else [*some, (some[0][0], MISSING)] for some in told]
            if len(columns) == 1 or all(_columns(who) == columns and (_is_present(who) or _is_cell(who)) for who in inside):
                self._add_unions(list(itertools.product(*told)), tuple((column, PRESENT) for column in sorted(columns)))
            elif math.prod(map(len, rows)) <= LARGEST:
                self._add_patterns(list(itertools.product(*rows)), [*inside, *(((name, PRESENT),) for name in sorted(columns))])

    def sum_of(self, who: Who) -> Sum | None:
        return self._sums.get(who)

    def said(self, who: Who, value: float) -> list[Equation]:
        one = self.sum_of(who)
        if one is not None:
            return [Equation(one, value, value)]
        # Who has a row with all columns has rows with some of them; of the others nothing follows.
        wider = [other for group, other in self._sums.items() if group and set(group) < set(who)] if _is_present(who) else []
        return [Equation(other, value, math.inf) for other in wider]

    def structure(self, known: Mapping[Who, float]) -> list[Equation]:
        return self._rules

    def _new(self, count: int) -> Array:
        self.size += count
        return np.arange(self.size - count, self.size)

    def _add_unions(self, cells: list[Who], present: Who) -> None:
        parts = [Sum.of(at) for at in np.split(self._new(len(cells)), len(cells))]
        union = Sum.of(self._new(1))
        self._sums |= {**dict(zip(cells, parts, strict=True)), present: union}
        if len(present) == 1:
            self._sums[((present[0][0], MISSING),)] = self._sums[()].less(union)
        self._rules.append(Equation(self._sums[()].less(union), 0, math.inf))
        self._rules += [Equation(union.less(part), 0, math.inf) for part in parts]
        self._rules.append(Equation(union.less(Sum.of(np.concatenate([part.at for part in parts]))), -math.inf, 0))

    def _add_patterns(self, rows: list[Who], groups: list[Who]) -> None:
        most = 1
        while most < len(rows) and sum(math.comb(len(rows), count) for count in range(1, most + 2)) <= LARGEST:
            most += 1
        sets = [pattern for count in range(1, most + 1) for pattern in itertools.combinations(range(len(rows)), count)]
        has = np.zeros((len(sets), len(rows)), dtype=bool)
        for number, pattern in enumerate(sets):
            has[number, list(pattern)] = True
        unknowns = self._new(len(sets))
        for who in groups:
            within = [_within(dict(row), who) for row in rows]
            lacking = len(who) == 1 and who[0][1] == MISSING
            self._sums[who] = Sum.of(unknowns[has[:, within].any(axis=1) if not lacking else ~has[:, np.logical_not(within)].any(axis=1)])
        self._rules.append(Equation(self._sums[()].less(Sum.of(unknowns)), 0, 0))


def _within(cell: dict[str, int], who: Who) -> bool:
    return all(cell[column] == pick or (pick == PRESENT and cell[column] != MISSING) for column, pick in who)


def _columns(who: Who) -> frozenset[str]:
    return frozenset(column for column, _ in who)


def _is_present(who: Who) -> bool:
    return all(pick == PRESENT for _, pick in who)


def _is_cell(who: Who) -> bool:
    return all(pick >= 0 for _, pick in who)


def _connected(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The sets, joined wherever two share a column."""
    joined: list[frozenset[str]] = []
    for columns in sets:
        joined = [columns.union(*(other for other in joined if other & columns)), *(other for other in joined if not other & columns)]
    return joined


def _grain(who: Who) -> Grain:
    return frozenset((column, fine) for column, pick in who for fine in ((False, True) if pick >= 0 else (False,)))


def _order(part: Grain) -> tuple[int, list[tuple[str, bool]]]:
    return -len(part), sorted(part)


def _arrange(wanted: Iterable[Grain], cells: Callable[[Grain], int]) -> list[Grain]:
    """The largest sets; those that form a cycle become one, if it is not too large.

    Sets without a cycle need no common joint: parts that agree on what they share always come from one (Beeri, Fagin, Maier and
    Yannakakis, Journal of the ACM 30, 1983). Cycles are what remains of Graham's reduction.
    """

    def largest(sets: Iterable[Grain]) -> list[Grain]:
        ordered = sorted(set(sets), key=_order)
        return [part for number, part in enumerate(ordered) if not any(part < other for other in ordered[:number])]

    sets = largest(wanted)
    left = dict(enumerate(sets))
    while True:
        seen = Counter(itertools.chain.from_iterable(left.values()))
        fewer = {number: frozenset(column for column in part if seen[column] > 1) for number, part in left.items()}
        for number in sorted(fewer, reverse=True):
            if any(fewer[number] <= part for other, part in fewer.items() if other != number):
                del fewer[number]
        if fewer == left:
            break
        left = fewer
    core: Grain = frozenset().union(*(sets[number] for number in left)) if len(left) > 1 else frozenset()
    return largest([*sets, core]) if core and cells(core) <= LARGEST else sets
