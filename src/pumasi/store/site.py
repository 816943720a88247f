"""One party's record: `record(...)` signs an act into the outbox, `extend(...)` adds what was sequenced to its copy of the log.

An act is *recorded* when `record` returns, *logged* when `extend` has seen it, *final* when a quorum has cosigned a checkpoint over
it. The same fold runs here as everywhere: an entry that the rules refuse never becomes part of the copy.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from random import SystemRandom
from sqlite3 import Connection
from time import monotonic
from typing import Any

from pydantic import Field

from pumasi.kernel import rules
from pumasi.kernel.envelope import Keys, parse_canonical, sha256, sign
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.event import Entry
from pumasi.kernel.model import Instant, Model
from pumasi.kernel.world import Case, World
from pumasi.ledger.handover import check_root
from pumasi.ledger.note import parse_checkpoint
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.db import column, entries_of, indexes_of, put_out, read_note, scalar
from pumasi.store.document import Document, DocumentState, document_state, keep_document
from pumasi.store.reading import Fits, Readers, anything_fits, judged
from pumasi.store.snapshot import Snapshots, read_case, write_case
from pumasi.store.sqlite import Database

SAMPLED = 4_096  # entries that a start from a snapshot compares with it, in about 20 ms; of a log that is no longer than that all
TOGETHER = 500  # closed cases written down at once while replaying
EVERY, OFTEN = 1000, 60.0  # entries, seconds between snapshots: what is replayed at a start, at most

LATEST = 2**53  # beyond every index
BEGINS = "substr(key, 1, length(?)) = ?"  # notes by the beginning of their keys

RESTORED, CAME_BACK = "restored", "came back"  # notes: the mark of a restored party, before and after it has caught up

log = logging.getLogger("pumasi.store")


@dataclass(frozen=True)
class Receipt:
    """Proof that an act is recorded: the digest under which the log will know it."""

    digest: str
    data: bytes


def utc_now() -> datetime:
    return datetime.now(UTC)


class Mark(Model):
    """What a restored party knows of its past, until it has caught up: the log as its backup had it."""

    made_at: Instant
    restored_at: Instant
    size: int = Field(ge=0)
    checkpoint: str | None


class Site:
    """The record of the party `id`. Safe for several threads; `record` is safe for several processes too."""

    def __init__(
        self, database: Database, *, id: str, keys: Keys, now: Callable[[], datetime] = utc_now, snapshots: Snapshots | None = None
    ) -> None:
        self.database, self.id, self.keys, self.now = database, id, keys, now
        self._snapshots, self._readers = snapshots, Readers()
        self.changed = threading.Condition(threading.RLock())
        self.moves = 0  # grows with what this process adds
        self._caught_up = 0  # up to here every own event is in the copy or was refused
        self._load()

    # --- starting ---

    def _load(self) -> None:
        """Go on from the newest snapshot; without one that fits, replay everything."""
        if self._snapshots is not None:
            try:
                found = self._snapshots.load()
                if found is not None:
                    self.world, self.tree = found
                    self._compare(range(self.tree.size))
                    self._replay()
                    return
            except (Refused, Tampered) as error:
                log.warning("%s: %s; replaying the whole log instead", self.id, error)
                self._snapshots.forget()
        self.world, self.tree = World(), Tree()
        self._replay()

    def _replay(self) -> None:
        """Let follow what is on the disk behind the tree, and compare the whole with the newest checkpoint."""
        ended: list[tuple[str, Case]] = []
        newest = self.checkpoint()  # before the entries, which another process may be adding to: it never covers more than is there
        with self.database.reading() as db:
            rows = db.execute('SELECT data FROM entries WHERE "index" >= ? ORDER BY "index"', (self.tree.size,))
            for entry in self._readers.each(Entry, column(rows)):
                ended += self._fold(entry)
                if len(ended) >= TOGETHER:
                    self._keep_closed(ended)
                    ended.clear()
        self._keep_closed(ended)
        head = parse_checkpoint(newest) if newest else None
        if head is not None and head.size > self.tree.size:
            raise Tampered(
                f"{self.id} keeps a checkpoint over {head.size} entries and only {self.tree.size} of them: entries were lost;"
                " restore the newest backup, which the others complete"
            )
        if head is not None and self.tree.root(head.size) != head.root:
            raise Tampered(f"the newest checkpoint that {self.id} keeps is not over the entries that it keeps")

    def _keep_closed(self, ended: list[tuple[str, Case]]) -> None:
        if ended:
            with self.database.begin() as db:
                keep_closed(db, ended)

    def _compare(self, indexes: range) -> None:
        """That entries picked at random, and the last, are those of the tree. Asking all of a long log would take as long as hashing it."""
        picked = {*SystemRandom().sample(indexes, min(SAMPLED, len(indexes))), *indexes[-1:]}
        with self.database.reading() as db:
            which = 'SELECT "index", digest, data FROM entries WHERE "index" IN (SELECT value FROM json_each(?))'
            rows = db.execute(which, (json.dumps(sorted(picked)),)).fetchall()
        fitting = [index for index, digest, data in rows if leaf_hash(data) == self.tree.leaf(index) and sha256(data) == digest]
        if len(fitting) < len(picked):
            raise Tampered("the snapshot's tree is not that of the entries on the disk")

    def instant(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- recording one's own acts ---

    def record(self, kind: type[Any], /, *, case: str, opened: Iterable[Document] = (), **fields: Any) -> Receipt:
        """Sign an event of this party and keep it, with the documents it commits to, in one transaction."""
        with self.database.begin() as db:
            receipt = self._sign_into_outbox(db, kind, case, opened, fields)
        self.stir()
        return receipt

    def _sign_into_outbox(self, db: Connection, kind: type[Any], case: str, opened: Iterable[Document], fields: dict[str, Any]) -> Receipt:
        if db.execute("SELECT 1 FROM notes WHERE key = ?", (RESTORED,)).fetchone():  # what it said after its backup it does not know yet
            raise Refused(f"{self.id} was restored from a backup and signs nothing until it has caught up with the log; serve it, and wait")
        chain = """SELECT seq, digest FROM outbox WHERE "case" = ? AND author = ? AND state != 'refused' ORDER BY seq DESC LIMIT 1"""
        last = db.execute(chain, (case, self.id)).fetchone()
        seq, prev = (last[0] + 1, last[1]) if last else (0, None)
        event = kind.read(
            {"type": kind.__name__, "case": case, "author": self.id, "seq": seq, "prev": prev, "at": self.instant(), **fields}
        )
        entry = Entry(sign("event", event.plain(), self.keys))
        put_out(db, entry, state="recorded")
        for document in opened:
            keep_document(db, document)
        return Receipt(entry.digest, entry.data)

    def unsent(self) -> list[tuple[int, bytes]]:
        """What is recorded and not yet logged, in order."""
        with self.database.reading() as db:
            return db.execute("SELECT id, data FROM outbox WHERE state = 'recorded' ORDER BY id").fetchall()

    def own(self, case: str) -> list[Entry]:
        """What this party has signed in a case and the log has not refused, in order; the log may not have it yet."""
        with self.database.reading() as db:
            mine = """SELECT data FROM outbox WHERE "case" = ? AND author = ? AND state != 'refused' ORDER BY seq"""
            return [Entry(data) for data in column(db.execute(mine, (case, self.id)))]

    def settle(self, id: int, *, refused: Sequence[str] = ()) -> None:
        """Note what the log said to one's own event. A refused one stays as evidence and is not sent again."""
        with self.database.begin() as db:
            state = "refused" if refused else "logged"
            db.execute("UPDATE outbox SET state = ?, reasons = ? WHERE id = ?", (state, "\n".join(refused), id))

    def ahead(self) -> list[Entry]:
        """What this party has signed, the log has not refused, and its own copy does not hold yet; in order."""
        with self.database.reading() as db:
            mine = "SELECT id, digest, data, state FROM outbox WHERE id > ? ORDER BY id"
            rows = db.execute(mine, (self._caught_up,)).fetchall()
            there = indexes_of(db, [digest for _, digest, _, _ in rows])
        here = {id for id, digest, _, state in rows if state == "refused" or digest in there}
        self._caught_up = max(takewhile(lambda id: id in here, (row[0] for row in rows)), default=self._caught_up)
        return [Entry(data) for id, _, data, _ in rows if id not in here]

    def last_logged(self) -> str:
        """The digest of this party's newest event that the log has taken, which its own copy may not hold yet; "" before the first."""
        with self.database.reading() as db:
            return scalar(db.execute("SELECT digest FROM outbox WHERE state = 'logged' ORDER BY id DESC LIMIT 1")) or ""

    # --- after a backup ---

    def mark(self) -> Mark | None:
        """The mark of a party that was restored and has not caught up yet."""
        value = self.noted(RESTORED)
        return Mark.read(parse_canonical(value)) if value is not None else None

    def think_again(self) -> None:
        """Compute everything anew from what is on the disk."""
        with self.changed:
            self._load()
            self._caught_up = 0
            self.stir()

    # --- the shared log ---

    def extend(self, data: Sequence[bytes], *, in_order: bool = False, fits: Fits = anything_fits) -> list[list[str]]:
        """Add entries that follow; per entry the reasons why it was not added (an entry that is there already is no problem).

        `in_order` for a history that somebody else has put in order: what follows a refused entry is not looked at. `fits` is asked
        for further reasons against an entry.
        """
        digests = [sha256(item) for item in data]
        there = self.indexes(digests)
        new = {digest: item for digest, item in zip(digests, data, strict=True) if digest not in there}
        # before the lock is taken: reading an entry is most of the work
        read = dict(zip(new, self._readers.each(lambda item: judged(item, fits), new.values()), strict=True))
        with self.changed:
            written = False
            try:
                with self.database.begin() as db:
                    outcome = self._add(db, digests, read, in_order=in_order)
                written = True
            finally:
                if not written:
                    self._load()  # think again what is on disk
            self.stir()
            return outcome

    def _add(self, db: Connection, digests: Sequence[str], read: dict[str, Entry | list[str]], *, in_order: bool) -> list[list[str]]:
        outcome: list[list[str]] = []
        added: dict[str, tuple[int, str, bytes]] = {}
        there = indexes_of(db, read)  # somebody else may have added one meanwhile
        for digest in digests:
            entry, reasons = read.get(digest, []), []
            if isinstance(entry, list):
                reasons = entry
            elif digest not in there and digest not in added:
                try:
                    index = self.tree.size
                    keep_closed(db, self._fold(entry))
                    added[digest] = (index, digest, entry.data)
                except (Refused, Tampered) as error:
                    reasons = error.reasons
            outcome.append(reasons)
            if reasons and in_order:
                break
        if added:
            db.executemany("INSERT INTO entries VALUES (?, ?, ?)", added.values())
        return outcome

    def _fold(self, entry: Entry) -> list[tuple[str, Case]]:
        """Let an entry follow; the case that it closed, if it did, which is the caller's to keep."""
        check_root(entry.event, self.tree)
        rules.apply(self.world, entry)
        self.tree.append(leaf_hash(entry.data))
        return [(entry.event.case, self.world.retire(entry.event.case))] if entry.event.type == "CaseClosed" else []

    def indexes(self, digests: Iterable[str]) -> dict[str, int]:
        """Where those of these entries stand that the log has."""
        with self.database.reading() as db:
            return indexes_of(db, digests)

    def index_of(self, digest: str) -> int | None:
        return self.indexes([digest]).get(digest)

    def case(self, id: str) -> Case:
        """A case, open or closed; `NotFound` for none."""
        with self.changed:
            found = self.world.cases.get(id)
        if found is None and id in self.world.retired:
            with self.database.reading() as db:
                data = scalar(db.execute('SELECT data FROM closed WHERE "case" = ?', (id,)))
            found = read_case(data) if data is not None else None
        if found is None:
            raise NotFound("there is no such case")
        return found

    def entries(self, start: int, stop: int | None = None) -> list[bytes]:
        with self.database.reading() as db:
            which = 'SELECT data FROM entries WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
            return list(column(db.execute(which, (start, LATEST if stop is None else stop))))

    def entries_of(self, *cases: str, before: int | None = None) -> list[tuple[int, bytes]]:
        """The entries of these cases in the log, or in its beginning, with their indexes."""
        with self.database.reading() as db:
            return entries_of(db, *cases, before=self.tree.size if before is None else before)

    def wait_for(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Block until `ready()` or the time is over."""
        with self.changed:
            return self.changed.wait_for(ready, timeout=seconds)

    def stir(self) -> None:
        """Wake whoever waits for this record."""
        with self.changed:
            self.moves += 1
            self.changed.notify_all()

    # --- snapshots ---

    def keep_snapshots(self, stop: threading.Event) -> None:
        """Write a snapshot whenever the log has grown by `EVERY` entries or for `OFTEN` seconds, and at the end; returns after `stop`."""
        if self._snapshots is None:
            return
        done, since = True, monotonic()
        while not stop.wait(1.0):
            full = self.tree.size >= self._snapshots.size + EVERY
            if (full and done) or monotonic() > since + OFTEN:
                done, since = self.save_snapshot(), monotonic()
        self.save_snapshot()
        self._snapshots.close()

    def save_snapshot(self) -> bool:
        """Write down what is computed; False when that is not possible now, which costs the next start time and nothing else."""
        if self._snapshots is None or self.tree.size == self._snapshots.size:
            return True
        try:
            with self.changed:
                moment = self._snapshots.capture(self.world, self.tree)
            return self._snapshots.save(moment)
        except OSError as error:
            log.warning("%s: no snapshot could be written (%s); the next start replays more of the log", self.id, error.strerror)
            return False

    # --- checkpoints, documents, notes ---

    def save_checkpoint(self, size: int, note: str) -> None:
        with self.database.begin() as db:
            db.execute("INSERT INTO checkpoints VALUES (?, ?) ON CONFLICT (size) DO UPDATE SET note = excluded.note", (size, note))
        self.stir()

    def checkpoint(self, size: int | None = None, *, most: int | None = None) -> str | None:
        """The note over this size, or the newest (over at most so many entries)."""
        with self.database.reading() as db:
            at, below = ("=", size) if size is not None else ("<=", LATEST if most is None else most)
            found: str | None = scalar(db.execute(f"SELECT note FROM checkpoints WHERE size {at} ? ORDER BY size DESC LIMIT 1", (below,)))
            return found

    def checkpoint_sizes(self, least: int, most: int) -> list[int]:
        """The sizes of the `most` oldest checkpoints over at least `least` entries."""
        with self.database.reading() as db:
            return list(column(db.execute("SELECT size FROM checkpoints WHERE size >= ? ORDER BY size LIMIT ?", (least, most))))

    def keep(self, document: Document) -> None:
        """Keep a document; `Refused` when it was erased here."""
        with self.database.begin() as db:
            keep_document(db, document)

    def document(self, commitment: str) -> Document:
        with self.database.reading() as db:
            data = scalar(db.execute("SELECT data FROM documents WHERE commitment = ?", (commitment,)))
        if data is None:
            why = "has been erased here" if self.document_state(commitment) == "erased" else "was never sent here"
            raise NotFound(f"{self.id} holds no document with the commitment {commitment[:12]}…; it {why}")
        return Document.read(data, commitment)

    def document_state(self, commitment: str) -> DocumentState:
        with self.database.reading() as db:
            return document_state(db, commitment)

    def note(self, key: str, value: bytes) -> None:
        with self.database.begin() as db:
            db.execute("INSERT INTO notes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))

    def noted(self, key: str) -> bytes | None:
        return read_note(self.database, key)

    def notes_of(self, prefix: str) -> list[tuple[str, bytes]]:
        """The notes whose key begins with `prefix`, in the order of their keys."""
        with self.database.reading() as db:
            return db.execute(f"SELECT key, value FROM notes WHERE {BEGINS} ORDER BY key", (prefix, prefix)).fetchall()

    def count_notes(self, prefix: str) -> int:
        with self.database.reading() as db:
            return int(scalar(db.execute(f"SELECT count(*) FROM notes WHERE {BEGINS}", (prefix, prefix))))

    def forget(self, prefix: str) -> int:
        """Erase the notes whose key begins with `prefix`; how many there were."""
        with self.database.begin() as db:
            return db.execute(f"DELETE FROM notes WHERE {BEGINS}", (prefix, prefix)).rowcount


def keep_closed(db: Connection, ended: Sequence[tuple[str, Case]]) -> None:
    """What closed cases have come to; a replay from zero writes it anew."""
    if ended:
        rows = [(id, write_case(case)) for id, case in ended]
        db.executemany('INSERT INTO closed VALUES (?, ?) ON CONFLICT ("case") DO UPDATE SET data = excluded.data', rows)
