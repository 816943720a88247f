"""How the values of number columns lie, found by sums alone: brackets of at least the smallest cell of people (cuts.py), round after round.

Steps: count people and rows; mean; squares about it (within their root all values lie, so nobody looks for the least or the greatest);
cut halves until no bracket that is wanted can be cut; trim brackets to what they hold. The nodes see counts of halves on the way, the
reader does not. Between two hospitals each would see the other's, so a search needs one hospital, or three and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, cuts, sums
from pumasi.analysis.cuts import Bracket
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pumasi.analysis.frame import Frame, Terms

    Wanted = Callable[[str, Bracket], bool]

STEPS = ("count", "mean", "spread", "cut", "trim")
TWO_HOSPITALS = Refusal(
    "two-hospitals",
    "this is found by counting in ever smaller brackets, and between two hospitals each one would see the other's counts; "
    "ask three hospitals or more",
)


def start() -> dict[str, Any]:
    return {"step": "count"}


def local(frame: Frame, names: Sequence[str], state: dict[str, Any]) -> list[float]:
    """What this hospital adds to the sum of this step."""
    if state["step"] == "count":
        partial: list[float] = [frame.people(np.ones(frame.rows, dtype=bool)), not frame.one_row_each]
        for name in names:
            values = _values(frame, name)
            whole = bool(np.all(values == np.floor(values)))
            partial += [frame.people(frame.present(name)), len(values), sums.too_large(values), not whole]
        return partial
    partial = []
    for name in names:
        if name not in state["columns"]:
            continue
        column = state["columns"][name]
        match state["step"]:
            case "mean":
                partial += sums.wide(_values(frame, name))
            case "spread":
                partial += sums.wide((_values(frame, name) - float(column["mean"])) ** 2)
            case "cut":
                partial += cuts.local_counts(frame, name, _active(column))
            case "trim":
                partial += cuts.local_ends(frame, name, _active(column))
            case step:
                raise ValueError(f"a search has no step {step!r}")
    return partial


def refusals(total: Sequence[float], names: Sequence[str], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    if state["step"] != "count":
        return []
    _, _, counted = _read(total, names)
    reasons = [checks.TOO_LARGE.about(name) for name in names if counted[name]["too_large"]]
    return [*reasons, TWO_HOSPITALS] if terms.hospitals == 2 else reasons


def advance(
    total: Sequence[float], names: Sequence[str], state: dict[str, Any], terms: Terms, *, wanted: Wanted, trimmed: bool = True
) -> dict[str, Any]:
    """The next state. Step "found" carries `people`, `repeated` and, of each column of enough people, its numbers and `brackets`.

    `wanted` says which brackets are to be cut, and in the end to be trimmed; it may depend on the state of the column alone.
    """
    if state["step"] == "count":
        people, repeated, counted = _read(total, names)
        enough = {name: about for name, about in counted.items() if about["people"] >= terms.smallest_cell}
        after = {"people": people, "repeated": repeated, "counted": counted, "columns": enough}
        return {**after, "step": "mean" if enough else "found"}
    reader = sums.Reader(total)
    columns = {name: dict(state["columns"][name]) for name in names if name in state["columns"]}
    for column in columns.values():
        match state["step"]:
            case "mean":
                column["mean"] = reader.wide() / column["rows"]
            case "spread":
                column["squares"] = squares = reader.squares()
                first = cuts.whole(rows=column["rows"], mean=column["mean"], squares=squares)
                column["brackets"] = [first.plain()]
            case "cut":
                brackets = cuts.cut(_brackets(column), column["active"], reader, smallest=terms.smallest_cell)
                column["brackets"] = [one.plain() for one in brackets]
            case "trim":
                brackets = cuts.trim(_brackets(column), column["active"], reader, spread=spread(column))
                column["brackets"] = [one.plain() for one in brackets]
            case step:
                raise ValueError(f"a search has no step {step!r}")
    reader.end()
    if state["step"] == "mean":
        return {**state, "step": "spread", "columns": columns}
    return _next({**state, "columns": columns}, terms, wanted=wanted, trimmed=trimmed)


def spread(column: dict[str, Any]) -> float:
    """The standard deviation over all rows."""
    return float((column["squares"] / column["rows"]) ** 0.5)


def counted(total: Sequence[float], names: Sequence[str], state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """People and rows of each column, from the first total or, later, from the state."""
    found: dict[str, dict[str, Any]] = _read(total, names)[2] if state["step"] == "count" else state["counted"]
    return found


def said(name: str, kept: Sequence[Bracket]) -> list[dict[str, Any]]:
    """How many people lie in each bracket: printed nowhere, but it follows from quantiles that are asked for often enough."""
    edges = cuts.edges(kept)
    derived = f"{name} in {[float(f'{edge:.15g}') for edge in edges]}"
    told = zip(cuts.labels(edges), kept, strict=True) if edges else ()
    return [{"who": {derived: label}, "present": [], "n": one.rows, "at": None} for label, one in told]


def brackets(column: dict[str, Any]) -> list[Bracket]:
    """What was found of one column."""
    return _brackets(column)


def _next(state: dict[str, Any], terms: Terms, *, wanted: Wanted, trimmed: bool) -> dict[str, Any]:
    """Cut where something can be cut, then trim, then done; `active` says which brackets the next sum is about."""
    steps = [step for step, goes_on in (("cut", state["step"] != "trim"), ("trim", trimmed)) if goes_on]
    for step in steps:
        columns = {}
        for name, column in state["columns"].items():
            may = [one.can_be_cut(terms.smallest_cell) if step == "cut" else _can_be_trimmed(one, column) for one in _brackets(column)]
            active = [place for place, one in enumerate(_brackets(column)) if may[place] and wanted(name, one)]
            columns[name] = {**column, "active": active if column["squares"] > 0 else []}
        if any(column["active"] for column in columns.values()):
            return {**state, "step": step, "columns": columns}
    return {**state, "step": "found"}


def _can_be_trimmed(one: Bracket, column: dict[str, Any]) -> bool:
    return cuts.can_be_trimmed(one, spread=spread(column))


def _brackets(column: dict[str, Any]) -> list[Bracket]:
    return [Bracket.read(plain) for plain in column["brackets"]]


def _active(column: dict[str, Any]) -> list[Bracket]:
    return [Bracket.read(column["brackets"][place]) for place in column["active"]]


def _values(frame: Frame, name: str) -> Any:
    numbers = frame.numbers(name)
    return numbers[~np.isnan(numbers)]


def _read(total: Sequence[float], names: Sequence[str]) -> tuple[int, bool, dict[str, dict[str, Any]]]:
    reader = sums.Reader(total)
    people, repeated = reader.count(), reader.flag()
    counted = {}
    for name in names:
        some = reader.count()
        rows = reader.rows(people=some)
        counted[name] = {"people": some, "rows": rows, "too_large": reader.flag(), "whole": not reader.flag()}
    reader.end()
    return people, repeated, counted
