"""A hospital's own rule files stand before every permit: node.toml names one for a table, and a permit may only hide more.

The table is described as its rules leave it. A permit names the rules, and how each column is treated: as they say, or more tightly.
"""

from __future__ import annotations

from collections.abc import Mapping

from pumasi.deid import asked, treatments
from pumasi.deid.rulefile import Rules
from pumasi.deid.treatments import Steps
from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.study import Agreed, RulesNamed


def named(rules: Rules) -> RulesNamed:
    """The rules as a description and a permit name them."""
    return RulesNamed(name=rules.name, sha256=rules.digest)


def shown(rules: Rules, table: str, kinds: Mapping[str, ColumnKind | None]) -> dict[str, Steps]:
    """The columns that the rules show at all, and how; `kinds` are what the columns hold. One that they do not know is not shown."""
    found = {column: rules.rule_of(table, column, kind) for column, kind in kinds.items()}
    return {column: asked.named(rule.steps, rules) for column, rule in found.items() if rule is not None and rule.steps[0].do != "drop"}


def refusal(rules: Rules | None, table: str, column: str, kind: ColumnKind | None, agreed: Agreed) -> str | None:
    """Why a column of this kind may not be extracted in the form of a permit, or None."""
    steps = asked.of_column(agreed)
    if rules is None:
        return f"this table has no hierarchy for the column '{column}'" if asked.lacks(steps, ()) else None
    rule = rules.rule_of(table, column, kind)
    if rule is None:
        return f"the rules '{rules.name}' of this table know nothing of the column '{column}'"
    said = asked.named(rule.steps, rules)
    if asked.lacks(steps, said):
        return f"the rules '{rules.name}' of this table have no such hierarchy for the column '{column}'"
    if treatments.at_least_as_tight(steps, said):
        return None
    return f"the rules '{rules.name}' of this table say {treatments.told(said)} for the column '{column}'; the permit would show more"


def changed(rules: Rules | None, permitted: RulesNamed | None) -> str | None:
    """Why a permit that names rules no longer fits those of the table, or None. Rules that came later are asked column by column."""
    if permitted is None or (rules is not None and named(rules) == permitted):
        return None
    return (
        f"the permit names the rules '{permitted.name}' as they were when the table was described, and node.toml has others now; "
        "describe the dataset again, and let the study be applied for anew"
    )
