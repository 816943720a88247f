"""Bundles made by any earlier version verify for ever. These files are never changed; a new format adds new ones beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pumasi.ledger import verify

HERE = Path(__file__).parent
BUNDLE, POLICY = HERE / "bundle-v1.json", HERE / "bundle-v1.policy"


def test_the_first_bundle_is_the_one_that_was_kept() -> None:
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() == "8e26e1e38d608030e3be83e6aef0a8d7cce72bbce816fe6d724fcd2499d81484"


def test_the_first_bundle_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(BUNDLE), "--policy", str(POLICY)]) == 0
    out = capsys.readouterr().out
    assert "The case is complete" in out
    assert "the one that the policy pins" in out


def test_the_first_bundle_verifies_without_a_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(BUNDLE)]) == 0
    assert "KEYS NOT PINNED" in capsys.readouterr().out


def test_the_first_bundle_changed_by_one_byte_does_not(tmp_path: Path) -> None:
    data = BUNDLE.read_bytes()
    for position in range(100, len(data), len(data) // 20):
        (tmp_path / "bundle.json").write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert verify.main([str(tmp_path / "bundle.json")]) == 1
