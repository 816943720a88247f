"""Privacy models as judges of classes: which classes fail, and how many records any more specific node must suppress as well.

The second number makes pruning sound for models that are not monotone. Sources: k-anonymity, k-map (Sweeney 2002), l-diversity
(Machanavajjhala 2007), t-closeness (Li 2007), delta-presence (Nergiz 2007), beta-likeness (Cao and Karras 2012), El Emam and Dankar 2008.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pumasi.deid.anonymize.lattice import Bools, Classes, Combinations, Sensitive, sums
from pumasi.deid.hierarchy import Floats, Hierarchy, Ints

_CELLS = 8_000_000  # of a table of classes by sensitive values held at once
_EXACT = 1e-9  # what rounding may add to a count of records
_LN2 = math.log(2)


@dataclass(frozen=True)
class Judgement:
    """Per slot: does the class fail here, and a lower bound of its sampled records that this and every more specific node suppresses."""

    fails: Bools
    owed: Floats
    hopeless: bool = False  # this node and every more specific one breaks the model whatever is suppressed


class Judge(Protocol):
    """`among`: the slots that are in question; the others are suppressed already, and what is said of them does not matter."""

    def judge(self, classes: Classes, among: Bools) -> Judgement: ...


def _monotone(fails: Bools, classes: Classes) -> Judgement:
    """Of a model whose classes stay good when they grow: what fails here fails below."""
    return Judgement(fails, np.where(fails, classes.counts, 0.0))


@dataclass(frozen=True)
class AtLeast:
    """k-anonymity: every class has at least k sampled records."""

    k: int

    def judge(self, classes: Classes, among: Bools) -> Judgement:
        return _monotone(classes.counts < self.k, classes)


@dataclass(frozen=True)
class Mapped:
    """k-map: every class has at least k records in the population."""

    k: int
    population: Floats

    def judge(self, classes: Classes, among: Bools) -> Judgement:
        return _monotone(classes.sums(self.population) < self.k, classes)


@dataclass(frozen=True)
class Present:
    """delta-presence: in every class the share of the population that was sampled is between `least` and `most`.

    Where classes must also have a smallest size (k, l), a class without any sampled record is not published and not judged.
    """

    least: float
    most: float
    population: Floats
    judges_absent: bool

    def judge(self, classes: Classes, among: Bools) -> Judgement:
        population, counts = classes.sums(self.population), classes.counts
        share = np.divide(counts, population, out=np.zeros_like(counts), where=population > 0)
        sampled = counts > 0
        low, high = sampled & (share < self.least), sampled & (share > self.most)
        owed = np.where(high, np.maximum(1.0, counts - self.most * population), 0.0)
        if self.judges_absent:
            owed[low] = np.maximum(1.0, owed[low])
        absent = self.judges_absent and self.least > 0 and bool(np.any((population > 0) & ~sampled))
        return Judgement(low | high, owed, hopeless=absent)


class Spread:
    """A model of the sensitive values in a class, given as a table of classes by values."""

    def __init__(self, sensitive: Sensitive, of_table: Callable[[Floats], tuple[Bools, Floats]]) -> None:
        self._sensitive, self._of_table = sensitive, of_table

    def judge(self, classes: Classes, among: Bools) -> Judgement:
        fails, owed = np.zeros(classes.slots, dtype=np.bool_), np.zeros(classes.slots)
        for slots, table in _tables(classes, self._sensitive, among):
            fails[slots], owed[slots] = self._of_table(table)
        return Judgement(fails, np.where(fails, np.maximum(owed, 1.0), 0.0))


def _tables(classes: Classes, sensitive: Sensitive, among: Bools) -> Iterator[tuple[Ints, Floats]]:
    """The counts of sensitive values in the classes in question that hold a record, in parts that fit into memory."""
    filled = np.flatnonzero(among & (classes.counts > 0))
    place = np.full(classes.slots, -1, dtype=np.int64)
    place[filled] = np.arange(len(filled))
    rows, wide = place[classes.of[sensitive.of]], len(sensitive.values)
    part = max(1, _CELLS // wide)
    for start in range(0, len(filled), part):
        slots = filled[start : start + part]
        mine = (rows >= start) & (rows < start + part)
        cells = (rows[mine] - start) * wide + sensitive.value[mine]
        yield slots, sums(cells, sensitive.counts[mine], len(slots) * wide).reshape(len(slots), wide)


def distinct(sensitive: Sensitive, l_value: float) -> Judge:
    """At least l different values in every class."""

    def of_table(table: Floats) -> tuple[Bools, Floats]:
        fails = np.count_nonzero(table, axis=1) < int(l_value)
        return fails, np.where(fails, table.sum(axis=1), 0.0)

    return Spread(sensitive, of_table)


def entropy(sensitive: Sensitive, l_value: float) -> Judge:
    """The entropy of the values in every class is at least log(l). It is concave, so what is missing here is missing below."""
    wanted = math.log(l_value) / _LN2

    def of_table(table: Floats) -> tuple[Bools, Floats]:
        total = table.sum(axis=1)
        found = np.log(total) / _LN2 - np.sum(table * _log2(table), axis=1) / total
        few = np.count_nonzero(table, axis=1) < int(l_value)
        fails = few | (found < wanted - 1e-12)
        missing = 1.0 - found / wanted if wanted > 0 else np.zeros_like(found)
        return fails, np.where(few, total, np.floor(np.maximum(missing, 0.0) * total))

    return Spread(sensitive, of_table)


def recursive(sensitive: Sensitive, l_value: float, c: float) -> Judge:
    """(c,l): the most frequent value occurs less than c times as often as all but the l-1 most frequent together."""
    first = int(l_value) - 1

    def of_table(table: Floats) -> tuple[Bools, Floats]:
        ordered = -np.sort(-table, axis=1)
        excess = ordered[:, 0] - c * ordered[:, first:].sum(axis=1)
        few = np.count_nonzero(table, axis=1) < int(l_value)
        # The excess is convex and grows with the table, and no class adds more to it than its records.
        return few | (excess >= 0), np.where(few, table.sum(axis=1), np.floor(np.maximum(excess, 0.0) + _EXACT))

    return Spread(sensitive, of_table)


def close(sensitive: Sensitive, t: float, distance: Callable[[Floats], Floats]) -> Judge:
    """t-closeness: the distance (at most 1, convex) of the values in every class from those of the whole table is at most t."""

    def of_table(table: Floats) -> tuple[Bools, Floats]:
        found = distance(table)
        fails = found > t
        return fails, np.where(fails, np.floor(table.sum(axis=1) * (found - t) / max(1.0 - t, _EXACT) + 1 - 1e-6), 0.0)

    return Spread(sensitive, of_table)


def equal_distance(sensitive: Sensitive) -> Callable[[Floats], Floats]:
    """Half the sum of absolute differences."""
    whole = sensitive.distribution()

    def distance(table: Floats) -> Floats:
        shares = table / table.sum(axis=1, keepdims=True)
        return np.asarray((1.0 + np.where(table > 0, np.abs(whole - shares) - whole, 0.0).sum(axis=1)) / 2)

    return distance


def ordered_distance(sensitive: Sensitive, order: Ints) -> Callable[[Floats], Floats]:
    """The values lie on a line in this order; the ends are a distance of 1 apart."""
    whole = sensitive.distribution()[order]
    steps = max(len(order) - 1, 1)

    def distance(table: Floats) -> Floats:
        shares = table[:, order] / table.sum(axis=1, keepdims=True)
        return np.asarray(np.abs(np.cumsum(shares - whole, axis=1)).sum(axis=1) / steps)

    return distance


def hierarchical_distance(sensitive: Sensitive, tree: Hierarchy) -> Callable[[Floats], Floats]:
    """The distance of two values is the level at which they meet, over the height of the tree. Without one root, one is added."""
    places = {value: place for place, value in enumerate(tree.values)}
    leaves = np.array([places[value] for value in sensitive.values], dtype=np.int64)
    levels = [codes[leaves] for codes in tree.codes]
    if len(np.unique(levels[-1])) > 1:
        levels.append(np.zeros_like(leaves))
    height = len(levels) - 1
    whole = np.bincount(sensitive.value, sensitive.counts, minlength=len(leaves))
    lifts = [_lift(below, above) for below, above in zip([np.arange(len(leaves)), *levels[1:]], levels[1:], strict=False)]

    def distance(table: Floats) -> Floats:
        total = table.sum(axis=1, keepdims=True)
        excess, cost = whole * total - table * whole.sum(), np.zeros(len(table))
        for level, lift in enumerate(lifts, 1):
            more, less = np.maximum(excess, 0.0) @ lift, np.maximum(-excess, 0.0) @ lift
            cost += level / height * np.minimum(more, less).sum(axis=1)
            excess = more - less
        return np.asarray(cost / (whole.sum() * total[:, 0]))

    return distance


def _lift(below: Ints, above: Ints) -> Floats:
    """From the nodes of one level to their parents, as a matrix of 0 and 1."""
    _, children = np.unique(below, return_inverse=True)
    _, parents = np.unique(above, return_inverse=True)
    found = np.zeros((int(children.max()) + 1, int(parents.max()) + 1))
    found[children, parents] = 1.0
    return found


def alike(sensitive: Sensitive, beta: float, *, enhanced: bool) -> Judge:
    """beta-likeness: no value is more than (1 + beta) times as frequent in a class as in the table; enhanced: beta at most -ln(share)."""
    whole = sensitive.distribution()
    with np.errstate(divide="ignore"):
        bounds = np.minimum(beta, -np.log(whole)) if enhanced else np.full_like(whole, beta)
    most = whole * (1.0 + bounds)

    def of_table(table: Floats) -> tuple[Bools, Floats]:
        total = table.sum(axis=1)
        shares = table / total[:, None]
        gain = np.divide(shares - whole, whole, out=np.full_like(shares, -1.0), where=(table > 0) & (whole > 0))
        room = np.where(most < 1.0, 1.0 - most, np.inf)
        missing = np.max((shares - most) / room, axis=1)
        return np.any(gain > bounds, axis=1), np.floor(np.maximum(missing, 0.0) * total)

    return Spread(sensitive, of_table)


def _log2(values: Floats) -> Floats:
    return np.log(values, out=np.zeros_like(values), where=values > 0) / _LN2


def sample_k(k: int, *, records: int, population: int, significance: float, truncated: bool) -> int:
    """The class size in the sample that stands for k in a population of which only the size is known (El Emam and Dankar 2008, D3, D4)."""
    mean = records / population * k
    start = 1 if truncated else 0
    whole, chance, found, size = 1.0 - (math.exp(-mean) if truncated else 0.0), math.exp(-mean), 0.0, 0
    for size in range(10_000_000):
        if size:
            chance *= mean / size
        found += chance / whole if size >= start else 0.0
        if found >= 1.0 - significance:
            break
    return min(k, records, size + (1 if truncated else 2))


@dataclass(frozen=True)
class OnAverage:
    """Average re-identification risk: classes over published records is at most `most`."""

    most: float

    def holds(self, records: Floats, classes: Floats, singles: Floats) -> Bools:
        return np.divide(1.0, records / np.maximum(classes, 1), out=np.full_like(records, np.inf), where=records > 0) <= self.most

    def owed(self, sizes: Floats) -> float:
        """Records that must go from classes of these sizes; the smallest first is best, a part of a class counts as its part."""
        ordered = np.sort(sizes)
        gain = 1.0 / self.most - ordered
        need = float(gain.sum())
        if need <= 0:
            return 0.0
        total = np.cumsum(gain[gain > 0])
        if total[-1] < need:
            return float(ordered.sum())
        last = int(np.searchsorted(total, need))
        before = total[last - 1] if last else 0.0
        return float(ordered[:last].sum() + ordered[last] * (need - before) / gain[last])


@dataclass(frozen=True)
class FewSingles:
    """Sample uniqueness: the share of published records that are alone in their class is at most `most`."""

    most: float

    def holds(self, records: Floats, classes: Floats, singles: Floats) -> Bools:
        return np.divide(singles, records, out=np.full_like(records, np.inf), where=records > 0) <= self.most

    def owed(self, sizes: Floats) -> float:
        singles, records = float(np.count_nonzero(sizes == 1)), float(sizes.sum())
        if self.most >= 1 or singles <= self.most * records:
            return 0.0
        return (singles - self.most * records) / (1.0 - self.most)


OfSample = OnAverage | FewSingles


@dataclass(frozen=True)
class Verdict:
    """What suppression a node needs: the classes that go, and the sampled records in them.

    `owed` are the records per slot that every more specific node suppresses too; `doomed`: no node of all these holds the model.
    """

    fails: Bools
    suppressed: int
    owed: Floats
    doomed: bool
    holds: bool


@dataclass(frozen=True)
class Model:
    """A conjunction: judges of single classes first, then those of the sample, which suppress the smallest classes left."""

    judges: tuple[Judge, ...]
    of_sample: tuple[OfSample, ...]
    combinations: Combinations
    limit: int

    def verdict(self, classes: Classes, tie: Callable[[Classes, Ints], Floats] | None = None, *, complete: bool = False) -> Verdict:
        """Judge a node; stops early where it is hopeless, unless the verdict must be `complete`."""
        fails, owed, hopeless = np.zeros(classes.slots, dtype=np.bool_), np.zeros(classes.slots), False
        for judge in self.judges:
            found = judge.judge(classes, owed < classes.counts)
            fails |= found.fails
            np.maximum(owed, found.owed, out=owed)
            hopeless = hopeless or found.hopeless
            if not complete and (hopeless or owed.sum() > self.limit + 0.5):
                return Verdict(fails, self.combinations.records, owed, doomed=True, holds=False)
        fails &= classes.counts > 0
        sizes = classes.counts[classes.counts > 0]
        least = max((float(owed.sum()), *(rule.owed(sizes) for rule in self.of_sample)))
        suppressed = int(classes.counts[fails].sum())
        for rule in self.of_sample:
            suppressed = self._enforce(rule, classes, fails, tie)
        holds = not hopeless and suppressed <= self.limit and suppressed < self.combinations.records
        doomed = hopeless or math.ceil(least - _EXACT * self.combinations.records) > self.limit
        return Verdict(fails, suppressed, owed, doomed=doomed and not holds, holds=holds)

    def _enforce(self, rule: OfSample, classes: Classes, fails: Bools, tie: Callable[[Classes, Ints], Floats] | None) -> int:
        """Let the smallest classes fail until the rule holds for the rest; returns all records in classes that fail now."""
        kept = np.flatnonzero((classes.counts > 0) & ~fails)
        sizes = classes.counts[kept]
        first = np.full(classes.slots, np.iinfo(np.int64).max)
        np.minimum.at(first, classes.of, self.combinations.first)
        ties = tie(classes, kept) if tie else np.zeros(len(kept))
        order = np.lexsort((first[kept], ties, sizes))
        gone = np.concatenate(([0.0], np.cumsum(sizes[order])))
        singles = np.maximum(np.count_nonzero(sizes == 1) - np.arange(len(kept) + 1), 0)
        held = rule.holds(sizes.sum() - gone, np.asarray(len(kept) - np.arange(len(kept) + 1.0)), singles.astype(np.float64))
        needed = int(np.argmax(held)) if held.any() else len(kept)
        fails[kept[order[:needed]]] = True
        return int(classes.counts[fails].sum())
