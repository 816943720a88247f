"""Who is followed up until when, in one round: people of each group who leave at each time of a grid, with the event or without it.

Shared by survival curves and the log-rank test. Counts are of people, so nobody may have two rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, sums, time_grid
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_CELLS = 20_000  # groups times grid times, twice: what is counted

REPEATED = Refusal("several-rows", "somebody has several rows with a time; keep one row of each person with 'where'")
NO_EVENT = Refusal("invalid-values", "the event '{}' must be zero or one, or one of its two levels")
NEGATIVE = Refusal("invalid-values", "'{}' holds follow-up times below zero; correct the file")
SMALL = Refusal("smallest-cell", "fewer people than the smallest cell allows have a time and an event")
SMALL_GROUP = Refusal(
    "smallest-cell", "a group of '{}' is of fewer people than the smallest cell allows; merge levels, or leave it out with 'where'"
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers for times, zero or one for events, levels for groups, increasing times for the grid; different columns."""
    time, event, by = question["time"], question["event"], question.get("by")
    reasons = [*checks.numbers([time], kinds), *time_grid.reasons(question["grid"]), *checks.apart(time, event)]
    reasons += checks.zero_and_one("event", event, kinds, levels)
    if by is not None:
        reasons += [*checks.levels([by], levels), *checks.apart(time, by), *checks.apart(event, by)]
        if 2 * len(levels.get(by, ())) * len(question["grid"]) > MOST_CELLS:
            reasons.append("so many groups at so many times are too much to count; give fewer times")
    return reasons


def levels_of(question: dict[str, Any]) -> list[str | None]:
    """The groups; None stands for everybody."""
    return list(question["levels"][question["by"]]) if "by" in question else [None]


def columns_of(question: dict[str, Any]) -> list[str]:
    return sorted({question["time"], question["event"], *([question["by"]] if "by" in question else [])})


@dataclass(frozen=True)
class Rows:
    """The complete cases of one hospital: group, time and event of each row; group -1 is none of them."""

    group: NDArray[np.int64]
    time: NDArray[np.float64]
    event: NDArray[np.float64]

    @staticmethod
    def of(frame: Frame, question: dict[str, Any]) -> Rows:
        time, event = frame.numbers(question["time"]), frame.numbers(question["event"])
        group = (
            frame.codes(question["by"], question["levels"][question["by"]]) if "by" in question else np.zeros(frame.rows, dtype=np.int64)
        )
        return Rows(np.where(np.isnan(time) | np.isnan(event), -1, group), time, event)

    def had_by(self, last: float) -> NDArray[np.int64]:
        """2 * group, and 1 more for those who had the event by a time."""
        return np.where(self.group < 0, -1, 2 * self.group + ((self.event == 1) & (self.time <= last))).astype(np.int64)


def local(frame: Frame, question: dict[str, Any]) -> list[float]:
    """Everybody; flags; for each group its exits."""
    rows = Rows.of(frame, question)
    present = rows.group >= 0
    outside = "by" in question and bool(np.any(frame.codes(question["by"], question["levels"][question["by"]]) == OUTSIDE))
    partial: list[float] = [
        frame.people(np.ones(frame.rows, dtype=bool)),
        frame.people(present) < int(present.sum()),
        sums.too_large(rows.time[present]),
        bool(np.any((rows.event[present] != 0) & (rows.event[present] != 1))),
        bool(np.any(rows.time[present] < 0)),
        outside,
    ]
    place = time_grid.places(rows.time, question["grid"])
    for number in range(len(levels_of(question))):
        here = np.where(rows.group == number, place, -1)
        partial += time_grid.exits(frame, here, rows.event == 1, size=len(question["grid"]))
    return partial


@dataclass(frozen=True)
class Counted:
    """Everybody, what was flagged, and for each group how many leave at each grid time and after it, with the event and without."""

    everybody: int
    flags: dict[str, bool]
    events: list[list[int]]
    censored: list[list[int]]

    @staticmethod
    def read(total: Sequence[float], question: dict[str, Any]) -> Counted:
        reader, size = sums.Reader(total), len(question["grid"]) + 1
        everybody = reader.count()
        flags = {key: reader.flag() for key in ("repeated", "too_large", "no_event", "negative", "outside")}
        groups = [[[reader.count() for _ in range(size)] for _ in range(2)] for _ in levels_of(question)]
        reader.end()
        return Counted(everybody, flags, [had for had, _ in groups], [left for _, left in groups])

    def people(self, group: int) -> int:
        return sum(self.events[group]) + sum(self.censored[group])

    @property
    def n(self) -> int:
        return sum(self.people(group) for group in range(len(self.events)))


def refusals(counted: Counted, question: dict[str, Any], terms: Terms) -> list[Refusal]:
    """What no grid can help: values that are no times or events, people with several rows, groups of few people."""
    said = {
        "repeated": REPEATED,
        "too_large": checks.TOO_LARGE.about(question["time"]),
        "no_event": NO_EVENT.about(question["event"]),
        "negative": NEGATIVE.about(question["time"]),
        "outside": checks.OUTSIDE.about(str(question.get("by"))),
    }
    reasons = [sentence for key, sentence in said.items() if counted.flags[key]]
    if any(counted.people(group) < terms.smallest_cell for group in range(len(counted.events))):
        reasons.append(SMALL_GROUP.about(question["by"]) if "by" in question else SMALL)
    return reasons
