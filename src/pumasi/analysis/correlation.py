"""Pearson's correlation of every pair of number columns, each over the people who have both values.

Steps: count people and rows; mean of both columns; squares and products about these means; what each hospital sees in its rows (robust.py).
A pair is left out where fewer than the smallest cell have both, where one column takes only two values (a count in disguise), where one
person makes up most of a sum, and where one column follows from the other exactly.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, inference, robust, sums
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

    Values = NDArray[np.float64]

MOST_COLUMNS = 30
LEAST_PEOPLE = 12  # two parameters, and ten people more
EXACT = 1e-9  # of the variance that is left over
DOMINATED = "one person has so large a part in the correlation of '{}' and '{}' that it would tell that person's values; it is left out"
FOLLOWS = "'{}' follows from '{}' exactly, so that a correlation would tell the one of everybody whose other is known; it is left out"
SMALL_FOR_THE_OTHER = Refusal(
    "two-hospitals",
    "with two hospitals each one sees the other's counts, and '{}' and '{}' are both known of fewer people than the smallest cell allows",
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Two columns with numbers or more."""
    columns = question["columns"]
    reasons = checks.numbers(columns, kinds)
    if not 2 <= len(columns) <= MOST_COLUMNS:
        reasons.append(f"between 2 and {MOST_COLUMNS} columns can be correlated at once")
    return reasons


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    if state["step"] == "count":
        return np.array(_local_counts(frame, question), dtype=np.float64)
    partial: list[float] = []
    for known, (one, other, persons) in _open(frame, question, state):
        match state["step"]:
            case "mean":
                partial += [*sums.wide(one), *sums.wide(other)]
            case "spread":
                left, right = (values - float(mean) for values, mean in zip((one, other), known["means"], strict=True))
                partial += [int(np.count_nonzero(left > 0)), int(np.count_nonzero(right > 0)), *sums.wide(left**2), *sums.wide(right**2)]
                partial += [*sums.wide(left * right), *sums.wide(np.abs(left * right))]
            case "judge":
                partial += _judgement(known, one, other, persons)
            case step:
                raise ValueError(f"a correlation has no step {step!r}")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used. A pair that cannot be told is left out, not refused."""
    if state["step"] != "count":
        return []
    _, _, large, counted = _read_counts(total, question)
    reasons = [checks.TOO_LARGE.about(name) for name in large]
    for (one, other), (people, _) in zip(_pairs(question), counted, strict=True):
        if terms.hospitals == 2 and 0 < people < terms.smallest_cell:
            reasons.append(SMALL_FOR_THE_OTHER.about(one, other))
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    if state["step"] == "count":
        people, repeated, _, counted = _read_counts(total, question)
        pairs = [{"people": people, "rows": rows, "open": people >= max(terms.smallest_cell, LEAST_PEOPLE)} for people, rows in counted]
        return _next({"step": "mean", "people": people, "repeated": repeated, "pairs": pairs, "findings": []}, question)
    reader = sums.Reader(total)
    pairs, findings = [], list(state["findings"])
    for (one, other), known in zip(_pairs(question), state["pairs"], strict=True):
        after = dict(known)
        if known["open"]:
            match state["step"]:
                case "mean":
                    after["means"] = [reader.wide() / known["rows"], reader.wide() / known["rows"]]
                case "spread":
                    after |= {"above": [reader.count(), reader.count()], "squares": [reader.squares(), reader.squares()]}
                    after |= {"product": reader.wide(), "size": reader.squares()}
                case "judge":
                    wrong = _wrong(one, other, known, reader)
                    findings += [wrong] if wrong else []
                    after |= {"open": not wrong}
                case step:
                    raise ValueError(f"a correlation has no step {step!r}")
        pairs.append(after)
    reader.end()
    following = {"mean": "spread", "spread": "judge", "judge": "done"}[state["step"]]
    return _next({**state, "step": following, "pairs": pairs, "findings": list(dict.fromkeys(findings))}, question)


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition per pair: who has both."""
    return [np.where(frame.present(one) & frame.present(other), 0, -1).astype(np.int64) for one, other in _pairs(question)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [1] * len(_pairs(question))


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`low`, `high` and `p` of each pair; None where a number is left out or people have several rows."""
    pairs = []
    for pair in result["pairs"]:
        told = None not in (pair["n"], pair["r"]) and not result.get("repeated_people")
        found = inference.correlation(pair["r"], pair["n"]) if told else None
        pairs.append({**pair, **(found or dict.fromkeys(("low", "high", "p")))})
    return {**result, "pairs": pairs}


def _pairs(question: dict[str, Any]) -> list[tuple[str, str]]:
    return list(itertools.combinations(question["columns"], 2))


def _local_counts(frame: Frame, question: dict[str, Any]) -> list[float]:
    partial: list[float] = [frame.people(np.ones(frame.rows, dtype=bool)), not frame.one_row_each]
    partial += [sums.too_large(frame.numbers(name)) for name in question["columns"]]
    present = {name: frame.present(name) for name in question["columns"]}
    for one, other in _pairs(question):
        both = present[one] & present[other]
        partial += [frame.people(both), int(np.count_nonzero(both))]
    return partial


def _read_counts(total: Sequence[float], question: dict[str, Any]) -> tuple[int, bool, list[str], list[tuple[int, int]]]:
    reader = sums.Reader(total)
    people, repeated = reader.count(), reader.flag()
    large = [name for name in question["columns"] if reader.flag()]
    counted = [(some := reader.count(), reader.rows(people=some)) for _ in _pairs(question)]
    reader.end()
    return people, repeated, large, counted


def _open(
    frame: Frame, question: dict[str, Any], state: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], tuple[Values, Values, NDArray[np.int64]]]]:
    """The pairs that are still to be found, with both columns and whose the rows are."""
    for (one, other), known in zip(_pairs(question), state["pairs"], strict=True):
        if known["open"]:
            both = frame.present(one) & frame.present(other)
            yield known, (frame.numbers(one)[both], frame.numbers(other)[both], frame.persons[both])


def _judgement(known: dict[str, Any], one: Values, other: Values, persons: NDArray[np.int64]) -> list[float]:
    """Of either column whether it has a third value and whether one person makes up most of its squares; then of the products."""
    partial: list[float] = []
    left, right = (values - float(mean) for values, mean in zip((one, other), known["means"], strict=True))
    for values, place in ((one, 0), (other, 1)):
        mean, squares = float(known["means"][place]), float(known["squares"][place])
        partial.append(
            robust.has_third_value(values, rows=int(known["rows"]), above=int(known["above"][place]), mean=mean, squares=squares)
        )
        partial.append(robust.dominates((values - mean) ** 2, persons, whole=squares))
    return [*partial, robust.dominates(np.abs(left * right), persons, whole=float(known["size"]))]


def _wrong(one: str, other: str, known: dict[str, Any], reader: sums.Reader) -> str | None:
    """Why a pair is left out."""
    third_one, large_one, third_other, large_other, large = (reader.flag() for _ in range(5))
    if not third_one or not third_other:
        return robust.TWO_VALUES.format(other if third_one else one)
    if large_one or large_other or large:
        return DOMINATED.format(one, other)
    return FOLLOWS.format(one, other) if 1 - _r(known) ** 2 < EXACT else None


def _r(known: dict[str, Any]) -> float:
    left, right = known["squares"]
    return max(-1.0, min(1.0, float(known["product"]) / (math.sqrt(left) * math.sqrt(right))))


def _next(state: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Done when no pair is left to find."""
    if state["step"] != "done" and any(pair["open"] for pair in state["pairs"]):
        return state
    pairs = []
    said: list[dict[str, Any]] = [{"who": {}, "present": [], "n": state["people"], "at": ["n"]}]
    for place, ((one, other), known) in enumerate(zip(_pairs(question), state["pairs"], strict=True)):
        pairs.append({"one": one, "other": other, "n": known["people"], "r": _r(known) if known["open"] else None})
        said.append({"who": {}, "present": [one, other], "n": known["people"], "at": ["pairs", place, "n"]})
    result = {"n": state["people"], "pairs": pairs, "said": said}
    result |= {"repeated_people": True} if state["repeated"] else {}
    return {"step": "done", "result": result | ({"findings": state["findings"]} if state["findings"] else {})}
