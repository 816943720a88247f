"""A node that was restored from a backup signs nothing until its copy of the log reaches the newest head that anybody is known to hold.

Otherwise it could cosign a second story over a stretch where it had cosigned the first. What it goes by: the head in its backup, the
heads that other hospitals show on the hub's gossip page and its own last one there, and mirrors. A hub that lies on its gossip page
can hide a newer head from a hospital that keeps no mirror; the others then hold the evidence.
"""

from __future__ import annotations

import logging

from pumasi.kernel.errors import Tampered
from pumasi.kernel.world import PermitCase
from pumasi.ledger import note
from pumasi.node.app import Node
from pumasi.node.gossip import Gossip
from pumasi.node.workspace.cipher import FILE
from pumasi.store.resume import come_back
from pumasi.store.site import CAME_BACK

log = logging.getLogger("pumasi.node.comeback")


class Comeback:
    """Pending from the first start after `pumasi node restore` until this node has caught up."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mark = node.site.mark()
        self._came_back = node.site.noted(CAME_BACK) is not None

    @property
    def pending(self) -> bool:
        return self._mark is not None

    def step(self, checkpoint: str) -> bool:
        """Whether the node may sign, now that its copy holds everything the hub has sent. `Tampered` when a known head does not fit."""
        site = self._node.site
        if self._mark is None or not site.world.logs:
            return self._mark is None
        shown = self._node.courier.heads()
        peers = [member.id for member in site.world.members.values() if member.admitted and member.cosigner and member.id != site.id]
        heard = [peer for peer in peers if peer in shown]
        if len(heard) < (len(peers) + 1) // 2:  # with this node a majority
            log.info("restored: waiting for the heads of other hospitals, %d of %d seen", len(heard), len(peers))
            return False
        mirrored = [text for _, text in Gossip(self._node).mirrored()]
        known = [text for text in (self._mark.checkpoint, checkpoint, *shown.values(), *mirrored) if text is not None]
        if not all(self._reaches(text) for text in known):
            return False
        come_back(site)
        log.warning("restored from the backup of %s and caught up at %d entries; signing again", self._mark.made_at, site.tree.size)
        self._mark, self._came_back = None, True
        return True

    def _reaches(self, text: str) -> bool:
        """Whether the own copy is an extension of this head."""
        head = note.parse_checkpoint(text)
        try:
            note.check(head, log=note.head_vkey(self._node.site.world, head.size), cosigners=[])
        except Tampered:
            return True  # not signed by the log: it says nothing
        tree = self._node.site.tree
        if head.size > tree.size:
            log.info("restored: the copy of the log has %d entries, a head over %d is known; fetching", tree.size, head.size)
            return False
        if tree.root(head.size) != head.root:
            self._node.site.note(f"evidence|{head.size}", text.encode())
            raise Tampered("a head that another hospital holds is not part of the log that the hub sends; this restored node signs nothing")
        return True

    def lost(self, case: str, permit: PermitCase) -> bool:
        """Whether the workspace of a permit stayed behind when this node was restored: backups hold neither workspaces nor their keys."""
        return self._came_back and permit.state == "open" and not (self._node.workspace(case) / FILE).exists()

    def output_lost(self, case: str, job: str) -> bool:
        """Whether the part of the key that a released output still waits for stayed behind, too."""
        return self._came_back and self._node.site.noted(f"output|{case}|{job}") is None
