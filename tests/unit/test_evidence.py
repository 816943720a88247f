"""Two heads that no one history can have are proof by themselves; two heads of one history never are."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.envelope import b64, canonical
from pumasi.kernel.errors import Invalid, PumasiError, Tampered
from pumasi.ledger import evidence, note
from pumasi.ledger.tree import Tree, leaf_hash

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = note.VKey("example.org/log", note.LOG, KEY.public_key().public_bytes_raw())


def grown(*entries: str) -> Tree:
    tree = Tree()
    for entry in entries:
        tree.append(leaf_hash(entry.encode()))
    return tree


def head(tree: Tree, size: int, key: Ed25519PrivateKey = KEY) -> str:
    return note.sign_checkpoint(LOG.name, size=size, root=tree.root(size), key=key)


TRUE = grown(*"abcdefgh")
FORKED = grown(*"abcxefgh")


def test_two_roots_of_one_size_are_evidence() -> None:
    found = evidence.find(LOG, head(TRUE, 8), head(FORKED, 8), TRUE)
    assert found is not None
    assert "two heads over 8 entries" in evidence.check(found)[0]


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_a_head_that_is_not_extended_is_evidence(size: int) -> None:
    found = evidence.find(LOG, head(TRUE, 8), head(FORKED, size), TRUE)
    assert found is not None
    assert f"its head over {size} entries" in evidence.check(found)[0]


@pytest.mark.parametrize(("mine", "theirs"), [(8, 8), (8, 3), (3, 8), (5, 5)])
def test_heads_of_one_history_are_no_evidence(mine: int, theirs: int) -> None:
    assert evidence.find(LOG, head(TRUE, mine), head(TRUE, theirs), TRUE) is None


def test_a_fork_that_is_ahead_is_no_evidence_until_the_own_copy_has_grown() -> None:
    assert evidence.find(LOG, head(TRUE, 5), head(FORKED, 8), TRUE) is None
    assert evidence.find(LOG, head(FORKED, 8), head(TRUE, 5), FORKED) is not None


def test_before_the_fork_both_stories_are_one() -> None:
    assert evidence.find(LOG, head(TRUE, 8), head(FORKED, 3), TRUE) is None


def test_a_head_signed_by_somebody_else_accuses_nobody() -> None:
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(Tampered):
        evidence.find(LOG, head(TRUE, 8), head(FORKED, 8, stranger), TRUE)


def test_no_changed_byte_of_an_evidence_file_passes() -> None:
    found = evidence.find(LOG, head(TRUE, 8), head(FORKED, 6), TRUE)
    assert found is not None
    for at in range(len(found)):
        with pytest.raises(PumasiError):
            evidence.check(found[:at] + bytes([found[at] ^ 1]) + found[at + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        {"heads": [head(TRUE, 5), head(TRUE, 8)]},
        {"heads": [head(TRUE, 8)]},
        {"heads": "ab"},
        {"heads": [1, 2]},
        {"proof": "x"},
        {"proof": [1]},
        {"format": "other"},
        {"extra": 1},
        {"log": "x"},
    ],
)
def test_an_accusation_without_proof_is_refused(change: dict[str, object]) -> None:
    found = evidence.find(LOG, head(TRUE, 8), head(FORKED, 5), TRUE)
    assert found is not None
    with pytest.raises((Tampered, Invalid)):
        evidence.check(canonical({**json.loads(found), **change}))


def test_a_true_prefix_does_not_accuse_the_log() -> None:
    """The same file with two heads of one history and an honest proof says so."""
    honest = {
        "format": evidence.FORMAT,
        "log": str(LOG),
        "heads": [head(TRUE, 5), head(TRUE, 8)],
        "prefix": b64(TRUE.root(5)),
        "proof": [b64(step) for step in TRUE.consistency_proof(5, 8)],
    }
    with pytest.raises(Tampered, match="one history"):
        evidence.check(canonical(honest))
