"""A hub that was restored from a backup adds nothing to the log before it knows what the log had become since.

Every node that asks it for news gives back what the backup lacks (see `store.tail`). Once all hospitals that cosign have been heard,
or a quorum and nobody else for a while, the hub goes on. A quorum always includes somebody who knows the newest final head. A
head that only a hospital saw which stays away is not final, and that hospital will hold evidence of two stories when it is back.
"""

from __future__ import annotations

import logging
import threading
import time

from pumasi.hub.log import Sequencer
from pumasi.kernel.errors import PumasiError, Refused
from pumasi.ledger import note
from pumasi.store.resume import come_back
from pumasi.store.tail import Tail, take

PATIENCE = 30.0  # seconds to wait for the rest of the hospitals, once a quorum was heard
# What a hub answers before it has caught up: the log as far as it goes, and how to complete it.
OPEN = {("GET", "/"), ("GET", "/log"), ("GET", "/policy"), ("GET", "/gossip"), ("PUT", "/gossip"), ("PUT", "/recovery")}

log = logging.getLogger("pumasi.hub.recovery")


class Recovering(PumasiError):
    """The hub was restored and has not caught up: every request may be sent again."""


class Recovery:
    """Pending from the first start after `pumasi hub restore` until the log is whole again."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._log, self._site = sequencer, sequencer.site
        self._lock = threading.Lock()
        self._whole: set[str] = set()  # members that have nothing which this copy lacks
        self._since = time.monotonic()
        self.pending = self._site.mark() is not None

    def admit(self, method: str, path: str) -> None:
        if self.pending and (method, path) not in OPEN:
            raise Recovering("the hub was restored from a backup and gathers from the hospitals what the log had become since; it waits")

    def take(self, member: str, tail: Tail) -> int:
        """Take over what a hospital gives back; the size of the log here now."""
        known = self._site.world.members.get(member)
        if not self.pending or known is None or known.cosigner is None:
            raise Refused("only hospitals that cosign the log give entries back, and only to a hub that was restored")
        before, head = self._site.tree.size, note.parse_checkpoint(tail.checkpoint)
        known_by = note.head_vkey(self._site.world, head.size)
        # By the key that this copy knows, or, when the log's key has changed since the backup, by the one that this hub signs with.
        take(self._site, tail, log=self._log.vkey if any(line.is_by(self._log.vkey) for line in head.lines) else known_by)
        with self._lock:
            if self._site.tree.size > before:
                log.info("%s gave back %d entries", member, self._site.tree.size - before)
                self._since = time.monotonic()
            if self._site.tree.size >= tail.size:
                self._whole.add(member)
        return self._site.tree.size

    def look(self) -> None:
        """Go on once enough hospitals were heard."""
        with self._lock:
            cosigning = {m.id for m in list(self._site.world.members.values()) if m.admitted and m.cosigner}
            heard = len(cosigning & self._whole)
            if heard < len(cosigning) and (heard < self._log.quorum() or time.monotonic() < self._since + PATIENCE):
                return
            come_back(self._site)
            self._log.start()
            self.pending = False
            log.info("the log is whole again with %d entries, by the word of %d hospitals", self._site.tree.size, heard)
