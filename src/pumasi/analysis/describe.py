"""Each column of a table by itself: how many people have a value, how many lack one, mean and sd of numbers, people per level of the rest.

Three steps: count; the mean of those number columns that enough people have; squares about that mean. So large values keep their digits and
no sum over too few people is ever opened. Mean and sd are over rows, all else counts people: who has a value in one row has one.

Final here: a column of fewer than `smallest_cell` people loses its numbers; where fewer lack a value, `n` and `missing` go. The table's `n`
and the counts per level come out raw, for the suppression that follows and knows all other counts of the project.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import sums
from pumasi.analysis.frame import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    partial: list[float] = []
    match state["step"]:
        case "count":
            partial += [frame.people(np.ones(frame.rows, dtype=bool)), not frame.one_row_each]
            for name in question["columns"]:
                partial += _counts(frame, question, name)
        case "mean":
            for name in _open(question, state):
                values = _values(frame, name)
                partial += [len(values), *sums.wide(values)]
        case "spread":
            for name in _open(question, state):
                partial += sums.wide((_values(frame, name) - float(state["numbers"][name]["mean"])) ** 2)
        case step:
            raise ValueError(f"describe has no step {step!r}")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[str]:
    """Why these totals may not be used: a value that nobody agreed to. Small counts are suppressed, not refused.

    Between two hospitals each could subtract its own counts from the total, so there a small one refuses the analysis.
    """
    if state["step"] != "count":
        return []
    _, _, counted = _read_counts(total, question)
    reasons = []
    for name, found in counted.items():
        if found["outside"]:
            reasons.append(f"'{name}' holds a value that the permits do not name as a level")
        if found["too_large"]:
            reasons.append(f"'{name}' holds values beyond anything that is measured; correct the file")
        if terms.hospitals == 2 and any(0 < people < terms.smallest_cell for people in [found["n"], *found["levels"].values()]):
            reasons.append(
                f"with two hospitals each one sees the other's counts, and one of '{name}' is of fewer people than the smallest cell allows"
            )
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    match state["step"]:
        case "count":
            people, repeated, counted = _read_counts(total, question)
            columns = {name: _column(found, people=people, terms=terms) for name, found in counted.items()}
            enough = [name for name, found in counted.items() if found["averaged"] and found["n"] >= terms.smallest_cell]
            return _next({"step": "mean", "n": people, "repeated": repeated, "columns": columns, "numbers": {name: {} for name in enough}})
        case "mean":
            return _advance_mean(total, question, state)
        case "spread":
            return _advance_spread(total, question, state)
        case step:
            raise ValueError(f"describe has no step {step!r}")


def _open(question: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """The columns whose mean is still to be found, in the order of the question: a state that travelled has its keys sorted."""
    return [name for name in question["columns"] if name in state["numbers"]]


def _levels(question: dict[str, Any], name: str) -> list[str]:
    """The levels to count; none for a column that is averaged or only counted."""
    if question["column_kinds"][name] == "number" and name not in question["two_valued"]:
        return []
    return list(question["levels"].get(name, []))


def _averaged(question: dict[str, Any], name: str) -> bool:
    return question["column_kinds"][name] == "number" and not _levels(question, name)


def _values(frame: Frame, name: str) -> NDArray[np.float64]:
    numbers = frame.numbers(name)
    return numbers[~np.isnan(numbers)]


def _counts(frame: Frame, question: dict[str, Any], name: str) -> list[float]:
    levels = _levels(question, name)
    too_large = _averaged(question, name) and sums.too_large(frame.numbers(name))
    codes = frame.codes(name, levels) if levels else np.full(frame.rows, -1, dtype=np.int64)
    per_level = frame.people_per(codes, count=len(levels)).tolist() if levels else []
    return [frame.people(frame.present(name)), bool(np.any(codes == OUTSIDE)), too_large, *per_level]


def _read_counts(total: Sequence[float], question: dict[str, Any]) -> tuple[int, bool, dict[str, dict[str, Any]]]:
    reader = sums.Reader(total)
    people, repeated = reader.count(), reader.flag()
    counted = {}
    for name in question["columns"]:
        found: dict[str, Any] = {"n": reader.count(), "outside": reader.flag(), "too_large": reader.flag()}
        found["levels"] = {level: reader.count() for level in _levels(question, name)}
        found["averaged"] = _averaged(question, name)
        counted[name] = found
    reader.end()
    return people, repeated, counted


def _column(found: dict[str, Any], *, people: int, terms: Terms) -> dict[str, Any]:
    """What is known of a column after the counting."""
    enough = found["n"] >= terms.smallest_cell
    missing = people - found["n"]
    told = enough and not 0 < missing < terms.smallest_cell
    column: dict[str, Any] = {"n": found["n"] if told else None, "missing": missing if told else None}
    if found["averaged"]:
        column |= {"mean": None, "sd": None}
    if found["levels"]:
        column["levels"] = {level: count if enough else None for level, count in found["levels"].items()}
    return column


def _advance_mean(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    numbers = {}
    for name in _open(question, state):
        rows = reader.count()
        numbers[name] = {"rows": rows, "mean": reader.wide() / rows}
    reader.end()
    return {**state, "step": "spread", "numbers": numbers}


def _advance_spread(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    columns = {name: dict(state["columns"][name]) for name in question["columns"]}
    for name in _open(question, state):
        found, squares = state["numbers"][name], reader.wide()
        sd = math.sqrt(squares / (found["rows"] - 1)) if found["rows"] > 1 else None
        columns[name] |= {"mean": found["mean"], "sd": sd}
    reader.end()
    return _next({**state, "columns": columns, "numbers": {}})


def _next(state: dict[str, Any]) -> dict[str, Any]:
    """Done when no mean is left to find."""
    if state["numbers"]:
        return state
    told = {"repeated_people": True} if state["repeated"] else {}
    return {"step": "done", "result": {"n": state["n"], "columns": state["columns"], **told}}
