"""Survival curves on a grid of times (Kaplan and Meier, JASA 53, 1958): what they are for times moved up to the grid.

One round counts who leaves when. The curve follows the whole grid, but is told only at those times between which nobody leaves as one of
few (time_grid.py), and to four decimals, so that it does not tell the order within. Standard errors after Greenwood, 95 % bands on the
scale of log(-log S), as lifelines and R's conf.type = "log-log". Numbers at risk stand at the beginning of each interval.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, covariates, follow_up, time_grid
from pumasi.analysis.follow_up import Counted, Rows, check, columns_of, levels_of
from pumasi.analysis.inference import Z
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]

DECIMALS = 4
ALL_OR_NONE = Refusal(
    "class-disclosure", "within these times nearly everybody or nearly nobody of a group had '{}', which would tell it of each of them"
)


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the counts."""
    return np.array(follow_up.local(frame, question), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these counts may not be used: also where a group leaves no curve, or a curve that tells of everybody."""
    counted = Counted.read(total, question)
    reasons = follow_up.refusals(counted, question, terms)
    for group in range(len(counted.events)) if not reasons else ():
        kept = _kept(counted, group, terms)
        had = sum(counted.events[group][: kept[-1] + 1]) if kept else 0
        if not kept:
            reasons.append(time_grid.COARSE)
        elif min(had, counted.people(group) - had) < terms.smallest_cell:
            reasons.append(ALL_OR_NONE.about(question["event"]))
    return list(dict.fromkeys(reasons))


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Done, with a curve of each group. `edges` are its times, which the memory of releases needs."""
    counted, levels = Counted.read(total, question), levels_of(question)
    curves: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for group, level in enumerate(levels):
        kept = _kept(counted, group, terms)
        points = _points(counted, group, [question["grid"][place] for place in kept], kept)
        whom: dict[str, str] = {} if level is None else {question["by"]: level}
        curves.append(whom | {"n": counted.people(group), "events": sum(point["events"] for point in points), "points": points})
        told = f"{question['event']} by {question['grid'][kept[-1]]:g}"
        present = columns_of(question)
        said.append({"who": whom, "present": present, "n": curves[-1]["n"], "at": ["curve", group, "n"]})
        said.append({"who": {**whom, told: "yes"}, "present": present, "n": curves[-1]["events"], "at": None})
    left = covariates.dropped(counted.everybody, counted.n, smallest_cell=terms.smallest_cell)
    said.append({"who": {}, "present": columns_of(question), "n": counted.n, "at": ["n"]})
    if left is not None:
        said.append({"who": {}, "present": [], "n": counted.everybody, "at": ["dropped"]})
    result: dict[str, Any] = {"n": counted.n, "dropped": left, "curve": [curve | _median(curve["points"]) for curve in curves]}
    result |= {"time": question["time"], "event": question["event"], "columns": columns_of(question), "said": said}
    result |= checks.counted_as_one(question, question["event"])
    edges = {str(group): [point["time"] for point in curve["points"]] for group, curve in enumerate(curves)}
    return {"step": "done", "result": result | {"edges": edges}}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: group, interval and event, once the intervals are known; before, the groups."""
    rows = Rows.of(frame, question)
    if "edges" not in question:
        return [rows.group]
    cells, before = np.full(frame.rows, -1, dtype=np.int64), 0
    for group, times in _edges(question):
        here = rows.group == group
        place = time_grid.places(rows.time[here], times)
        seen = (rows.event[here] == 1) & (place < len(times))
        cells[here] = before + 2 * place + seen
        before += 2 * len(times) + 1  # after the last time nobody is seen to have the event
    return [cells]


def group_counts(question: dict[str, Any]) -> list[int]:
    if "edges" not in question:
        return [len(levels_of(question))]
    return [sum(2 * len(times) + 1 for _, times in _edges(question))]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Nothing is left to add."""
    return result


def _edges(question: dict[str, Any]) -> list[tuple[int, list[float]]]:
    return [(group, question["edges"][str(group)]) for group in range(len(levels_of(question)))]


def _kept(counted: Counted, group: int, terms: Terms) -> list[int]:
    return time_grid.merged(counted.events[group], counted.censored[group], smallest_cell=terms.smallest_cell)


def _points(counted: Counted, group: int, times: list[float], kept: list[int]) -> list[dict[str, Any]]:
    """The curve at the end of each interval, after the number at risk at its beginning."""
    at_risk, survival, greenwood, points, before = counted.people(group), 1.0, 0.0, [], 0
    for time, place in zip(times, kept, strict=True):
        begin, events, censored = at_risk, counted.events[group][before : place + 1], counted.censored[group][before : place + 1]
        for had, left in zip(events, censored, strict=True):
            if had:
                survival *= 1 - had / at_risk
                greenwood += had / (at_risk * (at_risk - had)) if had < at_risk else math.inf
            at_risk -= had + left
        point = {"time": time, "at_risk": begin, "events": sum(events), "censored": sum(censored), "survival": round(survival, DECIMALS)}
        points.append(point | _band(survival, greenwood))
        before = place + 1
    return points


def _band(survival: float, greenwood: float) -> dict[str, Any]:
    """Standard error and 95 % band; no band where the curve has reached zero."""
    if not 0 < survival < 1:
        return {"standard_error": 0.0 if survival == 1 else None, "lower": survival or None, "upper": survival or None}
    wide = Z * math.sqrt(greenwood) / abs(math.log(survival))
    found = {
        "standard_error": survival * math.sqrt(greenwood),
        "lower": survival ** math.exp(wide),
        "upper": survival ** math.exp(-wide),
    }
    return {key: round(value, DECIMALS) for key, value in found.items()}


def _median(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The first time by which half of a group has had the event, and where its band crosses the half; None where that is not reached."""

    def first(key: str) -> float | None:
        return next((point["time"] for point in points if point[key] is not None and point[key] <= 0.5), None)

    return {"median": first("survival"), "median_lower": first("lower"), "median_upper": first("upper")}
