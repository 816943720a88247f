"""People per bin of one number column; the outer bins are open, so that nobody learns how far the values reach.

With `edges` these are the bins: from each edge up to the next, the first and the last open to their side. With `bins`, or neither, a search
(search.py) finds where all but about one person in a hundred on either side lie, and round edges divide that. Counts come out raw, for
the suppression that follows.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, refusal, search, sums
from pumasi.analysis.cuts import Bracket
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_BINS = 200
USUAL_BINS = 20
OUTER = 0.01  # of all rows, beyond the inner edges on either side
SMALL_FOR_THE_OTHER = Refusal(
    "two-hospitals",
    "with two hospitals each one sees the other's counts, and a bin of this histogram is of fewer people than the smallest cell allows",
)
NO_EDGES = Refusal("few-values", "too many people share too few values of '{}' to divide them into bins; give edges = [...]")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers; increasing edges or how many bins, not both."""
    reasons = checks.numbers([question["column"]], kinds)
    edges = question.get("edges", [0.0, 1.0, 2.0])
    if "edges" in question and "bins" in question:
        reasons.append("a histogram has either edges or a number of bins")
    if len(edges) < 3 or any(one >= other for one, other in itertools.pairwise(edges)):
        reasons.append("the edges of a histogram increase, and there are at least three: the first and the last bin are open to their side")
    if max(len(edges) - 1, question.get("bins", 2)) > MOST_BINS or question.get("bins", 2) < 2:
        reasons.append(f"a histogram has between 2 and {MOST_BINS} bins")
    return reasons


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return (
        {"step": "bins", "edges": list(question["edges"]), "labels": _labels(question["edges"])} if "edges" in question else search.start()
    )


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    column = question["column"]
    if state["step"] != "bins":
        return np.array(search.local(frame, [column], state), dtype=np.float64)
    numbers = frame.numbers(column)
    counts = frame.people_per(_bin_of(numbers, state["edges"]), count=len(state["edges"]) - 1)
    return np.array([frame.people(frame.present(column)), not frame.one_row_each, sums.too_large(numbers), *counts], dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used. Small counts are suppressed, not refused, unless each of two hospitals would see the other's."""
    if state["step"] != "bins":
        return search.refusals(total, [question["column"]], state, terms)
    people, _, large, counts = _read(total, state)
    reasons = [checks.TOO_LARGE.about(question["column"])] if large else []
    if terms.hospitals == 2 and any(0 < count < terms.smallest_cell for count in (people, *counts)):
        reasons.append(SMALL_FOR_THE_OTHER)
    return reasons


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result, or `refused` where no edges could be found."""
    if state["step"] == "bins":
        return {"step": "done", "result": _result(total, question, state)}
    column = question["column"]
    rows = search.counted(total, [column], state)[column]["rows"]
    ranks = _outer_ranks(rows, smallest=terms.smallest_cell)

    def wanted(name: str, one: Bracket) -> bool:
        return any(one.holds(rank) for rank in ranks)

    after = search.advance(total, [column], state, terms, wanted=wanted, trimmed=False)
    if after["step"] != "found":
        return after
    edges = _round_edges(after["columns"].get(column), ranks, bins=question.get("bins", USUAL_BINS))
    if edges is None:
        return refusal.end(NO_EDGES.about(column))
    return {"step": "bins", "edges": edges, "labels": _labels(edges)}


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: the bins, once they are known; before, who has a value."""
    numbers = frame.numbers(question["column"])
    if "edges" not in question:
        return [np.where(np.isnan(numbers), -1, 0).astype(np.int64)]
    return [_bin_of(numbers, question["edges"])]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [len(question["edges"]) - 1 if "edges" in question else 1]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`percent` of those who have a value; None for a bin, or a total, that is left out."""
    n = result["n"]
    return {**result, "bins": [{**one, "percent": None if None in (one["n"], n) else 100 * one["n"] / n} for one in result["bins"]]}


def _bin_of(numbers: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    """The bin of each row: from an edge up to, and without, the next; -1 for missing values."""
    places = np.searchsorted(np.asarray(edges[1:-1], dtype=np.float64), numbers, side="right")
    return np.where(np.isnan(numbers), -1, places).astype(np.int64)


def _read(total: Sequence[float], state: dict[str, Any]) -> tuple[int, bool, bool, list[int]]:
    reader = sums.Reader(total)
    people, repeated, large = reader.count(), reader.flag(), reader.flag()
    counts = [reader.count() for _ in range(len(state["edges"]) - 1)]
    reader.end()
    return people, repeated, large, counts


def _result(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    people, repeated, _, counts = _read(total, state)
    column, edges = question["column"], [float(edge) for edge in state["edges"]]
    lower, upper = [None, *edges[1:-1]], [*edges[1:-1], None]
    bins = [{"from": low, "to": high, "n": count} for low, high, count in zip(lower, upper, counts, strict=True)]
    derived = f"{column} in {edges}"
    said: list[dict[str, Any]] = [{"who": {}, "present": [name], "n": people, "at": ["n"]} for name in (column, derived)]
    said += [
        {"who": {derived: label}, "present": [], "n": count, "at": ["bins", place, "n"]}
        for place, (label, count) in enumerate(zip(state["labels"], counts, strict=True))
    ]
    result = {"n": people, "column": column, "edges": edges, "bins": bins, "said": said}
    return result | ({"repeated_people": True} if repeated else {})


def _labels(edges: Sequence[float]) -> list[str]:
    texts = [f"{edge:.15g}" for edge in edges[1:-1]]
    return [f"< {texts[0]}", *(f"{one} to under {other}" for one, other in itertools.pairwise(texts)), f">= {texts[-1]}"]


def _outer_ranks(rows: int, *, smallest: int) -> tuple[int, int]:
    outside = max(smallest, math.ceil(OUTER * rows))
    return outside, rows - 1 - outside


def _round_edges(column: dict[str, Any] | None, ranks: tuple[int, int], *, bins: int) -> list[float] | None:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, between the brackets in which the outer ranks lie."""
    if column is None or ranks[0] >= ranks[1]:
        return None
    low, high = (next((one for one in search.brackets(column) if one.holds(rank)), None) for rank in ranks)
    if low is None or high is None or low.upper is None or high.lower is None or low.upper >= high.lower:
        return None
    wide = (high.lower - low.upper) / bins
    power = 10.0 ** math.floor(math.log10(wide))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= wide * (1 - 1e-9))
    step = max(1.0, math.ceil(step)) if column["whole"] else step
    first, last = math.ceil(low.upper / step), math.floor(high.lower / step)
    return [float(f"{number * step:.12g}") for number in range(first - 1, max(first, last) + 2)]
