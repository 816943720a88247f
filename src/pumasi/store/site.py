"""One party's record: `record(...)` signs an act into the outbox, `extend(...)` adds what was sequenced to its copy of the log.

An act is *recorded* when `record` returns, *logged* when `extend` has seen it, *final* when a quorum has cosigned a checkpoint over
it. The same fold runs here as everywhere: an entry that the rules refuse never becomes part of the copy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from random import SystemRandom
from time import monotonic
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from pumasi.kernel import rules
from pumasi.kernel.envelope import Keys, parse_canonical, sha256, sign
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.event import Entry
from pumasi.kernel.model import Instant, Model
from pumasi.kernel.world import Case, World
from pumasi.ledger.handover import check_root
from pumasi.ledger.note import parse_checkpoint
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.db import checkpoints, closed, documents, entries, entries_of, indexes_of, notes, outbox, read_note, reader
from pumasi.store.document import Document, DocumentState, document_state, keep_document
from pumasi.store.reading import Fits, Readers, anything_fits, judged
from pumasi.store.snapshot import Snapshots, read_case, write_case

SAMPLED = 256  # entries that a start from a snapshot compares with it
TOGETHER = 500  # closed cases written down at once while replaying
EVERY, OFTEN = 1000, 60.0  # entries, seconds between snapshots: what is replayed at a start, at most

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
        self, engine: Engine, *, id: str, keys: Keys, now: Callable[[], datetime] = utc_now, snapshots: Snapshots | None = None
    ) -> None:
        self.engine, self._reader, self.id, self.keys, self.now = engine, reader(engine), id, keys, now
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
        with self._reader.connect() as db:
            rows = db.execute(select(entries.c.data).where(entries.c.index >= self.tree.size).order_by(entries.c.index))
            for entry in self._readers.each(Entry, rows.scalars()):
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
            with self.engine.begin() as db:
                keep_closed(db, ended)

    def _compare(self, indexes: range) -> None:
        """That entries picked at random, and the last, are those of the tree. Asking all of a long log would take as long as hashing it."""
        picked = {*SystemRandom().sample(indexes, min(SAMPLED, len(indexes))), *indexes[-1:]}
        with self._reader.connect() as db:
            rows = list(db.execute(select(entries.c.index, entries.c.digest, entries.c.data).where(entries.c.index.in_(picked))))
        fitting = [index for index, digest, data in rows if leaf_hash(data) == self.tree.leaf(index) and sha256(data) == digest]
        if len(fitting) < len(picked):
            raise Tampered("the snapshot's tree is not that of the entries on the disk")

    def instant(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- recording one's own acts ---

    def record(self, kind: type[Any], /, *, case: str, opened: Iterable[Document] = (), **fields: Any) -> Receipt:
        """Sign an event of this party and keep it, with the documents it commits to, in one transaction."""
        with self.engine.begin() as db:
            receipt = self._sign_into_outbox(db, kind, case, opened, fields)
        self.stir()
        return receipt

    def _sign_into_outbox(self, db: Connection, kind: type[Any], case: str, opened: Iterable[Document], fields: dict[str, Any]) -> Receipt:
        if db.execute(select(notes.c.key).where(notes.c.key == RESTORED)).first():  # what it said after its backup it does not know yet
            raise Refused(f"{self.id} was restored from a backup and signs nothing until it has caught up with the log; serve it, and wait")
        chain = select(outbox.c.seq, outbox.c.digest).where(outbox.c.case == case, outbox.c.author == self.id, outbox.c.state != "refused")
        last = db.execute(chain.order_by(outbox.c.seq.desc()).limit(1)).first()
        seq, prev = (last.seq + 1, last.digest) if last else (0, None)
        event = kind.read(
            {"type": kind.__name__, "case": case, "author": self.id, "seq": seq, "prev": prev, "at": self.instant(), **fields}
        )
        entry = Entry(sign("event", event.plain(), self.keys))
        db.execute(insert(outbox).values(case=case, author=self.id, seq=seq, digest=entry.digest, data=entry.data, state="recorded"))
        for document in opened:
            keep_document(db, document)
        return Receipt(entry.digest, entry.data)

    def unsent(self) -> list[tuple[int, bytes]]:
        """What is recorded and not yet logged, in order."""
        with self._reader.connect() as db:
            rows = db.execute(select(outbox.c.id, outbox.c.data).where(outbox.c.state == "recorded").order_by(outbox.c.id))
            return [(row.id, row.data) for row in rows]

    def own(self, case: str) -> list[Entry]:
        """What this party has signed in a case and the log has not refused, in order; the log may not have it yet."""
        with self._reader.connect() as db:
            mine = select(outbox.c.data).where(outbox.c.case == case, outbox.c.author == self.id, outbox.c.state != "refused")
            return [Entry(data) for data in db.execute(mine.order_by(outbox.c.seq)).scalars()]

    def settle(self, id: int, *, refused: Sequence[str] = ()) -> None:
        """Note what the log said to one's own event. A refused one stays as evidence and is not sent again."""
        with self.engine.begin() as db:
            state = "refused" if refused else "logged"
            db.execute(update(outbox).where(outbox.c.id == id).values(state=state, reasons="\n".join(refused)))

    def ahead(self) -> list[Entry]:
        """What this party has signed, the log has not refused, and its own copy does not hold yet; in order."""
        with self._reader.connect() as db:
            mine = select(outbox.c.id, outbox.c.digest, outbox.c.data, outbox.c.state).where(outbox.c.id > self._caught_up)
            rows = db.execute(mine.order_by(outbox.c.id)).all()
            there = indexes_of(db, [row.digest for row in rows])
            here = {row.id for row in rows if row.state == "refused" or row.digest in there}
        self._caught_up = max((row.id for row in takewhile(lambda row: row.id in here, rows)), default=self._caught_up)
        return [Entry(row.data) for row in rows if row.id not in here]

    def last_logged(self) -> str:
        """The digest of this party's newest event that the log has taken, which its own copy may not hold yet; "" before the first."""
        with self._reader.connect() as db:
            query = select(outbox.c.digest).where(outbox.c.state == "logged").order_by(outbox.c.id.desc()).limit(1)
            return db.execute(query).scalar() or ""

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
                with self.engine.begin() as db:
                    outcome = self._add(db, digests, read, in_order=in_order)
                written = True
            finally:
                if not written:
                    self._load()  # think again what is on disk
            self.stir()
            return outcome

    def _add(self, db: Connection, digests: Sequence[str], read: dict[str, Entry | list[str]], *, in_order: bool) -> list[list[str]]:
        outcome: list[list[str]] = []
        added: dict[str, dict[str, Any]] = {}
        there = indexes_of(db, read)  # somebody else may have added one meanwhile
        for digest in digests:
            entry, reasons = read.get(digest, []), []
            if isinstance(entry, list):
                reasons = entry
            elif digest not in there and digest not in added:
                try:
                    index = self.tree.size
                    keep_closed(db, self._fold(entry))
                    added[digest] = {"index": index, "digest": digest, "data": entry.data}
                except (Refused, Tampered) as error:
                    reasons = error.reasons
            outcome.append(reasons)
            if reasons and in_order:
                break
        if added:
            db.execute(insert(entries), list(added.values()))  # one statement: a batch costs one sync and little more
        return outcome

    def _fold(self, entry: Entry) -> list[tuple[str, Case]]:
        """Let an entry follow; the case that it closed, if it did, which is the caller's to keep."""
        check_root(entry.event, self.tree)
        rules.apply(self.world, entry)
        self.tree.append(leaf_hash(entry.data))
        return [(entry.event.case, self.world.retire(entry.event.case))] if entry.event.type == "CaseClosed" else []

    def indexes(self, digests: Iterable[str]) -> dict[str, int]:
        """Where those of these entries stand that the log has."""
        with self._reader.connect() as db:
            return indexes_of(db, digests)

    def index_of(self, digest: str) -> int | None:
        return self.indexes([digest]).get(digest)

    def case(self, id: str) -> Case:
        """A case, open or closed; `NotFound` for none."""
        with self.changed:
            found = self.world.cases.get(id)
        if found is None and id in self.world.retired:
            with self._reader.connect() as db:
                data = db.execute(select(closed.c.data).where(closed.c.case == id)).scalar()
            found = read_case(data) if data is not None else None
        if found is None:
            raise NotFound("there is no such case")
        return found

    def entries(self, start: int, stop: int | None = None) -> list[bytes]:
        query = select(entries.c.data).where(entries.c.index >= start).order_by(entries.c.index)
        with self._reader.connect() as db:
            return list(db.execute(query if stop is None else query.where(entries.c.index < stop)).scalars())

    def entries_of(self, *cases: str, before: int | None = None) -> list[tuple[int, bytes]]:
        """The entries of these cases in the log, or in its beginning, with their indexes."""
        with self._reader.connect() as db:
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
        with self.engine.begin() as db:
            statement = upsert(checkpoints).values(size=size, note=note)
            db.execute(statement.on_conflict_do_update(index_elements=["size"], set_={"note": note}))
        self.stir()

    def checkpoint(self, size: int | None = None, *, most: int | None = None) -> str | None:
        """The note over this size, or the newest (over at most so many entries)."""
        with self._reader.connect() as db:
            query = select(checkpoints.c.note)
            if size is not None:
                return db.execute(query.where(checkpoints.c.size == size)).scalar()
            query = query if most is None else query.where(checkpoints.c.size <= most)
            return db.execute(query.order_by(checkpoints.c.size.desc()).limit(1)).scalar()

    def checkpoint_sizes(self, least: int, most: int) -> list[int]:
        """The sizes of the `most` oldest checkpoints over at least `least` entries."""
        with self._reader.connect() as db:
            query = select(checkpoints.c.size).where(checkpoints.c.size >= least).order_by(checkpoints.c.size).limit(most)
            return list(db.execute(query).scalars())

    def keep(self, document: Document) -> None:
        """Keep a document; `Refused` when it was erased here."""
        with self.engine.begin() as db:
            keep_document(db, document)

    def document(self, commitment: str) -> Document:
        with self._reader.connect() as db:
            data = db.execute(select(documents.c.data).where(documents.c.commitment == commitment)).scalar()
        if data is None:
            why = "has been erased here" if self.document_state(commitment) == "erased" else "was never sent here"
            raise NotFound(f"{self.id} holds no document with the commitment {commitment[:12]}…; it {why}")
        return Document.read(data, commitment)

    def document_state(self, commitment: str) -> DocumentState:
        with self._reader.connect() as db:
            return document_state(db, commitment)

    def note(self, key: str, value: bytes) -> None:
        with self.engine.begin() as db:
            db.execute(upsert(notes).values(key=key, value=value).on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    def noted(self, key: str) -> bytes | None:
        return read_note(self.engine, key)

    def notes_of(self, prefix: str) -> list[tuple[str, bytes]]:
        """The notes whose key begins with `prefix`, in the order of their keys."""
        with self._reader.connect() as db:
            query = select(notes.c.key, notes.c.value).where(notes.c.key.startswith(prefix, autoescape=True)).order_by(notes.c.key)
            return [(str(key), bytes(value)) for key, value in db.execute(query)]

    def count_notes(self, prefix: str) -> int:
        with self._reader.connect() as db:
            query = select(func.count()).select_from(notes).where(notes.c.key.startswith(prefix, autoescape=True))
            return db.execute(query).scalar_one()

    def forget(self, prefix: str) -> int:
        """Erase the notes whose key begins with `prefix`; how many there were."""
        with self.engine.begin() as db:
            count = db.execute(select(func.count()).select_from(notes).where(notes.c.key.startswith(prefix, autoescape=True))).scalar_one()
            db.execute(delete(notes).where(notes.c.key.startswith(prefix, autoescape=True)))
            return count


def keep_closed(db: Connection, ended: Sequence[tuple[str, Case]]) -> None:
    """What closed cases have come to; a replay from zero writes it anew."""
    if ended:
        statement = upsert(closed)
        statement = statement.on_conflict_do_update(index_elements=["case"], set_={"data": statement.excluded.data})
        db.execute(statement, [{"case": id, "data": write_case(case)} for id, case in ended])
