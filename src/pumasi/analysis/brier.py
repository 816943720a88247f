"""The Brier score of predicted probabilities: their mean squared distance from the outcome, exact, and what it is made of.

`scaled` is the part by which it beats everybody's average risk (Steyerberg and others, Epidemiology 21, 2010). Murphy's parts (Journal of
Applied Meteorology 12, 1973) are those of the published bins: reliability - resolution + uncertainty is the Brier score of predictions
that are the mean of their bin; `within` is what that leaves over.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import robust, scores, sums
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.scores import group_counts, groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]

USUAL_BINS = 10
ONE_PERSON = Refusal(
    "dominance", "one person has so large a part in the distance of '{}' from '{}' that it would tell that person's outcome"
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """A probability and an outcome."""
    return scores.check(question, kinds, levels)


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    if state["step"] not in ("counted", "judge"):
        return np.array(scores.local(frame, question, state), dtype=np.float64)
    inside = scores.cases(frame, question)
    distances = (inside.numbers(question["score"]) - inside.numbers(question["outcome"])) ** 2
    if state["step"] == "counted":
        return np.array(sums.wide(distances), dtype=np.float64)
    return np.array([robust.dominates(distances, inside.persons, whole=float(state["distance"]))], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    if state["step"] == "judge":
        return [ONE_PERSON.about(question["score"], question["outcome"])] if total[0] > 0.5 else []
    return scores.refusals(total, question, state, terms, probability=True)


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    match state["step"]:
        case "counted":
            return {**state, "step": "judge", "distance": sums.fold(total)}
        case "judge":
            return {"step": "done", "result": _result(question, state, smallest=terms.smallest_cell)}
        case _:
            return scores.advance(total, question, state, terms)


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Murphy's parts from the bins; None where one of these is left out."""
    counts = [*scores.shares(result, "events"), *scores.shares(result, "others")]
    parts: dict[str, Any] = dict.fromkeys(("reliability", "resolution", "uncertainty", "within"))
    if None not in counts:
        bins = [(one["events"] + one["others"], one["events"], one["predicted"]) for one in result["bins"]]
        rows, ones = sum(size for size, _, _ in bins), sum(events for _, events, _ in bins)
        rate = ones / rows
        parts = {
            "reliability": math.fsum(size * (predicted - events / size) ** 2 for size, events, predicted in bins) / rows,
            "resolution": math.fsum(size * (events / size - rate) ** 2 for size, events, _ in bins) / rows,
            "uncertainty": rate * (1 - rate),
        }
        parts["within"] = result["estimates"]["brier"] - (parts["reliability"] - parts["resolution"] + parts["uncertainty"])
    return {**result, "estimates": {**result["estimates"], **parts}}


def _result(question: dict[str, Any], state: dict[str, Any], *, smallest: int) -> dict[str, Any]:
    bins = scores.merged(state["bins"], smallest=smallest, most=question.get("bins", USUAL_BINS))
    found = scores.result(question, state, bins)
    for told, one in zip(found["bins"], bins, strict=True):
        told["predicted"] = one["score"] / (one["ones"] + one["zeros"])
    rate = sum(one["ones"] for one in bins) / state["rows"]
    score = state["distance"] / state["rows"]
    return {**found, "estimates": {"brier": score, "scaled": 1 - score / (rate * (1 - rate))}}
