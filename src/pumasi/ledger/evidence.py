"""Proof that a log has told two stories: two heads that it signed, of which no one history can be both.

Of one size with two roots, that is plain to see. Of two sizes, a consistency proof under the larger head shows which root it had
at the smaller size, and it is not the one that was signed. The file holds the log's key and needs nothing else: anybody can check
it, and the log cannot deny it. What it cannot show is which of the two stories is true, or who was meant to read which.
"""

from __future__ import annotations

from typing import Any

from pumasi.kernel.envelope import b64, canonical, fingerprint, parse_canonical, unb64
from pumasi.kernel.errors import Tampered
from pumasi.ledger import note
from pumasi.ledger.tree import Tree, verify_consistency

FORMAT = "pumasi evidence v1"
FIELDS = {"format", "log", "heads", "prefix", "proof"}


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


def check(data: bytes) -> list[str]:
    """What an evidence file proves, in sentences; `Tampered` when it proves nothing."""
    value = parse_canonical(data)
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


def _is_well_formed(value: dict[str, Any]) -> bool:
    texts = [value["log"], value["prefix"], *value["heads"], *value["proof"]] if isinstance(value["heads"], list) else [None]
    return isinstance(value["proof"], list) and all(isinstance(text, str) for text in texts) and len(value["heads"]) == 2
