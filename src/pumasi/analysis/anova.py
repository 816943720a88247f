"""Means of one column compared between groups: one-way analysis of variance, Fisher's and Welch's.

The steps are those of summaries.py over everybody who has a value in both columns. Every group must be as large as the smallest cell, and
all means and sds must be publishable: the tests follow from them (inference.py). `ttest` is the same of two groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, inference, refusal, summaries
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.inference import Sample
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_GROUPS = 50
SMALL = Refusal("smallest-cell", "a group of '{}' has fewer people with a value than the smallest cell allows; merge levels")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers, and two groups or more."""
    by, column = question["by"], question["column"]
    reasons = checks.apart(column, by) + checks.numbers([column], kinds) + checks.levels([by], levels)
    if levels.get(by) and not 2 <= len(levels[by]) <= MOST_GROUPS:
        reasons.append(f"'{by}' has {len(levels[by])} levels; between 2 and {MOST_GROUPS} groups can be compared")
    return reasons


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return summaries.start()


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """People with both values, whether there is one that nobody agreed to, and what this hospital adds to the sums of the groups."""
    codes = frame.codes(question["by"], _names(question))
    masks = [(codes == place) & frame.present(question["column"]) for place in range(len(_names(question)))]
    people = frame.people(np.logical_or.reduce(masks))
    return np.array([people, np.any(codes == OUTSIDE), *summaries.local(frame, _plan(question), state, masks)], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    reasons = [checks.OUTSIDE.about(question["by"])] if total[1] > 0.5 else []
    reasons += summaries.refusals(total[2:], _plan(question), state, terms)
    if state["step"] == "count" and not reasons:
        counted = summaries.advance(total[2:], _plan(question), state, terms)
        if any(people[question["column"]] < terms.smallest_cell for people in counted["people"]):
            reasons.append(SMALL.about(question["by"]))
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result, or `refused` where a mean or sd would tell too much."""
    after = summaries.advance(total[2:], _plan(question), state, terms)
    if after["step"] != "done":
        return after
    column = question["column"]
    found = []
    for level, group in zip(_names(question), after["groups"], strict=True):
        about = group["columns"][column]
        if about["mean"] is None or about["sd"] is None:
            return refusal.end(*after["findings"])
        found.append({"level": level, "n": group["n"], "mean": about["mean"], "sd": about["sd"]})
    result = {"n": round(total[0]), "column": column, "groups": found, "said": _said(found, question, people=round(total[0]))}
    return {"step": "done", "result": result | ({"repeated_people": True} if after["repeated"] else {})}


def _said(found: list[dict[str, Any]], question: dict[str, Any], *, people: int) -> list[dict[str, Any]]:
    by, column = question["by"], question["column"]
    said: list[dict[str, Any]] = [{"who": {}, "present": [by, column], "n": people, "at": ["n"]}]
    for place, group in enumerate(found):
        about = {"who": {by: group["level"]}, "present": [column]}
        said.append({**about, "n": group["n"], "at": ["groups", place, "n"]})
        if question["levels"].get(column):
            where = [["groups", place, "mean"], ["groups", place, "sd"]]
            said.append({**about, "moments": column, "n": [group["mean"], group["sd"]], "at": where})
    return said


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: the groups that are compared, without those who lack a value."""
    codes = frame.codes(question["by"], _names(question))
    return [np.where(frame.present(question["column"]), codes, -1).astype(np.int64)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [len(_names(question))]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`anova` takes the groups' variances as equal, `welch` does not. None where a number is left out or people have several rows."""
    samples = samples_of(result)
    return {
        **result,
        "anova": inference.anova(samples) if samples else None,
        "welch": inference.welch_anova(samples) if samples else None,
    }


def samples_of(result: dict[str, Any]) -> list[Sample]:
    """The groups, if all their numbers are published and people have one row each; otherwise nothing."""
    groups = result["groups"]
    if result.get("repeated_people") or any(group[key] is None for group in groups for key in ("n", "mean", "sd")):
        return []
    return [Sample(group["n"], group["mean"], group["sd"]) for group in groups]


def _names(question: dict[str, Any]) -> list[str]:
    return list(question["levels"][question["by"]])


def _plan(question: dict[str, Any]) -> summaries.Plan:
    return summaries.Plan({question["column"]: []}, frozenset([question["column"]]), groups=len(_names(question)))
