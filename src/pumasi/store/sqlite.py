"""How every database file here is opened: for this user alone, with a write-ahead log, waiting for whoever writes."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Literal

WAIT_S = 30.0  # for another writer of the same file


def open_file(path: Path, *, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """A connection without transactions of its own, for use under a lock of the caller; the file is made when it is not there."""
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
