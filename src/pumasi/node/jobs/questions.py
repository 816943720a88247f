"""From what a job asks to what the permit lets it mean: agreed kinds and levels, nothing taken on the asker's word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pumasi.analysis import filter, forms
from pumasi.analysis.methods import KINDS
from pumasi.kernel.permit import columns_of
from pumasi.kernel.study import AgreedTable


def refusals(question: dict[str, Any], table: AgreedTable, *, hospitals: Sequence[str]) -> list[str]:
    """Why agreed kinds and levels do not allow a question that the permit covers. Asked after the permit, which knows kind and table."""
    name = question["name"]
    if not isinstance(name, str):
        return ["the name of an analysis is a text"]
    question = forms.arrived(question)
    reasons = forms.refusals(question)
    reasons = reasons or _unread(question)
    if not reasons:
        told = complete(question, table, hospitals=hospitals, here=hospitals[0])
        kinds, levels = told["column_kinds"], told["levels"]
        reasons = filter.check(question["filter"], kinds, levels) if "filter" in question else []
        if ("where" in question) != ("filter" in question):
            reasons.append("a condition goes with its plain form; make jobs with the client")
        reasons += KINDS[question["kind"]].check(question, *_with_hospital(told))
    return [f"'{name}': {reason}" for reason in dict.fromkeys(reasons)]


def _unread(question: dict[str, Any]) -> list[str]:
    """Columns that a question's keys name, but not its `reads`: the permit has not seen them."""
    keys = forms.keys_of(question["kind"])
    named = [question[name] for name, key in keys.items() if key.what == "column" and name in question]
    named += [one for name, key in keys.items() if key.what == "columns" and name != "reads" for one in question.get(name, [])]
    unread = [name for name in dict.fromkeys(named) if name not in columns_of(question)]
    return [f"it names the column '{name}', but does not say that it reads it; make jobs with the client" for name in unread]


def _with_hospital(told: dict[str, Any]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Kinds and levels next to the hospital, which a model may name unless a column is called so."""
    kinds, levels = told["column_kinds"], told["levels"]
    if "design" not in told or forms.HOSPITAL in kinds:
        return kinds, levels
    return {**kinds, forms.HOSPITAL: "text"}, {**levels, forms.HOSPITAL: told["hospitals"]}


def complete(question: dict[str, Any], table: AgreedTable, *, hospitals: Sequence[str], here: str) -> dict[str, Any]:
    """The question with everything both halves of the method need, from the permit and the job alone. `here` is this hospital."""
    columns = table.columns
    asked = sorted(columns_of(question))
    return {
        **forms.arrived(question),
        "column_kinds": {name: columns[name].kind for name in asked},
        "levels": {name: list(columns[name].levels) for name in asked},
        "two_valued": [name for name in asked if columns[name].two_valued],
        "hospitals": sorted(hospitals),
        "here": here,
    }
