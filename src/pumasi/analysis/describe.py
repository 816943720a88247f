"""Each column of a table by itself: how many people have a value, how many lack one, mean and sd of numbers, people per level of the rest.

Final here: a column of fewer than `smallest_cell` people loses its numbers; where fewer lack a value, `n` and `missing` go; a mean or sd
that would tell one person's value, or how many have which of two values, goes too and is named in `findings`. The table's `n` and the
counts per level come out raw, for the suppression that follows and knows all other counts of the project. Steps: summaries.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import summaries
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Any columns can be described."""
    return []


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return summaries.start()


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    everybody = np.ones(frame.rows, dtype=bool)
    return np.array(summaries.local(frame, _plan(question), state, [everybody]), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    return summaries.refusals(total, _plan(question), state, terms)


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    after = summaries.advance(total, _plan(question), state, terms)
    if after["step"] != "done":
        return after
    (everybody,) = after["groups"]
    result = everybody | ({"repeated_people": True} if after["repeated"] else {})
    return {"step": "done", "result": result | ({"findings": [str(one) for one in after["findings"]]} if after["findings"] else {})}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition per column: its levels, or who has a value."""
    return [
        frame.codes(name, levels) if levels else np.where(frame.present(name), 0, -1).astype(np.int64)
        for name, levels in _plan(question).columns.items()
    ]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [max(1, len(levels)) for levels in _plan(question).columns.values()]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Nothing follows from a description."""
    return result


def _plan(question: dict[str, Any]) -> summaries.Plan:
    return summaries.Plan.of(question, question["columns"])
