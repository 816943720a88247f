"""Where treated tables go: a CSV or Parquet file, a folder of them, or tables of a database. Whole or not at all.

Everything is written under a temporary name beside its place, flushed, and renamed at the end; a database commits once. What an
earlier run left that was killed is removed by the next one for the same place.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb

from pumasi.deid import engine, reading
from pumasi.kernel.errors import Invalid, Refused

SUFFIXES = (".csv", ".parquet")
_NO_FOLDERS = (
    ".xlsx",
    ".xls",
    ".json",
    ".txt",
    ".tsv",
    ".gz",
    ".zip",
    ".dta",
    ".sav",
    ".sas7bdat",
    ".duckdb",
    ".db",
)  # files of other kinds
_ROW_GROUP = 100_000
Watch = Callable[[float], None]


class Out(Protocol):
    """A place being written: nothing of it is seen by others before `commit`."""

    def write(self, name: str, query: str, watch: Watch) -> int: ...

    def place(self, name: str) -> str: ...


@contextmanager
def place(
    out: str, connection: duckdb.DuckDBPyConnection, *, several: bool, names: Sequence[str], suffix: str = ".parquet", separator: str = ","
) -> Iterator[Out]:
    """The place that `out` names; what is written appears there when the block ends well, and never when it does not. `names` are those of
    the tables: a folder that holds others is not replaced."""
    if out.startswith(reading.POSTGRES) or "::" in out:
        with _database(out, connection, several=several) as tables:
            yield tables
        return
    path = Path(out)
    folder = path.suffix.lower() not in SUFFIXES
    if path.suffix.lower() in _NO_FOLDERS:
        raise Invalid(f"{out}: tables are written as .csv, .parquet, a folder of them, or FILE.duckdb::TABLE; name one of these")
    if several and not folder:
        raise Invalid(f"{out}: there are several tables to write; name a folder")
    if not path.parent.is_dir():
        raise Invalid(f"{out}: there is no folder {path.parent}; make it first")
    if folder:
        _refuse_foreign(path, {f"{name}{suffix}" for name in names})
    elif path.is_dir():
        raise Invalid(f"{out}: this is a folder; name a file, or a folder without the ending {path.suffix}")
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if folder:
            temporary.mkdir(mode=0o700)
            yield _Folder(temporary, path, suffix, separator, connection)
            _swap(temporary, path)
        else:
            yield _File(temporary, path, separator, connection)
            temporary.replace(path)
        _flush(path.parent)
    finally:
        _remove(temporary)


class _File:
    """One file; its suffix says which kind."""

    def __init__(self, temporary: Path, path: Path, separator: str, connection: duckdb.DuckDBPyConnection) -> None:
        self._temporary, self._path, self._separator, self._connection = temporary, path, separator, connection

    def place(self, name: str) -> str:
        return str(self._path)

    def write(self, name: str, query: str, watch: Watch) -> int:
        return _copy(self._connection, query, self._temporary, self._path.suffix.lower(), self._separator, watch)


class _Folder:
    """A folder with one file for each table."""

    def __init__(self, temporary: Path, path: Path, suffix: str, separator: str, connection: duckdb.DuckDBPyConnection) -> None:
        self._temporary, self._path, self._suffix, self._separator, self._connection = temporary, path, suffix, separator, connection

    def place(self, name: str) -> str:
        return str(self._path / f"{name}{self._suffix}")

    def write(self, name: str, query: str, watch: Watch) -> int:
        return _copy(self._connection, query, self._temporary / f"{name}{self._suffix}", self._suffix, self._separator, watch)


class _Tables:
    """Tables of a database, in one transaction; a table that has the name is replaced."""

    def __init__(self, address: str, alias: str, named: str | None, connection: duckdb.DuckDBPyConnection) -> None:
        self._address, self._alias, self._named, self._connection = address, alias, named, connection

    def _table(self, name: str) -> str:
        return self._named or name

    def place(self, name: str) -> str:
        return f"{reading.shown(self._address)}::{self._table(name)}"

    def write(self, name: str, query: str, watch: Watch) -> int:
        target = ".".join([self._alias, *(engine.name(part) for part in self._table(name).split("."))])
        self._connection.execute(f"DROP TABLE IF EXISTS {target}")
        return run(self._connection, f"CREATE TABLE {target} AS {query}", watch)


@contextmanager
def _database(out: str, connection: duckdb.DuckDBPyConnection, *, several: bool) -> Iterator[Out]:
    address, _, table = out.rpartition("::") if "::" in out else (out, "", "")
    if several and table:
        raise Invalid(f"{reading.shown(out)}: there are several tables to write; name the database without a table")
    if not several and not table:
        raise Invalid(f"{reading.shown(out)}: name the table after two colons, as in {reading.shown(out)}::patients")
    postgres = address.startswith(reading.POSTGRES)
    new = not postgres and not Path(address).exists()
    if postgres:
        engine.load(connection, "postgres_scanner")
    try:
        connection.execute(f"ATTACH {engine.literal(address)} AS pumasi_out{' (TYPE postgres)' if postgres else ''}")
    except duckdb.Error:
        raise Invalid(f"{reading.shown(address)}: the database cannot be opened for writing; see that nobody else has it open") from None
    whole = False
    try:
        connection.execute("BEGIN")
        yield _Tables(address, "pumasi_out", table or None, connection)
        connection.execute("COMMIT")
        whole = True
    finally:
        if not whole:
            connection.execute("ROLLBACK")
        connection.execute("DETACH pumasi_out")
        if new and not whole:
            Path(address).unlink(missing_ok=True)


def run(connection: duckdb.DuckDBPyConnection, statement: str, watch: Watch) -> int:
    """Run a statement in a thread of its own and tell how far it is, in per cent; an interrupt stops it. Returns DuckDB's row count."""
    found: list[int] = []
    failed: list[duckdb.Error] = []

    def work() -> None:
        try:
            row = connection.execute(statement).fetchone()
            found.append(int(row[0]) if row else 0)
        except duckdb.Error as error:
            failed.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.2)
            watch(max(0.0, connection.query_progress()))
    finally:
        if worker.is_alive():  # somebody interrupted us
            connection.interrupt()
            worker.join()
    if failed:
        raise failed[0]
    watch(100.0)
    return found[0]


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path, suffix: str, separator: str, watch: Watch) -> int:
    form = (
        f"FORMAT csv, HEADER, DELIMITER {engine.literal(separator)}"
        if suffix == ".csv"
        else f"FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE {_ROW_GROUP}"
    )
    path.touch(mode=0o600, exist_ok=False)
    rows = run(connection, f"COPY ({query}) TO {engine.literal(str(path))} ({form}, USE_TMP_FILE false)", watch)
    _flush(path)
    return rows


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _refuse_foreign(path: Path, ours: Collection[str]) -> None:
    """A folder is replaced as a whole, so it may hold nothing but what an earlier run for the same tables wrote."""
    if path.is_file():
        raise Invalid(f"{path}: the file ends neither in .csv nor in .parquet; name one that does, or a folder")
    foreign = sorted(one.name for one in path.iterdir() if one.name not in ours) if path.is_dir() else []
    if foreign:
        raise Refused(
            f"{path}: the folder would be replaced as a whole, but holds other things than these tables ({foreign[0]}); "
            "name a new one, or empty it"
        )


def _swap(temporary: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.{os.getpid()}.old.part")
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    _remove(old)


def _sweep(path: Path) -> None:
    """Remove what runs for this place left that no longer run."""
    for stale in path.parent.glob(f".{_escaped(path.name)}.*.part"):
        number = stale.name[len(path.name) + 2 :].partition(".")[0]
        if number == str(os.getpid()) or not engine.runs(number):
            _remove(stale)


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
