"""Proof that a log has told two stories: two heads that it signed, of which no one history can be both.

Of one size with two roots, that is plain to see. Of two sizes, a consistency proof under the larger head shows which root it had
at the smaller size, and it is not the one that was signed. The file holds the log's key and needs nothing else: anybody can check
it, and the log cannot deny it. What it cannot show is which of the two stories is true, or who was meant to read which.
"""

from __future__ import annotations

from typing import Any

from pumasi.kernel.envelope import b64, canonical, fingerprint, parse_canonical, possesses, unb64
from pumasi.kernel.errors import Tampered
from pumasi.kernel.event import Entry, LogHandedOver
from pumasi.kernel.handover import statement
from pumasi.ledger import note
from pumasi.ledger.tree import Tree, verify_consistency

FORMAT = "pumasi evidence v1"
FIELDS = {"format", "log", "heads", "prefix", "proof"}
BEYOND = "pumasi evidence v2"  # a head by a log's old key, over more entries than it was handed over with


def find(log: note.VKey, mine: str, theirs: str, tree: Tree) -> bytes | None:
    """Evidence from two heads, if they are two stories; None if they are one, or if `tree`, the copy behind `mine`, cannot show it yet.

    Both notes must be signed by `log`; `Tampered` when one is not, since then it proves nothing against the log.
    """
    own, other = _head(log, mine), _head(log, theirs)
    if own.size == other.size:
        return None if own.root == other.root else _write(log, [mine, theirs], prefix=b"", proof=[])
    if other.size > own.size or tree.root(other.size) == other.root:
        return None
    proof = tree.consistency_proof(other.size, own.size)
    return _write(log, [theirs, mine], prefix=tree.root(other.size), proof=proof)


def _head(log: note.VKey, text: str) -> note.Checkpoint:
    checkpoint = note.parse_checkpoint(text)
    note.check(checkpoint, log=log, cosigners=[])
    return checkpoint


def _write(log: note.VKey, heads: list[str], *, prefix: bytes, proof: list[bytes]) -> bytes:
    value = {"format": FORMAT, "log": str(log), "heads": heads, "prefix": b64(prefix), "proof": [b64(step) for step in proof]}
    return canonical(value)


def beyond(entry: Entry, text: str) -> bytes | None:
    """Evidence that a log went on under the key that a handover had taken from it; None if this head is not by that key, or not beyond."""
    event = entry.event
    assert isinstance(event, LogHandedOver)  # whoever calls it has found it as one
    try:
        head = note.parse_checkpoint(text)
        note.check(head, log=note.log_vkey(head.origin, event.replaces), cosigners=[])
    except Tampered:
        return None
    return canonical({"format": BEYOND, "handover": b64(entry.data), "head": text}) if head.size > event.size else None


def check(data: bytes) -> list[str]:
    """What an evidence file proves, in sentences; `Tampered` when it proves nothing."""
    value = parse_canonical(data)
    if isinstance(value, dict) and value.get("format") == BEYOND:
        return _check_beyond(value)
    if not isinstance(value, dict) or value.keys() != FIELDS or value["format"] != FORMAT or not _is_well_formed(value):
        raise Tampered("this is not an evidence file, or it was changed")
    log = note.VKey.parse(value["log"])
    small, large = (_head(log, text) for text in value["heads"])
    if small.size == large.size and small.root != large.root:
        told = f"two heads over {small.size} entries with different roots"
    else:
        prefix = unb64(value["prefix"], 32)
        verify_consistency(small.size, large.size, [unb64(step, 32) for step in value["proof"]], prefix, large.root)
        if prefix == small.root or small.origin != large.origin:
            raise Tampered("the two heads belong to one history: this is no evidence against the log")
        told = f"a head over {large.size} entries that is not an extension of its head over {small.size} entries"
    return [
        f"PROVEN: the log {log.name} has signed {told}: it has told two stories.",
        f"Its key is {fingerprint(b64(log.public))}; compare it with the key you know.",
        "Not proven: which of the two stories is true, or who was meant to read which.",
    ]


def _check_beyond(value: dict[str, Any]) -> list[str]:
    if value.keys() != {"format", "handover", "head"} or not all(isinstance(text, str) for text in value.values()):
        raise Tampered("this is not an evidence file, or it was changed")
    event, head = Entry(unb64(value["handover"])).event, note.parse_checkpoint(value["head"])
    if not isinstance(event, LogHandedOver) or head.size <= event.size:
        raise Tampered("the head is not beyond a handover: this is no evidence")
    note.check(head, log=note.log_vkey(head.origin, event.replaces), cosigners=[])
    signed = [possesses(item.key, statement(event), item.signature, kind="handover") for item in event.signatures]
    if not all(signed):
        raise Tampered("a signature on the handover does not hold: this is no evidence")
    return [
        f"PROVEN: the key of the log {head.origin} has signed a head over {head.size} entries, though these keys had handed the log over"
        f" after {event.size}: {', '.join(f'{item.member} {fingerprint(item.key)}' for item in event.signatures)}.",
        f"The log's old key is {fingerprint(event.replaces)}, its new one {fingerprint(event.log_key)}; compare them with those you know.",
        "Not proven: that those were enough of the members that cosigned (the log shows that), or that the head was signed afterwards.",
    ]


def _is_well_formed(value: dict[str, Any]) -> bool:
    texts = [value["log"], value["prefix"], *value["heads"], *value["proof"]] if isinstance(value["heads"], list) else [None]
    return isinstance(value["proof"], list) and all(isinstance(text, str) for text in texts) and len(value["heads"]) == 2
