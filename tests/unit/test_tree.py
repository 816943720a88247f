"""The Merkle tree: against vectors that others publish, and against proofs of every wrong form."""

from __future__ import annotations

import json
import zipfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from pumasi.kernel.errors import Invalid, Tampered
from pumasi.ledger import verify as auditor
from pumasi.ledger.tree import EMPTY, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[3] / "shared/data/suites/rfc6962-merkle-happy-path.zip"
# RFC 6962 test data as transparency-dev/merkle publishes it: eight entries and the root over each beginning.
LEAVES = [
    bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree_of(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree


def vectors(kind: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    with zipfile.ZipFile(VECTORS) as archive:
        return [json.loads(archive.read(name)) for name in archive.namelist() if name.startswith(f"{kind}/")]


def proof_of(vector: dict[str, Any]) -> list[bytes]:
    return [b64decode(step) for step in vector["proof"] or []]


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the published vectors are not here: {VECTORS}")
def test_published_inclusion_proofs_hold() -> None:
    assert len(vectors("inclusion")) >= 5
    for vector in vectors("inclusion"):
        arguments = (vector["leafIdx"], vector["treeSize"], b64decode(vector["leafHash"]), proof_of(vector), b64decode(vector["root"]))
        verify_inclusion(*arguments)
        assert auditor.included(*arguments)


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the published vectors are not here: {VECTORS}")
def test_published_consistency_proofs_hold() -> None:
    assert len(vectors("consistency")) >= 5
    for vector in vectors("consistency"):
        arguments = (vector["size1"], vector["size2"], proof_of(vector), b64decode(vector["root1"]), b64decode(vector["root2"]))
        verify_consistency(*arguments)
        assert auditor.consistent(*arguments)


def test_roots_are_those_that_others_publish() -> None:
    tree = tree_of(LEAVES)
    assert [tree.root(size).hex() for size in range(1, 9)] == ROOTS
    assert tree.root().hex() == ROOTS[-1]
    assert tree.root(0) == Tree().root() == EMPTY
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert tree_of([b"left", b"right"]).root() == node_hash(left, right)


def test_append_returns_the_index_and_leaf_gives_it_back() -> None:
    tree = Tree()
    assert [tree.append(leaf_hash(leaf)) for leaf in LEAVES] == list(range(8))
    assert tree.size == 8
    assert [tree.leaf(index) for index in range(8)] == [leaf_hash(leaf) for leaf in LEAVES]


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_a_tree_is_made_again_of_its_nodes_and_of_no_others(size: int) -> None:
    tree = tree_of(LEAVES[:size])
    levels = [bytearray(tree.nodes(level, 0)) for level in range(max(size.bit_length(), 1))]
    again = Tree.of_levels([bytearray(level) for level in levels], size)
    assert (again.root(), again.size) == (tree.root(), size)
    assert tree.nodes(len(levels), 0) == b""
    for wrong in (size + 1, size + 8, 2 * size + 1):
        with pytest.raises(Tampered, match="does not have the nodes"):
            Tree.of_levels(levels, wrong)


TREE = tree_of(LEAVES[:7])
ROOT, LEAF, PROOF = TREE.root(), leaf_hash(LEAVES[2]), TREE.inclusion_proof(2)


@pytest.mark.parametrize(
    ("index", "size", "leaf", "proof", "root"),
    [
        (3, 7, LEAF, PROOF, ROOT),
        (-1, 7, LEAF, PROOF, ROOT),
        (7, 7, LEAF, PROOF, ROOT),
        (2, 0, LEAF, PROOF, ROOT),
        (2, -7, LEAF, PROOF, ROOT),
        (2, 7, leaf_hash(b"another"), PROOF, ROOT),
        (2, 7, LEAF[:-1], PROOF, ROOT),
        (2, 7, LEAF, PROOF[:-1], ROOT),
        (2, 7, LEAF, [], ROOT),
        (2, 7, LEAF, [*PROOF, LEAF], ROOT),
        (2, 7, LEAF, PROOF[::-1], ROOT),
        (2, 7, LEAF, [*PROOF[:-1], PROOF[-1] + b"\x00"], ROOT),
        (2, 7, LEAF, PROOF, TREE.root(6)),
        (2, 7, LEAF, PROOF, b""),
        (0, 1, LEAF, [LEAF], LEAF),
    ],
)
def test_an_inclusion_proof_of_a_wrong_form_is_tampered(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> None:
    verify_inclusion(2, 7, LEAF, PROOF, ROOT)
    with pytest.raises(Tampered):
        verify_inclusion(index, size, leaf, proof, root)


GREW = TREE.consistency_proof(3)


@pytest.mark.parametrize(
    ("size1", "size2", "proof", "root1", "root2"),
    [
        (0, 7, [], EMPTY, ROOT),
        (0, 0, [], EMPTY, EMPTY),
        (-3, 7, GREW, TREE.root(3), ROOT),
        (7, 3, GREW, ROOT, TREE.root(3)),
        (2, 7, GREW, TREE.root(3), ROOT),
        (3, 7, GREW, TREE.root(2), ROOT),
        (3, 7, GREW, TREE.root(3), TREE.root(6)),
        (3, 7, GREW[:-1], TREE.root(3), ROOT),
        (3, 7, [], TREE.root(3), ROOT),
        (3, 7, [*GREW, LEAF], TREE.root(3), ROOT),
        (3, 7, GREW[::-1], TREE.root(3), ROOT),
        (3, 7, [GREW[0][:-1], *GREW[1:]], TREE.root(3), ROOT),
        (3, 7, GREW, TREE.root(3)[:-1], ROOT),
        (4, 7, [], TREE.root(4), ROOT),
        (7, 7, [LEAF], ROOT, ROOT),
        (7, 7, [], ROOT, TREE.root(6)),
    ],
)
def test_a_consistency_proof_of_a_wrong_form_is_tampered(size1: int, size2: int, proof: list[bytes], root1: bytes, root2: bytes) -> None:
    verify_consistency(3, 7, GREW, TREE.root(3), ROOT)
    with pytest.raises(Tampered):
        verify_consistency(size1, size2, proof, root1, root2)


def test_two_heads_of_one_size_need_an_empty_proof_and_one_root() -> None:
    verify_consistency(7, 7, [], ROOT, ROOT)


def test_what_the_tree_does_not_have_is_invalid() -> None:
    tree = tree_of(LEAVES[:3])
    with pytest.raises(Invalid, match="32 bytes"):
        tree.append(b"not a hash")
    for index, size in ((3, 3), (-1, 3), (0, 4), (0, 0)):
        with pytest.raises(Invalid):
            tree.inclusion_proof(index, size)
    for size1, size2 in ((0, 3), (3, 2), (1, 4), (-1, 2)):
        with pytest.raises(Invalid):
            tree.consistency_proof(size1, size2)
    for size in (4, -1):
        with pytest.raises(Invalid):
            tree.root(size)
    for index in (3, -1):
        with pytest.raises(Invalid):
            tree.leaf(index)
    assert tree.root() == TREE.root(3)
