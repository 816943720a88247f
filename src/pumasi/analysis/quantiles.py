"""Quantiles of number columns, each as a value and the bracket that is known to hold it.

Found by search.py. A bracket holds at least the smallest cell of people, so its width is the tolerance of the answer; where every row in
it has one value, that value is the answer. In the outermost brackets there is no value: it would come near the minimum or maximum. The
definition is that of numpy, R (type 7) and pandas: linear between the two rows around (n - 1) q.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, cuts, search
from pumasi.analysis.cuts import Bracket
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_COLUMNS, MOST_QUANTILES = 50, 99
CONSTANT = "'{}' has the same value for everybody who has one, so that its quantiles would tell everybody's value; they are left out"


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers, and quantiles between 0 and 1 that are neither minimum nor maximum."""
    reasons = checks.numbers(question["columns"], kinds)
    if not all(0 < q < 1 for q in question["q"]):
        reasons.append("a quantile lies between 0 and 1; 0 and 1 themselves would be the least and the greatest value of single people")
    if len(question["columns"]) > MOST_COLUMNS or len(question["q"]) > MOST_QUANTILES:
        reasons.append(f"at most {MOST_QUANTILES} quantiles of {MOST_COLUMNS} columns are found at once")
    if len(set(question["q"])) < len(question["q"]):
        reasons.append("a quantile is asked for twice")
    return reasons


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return search.start()


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    return np.array(search.local(frame, question["columns"], state), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    return search.refusals(total, question["columns"], state, terms)


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    counted = search.counted(total, question["columns"], state)

    def wanted(name: str, one: Bracket) -> bool:
        return any(one.holds(rank) for rank in _ranks(question, counted[name]["rows"]))

    after = search.advance(total, question["columns"], state, terms, wanted=wanted)
    return {"step": "done", "result": _result(question, after)} if after["step"] == "found" else after


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition per column: its brackets, once they are known; before, who has a value."""
    return [cuts.group_of(frame.numbers(name), _edges(question, name)) for name in question["columns"]]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [len(_edges(question, name)) + 1 for name in question["columns"]]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Nothing more follows."""
    return result


def place(brackets: Sequence[Bracket], rank: int, *, spread: float) -> tuple[float | None, float | None, float | None]:
    """(value, lower, upper) of the row with so many rows before it; the value as if the rows of its bracket lay evenly."""
    one = next(one for one in brackets if one.holds(rank))
    lower, upper = cuts.ends(one, spread=spread)
    if lower is None or upper is None:
        return None, lower, upper
    return lower + (upper - lower) * ((rank - one.below + 0.5) / one.rows), lower, upper


def _ranks(question: dict[str, Any], rows: int) -> list[int]:
    return sorted({rank for q in question["q"] for rank, _ in _around(q, rows)})


def _around(q: float, rows: int) -> list[tuple[int, float]]:
    """The rows whose weighted mean is the quantile."""
    at = (rows - 1) * q
    before = math.floor(at)
    part = at - before
    return [(before, 1.0)] if part == 0 else [(before, 1 - part), (before + 1, part)]


def _result(question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    edges: dict[str, list[float]] = {}
    findings = []
    said: list[dict[str, Any]] = [{"who": {}, "present": [], "n": state["people"], "at": ["n"]}]
    for name in question["columns"]:
        people = state["counted"][name]["people"]
        columns[name] = {"n": people, "quantiles": [{"q": q, "value": None, "lower": None, "upper": None} for q in question["q"]]}
        edges[name] = []
        said.append({"who": {}, "present": [name], "n": people, "at": ["columns", name, "n"]})
        column = state["columns"].get(name)
        if column is None:
            continue
        if column["squares"] == 0:
            findings.append(CONSTANT.format(name))
            continue
        kept = _told(question, search.brackets(column), column["rows"])
        columns[name]["quantiles"] = [_quantile(kept, q, column) for q in question["q"]]
        edges[name] = cuts.edges(kept)
        if not state["repeated"]:
            said += search.said(name, kept)
    result = {"n": state["people"], "columns": columns, "edges": edges, "said": said}
    result |= {"repeated_people": True} if state["repeated"] else {}
    return result | ({"findings": findings} if findings else {})


def _told(question: dict[str, Any], brackets: list[Bracket], rows: int) -> list[Bracket]:
    """The brackets with a quantile in them, and as one what lies between them."""
    ranks = _ranks(question, rows)
    kept: list[Bracket] = []
    for one in brackets:
        asked = any(one.holds(rank) for rank in ranks)
        if not asked and kept and not any(kept[-1].holds(rank) for rank in ranks):
            one = kept.pop().joined(one)
        kept.append(one)
    return kept


def _quantile(brackets: list[Bracket], q: float, column: dict[str, Any]) -> dict[str, Any]:
    found = [(*place(brackets, rank, spread=search.spread(column)), weight) for rank, weight in _around(q, column["rows"])]
    lower, upper = found[0][1], found[-1][2]
    values = [(value, weight) for value, _, _, weight in found if value is not None]
    value = math.fsum(value * weight for value, weight in values) if len(values) == len(found) else None
    if value is not None and lower == upper:
        value = lower
    return {"q": q, "value": value, "lower": lower, "upper": upper}


def _edges(question: dict[str, Any], name: str) -> list[float]:
    return list(question.get("edges", {}).get(name, []))
