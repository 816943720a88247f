"""A custodian holds one key, answers under it, and can be made to forget it for good."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

import pytest

from pumasi.kernel.errors import Invalid, NotFound
from pumasi.store.custody import FileCustodian, workspace_key

PERMIT = "ab" * 32


def test_a_key_is_32_random_bytes_that_only_its_owner_may_read(tmp_path: Path) -> None:
    FileCustodian.create(tmp_path / "a.key")
    FileCustodian.create(tmp_path / "b.key")
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert len((tmp_path / "a.key").read_bytes()) == 32
    assert (tmp_path / "a.key").read_bytes() != (tmp_path / "b.key").read_bytes()


def test_evaluate_is_hmac_sha256_of_the_context_and_survives_a_restart(tmp_path: Path) -> None:
    custodian = FileCustodian.create(tmp_path / "key")
    expected = hmac.new((tmp_path / "key").read_bytes(), b"workspace", hashlib.sha256).digest()
    assert custodian.evaluate(b"workspace") == expected == FileCustodian(tmp_path / "key").evaluate(b"workspace")
    assert custodian.evaluate(b"pseudonyms") != expected


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    FileCustodian.create(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(Invalid, match="never replaced"):
        FileCustodian.create(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_a_missing_key_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the key was destroyed or never existed"):
        FileCustodian(tmp_path / "key").evaluate(b"workspace")


def test_destroy_overwrites_before_it_removes(tmp_path: Path) -> None:
    custodian = FileCustodian.create(tmp_path / "key")
    os.link(tmp_path / "key", tmp_path / "second name")  # a name that the unlink does not reach shows what was written
    custodian.destroy()
    assert not (tmp_path / "key").exists()
    assert (tmp_path / "second name").read_bytes() == bytes(32)


def test_destroy_may_be_called_again_and_without_a_folder(tmp_path: Path) -> None:
    custodian = FileCustodian.create(tmp_path / "key")
    custodian.destroy()
    custodian.destroy()
    FileCustodian(tmp_path / "nowhere" / "key").destroy()
    with pytest.raises(NotFound):
        custodian.evaluate(b"workspace")


@pytest.mark.parametrize("left", [bytes(32), b"", b"short"], ids=["zeros", "empty", "cut"])
def test_a_destruction_that_was_interrupted_leaves_no_usable_key(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "key").write_bytes(left)
    with pytest.raises(NotFound, match="interrupted"):
        FileCustodian(tmp_path / "key").evaluate(b"workspace")
    FileCustodian(tmp_path / "key").destroy()
    assert not (tmp_path / "key").exists()


def test_the_workspace_key_is_hkdf_sha256_over_both_shares_salted_by_the_permit() -> None:
    h, c = b"h" * 32, b"c" * 32
    secret = hmac.new(bytes.fromhex(PERMIT), h + c, hashlib.sha256).digest()  # RFC 5869 2.2
    expected = hmac.new(secret, b"pumasi/workspace/v1\x01", hashlib.sha256).digest()  # RFC 5869 2.3, one block
    assert workspace_key(h, c, PERMIT) == expected


def test_the_workspace_key_needs_every_part() -> None:
    h, c = b"h" * 32, b"c" * 32
    keys = {workspace_key(h, c, PERMIT), workspace_key(c, h, PERMIT), workspace_key(h, h, PERMIT), workspace_key(h, c, "cd" * 32)}
    assert len(keys) == 4
    with pytest.raises(ValueError, match="32 bytes"):
        workspace_key(b"", c, PERMIT)
