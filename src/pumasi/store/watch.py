"""Resting until a record has moved on: whoever acts on a record sleeps while nobody writes to it."""

from __future__ import annotations

import threading
from time import monotonic

from pumasi.store.site import Site
from pumasi.store.sqlite import open_file

LOOK = 0.2  # seconds between two looks at what other processes have recorded


class Watch:
    """On the record of `site`; for one thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._db = open_file(site.database.path, synchronous="FULL")  # it only looks

    def moment(self) -> tuple[int, int]:
        """What differs once somebody, this process or another, has written to the record."""
        return self._site.moves, self._db.execute("PRAGMA data_version").fetchone()[0]

    def rest(self, since: tuple[int, int], seconds: float, stop: threading.Event) -> None:
        """Block until the record has moved on from the moment `since`, `stop` is set, or the time is over.

        What another process records (`pumasi node enrol`) is seen within `LOOK` seconds.
        """
        until = monotonic() + seconds
        while self.moment() == since and not stop.is_set() and monotonic() < until:
            self._site.wait_for(lambda: self._site.moves != since[0] or stop.is_set(), LOOK)
