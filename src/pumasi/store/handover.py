"""What a party asks of a handover before it signs it or follows it, against its own copy of the log; and the step over to the new log.

Signing is strict: a node signs for no history but the one that it has vouched for. Following is not: what the quorum has signed is
the log, so a copy that an old hub had led astray is cut back to what both have in common, and the two stories are kept as evidence.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from pumasi.kernel import rules
from pumasi.kernel.errors import Refused, Tampered, refuse_if
from pumasi.kernel.event import Entry
from pumasi.kernel.handover import successor_refusals
from pumasi.kernel.world import World
from pumasi.ledger import evidence, note
from pumasi.ledger.handover import Handover, check_root
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.resume import cut
from pumasi.store.site import Site


@dataclass(frozen=True)
class Outlook:
    """This copy as it would be right before the handover; `common` entries of it are there already."""

    world: World
    tree: Tree
    common: int


def outlook(site: Site, handover: Handover) -> Outlook:
    """Computed beside the copy, which does not change; `Tampered` when the entries do not lead to the head that the handover names."""
    tail, said = handover.tail(), handover.statement
    with site.changed:
        if handover.start > site.tree.size:
            raise Refused(
                f"this copy of the log ends after {site.tree.size} entries, and the file brings those from {handover.start} on;"
                " let the node catch up, or ask for a file that brings more"
            )
        common = handover.start + _alike(site.entries(handover.start, said.size), tail)
        world, tree = _as_it_is(site) if common == site.tree.size else _as_it_was(site, common)
    for data in tail[common - handover.start :]:
        _fold(world, tree, data)
    if tree.root().hex() != said.root:
        raise Tampered("the handover is not about the history that this copy of the log holds, nor about one that goes on from it")
    return Outlook(world, tree, common)


def _alike(own: list[bytes], tail: list[bytes]) -> int:
    """How many entries both begin with."""
    return next((at for at, (mine, theirs) in enumerate(zip(own, tail, strict=False)) if mine != theirs), min(len(own), len(tail)))


def _as_it_is(site: Site) -> tuple[World, Tree]:
    levels = [bytearray(site.tree.nodes(level, 0)) for level in range(max(site.tree.size.bit_length(), 1))]
    return copy.deepcopy(site.world), Tree.of_levels(levels, site.tree.size)


def _as_it_was(site: Site, size: int) -> tuple[World, Tree]:
    """Replayed from the first entry on, which takes its time."""
    world, tree = World(), Tree()
    for data in site.entries(0, size):
        _fold(world, tree, data)
    return world, tree


def _fold(world: World, tree: Tree, data: bytes) -> None:
    entry = Entry(data)
    check_root(entry.event, tree)
    rules.apply(world, entry)
    tree.append(leaf_hash(data))
    if entry.event.type == "CaseClosed":
        world.retire(entry.event.case)


def signing_refusals(site: Site, handover: Handover, *, member: str, key: str) -> list[str]:
    """Every reason why this member may not sign a proposal with this cosigner key; empty means it may."""
    view, said = outlook(site, handover), handover.statement
    head = note.parse_checkpoint(handover.checkpoint)
    note.check(head, log=note.head_vkey(view.world, head.size), cosigners=[])
    newest = site.checkpoint()
    vouched = note.parse_checkpoint(newest).size if newest else 0
    reasons = [
        *successor_refusals(view.world, said),
        None if (head.size, head.root.hex()) == (said.size, said.root) else "the old log's head in this file is another than the one named",
        None if (member, key) in view.world.cosigners_at(said.size) else f"'{member}' does not cosign this log with the key that is here",
        f"this node has vouched for {vouched} entries, and the handover forgets all beyond {said.size}: propose from a copy that has them"
        if vouched > said.size
        else None,
        "this node has vouched for another history than that of the handover" if view.common < min(vouched, said.size) else None,
    ]
    return [reason for reason in reasons if reason is not None]


def accept(site: Site, handover: Handover) -> Outlook:
    """That the quorum has signed and all else holds; `Refused` or `Tampered` with every reason when not."""
    entry, view = handover.entry(), outlook(site, handover)
    refuse_if(*rules.refusals(view.world, entry))
    check_root(entry.event, view.tree)
    return view


def step_over(site: Site, handover: Handover) -> list[bytes]:
    """Cut the copy back to what the handover and it have in common, unless it holds the handover already; evidence of what that shows."""
    if site.index_of(handover.entry().digest) is not None:
        return []
    with site.changed:
        view, newest = accept(site, handover), site.checkpoint()
        found = [] if newest is None else _shown(site, handover, view, newest)
        cut(site, view.common)
    return found


def _shown(site: Site, handover: Handover, view: Outlook, newest: str) -> list[bytes]:
    """Two stories of the old log, or a head by its old key beyond the handover."""
    log, head = note.head_vkey(view.world, handover.statement.size), note.parse_checkpoint(newest)
    if head.size <= view.common:
        return []
    two = evidence.find(log, newest, handover.checkpoint, site.tree)
    beyond = evidence.beyond(handover.entry(), newest) if head.size > handover.statement.size else None
    return [file for file in (two, beyond) if file is not None]
