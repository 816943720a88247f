"""The log's Merkle tree beside the hashing alone that it cannot do without.

Less is better. The peer is bare hashlib over as many leaves and nodes of the same length: the limit of this machine in Python.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from pumasi.ledger.tree import Tree, leaf_hash, verify_inclusion

ENTRIES = 100_000
ENTRY = b"\x00" + b"e" * 300  # an event has about 300 bytes
PAIR = b"\x01" + b"n" * 64


def rows() -> list[dict[str, Any]]:
    tree = _build()
    index = ENTRIES // 3
    root, leaf, proof = tree.root(), tree.leaf(index), tree.inclusion_proof(index)

    def included() -> None:
        verify_inclusion(index, ENTRIES, leaf, proof, root)

    return [
        _row(f"append {ENTRIES:,} entries and take the root", "s", _best(_build, repeat=3), _best(_hash_everything, repeat=3)),
        _row("verify one inclusion proof", "us", _each(included), _each(lambda: _hash_pairs(len(proof)))),
    ]


def _build() -> Tree:
    tree = Tree()
    for _ in range(ENTRIES):
        tree.append(leaf_hash(ENTRY[1:]))
    tree.root()
    return tree


def _hash_everything() -> None:
    for _ in range(ENTRIES):
        hashlib.sha256(ENTRY).digest()
    _hash_pairs(ENTRIES - 1)


def _hash_pairs(count: int) -> None:
    for _ in range(count):
        hashlib.sha256(PAIR).digest()


def _best(work: Callable[[], object], *, repeat: int) -> float:
    """The fastest of a few runs in seconds: what the work costs when nothing else has the machine."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _each(work: Callable[[], object]) -> float:
    """Microseconds for one call, from batches of a thousand."""

    def batch() -> None:
        for _ in range(1000):
            work()

    return _best(batch, repeat=5) * 1000


def _row(case: str, unit: str, ours: float, peer: float) -> dict[str, Any]:
    return {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer}
