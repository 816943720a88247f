"""The tree against the definition in RFC 9162 section 2.1, for every size; and no wrong proof passes, in either verifier."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pumasi.kernel.errors import Tampered
from pumasi.ledger import verify as auditor
from pumasi.ledger.tree import EMPTY, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion

MOST = 70
LEAVES = [leaf_hash(bytes([number])) for number in range(MOST)]
TREE = Tree()
for _leaf in LEAVES:
    TREE.append(_leaf)

sizes = st.integers(1, MOST)
hashes = st.binary(min_size=32, max_size=32)


def merkle_tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(merkle_tree_hash(leaves[:split]), merkle_tree_hash(leaves[split:]))


@given(sizes)
def test_every_root_is_the_defined_one(size: int) -> None:
    assert TREE.root(size) == merkle_tree_hash(LEAVES[:size])


@given(sizes, st.data())
def test_every_entry_is_provably_included(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    arguments = (index, size, LEAVES[index], TREE.inclusion_proof(index, size), TREE.root(size))
    verify_inclusion(*arguments)
    assert auditor.included(*arguments)


@given(sizes, st.data())
def test_every_growth_is_provably_consistent(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(1, size2))
    arguments = (size1, size2, TREE.consistency_proof(size1, size2), TREE.root(size1), TREE.root(size2))
    verify_consistency(*arguments)
    assert auditor.consistent(*arguments)


def holds(verify: object, *arguments: object) -> bool:
    try:
        verify(*arguments)  # type: ignore[operator]
    except Tampered:
        return False
    return True


@given(sizes, st.integers(0, MOST + 2), st.data())
def test_both_verifiers_accept_the_true_place_and_no_other(size: int, claimed: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    arguments = (claimed, size, LEAVES[index], TREE.inclusion_proof(index, size), TREE.root(size))
    assert holds(verify_inclusion, *arguments) == auditor.included(*arguments) == (claimed == index)


@given(sizes, sizes, sizes, sizes)
def test_both_verifiers_say_the_same_of_claimed_sizes(size1: int, size2: int, claimed1: int, claimed2: int) -> None:
    """Proofs bind roots, and signatures bind a size to its root: other sizes may pass here, and never fool one verifier alone."""
    size1, size2 = min(size1, size2), max(size1, size2)
    arguments = (claimed1, claimed2, TREE.consistency_proof(size1, size2), TREE.root(size1), TREE.root(size2))
    assert holds(verify_consistency, *arguments) == auditor.consistent(*arguments)


@given(sizes, sizes, sizes)
def test_a_consistency_proof_serves_no_other_head(size1: int, size2: int, other: int) -> None:
    size1, size2 = min(size1, size2), max(size1, size2)
    proof = TREE.consistency_proof(size1, size2)
    for roots, true in (((TREE.root(other), TREE.root(size2)), size1), ((TREE.root(size1), TREE.root(other)), size2)):
        assert holds(verify_consistency, size1, size2, proof, *roots) == auditor.consistent(size1, size2, proof, *roots) == (other == true)


@given(sizes, st.lists(hashes, max_size=8), st.data())
def test_no_invented_proof_passes(size: int, proof: list[bytes], data: st.DataObject) -> None:
    index, earlier = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    included = (index, size, leaf_hash(b"never logged"), proof, TREE.root(size))
    assert not holds(verify_inclusion, *included)
    assert not auditor.included(*included)
    consistent = (earlier, size, proof, leaf_hash(b"another root"), TREE.root(size))
    assert not holds(verify_consistency, *consistent)
    assert not auditor.consistent(*consistent)
