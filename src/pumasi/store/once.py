"""What may happen once only within a time: requests that were answered, so that none is answered twice.

One small database, safe for several threads and processes, which survives a restart; after a power cut the last moment may be
missing. It holds digests and instants, and forgets what is too old to be accepted anyway.
"""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

from pumasi.store.sqlite import open_file

SWEEP = 2000  # entries between two looks at what has grown old


class Once:
    def __init__(self, path: Path) -> None:
        self._db = open_file(path, synchronous="NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, until REAL) WITHOUT ROWID")
        self._lock, self._count = threading.Lock(), 0

    def first(self, digest: str, *, until: datetime, now: datetime) -> bool:
        """Whether this is the first time; it is remembered until then."""
        with self._lock:
            self._count += 1
            if self._count % SWEEP == 1:
                self._db.execute("DELETE FROM seen WHERE until < ?", (now.timestamp(),))
            added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (bytes.fromhex(digest), until.timestamp()))
            return added.rowcount == 1

    def close(self) -> None:
        self._db.close()
