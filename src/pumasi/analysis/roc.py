"""How well a score tells people with an outcome from people without: area under the ROC curve, and the curve.

The area is that of the score in its bins, pairs in one bin counting half (Hanley and McNeil, Radiology 143, 1982), with DeLong's standard
error (Biometrics 44, 1988) and with bounds: the area of the score itself lies between those of the best and the worst order within
bins. The area comes from all bins, the curve from neighbouring bins together that are large enough to be published (scores.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import refusal, scores
from pumasi.analysis.inference import Z
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.scores import group_counts, groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]

SEPARATED = Refusal(
    "class-disclosure", "'{}' foretells '{}' with hardly an error, so that it would tell the outcome of everybody whose score is known"
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """A score and an outcome."""
    return scores.check(question, kinds, levels)


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    return np.array(scores.local(frame, question, state), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    return scores.refusals(total, question, state, terms)


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result, or `refused` where the score separates the outcomes."""
    after = scores.advance(total, question, state, terms, trimmed=True)
    if after["step"] != "counted":
        return after
    area, least, most, error = _area(after["bins"])
    if most >= 1 or least <= 0:  # all bins but one hold one outcome alone
        return refusal.end(SEPARATED.about(question["score"], question["outcome"]))
    found = scores.result(
        question, after, scores.merged(after["bins"], smallest=terms.smallest_cell, most=question.get("bins", scores.MOST_BINS))
    )
    found |= {"estimates": {"auroc": area}, "bounds": {"auroc": [least, most]}}
    return {"step": "done", "result": found | {"standard_errors": {"auroc": None if after["repeated"] else error}}}


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`intervals` of 95 per cent, and the `curve`: at each edge of the bins, whoever scores above it is taken to have the outcome."""
    area, error = result["estimates"]["auroc"], result["standard_errors"]["auroc"]
    reach = None if error is None else Z * error
    interval = None if reach is None else [max(0.0, area - reach), min(1.0, area + reach)]
    events, others = (scores.summed(scores.shares(result, key)) for key in ("events", "others"))
    curve = []
    for place, edge in enumerate(result["edges"]):
        missed, cleared, all_events, all_others = events[place], others[place], events[-1], others[-1]
        if missed is None or cleared is None or all_events is None or all_others is None:
            curve.append({"threshold": edge} | dict.fromkeys(("sensitivity", "specificity", "ppv", "npv")))
            continue
        found, wrong = all_events - missed, all_others - cleared
        curve.append(
            {
                "threshold": edge,
                "sensitivity": found / all_events,
                "specificity": cleared / all_others,
                "ppv": found / (found + wrong),
                "npv": cleared / (cleared + missed),
            }
        )
    return {**result, "intervals": {"auroc": interval}, "curve": curve}


def _area(bins: Sequence[dict[str, Any]]) -> tuple[float, float, float, float]:
    """(area, least, most, standard error) from rows with and without the outcome in bins of rising score."""
    ones, zeros = sum(one["ones"] for one in bins), sum(one["zeros"] for one in bins)
    below, above = 0, ones
    wins = ties = open_ties = 0
    placed: list[tuple[int, int, float, float]] = []
    for one in bins:
        above -= one["ones"]
        wins += one["ones"] * below
        ties += one["ones"] * one["zeros"]
        open_ties += 0 if one["one_value"] else one["ones"] * one["zeros"]
        placed.append((one["ones"], one["zeros"], (below + one["zeros"] / 2) / zeros, (above + one["ones"] / 2) / ones))
        below += one["zeros"]
    pairs = ones * zeros
    area = (2 * wins + ties) / (2 * pairs)
    parts = [math.fsum(row[side] * (row[side + 2] - area) ** 2 for row in placed) for side in (0, 1)]
    error = math.sqrt(sum(part / (count - 1) / count for part, count in zip(parts, (ones, zeros), strict=True) if count > 1))
    least, most = ((2 * wins + ties + side * open_ties) / (2 * pairs) for side in (-1, 1))
    return area, least, most, error
