"""No sum of one or two people follows from any number of answers, however they are added and subtracted.

Every answer about a column is a few sums of its values over rows, each with a weight: 1 for those of a group, a predictor for a model. What
all of them together tell of one person is the length of that person's part in the space that they span, its *leverage*: 1 where the value
follows, 1 / n for one of n people of whom only the sum does (Chin and Ozsoyoglu, IEEE TSE 8, 1982; Hoaglin and Welsch, Am. Stat. 32, 1978).
Above `LARGEST_PART` the question is refused. Rows count as if everybody had one and the same value in the column in question, so that a
refusal does not tell it (simulatable auditing: Kenthapadi, Mishra and Nissim, PODS 2005). Hospitals add up products of weights, then flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import bounds, filter, sums, told
from pumasi.analysis.frame import OUTSIDE, Column, Frame
from pumasi.analysis.memory import group_counts, groups_of
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.robust import LARGEST_PART
from pumasi.analysis.views import View, triangle, views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Question = dict[str, Any]
    Array = NDArray[np.float64]
    Scales = dict[tuple[str, int, int], tuple[float, float]]

MOST_PRODUCTS = 400_000  # that one question may put on the wire
NOTHING = 1e-12  # of the largest eigenvalue: below it a sum follows from others
FOLLOWS = 1e-4  # of a person
NEARLY_ALL = 0.99  # of what a value is uncertain by
BLOCK = 4_096  # rows at a time
SINGLED_OUT = Refusal(
    "remembered-together",
    "together with what was asked before it would tell about one or two people, or about a group too small, by adding and subtracting; "
    "ask about the same people as before or about clearly different ones, and leave those who lack a value out of all analyses, as in "
    'where = "age IS NOT NULL", and give survival curves a wider grid',
)


def first(asked: Sequence[Question]) -> list[list[float]]:
    """The totals that are known before the first round: of no number the sizes."""
    return [] if any(view.numbers for view in views(asked)) else [[]]


def rounds(asked: Sequence[Question]) -> int:
    """How many totals there are to be judged; none where nothing is told beside anything else."""
    return 3 if views(asked) else 2 if bounds.pairs(asked) else 0


def is_small(asked: Sequence[Question]) -> bool:
    return sum(view.products for view in views(asked)) <= MOST_PRODUCTS


def refused(question: Question) -> Question:
    """What a question that was refused is about: whom its condition holds for. That alone an asker can move by one person, to see
    whether the refusal goes; missing values and small cells are not of his choice."""
    return {**question, "kind": "count"}


def local(frames: Sequence[Frame], asked: Sequence[Question], known: Sequence[Sequence[float]]) -> Array:
    """What this hospital adds in the next of three rounds; `frames` has the table as each question saw it, `known` the totals so far."""
    tables, seen = _Tables(frames, asked), views(asked)
    match known:
        case []:
            partial = _local_scales(tables, seen)
        case [scales]:
            read = _scales(scales, seen)
            partial = [value for view in seen for value in _local_products(view, tables, read)] + bounds.local(frames[0], asked)
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
        values = tables.weighed(at, column, place, tables.seen[at])
        here = np.clip(values[~np.isnan(values)], -sums.LARGEST, sums.LARGEST)
        partial += [len(here), *sums.wide(here), *sums.wide(here**2)]
    return partial


def _scales(total: Sequence[float], seen: Sequence[View]) -> Scales:
    """(mean, root mean square about it) of each."""
    reader, found = sums.Reader(total), {}
    for weight in _numbered(seen):
        rows, whole, squares = max(1, reader.count()), reader.wide(), reader.squares()
        mean = whole / rows
        spread = max(0.0, squares / rows - mean**2) ** 0.5
        found[weight] = (mean, spread) if spread > 1e-9 * abs(mean) else (0.0, abs(mean) or 1.0)  # a constant counts its rows
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
    """The same of conditions alone in each stratum, each row counting as its part of a person: over all rows, and over those that have
    every column of these conditions, where nobody is left out for a missing value."""
    each = 1 / np.bincount(tables.persons)[tables.persons] if len(tables.persons) else np.zeros(0)
    inside = {at: np.zeros(len(each)) for stratum in view.strata for at in stratum.conditions}
    for at, rows in inside.items():
        rows[tables.supposed(at, view).persons] = 1.0
    partial: list[float] = []
    for stratum in view.strata:
        base = np.column_stack([inside[at] for at in stratum.conditions])
        complete = np.ones(len(each))
        for at in stratum.conditions:
            for name in filter.columns(tables.asked[at]["filter"]) - view.supposed.keys() if "filter" in tables.asked[at] else ():
                complete *= tables.frames[at].present(name)
        cell = np.zeros(len(each), dtype=np.int64)
        for name, levels in zip(stratum.columns, stratum.levels, strict=True):
            codes = tables.frames[0].codes(name, levels)
            cell = np.where((cell < 0) | (codes < 0), -1, cell * len(levels) + codes)
        for number in range(stratum.cells):
            here = cell == number
            both = [base[here].T @ (base[here] * counted[here, np.newaxis]) for counted in (each, each * complete)]
            partial += [float(value) for products in both for value in products[np.triu_indices(len(stratum.conditions))]]
    return partial


def too_small(total: Sequence[float], asked: Sequence[Question], *, smallest: int) -> list[Refusal]:
    """What the second total says: whether those for whom the condition of the first question holds are, but for a group that is too
    small, a sum of those of the others. Where only missing values make it small, it is left to memory.py."""
    at = 0
    for view in views(asked):
        at += triangle(view.size)
        for stratum in view.strata:
            size = len(stratum.conditions)
            for _ in range(stratum.cells):
                whole, complete = (_square(total[begin : begin + triangle(size)], size) for begin in (at, at + triangle(size)))
                at += 2 * triangle(size)
                left = [_left_over(one) for one in (whole, complete)] if size > 1 and whole[0, 0] >= smallest else []
                if left and all(FOLLOWS < squares < smallest - FOLLOWS for squares in left):
                    return [SINGLED_OUT]
    return bounds.refusals(total[at:], asked, smallest=smallest)


def _left_over(products: Array) -> float:
    """The squares of the first weights that no sum of the others makes up for; of a group that differs by so many people at most these."""
    basis = _basis(products[1:, 1:])
    return float(products[0, 0] - np.sum((products[0, 1:] @ basis) ** 2))


# 3. each one's part in the space that they span


def _local_flag(view: View, tables: _Tables, scales: Scales, products: Sequence[float]) -> float:
    """Whether somebody here has too large a part in what is told. Of swapped weights only where nearly all of a value follows: of a
    column with a few large values somebody has a large part in every mean."""
    square = _square(products[: triangle(view.size)], view.size)
    certain, everything = _basis(square[: view.certain, : view.certain]), _basis(square)
    parts, more = np.zeros(len(tables.persons)), np.zeros(len(tables.persons))
    for persons, block in _blocks(view, tables, scales):
        parts += np.bincount(persons, weights=np.sum((block[:, : view.certain] @ certain) ** 2, axis=1), minlength=len(parts))
        if view.size > view.certain:
            more += np.bincount(persons, weights=np.sum((block @ everything) ** 2, axis=1), minlength=len(parts))
    too_large = not view.alone and parts.max(initial=0.0) > LARGEST_PART
    return float(too_large or np.maximum(parts, more).max(initial=0.0) > NEARLY_ALL)


def _square(triangle: Sequence[float], size: int) -> Array:
    products = np.zeros((size, size))
    products[np.triu_indices(size)] = triangle
    return np.triu(products) + np.triu(products, 1).T


def _basis(products: Array) -> Array:
    """Columns that turn the weights of a row into coordinates in the space that all weights span."""
    return _basis_of(products.tobytes(), len(products))


@lru_cache(maxsize=64)  # a rehearsal asks for each hospital
def _basis_of(products: bytes, size: int) -> Array:
    square = np.frombuffer(products).reshape(size, size)
    lengths = np.sqrt(np.clip(np.diag(square), 0, None))
    each = np.divide(1.0, lengths, out=np.zeros(size), where=lengths > 0)
    found, vectors = np.linalg.eigh(square * each * each[:, np.newaxis])
    kept = found > NOTHING * max(1.0, float(found.max(initial=0.0)))
    return np.asarray(each[:, np.newaxis] * vectors[:, kept] / np.sqrt(found[kept]))


# The rows of a hospital, as the questions weigh them.


@dataclass(frozen=True)
class _Tables:
    """The questions' tables at this hospital, and what does not change from view to view."""

    frames: Sequence[Frame]
    asked: Sequence[Question]
    weights: dict[tuple[int, str], list[told.Weight]] = field(default_factory=dict)

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
        if "filter" in question and view.supposed.keys() & filter.columns(question["filter"]):
            return _chosen(_supposed(self.frames[at], view), question)
        return _supposed(self.seen[at], view)

    def weighed(self, at: int, column: str, place: int, chosen: Frame) -> Array:
        """One of the weights of a column, for every row of the table; NaN where it does not count."""
        if (at, column) not in self.weights:
            self.weights[at, column] = [*told.weights(self.asked[at], column), *told.swapped(self.asked[at], column)]
        weight = self.weights[at, column][place]
        return _placed(weight.of(chosen, self.asked[at]), chosen.persons, len(self.persons), nothing=np.nan)


def _chosen(frame: Frame, question: Question) -> Frame:
    return filter.seen(frame.numbered(np.arange(frame.rows)), question)


def _supposed(frame: Frame, view: View) -> Frame:
    columns = dict(frame.columns)
    for name, value in view.supposed.items():
        if name in columns:
            columns[name] = _constant(columns[name], value, rows=frame.rows)
    return Frame(frame.persons, columns)


def _constant(column: Column, value: str | float, *, rows: int) -> Column:
    level = filter.level_of(value)
    numbers = None if column.numbers is None else np.full(rows, _number(value))
    place = column.levels.index(level) if level in column.levels else OUTSIDE
    codes = None if column.codes is None else np.full(rows, place, dtype=np.int32)
    return Column(column.name, numbers, codes, column.levels)


def _number(value: str | float) -> float:
    """A value as a number. In another project the same column may have been shown in bands ("50-59"), which are none."""
    try:
        return float(value)
    except ValueError:
        return 0.0


def _blocks(view: View, tables: _Tables, scales: Scales) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """People and weights of some rows at a time."""
    rows, asked = len(tables.persons), {*(at for at, _, _ in view.groups), *(at for at, _ in view.numbers)}
    supposed = {at: tables.supposed(at, view) for at in asked}
    groups, numbers = [], []
    for at, place, count in view.groups:
        question, inside = _alone(tables.asked[at], place)
        codes = groups_of(supposed[at], question)[inside]
        groups.append((_placed(codes, supposed[at].persons, rows, nothing=-1), count))
    for at, place in view.numbers:
        mean, scale = scales[view.column, at, place]
        weighed = (tables.weighed(at, view.column, place, supposed[at]) - mean) / scale
        numbers.append(np.nan_to_num(weighed, nan=0.0, posinf=0.0, neginf=0.0))
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


def _placed(values: NDArray[Any], rows: NDArray[np.int64], count: int, *, nothing: float) -> NDArray[Any]:
    everywhere = np.full(count, nothing, dtype=values.dtype)
    everywhere[rows] = values
    return everywhere
