"""People per cell of one or two columns, over the rows that have a value in each. One step.

The counts of the result are raw: the suppression that follows treats them together with every other count of the project.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """People with all values; whether people have several rows; whether a column holds a value nobody agreed to; people per cell."""
    by, levels = question["by"], question["levels"]
    codes = [frame.codes(name, levels[name]) for name in by]
    flags = [float(np.any(code == OUTSIDE)) for code in codes]
    present = np.logical_and.reduce([frame.present(name) for name in by])
    cell = np.zeros(frame.rows, dtype=np.int64)
    for name, code in zip(by, codes, strict=True):
        cell = cell * len(levels[name]) + code
    cell[np.logical_or.reduce([code < 0 for code in codes])] = -1
    counts = frame.people_per(cell, count=_cells(question))
    return np.array([frame.people(present), not frame.one_row_each, *flags, *counts], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[str]:
    """Why these totals may not be used: a value that nobody agreed to. Small counts are suppressed, not refused.

    Between two hospitals each could subtract its own counts from the total, so there a small one refuses the analysis.
    """
    _, _, outside, counts = _read(total, question)
    reasons = [f"'{name}' holds a value that the permits do not name as a level" for name in outside]
    if terms.hospitals == 2 and any(0 < count < terms.smallest_cell for count in counts):
        reasons.append(
            "with two hospitals each one sees the other's counts, and a cell of this table is of fewer people than the smallest cell allows"
        )
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Step "done" with the result."""
    people, repeated, _, counts = _read(total, question)
    combinations = itertools.product(*(question["levels"][name] for name in question["by"]))
    cells = [dict(zip(question["by"], levels, strict=True)) | {"n": count} for levels, count in zip(combinations, counts, strict=True)]
    told = {"repeated_people": True} if repeated else {}
    return {"step": "done", "result": {"n": people, "cells": cells, **told}}


def _cells(question: dict[str, Any]) -> int:
    return int(np.prod([len(question["levels"][name]) for name in question["by"]]))


def _read(total: Sequence[float], question: dict[str, Any]) -> tuple[int, bool, list[str], list[int]]:
    reader = Reader(total)
    people, repeated = reader.count(), reader.flag()
    outside = [name for name in question["by"] if reader.flag()]
    counts = [reader.count() for _ in range(_cells(question))]
    reader.end()
    return people, repeated, outside, counts
