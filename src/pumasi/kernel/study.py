"""What is described, asked for and agreed: a hospital's dataset, a researcher's application, and the terms both lead to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pumasi.kernel.codes import AnalysisKind, ColumnClass, ColumnKind, Keep, Purpose
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


def number_of(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def level_order(kind: ColumnKind) -> Callable[[str], tuple[float, str]]:
    """The sort key of levels: numbers by size, the rest as text (what formulaic and pandas do)."""
    return (lambda level: (number_of(level) or 0.0, level)) if kind == "number" else (lambda level: (0.0, level))


def level_text(value: float) -> str:
    """How a number is written as a level: 1.0 -> "1", 0.5 -> "0.5"."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def level_value(level: str, kind: ColumnKind) -> str | int | float | bool:
    """The JSON value of a level of a column of this kind."""
    if kind == "number":
        number = float(level)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return level == "True" if kind == "boolean" else level
