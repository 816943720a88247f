"""From what a job asks to what the permit lets it mean: exact fields, agreed kinds and levels, nothing taken on the asker's word."""

from __future__ import annotations

from typing import Any

from pumasi.analysis import design
from pumasi.kernel.permit import columns_of
from pumasi.kernel.study import AgreedTable

FIELDS = {
    "table": {"name", "kind", "table", "by"},
    "describe": {"name", "kind", "table", "columns"},
    "glm": {"name", "kind", "table", "family", "formula", "design"},
}
FAMILIES = ("gaussian", "binomial", "poisson")
MOST_CELLS = 2500


def shape_refusals(question: dict[str, Any]) -> list[str]:
    """Why a question does not have the form of its kind; asked before the permit is."""
    fields = FIELDS.get(str(question.get("kind")))
    if fields is None or question.keys() != fields:
        return ["an analysis has exactly the fields of its kind; make jobs with the client"]
    name, kind = question["name"], question["kind"]
    if not all(isinstance(question[key], str) for key in ("name", "table")):
        return ["name and table of an analysis are texts"]
    listed = question.get("by", question.get("columns", []))
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed) or len(set(listed)) < len(listed):
        return [f"'{name}' lists columns by name, each once"]
    if kind == "table" and not 1 <= len(listed) <= 2:
        return [f"'{name}' counts by one or two columns"]
    if kind == "describe" and not 1 <= len(listed) <= 500:
        return [f"'{name}' describes at least one column"]
    if kind == "glm" and question["family"] not in FAMILIES:
        return [f"'{name}' asks for a family that is not one of {', '.join(FAMILIES)}"]
    if kind == "glm" and not (isinstance(question["formula"], str) and isinstance(question["design"], dict)):
        return [f"'{name}' has a formula and the design compiled from it"]
    return []


def term_refusals(question: dict[str, Any], table: AgreedTable) -> list[str]:
    """Why the agreed kinds and levels do not allow a well-formed question whose columns the permit covers."""
    kinds = {name: column.kind for name, column in table.columns.items()}
    levels = {name: column.levels for name, column in table.columns.items()}
    if question["kind"] == "glm":
        return [f"'{question['name']}': {reason}" for reason in design.check(question["design"], kinds, levels)]
    if question["kind"] != "table":
        return []
    without = [name for name in question["by"] if not levels[name]]
    reasons = [f"'{question['name']}': '{name}' has no agreed levels to count by; give levels = [...] in study.toml" for name in without]
    cells = 1
    for name in question["by"]:
        cells *= max(1, len(levels[name]))
    return reasons + ([f"'{question['name']}' would have more than {MOST_CELLS} cells"] if cells > MOST_CELLS else [])


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
