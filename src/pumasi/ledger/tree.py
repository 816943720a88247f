"""The Merkle tree of the log (RFC 9162, section 2.1): one root for everything that happened, short proofs that it is still in it.

Pure functions over bytes check proofs; whatever does not fit raises `Tampered`, whatever its length or numbers. `Tree` makes them.
"""

from __future__ import annotations

import hashlib

from pumasi.kernel.errors import Invalid, Tampered

HASH = 32
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The leaf of an entry. Leaves and nodes are hashed apart (RFC 9162 2.1.1), so that no node passes for an entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: list[bytes], root: bytes) -> None:
    """That `leaf_hash` is entry `index` of the tree of `size` entries under `root`; `Tampered` otherwise (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size or not _all_hashes(leaf_hash, root, *proof):
        raise Tampered("an inclusion proof has the wrong form")
    fn, sn, node = index, size - 1, leaf_hash
    for step in proof:
        if sn == 0:
            raise Tampered("an inclusion proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(step, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, step)
        fn, sn = fn >> 1, sn >> 1
    if sn or node != root:
        raise Tampered("an entry is not in the log: its inclusion proof does not lead to the root")


def verify_consistency(size1: int, size2: int, proof: list[bytes], root1: bytes, root2: bytes) -> None:
    """That the tree under `root2` begins with the whole tree under `root1`; `Tampered` otherwise (RFC 9162 2.1.4.2).

    An empty first tree says nothing about the second: `size1 = 0` is refused, as transparency-dev does.
    """
    if not 0 < size1 <= size2 or not _all_hashes(root1, root2, *proof):
        raise Tampered("a consistency proof has the wrong form")
    if size1 == size2:
        if proof or root1 != root2:
            raise Tampered("two heads of one size differ: the log was forked")
        return
    # A complete first tree is itself the first node of the proof, so it is left out.
    steps = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not steps:
        raise Tampered("a consistency proof is too short")
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if sn == 0:
            raise Tampered("a consistency proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    if sn or old != root1 or new != root2:
        raise Tampered("the log was rewritten: an earlier head is not part of it")


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH for value in values)


class Tree:
    """The tree of a growing log. Every complete subtree is kept (64 bytes per entry), so that a proof costs a few look-ups.

    One thread may append while others read: a size becomes visible only after all of its nodes are there.
    """

    def __init__(self) -> None:
        self._levels = [bytearray()]  # level k holds the roots of the complete subtrees of 2^k entries, in order
        self._size = 0

    @classmethod
    def of_levels(cls, levels: list[bytearray], size: int) -> Tree:
        """The tree of `size` entries from what `nodes` gave of it; `Tampered` when there are not as many nodes. Nothing is hashed again."""
        expected = [(size >> level) * HASH for level in range(max(size.bit_length(), 1))]
        if [len(level) for level in levels] != expected:
            raise Tampered("a kept tree does not have the nodes of a tree of its size")
        tree = cls()
        tree._levels, tree._size = levels, size
        return tree

    def nodes(self, level: int, start: int) -> bytes:
        """The roots of the complete subtrees of 2^level entries, from the one at `start` on; empty beyond the last level."""
        return bytes(self._levels[level][start * HASH :]) if level < len(self._levels) else b""

    @property
    def size(self) -> int:
        return self._size

    def append(self, leaf_hash: bytes) -> int:
        """Add one leaf and return its index."""
        if len(leaf_hash) != HASH:
            raise Invalid("a leaf of the tree is a hash of 32 bytes")
        index, node = self._size, leaf_hash
        self._levels[0] += node
        for level in range(1, (index ^ (index + 1)).bit_length()):  # one more for every right child completed
            below = self._levels[level - 1]
            node = hashlib.sha256(b"\x01" + below[-2 * HASH :]).digest()
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
        self._size = index + 1
        return index

    def leaf(self, index: int) -> bytes:
        if not 0 <= index < self._size:
            raise Invalid("the log has no entry of that index")
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """The head of the whole log, or of its first `size` entries."""
        size = self._size if size is None else size
        if not 0 <= size <= self._size:
            raise Invalid("the log does not have that many entries")
        return self._range(0, size) if size else EMPTY

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The hashes that lead from entry `index` to the root of the first `size` entries, leaf side first."""
        size = self._size if size is None else size
        if not 0 <= index < size <= self._size:
            raise Invalid("the log has no such entry below that size")
        start, end, path = 0, size, []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, size1: int, size2: int | None = None) -> list[bytes]:
        """The hashes that show the first `size1` entries to be the beginning of the first `size2` (RFC 9162 2.1.4.1)."""
        size2 = self._size if size2 is None else size2
        if not 0 < size1 <= size2 <= self._size:
            raise Invalid("the log cannot prove consistency between those sizes")
        start, end, path = 0, size2, []
        while size1 != end:
            middle = start + _split(end - start)
            if size1 <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return ([self._range(start, end)] if start else []) + path[::-1]

    def _node(self, level: int, position: int) -> bytes:
        return bytes(self._levels[level][position * HASH : (position + 1) * HASH])

    def _range(self, start: int, end: int) -> bytes:
        """The root over entries `start` to `end`; `start` lies where a subtree of the next power of two begins."""
        nodes = []
        while start < end:  # complete subtrees, the largest first
            level = (end - start).bit_length() - 1
            nodes.append(self._node(level, start >> level))
            start += 1 << level
        node = nodes.pop()
        while nodes:
            node = node_hash(nodes.pop(), node)
        return node


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << ((count - 1).bit_length() - 1)
