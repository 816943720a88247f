"""The first table of a paper: every column for everybody and for each group, with standardised differences and p-values.

Everybody is everybody with a value in `by`: whoever has none is in no group and not in the whole either, or the difference would tell about
them. The steps are those of summaries.py; differences and tests follow from the published numbers (inference.py). Means are compared by
one-way analysis of variance (of two groups: Student's t test), levels by chi-square, without those who lack a value.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, inference, summaries
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.inference import Sample
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_GROUPS = 20


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """`by` has two levels or more and is none of the columns."""
    by = question.get("by")
    if by is None:
        return []
    reasons = checks.levels([by], levels)
    if not reasons and not 2 <= len(levels[by]) <= MOST_GROUPS:
        reasons.append(f"'{by}' has {len(levels[by])} levels; a table has between 2 and {MOST_GROUPS} groups")
    if by in question["columns"]:
        reasons.append(f"'{by}' makes the groups, so it cannot be a row of the table as well")
    return reasons + checks.cells(sum(max(1, len(levels[name])) for name in question["columns"]) * (1 + len(levels[by])))


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return summaries.start()


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    masks = [frame.present(question["by"])] if "by" in question else [np.ones(frame.rows, dtype=bool)]
    strange = 0.0
    if "by" in question:
        codes = _codes(frame, question)
        masks += [codes == place for place in range(len(_names(question)))]
        strange = float(np.any(codes == OUTSIDE))
    return np.array([strange, *summaries.local(frame, _plan(question), state, masks)], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    reasons = [checks.OUTSIDE.about(question["by"])] if total[0] > 0.5 else []
    if state["step"] == "count" and "by" in question and terms.hospitals == 2:
        reasons += _small_groups(total, question, terms)
    return reasons + summaries.refusals(total[1:], _plan(question), state, terms)


def _small_groups(total: Sequence[float], question: dict[str, Any], terms: Terms) -> list[Refusal]:
    people = [group["n"] for group in summaries.advance(total[1:], _plan(question), {"step": "count"}, terms)["groups"]]
    small = any(0 < count < terms.smallest_cell for count in people)
    return [summaries.SMALL_FOR_THE_OTHER.about(question["by"])] if small else []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result."""
    after = summaries.advance(total[1:], _plan(question), state, terms)
    if after["step"] != "done":
        return after
    everybody, *rest = after["groups"]
    result = {**everybody}
    who: list[dict[str, str]] = [{}]
    at: list[list[Any]] = [[]]
    if "by" in question:
        result["groups"] = [{"level": level, **group} for level, group in zip(_names(question), rest, strict=True)]
        who += [{question["by"]: level} for level in _names(question)]
        at += [["groups", place] for place in range(len(rest))]
    present = [question["by"]] if "by" in question else []
    for group in after["groups"]:  # how many lack a value follows from what is left in the end
        for column in group["columns"].values():
            del column["missing"]
    result["said"] = summaries.said(after, question, who, at, present=present)
    result |= {"repeated_people": True} if after["repeated"] else {}
    return {"step": "done", "result": result | ({"findings": [str(one) for one in after["findings"]]} if after["findings"] else {})}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition per column: its levels, or who has a value, within each group."""
    codes = _codes(frame, question) if "by" in question else np.zeros(frame.rows, dtype=np.int64)
    found = []
    for name, levels in _plan(question).columns.items():
        inner = frame.codes(name, levels) if levels else np.where(frame.present(name), 0, -1)
        cell = codes * max(1, len(levels)) + inner
        found.append(np.where((codes < 0) | (inner < 0), -1, cell).astype(np.int64))
    return found


def group_counts(question: dict[str, Any]) -> list[int]:
    several = len(_names(question)) if "by" in question else 1
    return [several * max(1, len(levels)) for levels in _plan(question).columns.values()]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`missing` everywhere; `comparison` per column: `p`, the `test`, standardised `differences` of each pair, their `largest`."""
    result = {**result, "columns": _with_missing(result)}
    if "groups" not in result:
        return result
    result["groups"] = [{**group, "columns": _with_missing(group)} for group in result["groups"]]
    return {**result, "comparison": {name: _compared(result, name) for name in result["columns"]}}


def _with_missing(group: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"n": column["n"], "missing": None if None in (column["n"], group["n"]) else group["n"] - column["n"], **column}
        for name, column in group["columns"].items()
    }


def _compared(result: dict[str, Any], name: str) -> dict[str, Any]:
    several = bool(result.get("repeated_people"))  # rows of one person are not independent, so that no test holds
    columns = [group["columns"][name] for group in result["groups"]]
    if "levels" in columns[0]:
        counts = [list(column["levels"].values()) for column in columns]
        complete = [None not in some and sum(some) > 0 for some in counts]
        test, p = "chi-square", inference.chi_square(counts)["p"] if all(complete) and not several else None
        measure: Any = inference.difference_of_shares
        found: list[Any] = [some if whole else None for some, whole in zip(counts, complete, strict=True)]
    elif "mean" in columns[0]:
        found = [_sample(result, group, name) for group in result["groups"]]
        outcome = inference.anova(found) if all(found) and not several else None
        test, p = "anova", outcome["p"] if outcome else None
        measure = inference.difference_of_means
    else:
        return {}
    pairs = [
        {"one": one["level"], "other": other["level"], "smd": measure(found[i], found[j]) if found[i] and found[j] else None}
        for (i, one), (j, other) in itertools.combinations(enumerate(result["groups"]), 2)
    ]
    sizes = [abs(pair["smd"]) for pair in pairs if pair["smd"] is not None]
    return {"test": test, "p": p, "differences": pairs, "largest": max(sizes) if len(sizes) == len(pairs) else None}


def _sample(result: dict[str, Any], group: dict[str, Any], name: str) -> Sample | None:
    column = group["columns"][name]
    n = column["n"]
    if n is None and result.get("by"):
        n = summaries.people(result, {result["by"]: group["level"]}, name)
    if None in (n, column["mean"], column["sd"]):
        return None
    return Sample(n, column["mean"], column["sd"])


def _names(question: dict[str, Any]) -> list[str]:
    return list(question["levels"][question["by"]])


def _codes(frame: Frame, question: dict[str, Any]) -> NDArray[np.int64]:
    return frame.codes(question["by"], _names(question))


def _plan(question: dict[str, Any]) -> summaries.Plan:
    if "by" not in question:
        return summaries.Plan.of(question, question["columns"])
    return summaries.Plan.of(question, question["columns"], groups=1 + len(_names(question)), whole=True)
