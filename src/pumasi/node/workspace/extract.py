"""From a hospital's tables to a permit's workspace: the columns it names, treated as it says, under one encrypted file. Nothing else.

1. open every table, treat it, check it against the permit, all faults at once   2. write under a temporary name, people as pseudonyms
3. flush, rename, flush the folder: only a whole workspace ever has its name
Rows are sorted by pseudonym, so that their order says nothing about the order in the source. `vault` reads what is written here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from os import fsync
from pathlib import Path

import duckdb

from pumasi.deid import asked, treatments
from pumasi.deid.dates import year_of
from pumasi.deid.keys import Key, pseudonyms
from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.kernel.permit import Permit, PermitV2
from pumasi.kernel.study import Agreed, AgreedColumn, AgreedTable, AgreedTreatedColumn
from pumasi.node import columnrules
from pumasi.node.sources import SourceTable, TableSource, files, open_source, treated, values
from pumasi.node.workspace import cipher
from pumasi.store.custody import sync_folder

TREATMENTS = b"pumasi/treatments/v1"
OUTSIDE = ""  # stands in the workspace for a text that nobody agreed on; no level is empty
_BATCH = 50_000

Treatment = Callable[[Sequence[str | None]], Sequence[str | int | None]]


@dataclass(frozen=True)
class Extracted:
    """What a workspace holds and which file it is; never how many rows."""

    tables: dict[str, list[str]]
    objects: int
    bytes: int
    sha256: str


def extract(
    tables: Mapping[str, TableSource],
    permit: Permit,
    folder: Path,
    *,
    key: bytes,
    pseudonym_key: bytes,
    judged: bool = True,
    memory_mb: int | None = None,
) -> Extracted:
    """Write the workspace of a permit into `folder`, replacing an earlier one. `Invalid` with every way the tables do not fit the permit.

    Not `judged`, the columns are treated as the permit says, whatever the rules of this hospital say now. `memory_mb` bounds DuckDB's
    memory; beyond it, encrypted spill files go below `folder` while this runs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(folder)  # what an earlier call left that was killed
    with ExitStack() as opened:
        # A key of its own for treatments, so that no pseudonym made there is one that is made here.
        sources = _open(tables, permit, opened, Key(hmac.digest(pseudonym_key, TREATMENTS, "sha256"), "permit"), judged=judged)
        new = folder / f".new-{secrets.token_hex(8)}"
        try:
            _write(sources, permit, new, key=key, pseudonym_key=pseudonym_key, memory_mb=memory_mb)
            new.chmod(0o600)
            with new.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                fsync(file.fileno())
            size = new.stat().st_size
            new.rename(folder / cipher.FILE)
            sync_folder(folder)
        finally:
            _sweep(folder)
    return Extracted({name: list(table.columns) for name, table in permit.tables.items()}, objects=1, bytes=size, sha256=digest)


def _sweep(folder: Path) -> None:
    """Remove what is temporary. It is all encrypted, but nothing should outlive its use."""
    for stale in folder.glob(".new-*"):
        if stale.is_dir():
            shutil.rmtree(stale)
        else:
            stale.unlink()


def _open(tables: Mapping[str, TableSource], permit: Permit, opened: ExitStack, key: Key, *, judged: bool) -> dict[str, SourceTable]:
    sources: dict[str, SourceTable] = {}
    faults: list[str] = []
    for name, agreed in permit.tables.items():
        if name not in tables:
            faults.append(f"{permit.hospital}: the permit names the table '{name}', which node.toml does not have; add it there")
            continue
        try:
            levels = {column: one.levels for column, one in agreed.columns.items()}
            source = tables[name]
            table = opened.enter_context(open_source(source, name, hospital=permit.hospital, levels=levels))
            found = _faults(table, source, permit) + (_disallowed(table, source, permit) if judged else [])
            if any(isinstance(one, AgreedTreatedColumn) for one in agreed.columns.values()):
                found += table.absent(agreed.columns)
                if not found:
                    table = opened.enter_context(_treated(table, source, permit, key, levels))
                    found = _misfits(table, agreed, source.person)
            else:
                found += _misfits(table, agreed, source.person)
            sources[name] = table
            faults.extend(found)
        except Invalid as error:
            faults.extend(error.reasons)
    if faults:
        raise Invalid(*faults)
    return sources


def _treated(table: SourceTable, source: TableSource, permit: Permit, key: Key, levels: Mapping[str, Collection[str]]) -> SourceTable:
    """Ages are those on the permit's first day, so that an extract that is begun again holds the same. What is kept to the year is
    read from dates as they were."""
    agreed = permit.tables[table.name].columns
    kept = treatments.parse("keep", "keep")
    wanted = {column: asked.of_column(one) if isinstance(one, AgreedTreatedColumn) else kept for column, one in agreed.items()}
    day = date.fromisoformat(permit.valid_from)
    return treated(table, wanted, person=source.person, rules=source.rules, key=key, today=day, levels=levels)


def _faults(table: SourceTable, source: TableSource, permit: Permit) -> list[str]:
    """What does not fit between the permit and the table as its hospital holds it."""
    agreed = permit.tables[table.name]
    faults = []
    if agreed.person != source.person:
        faults.append(f"{table.where}: node.toml identifies people by '{source.person}', the permit by '{agreed.person}'; they must agree")
    for column in agreed.columns:
        if column == source.person or column in source.identifiers:
            faults.append(f"{table.where}: the column '{column}' identifies people and never enters a workspace; the permit cannot be met")
    return faults


def _disallowed(table: SourceTable, source: TableSource, permit: Permit) -> list[str]:
    """What the rules of the hospital have against the permit."""
    agreed, rules = permit.tables[table.name].columns, source.rules
    changed = columnrules.changed(rules, permit.rules.get(table.name) if isinstance(permit, PermitV2) else None)
    refused = [columnrules.refusal(rules, table.name, column, table.kinds.get(column), one) for column, one in agreed.items()]
    return [f"{table.where}: {reason}" for reason in (changed, *refused) if reason is not None]


def _misfits(table: SourceTable, agreed: AgreedTable, person: str) -> list[str]:
    """What the columns hold that the permit does not say, once they are treated."""
    faults = table.faults(person=person, columns=agreed.columns)
    for column, one in agreed.columns.items():
        wanted, found = _source_kind(one), table.kinds.get(column)
        if found is not None and found != wanted and not (wanted == "text" and one.levels):  # any value is a text, and is a level or none
            faults.append(
                f"{table.where}: the column '{column}' holds {found} values where the permit says {wanted}; "
                "correct the file, or describe the dataset again and apply anew"
            )
    return faults


def _source_kind(agreed: Agreed) -> str:
    return "date" if isinstance(agreed, AgreedColumn) and agreed.keep == "year" else agreed.kind


def _write(
    sources: Mapping[str, SourceTable], permit: Permit, path: Path, *, key: bytes, pseudonym_key: bytes, memory_mb: int | None
) -> None:
    spill = path.with_name(f"{path.name}-spill")
    try:
        with cipher.writing(path, key, spill=spill, memory_mb=memory_mb) as connection:
            files.plan_for(connection, sum(table.rows for table in sources.values()))
            connection.execute("CREATE TABLE w.contents (place INTEGER, name VARCHAR, columns VARCHAR[])")
            for place, (name, agreed) in enumerate(permit.tables.items()):
                _write_table(connection, place, sources[name], agreed, pseudonym_key)
                listed = ", ".join(values.literal(column) for column in agreed.columns)
                connection.execute(f"INSERT INTO w.contents VALUES ({place}, {values.literal(name)}, [{listed}]::VARCHAR[])")
    except duckdb.Error as error:  # its message may quote a row
        kind = type(error).__name__
        raise PumasiError(f"{permit.hospital}: the workspace could not be written ({kind}); see that disk and memory suffice") from None


def _write_table(connection: duckdb.DuckDBPyConnection, place: int, table: SourceTable, agreed: AgreedTable, pseudonym_key: bytes) -> None:
    """One table as w.t<place>: `person`, then c0, c1 … in the permit's order. Names from outside never become SQL names."""
    person = table.sql(agreed.person)
    _treat(connection, "people", table, person, lambda ids: pseudonyms(ids, pseudonym_key))
    picked, joins = ["people.treated AS person"], [f"JOIN people ON people.value = source.{person}"]
    for number, (column, one) in enumerate(agreed.columns.items()):
        cell = f"source.{table.sql(column)}"
        if isinstance(one, AgreedColumn) and one.keep == "year":
            _treat(connection, f"years{number}", table, values.day(table.sql(column)), year_of)
            joins.append(f"LEFT JOIN years{number} ON years{number}.value = {values.day(cell)}")
            picked.append(f"CAST(years{number}.treated AS DOUBLE) AS c{number}")
        else:
            picked.append(f"{_value(one, cell)} AS c{number}")
    connection.execute(
        f"CREATE TABLE w.t{place} AS SELECT {', '.join(picked)} FROM {table.relation} AS source {' '.join(joins)} ORDER BY person"
    )
    written = connection.execute(f"SELECT count(*) FROM w.t{place}").fetchone()
    if written != (table.rows,):
        raise PumasiError(
            f"{table.where}: not every row arrived in the workspace; the file was changed while it was read, extract it again"
        )
    connection.execute("DROP TABLE people")


def _value(agreed: Agreed, cell: str) -> str:
    match agreed.kind:
        case "number":
            return f"{values.number(cell)} + 0.0"
        case "date":
            return values.day(cell)
        case "boolean":
            return values.boolean(cell)
        case "text" if agreed.levels:
            levels = ", ".join(values.literal(unicodedata.normalize("NFC", level)) for level in agreed.levels)
            return f"CASE WHEN {cell} IS NULL OR {cell} IN ({levels}) THEN {cell} ELSE '{OUTSIDE}' END"
        case _:
            return cell


def _treat(connection: duckdb.DuckDBPyConnection, name: str, table: SourceTable, value: str, treatment: Treatment) -> None:
    """A temporary table (value, treated) of the different values of a column. The values pass through memory only, in hexadecimal."""
    passed = files.memory_file(name, table.where)
    try:
        count = 0
        distinct = connection.execute(f"SELECT DISTINCT value FROM (SELECT {value} AS value FROM {table.relation}) WHERE value IS NOT NULL")
        with passed.writer() as file:
            while rows := distinct.fetchmany(_BATCH):
                found = [str(row[0]) for row in rows]
                pairs = zip(found, treatment(found), strict=True)
                file.write("".join(f"{one.encode().hex()},{treated}\n" for one, treated in pairs).encode())
                count += len(rows)
        connection.execute(
            f"CREATE TEMP TABLE {name} AS SELECT decode(unhex(value)) AS value, treated FROM read_csv('{passed.path}', "
            "auto_detect = false, header = false, columns = {'value': 'VARCHAR', 'treated': 'VARCHAR'}, "
            "delim = ',', quote = '', escape = '', parallel = false)"
        )
        if connection.execute(f"SELECT count(*) FROM {name}").fetchone() != (count,):
            raise PumasiError(f"{table.where}: not every value could be treated; nothing was written")
    finally:
        passed.close()
