"""No sum of one or two people follows from any number of answers, however they are added and subtracted.

Every answer about a column is a few sums of its values over rows, each with a weight: 1 for those of a group, a predictor for a model. What
all of them together tell of one person is the length of that person's part in the space that they span, its *leverage*: 1 where the value
follows, 1 / n for one of n people of whom only the sum does (Chin and Ozsoyoglu, IEEE TSE 8, 1982; Hoaglin and Welsch, Am. Stat. 32, 1978).
Above `LARGEST_PART` the question is refused. Rows count as if everybody had one and the same value in the column in question, so that a
refusal does not tell it (simulatable auditing: Kenthapadi, Mishra and Nissim, PODS 2005). Hospitals add up products of weights, then flags.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import cox_fit, filter, glm_fit, sums
from pumasi.analysis.frame import OUTSIDE, Column, Frame
from pumasi.analysis.memory import about, group_counts, groups_of, shape_of
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.robust import LARGEST_PART

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Question = dict[str, Any]
    Array = NDArray[np.float64]
    Scales = dict[tuple[str, int, int], tuple[float, float]]

MOST_PRODUCTS = 400_000  # that one question may put on the wire
NOTHING = 1e-12  # of the largest eigenvalue: below it a sum follows from others
PEOPLE = ""  # instead of a column: how many there are, whatever they have
FOLLOWS = 1e-4  # of a person
ROUNDS = 3
BLOCK = 4_096  # rows at a time
SINGLED_OUT = Refusal(
    "remembered-together",
    "together with what was asked before it would tell about one or two people, or about a group too small, by adding and subtracting; "
    "ask about the same people as before or about clearly different ones, and leave those who lack a value out of all analyses, as in "
    'where = "age IS NOT NULL"',
)


@dataclass(frozen=True)
class View:
    """All that is asked about one column, as if everybody had `value` in it. `groups`: question, partition and how many groups it has;
    `numbers`: question, and which of its weights that are numbers; `conditions`: the questions with each condition of their own."""

    column: str
    value: str | float
    groups: list[tuple[int, int | None, int]]
    numbers: list[tuple[int, int]]
    conditions: list[int]

    @property
    def size(self) -> int:
        return sum(count for _, _, count in self.groups) + len(self.numbers)

    @property
    def products(self) -> int:
        return _triangle(self.size) + 2 * _triangle(len(self.conditions))


def views(asked: Sequence[Question]) -> list[View]:
    """What is to be looked at before the first of these questions is answered next to the others; from the questions alone."""
    named = [_named(one) for one in asked]
    now, *before = [set[str]().union(*(names for _, names in several)) for several in named]
    counts = [group_counts(one) for one in asked]
    people = _conditions(asked, range(len(asked)))
    found = [View(PEOPLE, 0.0, [(at, None, 1) for at in people], [], people)] if len(people) > 1 else []
    for column in sorted(now & set().union(*before)):
        parts = [(at, place) for at, several in enumerate(named) for place, names in several if column in names]
        groups = [(at, place, counts[at][place] if place is not None else 1) for at, place in parts]
        numbers = [(at, place) for at, one in enumerate(asked) for place in range(len(_weights(one, column)))]
        conditions = _conditions(asked, sorted({at for at, _ in parts}))
        found += [View(column, value, groups, numbers, conditions) for value in _values(column, asked)]
    return found


def _conditions(asked: Sequence[Question], among: Iterable[int]) -> list[int]:
    """The first question with each condition."""
    found: list[int] = []
    for at in among:
        found += [at] if all(asked[at].get("filter") != asked[one].get("filter") for one in found) else []
    return found


def _triangle(size: int) -> int:
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


def first(asked: Sequence[Question]) -> list[list[float]]:
    """The totals that are known before the first round: of no number the sizes."""
    return [] if any(view.numbers for view in views(asked)) else [[]]


def is_small(asked: Sequence[Question]) -> bool:
    return sum(view.products for view in views(asked)) <= MOST_PRODUCTS


def refused(question: Question) -> Question:
    """What a question that was refused is about: whom its condition holds for. That alone an asker can move by one person, to see
    whether the refusal goes; missing values and small cells are not of his choice."""
    return {**question, "kind": "count"}


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


def local(frames: Sequence[Frame], asked: Sequence[Question], known: Sequence[Sequence[float]]) -> Array:
    """What this hospital adds in the next of three rounds; `frames` has the table as each question saw it, `known` the totals so far."""
    tables, seen = _Tables(frames, asked), views(asked)
    match known:
        case []:
            partial = _local_scales(tables, seen)
        case [scales]:
            read = _scales(scales, seen)
            partial = [value for view in seen for value in _local_products(view, tables, read)]
        case [scales, products]:
            partial, at, read = [], 0, _scales(scales, seen)
            for view in seen:
                partial.append(_local_flag(view, tables, read, products[at : at + view.products]))
                at += view.products
        case _:
            raise ValueError("an audit has three rounds")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float]) -> list[Refusal]:
    """What the third total says. Not about which column: of those beside the secret one it may depend on the secret."""
    return [SINGLED_OUT] if any(flag > 0.5 for flag in total) else []


# 1. how large are the weights that are numbers


def _numbered(seen: Sequence[View]) -> list[tuple[str, int, int]]:
    return list(dict.fromkeys((view.column, at, place) for view in seen for at, place in view.numbers))


def _local_scales(tables: _Tables, seen: Sequence[View]) -> list[float]:
    """Of each how many rows it has, its sum and its squares: they are centred and scaled, so that any size fits."""
    partial: list[float] = []
    for column, at, place in _numbered(seen):
        values = _weighed(tables.seen[at], tables.asked[at], column, rows=len(tables.persons))[place]
        here = np.clip(values[~np.isnan(values)], -sums.LARGEST, sums.LARGEST)
        partial += [len(here), *sums.wide(here), *sums.wide(here**2)]
    return partial


def _scales(total: Sequence[float], seen: Sequence[View]) -> Scales:
    """(mean, root mean square about it) of each."""
    reader, found = sums.Reader(total), {}
    for weight in _numbered(seen):
        rows, whole, squares = max(1, reader.count()), reader.wide(), reader.squares()
        mean = whole / rows
        found[weight] = (mean, max(0.0, squares / rows - mean**2) ** 0.5 or 1.0)
    reader.end()
    return found


# 2. their products, and those of groups


def _local_products(view: View, tables: _Tables, scales: Scales) -> list[float]:
    """Added over the rows of this hospital: the upper triangle."""
    total = np.zeros((view.size, view.size))
    for _, block in _blocks(view, tables, scales):
        total += block.T @ block
    return [float(value) for value in (*total[np.triu_indices(view.size)], *_local_conditions(view, tables))]


def _local_conditions(view: View, tables: _Tables) -> list[float]:
    """The same of conditions alone, each row counting as its part of a person: over all rows, and over those that have every column of
    these conditions, where nobody is left out for a missing value."""
    base = np.zeros((len(tables.persons), len(view.conditions)))
    complete = np.ones(len(tables.persons))
    for place, at in enumerate(view.conditions):
        base[tables.supposed(at, view).persons, place] = 1.0
        for name in filter.columns(tables.asked[at]["filter"]) - {view.column} if "filter" in tables.asked[at] else ():
            complete *= tables.frames[at].present(name)
    each = 1 / np.bincount(tables.persons)[tables.persons] if len(tables.persons) else np.zeros(0)
    both = [base.T @ (base * (each * rows)[:, np.newaxis]) for rows in (np.ones(len(complete)), complete)]
    return [float(value) for products in both for value in products[np.triu_indices(len(view.conditions))]]


def too_small(total: Sequence[float], asked: Sequence[Question], *, smallest: int) -> list[Refusal]:
    """What the second total says: whether those for whom the condition of the first question holds are, but for a group that is too
    small, a sum of those of the others. Where only missing values make it small, it is left to memory.py."""
    at = 0
    for view in views(asked):
        at += view.products
        size = len(view.conditions)
        begin, middle = at - 2 * _triangle(size), at - _triangle(size)
        whole, complete = _square(total[begin:middle], size), _square(total[middle:at], size)
        left = [_left_over(one) for one in (whole, complete)] if size > 1 and whole[0, 0] >= smallest else []
        if left and all(FOLLOWS < squares < smallest - FOLLOWS for squares in left):
            return [SINGLED_OUT]
    return []


def _left_over(products: Array) -> float:
    """The squares of the first weights that no sum of the others makes up for; of a group that differs by so many people at most these."""
    basis = _basis(products[1:, 1:])
    return float(products[0, 0] - np.sum((products[0, 1:] @ basis) ** 2))


# 3. each one's part in the space that they span


def _local_flag(view: View, tables: _Tables, scales: Scales, products: Sequence[float]) -> float:
    """Whether somebody here has too large a part in what is told."""
    basis = _basis(_square(products[: _triangle(view.size)], view.size))
    parts = np.zeros(len(tables.persons))
    for persons, block in _blocks(view, tables, scales):
        parts += np.bincount(persons, weights=np.sum((block @ basis) ** 2, axis=1), minlength=len(parts))
    return float(parts.max(initial=0.0) > LARGEST_PART)


def _square(triangle: Sequence[float], size: int) -> Array:
    products = np.zeros((size, size))
    products[np.triu_indices(size)] = triangle
    return np.triu(products) + np.triu(products, 1).T


def _basis(products: Array) -> Array:
    """Columns that turn the weights of a row into coordinates in the space that all weights span."""
    size = len(products)
    lengths = np.sqrt(np.clip(np.diag(products), 0, None))
    each = np.divide(1.0, lengths, out=np.zeros(size), where=lengths > 0)
    found, vectors = np.linalg.eigh(products * each * each[:, np.newaxis])
    kept = found > NOTHING * max(1.0, float(found.max(initial=0.0)))
    return np.asarray(each[:, np.newaxis] * vectors[:, kept] / np.sqrt(found[kept]))


# The rows of a hospital, as the questions weigh them.


@dataclass(frozen=True)
class _Tables:
    """The questions' tables at this hospital, and what does not change from view to view."""

    frames: Sequence[Frame]
    asked: Sequence[Question]

    @cached_property
    def persons(self) -> NDArray[np.intp]:
        return np.unique(self.frames[0].persons, return_inverse=True)[1].reshape(-1)

    @cached_property
    def seen(self) -> list[Frame]:
        """The rows of each question, with their numbers in the place of their people's."""
        return [_chosen(frame, question) for frame, question in zip(self.frames, self.asked, strict=True)]

    def supposed(self, at: int, view: View) -> Frame:
        """The rows of a question if everybody had the view's value in its column."""
        question = self.asked[at]
        if view.column == PEOPLE:
            return self.seen[at]
        if "filter" in question and view.column in filter.columns(question["filter"]):
            return _chosen(_supposed(self.frames[at], view), question)
        return _supposed(self.seen[at], view)


def _chosen(frame: Frame, question: Question) -> Frame:
    return filter.seen(frame.numbered(np.arange(frame.rows)), question)


def _supposed(frame: Frame, view: View) -> Frame:
    column = frame.column(view.column)
    level = filter.level_of(view.value)
    numbers = None if column.numbers is None else np.full(frame.rows, _number(view.value))
    place = column.levels.index(level) if level in column.levels else OUTSIDE
    codes = None if column.codes is None else np.full(frame.rows, place, dtype=np.int32)
    return Frame(frame.persons, {**frame.columns, view.column: Column(view.column, numbers, codes, column.levels)})


def _number(value: str | float) -> float:
    """A value as a number. In another project the same column may have been shown in bands ("50-59"), which are none."""
    try:
        return float(value)
    except ValueError:
        return 0.0


def _blocks(view: View, tables: _Tables, scales: Scales) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """People and weights of some rows at a time."""
    rows, supposed = len(tables.persons), {at: tables.supposed(at, view) for at in {at for at, *_ in view.groups}}
    groups, numbers = [], []
    for at, place, count in view.groups:
        question, inside = _alone(tables.asked[at], place)
        codes = groups_of(supposed[at], question)[inside]
        groups.append((_placed(codes, supposed[at].persons, rows, nothing=-1), count))
    weighed = {at: _weighed(supposed[at], tables.asked[at], view.column, rows=rows) for at in {at for at, _ in view.numbers}}
    for at, place in view.numbers:
        mean, scale = scales[view.column, at, place]
        numbers.append(np.nan_to_num((weighed[at][place] - mean) / scale, nan=0.0, posinf=0.0, neginf=0.0))
    for begin in range(0, rows, BLOCK):
        within = slice(begin, begin + BLOCK)
        block, before = np.zeros((len(tables.persons[within]), view.size)), 0
        for codes, count in groups:
            here = np.flatnonzero(codes[within] >= 0)
            block[here, before + codes[within][here]] = 1.0
            before += count
        for place, values in enumerate(numbers):
            block[:, before + place] = values[within]
        yield tables.persons[within], block


def _alone(question: Question, place: int | None) -> tuple[Question, int]:
    """One of its partitions by itself, where each belongs to a column, and which it is then."""
    if place is None:
        return refused(question), 0
    listed = question.get("columns", [])
    if len(listed) != len(group_counts(question)):
        return question, place
    return {**question, "columns": [listed[place]]}, 0


# The weights of an answer that are no groups.


def _weights(question: Question, column: str) -> list[Any]:
    """The numbers with which an answer weighs the values of a column; from the question alone.

    Of a model of the column: its design columns, unless it only tells sums by level (memory.py). Their products with the outcome are what
    the coefficients say (McCullagh and Nelder, 1989, 2.5). Of a correlation: the other column; of a score: the score.
    """
    match question["kind"]:
        case "glm" | "cox" if question["design"]["outcome"] == column and not (shape_of(question) and "weights" not in question):
            return [one["factors"] for one in question["design"]["columns"] if one["factors"] or "weights" in question]
        case "correlation" if column in question["columns"]:
            return [other for other in question["columns"] if other != column]
        case "brier" | "calibration" if question["outcome"] == column:
            return [question["score"]]
        case _:
            return []


def _weighed(chosen: Frame, question: Question, column: str, *, rows: int) -> list[Array]:
    """Each of these weights; `chosen` has the rows of the question, whose places in the table stand for its people."""
    if question["kind"] in ("glm", "cox"):
        cases = glm_fit.cases_of(chosen, question) if question["kind"] == "glm" else cox_fit.cases_of(chosen, question).cases
        weight = glm_fit.weight_of(cases, question)
        found = [cases.column(factors) * weight for factors in _weights(question, column)]
        return [_placed(values, cases.frame.persons, rows, nothing=np.nan) for values in found]
    present = chosen.present(column)
    found = [chosen.numbers(other)[present] for other in _weights(question, column)]
    return [_placed(values, chosen.persons[present], rows, nothing=np.nan) for values in found]


def _placed(values: NDArray[Any], rows: NDArray[np.int64], count: int, *, nothing: float) -> NDArray[Any]:
    everywhere = np.full(count, nothing, dtype=values.dtype)
    everywhere[rows] = values
    return everywhere
