"""One acceptance rule for signatures: page and verify.py decide alike, also on every crafted kind that libraries differ on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from playwright.sync_api import Page

from pumasi.kernel.envelope import b64, canonical, open_signed
from pumasi.kernel.errors import Tampered
from pumasi.ledger import verify
from tests.browser import edwards
from tests.browser.conftest import Open

SUITE = Path(__file__).parents[3] / "shared/data/suites/c2sp-ed25519.zip"
HOLDS_ALL = """async (vectors) => {
  const out = [];
  for (const [key, signature, message] of vectors) out.push(await signatureHolds(unhex(key), unhex(signature), unhex(message)));
  return out;
}"""
MESSAGE = b"pumasi/event/v1\n{}"
SECRET, NONCE = 2**251 + 12345, 2**250 + 54321
SMALL = edwards.small_order()
TORSION = edwards.torsion()


class Vector(NamedTuple):
    key: bytes
    signature: bytes
    message: bytes = MESSAGE


def decided(checker: Page, vectors: list[Vector]) -> list[bool]:
    """What both decide; they must decide alike."""
    there: list[bool] = checker.evaluate(HOLDS_ALL, [[part.hex() for part in vector] for vector in vectors])
    assert there == [verify.signature_holds(*vector) for vector in vectors]
    return there


def by(key: edwards.Point | bytes, r: edwards.Point | bytes, *, secret: int = SECRET, nonce: int = NONCE) -> Vector:
    """A signature of this secret with this nonce, but with another encoded key or R."""
    written = [point if isinstance(point, bytes) else edwards.encode(point) for point in (key, r)]
    return Vector(*edwards.signature(secret, nonce, MESSAGE, key=written[0], r=written[1]))


PUBLIC, R = edwards.times(SECRET, edwards.BASE), edwards.times(NONCE, edwards.BASE)


def test_the_vectors_of_c2sp(checker: Page) -> None:
    if not SUITE.exists():
        pytest.skip("the Ed25519 vectors of C2SP/CCTV are not there: shared/data/suites/c2sp-ed25519.zip")
    listed = json.loads(zipfile.ZipFile(SUITE).read("ed25519/ed25519vectors.json"))
    vectors = [Vector(bytes.fromhex(item["key"]), bytes.fromhex(item["sig"]), item["msg"].encode()) for item in listed]
    assert len(vectors) > 900
    for item, holds in zip(listed, decided(checker, vectors), strict=True):
        flags = set(item["flags"] or [])
        refused = {"low_order_A", "low_order_R", "low_order_residue", "non_canonical_A", "non_canonical_R"}
        assert holds is not bool(flags & refused), flags


def test_honest_signatures_hold_and_changed_ones_do_not(checker: Page) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key, signature = private.public_key().public_bytes_raw(), private.sign(MESSAGE)
    flipped = [bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]]) for at in range(0, 64, 7)]
    assert decided(checker, [Vector(key, signature), by(PUBLIC, R), Vector(key, private.sign(b""), b"")]) == [True] * 3
    assert not any(decided(checker, [Vector(key, other) for other in flipped]))
    assert not any(decided(checker, [Vector(key, signature, b"another"), Vector(key, signature[:-1]), Vector(key, signature + b"\0")]))


def test_keys_of_small_order_sign_nothing_however_they_are_written(checker: Page) -> None:
    """With S = 0 and R = -kA such a signature would hold for one message in eight, under the neutral point for all."""
    written = [y + above for y in (0, 1, edwards.P - 1) for above in (0, edwards.P) if y + above < 2**255]
    weak = {edwards.encode(point) for point in SMALL} | {(y | sign << 255).to_bytes(32, "little") for y in written for sign in (0, 1)}
    assert len(weak) == 14
    vectors = [Vector(key, edwards.encode(r) + bytes(32), bytes([at])) for key in sorted(weak) for r in SMALL for at in range(8)]
    assert not any(decided(checker, vectors))


def test_a_key_beyond_the_prime_signs_nothing(checker: Page) -> None:
    beyond = [(edwards.P + y | sign << 255).to_bytes(32, "little") for y in range(19) for sign in (0, 1)]
    assert not any(decided(checker, [by(key, R) for key in beyond]))


def test_the_equation_is_taken_without_the_cofactor(checker: Page) -> None:
    """With a point of small order added to R or to the key, both sides differ by it alone."""
    assert not any(decided(checker, [by(PUBLIC, edwards.add(R, point)) for point in SMALL[1:]]))
    mixed = edwards.encode(edwards.add(PUBLIC, TORSION))
    holding = []
    for nonce in range(2, 40):
        vector = by(mixed, edwards.times(nonce, edwards.BASE), nonce=nonce)
        divisible = edwards.challenge(vector.signature[:32], mixed, MESSAGE) % 8 == 0
        holding.append((vector, divisible))
    assert any(divisible for _, divisible in holding)
    assert decided(checker, [vector for vector, _ in holding]) == [divisible for _, divisible in holding]


def test_every_number_is_written_in_one_way(checker: Page) -> None:
    honest = by(PUBLIC, R)
    s = int.from_bytes(honest.signature[32:], "little")
    longer = [honest.signature[:32] + (s + factor * edwards.L).to_bytes(32, "little") for factor in range(1, 8)]
    assert not any(decided(checker, [Vector(honest.key, signature) for signature in longer]))


def test_an_r_of_small_order_signs_nothing(checker: Page) -> None:
    """With the nonce 0, R is the neutral point, and the secret key can be read off S. It holds in every library that takes small R."""
    neutral = by(PUBLIC, edwards.ZERO, nonce=0)
    Ed25519PublicKey.from_public_bytes(neutral.key).verify(neutral.signature, MESSAGE)
    otherwise = [(1 + edwards.P).to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little"), *map(edwards.encode, SMALL)]
    assert not any(decided(checker, [neutral, *(by(PUBLIC, r, nonce=0) for r in otherwise)]))
    key, signature = edwards.signature(SECRET, 0, MESSAGE)  # MESSAGE is that of an event with an empty body
    with pytest.raises(Tampered, match="does not hold"):
        open_signed("event", canonical({"body": {}, "key": b64(key), "sig": b64(signature)}))


def test_what_libraries_differ_on_is_decided_before_the_browser_is_asked(open_page: Open) -> None:
    honest = by(PUBLIC, R)
    larger = honest.signature[:32] + (int.from_bytes(honest.signature[32:], "little") + edwards.L).to_bytes(32, "little")
    crafted = [
        *(by(point, R) for point in SMALL),
        by((edwards.P + 3).to_bytes(32, "little"), R),
        by(PUBLIC, (1 + edwards.P).to_bytes(32, "little")),
        by(PUBLIC, (1 | 1 << 255).to_bytes(32, "little")),
        by(PUBLIC, (edwards.P - 1 | 1 << 255).to_bytes(32, "little")),
        Vector(honest.key, larger),
        Vector(honest.key[:-1], honest.signature),
        Vector(honest.key, honest.signature[:-1]),
    ]
    with open_page() as page:
        page.evaluate("() => { crypto.subtle.verify = async () => true; crypto.subtle.importKey = async () => true; }")
        taken = page.evaluate(HOLDS_ALL, [[part.hex() for part in vector] for vector in (honest, *crafted)])
    assert taken == [True, *(False for _ in crafted)]


def test_the_probes_are_decided_by_the_command_as_the_page_expects(checker: Page) -> None:
    probes = checker.evaluate("PROBES")
    decisions = [verify.signature_holds(bytes.fromhex(probe["key"]), bytes.fromhex(probe["sig"]), b"pumasi probe") for probe in probes]
    assert decisions == [probe["holds"] for probe in probes] == [True, False]
