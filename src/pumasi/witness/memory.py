"""What a witness promises: of each log it knows it cosigns one line of heads, each an extension of the last, whatever happens to it.

The newest head of each log is on the disk, synced, before its cosignature is made. Safe for several threads and processes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.errors import PumasiError, Tampered
from pumasi.ledger import note
from pumasi.ledger.tree import EMPTY, verify_consistency
from pumasi.store.sqlite import open_file


class UnknownLog(PumasiError):
    """The witness does not know a log of this name."""


class NotSigned(PumasiError):
    """None of the log's keys that the witness knows has signed the checkpoint."""


class Malformed(PumasiError):
    """The request is not one of tlog-witness."""


class Conflict(PumasiError):
    """The witness has seen another head than the caller thinks; `size` is that of its own."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the newest head that this witness has cosigned is over {size} entries")
        self.size = size


class Inconsistent(PumasiError):
    """The proof does not show that the log only grew."""


@dataclass(frozen=True)
class Seen:
    size: int
    root: bytes
    text: str


class Memory:
    """The heads that a witness called `name` has cosigned of these logs; a log may have several keys, as it changes them."""

    def __init__(self, path: Path, *, name: str, key: Ed25519PrivateKey, logs: tuple[note.VKey, ...]) -> None:
        self.name, self._key, self._logs, self._lock = name, key, logs, threading.Lock()
        self._db = open_file(path, synchronous="FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS heads (origin TEXT PRIMARY KEY, size INTEGER, root BLOB, note TEXT)")

    @property
    def vkey(self) -> note.VKey:
        return note.VKey(self.name, note.COSIGNER, self._key.public_key().public_bytes_raw())

    def newest(self, origin: str) -> Seen | None:
        """The head of a log that was cosigned last."""
        row = self._db.execute("SELECT size, root, note FROM heads WHERE origin = ?", (origin,)).fetchone()
        return Seen(*row) if row else None

    def add(self, old: int, proof: list[bytes], text: str) -> str:
        """The cosignature on a checkpoint that extends the newest one, which the caller says is over `old` entries."""
        try:
            head = note.parse_checkpoint(text)
        except Tampered as error:
            raise Malformed(*error.reasons) from error
        self._check_signed(head)
        if old > head.size:
            raise Malformed("the old size is larger than the checkpoint")
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            extended = False
            try:
                self._extend(old, proof, head, text)
                extended = True
            finally:
                self._db.execute("COMMIT" if extended else "ROLLBACK")
        return note.cosign(text, self.name, key=self._key, time=int(time.time()))

    def _check_signed(self, head: note.Checkpoint) -> None:
        known = [log for log in self._logs if log.name == head.origin]
        if not known:
            raise UnknownLog(f"this witness does not know the log {head.origin}")
        for log in known:
            if any(line.is_by(log) and line.holds(log, head.body) for line in head.lines):
                return
        raise NotSigned("the checkpoint is not signed with a key of the log that this witness knows")

    def _extend(self, old: int, proof: list[bytes], head: note.Checkpoint, text: str) -> None:
        seen = self.newest(head.origin) or Seen(0, EMPTY, "")
        if old != seen.size or (head.size == seen.size and head.root != seen.root):
            raise Conflict(seen.size)
        try:
            if old == 0 or old == head.size:
                if proof:
                    raise Tampered("there is nothing to prove here")
            else:
                verify_consistency(old, head.size, proof, seen.root, head.root)
        except Tampered as error:
            raise Inconsistent(*error.reasons) from error
        self._db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)", (head.origin, head.size, head.root, text))

    def close(self) -> None:
        self._db.close()
