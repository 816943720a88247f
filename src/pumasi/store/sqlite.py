"""How every database file here is opened and shared by threads: for this user alone, with a write-ahead log, waiting for whoever writes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Literal

WAIT_S = 30.0  # for another writer of the same file
KEPT = 8  # connections that wait for the next who asks; the hub answers hundreds at once, and none may fail for want of one


class Database:
    """One SQLite file for any number of threads. A transaction and a reading each have a connection to themselves while they last."""

    def __init__(self, path: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"]) -> None:
        self.path, self._synchronous = path, synchronous
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction, kept whole or not at all. It has the writer's lock from its beginning: one at a time, never a deadlock."""
        with self._connection() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """For reading only: it never waits for the writer."""
        with self._connection() as connection:
            yield connection

    def dispose(self) -> None:
        """Let go of the file; it can be used again."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._open()
        usable = False
        try:
            yield connection
            usable = True
        finally:
            with self._lock:
                kept = usable and len(self._idle) < KEPT
                if kept:
                    self._idle.append(connection)
            if not kept:
                connection.close()

    def _open(self) -> Connection:
        connection = open_file(self.path, synchronous=self._synchronous)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # what is erased leaves no bytes in unused pages
        return connection


def open_file(path: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"]) -> sqlite3.Connection:
    """A connection without transactions of its own, for one thread at a time; the file is made when it is not there."""
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
    write_ahead(connection)
    connection.execute(f"PRAGMA synchronous={synchronous}")
    return connection


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, which SQLite refuses at once, whatever its timeout, while another process writes or switches."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
