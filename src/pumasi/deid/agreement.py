"""What a study asks and what hospitals describe become one agreed table, the same at every hospital of the study."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pumasi.deid import asked
from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import (
    UNTREATED,
    Agreed,
    AgreedColumn,
    AgreedTable,
    AgreedTreatedColumn,
    Application,
    ColumnDescription,
    ColumnRule,
    Dataset,
    TableRule,
    TreatedColumnRule,
    level_order,
    level_text,
    number_of,
)

_TOLD = 5  # hospitals that a reason names


def agree(application: Application, datasets: list[Dataset]) -> dict[str, AgreedTable]:
    """The tables as all hospitals will hold them: kinds reconciled, levels given by the study or united from the descriptions.

    Pure, so that every node and the researcher compute the same from the same documents. `Invalid` with every mismatch, and with every
    column that is asked for in a form that shows more than the rules of a hospital.
    """
    reasons = asked.refusals(application, datasets)
    tables = {name: _agree_table(name, rule, datasets, reasons) for name, rule in application.tables.items()}
    if reasons:
        raise Invalid(*reasons)
    return tables


def _agree_table(table: str, rule: TableRule, datasets: list[Dataset], reasons: list[str]) -> AgreedTable:
    described = [(dataset.hospital, dataset.tables[table]) for dataset in datasets if table in dataset.tables]
    without = [dataset.hospital for dataset in datasets if table not in dataset.tables]
    others = [hospital for hospital, description in described if description.person != rule.person]
    if without:
        reasons.append(
            f"{_named(without, 'describes', 'describe')} no table '{table}'; "
            f"ask {'it' if len(without) == 1 else 'them'} to add the table to node.toml, or leave it out of the study"
        )
    if others:
        reasons.append(f"{_named(others, 'identifies', 'identify')} people in '{table}' by another column than '{rule.person}'")
    columns = {}
    for column, wanted in rule.columns.items():
        if wanted.is_ == "identifier" or column == rule.person:
            continue
        found = [(hospital, description.columns[column]) for hospital, description in described if column in description.columns]
        lacking = [hospital for hospital, description in described if column not in description.columns]
        if lacking:
            reasons.append(
                f"{_named(lacking, 'has', 'have')} no column '{column}' in '{table}' that a study may use (missing from the file, or an "
                "identifier there); correct the file or leave the column out of study.toml"
            )
        agreed = _agree_column(f"{table}.{column}", wanted, found, reasons)
        if agreed is not None:
            columns[column] = agreed
    return AgreedTable(person=rule.person, columns=columns)


def _agree_column(
    where: str, wanted: TreatedColumnRule | ColumnRule, found: list[tuple[str, ColumnDescription]], reasons: list[str]
) -> Agreed | None:
    """A column as the study asks for it, else as all its hospitals show it."""
    if isinstance(wanted, TreatedColumnRule):
        return _agreed(wanted, wanted.treat, wanted.kind, _agree_levels(where, wanted, wanted.kind, [], reasons), two=False)
    if wanted.keep == "year":
        dated: list[ColumnKind | None] = ["date", None]
        other = {hospital for hospital, one in found if asked.treat_of(one) == UNTREATED and one.kind not in dated}
        if other:
            reasons.append(
                f'{where}: keep = "year" needs dates (like 1960-05-01) at every hospital; {_named(other, "holds", "hold")} something else'
            )
            return None
        return AgreedColumn.model_validate({"is": wanted.is_, "keep": "year", "kind": "number", "levels": [], "two_valued": False})
    treatments = {asked.treat_of(description) for _, description in found} or {UNTREATED}
    if len(treatments) > 1:
        told = "; ".join(sorted(f"{_named(_who(found, asked.treat_of, treat))}: {treat}" for treat in treatments))
        reasons.append(f"{where}: the hospitals show it in different forms ({told}); ask for one that each of them allows, with treat = …")
        return None
    kinds: set[ColumnKind | None] = {description.kind for _, description in found if description.kind is not None}
    if "text" in kinds and any(number_of(level) is None for level in wanted.levels or []):
        kinds = {"text"}  # as the study says; a small hospital may by chance hold only those that look like numbers or days
    if len(kinds) > 1:
        told = "; ".join(sorted(f"{_named(_who(found, _kind, kind), 'holds', 'hold')} {kind} values" for kind in kinds))
        instead = ", or give levels = [...] in study.toml, of which one is no number, and all count as texts" if "text" in kinds else ""
        reasons.append(f"{where}: the hospitals hold different kinds of value ({told}); correct the files so that they agree{instead}")
        return None
    kind: ColumnKind = kinds.pop() if kinds else "text"  # type: ignore[assignment]  # None was taken out above
    levels = _agree_levels(where, wanted, kind, [level for _, description in found for level in description.levels], reasons)
    if levels is None:
        return None
    two = kind == "number" and 1 <= len(levels) <= 2 and all(description.spread == "one-or-two" for _, description in found)
    if kind == "number" and any(description.spread == "many" for _, description in found) and wanted.levels is None:
        levels = []  # a measurement: the few values that one small hospital could name are no categories
    return _agreed(wanted, treatments.pop(), kind, levels, two=two)


def _agreed(wanted: TreatedColumnRule | ColumnRule, treat: str, kind: ColumnKind, levels: list[str] | None, *, two: bool) -> Agreed | None:
    if levels is None:
        return None
    fields = {"is": wanted.is_, "kind": kind, "levels": levels, "two_valued": two}
    if treat == UNTREATED:
        return AgreedColumn.model_validate(fields | {"keep": None})
    return AgreedTreatedColumn.model_validate(fields | {"treat": treat})


def _agree_levels(
    where: str, wanted: TreatedColumnRule | ColumnRule, kind: ColumnKind, named: list[str], reasons: list[str]
) -> list[str] | None:
    """The levels the study gives, in its order, else the sorted union of those described; numbers written in one way, so 1.0 is "1"."""
    if kind == "boolean":
        return ["False", "True"]
    levels = named if wanted.levels is None else wanted.levels
    if kind == "number":
        numbers = [number for number in map(number_of, levels) if number is not None]
        if len(numbers) < len(levels):
            who = "a hospital describes" if wanted.levels is None else "the study gives"
            reasons.append(f"{where}: {who} levels that are not numbers, but the hospitals hold numbers")
            return None
        levels = [level_text(number) for number in numbers]
    if wanted.levels is None:
        return sorted(set(levels), key=level_order(kind))
    if len(set(levels)) < len(levels):
        reasons.append(f"{where}: the study gives the same level twice")
        return None
    return list(levels)


def _kind(description: ColumnDescription) -> ColumnKind | None:
    return description.kind


def _who(found: list[tuple[str, ColumnDescription]], what: Callable[[ColumnDescription], str | None], value: str | None) -> list[str]:
    return [hospital for hospital, description in found if what(description) == value]


def _named(hospitals: Collection[str], one: str = "", several: str = "") -> str:
    """Some hospitals and what they do; of hundreds the first few."""
    names = sorted(set(hospitals))
    some = ", ".join(names) if len(names) <= _TOLD + 1 else f"{', '.join(names[:_TOLD])} and {len(names) - _TOLD} others"
    return f"{some} {one if len(names) == 1 else several}".rstrip()
