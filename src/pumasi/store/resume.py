"""Taking up a party's record again: after a backup, on a new machine, or when the log goes on without the entries that it ended with."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from pumasi.kernel.event import Entry
from pumasi.store.db import checkpoints, entries, notes, outbox
from pumasi.store.site import CAME_BACK, RESTORED, Site


def come_back(site: Site) -> None:
    """Take up again what a party had signed after its backup was made, and sign from now on. Its copy must have caught up."""
    mark = site.mark()
    if mark is None:
        return
    with site.engine.begin() as db:
        _adopt(db, site, mark.size)
        db.execute(delete(notes).where(notes.c.key == CAME_BACK))
        db.execute(update(notes).where(notes.c.key == RESTORED).values(key=CAME_BACK))


def adopt(site: Site) -> None:
    """Go on where a party's name had left off in the log, on a machine that has said none of it."""
    with site.engine.begin() as db:
        _adopt(db, site, 0)


def _adopt(db: Connection, site: Site, start: int) -> None:
    for entry in [entry for entry in map(Entry, site.entries(start)) if entry.event.author == site.id]:
        event = entry.event
        known = db.execute(update(outbox).where(outbox.c.digest == entry.digest).values(state="logged")).rowcount
        if not known:
            row = {"case": event.case, "author": site.id, "seq": event.seq, "digest": entry.digest, "data": entry.data}
            db.execute(insert(outbox).values(**row, state="logged"))


def cut(site: Site, size: int) -> None:
    """Forget the entries from `size` on, for the log goes on without them; what the party has said and the log lacks is sent again."""
    with site.changed:
        with site.engine.begin() as db:
            db.execute(delete(entries).where(entries.c.index >= size))
            db.execute(delete(checkpoints).where(checkpoints.c.size > size))
            lost = (outbox.c.author == site.id, outbox.c.state == "logged", outbox.c.digest.not_in(select(entries.c.digest)))
            db.execute(update(outbox).where(*lost).values(state="recorded"))
        site.think_again()
