"""What can be concluded from published counts, by somebody who knows all of them and has a linear program.

Unknown are the numbers of people over the joint of the columns that appear together, each column with its levels and one more for
"missing". Published numbers are equations over these unknowns, and all unknowns are 0 or more (Fischetti and Salazar, Management
Science 47, 2001). Limits: whole numbers are used only by rounding the bounds, and a joint of more than `LARGEST` unknowns is replaced by
its parts, which agree on the columns they share; both make this attacker a little weaker than a perfect one.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LARGEST = 20_000
PRESENT, MISSING = -1, -2  # next to the places 0, 1, ... of a column's levels
ROUNDING = 1e-4  # far above the solver's own error, far below a person

Who = tuple[tuple[str, int], ...]  # a group of people: sorted pairs of a column and what it must be; () is everybody
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
    """Every person has one value in every column, or none: the counts of disjoint groups add up."""

    def __init__(self, levels: Mapping[str, int], together: Iterable[frozenset[str]]) -> None:
        self._levels = dict(levels)
        singles = [frozenset({column}) for column in sorted(levels)]
        self._parts = _arrange([*(part for part in together if self._cells(part) <= LARGEST), *singles], self._cells)
        sizes = [self._cells(part) for part in self._parts]
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        self.size = sum(sizes)
        self._links = list(self._agreements())

    def sum_of(self, who: Who) -> Sum | None:
        columns = {column for column, _ in who}
        homes = (number for number, part in enumerate(self._parts) if columns <= set(part))
        home = next(homes, None)
        return None if home is None else Sum.of(self._in_part(home, who))

    def said(self, who: Who, value: float) -> list[Equation]:
        whole = self.sum_of(who)
        if whole is not None:
            return [Equation(whole, value, value)]
        # Too many columns for one joint: what the single columns say about their intersection (Fréchet's bounds).
        everybody, *singles = (sum for group in ((), *((pair,) for pair in who)) if (sum := self.sum_of(group)) is not None)
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

    def _cells(self, part: Iterable[str]) -> int:
        return math.prod(self._levels[column] + 1 for column in part)

    def _in_part(self, number: int, who: Who) -> Array:
        part, picks = self._parts[number], dict(who)
        shape = [self._levels[column] + 1 for column in part]
        chosen = []
        for column in part:
            pick, levels = picks.get(column), self._levels[column]
            start = levels if pick == MISSING else 0 if pick is None or pick == PRESENT else pick
            chosen.append(slice(start, levels + 1 if pick is None or pick == MISSING else levels if pick == PRESENT else start + 1))
        places: Array = np.arange(math.prod(shape)).reshape(shape)[tuple(chosen)].ravel()
        return places + self._starts[number]

    def _agreements(self) -> Iterable[tuple[Who, Array, Array]]:
        """Parts that share columns agree on them; along a tree, since agreement is transitive."""
        sets = [frozenset(part) for part in self._parts]
        shared = {one & other for one, other in itertools.combinations(sets, 2)}
        linked: list[tuple[frozenset[str], int, int]] = []
        for columns in sorted(shared, key=lambda columns: (-len(columns), sorted(columns))):
            members = [number for number, part in enumerate(sets) if columns <= part]
            leader = {number: number for number in members}
            for on, one, other in linked:
                if columns <= on:
                    leader = {number: leader[one] if head == leader[other] else head for number, head in leader.items()}
            for one, other in itertools.pairwise(members):
                if leader[one] == leader[other]:
                    continue
                leader = {number: leader[one] if head == leader[other] else head for number, head in leader.items()}
                linked.append((columns, one, other))
                picks = [[(column, pick) for pick in (*range(self._levels[column]), MISSING)] for column in sorted(columns)]
                for who in itertools.product(*picks):
                    yield who, self._in_part(one, who), self._in_part(other, who)


class Unions:
    """People may be in several groups at once, because they have several rows: a union is no larger than the sum of its parts,
    and no smaller than any of them. This is all that is certain then, so the attacker is weaker than with a `Joint`.
    """

    def __init__(self, levels: Mapping[str, int], groups: Iterable[Who]) -> None:
        groups = sorted({(), *groups})
        picks = {column: [(column, pick) for pick in (*range(count), MISSING)] for column, count in levels.items()}
        columns = {tuple(column for column, _ in who) for who in groups}
        sets = [names for names in sorted(columns) if math.prod(len(picks[name]) for name in names) <= LARGEST]
        finest = {names: list(itertools.product(*(picks[name] for name in names))) for names in sets}
        self._at = {who: at for at, who in enumerate(dict.fromkeys((*groups, *itertools.chain.from_iterable(finest.values()))))}
        self.size = len(self._at)
        self._rules: list[Equation] = []
        for who, at in self._at.items():
            for names in sets:
                if {column for column, _ in who} <= set(names) and who not in finest[names]:
                    parts = np.array([self._at[cell] for cell in finest[names] if _within(dict(cell), who)], dtype=np.intp)
                    one = Sum.of(np.array([at]))
                    self._rules.append(Equation(one.less(Sum.of(parts)), -math.inf, 0))
                    self._rules += [Equation(one.less(Sum.of(parts[[number]])), 0, math.inf) for number in range(len(parts))]

    def sum_of(self, who: Who) -> Sum | None:
        return Sum.of(np.array([self._at[who]])) if who in self._at else None

    def said(self, who: Who, value: float) -> list[Equation]:
        one = self.sum_of(who)
        return [] if one is None else [Equation(one, value, value)]

    def structure(self, known: Mapping[Who, float]) -> list[Equation]:
        return self._rules


class View:
    """One moment's knowledge: the equations solved as far as they go by hand, the rest split into parts that share no unknown."""

    def __init__(self, size: int, equations: Sequence[Equation], *, joined: Sequence[Sum], ceiling: float) -> None:
        from scipy import sparse

        self._ceiling = ceiling
        matrix = stack([equation.sum for equation in equations], size)
        low, high = (np.array([getattr(equation, side) for equation in equations], dtype=float) for side in ("low", "high"))
        self.values = _substitute(matrix, low, high)
        self.open: Array = np.flatnonzero(np.isnan(self.values))
        rest = matrix[:, self.open]
        gone = matrix @ np.nan_to_num(self.values)
        left = np.diff(rest.tocsr().indptr)
        kept = np.flatnonzero(left)
        checked = left == 0
        self._possible = bool(
            np.all(low[checked] <= gone[checked] + ROUNDING)
            and np.all(high[checked] >= gone[checked] - ROUNDING)
            and np.nanmin(self.values, initial=0.0) >= -ROUNDING
        )
        self._matrix, self._low, self._high = rest[kept], (low - gone)[kept], (high - gone)[kept]
        everything = sparse.vstack([self._matrix, stack(joined, size)[:, self.open]]).tocsr()
        labels = sparse.csgraph.connected_components(sparse.block_array([[None, everything], [everything.T, None]]))[1]
        self.part: Array = labels[everything.shape[0] :]
        self._rows: Array = labels[: len(kept)]

    def touched(self, sum: Sum) -> list[int]:
        """The parts that a sum has unknowns in."""
        return sorted({int(part) for part in self.part[np.isin(self.open, sum.at)]})

    def rows_of(self, part: int) -> tuple[Any, Array, Array, Array]:
        """Matrix, lower and upper ends of one part, and the unknowns that it is about."""
        rows, columns = np.flatnonzero(self._rows == part), np.flatnonzero(self.part == part)
        return self._matrix[rows][:, columns], self._low[rows], self._high[rows], self.open[columns]

    def furthest(self, weights: Array, *, start: Array | None) -> Array | None:
        """A possible world in which `weights @ world` is largest, like `start` where the weights have no say; None when there is none."""
        if not self._possible:
            return None
        world = np.zeros(len(self.values)) if start is None else start.copy()
        world[~np.isnan(self.values)] = self.values[~np.isnan(self.values)]
        for part in range(int(self.part.max(initial=-1)) + 1):
            matrix, low, high, unknowns = self.rows_of(part)
            if start is not None and not weights[unknowns].any():
                continue
            solution = solve(-weights[unknowns], matrix, low, high, ceiling=self._ceiling)
            if solution is None:
                return None
            world[unknowns] = solution
        return world


def stack(sums: Sequence[Sum], size: int) -> Any:
    """The sums as rows of a sparse matrix."""
    from scipy import sparse

    lengths = [len(sum.at) for sum in sums]
    at = np.concatenate([sum.at for sum in sums]) if sums else np.empty(0, dtype=np.intp)
    weights = np.concatenate([sum.weights for sum in sums]) if sums else np.empty(0)
    return sparse.csr_array((weights, (np.repeat(np.arange(len(sums)), lengths), at)), shape=(len(sums), size))


def solve(costs: Array, matrix: Any, low: Array, high: Array, *, ceiling: float) -> Array | None:
    """The cheapest x between 0 and `ceiling` with low <= matrix @ x <= high; None when there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    constraints = [LinearConstraint(matrix, low, high)] if matrix.shape[0] else []
    answer = milp(costs, bounds=Bounds(0, ceiling), constraints=constraints)
    return np.asarray(answer.x) if answer.status == 0 else None


def whole(low: Array, high: Array) -> Array:
    """How many whole numbers apart two bounds are."""
    return np.asarray(np.floor(high + ROUNDING) - np.ceil(low - ROUNDING))


def _within(cell: dict[str, int], who: Who) -> bool:
    return all(cell[column] == pick or (pick == PRESENT and cell[column] != MISSING) for column, pick in who)


def _arrange(wanted: Sequence[frozenset[str]], cells: Any) -> list[tuple[str, ...]]:
    """The largest sets; those that form a cycle become one, if it is not too large.

    Sets without a cycle need no common joint: parts that agree on shared columns always come from one (Beeri, Fagin, Maier and
    Yannakakis, Journal of the ACM 30, 1983). Cycles are what remains of Graham's reduction.
    """

    def largest(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
        ordered = sorted(set(sets), key=lambda part: (-len(part), sorted(part)))
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
    core = frozenset().union(*(sets[number] for number in left)) if len(left) > 1 else frozenset()
    if core and cells(core) <= LARGEST:
        sets = largest([*sets, core])
    return [tuple(sorted(part)) for part in sets]


def _substitute(matrix: Any, low: Array, high: Array) -> Array:
    """The unknowns that follow one by one: the only one left in an equation, or all of a sum of nothing. NaN where none does."""
    values = np.full(matrix.shape[1], np.nan)
    exact = low == high
    positive = np.asarray(matrix.minimum(0).sum(axis=1)).ravel() == 0
    while True:
        unknown = np.isnan(values)
        pattern = matrix.multiply(unknown).tocsr()
        pattern.eliminate_zeros()
        left = np.diff(pattern.indptr)
        rest = low - matrix @ np.nan_to_num(values)
        single = np.flatnonzero(exact & (left == 1))
        nothing = np.flatnonzero(exact & positive & (left > 0) & (np.abs(rest) < ROUNDING))
        if not len(single) and not len(nothing):
            return values
        for row in nothing:
            values[pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]] = 0.0
        for row in single:
            values[pattern.indices[pattern.indptr[row]]] = rest[row] / pattern.data[pattern.indptr[row]]
