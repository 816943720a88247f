"""Bounds that askers set on one column of numbers: the same, or with the smallest cell of people between each two.

Who asks for "cost <= 9000", "cost <= 9500" and so on, and sees which are refused, would find the largest cost to the last digit, or the
tenth largest: whether nobody or a few lie between two bounds is an answer, too. So nobody counts as few, and bounds that were refused count
as asked; then no bound can be moved to where an answer changes (as in cuts.py). Of whole numbers "> 59" and ">= 60" are one bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import filter, sums
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from pumasi.analysis.frame import Frame

    Question = dict[str, Any]
    Bound = tuple[float, bool]  # a value, and whether those who have it lie below

TOO_NEAR = Refusal(
    "remembered-difference",
    "between two bounds that are set on '{}', here or in an earlier analysis, lie too few people or nobody; set bounds, edges and times "
    "of earlier analyses, or some that are further from them",
)


def pairs(asked: Sequence[Question]) -> list[tuple[str, Bound, Bound]]:
    """Neighbours of which one is new, or both are and stand in the condition: a list is put together until enough lie between."""
    named, listed = _named(asked[0]), _listed(asked[0])
    found = []
    for name in sorted({*named, *listed}):
        mine = named.get(name, set()) | listed.get(name, set())
        old = set().union(*(_named(one).get(name, set()) | _listed(one).get(name, set()) for one in asked[1:]))
        for low, high in itertools.pairwise(sorted(mine | old)):
            new = [one for one in (low, high) if one not in old]
            if (len(new) == 1 and {low, high} & mine) or (len(new) == 2 and {low, high} <= named.get(name, set())):
                found.append((name, low, high))
    return found


def _named(question: Question) -> dict[str, set[Bound]]:
    """Those of the condition."""
    found: dict[str, set[Bound]] = {}
    for one in filter.comparisons(question["filter"]) if "filter" in question else ():
        found.setdefault(one["column"], set()).add((float(one["value"]), one["is"] in ("<=", ">")))
    return found


def _listed(question: Question) -> dict[str, set[Bound]]:
    """Those of a grid of times, or of the edges of a histogram that no data chose."""
    if "grid" in question:
        return {question["time"]: {(float(time), True) for time in question["grid"]}}
    if question["kind"] == "histogram" and "edges" in question and not question.get("found"):
        return {question["column"]: {(float(edge), False) for edge in question["edges"][1:-1]}}
    return {}


def local(frame: Frame, asked: Sequence[Question]) -> list[float]:
    """Of each two the people between them, whatever else is asked about them; then whether the column has fractions here."""
    partial: list[float] = []
    for name, low, high in pairs(asked):
        numbers = frame.numbers(name)
        known = ~np.isnan(numbers)
        between = known & _above(numbers, low) & ~_above(numbers, high)
        partial += [frame.people(between), bool(np.any(known & (numbers != np.floor(numbers))))]
    return partial


def _above(numbers: Any, bound: Bound) -> Any:
    value, below = bound
    with np.errstate(invalid="ignore"):
        return numbers > value if below else numbers >= value


def refusals(total: Sequence[float], asked: Sequence[Question], *, smallest: int) -> list[Refusal]:
    """A sentence for each column with two bounds that are too near each other."""
    reader, reasons = sums.Reader(total), []
    for name, low, high in pairs(asked):
        people, whole = reader.count(), not reader.flag()
        if people < smallest and not (whole and _first_above(low) == _first_above(high)):
            reasons.append(TOO_NEAR.about(name))
    reader.end()
    return list(dict.fromkeys(reasons))


def _first_above(bound: Bound) -> int:
    """The least whole number that is not below."""
    value, below = bound
    return math.floor(value) + 1 if below else math.ceil(value)
