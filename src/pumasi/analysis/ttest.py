"""Means of one column compared between two groups: Welch's t test and Student's. The steps and promises are those of anova.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pumasi.analysis import anova, inference
from pumasi.analysis.anova import advance, group_counts, groups, local, refusals, start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers, and just two groups."""
    reasons = anova.check(question, kinds, levels)
    by = question["by"]
    if not reasons and len(levels[by]) != 2:
        reasons.append(f"'{by}' has {len(levels[by])} levels, but a t test compares two; take anova, or give it two levels in study.toml")
    return reasons


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`welch` and `student`: second group less first. `smd`: in standard deviations. None where a number is left out."""
    samples = anova.samples_of(result)
    if not samples:
        return {**result, "welch": None, "student": None, "smd": None}
    one, other = samples
    return {
        **result,
        "welch": inference.t_test(one, other, equal=False),
        "student": inference.t_test(one, other, equal=True),
        "smd": inference.difference_of_means(one, other),
    }
