"""Results as people read them, laid out like the tables of a paper and the summaries of statsmodels; nothing is computed here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pumasi.analysis import refusal
from pumasi.analysis.printed import compared, descriptive, layout, models
from pumasi.analysis.summary import glm_summary

Result = dict[str, Any]

# What it is called, and its lines between title and notes.
_KINDS: Mapping[str, tuple[str, Callable[[Result], list[str]]]] = {
    "count": ("number of people", descriptive.count),
    "describe": ("description", descriptive.describe),
    "table": ("people by group", descriptive.cross),
    "table1": ("table 1", descriptive.table1),
    "histogram": ("histogram", descriptive.histogram),
    "quantiles": ("quantiles", descriptive.quantiles),
    "correlation": ("Pearson's correlation", compared.correlation),
    "ttest": ("two means compared", compared.means),
    "anova": ("means compared", compared.means),
    "roc": ("ROC curve", compared.roc),
    "calibration": ("calibration", compared.calibration),
    "brier": ("Brier score", compared.brier),
    "cox": ("Cox model", models.cox),
    "kaplan_meier": ("survival", models.kaplan_meier),
    "logrank": ("survival compared", models.logrank),
    "meta": ("meta-analysis", models.meta),
}


def text(result: Mapping[str, Any]) -> str:
    """One result: title, people, the table of its kind, and notes."""
    what = "refused" if "refused" in result else _KINDS.get(result["kind"], (result["kind"], None))[0]
    return "\n".join([f"{result['name']}: {what}", *lines(result)])


def lines(result: Mapping[str, Any]) -> list[str]:
    """The same without its title."""
    found = dict(result)
    if "refused" in found:
        return [f"  {line}" for line in refusal.lines(found)]
    if found["kind"] == "glm":
        return [*glm_summary(found).splitlines(), *layout.notes(found, [])]
    if found["kind"] not in _KINDS:
        return json.dumps(found, ensure_ascii=False, indent=2).splitlines()
    shown = [layout.people(found), *_KINDS[found["kind"]][1](found)]
    return [*shown, *layout.notes(found, shown)]
