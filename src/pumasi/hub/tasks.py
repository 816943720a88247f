"""The mailbox: relays ciphertext between the hospitals of one job, and combines nothing.

A message belongs to (job, label, sender). Sending it again changes nothing, so a node may retry after any failure. Messages of a
finished job are deleted. They need not survive power loss (the job is rerun), so this database does not sync on every write.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from pumasi.store.db import open_db

SCHEMA = """CREATE TABLE messages (
    job VARCHAR(32) NOT NULL, label VARCHAR(40) NOT NULL, sender VARCHAR(64) NOT NULL, data BLOB, PRIMARY KEY (job, label, sender)
)"""


class Mailbox:
    def __init__(self, path: Path) -> None:
        self._database = open_db(path, schema=(SCHEMA,), migrations=(), synchronous="NORMAL")
        self._arrived = threading.Condition()
        self._left: dict[str, set[str]] = {}  # of jobs that were cleared: the labels that may have messages
        self._senders: dict[tuple[str, str], set[str]] = {}  # who has sent: waiting asks here, not the database

    def put(self, job: str, label: str, sender: str, data: bytes) -> None:
        with self._database.begin() as db:
            db.execute("INSERT INTO messages VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (job, label, sender, data))
        with self._arrived:
            self._left.pop(job, None)
            self._who(job, label).add(sender)
            self._arrived.notify_all()

    def get(self, job: str, label: str, *, expected: set[str], seconds: float) -> dict[str, bytes]:
        """The messages under this label once every expected sender has sent, or what there is when the time is over."""
        with self._arrived:
            self._arrived.wait_for(lambda: expected <= self._who(job, label), timeout=seconds)
        return self._read(job, label)

    def _who(self, job: str, label: str) -> set[str]:
        if (job, label) not in self._senders:
            self._senders[(job, label)] = set(self._read(job, label))
        return self._senders[(job, label)]

    def _read(self, job: str, label: str) -> dict[str, bytes]:
        with self._database.reading() as db:
            return dict(db.execute("SELECT sender, data FROM messages WHERE job = ? AND label = ?", (job, label)))

    def clear(self, job: str, *, keep: tuple[str, ...] = ()) -> None:
        """Delete what the hospitals of a job exchanged, except these labels. Asked again, it costs nothing."""
        with self._arrived:
            left = self._left.get(job)
            if left is not None and left <= set(keep):
                return
        with self._database.begin() as db:
            db.execute("DELETE FROM messages WHERE job = ? AND label NOT IN (SELECT value FROM json_each(?))", (job, json.dumps(keep)))
        with self._arrived:
            self._left[job] = set(keep)
            for known in [known for known in self._senders if known[0] == job and known[1] not in keep]:
                del self._senders[known]
