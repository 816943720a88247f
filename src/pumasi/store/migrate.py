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

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import DatabaseError

from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.store.custody import sync_folder


@dataclass(frozen=True)
class Migration:
    """One step from version `number - 1` to `number`."""

    number: int
    what: str
    statements: tuple[str, ...]


def version(db: Connection) -> int:
    return int(db.exec_driver_sql("PRAGMA user_version").scalar_one())


def migrate(engine: Engine, schema: MetaData, migrations: Sequence[Migration], *, path: Path) -> None:
    """Bring the database of `engine` (the file `path`) to the newest version; a new one is made at it.

    `Invalid` when it was written by a newer version of Pumasi: it is not touched then.
    """
    newest = migrations[-1].number if migrations else 0
    reading = engine.execution_options(reading=True)
    with reading.connect() as db:
        found, empty = version(db), _is_empty(db)
    if found == newest and not empty:
        return
    if found > newest:
        raise Invalid(
            f"{path} was written by a newer version of Pumasi (database version {found}, this one knows {newest}); install that version"
        )
    with engine.begin() as db:  # nobody else writes from here on, and whoever waited for it finds the work done
        found = version(db)
        if _is_empty(db):
            schema.create_all(db)
        elif found < newest:
            copy(path, path.with_name(f"{path.name}.before-{newest}"))
            for migration in migrations[found:]:
                _apply(db, migration, path)
        db.exec_driver_sql(f"PRAGMA user_version = {newest:d}")


def _apply(db: Connection, migration: Migration, path: Path) -> None:
    for statement in migration.statements:
        try:
            db.exec_driver_sql(statement)
        except DatabaseError as error:
            raise PumasiError(
                f"{path} could not be brought to version {migration.number} ({migration.what}): {error.orig}; nothing was changed"
            ) from error


def _is_empty(db: Connection) -> bool:
    return int(db.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()) == 0


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
