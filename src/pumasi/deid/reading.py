"""What a command is given becomes a relation: a CSV or Parquet file, a folder of them, or a table of DuckDB or PostgreSQL.

    with read("patients.csv") as table:
        table.connection.sql(f"SELECT count(*) FROM ({table.sql})")

Text stays text: a CSV column is VARCHAR, so that an id keeps its zeros. A database is opened read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from pumasi.deid import delimited, engine
from pumasi.deid.delimited import Delimited
from pumasi.kernel.errors import Invalid, NotFound, PumasiError

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".parquet")
POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True)
class Table:
    """A table that can be read: `sql` selects its columns by their own names, `rows` is how many rows it must yield."""

    name: str
    where: str
    columns: tuple[str, ...]
    types: Mapping[str, str]
    sql: str
    rows: int
    bytes: int
    connection: duckdb.DuckDBPyConnection
    kind: str
    files: tuple[Delimited, ...] = ()
    _opened: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def absent(self, columns: Iterator[str] | list[str] | tuple[str, ...]) -> list[str]:
        """A sentence for each of these columns that the table does not have."""
        return [f"{self.where}: there is no column '{column}'" for column in columns if column not in self.columns]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What DuckDB says about unreadable rows, as a sentence that quotes none of them."""
        try:
            yield
        except duckdb.Error as error:
            raise self.reason(error) from None

    def reason(self, error: duckdb.Error) -> PumasiError:
        """Why a query over this table failed; DuckDB's own words may hold a row."""
        faults = [fault for file in self.files for fault in file.faults()]
        if faults:
            return Invalid(*faults)
        if isinstance(error, duckdb.OutOfMemoryException):
            return PumasiError(f"{self.where}: memory (--memory-mb) or disk space for temporary files ran out; give more of them")
        if isinstance(error, duckdb.IOException):
            return PumasiError(f"{self.where}: the disk or the server refused while the table was read or written; see that space suffices")
        if self.kind == "parquet":
            return Invalid(f"{self.where}: the file cannot be read as Parquet; write it again, or export the table as CSV")
        return Invalid(f"{self.where}: the table cannot be read ({type(error).__name__}); export it again as CSV in UTF-8, or as Parquet")


def read(spec: str | Path, connection: duckdb.DuckDBPyConnection | None = None) -> Table:
    """The one table that `spec` names; a folder counts as one when all its files have the same columns. `Invalid` says what is wrong."""
    found = tables(spec, connection)
    if len(found) > 1:
        for table in found:
            table.close()
        raise Invalid(f"{spec}: the folder holds several different tables ({', '.join(one.name for one in found)}); name one of them")
    return found[0]


def tables(spec: str | Path, connection: duckdb.DuckDBPyConnection | None = None) -> list[Table]:
    """Every table that `spec` names, all over one connection: the files of a folder are parts of one table, or a table each.

    Some of several tables may be empty, as in most databases; all of them may not.
    """
    with ExitStack() as opened:
        if connection is None:
            connection = opened.enter_context(engine.connection())
        text = str(spec)
        if text.startswith(POSTGRES):
            found = [_of_database(text, connection, kind="postgres")]
        elif "::" in text:
            found = [_of_database(text, connection, kind="duckdb")]
        else:
            found = _of_path(Path(spec), connection)
        if not any(table.rows for table in found):
            for table in found:
                opened.callback(table.close)
            raise Invalid(f"{shown(text)}: there are columns but no rows; export the table again")
        opened.callback(found[-1].close)  # the connection goes last
        return [*found[:-1], replace(found[-1], _opened=opened.pop_all())]


def _of_path(path: Path, connection: duckdb.DuckDBPyConnection) -> list[Table]:
    if not path.exists():
        raise NotFound(f"{path}: there is no such file or folder")
    if not path.is_dir():
        return [_of_file(path, connection)]
    parts = sorted(one for one in path.iterdir() if _suffix(one) and one.is_file() and not one.name.startswith((".", "_")))
    folders = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith((".", "_")))
    if not parts and not folders:
        raise Invalid(f"{path}: the folder holds no CSV or Parquet file")
    found, faults = list[Table](), list[str]()
    for part in [*parts, *folders]:
        try:
            found.append(read(part, connection) if part in folders else _of_file(part, connection))
        except (Invalid, NotFound) as error:
            faults.extend(error.reasons)
    if faults:
        for table in found:
            table.close()
        raise Invalid(*faults)
    same = len(found) > 1 and not folders and len({(one.columns, one.kind) for one in found}) == 1
    return [_joined(path, found)] if same else found


def _joined(path: Path, parts: list[Table]) -> Table:
    opened = ExitStack()
    for part in parts:
        opened.callback(part.close)
    types = {column: one if len({part.types[column] for part in parts}) == 1 else "VARCHAR" for column, one in parts[0].types.items()}
    cast = ", ".join(f"CAST({engine.name(column)} AS {kind}) AS {engine.name(column)}" for column, kind in types.items())
    sql = " UNION ALL ".join(f"SELECT {cast} FROM ({part.sql})" for part in parts)
    rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
    files = tuple(file for part in parts for file in part.files)
    first = parts[0]
    return Table(path.name, str(path), first.columns, types, sql, rows, size, first.connection, first.kind, files, opened)


def _suffix(path: Path) -> str:
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), "")


def _of_file(path: Path, connection: duckdb.DuckDBPyConnection) -> Table:
    suffix = _suffix(path)
    if not path.is_file():
        raise Invalid(f"{path}: this is no regular file; name a CSV or Parquet file, or a folder of them")
    if not suffix:
        raise Invalid(f"{path}: the name ends neither in .csv nor in .parquet; save the table as one of them")
    name = path.name[: -len(suffix)]
    return _of_parquet(path, name, connection) if suffix == ".parquet" else _of_csv(path, name, connection)


def _of_csv(path: Path, name: str, connection: duckdb.DuckDBPyConnection) -> Table:
    found = delimited.survey(path, str(path))
    opened = ExitStack()
    opened.enter_context(found.file)
    renamed = ", ".join(f"c{place} AS {engine.name(column)}" for place, column in enumerate(found.columns))
    sql = f"SELECT {renamed} FROM ({found.sql})"
    types = dict.fromkeys(found.columns, "VARCHAR")
    return Table(name, found.where, found.columns, types, sql, found.rows, found.size, connection, "csv", (found,), opened)


def _of_parquet(path: Path, name: str, connection: duckdb.DuckDBPyConnection) -> Table:
    opened = ExitStack()
    file = opened.enter_context(path.open("rb"))
    scan = f"read_parquet('{delimited.seen_path(file, path)}', hive_partitioning = false)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
        written = connection.execute(
            _TOP_NAMES.format(scan=scan.replace("read_parquet", "parquet_schema", 1).split(",")[0] + ")")
        ).fetchall()
        rows = _count(connection, scan)
    except duckdb.Error:
        opened.close()
        raise Invalid(f"{path}: the file cannot be read as Parquet; write it again, or export the table as CSV") from None
    # DuckDB renames columns that differ by case alone; the schema has the names as written, but also the parts of nested columns.
    flat = len(written) == len(described) and not any(str(row[1]).endswith((")", "]")) for row in described)
    names = [str(row[0]) for row in (written if flat else described)]
    columns = tuple(delimited.clean(one) for one in names)
    _refuse(opened, str(path), delimited.header_faults(columns))
    aliases = ", ".join(f"c{place}" for place in range(len(columns)))
    renamed = ", ".join(f"c{place} AS {engine.name(column)}" for place, column in enumerate(columns))
    types = {column: str(row[1]) for column, row in zip(columns, described, strict=True)}
    sql = f"SELECT {renamed} FROM {scan} AS t({aliases})"
    return Table(name, str(path), columns, types, sql, rows, path.stat().st_size, connection, "parquet", (), opened)


_TOP_NAMES = "SELECT name FROM {scan} WHERE coalesce(num_children, 0) = 0"


def _of_database(spec: str, connection: duckdb.DuckDBPyConnection, *, kind: str) -> Table:
    """`FILE::table` or `postgresql://user@host/database::table`; a password belongs into PGPASSWORD or ~/.pgpass, not into a command."""
    address, _, table = spec.rpartition("::")
    if not address or not table:
        raise Invalid(f"{shown(spec)}: write the table after two colons, as in {shown(spec)}::patients")
    where, alias = f"{shown(address)}::{table}", f"source{abs(hash(spec)):x}"
    opened = ExitStack()
    try:
        _attach(connection, address, alias, kind=kind)
        opened.callback(connection.execute, f"DETACH {alias}")
        target = ".".join([alias, *(engine.name(part) for part in table.split("."))])
        described = connection.execute(f"DESCRIBE SELECT * FROM {target}").fetchall()
        rows = _count(connection, target)
    except duckdb.CatalogException:
        opened.close()
        raise NotFound(f"{where}: the database has no such table (a schema goes before it: schema.table)") from None
    except duckdb.Error:  # it may quote the address with its password
        opened.close()
        hint = "see that the server runs and lets this user in" if kind == "postgres" else "it is no DuckDB file of this version, or in use"
        raise Invalid(f"{where}: the database cannot be opened; {hint}") from None
    columns = tuple(delimited.clean(str(row[0])) for row in described)
    _refuse(opened, where, delimited.header_faults(columns))
    renamed = ", ".join(f"{engine.name(str(row[0]))} AS {engine.name(column)}" for row, column in zip(described, columns, strict=True))
    types = {column: str(row[1]) for column, row in zip(columns, described, strict=True)}
    return Table(table.split(".")[-1], where, columns, types, f"SELECT {renamed} FROM {target}", rows, 0, connection, kind, (), opened)


def _attach(connection: duckdb.DuckDBPyConnection, address: str, alias: str, *, kind: str) -> None:
    if kind == "duckdb" and not Path(address).is_file():
        raise NotFound(f"{address}: there is no such DuckDB file")
    if kind == "postgres":
        engine.load(connection, "postgres_scanner")
    options = "TYPE postgres, READ_ONLY" if kind == "postgres" else "READ_ONLY"
    connection.execute(f"ATTACH {engine.literal(address)} AS {alias} ({options})")


def shown(address: str) -> str:
    """An address without the password that it may hold."""
    scheme, found, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}" if found else address


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return int(found[0]) if found else 0


def _refuse(opened: ExitStack, where: str, faults: list[str]) -> None:
    if faults:
        opened.close()
        raise Invalid(*(f"{where}: {fault}" for fault in faults))
