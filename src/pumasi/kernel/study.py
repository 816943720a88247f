"""What is described, asked for and agreed: a hospital's dataset, a researcher's application, and the terms both lead to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pumasi.kernel.codes import AnalysisKind, ColumnClass, ColumnKind, Keep, Purpose
from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Hash, Line, MemberId, Model, PersonId, RandomId

# A column or table name as it stands in the header of a file.
Name = Line
# How many different values a number column holds decides whether `describe` counts or averages it.
Spread = Literal["one-or-two", "few", "many"]
# A treatment as a rule file of de-identification writes it: `"keep"`, `{ do = "date", to = "month" }`. `deid.asked` reads it.
Treatment = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
UNTREATED = '"keep"'


class ColumnDescription(Model):
    """One column of a hospital's file. `levels` names only values that at least `smallest_cell` people have; numbers as text."""

    kind: ColumnKind | None  # None: no value in the whole column
    spread: Spread
    levels: list[Line]


class TableDescription(Model):
    person: Name
    columns: dict[Name, ColumnDescription]


class RulesNamed(Model):
    """A rule file of de-identification: its name, and the digest of all that it and what it extends say."""

    name: Line
    sha256: Hash


class TreatedDescription(ColumnDescription):
    """A column of a table under rules: kind, spread and levels are those after the treatment."""

    treat: Treatment


class RuledTableDescription(Model):
    """A table that its hospital shows only as a rule file treats it."""

    person: Name
    rules: RulesNamed
    columns: dict[Name, TreatedDescription]


class Dataset(Model):
    """What one hospital tells the others about its data. It lives in the catalogue, not in the log."""

    hospital: MemberId
    smallest_cell: int = Field(ge=1)
    tables: dict[Name, RuledTableDescription | TableDescription]


class ColumnRule(Model):
    """What a study asks of one column, in the words of study.toml."""

    is_: ColumnClass = Field(alias="is")
    keep: Keep | None = None
    levels: list[Line] | None = None


class TreatedColumnRule(Model):
    """What a study asks of a column that it wants treated: how, and what kind of value that leaves."""

    is_: ColumnClass = Field(alias="is")
    treat: Treatment
    kind: ColumnKind
    levels: list[Line] | None = None


class TableRule(Model):
    person: Name
    columns: dict[Name, TreatedColumnRule | ColumnRule]


class Application(Model):
    """What a researcher asks several hospitals for."""

    title: Line
    purpose: Purpose
    smallest_cell: int = Field(ge=1)
    applicant: PersonId
    case: RandomId
    tables: dict[Name, TableRule]
    kinds: list[AnalysisKind]
    hospitals: list[MemberId] = Field(min_length=1)
    datasets: dict[MemberId, Hash]  # the descriptions that the levels were agreed from

    def plain(self) -> dict[str, object]:
        return self.model_dump(mode="json", by_alias=True)


class AgreedColumn(Model):
    """A column of a permit: how it is transformed, and what it may hold. The same at every hospital of a study."""

    is_: Literal["quasi", "sensitive", "plain"] = Field(alias="is")
    keep: Keep | None
    kind: ColumnKind
    levels: list[Line]
    two_valued: bool


class AgreedTreatedColumn(Model):
    """A column of a permit that is treated as the study asks, or as the rules of all its hospitals say."""

    is_: Literal["quasi", "sensitive", "plain"] = Field(alias="is")
    treat: Treatment
    kind: ColumnKind
    levels: list[Line]
    two_valued: bool


Agreed = AgreedTreatedColumn | AgreedColumn


def read_agreed(value: Any) -> Agreed:
    """An agreed column of either kind; `Invalid` with every field that does not fit."""
    return (AgreedTreatedColumn if isinstance(value, dict) and "treat" in value else AgreedColumn).read(value)


class AgreedTable(Model):
    person: Name
    columns: dict[Name, Agreed]


def agree(application: Application, datasets: list[Dataset]) -> dict[str, AgreedTable]:
    """The tables as all hospitals will hold them: kinds reconciled, levels given by the study or united from the descriptions.

    Pure, so that every node and the researcher compute the same from the same documents. `Invalid` with every mismatch.
    """
    reasons: list[str] = []
    tables = {name: _agree_table(name, rule, datasets, reasons) for name, rule in application.tables.items()}
    if reasons:
        raise Invalid(*reasons)
    return tables


def _agree_table(table: str, rule: TableRule, datasets: list[Dataset], reasons: list[str]) -> AgreedTable:
    described = []
    for dataset in datasets:
        if table not in dataset.tables:
            reasons.append(
                f"{dataset.hospital} describes no table '{table}'; ask it to add the table to its node.toml, or leave it out of the study"
            )
            continue
        if dataset.tables[table].person != rule.person:
            reasons.append(f"{dataset.hospital} identifies people in '{table}' by another column than '{rule.person}'")
        described.append((dataset.hospital, dataset.tables[table]))
    columns = {}
    for column, wanted in rule.columns.items():
        if wanted.is_ == "identifier" or column == rule.person:
            continue
        found = []
        for hospital, description in described:
            if column in description.columns:
                found.append((hospital, description.columns[column]))
            else:
                reasons.append(
                    f"{hospital} has no column '{column}' in '{table}' that a study may use "
                    "(missing from its file, or an identifier there); correct the file or leave the column out of study.toml"
                )
        agreed = _agree_column(f"{table}.{column}", wanted, found, reasons)
        if agreed is not None:
            columns[column] = agreed
    return AgreedTable(person=rule.person, columns=columns)


def _agree_column(
    where: str, wanted: TreatedColumnRule | ColumnRule, found: list[tuple[str, ColumnDescription]], reasons: list[str]
) -> Agreed | None:
    """A column as the study asks for it, else as all its hospitals show it. Whether each allows that form is asked elsewhere."""
    if isinstance(wanted, TreatedColumnRule):
        return _agreed(wanted, wanted.treat, wanted.kind, _agree_levels(where, wanted, wanted.kind, [], reasons), two=False)
    if wanted.keep == "year":
        dated: list[ColumnKind | None] = ["date", None]
        other = {hospital for hospital, one in found if _treatment(one) == UNTREATED and one.kind not in dated}
        if other:
            reasons.append(
                f'{where}: keep = "year" needs dates (like 1960-05-01) at every hospital; {", ".join(sorted(other))} holds something else'
            )
            return None
        return AgreedColumn.model_validate({"is": wanted.is_, "keep": "year", "kind": "number", "levels": [], "two_valued": False})
    treatments = {_treatment(description) for _, description in found} or {UNTREATED}
    if len(treatments) > 1:
        told = "; ".join(sorted(f"{_who(found, _treatment, treat)}: {treat}" for treat in treatments))
        reasons.append(f"{where}: the hospitals show it in different forms ({told}); ask for one that each of them allows, with treat = …")
        return None
    kinds: set[ColumnKind | None] = {description.kind for _, description in found if description.kind is not None}
    if len(kinds) > 1:
        told = "; ".join(sorted(f"{_who(found, _kind, kind)} holds {kind} values" for kind in kinds))
        reasons.append(f"{where}: the hospitals hold different kinds of value ({told}); correct the files so that they agree")
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


def _treatment(description: ColumnDescription) -> str:
    return description.treat if isinstance(description, TreatedDescription) else UNTREATED


def _agree_levels(
    where: str, wanted: TreatedColumnRule | ColumnRule, kind: ColumnKind, named: list[str], reasons: list[str]
) -> list[str] | None:
    """The levels the study gives, in its order, else the sorted union of those described; numbers written in one way, so 1.0 is "1"."""
    if kind == "boolean":
        return ["False", "True"]
    levels = named if wanted.levels is None else wanted.levels
    if kind == "number":
        numbers = [number for number in map(_number, levels) if number is not None]
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


def _who(found: list[tuple[str, ColumnDescription]], what: Callable[[ColumnDescription], str | None], value: str | None) -> str:
    return ", ".join(sorted({hospital for hospital, description in found if what(description) == value}))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def level_order(kind: ColumnKind) -> Callable[[str], tuple[float, str]]:
    """The sort key of levels: numbers by size, the rest as text (what formulaic and pandas do)."""
    return (lambda level: (_number(level) or 0.0, level)) if kind == "number" else (lambda level: (0.0, level))


def level_text(value: float) -> str:
    """How a number is written as a level: 1.0 -> "1", 0.5 -> "0.5"."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def level_value(level: str, kind: ColumnKind) -> str | int | float | bool:
    """The JSON value of a level of a column of this kind."""
    if kind == "number":
        number = float(level)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return level == "True" if kind == "boolean" else level
