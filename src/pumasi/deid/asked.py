"""What a study may ask of a column: any treatment that a rule file could name, if every hospital's own rules show no less.

Treatments travel as the text that a rule file would hold, in one spelling, so that a permit can be read aloud and compared byte for byte.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pumasi.deid import treatments
from pumasi.deid.rulefile import Rules, content_name
from pumasi.deid.treatments import LADDERS, Step, Steps
from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import (
    UNTREATED,
    AgreedColumn,
    AgreedTreatedColumn,
    Application,
    ColumnDescription,
    ColumnRule,
    Dataset,
    RuledTableDescription,
    TableDescription,
    TreatedColumnRule,
    TreatedDescription,
)

YEAR = "year"
_YEAR = treatments.parse({"do": "date", "to": YEAR}, "keep")
_KEEP = treatments.parse("keep", "keep")
_NUMBERS = ("round", "limit", "noise")
_CONTENT = re.compile(r"sha256-[0-9a-f]{64}\.csv")  # as rulefile.content_name writes it
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
    if treatments.climbs_file(step) and not _CONTENT.fullmatch(step["by"]):
        return (
            f"{where}: a study cannot name a file at a hospital; the hierarchies that are built in are {', '.join(LADDERS)}, "
            "and one of the hospitals' own goes by the name that their descriptions give it (sha256-....csv)"
        )
    return None


def named(steps: Steps, rules: Rules) -> Steps:
    """Steps of a hospital's rules as others read them: a CSV hierarchy goes by the name of what it holds, not by where it lies."""
    return tuple(treatments.climbing(step, rules.hierarchies[step["by"]]) if treatments.climbs_file(step) else step for step in steps)


def found(steps: Steps, rules: Rules, where: str) -> Steps:
    """The same as this hospital carries them out; `Invalid` when the hierarchy is not here, or holds something else by now."""
    paths = {name: path for path, name in rules.hierarchies.items()}
    for name in _files(steps):
        if name not in paths:
            raise Invalid(f"{where}: the rules of this table have no hierarchy {name}")
        path = Path(paths[name])
        if not path.is_file() or content_name(path) != name:
            raise Invalid(f"{where}: {path} was changed since its rules were read; start the node anew and describe the dataset again")
    return tuple(treatments.climbing(step, paths[step["by"]]) if treatments.climbs_file(step) else step for step in steps)


def _files(steps: Steps) -> set[str]:
    return {step["by"] for step in steps if treatments.climbs_file(step)}


def lacks(steps: Steps, shown: Steps) -> bool:
    """Whether steps climb a CSV hierarchy that the hospital, which shows the column like this, does not climb in it."""
    return not _files(steps) <= _files(shown)


def of_column(column: ColumnRule | TreatedColumnRule | AgreedColumn | AgreedTreatedColumn) -> Steps:
    """How a column of a study or of a permit is treated."""
    if isinstance(column, TreatedColumnRule | AgreedTreatedColumn):
        return steps(column.treat)
    return _YEAR if column.keep == YEAR else _KEEP


def treat_of(description: ColumnDescription) -> str:
    """How a hospital shows a column, as its description says."""
    return description.treat if isinstance(description, TreatedDescription) else UNTREATED


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
    reasons: list[str | None] = []
    for table, wanted in application.tables.items():
        for column, rule in wanted.columns.items():
            if isinstance(rule, TreatedColumnRule):
                reasons.extend(_misread(f"{table}.{column}", rule))
    if reasons:
        return [reason for reason in reasons if reason]
    for dataset in datasets:
        for table, wanted in application.tables.items():
            shown = dataset.tables.get(table)
            for name, rule in wanted.columns.items():
                if shown is not None and name in shown.columns:
                    reasons.append(_misfit(f"{table}.{name}", dataset.hospital, rule, shown, name))
    return [reason for reason in reasons if reason]


def _misread(where: str, rule: TreatedColumnRule) -> list[str]:
    try:
        found = steps(rule.treat)
        parse([{"do": step.do, **{name: value for name, value in step.given.items() if value is not None}} for step in found], where)
    except Invalid as invalid:
        return invalid.reasons
    return [] if kind_after(found) == rule.kind else [f"{where}: the study names another kind of value than its treatment leaves"]


def _misfit(
    where: str, hospital: str, rule: ColumnRule | TreatedColumnRule, table: RuledTableDescription | TableDescription, column: str
) -> str | None:
    asked, treat = of_column(rule), treat_of(table.columns[column])
    if asked == _KEEP:
        return None  # a column that is asked for as it is comes as the hospital shows it
    if lacks(asked, steps(treat)):
        return f"{where}: {hospital} has no such hierarchy for it; ask for a form that each hospital allows, or leave 'treat' out"
    if not isinstance(table, RuledTableDescription) or treatments.at_least_as_tight(asked, steps(treat)):
        return None
    return (
        f"{where}: the rules '{table.rules.name}' of {hospital} say {treat}, and the study asks for {treatments.told(asked)}, "
        "which would show more; ask for a form that hides at least as much, or leave 'treat' and 'keep' out to take the hospital's"
    )
