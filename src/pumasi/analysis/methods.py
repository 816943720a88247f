"""The catalogue of federated methods, and how the nodes agree on each other's steps.

Every method is a handful of functions over one state. Each round every hospital adds `local(frame, question, state)` to one sum; `refusals`
judges the sum, and `advance` turns it into the next state, until its step is "done". Everybody computes the state; where two differ, the
lead sends its own. `advance` rounds in plain Python, or element by element (linear.py): the same bits, whatever a machine's libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pumasi.analysis import (
    anova,
    brier,
    calibration,
    correlation,
    count,
    cox,
    describe,
    glm,
    histogram,
    kaplan_meier,
    logrank,
    meta,
    quantiles,
    roc,
    table,
    table1,
    ttest,
)
from pumasi.analysis.frame import Terms
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

__all__ = ["KINDS", "Method", "Terms", "agree"]


class Method(Protocol):
    """Both halves of one method. Pure: no files, no clock, no chance; the same total gives every node the same state."""

    def check(self, question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
        """Why a question in the form of its kind (forms.py) cannot be answered from these columns; nothing is taken on its word."""
        ...

    def start(self, question: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The fixed first state, which nobody can choose."""
        ...

    def local(self, frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
        """What this hospital adds to the sum of this step. Its length depends on question and state, never on the data."""
        ...

    def refusals(self, total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
        """Why this total may not be used, without any number from the data; empty means it may."""
        ...

    def advance(self, total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The next state. Its step is "done" when it carries `result`, or the reasons of `refusal.end`."""
        ...

    def groups(self, frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
        """Whom the answer is about, for the memory of releases (memory.py): partitions of the rows into the groups whose numbers are
        published. One array per partition with the group of each row; negative is in none."""
        ...

    def group_counts(self, question: dict[str, Any]) -> list[int]:
        """How many groups each of these partitions has; from the question alone."""
        ...

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """What follows from the published numbers, once small counts are gone: per cents, tests, areas. None where a part is missing."""
        ...


KINDS: Mapping[str, Method] = {
    "count": count, "describe": describe, "table": table, "table1": table1, "histogram": histogram, "quantiles": quantiles,
    "correlation": correlation, "ttest": ttest, "anova": anova,
    "glm": glm, "cox": cox, "kaplan_meier": kaplan_meier, "logrank": logrank, "meta": meta,
    "roc": roc, "calibration": calibration, "brier": brier,
}  # fmt: skip


def agree(mine: Any, theirs: Any, tolerance: float = 1e-9) -> bool:
    """Whether two states are the same: numbers to a relative tolerance, everything else exactly.

    1 and 1.0 are the same number, because canonical JSON writes both as 1.
    """
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(agree(mine[key], theirs[key], tolerance) for key in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(agree(one, other, tolerance) for one, other in zip(mine, theirs, strict=True))
    if isinstance(mine, bool) or isinstance(theirs, bool) or not (isinstance(mine, int | float) and isinstance(theirs, int | float)):
        return type(mine) is type(theirs) and bool(mine == theirs)
    return mine == theirs or abs(mine - theirs) <= tolerance * max(abs(mine), abs(theirs))
