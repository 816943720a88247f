"""Erasing one document: body and salt go, the commitment stays in the log and is 32 random-looking bytes from then on.

Every proof stays valid, and what is erased does not come back by being sent again. It may still be in backups, and with others; the
lines that `erase` gives name what is beside the database.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pumasi.kernel.errors import Invalid, NotFound, refuse_if
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger.bundle import OPENED
from pumasi.store.site import Site

_COMMITMENT = re.compile("[0-9a-f]{64}")


def erase(site: Site, commitment: str, *, database: Path) -> Iterator[str]:
    """Erase one document of this party and say, line by line, what remains of it; `Refused` while it is still needed."""
    if not _COMMITMENT.fullmatch(commitment):
        raise Invalid("a commitment has 64 hexadecimal digits, in small letters; the command `documents` lists those of a case")
    state, where = site.document_state(commitment), _committed(site, commitment)
    if state == "unknown" and not where:
        raise NotFound(f"{site.id} holds no document {commitment}, and no event of the log commits to it")
    refuse_if(*(_needed(site, commitment, event) for _, event in where))
    with site.database.begin() as db:  # secure_delete leaves no bytes of it in the pages
        db.execute("INSERT INTO documents VALUES (?, NULL) ON CONFLICT (commitment) DO UPDATE SET data = NULL", (commitment,))
    did = {"here": "body and salt are erased", "unknown": "was never here, and will not be taken in", "erased": "was erased before"}
    yield f"{commitment}: {did[state]}"
    for index, event in where:
        yield f"entry {index} of the log ({event['type']} of {event['author']}) keeps the commitment; its proofs stay valid"
    if not _is_folded_in(database):
        yield f"{database}-wal may hold it until whoever uses the database lets go; erase it once more then"
    for copy in sorted(database.parent.glob(f"{database.name}.before-*")):
        if _may_hold(copy, commitment):
            yield f"{copy} was copied before an upgrade and may hold it still; remove that file"
    yield "backups made before now hold it, and so may the other parties of the case: each erases its own"


def of_case(site: Site, case: str) -> Iterator[str]:
    """The documents that a case's events commit to, and whether they are here."""
    found = [(index, json.loads(data)["body"]) for index, data in site.entries_of(case)]
    if not found:
        raise NotFound("the log has no such case")
    for index, event in found:
        if event["type"] in OPENED:
            commitment = event[OPENED[event["type"]]]
            yield f"{commitment}  {site.document_state(commitment):<8} entry {index}, {event['type']} of {event['author']}"


def _committed(site: Site, commitment: str) -> list[tuple[int, dict[str, Any]]]:
    """Every event that commits to it. All entries are looked through, which is not done often."""
    with site.database.reading() as db:
        found = db.execute('SELECT "index", data FROM entries WHERE instr(CAST(data AS TEXT), ?) ORDER BY "index"', (f'"{commitment}"',))
        return [(row[0], json.loads(row[1])["body"]) for row in found]


def _needed(site: Site, commitment: str, event: dict[str, Any]) -> str | None:
    if event["case"] == CONSORTIUM:
        current = site.world.datasets.get(event["author"]) == commitment
        return f"it describes what {event['author']} offers now; `pumasi node describe` anew first" if current else None
    if site.world.is_closed(event["case"]):
        return None
    return f"case {event['case']} is not closed and needs it"


def _is_folded_in(database: Path) -> bool:
    """Whether nothing is left in the write-ahead log of what was written before; waits a moment for whoever reads in it."""
    with closing(sqlite3.connect(database, timeout=2)) as db:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _may_hold(copy: Path, commitment: str) -> bool:
    try:
        with closing(sqlite3.connect(f"{copy.resolve().as_uri()}?immutable=1", uri=True)) as db:
            return db.execute("SELECT 1 FROM documents WHERE commitment = ? AND data IS NOT NULL", (commitment,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return True
