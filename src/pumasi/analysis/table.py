"""People per cell of one to six columns, over the rows that have a value in each. One step.

The counts of the result are raw: the suppression that follows treats them together with every other count of the project. Per cents and
Pearson's chi-square come last, from the counts that are still there: the last column of `by` is across, the one before it down, and
each combination of the others is a table of its own (a stratum).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, inference
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_COLUMNS = 6
SMALL_FOR_THE_OTHER = Refusal(
    "two-hospitals",
    "with two hospitals each one sees the other's counts, and a cell of this table is of fewer people than the smallest cell allows",
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """One to six columns with levels, and not too many cells."""
    by = question["by"]
    if len(by) > MOST_COLUMNS:
        return [f"a table counts by one to {MOST_COLUMNS} columns"]
    return checks.levels(by, levels) + checks.cells(math.prod(max(1, len(levels.get(name, ()))) for name in by))


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """People with all values; whether people have several rows; whether a column holds a value nobody agreed to; people per cell."""
    by = question["by"]
    flags = [float(np.any(frame.codes(name, question["levels"][name]) == OUTSIDE)) for name in by]
    present = np.logical_and.reduce([frame.present(name) for name in by])
    counts = frame.people_per(_cell_of(frame, question), count=_cells(question))
    return np.array([frame.people(present), not frame.one_row_each, *flags, *counts], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used: a value that nobody agreed to. Small counts are suppressed, not refused.

    Between two hospitals each could subtract its own counts from the total, so there a small one refuses the analysis.
    """
    _, _, outside, counts = _read(total, question)
    reasons = [checks.OUTSIDE.about(name) for name in outside]
    if terms.hospitals == 2 and any(0 < count < terms.smallest_cell for count in counts):
        reasons.append(SMALL_FOR_THE_OTHER)
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Step "done" with the result."""
    by = question["by"]
    people, repeated, _, counts = _read(total, question)
    combinations = itertools.product(*(question["levels"][name] for name in by))
    cells = [dict(zip(by, levels, strict=True)) | {"n": count} for levels, count in zip(combinations, counts, strict=True)]
    told = {"repeated_people": True} if repeated else {}
    return {"step": "done", "result": {"n": people, "cells": cells, **told}}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: the cells."""
    return [_cell_of(frame, question)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [_cells(question)]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`percent`: of each cell in its table, row and column, in the order of `cells`. `tests`: chi-square of each table of two columns.

    A per cent is of people; where people are in several cells these add up to more than 100, and nothing is tested.
    """
    cells, by = result["cells"], result["by"]
    counts = [cell["n"] for cell in cells]
    keys = {
        "total": [tuple(cell[name] for name in by[:-2]) for cell in cells],
        "row": [tuple(cell[name] for name in by[:-1]) for cell in cells],
        "column": [tuple(cell[name] for name in (*by[:-2], *by[-1:])) for cell in cells],
    }
    kinds = ("total",) if len(by) == 1 else ("total", "row", "column")
    percent = {kind: _shares(counts, keys[kind]) for kind in kinds}
    if len(by) < 2:
        return {**result, "percent": percent}
    once = result["n"] is not None and None not in counts and sum(counts) == result["n"]
    found = []
    for stratum in dict.fromkeys(keys["total"]):
        inside = [place for place, key in enumerate(keys["total"]) if key == stratum]
        rows = dict.fromkeys(keys["row"][place] for place in inside)
        square = [[counts[place] for place in inside if keys["row"][place] == row] for row in rows]
        found.append({**dict(zip(by[:-2], stratum, strict=True)), **inference.chi_square(square if once else [])})
    return {**result, "percent": percent, "tests": found}


def _shares(counts: list[int | None], keys: list[tuple[Any, ...]]) -> list[float | None]:
    """Each count in per cent of all with the same key; None where one of these is left out."""
    wholes: dict[tuple[Any, ...], int | None] = {}
    for count, key in zip(counts, keys, strict=True):
        before = wholes.get(key, 0)
        wholes[key] = None if before is None or count is None else before + count
    shares = []
    for count, key in zip(counts, keys, strict=True):
        whole = wholes[key]
        shares.append(100 * count / whole if count is not None and whole else None)
    return shares


def _cells(question: dict[str, Any]) -> int:
    return math.prod(len(question["levels"][name]) for name in question["by"])


def _cell_of(frame: Frame, question: dict[str, Any]) -> NDArray[np.int64]:
    """The cell of each row, -1 where it is in none."""
    codes = [frame.codes(name, question["levels"][name]) for name in question["by"]]
    cell = np.zeros(frame.rows, dtype=np.int64)
    for name, code in zip(question["by"], codes, strict=True):
        cell = cell * len(question["levels"][name]) + code
    cell[np.logical_or.reduce([code < 0 for code in codes])] = -1
    return cell


def _read(total: Sequence[float], question: dict[str, Any]) -> tuple[int, bool, list[str], list[int]]:
    reader = Reader(total)
    people, repeated = reader.count(), reader.flag()
    outside = [name for name in question["by"] if reader.flag()]
    counts = [reader.count() for _ in range(_cells(question))]
    reader.end()
    return people, repeated, outside, counts
