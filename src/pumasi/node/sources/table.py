"""One table of a hospital, opened: its columns, the kind of each, and SQL that yields their values. `TableSource` says where it lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import duckdb

from pumasi.deid.rulefile import Rules
from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.errors import Invalid
from pumasi.node.sources import files, values
from pumasi.node.sources.delimited import Delimited
from pumasi.node.sources.parquet import Parquet

_NAMED = 3  # lines of a mistake that are told


@dataclass(frozen=True)
class TableSource:
    """A table as node.toml names it: the file, the column that identifies people, the columns that never leave the source, and rules that
    say how the others may."""

    file: Path
    person: str
    identifiers: tuple[str, ...]
    rules: Rules | None = None


class _Reader(Protocol):
    unit: str
    columns: list[str]
    rows: int
    relation: str

    def rewrite(self) -> None: ...
    def places(self, column: int, wanted: Callable[[str], bool]) -> Iterator[int]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class _Count:
    """How many values of a column there are, and how many can be read as what."""

    present: int
    numbers: int
    infinite: int
    days: int
    booleans: int

    @property
    def kind(self) -> ColumnKind | None:
        if self.present == 0:
            return None
        if self.days == self.present:
            return "date"
        if self.numbers == self.present:
            return "number"
        return "boolean" if self.booleans == self.present else "text"


class SourceTable:
    """An open table; close it after use. `relation` yields one text column per name (see `sql`), NULL where a value is missing."""

    def __init__(
        self,
        reader: _Reader,
        name: str,
        *,
        where: str,
        levels: Mapping[str, Collection[str]],
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> None:
        """`kinds` are those that are known beforehand, whatever the values look like."""
        self.name, self.where, self._reader = name, where, reader
        self._missing = [(values.MISSING - set(levels.get(column, ()))) | {""} for column in reader.columns]
        self._counts = self._count()
        self.kinds: dict[str, ColumnKind | None] = {
            column: (kinds or {}).get(column, found.kind) if found.present else None for column, found in self._counts.items()
        }

    @property
    def relation(self) -> str:
        places = range(len(self._reader.columns))
        trimmed = ", ".join(f"{values.trimmed(f'c{place}')} AS c{place}" for place in places)
        present = ", ".join(f"{values.present(f'c{place}', self._missing[place])} AS c{place}" for place in places)
        return f"(SELECT {present} FROM (SELECT {trimmed} FROM ({self._reader.relation})))"

    @property
    def rows(self) -> int:
        return self._reader.rows

    def sql(self, column: str) -> str:
        """The name of a column in `relation`; the header's own names never reach SQL."""
        return f"c{self._reader.columns.index(column)}"

    def absent(self, columns: Iterable[str]) -> list[str]:
        """A sentence for each of these columns that the file does not have."""
        return [
            f"{self.where}: there is no column '{column}'; correct the header, or the name in node.toml and study.toml"
            for column in dict.fromkeys(columns)
            if column not in self.kinds
        ]

    def faults(self, *, person: str, columns: Iterable[str]) -> list[str]:
        """Why these columns cannot be used: not in the file, an empty person cell, an infinite number. Empty means they can."""
        faults = self.absent([person, *columns])
        if person in self.kinds and self._counts[person].present < self._reader.rows:
            place = self._reader.columns.index(person)
            told = self._told(place, lambda cell: values.value_of(cell, self._missing[place]) is None)
            faults.append(f"{self.where}: the person column '{person}' has no value on {told}; fill it in, or remove the rows")
        for column in columns:
            if column in self.kinds and self.kinds[column] == "number" and self._counts[column].infinite:
                told = self._told(self._reader.columns.index(column), _is_infinite)
                faults.append(
                    f"{self.where}: the column '{column}' holds an infinite number on {told}; correct it, or leave the cell empty"
                )
        return faults

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _told(self, place: int, wanted: Callable[[str], bool]) -> str:
        found = list(islice(self._reader.places(place, wanted), _NAMED + 1))
        named = [str(line) for line in found[:_NAMED]]
        if len(found) > _NAMED:
            return f"{self._reader.unit}s {', '.join(named)} and others"
        if len(named) == 1:
            return f"{self._reader.unit} {named[0]}"
        return f"{self._reader.unit}s {', '.join(named[:-1])} and {named[-1]}"

    def _count(self) -> dict[str, _Count]:
        found = self._try_count()
        if found is None:
            self._reader.rewrite()
            found = self._try_count()
        if found is None:
            raise Invalid(f"{self.where}: the file cannot be read as CSV; open it in a spreadsheet and save it as CSV in UTF-8")
        return found

    def _try_count(self) -> dict[str, _Count] | None:
        """The counts of all columns in one pass; None when DuckDB does not find the rows that the reader checked."""
        parts = []
        for place in range(len(self._reader.columns)):
            column = f"c{place}"
            number, infinite, day, boolean = values.number(column), values.infinite(column), values.day(column), values.boolean(column)
            parts.append(f"count({column}), count({number}), count_if({infinite}), count({day}), count({boolean})")
        try:
            with files.connect() as connection:
                files.plan_for(connection, self._reader.rows)
                found = connection.execute(f"SELECT count(*), {', '.join(parts)} FROM {self.relation}").fetchone()
        except duckdb.Error:  # it quotes the row, so it goes no further
            return None
        if found is None or found[0] != self._reader.rows:
            return None
        return {name: _Count(*found[1 + 5 * place : 6 + 5 * place]) for place, name in enumerate(self._reader.columns)}


def open_table(path: Path, name: str, *, hospital: str, levels: Mapping[str, Collection[str]] | None = None) -> SourceTable:
    """Check and type a .csv or .parquet file; `Invalid` says where it cannot be used. `levels` are values that are never missing."""
    where = f"{hospital}: table '{name}' ({path})"
    if path.suffix.lower() not in (".csv", ".parquet") and not path.is_dir():
        raise Invalid(f"{where}: the file is neither .csv nor .parquet; save the table as one of them")
    handle = files.open_file(path, where, name)
    with ExitStack() as opened:
        opened.callback(handle.close)
        reader: _Reader = Delimited(handle, where) if path.suffix.lower() == ".csv" else Parquet(handle, where)
        opened.callback(reader.close)
        table = SourceTable(reader, name, where=where, levels=levels or {})
        opened.pop_all()  # all is well: it stays open, until the table is closed
        return table


def open_source(source: TableSource, name: str, *, hospital: str, levels: Mapping[str, Collection[str]] | None = None) -> SourceTable:
    """The table that node.toml names, with its person and identifier columns in place: a misspelt identifier would be no secret."""
    table = open_table(source.file, name, hospital=hospital, levels=levels)
    faults = table.faults(person=source.person, columns=()) + table.absent(source.identifiers)
    if faults:
        table.close()
        raise Invalid(*faults)
    return table


def _is_infinite(cell: str) -> bool:
    try:
        return "_" not in cell and math.isinf(float(cell))
    except ValueError:
        return False
