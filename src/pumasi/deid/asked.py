"""What a study may ask of a column: any treatment that a rule file could name, if every hospital's own rules show no less.

Treatments travel as the text that a rule file would hold, in one spelling, so that a permit can be read aloud and compared byte for byte.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from pumasi.deid import treatments
from pumasi.deid.treatments import LADDERS, Step, Steps
from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import (
    AgreedColumn,
    AgreedTreatedColumn,
    Application,
    ColumnRule,
    Dataset,
    RuledTableDescription,
    TreatedColumnRule,
)

YEAR = "year"
_YEAR = treatments.parse({"do": "date", "to": YEAR}, "keep")
_KEEP = treatments.parse("keep", "keep")
_NUMBERS = ("round", "limit", "noise")
_SECRET = ("pseudonym", "shift", "noise")


def steps(text: str) -> Steps:
    """The steps in a text that travelled; `Invalid` when it holds none, or is not spelled as `treatments.told` spells them."""
    where = "a treatment of a column"
    try:
        given = tomllib.loads(f"treat = {text}")
    except tomllib.TOMLDecodeError:
        raise Invalid(f"{where} is not written as in a rule file; make applications with the client") from None
    found = treatments.parse(given.get("treat"), where)
    if given.keys() != {"treat"} or treatments.told(found) != text:
        raise Invalid(f"{where} is not in its one spelling; make applications with the client")
    return found


def parse(given: Any, where: str) -> Steps:
    """The steps that study.toml asks for; `Invalid` with what a study cannot ask."""
    found = treatments.parse(given, where)
    reasons = [_cannot_ask(step, where) for step in found]
    if any(reasons):
        raise Invalid(*dict.fromkeys(reason for reason in reasons if reason))
    return found


def _cannot_ask(step: Step, where: str) -> str | None:
    if step.do in ("keep", "drop"):
        return f"{where}: a column that is not treated needs no 'treat', and one that is to be dropped is left out of the study"
    if is_file(step):
        return f"{where}: a study cannot name a file at a hospital; the hierarchies that are built in are {', '.join(LADDERS)}"
    return None


def is_file(step: Step) -> bool:
    """Whether a step climbs the hierarchy of a CSV file, which lies at one hospital."""
    return bool(step.do == "generalise" and step["by"] not in LADDERS)


def of_column(column: ColumnRule | TreatedColumnRule | AgreedColumn | AgreedTreatedColumn) -> Steps:
    """How a column of a study or of a permit is treated."""
    if isinstance(column, TreatedColumnRule | AgreedTreatedColumn):
        return steps(column.treat)
    return _YEAR if column.keep == YEAR else _KEEP


def is_secret(asked: Steps) -> bool:
    """Whether what is shown depends on a key, so that no value of it can be described beforehand."""
    return any(step.do in _SECRET for step in asked)


def kind_after(asked: Steps) -> ColumnKind | None:
    """What kind of value these steps leave, whatever they are given; None: what was there."""
    last = asked[-1]
    if last.do in _NUMBERS or (last.do == "date" and last["to"] == YEAR):
        return "number"
    if last.do == "keep":
        return None
    return "date" if last.do == "shift" and not last["time"] else "text"


def refusals(application: Application, datasets: Iterable[Dataset]) -> list[str]:
    """Why these hospitals' rules do not allow the columns in the form that a study asks for; empty means they do."""
    reasons: list[str] = []
    for table, wanted in application.tables.items():
        for column, rule in wanted.columns.items():
            if isinstance(rule, TreatedColumnRule):
                reasons.extend(_misread(f"{table}.{column}", rule))
    if reasons:
        return reasons
    for dataset in datasets:
        for table, wanted in application.tables.items():
            shown = dataset.tables.get(table)
            if isinstance(shown, RuledTableDescription):
                asked = {name: rule for name, rule in wanted.columns.items() if name in shown.columns}
                reasons.extend(
                    reason
                    for name, rule in asked.items()
                    if (reason := _looser(f"{table}.{name}", dataset.hospital, rule, shown.columns[name].treat, shown.rules.name))
                )
    return reasons


def _misread(where: str, rule: TreatedColumnRule) -> list[str]:
    try:
        found = steps(rule.treat)
        parse([{"do": step.do, **{name: value for name, value in step.given.items() if value is not None}} for step in found], where)
    except Invalid as invalid:
        return invalid.reasons
    return [] if kind_after(found) == rule.kind else [f"{where}: the study names another kind of value than its treatment leaves"]


def _looser(where: str, hospital: str, rule: ColumnRule | TreatedColumnRule, shown: str, rules: str) -> str | None:
    asked = of_column(rule)
    if asked == _KEEP or treatments.at_least_as_tight(asked, steps(shown)):
        return None  # a column that is asked for as it is comes as the hospital shows it
    return (
        f"{where}: the rules '{rules}' of {hospital} say {shown}, and the study asks for {treatments.told(asked)}, which would show more; "
        "ask for a form that hides at least as much, or leave 'treat' and 'keep' out to take the hospital's"
    )
