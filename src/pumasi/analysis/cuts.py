"""The number line cut into brackets that each hold at least the smallest cell of people, by bisection on counts.

A bracket is cut only where enough people lie on either side, and where it is cut depends on nothing that an asker can choose. So all
that quantiles, asked however often, can tell about the same people is the counts of these brackets. (Stopping as soon as the half with the
quantile is small would tell the small halves: where the answer changes with q, a rank is found out.) The outermost brackets are open:
neither minimum nor maximum is ever looked for. Edges belong to the left: a bracket is lower < x <= upper.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

MOST_CUTS = 44  # halvings of the first range: down to about 1e-10 standard deviations of a million people
MOST_TRIMS = 30
EXACT = 1e-7  # of a standard deviation: a bracket as narrow as that holds one value


@dataclass(frozen=True)
class Bracket:
    """Rows between two edges. A cut is still possible between `first` and `last`; on either side of these fewer people would be left.

    `near_lower` and `near_upper` lie between the edges with nobody outside of them.
    """

    lower: float | None
    upper: float | None
    below: int
    rows: int
    first: float
    last: float
    cuts: int = 0
    trims: int = 0
    near_lower: float | None = None
    near_upper: float | None = None

    @staticmethod
    def read(plain: dict[str, Any]) -> Bracket:
        return Bracket(**plain)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def middle(self) -> float:
        return self.first + (self.last - self.first) / 2

    def holds(self, rank: int) -> bool:
        """Whether the row with so many rows before it lies here."""
        return self.below <= rank < self.below + self.rows

    def joined(self, next: Bracket) -> Bracket:
        return Bracket(self.lower, next.upper, below=self.below, rows=self.rows + next.rows, first=self.first, last=next.last)

    def can_be_cut(self, smallest: int) -> bool:
        return self.rows >= 2 * smallest and self.cuts < MOST_CUTS and self.first < self.middle < self.last


def whole(*, rows: int, mean: float, squares: float) -> Bracket:
    """Everybody: no value is further from the mean than the square root of the squares (Samuelson's inequality, and a little)."""
    reach = math.sqrt(squares) * (1 + 1e-9)
    return Bracket(None, None, below=0, rows=rows, first=mean - reach, last=mean + reach)


def local_counts(frame: Frame, name: str, brackets: Sequence[Bracket]) -> list[float]:
    """For each bracket: rows up to its middle, people with such a row, and people with a row beyond it."""
    numbers = frame.numbers(name)
    if frame.one_row_each:
        ordered = np.sort(numbers[~np.isnan(numbers)])
        partial: list[float] = []
        for one in brackets:
            begin, middle, end = _places(ordered, one.lower, one.middle, one.upper)
            partial += [middle - begin, middle - begin, end - middle]
        return partial
    partial = []
    for one in brackets:
        left, right = _between(numbers, one.lower, one.middle), _between(numbers, one.middle, one.upper)
        partial += [int(np.count_nonzero(left)), frame.people(left), frame.people(right)]
    return partial


def cut(brackets: Sequence[Bracket], active: Sequence[int], reader: sums.Reader, *, smallest: int) -> list[Bracket]:
    """Each active bracket cut in its middle where enough people are on either side; otherwise it is tried elsewhere next time."""
    after: list[Bracket] = []
    for place, one in enumerate(brackets):
        if place not in active:
            after.append(one)
            continue
        rows, left, right = reader.count(), reader.count(), reader.count()
        at, cuts = one.middle, one.cuts + 1
        if left >= smallest and right >= smallest:
            after.append(replace(one, upper=at, rows=rows, last=at, cuts=cuts))
            after.append(replace(one, lower=at, below=one.below + rows, rows=one.rows - rows, first=at, cuts=cuts))
        elif left < smallest:
            after.append(replace(one, first=at, cuts=cuts))
        else:
            after.append(replace(one, last=at, cuts=cuts))
    return after


def local_ends(frame: Frame, name: str, brackets: Sequence[Bracket]) -> list[float]:
    """For each bracket whether there is a row here in what is to be trimmed off, on the left and on the right. No count."""
    numbers = frame.numbers(name)
    partial: list[float] = []
    for one in brackets:
        (lower, upper), (left, right) = _near(one), _to_trim(one)
        partial.append(_is_tried(one, lower) and bool(np.any(_between(numbers, lower, left))))
        partial.append(_is_tried(one, upper) and bool(np.any(_between(numbers, right, upper))))
    return partial


def trim(brackets: Sequence[Bracket], active: Sequence[int], reader: sums.Reader, *, spread: float) -> list[Bracket]:
    """Each active bracket drawn nearer to its rows, as long as one of the halves is empty.

    The outer edge of an outermost bracket is moved only where all its rows have one value: then many people share the extreme.
    """
    after = []
    for place, one in enumerate(brackets):
        if place not in active:
            after.append(one)
            continue
        (lower, upper), (left, right) = _near(one), _to_trim(one)
        some_left, some_right = reader.flag(), reader.flag()
        near_lower = left if _is_tried(one, lower) and not some_left else lower
        near_upper = right if _is_tried(one, upper) and not some_right else upper
        if near_lower is None or near_upper is None or near_upper - near_lower > EXACT * spread:
            near_lower = None if one.lower is None else near_lower
            near_upper = None if one.upper is None else near_upper
        moved = (near_lower, near_upper) != (lower, upper)
        trims = one.trims + 1 if moved or one.trims == 0 else MOST_TRIMS
        after.append(replace(one, near_lower=near_lower, near_upper=near_upper, trims=trims))
    return after


def _is_tried(one: Bracket, edge: float | None) -> bool:
    """Whether an edge may move: an open one once, to where the cuts ended; no bisection ever looks for an extreme."""
    return edge is not None or one.trims == 0


def can_be_trimmed(one: Bracket, *, spread: float) -> bool:
    lower, upper = _near(one)
    if one.trims >= MOST_TRIMS or (one.trims and lower is None and upper is None):
        return False
    return lower is None or upper is None or upper - lower > EXACT * spread


def ends(one: Bracket, *, spread: float) -> tuple[float | None, float | None]:
    """Between which values all its rows lie; None where it is open. One value, in as few digits as fit, where it holds but one."""
    lower, upper = _near(one)
    if lower is None or upper is None or upper - lower > EXACT * spread:
        return lower, upper
    middle = lower + (upper - lower) / 2
    fitting = (rounded for digits in range(-15, 18) if lower <= (rounded := round(middle, digits)) <= upper)
    value = next(fitting, middle)
    return value, value


def edges(brackets: Sequence[Bracket]) -> list[float]:
    """Where the line is cut, in order."""
    return [one.upper for one in brackets if one.upper is not None]


def group_of(numbers: NDArray[np.float64], cuts: Sequence[float]) -> NDArray[np.int64]:
    """The bracket of each row, -1 for missing values."""
    places = np.searchsorted(np.asarray(cuts, dtype=np.float64), numbers, side="left")
    return np.where(np.isnan(numbers), -1, places).astype(np.int64)


def labels(cuts: Sequence[float]) -> list[str]:
    """The brackets between these edges, in words."""
    if not cuts:
        return ["any"]
    texts = [f"{edge:.15g}" for edge in cuts]
    return [f"<= {texts[0]}", *(f"{one} to {other}" for one, other in itertools.pairwise(texts)), f"> {texts[-1]}"]


def _near(one: Bracket) -> tuple[float | None, float | None]:
    return (one.lower if one.near_lower is None else one.near_lower), (one.upper if one.near_upper is None else one.near_upper)


def _to_trim(one: Bracket) -> tuple[float, float]:
    """Up to where on the left and from where on the right: what the cuts left over, then half of what is left."""
    lower, upper = _near(one)
    if one.trims == 0:
        return one.first, one.last
    begin, end = one.first if lower is None else lower, one.last if upper is None else upper
    return begin + (end - begin) / 2, begin + (end - begin) / 2


def _between(numbers: NDArray[np.float64], lower: float | None, upper: float | None) -> NDArray[np.bool_]:
    inside = ~np.isnan(numbers)
    if lower is not None:
        inside &= numbers > lower
    if upper is not None:
        inside &= numbers <= upper
    return inside


def _places(ordered: NDArray[np.float64], lower: float | None, middle: float, upper: float | None) -> tuple[int, int, int]:
    begin = 0 if lower is None else int(np.searchsorted(ordered, lower, side="right"))
    end = len(ordered) if upper is None else int(np.searchsorted(ordered, upper, side="right"))
    return begin, int(np.searchsorted(ordered, middle, side="right")), end
