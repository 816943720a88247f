"""The log-rank test of equal survival in groups (Peto and Peto, JRSS A 135, 1972), for times moved up to a grid.

One round counts who leaves when. The test follows the whole grid, up to the last time after which few are no longer observed
(time_grid.py). `observed` and `expected` events are told for each group, the latter rounded, so that they do not tell the order of events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, covariates, follow_up, refusal, time_grid
from pumasi.analysis.follow_up import Counted, Rows, columns_of, levels_of
from pumasi.analysis.kaplan_meier import ALL_OR_NONE
from pumasi.analysis.linear import factor
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

APART = Refusal("nothing-to-compare", "the groups are hardly ever at risk at the same time, so they cannot be compared")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """What a curve needs, and two groups at least."""
    reasons = follow_up.check(question, kinds, levels)
    if len(levels.get(question["by"], ())) == 1:
        reasons.append(f"'{question['by']}' has one agreed level only, so there is nothing to compare")
    return reasons


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the counts."""
    return np.array(follow_up.local(frame, question), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these counts may not be used: also where nobody or everybody of a group had the event."""
    counted = Counted.read(total, question)
    reasons = follow_up.refusals(counted, question, terms)
    if reasons:
        return reasons
    kept = _kept(counted, terms)
    if not kept:
        return [time_grid.COARSE]
    had = [sum(events[: kept[-1] + 1]) for events in counted.events]
    few = any(min(one, counted.people(group) - one) < terms.smallest_cell for group, one in enumerate(had))
    return [ALL_OR_NONE.about(question["event"])] if few else []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Done. `edges` is the last time, which the memory of releases needs."""
    counted = Counted.read(total, question)
    kept, by, present = _kept(counted, terms), question["by"], columns_of(question)
    observed, expected, variance = _tables(counted, kept[-1])
    differences = [seen - wanted for seen, wanted in zip(observed, expected, strict=True)]
    solver = factor([row[:-1] for row in variance[:-1]])
    if solver.dependent:
        return refusal.end(APART)
    told = f"{question['event']} by {question['grid'][kept[-1]]:g}"
    found, said = [], []
    for group, level in enumerate(levels_of(question)):
        whom = {by: str(level)}
        found.append({**whom, "n": counted.people(group), "observed": observed[group], "expected": round(expected[group], 2)})
        said.append({"who": whom, "present": present, "n": found[-1]["n"], "at": ["groups", group, "n"]})
        said.append({"who": {**whom, told: "yes"}, "present": present, "n": observed[group], "at": None})
    left = covariates.dropped(counted.everybody, counted.n, smallest_cell=terms.smallest_cell)
    said.append({"who": {}, "present": present, "n": counted.n, "at": ["n"]})
    if left is not None:
        said.append({"who": {}, "present": [], "n": counted.everybody, "at": ["dropped"]})
    times = question["grid"][: kept[-1] + 1]
    result: dict[str, Any] = {"n": counted.n, "dropped": left, "groups": found, "grid": times, "edges": times[-1:], "columns": present}
    result |= {"statistic": round(solver.quadratic(differences[:-1]), 4), "df": len(found) - 1}
    result |= checks.counted_as_one(question, question["event"])
    return {"step": "done", "result": result | {"time": question["time"], "event": question["event"], "said": said}}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: in each group who had the event by the last time, once that is known; before, the groups."""
    rows = Rows.of(frame, question)
    return [rows.had_by(question["edges"][-1]) if "edges" in question else rows.group]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [len(levels_of(question)) * (2 if "edges" in question else 1)]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """The p-value."""
    from scipy.special import chdtrc

    return {**result, "p": float(chdtrc(result["df"], result["statistic"]))}


def _kept(counted: Counted, terms: Terms) -> list[int]:
    events, censored = ([sum(column) for column in zip(*one, strict=True)] for one in (counted.events, counted.censored))
    return time_grid.merged(events, censored, smallest_cell=terms.smallest_cell)


def _tables(counted: Counted, last: int) -> tuple[list[int], list[float], list[list[float]]]:
    """Observed and expected events of each group and their covariance, added over the grid times (hypergeometric at each)."""
    size = len(counted.events)
    at_risk = [counted.people(group) for group in range(size)]
    observed, expected = [0] * size, [0.0] * size
    variance = [[0.0] * size for _ in range(size)]
    for place in range(last + 1):
        had = [events[place] for events in counted.events]
        everybody, events = sum(at_risk), sum(had)
        spread = events * (everybody - events) / (everybody - 1) if everybody > 1 else 0.0
        for i in range(size if events else 0):
            observed[i] += had[i]
            expected[i] += events * at_risk[i] / everybody
            for j in range(size):
                variance[i][j] += spread * at_risk[i] / everybody * ((i == j) - at_risk[j] / everybody)
        for group in range(size):
            at_risk[group] -= had[group] + counted.censored[group][place]
    return observed, expected, variance
