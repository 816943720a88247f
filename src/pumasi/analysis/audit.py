"""No sum of one or two people follows from any number of answers, however they are added and subtracted.

Every answer about a column is a few sums of its values over rows, each with a weight: 1 for those of a group, a predictor for a model. What
all of them together tell of one person is the length of that person's part in the space that they span, its *leverage*: 1 where the value
follows, 1 / n for one of n people of whom only the sum does (Chin and Ozsoyoglu, IEEE TSE 8, 1982; Hoaglin and Welsch, Am. Stat. 32, 1978).
Above `LARGEST_PART` the question is refused. Rows count as if everybody had one and the same value in the column in question, so that a
refusal does not tell it (simulatable auditing: Kenthapadi, Mishra and Nissim, PODS 2005). Hospitals add up products of weights, then flags.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import cox_fit, filter, glm_fit, sums
from pumasi.analysis.frame import OUTSIDE, Column, Frame
from pumasi.analysis.memory import Footprint, about, group_counts, shape_of
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.robust import LARGEST_PART

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Question = dict[str, Any]
    Array = NDArray[np.float64]
    Scales = dict[tuple[int, str, int], tuple[float, float]]

MOST_PRODUCTS = 400_000  # that one question may put on the wire
NOTHING = 1e-12  # of the largest eigenvalue: below it a sum follows from others
ROUNDS = 3
BLOCK = 4_096  # rows at a time
SINGLED_OUT = Refusal(
    "remembered-together",
    "together with what was asked before it would tell a value of one or two people by adding and subtracting; ask about the "
    "same people as before or about clearly different ones, and leave those who lack a value out of all analyses, as in "
    'where = "age IS NOT NULL"',
)


@dataclass(frozen=True)
class View:
    """All that is asked about one column, as if everybody had `value` in it. `groups`: question, partition and how many groups it has;
    `numbers`: question, and which of its weights that are numbers."""

    column: str
    value: str | float
    groups: list[tuple[int, int, int]]
    numbers: list[tuple[int, int]]

    @property
    def size(self) -> int:
        return sum(count for _, _, count in self.groups) + len(self.numbers)

    @property
    def products(self) -> int:
        return self.size * (self.size + 1) // 2


def views(asked: Sequence[Question]) -> list[View]:
    """What is to be looked at before the first of these questions is answered next to the others; from the questions alone."""
    now, *before = [set.union(set(), *about(one)) for one in asked]
    found = []
    for column in sorted(now & set().union(*before)):
        parts = [(at, place) for at, one in enumerate(asked) for place, names in enumerate(about(one)) if column in names]
        groups = [(at, place, group_counts(asked[at])[place]) for at, place in parts]
        numbers = [(at, place) for at, one in enumerate(asked) for place in range(len(_weights(one, column)))]
        found += [View(column, value, groups, numbers) for value in _values(column, asked)]
    return found


def refused(question: Question) -> Question:
    """What a question that was refused is about: whom its condition holds for. That alone an asker can move by one person, to see
    whether the refusal goes; missing values and small cells are not of his choice."""
    return {**question, "kind": "count"}


def first(asked: Sequence[Question]) -> list[list[float]]:
    """The totals that are known before the first round: of no number the sizes."""
    return [] if _numbered(asked) else [[]]


def is_small(asked: Sequence[Question]) -> bool:
    return sum(view.products for view in views(asked)) <= MOST_PRODUCTS


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
    match known:
        case []:
            partial = _local_scales(frames, asked)
        case [scales]:
            partial = [value for view in views(asked) for value in _local_products(view, frames, asked, _scales(scales, asked))]
        case [scales, products]:
            partial, at, read = [], 0, _scales(scales, asked)
            for view in views(asked):
                partial.append(_local_flag(view, frames, asked, read, products[at : at + view.products]))
                at += view.products
        case _:
            raise ValueError("an audit has three rounds")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float]) -> list[Refusal]:
    """What the third total says. Not about which column: of those beside the secret one it may depend on the secret."""
    return [SINGLED_OUT] if any(flag > 0.5 for flag in total) else []


# 1. how large are the weights that are numbers


def _local_scales(frames: Sequence[Frame], asked: Sequence[Question]) -> list[float]:
    """Of each how many rows it has, its sum and its squares: they are centred and scaled, so that any size fits."""
    partial: list[float] = []
    for at, column in _numbered(asked):
        for values in _weighed(frames[at], asked[at], column):
            here = np.clip(values[~np.isnan(values)], -sums.LARGEST, sums.LARGEST)
            partial += [len(here), *sums.wide(here), *sums.wide(here**2)]
    return partial


def _scales(total: Sequence[float], asked: Sequence[Question]) -> dict[tuple[int, str, int], tuple[float, float]]:
    """(mean, root mean square about it) of each."""
    reader, found = sums.Reader(total), {}
    for at, column in _numbered(asked):
        for place in range(len(_weights(asked[at], column))):
            rows, whole, squares = max(1, reader.count()), reader.wide(), reader.squares()
            mean = whole / rows
            found[at, column, place] = (mean, max(0.0, squares / rows - mean**2) ** 0.5 or 1.0)
    reader.end()
    return found


# 2. their products, and those of groups


def _local_products(view: View, frames: Sequence[Frame], asked: Sequence[Question], scales: Scales) -> list[float]:
    """Added over the rows of this hospital: the upper triangle."""
    total = np.zeros((view.size, view.size))
    for _, block in _blocks(view, frames, asked, scales):
        total += block.T @ block
    return [float(value) for value in total[np.triu_indices(view.size)]]


# 3. each one's part in the space that they span


def _local_flag(view: View, frames: Sequence[Frame], asked: Sequence[Question], scales: Scales, products: Sequence[float]) -> float:
    """Whether somebody here has too large a part in what is told."""
    basis = _basis(np.asarray(products, dtype=np.float64), view.size)
    parts = np.zeros(int(frames[0].rows))
    for persons, block in _blocks(view, frames, asked, scales):
        parts += np.bincount(persons, weights=np.sum((block @ basis) ** 2, axis=1), minlength=len(parts))
    return float(parts.max(initial=0.0) > LARGEST_PART)


def _basis(triangle: Array, size: int) -> Array:
    """Columns that turn the weights of a row into coordinates in the space that all weights span."""
    products = np.zeros((size, size))
    products[np.triu_indices(size)] = triangle
    products = np.triu(products) + np.triu(products, 1).T
    lengths = np.sqrt(np.clip(np.diag(products), 0, None))
    each = np.divide(1.0, lengths, out=np.zeros(size), where=lengths > 0)
    found, vectors = np.linalg.eigh(products * each * each[:, np.newaxis])
    kept = found > NOTHING * max(1.0, float(found.max(initial=0.0)))
    return np.asarray(each[:, np.newaxis] * vectors[:, kept] / np.sqrt(found[kept]))


def _blocks(view: View, frames: Sequence[Frame], asked: Sequence[Question], scales: Scales) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """People and weights of some rows at a time."""
    supposed = {at: _supposed(frames[at], view) for at in {at for at, *_ in view.groups}}
    prints = {at: Footprint.of(one, asked[at]) for at, one in supposed.items()}
    groups = [(prints[at].partitions[place], count) for at, place, count in view.groups]
    columns = []
    weighed = {at: _weighed(supposed[at], asked[at], view.column) for at, _ in view.numbers}
    for at, place in view.numbers:
        mean, scale = scales[at, view.column, place]
        columns.append(np.nan_to_num((weighed[at][place] - mean) / scale, nan=0.0, posinf=0.0, neginf=0.0))
    persons = next(iter(prints.values())).person
    for begin in range(0, len(persons), BLOCK):
        within = slice(begin, begin + BLOCK)
        block = np.zeros((len(persons[within]), view.size))
        before = 0
        for partition, count in groups:
            rows = np.flatnonzero(partition[within] >= 0)
            block[rows, before + partition[within][rows]] = 1.0
            before += count
        for place, values in enumerate(columns):
            block[:, before + place] = values[within]
        yield persons[within], block


def _supposed(frame: Frame, view: View) -> Frame:
    """The table if everybody had this value in the column."""
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


def _numbered(asked: Sequence[Question]) -> list[tuple[int, str]]:
    """The questions and columns with such weights."""
    columns = list(dict.fromkeys(view.column for view in views(asked)))
    return [(at, column) for at, one in enumerate(asked) for column in columns if _weights(one, column)]


def _weighed(frame: Frame, question: Question, column: str) -> list[Array]:
    """Each of these weights for every row; NaN for rows that are not in the answer."""
    chosen = filter.seen(frame.numbered(np.arange(frame.rows)), question)
    if question["kind"] in ("glm", "cox"):
        cases = glm_fit.cases_of(chosen, question) if question["kind"] == "glm" else cox_fit.cases_of(chosen, question).cases
        weight = glm_fit.weight_of(cases, question)
        found = [cases.column(factors) * weight for factors in _weights(question, column)]
        return [_placed(values, cases.frame.persons, frame.rows) for values in found]
    present = chosen.present(column)
    rows = chosen.persons[present]
    return [_placed(chosen.numbers(other)[present], rows, frame.rows) for other in _weights(question, column)]


def _placed(values: Array, rows: NDArray[np.int64], count: int) -> Array:
    everywhere = np.full(count, np.nan)
    everywhere[rows] = values
    return everywhere
