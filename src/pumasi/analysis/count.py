"""How many people a condition holds for. One step, one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis.refusal import Refusal
from pumasi.analysis.sums import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

SMALL_FOR_THE_OTHER = Refusal(
    "two-hospitals", "with two hospitals each one sees the other's count, and here are fewer people than the smallest cell allows"
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Nothing can be wrong with it: it names no column of its own."""
    return []


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """People, and whether somebody has several rows."""
    return np.array([frame.people(np.ones(frame.rows, dtype=bool)), not frame.one_row_each], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """A small count is suppressed, not refused, unless each of two hospitals would see the other's."""
    people, _ = _read(total)
    if terms.hospitals == 2 and 0 < people < terms.smallest_cell:
        return [SMALL_FOR_THE_OTHER]
    return []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Step "done" with the result."""
    people, repeated = _read(total)
    told = {"repeated_people": True} if repeated else {}
    return {"step": "done", "result": {"n": people, "said": [{"who": {}, "present": [], "n": people, "at": ["n"]}], **told}}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One group of everybody."""
    return [np.zeros(frame.rows, dtype=np.int64)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [1]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Nothing follows from a count."""
    return result


def _read(total: Sequence[float]) -> tuple[int, bool]:
    reader = Reader(total)
    people, repeated = reader.count(), reader.flag()
    reader.end()
    return people, repeated
