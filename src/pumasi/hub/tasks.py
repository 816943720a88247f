"""The mailbox: relays ciphertext between the hospitals of one job, and combines nothing.

A message belongs to (job, label, sender). Sending it again changes nothing, so a node may retry after any failure. Messages of a
finished job are deleted. They need not survive power loss (the job is rerun), so this database does not sync on every write.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Column, Engine, LargeBinary, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from pumasi.store.db import open_db, reader

_schema = MetaData()
_messages = Table(
    "messages", _schema,
    Column("job", String(32), primary_key=True), Column("label", String(40), primary_key=True),
    Column("sender", String(64), primary_key=True), Column("data", LargeBinary),
)  # fmt: skip


class Mailbox:
    def __init__(self, path: Path) -> None:
        self._engine: Engine = open_db(path, schema=_schema, migrations=(), synchronous="NORMAL")
        self._arrived = threading.Condition()
        self._left: dict[str, set[str]] = {}  # of jobs that were cleared: the labels that may have messages
        self._senders: dict[tuple[str, str], set[str]] = {}  # who has sent: waiting asks here, not the database

    def put(self, job: str, label: str, sender: str, data: bytes) -> None:
        with self._engine.begin() as db:
            db.execute(insert(_messages).values(job=job, label=label, sender=sender, data=data).on_conflict_do_nothing())
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
        with reader(self._engine).connect() as db:
            rows = db.execute(select(_messages.c.sender, _messages.c.data).where(_messages.c.job == job, _messages.c.label == label))
            return {row.sender: row.data for row in rows}

    def clear(self, job: str, *, keep: tuple[str, ...] = ()) -> None:
        """Delete what the hospitals of a job exchanged, except these labels. Asked again, it costs nothing."""
        with self._arrived:
            left = self._left.get(job)
            if left is not None and left <= set(keep):
                return
        with self._engine.begin() as db:
            db.execute(delete(_messages).where(_messages.c.job == job, _messages.c.label.not_in(keep)))
        with self._arrived:
            self._left[job] = set(keep)
            for known in [known for known in self._senders if known[0] == job and known[1] not in keep]:
                del self._senders[known]
