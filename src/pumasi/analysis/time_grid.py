"""Follow-up times on a grid, coarse enough that nobody leaves alone.

A time counts as the first grid time that is not before it. Neighbouring grid times are taken together until in each interval those who had
the event are nobody or at least `smallest_cell` people, those who left without it as well, and one of them is somebody; times after the
last grid time count as still under observation there. Exact times would single out most people (shared facts: 57-97 % of a hospital's).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

COARSE = Refusal(
    "grid-too-fine", "on this grid too few people leave between any two times; give fewer and wider times, or choose a larger group"
)


def reasons(grid: Sequence[float]) -> list[str]:
    """Why these are no increasing times."""
    rising = all(one < other for one, other in itertools.pairwise(grid))
    return [] if rising and grid and grid[0] > 0 else ["'grid' lists increasing times above zero"]


def places(time: NDArray[np.float64], grid: Sequence[float]) -> NDArray[np.int64]:
    """The place of each time in the grid; its length for what comes after the last."""
    return np.searchsorted(np.array(grid, dtype=np.float64), time, side="left").astype(np.int64)


def exits(frame: Frame, place: NDArray[np.int64], event: NDArray[np.bool_], *, size: int) -> list[float]:
    """People with the event, then without it, at each place of a grid of this size and after it. -1 is in none."""
    had = frame.people_per(np.where(event, place, -1), count=size + 1)
    left = frame.people_per(np.where(event, -1, place), count=size + 1)
    return [*had.tolist(), *left.tolist()]


def merged(events: Sequence[int], censored: Sequence[int], *, smallest_cell: int) -> list[int]:
    """The places of the grid times that stay; none where no two could. Both counts have an entry for after the grid."""

    def whole(count: int) -> bool:
        return count == 0 or count >= smallest_cell

    def fits(had: int, left: int) -> bool:
        return whole(had) and whole(left) and had + left > 0

    # 1. those after the last time must not be few either: it moves to where they are not
    last = len(events) - 1
    after = events[last] + censored[last]
    while last > 0 and not whole(after):
        last -= 1
        after += events[last] + censored[last]
    # 2. close an interval as soon as it may be closed
    found: list[tuple[int, int, int]] = []
    had = left = 0
    for place in range(last):
        had, left = had + events[place], left + censored[place]
        if fits(had, left):
            found.append((place, had, left))
            had = left = 0
    # 3. what is left over joins the intervals before it
    if had + left > 0:
        while found and not fits(had, left):
            _, before, gone = found.pop()
            had, left = had + before, left + gone
        if fits(had, left):
            found.append((last - 1, had, left))
    return [place for place, _, _ in found]


def coarse(place: NDArray[np.int64], kept: Sequence[int]) -> NDArray[np.int64]:
    """The interval of each place; as many as there are intervals for what comes after the last."""
    return np.searchsorted(np.array(kept, dtype=np.int64), place, side="left").astype(np.int64)
