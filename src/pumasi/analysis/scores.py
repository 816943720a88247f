"""A score next to an outcome of 0 and 1, counted in bins of the score that the data choose: what roc, calibration and brier share.

A search (search.py) divides the people who have both into brackets of at least the smallest cell; then people with and without the outcome
are counted in each. What is published are neighbouring brackets together, until each has enough people with the outcome and enough
without, so that no bin says that all of its people, or none, had it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, cuts, refusal, search, sums
from pumasi.analysis.family import valid
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_BINS = 100
FINEST = 100  # bins in which pairs of people are compared, at most about twice as many
_FIRST = 5  # elements before those of the search in the first sum

CONSTANT = Refusal("constant-column", "'{}' has the same value for everybody, so it tells nobody from anybody")
NOT_BINARY = Refusal("invalid-values", "the outcome '{}' must be zero or one, or one of its two levels")
NO_PROBABILITY = Refusal("invalid-values", "'{}' holds values below zero or above one, so it is no probability")
ONE_SIDED = Refusal("small-side", "fewer people than the smallest cell allows have the outcome '{}', or have it not")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """A score in numbers, an outcome in numbers or two levels."""
    score, outcome = question["score"], question["outcome"]
    reasons = checks.apart(score, outcome) + checks.numbers([score], kinds)
    reasons += checks.zero_and_one("outcome", outcome, kinds, levels)
    if not 2 <= question.get("bins", 2) <= MOST_BINS:
        reasons.append(f"scores are counted in 2 to {MOST_BINS} bins")
    return reasons


def cases(frame: Frame, question: dict[str, Any]) -> Frame:
    """The rows with both values."""
    return frame.only(frame.present(question["score"]) & frame.present(question["outcome"]))


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """What this hospital adds to the sum of this step."""
    inside = cases(frame, question)
    score, outcome = inside.numbers(question["score"]), inside.numbers(question["outcome"])
    if state["step"] == "bins":
        return _local_bins(inside, score, outcome, state)
    partial = search.local(inside, [question["score"]], state)
    if state["step"] != "count":
        return partial
    everybody = frame.people(np.ones(frame.rows, dtype=bool))
    flags = [not valid("binomial", outcome), bool(np.any((score < 0) | (score > 1)))]
    return [everybody, *flags, inside.people(outcome == 1), inside.people(outcome != 1), *partial]


def _local_bins(inside: Frame, score: NDArray[np.float64], outcome: NDArray[np.float64], state: dict[str, Any]) -> list[float]:
    places = cuts.group_of(score, state["edges"])
    partial: list[float] = []
    for bin in range(len(state["edges"]) + 1):
        here = places == bin
        for side in (here & (outcome == 1), here & (outcome != 1)):
            partial += [int(np.count_nonzero(side)), inside.people(side)]
        partial += sums.wide(score[here])
    return partial


def refusals(
    total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms, *, probability: bool = False
) -> list[Refusal]:
    """Why these totals may not be used."""
    if state["step"] != "count":
        return []
    reader = sums.Reader(total[:_FIRST])
    _, strange, beyond, ones, zeros = reader.count(), reader.flag(), reader.flag(), reader.count(), reader.count()
    reasons = [NOT_BINARY.about(question["outcome"])] if strange else []
    if probability and beyond:
        reasons.append(NO_PROBABILITY.about(question["score"]))
    if min(ones, zeros) < terms.smallest_cell:
        reasons.append(ONE_SIDED.about(question["outcome"]))
    return reasons + search.refusals(total[_FIRST:], [question["score"]], state, terms)


def advance(
    total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms, *, trimmed: bool = False
) -> dict[str, Any]:
    """The next state. Step "counted" carries `bins`: ends, rows and people with and without the outcome, and the sum of scores.

    `refused` where everybody has one score.
    """
    if state["step"] == "bins":
        return _advance_bins(total, state, terms)
    first = state["step"] == "count"
    inner = total[_FIRST:] if first else total
    rows = search.counted(inner, [question["score"]], state)[question["score"]]["rows"]
    after = search.advance(
        inner, [question["score"]], state, terms, wanted=lambda _, one: 2 * one.rows * FINEST > 3 * rows, trimmed=trimmed
    )
    if first:
        after |= {"everybody": round(total[0]), "ones": round(total[3]), "zeros": round(total[4])}
    if after["step"] != "found":
        return after
    column = after["columns"][question["score"]]
    if column["squares"] == 0:
        return refusal.end(CONSTANT.about(question["score"]))
    found = search.brackets(column)
    kept = {key: after[key] for key in ("everybody", "ones", "zeros", "people", "repeated")}
    ends = [cuts.ends(one, spread=search.spread(column)) for one in found]
    return {
        **kept,
        "step": "bins",
        "rows": rows,
        "edges": cuts.edges(found),
        "one_value": [None not in both and both[0] == both[1] for both in ends],
    }


def _advance_bins(total: Sequence[float], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    reader = sums.Reader(total)
    bins = []
    ends = zip([None, *state["edges"]], [*state["edges"], None], state["one_value"], strict=True)
    for lower, upper, one_value in ends:
        ones, people_ones, zeros, people_zeros = (reader.count() for _ in range(4))
        found = {"from": lower, "to": upper, "one_value": one_value, "ones": ones, "zeros": zeros, "score": reader.wide()}
        bins.append(found | {"people_ones": people_ones, "people_zeros": people_zeros})
    reader.end()
    dropped = state["everybody"] - state["people"]
    dropped = None if 0 < dropped < terms.smallest_cell else dropped
    return {**state, "step": "counted", "bins": bins, "dropped": dropped}


def merged(bins: Sequence[dict[str, Any]], *, smallest: int, most: int) -> list[dict[str, Any]]:
    """Neighbours together, from the highest score down, until each has enough people on either side of the outcome; then to `most` bins.

    The first step depends on the rows alone, so that the bins of all kinds are unions of the same ones, and none can be subtracted.
    """
    groups: list[list[dict[str, Any]]] = [[]]
    for one in reversed(bins):
        if _is_large(groups[-1], smallest):
            groups.append([])
        groups[-1].append(one)
    if len(groups) > 1 and not _is_large(groups[-1], smallest):
        left = groups.pop()
        groups[-1] += left
    fine = [_together(group[::-1]) for group in reversed(groups)]
    coarse: list[list[dict[str, Any]]] = [[]]
    rows, seen = sum(_rows(one) for one in fine), 0
    for one in fine:
        if coarse[-1] and seen >= rows * len(coarse) / most:
            coarse.append([])
        coarse[-1].append(one)
        seen += _rows(one)
    return [_together(group) for group in coarse]


def _rows(one: dict[str, Any]) -> int:
    return int(one["ones"] + one["zeros"])


def _is_large(group: Sequence[dict[str, Any]], smallest: int) -> bool:
    return bool(group) and min(sum(one[side] for one in group) for side in ("people_ones", "people_zeros")) >= smallest


def _together(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    added = {key: sum(one[key] for one in group) for key in ("ones", "zeros", "score")}
    return {"from": group[0]["from"], "to": group[-1]["to"], **added}


def result(question: dict[str, Any], state: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all three say: people, dropped, with the outcome, the bins and their edges, and who all these are.

    Where people have several rows, bins count rows, and nothing is said of them: a row is no person.
    """
    score, outcome = question["score"], question["outcome"]
    edges = [group["to"] for group in groups[:-1]]
    found = {"n": state["people"], "dropped": state["dropped"], "events": state["ones"], "score": score, "outcome": outcome, "edges": edges}
    found |= checks.counted_as_one(question, outcome)
    found["bins"] = [{"from": group["from"], "to": group["to"], "events": group["ones"], "others": group["zeros"]} for group in groups]
    derived = f"{score} in {[float(f'{edge:.15g}') for edge in edges]}"
    said: list[dict[str, Any]] = []
    for column in [score, derived] if edges else [score]:
        said.append({"who": {}, "present": [column, outcome], "n": state["people"], "at": ["n"]})
        said.append({"who": {outcome: checks.level(question, outcome, "1")}, "present": [column], "n": state["ones"], "at": ["events"]})
    if state["repeated"]:
        return {**found, "said": said, "repeated_people": True}
    for place, (label, group) in enumerate(zip(cuts.labels(edges), groups, strict=True) if edges else ()):
        for level, rows, key in (("1", group["ones"], "events"), ("0", group["zeros"], "others")):
            who = {derived: label, outcome: checks.level(question, outcome, level)}
            said.append({"who": who, "present": [], "n": rows, "at": ["bins", place, key]})
    return {**found, "said": said}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: the published bins, once they are known, by outcome."""
    inside = frame.present(question["score"]) & frame.present(question["outcome"])
    bins = cuts.group_of(frame.numbers(question["score"]), question.get("edges", []))
    return [np.where(inside, 2 * bins + (frame.numbers(question["outcome"]) == 1), -1).astype(np.int64)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [2 * (len(question.get("edges", [])) + 1)]


def shares(result: dict[str, Any], key: str) -> list[int | None]:
    """One count of each bin."""
    return [one[key] for one in result["bins"]]


def summed(counts: Sequence[int | None]) -> list[int | None]:
    """Running totals; None from the first that is left out."""

    def add(total: int | None, count: int | None) -> int | None:
        return None if total is None or count is None else total + count

    return list(itertools.accumulate(counts, add))
