"""A hospital's part in a handover of the log: a person decides, the node signs once, then follows no hub until it can follow the new one.

1. `sign`: nothing of the old log beyond the handover is fetched or vouched for any more; `withdraw` takes it back
2. the new place shows the handover with the quorum's signatures, or a person brings the file (`follow`)
3. the copy is cut to what both logs have in common, `hub.crt` and `node.toml` name the new hub, and the log goes on from there
Each step may be interrupted, and is done again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from pumasi.kernel.envelope import b64, detached, sha256
from pumasi.kernel.errors import Invalid, PumasiError, Refused, refuse_if
from pumasi.ledger import note
from pumasi.ledger.handover import Handover, Signature
from pumasi.node.app import Node
from pumasi.node.papers import SEND_AGAIN
from pumasi.store import handover as crossing
from pumasi.store.custody import sync_folder

SIGNED = "handover|signed"  # a note: the proposal that this node has signed and not followed yet
ARRIVED = "handover.json"
LOOK_PAUSE = 1.0

log = logging.getLogger("pumasi.node.handover")


def sign(node: Node, proposal: Handover) -> Signature:
    """This node's yes to a proposal, which a person has read; `Refused` with every reason why it may not give it."""
    site, said, signed = node.site, proposal.statement, node.site.noted(SIGNED)
    if signed is not None and Handover.parse(signed).statement != said:
        raise Refused("this node has signed another handover; `pumasi node handover withdraw` takes that back while it is not complete")
    refuse_if("this node was restored from a backup and has not caught up; serve it, and wait" if site.mark() is not None else None)
    public = b64(node.cosigner.public_key().public_bytes_raw())
    refuse_if(*crossing.signing_refusals(site, proposal, member=site.id, key=public))
    name = note.cosigner_name(note.parse_checkpoint(proposal.checkpoint).origin, site.id)
    site.note(SIGNED, proposal.data)
    newest = site.checkpoint()  # asked again: the serving process reads the note only after it has saved what it vouches for
    if newest is not None and note.parse_checkpoint(newest).size > said.size:
        site.forget(SIGNED)
        raise Refused("this node has just vouched for more of the old log than the handover knows; stop the old hub, then propose again")
    return Signature(
        handover=said.digest, member=site.id, key=public, signature=detached("handover", said.plain(), node.cosigner),
        cosignature=note.cosign(proposal.checkpoint, name, key=node.cosigner, time=int(time.time())),
    )  # fmt: skip


def withdraw(node: Node) -> None:
    """Follow the old hub again. Whoever holds the signature may still use it: then this node follows what the quorum has signed."""
    if node.site.noted(SIGNED) is None:
        raise Invalid(f"{node.site.id} has signed no handover, or has followed it already")
    node.site.forget(SIGNED)


def bring(node: Node, handover: Handover) -> None:
    """Give a complete handover to this node, which follows it at once or when it is served next; `Refused` when it is none."""
    crossing.accept(node.site, handover)
    write(node.home / ARRIVED, handover.data)


class Crossing:
    """What the serving node does about handovers; `crossed` is called when the log goes on elsewhere."""

    def __init__(self, node: Node, crossed: Callable[[], None]) -> None:
        self._node, self._crossed = node, crossed

    @property
    def waiting(self) -> bool:
        return self._node.site.noted(SIGNED) is not None

    def step(self) -> bool:
        """Whether this node stands between two logs."""
        arrived = self._node.home / ARRIVED
        signed = self._node.site.noted(SIGNED)
        if not arrived.is_file() and signed is not None:
            self._look(Handover.parse(signed), arrived)
        if arrived.is_file():
            self._cross(arrived)
            return False
        if signed is not None:
            time.sleep(LOOK_PAUSE)
        return signed is not None

    def _look(self, proposal: Handover, arrived: Path) -> None:
        """Whether the new place shows what this node has signed, with enough other signatures."""
        certificate = self._node.home / "hub.crt.next"
        write(certificate, proposal.certificate.encode())
        found = self._node.courier.handover(proposal.statement.place, certificate)
        if found is not None:
            complete = Handover.parse(found)
            refuse_if("the hub at the new place shows another handover" if complete.statement != proposal.statement else None)
            crossing.accept(self._node.site, complete)
            write(arrived, found)

    def _cross(self, arrived: Path) -> None:
        home, site = self._node.home, self._node.site
        try:
            handover = Handover.parse(arrived.read_bytes())
            shown = crossing.step_over(site, handover)
        except PumasiError:
            arrived.rename(home / "handover.refused.json")
            raise
        for file in shown:
            (home / "evidence").mkdir(mode=0o700, exist_ok=True)
            write(home / "evidence" / f"{sha256(file)[:16]}.json", file)
            log.error("the old log has told two stories; evidence in %s", home / "evidence")
        write(home / "hub.crt", handover.certificate.encode())
        name_hub(home / "node.toml", handover.statement.place)
        self._node.courier.move(handover.statement.place, home / "hub.crt")
        site.note(SEND_AGAIN, b"1")
        site.forget(SIGNED)
        self._crossed()
        arrived.rename(home / f"handover-{handover.statement.size}.json")
        (home / "hub.crt.next").unlink(missing_ok=True)
        log.warning("the log was handed over after %d entries; following %s", handover.statement.size, handover.statement.place)


def name_hub(path: Path, place: str) -> None:
    """Put another address into node.toml, and leave every other byte of it alone."""
    text = path.read_text(encoding="utf-8-sig")
    top, mark, sections = re.match(r"(?s)(.*?)(^\[|\Z)(.*)", text, flags=re.MULTILINE).groups()  # type: ignore[union-attr]
    changed, count = re.subn(r"(?m)^(hub\s*=\s*)(?:\"[^\"\n]*\"|'[^'\n]*')(?=\s*(?:#|$))", lambda found: found[1] + json.dumps(place), top)
    if count != 1:
        raise Invalid(f'{path} must have one line hub = "…"; put {place} there')
    write(path, (changed + mark + sections).encode())


def write(path: Path, data: bytes) -> None:
    """A file, whole or as it was."""
    new = path.with_name(f"{path.name}.writing")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)
