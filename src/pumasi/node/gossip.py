"""Comparing notes: which head of the log each hospital was shown, so that a hub cannot tell them different stories unseen.

The hub's gossip page carries the heads, but cannot forge them (each is signed by the log itself), and what it holds back can reach a
node through a mirror: a folder that holds a copy of the log's `checkpoint` file.
"""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic

from pumasi.kernel.envelope import sha256
from pumasi.kernel.errors import Tampered
from pumasi.kernel.event import Entry, LogHandedOver
from pumasi.ledger import evidence, note
from pumasi.node.app import Node

SELDOM = 30.0  # seconds between two looks while the own head stays the same: whoever is shown another one looks at once

log = logging.getLogger("pumasi.node.gossip")


class Gossip:
    """Shows the own newest head, reads the others', keeps evidence of two stories below `evidence/` in the node's folder."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._compared: set[str] = set()
        self._mine, self._again = "", 0.0

    def step(self) -> None:
        """Exchange and compare once, seldom while the own head stays the same; what the page has already is not shown again."""
        mine = self._node.site.checkpoint()
        if mine is None or (mine == self._mine and monotonic() < self._again):
            return
        heads = self._node.courier.heads()
        if heads.get(self._node.settings.name) != mine:
            self._node.courier.show_head(mine)
        for where, theirs in [*heads.items(), *self.mirrored()]:
            self.compare(where, mine, theirs)
        self._mine, self._again = mine, monotonic() + SELDOM

    def compare(self, where: str, mine: str, theirs: str) -> Path | None:
        """Where evidence was written, if these two heads are two stories."""
        site, world = self._node.site, self._node.site.world
        if not world.logs or theirs in self._compared:
            return None
        try:
            size = note.parse_checkpoint(theirs).size
            # Two heads are two stories of one key, so the own one is the newest by the key of theirs.
            later = next((log.since for log in world.logs[1:] if log.since > size), None)
            mine = mine if later is None else site.checkpoint(most=later - 1) or mine
            found = evidence.find(note.head_vkey(world, size), mine, theirs, site.tree)
        except Tampered as error:
            found = self.beyond(theirs)
            if found is not None:
                return self.keep(found, theirs, f"{where} holds a head by the log's old key, beyond its handover")
            log.warning("the head shown by %s proves nothing: %s", where, error)
            return None
        if found is None:
            return None  # one story so far; a head that is ahead of the own copy is compared again later
        return self.keep(found, theirs, f"the hub has told two stories: {where} was shown another history")

    def beyond(self, text: str) -> bytes | None:
        """Evidence that the log went on under a key that a handover had taken from it."""
        site = self._node.site
        entries = [Entry(site.entries(log.since - 1, log.since)[0]) for log in site.world.logs[1:]]
        files = [evidence.beyond(entry, text) for entry in entries if isinstance(entry.event, LogHandedOver)]
        return next((file for file in files if file is not None), None)

    def keep(self, found: bytes, theirs: str, what: str) -> Path:
        self._compared.add(theirs)
        folder = self._node.home / "evidence"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{sha256(found)[:16]}.json"
        path.write_bytes(found)
        log.error("%s. Evidence: %s (`pumasi ledger evidence FILE`)", what, path)
        return path

    def mirrored(self) -> list[tuple[str, str]]:
        files = [Path(mirror) / "checkpoint" for mirror in self._node.settings.mirrors]
        return [(str(file), file.read_text(encoding="utf-8")) for file in files if file.is_file()]
