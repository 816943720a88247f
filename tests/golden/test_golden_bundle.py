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


# Deletion in two steps with a certificate of each side, keys that were rotated and revoked.
TWO_STEPS, TWO_STEPS_POLICY = HERE / "bundle-two-steps.json", HERE / "bundle-two-steps.policy"


def test_the_bundle_with_two_certificates_is_the_one_that_was_kept_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert hashlib.sha256(TWO_STEPS.read_bytes()).hexdigest() == "39f01d1f8217273e7760c51d43c378d067a4a9ba708f3dce9ba024178075e9ec"
    assert verify.main([str(TWO_STEPS), "--policy", str(TWO_STEPS_POLICY)]) == 0
    out = capsys.readouterr().out
    assert "The case is complete" in out and "so did the coordinating body with its share" in out


# A log that was handed over by four of five and whose key was changed afterwards, under the policy of the first day.
HANDED, HANDED_POLICY = HERE / "bundle-handed-over.json", HERE / "bundle-handed-over.policy"


def test_the_bundle_over_a_handover_is_the_one_that_was_kept_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert hashlib.sha256(HANDED.read_bytes()).hexdigest() == "ae842d19f02456910de17915fb59efbab45e97e088c873ed0091cfb5f98438fb"
    assert verify.main([str(HANDED), "--policy", str(HANDED_POLICY)]) == 0
    out = capsys.readouterr().out
    assert "the log was handed over to the name log.pumasi.example/2" in out and "on the log signs with a new key" in out


# The second version: a ministry outside the membership has cosigned too, and the policy asks for it.
WITNESSED, WITNESSED_POLICY = HERE / "bundle-witnessed.json", HERE / "bundle-witnessed.policy"


def test_the_bundle_with_a_witness_is_the_one_that_was_kept_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert hashlib.sha256(WITNESSED.read_bytes()).hexdigest() == "3f019cf215ae446db455fa3813529d632a754ad0f7f542ac7190ba4c8a83f84f"
    assert verify.main([str(WITNESSED), "--policy", str(WITNESSED_POLICY)]) == 0
    assert "Outside the membership the head is cosigned by witness.ministry.example/pumasi" in capsys.readouterr().out


# Permits of the second version: they name the rules that a hospital's table is treated by, and treat columns as a rule file could say.
RULED, RULED_POLICY = HERE / "bundle-ruled.json", HERE / "bundle-ruled.policy"


def test_the_bundle_under_rules_is_the_one_that_was_kept_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert hashlib.sha256(RULED.read_bytes()).hexdigest() == "4beb0d8d17c4f59df71482d1e514d345f0d7dc470a5be6aa1aa70cc47e3f0c1d"
    assert verify.main([str(RULED), "--policy", str(RULED_POLICY)]) == 0
    assert "shows the table 'patients' as the rules 'kr-pseudonym' treat it, or less of it" in capsys.readouterr().out
