"""What every model is asked before its first sum: who is on which side of each column, and what centres and scales the columns.

Three rounds: people with a value other than zero, before anything is added up; then means; then people on each side of the mean, and
squares about it. With folds of a cross-validation each of them is judged like a study of its own, because its sums are the difference
of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import refusal, sums
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame
    from pumasi.analysis.matrix import Cases

LEAST_RESIDUAL = 10  # degrees of freedom that a model must leave: a saturated model is its data
PEOPLE_PER_PARAMETER = 10
NOBODY = Refusal("smallest-cell", "nobody has a value in every column of the model")
TOO_FEW = Refusal("smallest-cell", "fewer people than the smallest cell allows have a value in every column of the model")
MANY_PARAMETERS = Refusal(
    "too-many-parameters", "the model has more than one parameter for every ten people; leave columns out or merge levels"
)
FEW_DEGREES = Refusal(
    "few-degrees-of-freedom", "the model leaves fewer than ten degrees of freedom; it needs more people, or fewer columns"
)
ONE_SIDED = Refusal("small-side", "fewer people than the smallest cell allows are on one side of '{}'; merge levels, or leave it out")
ONE_SIDED_FOLD = Refusal(
    "small-side",
    "in a fold of the cross-validation fewer people than the smallest cell allows are on one side of '{}'; "
    "give 'ridge' a number, or leave the column out",
)
FLAT = Refusal("constant-column", "'{}' has the same value for everybody; leave it out")
LED = Refusal(
    "dominance", "one person lies so far out in '{}' that the model would tell that person's outcome; leave such values out with 'where'"
)
TOO_LARGE = Refusal("beyond-measure", "a column of the model holds values beyond anything that is measured; correct the file")


def predictors(design: dict[str, Any]) -> list[dict[str, Any]]:
    return [column for column in design["columns"] if column["factors"]]


def values(cases: Cases, design: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Each design column but the intercept."""
    return [cases.column(column["factors"]) for column in predictors(design)]


def folds(persons: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The fold of each row: a hash of its person, so that nobody is in two and no chance is involved (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = persons.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return np.asarray(mixed % np.uint64(count), dtype=np.int64)


def size_refusals(*, people: int, parameters: int, smallest_cell: int) -> list[Refusal]:
    """Too few people for an answer of this many parameters."""
    reasons = []
    if people == 0:
        return [NOBODY]
    if people < smallest_cell:
        reasons.append(TOO_FEW)
    if PEOPLE_PER_PARAMETER * parameters > people:
        reasons.append(MANY_PARAMETERS)
    elif people - parameters < LEAST_RESIDUAL:
        reasons.append(FEW_DEGREES)
    return reasons


@dataclass(frozen=True)
class Sides:
    """Of one column: people above its mean and not above it, in all and in each fold, and the sum of squares about it."""

    above: list[int]
    below: list[int]
    squares: float

    def few(self, smallest_cell: int) -> bool:
        """In all of the rows, which come first."""
        return min(self.above[0], self.below[0]) < smallest_cell

    def few_in_a_fold(self, smallest_cell: int) -> bool:
        return min([*self.above, *self.below]) < smallest_cell


def local_sides(frame: Frame, column: NDArray[np.float64], mean: float, fold: NDArray[np.int64], count: int) -> list[float]:
    """`fold` is one number per row, 0 .. count - 1; with count 0 there are no folds."""
    above = column > mean
    partial: list[float] = [frame.people(above), frame.people(~above), *sums.wide((column - mean) ** 2)]
    for number in range(count):
        inside = fold == number
        partial += [frame.people(above & inside), frame.people(~above & inside)]
    return partial


def read_sides(reader: sums.Reader, count: int) -> Sides:
    above, below, squares = [reader.count()], [reader.count()], reader.squares()
    for _ in range(count):
        above.append(reader.count())
        below.append(reader.count())
    return Sides(above=above, below=below, squares=squares)


def side_refusals(names: Sequence[str], sides: Sequence[Sides], *, smallest_cell: int) -> list[Refusal]:
    """A sentence for each column that has too few people on one side, in all or in a fold."""
    reasons = [ONE_SIDED.about(name) for name, side in zip(names, sides, strict=True) if side.few(smallest_cell)]
    reasons += [
        ONE_SIDED_FOLD.about(name)
        for name, side in zip(names, sides, strict=True)
        if not side.few(smallest_cell) and side.few_in_a_fold(smallest_cell)
    ]
    return reasons


def scale(squares: float, *, rows: int, mean: float = 0.0) -> float:
    """Root mean square about the centre that is used: the mean, or zero in a model without an intercept."""
    return math.sqrt(squares / rows + mean * mean)


def penalty(ridge: float, scales: Sequence[float], question: dict[str, Any]) -> list[float]:
    """The ridge on the square of each coefficient of the columns as they are fitted: centred and divided by these scales."""
    return [ridge / (float(one) ** 2 if question.get("ridge_on") == "columns" else 1.0) for one in scales]


def flat(names: Sequence[str]) -> dict[str, Any]:
    return refusal.end(*(FLAT.about(name) for name in names))


def dropped(everybody: int, complete: int, *, smallest_cell: int) -> int | None:
    """How many people are left out for a missing value; None where they are few, but not nobody."""
    left = everybody - complete
    return None if 0 < left < smallest_cell else left
