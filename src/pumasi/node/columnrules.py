"""What a hospital's rule file lets leave a source: node.toml may name one for each table, and a permit may only hide more.

A permit knows two treatments, the value itself and the year of a date. A column may be asked for in that form only if it shows no more
than the rules do; columns that the rules drop, move, coarsen or do not know are neither described nor extracted.
"""

from __future__ import annotations

from collections.abc import Iterable

from pumasi.deid import treatments
from pumasi.deid.rulefile import Rules
from pumasi.deid.treatments import Step, Steps

_ASKED: dict[str | None, Steps] = {"year": (Step("date", {"to": "year", "at": None, "top": 90, "format": None}),), None: (Step("keep"),)}


def shown(rules: Rules | None, table: str, columns: Iterable[str]) -> list[str]:
    """The columns that may be described: those that may be asked for in some form."""
    return [column for column in columns if any(refusal(rules, table, column, keep) is None for keep in _ASKED)]


def refusal(rules: Rules | None, table: str, column: str, keep: str | None) -> str | None:
    """Why a column may not be extracted in this form, or None."""
    if rules is None:
        return None
    rule = rules.rule_of(table, column)
    if rule is None:
        return f"the rules '{rules.name}' of this table know nothing of the column '{column}'"
    if treatments.at_least_as_tight(_ASKED.get(keep, _ASKED[None]), rule.steps):
        return None
    return f"the rules '{rules.name}' of this table say {treatments.told(rule.steps)} for the column '{column}'; the permit would show more"
