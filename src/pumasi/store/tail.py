"""What one copy of the log has and another lacks: how hospitals give a restored hub back what it had sequenced after its backup.

Nothing is taken on trust. The log's own signature is on the checkpoint that comes along, the entries lead to its root (or to a head
that a proof shows to be on the way there), and each obeys the rules. Entries behind the newest checkpoint rest on the word of the
member that brings them; nobody has cosigned them, so nobody was promised their order.
"""

from __future__ import annotations

from pydantic import Field

from pumasi.kernel.envelope import b64, unb64
from pumasi.kernel.errors import Refused, Tampered
from pumasi.kernel.model import Model
from pumasi.ledger import note
from pumasi.ledger.tree import Tree, leaf_hash, verify_consistency
from pumasi.store.site import Site

PAGE = 2000  # entries at once


class Tail(Model):
    """Entries from `start` on, out of a copy that holds `size` and knows `checkpoint`; `proof` leads from their end to its root."""

    start: int = Field(ge=1)
    size: int = Field(ge=1)
    entries: list[str]
    checkpoint: str
    proof: list[str]


def tail_of(site: Site, start: int) -> Tail | None:
    """What this copy can give to one that has `start` entries; None while it knows no checkpoint itself."""
    text = site.checkpoint()
    if text is None or start < 1:
        return None
    size, head = site.tree.size, note.parse_checkpoint(text)
    entries = site.entries(start, start + PAGE) if start < size else []
    end = min(start, size) + len(entries)
    proof = site.tree.consistency_proof(end, head.size) if end < head.size else []
    return Tail(
        start=min(start, size), size=size, entries=[b64(data) for data in entries], checkpoint=text, proof=[b64(step) for step in proof]
    )


def take(site: Site, tail: Tail, *, log: note.VKey) -> None:
    """Add to a copy what it lacks; `Tampered` when the tail is no continuation of it that the log has signed."""
    head, entries = note.parse_checkpoint(tail.checkpoint), [unb64(entry) for entry in tail.entries]
    note.check(head, log=log, cosigners=[])
    with site.changed:
        here = site.tree.size
        if tail.start > here or tail.start + len(entries) < here < head.size:
            raise Refused("these entries do not meet the end of this copy, which may have moved; ask again from where it ends")
        missing = entries[here - tail.start :]
        trial = Tree.of_levels([bytearray(site.tree.nodes(level, 0)) for level in range(here.bit_length())], here)
        for data in missing:
            trial.append(leaf_hash(data))
        if head.size <= trial.size:
            if trial.root(head.size) != head.root:
                raise Tampered("what was given back is not the history that the log has signed")
        else:
            verify_consistency(trial.size, head.size, [unb64(step, 32) for step in tail.proof], trial.root(), head.root)
        refused = [reason for reasons in site.extend(missing, in_order=True) for reason in reasons]
        if refused:
            raise Tampered("an entry that was given back is one that the rules refuse", *refused)
