"""Taking up a party's record again: after a backup, on a new machine, or when the log goes on without the entries that it ended with."""

from __future__ import annotations

from sqlite3 import Connection

from pumasi.kernel.event import Entry
from pumasi.store.db import put_out
from pumasi.store.site import CAME_BACK, RESTORED, Site


def come_back(site: Site) -> None:
    """Take up again what a party had signed after its backup was made, and sign from now on. Its copy must have caught up."""
    mark = site.mark()
    if mark is None:
        return
    with site.database.begin() as db:
        _adopt(db, site, mark.size)
        db.execute("DELETE FROM notes WHERE key = ?", (CAME_BACK,))
        db.execute("UPDATE notes SET key = ? WHERE key = ?", (CAME_BACK, RESTORED))


def adopt(site: Site) -> None:
    """Go on where a party's name had left off in the log, on a machine that has said none of it."""
    with site.database.begin() as db:
        _adopt(db, site, 0)


def _adopt(db: Connection, site: Site, start: int) -> None:
    for entry in [entry for entry in map(Entry, site.entries(start)) if entry.event.author == site.id]:
        known = db.execute("UPDATE outbox SET state = 'logged' WHERE digest = ?", (entry.digest,)).rowcount
        if not known:
            put_out(db, entry, state="logged")


def cut(site: Site, size: int) -> None:
    """Forget the entries from `size` on, for the log goes on without them; what the party has said and the log lacks is sent again."""
    with site.changed:
        with site.database.begin() as db:
            db.execute('DELETE FROM entries WHERE "index" >= ?', (size,))
            db.execute("DELETE FROM checkpoints WHERE size > ?", (size,))
            lost = "author = ? AND state = 'logged' AND digest NOT IN (SELECT digest FROM entries)"
            db.execute(f"UPDATE outbox SET state = 'recorded' WHERE {lost}", (site.id,))
        site.think_again()
