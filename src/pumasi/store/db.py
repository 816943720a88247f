"""The database of one party: SQLite with a write-ahead log and a full sync, so that a recorded act survives kill -9 and power loss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection, Cursor
from typing import Any, Literal

from pumasi.kernel.event import Entry
from pumasi.store.migrate import Migration, migrate
from pumasi.store.sqlite import Database

# Which case an entry is of, as an index can know it; NULL for bytes that are no JSON.
CASE_OF = """CASE WHEN json_valid(CAST(data AS TEXT)) THEN json_extract(CAST(data AS TEXT), '$.body.case') END"""

SCHEMA = (
    # the one log that all parties share, copied in full by each
    """CREATE TABLE entries ("index" INTEGER NOT NULL, digest VARCHAR(64), data BLOB, PRIMARY KEY ("index"), UNIQUE (digest))""",
    f"CREATE INDEX entries_case ON entries ({CASE_OF})",
    # signed checkpoints with the cosignatures seen so far
    "CREATE TABLE checkpoints (size INTEGER NOT NULL, note TEXT, PRIMARY KEY (size))",
    # what this party has signed; state: recorded (only here), logged (sequenced), refused (the log said no; never resent)
    """CREATE TABLE outbox (
        id INTEGER NOT NULL, "case" VARCHAR(32), author VARCHAR(128), seq INTEGER, digest VARCHAR(64), data BLOB, state VARCHAR(8),
        reasons TEXT, PRIMARY KEY (id)
    )""",
    'CREATE INDEX outbox_chain ON outbox ("case", author, state)',
    "CREATE INDEX outbox_state ON outbox (state)",
    # erasable: salts and bodies behind the commitments in the log; without data: erased here, and not to be taken in again
    "CREATE TABLE documents (commitment VARCHAR(64) NOT NULL, data BLOB, PRIMARY KEY (commitment))",
    # small private state of this party, such as which jobs it has begun
    "CREATE TABLE notes (key VARCHAR(200) NOT NULL, value BLOB, PRIMARY KEY (key))",
    # what closed cases had come to, which the rules no longer ask for; computed from the entries, and again by every replay from zero
    """CREATE TABLE closed ("case" VARCHAR(32) NOT NULL, data BLOB, PRIMARY KEY ("case"))""",
)

# Append-only: a database of any earlier version is brought here by the steps that it lacks.
MIGRATIONS = (
    Migration(1, "a table for closed cases", ("""CREATE TABLE closed ("case" VARCHAR(32) NOT NULL, data BLOB, PRIMARY KEY ("case"))""",)),
    Migration(2, "an index of the entries of a case", (f"CREATE INDEX entries_case ON entries ({CASE_OF})",)),
)


def open_db(
    path: Path,
    *,
    schema: Sequence[str] = SCHEMA,
    migrations: Sequence[Migration] = MIGRATIONS,
    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
) -> Database:
    """Open or create the database at `path` (mode 0600), and bring an older one up to date."""
    database = Database(path, synchronous=synchronous)
    migrate(database, schema, migrations)
    return database


def column(rows: Cursor) -> Iterator[Any]:
    """The only column of these rows."""
    return (value for (value,) in rows)


def scalar(rows: Cursor) -> Any:
    """The first value of the first row; None where there is none."""
    found = rows.fetchone()
    return None if found is None else found[0]


def indexes_of(db: Connection, digests: Iterable[str]) -> dict[str, int]:
    """Where those of these entries stand that the log has."""
    # one statement whatever their number: SQLite has a limit to what it binds
    return dict(
        db.execute('SELECT digest, "index" FROM entries WHERE digest IN (SELECT value FROM json_each(?))', (json.dumps(list(digests)),))
    )


def entries_of(db: Connection, *cases: str, before: int) -> list[tuple[int, bytes]]:
    """The entries of these cases among the first `before` of the log, with their indexes, in order."""
    return db.execute(
        f'SELECT "index", data FROM entries WHERE {CASE_OF} IN (SELECT value FROM json_each(?)) AND "index" < ? ORDER BY "index"',
        (json.dumps(cases), before),
    ).fetchall()


def put_out(db: Connection, entry: Entry, *, state: str) -> None:
    """An own event into the outbox."""
    event = entry.event
    db.execute(
        """INSERT INTO outbox ("case", author, seq, digest, data, state, reasons) VALUES (?, ?, ?, ?, ?, ?, '')""",
        (event.case, event.author, event.seq, entry.digest, entry.data, state),
    )


def read_note(database: Database, key: str) -> bytes | None:
    """One note of a party, without replaying its log."""
    with database.reading() as db:
        found: bytes | None = scalar(db.execute("SELECT value FROM notes WHERE key = ?", (key,)))
        return found
