"""Parquet files. Their columns are turned into text and typed by the rules for CSV, so that the format makes no difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn

import duckdb

from pumasi.deid.delimited import header_faults
from pumasi.kernel.errors import Invalid
from pumasi.node.sources import values
from pumasi.node.sources.files import Handle, connect

_UNREADABLE = "the file cannot be read as Parquet; write it again, or export the table as CSV"


class Parquet:
    """One Parquet file that has been looked at: `relation` yields its columns c0, c1 … as text."""

    unit = "row"

    def __init__(self, handle: Handle, where: str) -> None:
        self._handle, self._where, self._connection = handle, where, connect()
        scan = f"read_parquet('{handle.path}', hive_partitioning = false)"
        try:
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
            names = self._connection.execute(
                f"SELECT name FROM parquet_schema('{handle.path}') WHERE coalesce(num_children, 0) = 0"
            ).fetchall()
            counted = self._connection.execute(f"SELECT count(*) FROM {scan}").fetchone()
        except duckdb.Error:
            raise Invalid(f"{where}: {_UNREADABLE}") from None
        # DuckDB renames columns that differ by case alone; parquet_schema has the names as written, but also the parts of nested columns.
        written = [str(name) for (name,) in names] if len(names) == len(described) else [str(row[0]) for row in described]
        self.columns = [values.value_of(name, ()) or "" for name in written]
        faults = header_faults(self.columns, alike=str)
        if faults:
            raise Invalid(*(f"{where}: {fault}" for fault in faults))
        self.rows = int(counted[0]) if counted else 0
        if self.rows == 0:
            raise Invalid(f"{where}: the table has columns but no rows; export it again")
        aliases = ", ".join(f"r{place}" for place in range(len(described)))
        texts = ", ".join(f"{_text(f'r{place}', str(row[1]))} AS c{place}" for place, row in enumerate(described))
        self.relation = f"SELECT {texts} FROM {scan} AS t({aliases})"

    def rewrite(self) -> NoReturn:
        """There is no second way to read the file: say so."""
        raise Invalid(f"{self._where}: {_UNREADABLE}")

    def places(self, column: int, wanted: Callable[[str], bool]) -> Iterator[int]:
        """The numbers of the rows, from 1, whose cell is wanted."""
        cursor = self._connection.execute(f"SELECT c{column} FROM ({self.relation})")
        row = 0
        while rows := cursor.fetchmany(10_000):
            for (cell,) in rows:
                row += 1
                if wanted(cell or ""):
                    yield row

    def close(self) -> None:
        self._connection.close()
        self._handle.close()


def _text(column: str, kind: str) -> str:
    if kind == "FLOAT":
        return f"CAST(CAST({column} AS DOUBLE) AS VARCHAR)"  # the digits of the value itself, not of its shortest 32-bit name
    if kind.startswith("TIMESTAMP") and "TIME ZONE" not in kind:
        midnight = f"{column} = date_trunc('day', {column})"  # a date, as pandas writes it
        return f"CASE WHEN {midnight} THEN strftime({column}, '%Y-%m-%d') ELSE CAST({column} AS VARCHAR) END"
    return f"CAST({column} AS VARCHAR)"
