"""How a database of an earlier version becomes one of this version: at start, in one transaction, with a copy of the file first.

A database says in `PRAGMA user_version` which migrations it has had. A migration is a number and SQL: readable, and final once
released. The copy stands beside the database as `<name>.before-<number>`, synced before anything changes. A migration that failed
half-way changed nothing; the next start tries again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.store.custody import sync_folder
from pumasi.store.sqlite import Database


@dataclass(frozen=True)
class Migration:
    """One step from version `number - 1` to `number`."""

    number: int
    what: str
    statements: tuple[str, ...]


def version(db: Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(database: Database, schema: Sequence[str], migrations: Sequence[Migration]) -> None:
    """Bring a database to the newest version; a new one is made at it.

    `Invalid` when it was written by a newer version of Pumasi: it is not touched then.
    """
    newest, path = migrations[-1].number if migrations else 0, database.path
    with database.reading() as db:
        found, empty = version(db), _is_empty(db)
    if found == newest and not empty:
        return
    if found > newest:
        raise Invalid(
            f"{path} was written by a newer version of Pumasi (database version {found}, this one knows {newest}); install that version"
        )
    with database.begin() as db:  # nobody else writes from here on, and whoever waited for it finds the work done
        found = version(db)
        if _is_empty(db):
            for statement in schema:
                db.execute(statement)
        elif found < newest:
            copy(path, path.with_name(f"{path.name}.before-{newest}"))
            for migration in migrations[found:]:
                _apply(db, migration, path)
        db.execute(f"PRAGMA user_version = {newest:d}")


def _apply(db: Connection, migration: Migration, path: Path) -> None:
    for statement in migration.statements:
        try:
            db.execute(statement)
        except sqlite3.DatabaseError as error:
            raise PumasiError(
                f"{path} could not be brought to version {migration.number} ({migration.what}): {error}; nothing was changed"
            ) from error


def _is_empty(db: Connection) -> bool:
    return bool(db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be in use, whole or not there."""
    new = target.with_name(f"{target.name}.new-{os.getpid()}")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(new)) as to:
        from_.backup(to)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(target)
    sync_folder(target.parent)
