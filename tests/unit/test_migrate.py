"""A database of an earlier version becomes one of this version, after a copy was made; a failure changes nothing."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.store.db import MIGRATIONS, open_db
from pumasi.store.migrate import Migration
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, play

# The first version of the database, as it was created before there were migrations.
VERSION_0 = """
CREATE TABLE entries ("index" INTEGER NOT NULL, digest VARCHAR(64), data BLOB, PRIMARY KEY ("index"), UNIQUE (digest));
CREATE TABLE checkpoints (size INTEGER NOT NULL, note TEXT, PRIMARY KEY (size));
CREATE TABLE outbox (
    id INTEGER NOT NULL, "case" VARCHAR(32), author VARCHAR(128), seq INTEGER, digest VARCHAR(64), data BLOB, state VARCHAR(8),
    reasons TEXT, PRIMARY KEY (id)
);
CREATE INDEX outbox_chain ON outbox ("case", author, state);
CREATE INDEX outbox_state ON outbox (state);
CREATE TABLE documents (commitment VARCHAR(64) NOT NULL, data BLOB, PRIMARY KEY (commitment));
CREATE TABLE notes ("key" VARCHAR(200) NOT NULL, value BLOB, PRIMARY KEY ("key"));
"""
NEWEST = MIGRATIONS[-1].number
NEXT = Migration(NEWEST + 1, "a column for tests", ("ALTER TABLE notes ADD COLUMN since TEXT", "CREATE INDEX notes_since ON notes (since)"))
BROKEN = Migration(NEWEST + 1, "one that cannot work", ("ALTER TABLE notes ADD COLUMN since TEXT", "ALTER TABLE nowhere ADD COLUMN a TEXT"))


def ask(path: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(question).fetchall()


def version(path: Path) -> int:
    return int(ask(path, "PRAGMA user_version")[0][0])


def indexes(path: Path) -> set[str]:
    return {name for (name,) in ask(path, "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_%'")}


def shape(path: Path) -> dict[str, list[Any]]:
    """Every table with its columns, whatever order they were made in."""
    tables = [name for (name,) in ask(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
    return {
        table: [(name, type_, key) for _, name, type_, _, _, key in ask(path, f"PRAGMA table_info({table})")] for table in sorted(tables)
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 0 with a whole case in it."""
    path, book = tmp_path / "hub.db", play()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(VERSION_0)
    database = open_db(tmp_path / "scratch.db")
    site = Site(database, id=COORDINATOR, keys=book.keys_of(COORDINATOR))
    assert not any(site.extend(book.log))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ATTACH ? AS scratch", (str(tmp_path / "scratch.db"),))
        db.execute("INSERT INTO main.entries SELECT * FROM scratch.entries")
    database.dispose()
    return path


def test_a_new_database_is_made_at_the_newest_version_and_without_a_copy(tmp_path: Path) -> None:
    open_db(tmp_path / "new.db").dispose()
    assert version(tmp_path / "new.db") == NEWEST
    assert sorted(path.name for path in tmp_path.iterdir() if "before" in path.name) == []


def test_migrations_are_numbered_one_by_one() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_an_old_database_gets_the_shape_of_a_new_one(old: Path, tmp_path: Path) -> None:
    open_db(old).dispose()
    open_db(tmp_path / "new.db").dispose()
    assert version(old) == NEWEST
    assert indexes(old) == indexes(tmp_path / "new.db") >= {"entries_case"}
    assert shape(old) == shape(tmp_path / "new.db")


def test_a_party_with_an_old_database_knows_its_closed_cases(old: Path) -> None:
    book = play()
    site = Site(open_db(old), id=COORDINATOR, keys=book.keys_of(COORDINATOR))
    assert site.case(book.case) == book.world.cases[book.case]


def test_a_copy_is_made_first_and_holds_everything(old: Path) -> None:
    before = ask(old, 'SELECT * FROM entries ORDER BY "index"')
    open_db(old).dispose()
    copy = old.with_name(f"hub.db.before-{NEWEST}")
    assert (version(copy), ask(copy, 'SELECT * FROM entries ORDER BY "index"')) == (0, before)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list(old.parent.glob("*.new-*"))


def test_what_is_not_checkpointed_into_the_file_is_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    database = open_db(path)
    with database.begin() as db:
        db.execute("INSERT INTO entries VALUES (0, ?, ?)", ("0" * 64, b"only in the write-ahead log yet"))
    open_db(path, migrations=(*MIGRATIONS, NEXT)).dispose()
    assert ask(path.with_name(f"hub.db.before-{NEXT.number}"), "SELECT data FROM entries") == [(b"only in the write-ahead log yet",)]
    database.dispose()


def test_a_later_version_is_reached_by_the_missing_step_alone(old: Path) -> None:
    open_db(old).dispose()
    open_db(old, migrations=(*MIGRATIONS, NEXT)).dispose()
    assert version(old) == NEXT.number
    assert ("since", "TEXT", 0) in shape(old)["notes"]
    assert version(old.with_name(f"hub.db.before-{NEXT.number}")) == NEWEST


def test_one_that_fails_half_way_changes_nothing_and_says_which(old: Path) -> None:
    open_db(old).dispose()
    before = shape(old)
    for _ in range(2):
        with pytest.raises(PumasiError, match=r"could not be brought to version \d+ \(one that cannot work\).*nothing was changed"):
            open_db(old, migrations=(*MIGRATIONS, BROKEN))
        assert (version(old), shape(old)) == (NEWEST, before)
    open_db(old, migrations=(*MIGRATIONS, NEXT)).dispose()
    assert version(old) == NEXT.number


def test_the_copy_is_of_now_and_not_of_an_attempt_long_ago(old: Path) -> None:
    copy = old.with_name(f"hub.db.before-{NEWEST}")
    copy.write_bytes(b"what an attempt that failed last year had left")
    open_db(old).dispose()
    assert version(copy) == 0 and ask(copy, "SELECT count(*) FROM entries") == ask(old, "SELECT count(*) FROM entries")


def test_whoever_waited_for_the_migration_finds_it_done(old: Path) -> None:
    """Two processes start at once: one migrates, and the copy stays that of the old version."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for database in pool.map(lambda _: open_db(old), range(4)):
            database.dispose()
    assert version(old) == NEWEST
    assert version(old.with_name(f"hub.db.before-{NEWEST}")) == 0


def test_the_first_start_waits_for_whoever_writes(old: Path) -> None:
    """SQLite itself refuses to switch to the write-ahead log at once, without waiting, while another process writes."""
    with closing(sqlite3.connect(old, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: writer.execute("ROLLBACK"))
        release.start()
        open_db(old).dispose()
        release.join()
    assert version(old) == NEWEST


def test_a_database_of_a_newer_version_is_left_alone(old: Path) -> None:
    open_db(old, migrations=(*MIGRATIONS, NEXT)).dispose()
    with pytest.raises(Invalid, match="newer version of Pumasi"):
        open_db(old)
    assert version(old) == NEXT.number


def test_a_database_at_its_version_is_only_read(tmp_path: Path) -> None:
    """Reviewers' commands open the database beside the serving node: they must not wait for its writer."""
    path = tmp_path / "node.db"
    database = open_db(path)
    with database.begin():  # holds the writer's lock
        open_db(path).dispose()
    database.dispose()
