"""The database of one party: SQLite with a write-ahead log and a full sync, so that a recorded act survives kill -9 and power loss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    literal_column,
    select,
)

from pumasi.store.migrate import Migration, migrate
from pumasi.store.sqlite import WAIT_S, write_ahead

metadata = MetaData()

# The one log that all parties share, copied in full by each.
entries = Table(
    "entries", metadata, Column("index", Integer, primary_key=True), Column("digest", String(64), unique=True), Column("data", LargeBinary)
)
# Which case an entry is of, as an index can know it; None for bytes that are no JSON.
CASE_OF = """CASE WHEN json_valid(CAST(data AS TEXT)) THEN json_extract(CAST(data AS TEXT), '$.body.case') END"""
Index("entries_case", literal_column(CASE_OF), _table=entries)
# Signed checkpoints with the cosignatures seen so far.
checkpoints = Table("checkpoints", metadata, Column("size", Integer, primary_key=True), Column("note", Text))
# What this party has signed. state: recorded (only here), logged (sequenced), refused (the log said no; never resent).
outbox = Table(
    "outbox", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True), Column("case", String(32)), Column("author", String(128)),
    Column("seq", Integer), Column("digest", String(64)), Column("data", LargeBinary), Column("state", String(8)),
    Column("reasons", Text, default=""),
)  # fmt: skip
Index("outbox_chain", outbox.c.case, outbox.c.author, outbox.c.state)
Index("outbox_state", outbox.c.state)
# Erasable: salts and bodies behind the commitments in the log. Without data: erased here, and not to be taken in again.
documents = Table("documents", metadata, Column("commitment", String(64), primary_key=True), Column("data", LargeBinary))
# Small private state of this party, such as which jobs it has begun.
notes = Table("notes", metadata, Column("key", String(200), primary_key=True), Column("value", LargeBinary))
# What closed cases had come to, which the rules no longer ask for. Computed from the entries, and again by every replay from zero.
closed = Table("closed", metadata, Column("case", String(32), primary_key=True), Column("data", LargeBinary))

# Append-only: a database of any earlier version is brought here by the steps that it lacks.
MIGRATIONS = (
    Migration(1, "a table for closed cases", ("""CREATE TABLE closed ("case" VARCHAR(32) NOT NULL, data BLOB, PRIMARY KEY ("case"))""",)),
    Migration(2, "an index of the entries of a case", (f"CREATE INDEX entries_case ON entries ({CASE_OF})",)),
)


def open_db(path: Path, *, schema: MetaData = metadata, migrations: Sequence[Migration] = MIGRATIONS, synchronous: str = "FULL") -> Engine:
    """Open or create the database at `path` (mode 0600), and bring an older one up to date.

    Transactions begin immediately: one writer at a time, never a deadlock.
    """
    if not path.exists():
        path.touch(mode=0o600)
    # max_overflow: the hub answers hundreds of waiting nodes at once, and none may fail for want of a connection.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": WAIT_S, "check_same_thread": False},
        pool_size=16,
        max_overflow=-1,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's own
        write_ahead(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what is erased leaves no bytes in unused pages

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        if not connection.get_execution_options().get("reading"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    migrate(engine, schema, migrations, path=path)
    return engine


def reader(engine: Engine) -> Engine:
    """The same database for reading only: it never waits for the writer."""
    return engine.execution_options(reading=True)


def indexes_of(db: Connection, digests: Iterable[str]) -> dict[str, int]:
    """Where those of these entries stand that the log has."""
    # one statement whatever their number: SQLite has a limit to what it binds
    rows = db.exec_driver_sql(
        'SELECT digest, "index" FROM entries WHERE digest IN (SELECT value FROM json_each(?))', (json.dumps(list(digests)),)
    )
    return {found[0]: found[1] for found in rows}


def entries_of(db: Connection, *cases: str, before: int) -> list[tuple[int, bytes]]:
    """The entries of these cases among the first `before` of the log, with their indexes, in order."""
    rows = db.exec_driver_sql(
        f'SELECT "index", data FROM entries WHERE {CASE_OF} IN (SELECT value FROM json_each(?)) AND "index" < ? ORDER BY "index"',
        (json.dumps(cases), before),
    )
    return [(found[0], found[1]) for found in rows]


def read_note(engine: Engine, key: str) -> bytes | None:
    """One note of a party, without replaying its log."""
    with reader(engine).connect() as db:
        return db.execute(select(notes.c.value).where(notes.c.key == key)).scalar()
