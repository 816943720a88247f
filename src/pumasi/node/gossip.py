"""Comparing notes: which head of the log each hospital was shown, so that a hub cannot tell them different stories unseen.

The hub's gossip page carries the heads, but cannot forge them (each is signed by the log itself), and what it holds back can reach a
node through a mirror: a folder that holds a copy of the log's `checkpoint` file.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pumasi.kernel.envelope import sha256
from pumasi.kernel.errors import Tampered
from pumasi.ledger import evidence, note
from pumasi.node.app import Node

log = logging.getLogger("pumasi.node.gossip")


class Gossip:
    """Shows the own newest head, reads the others', keeps evidence of two stories below `evidence/` in the node's folder."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._compared: set[str] = set()

    def step(self) -> None:
        """Exchange and compare once."""
        mine = self._node.site.checkpoint()
        if mine is None:
            return
        self._node.courier.show_head(mine)
        for where, theirs in [*self._node.courier.heads().items(), *self.mirrored()]:
            self.compare(where, mine, theirs)

    def compare(self, where: str, mine: str, theirs: str) -> Path | None:
        """Where evidence was written, if these two heads are two stories."""
        site = self._node.site
        founded = site.world.founded
        if founded is None or theirs in self._compared:
            return None
        try:
            found = evidence.find(note.log_vkey(founded.origin, founded.log_key), mine, theirs, site.tree)
        except Tampered as error:
            log.warning("the head shown by %s proves nothing: %s", where, error)
            return None
        if found is None:
            return None  # one story so far; a head that is ahead of the own copy is compared again later
        self._compared.add(theirs)
        folder = self._node.home / "evidence"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{sha256(found)[:16]}.json"
        path.write_bytes(found)
        log.error("the hub has told two stories: %s was shown another history. Evidence: %s (`pumasi ledger evidence FILE`)", where, path)
        return path

    def mirrored(self) -> list[tuple[str, str]]:
        files = [Path(mirror) / "checkpoint" for mirror in self._node.settings.mirrors]
        return [(str(file), file.read_text(encoding="utf-8")) for file in files if file.is_file()]
