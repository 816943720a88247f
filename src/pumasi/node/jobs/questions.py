"""From what a job asks to what the permit lets it mean: agreed kinds and levels, nothing taken on the asker's word."""

from __future__ import annotations

import math
from typing import Any

from pumasi.analysis import design
from pumasi.kernel.permit import columns_of
from pumasi.kernel.study import AgreedTable

FAMILIES = ("gaussian", "binomial", "poisson")
MOST_CELLS = 2500
MOST_COLUMNS = 500  # of one description


def refusals(question: dict[str, Any], table: AgreedTable) -> list[str]:
    """Why agreed kinds and levels do not allow a question that the permit covers. Asked after the permit, which knows the fields."""
    name = question["name"]
    if not isinstance(name, str):
        return ["the name of an analysis is a text"]
    match question["kind"]:
        case "glm":
            return [f"'{name}': {reason}" for reason in _model_refusals(question, table)]
        case "table":
            return [f"'{name}': {reason}" for reason in _table_refusals(question["by"], table)]
        case _:
            listed = question["columns"]
            fits = len(set(listed)) == len(listed) <= MOST_COLUMNS
            return [] if fits else [f"'{name}': a description lists at most {MOST_COLUMNS} columns, each once"]


def _model_refusals(question: dict[str, Any], table: AgreedTable) -> list[str]:
    if question["family"] not in FAMILIES:
        return [f"the family of a model is one of {', '.join(FAMILIES)}"]
    if not isinstance(question["formula"], str):
        return ["the formula of a model is a text"]
    kinds = {name: column.kind for name, column in table.columns.items()}
    return design.check(question["design"], kinds, {name: column.levels for name, column in table.columns.items()})


def _table_refusals(by: list[str], table: AgreedTable) -> list[str]:
    if len(by) > 2 or len(set(by)) < len(by):
        return ["a table counts by one or two columns, each once"]
    without = [name for name in by if not table.columns[name].levels]
    reasons = [f"'{name}' has no agreed levels to count by; give levels = [...] in study.toml" for name in without]
    cells = math.prod(max(1, len(table.columns[name].levels)) for name in by)
    return [*reasons, f"it would have more than {MOST_CELLS} cells; group the levels"] if cells > MOST_CELLS else reasons


def complete(question: dict[str, Any], table: AgreedTable) -> dict[str, Any]:
    """The question with everything both halves of the method need, from the permit alone."""
    columns = table.columns
    asked = columns_of(question)
    return {
        **question,
        "column_kinds": {name: columns[name].kind for name in sorted(asked)},
        "levels": {name: list(columns[name].levels) for name in sorted(asked)},
        "two_valued": sorted(name for name in asked if columns[name].two_valued),
    }
