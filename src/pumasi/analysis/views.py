"""What an audit looks at: of each column what was asked about it, as if everybody had one and the same value in it.

Every value that conditions tell apart is a view of its own, and so are two columns that conditions name together: whether a question is
refused is not to depend on what somebody has there. From the questions alone, so that all hospitals look at the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pumasi.analysis import filter, told
from pumasi.analysis.memory import MOST_CELLS, about, group_counts

Question = dict[str, Any]
PEOPLE = ""  # instead of a column: how many there are, whatever they have


@dataclass(frozen=True)
class View:
    """All that is asked about one column, as if everybody had the `supposed` values. `groups`: question, partition and how many groups it
    has; `numbers`: question, and which of its weights that are numbers, the first `plain` of them not swapped (told.py); `strata`: groups
    in which conditions are looked at by themselves."""

    column: str
    supposed: dict[str, str | float]
    groups: list[tuple[int, int | None, int]]
    numbers: list[tuple[int, int]]
    plain: int
    strata: list[Stratum]

    @property
    def size(self) -> int:
        return sum(count for _, _, count in self.groups) + len(self.numbers)

    @property
    def certain(self) -> int:
        """How many of its weights an attacker need not know who has what in another column."""
        return self.size - len(self.numbers) + self.plain

    @property
    def alone(self) -> bool:
        """Whether nothing was asked about the column before."""
        return all(at == 0 for at, *_ in self.groups)

    @property
    def products(self) -> int:
        return triangle(self.size) + 2 * sum(one.cells * triangle(len(one.conditions)) for one in self.strata)


@dataclass(frozen=True)
class Stratum:
    """Groups made by the levels of some columns, of none everybody; and the first question with each condition that tells sums of them."""

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    conditions: list[int]

    @property
    def cells(self) -> int:
        return math.prod(len(names) for names in self.levels)


def views(asked: Sequence[Question]) -> list[View]:
    """What is to be looked at before the first of these questions is answered next to the others; from the questions alone."""
    named = [_named(one) for one in asked]
    now, *before = [set[str]().union(*(names for _, names in several)) for several in named]
    counts = [group_counts(one) for one in asked]
    people = _conditions(asked, range(len(asked)))
    found = []
    if len(people) > 1:
        both = [{}, *_pairs(asked, people)]
        found += [View(PEOPLE, one, [(at, None, 1) for at in people], [], 0, [Stratum((), (), people)]) for one in both]
    for column in sorted(now):
        numbers = [(at, place) for at, one in enumerate(asked) for place in range(len(told.weights(one, column)))]
        more = _first_of_each(asked, column)
        if column not in set().union(*before) and (not more or asked[0]["kind"] in told.MODELS):
            continue
        parts = [(at, place) for at, several in enumerate(named) for place, names in several if column in names]
        groups = [(at, place, counts[at][place] if place is not None else 1) for at, place in parts]
        conditions = _conditions(asked, sorted({at for at, _ in parts}))
        strata = [Stratum((), (), conditions), *_strata(asked, column, sorted({at for at, _ in parts}))]
        for value in _values(column, asked):
            found.append(View(column, {column: value}, groups, [*numbers, *more], len(numbers), strata))
    return found


def _first_of_each(asked: Sequence[Question], column: str) -> list[tuple[int, int]]:
    """The swapped weights of a column, each once: those of the same rows need not be looked at again. Those of a model only where not all
    questions have one condition: missing values alone are nobody's choice, and memory.py looks at them."""
    found, seen = [], set()
    chosen = len(_conditions(asked, range(len(asked)))) > 1
    for at, one in enumerate(asked):
        if one["kind"] in told.MODELS and not chosen:
            continue
        case, condition = one.get("case"), repr(one.get("filter"))
        for place, weight in enumerate(told.swapped(one, column)):
            if (case, condition, weight) not in seen:
                seen.add((case, condition, weight))
                found.append((at, len(told.weights(one, column)) + place))
    return found


def _pairs(asked: Sequence[Question], people: Sequence[int]) -> Iterator[dict[str, str | float]]:
    """Every two values in two columns that the new condition names as well as another: who has the one or the other is not to be told
    by a refusal either."""
    if "filter" not in asked[0]:
        return
    mine, *others = [filter.columns(asked[at]["filter"]) if "filter" in asked[at] else set() for at in people]
    for one, other in itertools.combinations(sorted(mine), 2):
        if any({one, other} <= names for names in others):
            for values in itertools.product(_values(one, asked), _values(other, asked)):
                yield dict(zip((one, other), values, strict=True))


def _strata(asked: Sequence[Question], column: str, among: Sequence[int]) -> list[Stratum]:
    """Those in which the new question tells sums as well as another one with another condition."""
    cells = {at: [one - {column} for one in told.cells(asked[at])] for at in among}
    wanted = {frozenset(some) for one in cells.get(0, []) for some in _subsets(one)}
    found = []
    for some in sorted(wanted, key=sorted):
        conditions = _conditions(asked, [at for at in among if any(some <= one for one in cells[at])])
        names = tuple(sorted(some))
        levels = tuple(tuple(asked[0]["levels"][name]) for name in names)
        stratum = Stratum(names, levels, conditions)
        found += [stratum] if len(conditions) > 1 and stratum.cells <= MOST_CELLS else []
    return found


def _conditions(asked: Sequence[Question], among: Iterable[int]) -> list[int]:
    """The first question with each condition."""
    found: list[int] = []
    for at in among:
        found += [at] if all(asked[at].get("filter") != asked[one].get("filter") for one in found) else []
    return found


def triangle(size: int) -> int:
    return size * (size + 1) // 2


def _named(question: Question) -> list[tuple[int | None, set[str]]]:
    """The columns that each partition tells something about; None is everybody for whom the condition holds.

    Where each partition has a column of its own, how many have that column says nothing about the others: suppression sees to it. A
    correlation tells no sum over those who have both, only what its weights say.
    """
    named, listed = about(question), question.get("columns", [])
    if question["kind"] == "correlation":
        return [(None, set(question["reads"]))]
    if len(listed) != len(named):
        return list(enumerate(named))
    others = set(question["reads"]) - set(listed)
    return [*((place, {name}) for place, name in enumerate(listed)), (None, others)]


def _subsets(names: set[str]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(names) + 1):
        yield from itertools.combinations(sorted(names), size)


def _values(column: str, asked: Sequence[Question]) -> list[str | float]:
    """One value of a column for every way in which conditions tell its values apart."""
    reading = [one for one in asked if column in one["column_kinds"]]
    constants = [value for one in reading if "filter" in one for value in filter.constants(one["filter"], column)]
    levels = next((list(one["levels"][column]) for one in reading if one["levels"][column]), [])
    if levels:
        named = {filter.level_of(value) for value in constants}
        by_size = not named <= set(levels)
        return [level for place, level in enumerate(levels) if by_size or level in named or set(levels[:place]) <= named]
    ends = sorted({float(value) for value in constants})
    between = [(one + other) / 2 for one, other in itertools.pairwise(ends)]
    return [*sorted({*ends, *between, ends[0] - 1, ends[-1] + 1})] if ends else [0.0]
