"""Who may read which document: the parties of its case, and of a dataset's description every member and its people.

The log says in which event, so in which case, a document is committed to; the first event counts, for nobody else can know the
commitment before. This is computed from the log into a small database beside it, and again if that is lost.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from pumasi.kernel.errors import NotFound, Refused
from pumasi.kernel.event import CONSORTIUM
from pumasi.kernel.world import Case
from pumasi.ledger.bundle import OPENED
from pumasi.store.site import Site
from pumasi.store.sqlite import open_file

FIELDS = {**OPENED, "DatasetDescribed": "dataset"}
PAGE = 5000
OTHERS = "a document is for the parties of its case: the applicant, its hospitals and those who decide there, and the coordinating body"


class Readers:
    def __init__(self, path: Path, site: Site) -> None:
        self._site, self._lock = site, threading.Lock()
        self._db = open_file(path, synchronous="FULL")
        self._db.execute('CREATE TABLE IF NOT EXISTS papers (commitment TEXT PRIMARY KEY, "case" TEXT) WITHOUT ROWID')
        self._db.execute("CREATE TABLE IF NOT EXISTS looked (size INTEGER)")

    def check(self, commitment: str, reader: str) -> None:
        """`Refused` unless this document is for this reader; `NotFound` while no event commits to it."""
        case = self._case_of(commitment)
        if case is None:
            raise NotFound("the log commits to no such document")
        if case != CONSORTIUM:
            self.check_party(case, reader)

    def check_party(self, case: str, reader: str) -> None:
        """`Refused` unless the reader is a party of the case."""
        if not self._is_party(self._site.case(case), reader):
            raise Refused(OTHERS)

    def _is_party(self, case: Case, reader: str) -> bool:
        world = self._site.world
        person = world.people.get(reader)
        if person is None:
            return reader in case.permits or reader == world.coordinator
        return reader == case.event.author or (person.member in case.permits and bool(person.roles - {"researcher"}))

    def _case_of(self, commitment: str) -> str | None:
        with self._lock:
            self._catch_up()
            row = self._db.execute('SELECT "case" FROM papers WHERE commitment = ?', (commitment,)).fetchone()
        return str(row[0]) if row else None

    def _catch_up(self) -> None:
        row = self._db.execute("SELECT max(size) FROM looked").fetchone()
        start = row[0] or 0
        while start < self._site.tree.size:
            page = self._site.entries(start, min(start + PAGE, self._site.tree.size))
            found = []
            for data in page:
                event = json.loads(data)["body"]
                if event["type"] in FIELDS:
                    found.append((event[FIELDS[event["type"]]], event["case"]))
            start += len(page)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR IGNORE INTO papers VALUES (?, ?)", found)
            self._db.execute("DELETE FROM looked")
            self._db.execute("INSERT INTO looked VALUES (?)", (start,))
            self._db.execute("COMMIT")
