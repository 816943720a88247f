"""Documents that look right and are not: other ways to write them, keys that are no keys, and the words for each."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest

from pumasi.kernel.envelope import (
    Keys,
    b64,
    canonical,
    commit,
    fingerprint,
    new_id,
    new_salt,
    open_signed,
    parse_canonical,
    sha256,
    sign,
    unb64,
)
from pumasi.kernel.errors import Tampered

KEYS = Keys.from_text(f"{b64(bytes(32))}\n{b64(bytes(32))}\n")  # known, so that test names stay the same

# RFC 8785 3.2.2 and 3.2.3, appendix B
CANONICAL: list[tuple[Any, bytes]] = [
    ({"b": 1, "a": [True, None]}, b'{"a":[true,null],"b":1}'),
    ('\u20ac$\x0f\nA\'B"\\\\"/', b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
    ({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7},
     '{"\\r":2,"1":4,"\x80":6,"\xf6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'.encode()),
    (333333333.33333329, b"333333333.3333333"),
    (1e30, b"1e+30"),
    (4.50, b"4.5"),
    (2e-3, b"0.002"),
    (1e-27, b"1e-27"),
    (1.0, b"1"),
    (-0.0, b"0"),
    (9007199254740991, b"9007199254740991"),
    (9007199254740992.0, b"9007199254740992"),
    (295147905179352830000.0, b"295147905179352830000"),
    (1e21, b"1e+21"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "written"), CANONICAL)
def test_the_examples_of_the_standard(value: Any, written: bytes) -> None:
    assert canonical(value) == written
    assert parse_canonical(written) == value


OTHER_WRITINGS: dict[str, bytes] = {
    "a space": b'{"a": 1}',
    "a newline at the end": b'{"a":1}\n',
    "a space before": b' {"a":1}',
    "another order": b'{"b":1,"a":2}',
    "a key twice": b'{"a":1,"a":1}',
    "a key twice with another value": b'{"a":1,"a":2}',
    "a needless escape": b'{"\\u0061":1}',
    "an escaped slash": b'"\\/"',
    "an upper-case escape": b'"\\u000F"',
    "a raw control character": b'"\x0f"',
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate as a key": b'{"\\ud800":1}',
    "a fraction of nothing": b"1.0",
    "an exponent": b"1e2",
    "a sign": b"+1",
    "minus nothing": b"-0",
    "a leading zero": b"01",
    "an integer that no double holds": b"9007199254740993",
    "a huge integer": b"1" * 400,
    "more digits than Python reads": b"1" * 5000,
    "a number beyond all doubles": b"1e999",
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b'{"a":-Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "broken UTF-8": b'"\xff"',
    "nothing": b"",
    "half a document": b'{"a":',
    "two documents": b"{}{}",
    "a comment": b"{}//",
    "single quotes": b"{'a':1}",
    "too deep": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("name", OTHER_WRITINGS)
def test_no_other_way_to_write_a_document_is_read(name: str) -> None:
    with pytest.raises(Tampered, match="canonical form"):
        parse_canonical(OTHER_WRITINGS[name])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), 10**400, "\ud800", {1: 2}, {"\ud800": 1}, b"", {1, 2}])
def test_what_json_cannot_hold_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical(value)
    with pytest.raises(ValueError):
        sign("event", {"a": value}, KEYS)


SIGNED = sign("event", {"a": 1}, KEYS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "exactly the fields"),
        ({"body": None, "drop": "sig"}, "exactly the fields"),
        ({"key": 1}, "base64 texts"),
        ({"sig": None}, "base64 texts"),
        ({"key": "~"}, "not base64"),
        ({"key": "가"}, "not base64"),
        ({"key": b64(bytes(31))}, "wrong form or length"),
        ({"sig": b64(bytes(63))}, "wrong form or length"),
        ({"sig": b64(bytes(64))}, "signature on this event does not hold"),
        ({"body": {"a": 2}}, "signature on this event does not hold"),
        ({"body": {"a": 1, "b": None}}, "signature on this event does not hold"),
    ],
)
def test_a_signed_document_has_one_form(change: dict[str, Any], words: str) -> None:
    value = {**parse_canonical(SIGNED), **change}
    dropped = value.pop("drop", None)
    value.pop(dropped, None)
    with pytest.raises(Tampered, match=words):
        open_signed("event", canonical(value))


@pytest.mark.parametrize("document", [None, 1, "text", [], ["body", "key", "sig"], {}])
def test_a_signed_document_is_an_object(document: Any) -> None:
    with pytest.raises(Tampered, match="a signed event has exactly the fields body, key and sig"):
        open_signed("event", canonical(document))


PRIME = 2**255 - 19
ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL = [0, 1, ORDER_8, PRIME - ORDER_8, PRIME - 1, PRIME, PRIME + 1]


@pytest.mark.parametrize("sign_bit", [0, 1])
@pytest.mark.parametrize("y", SMALL)
def test_a_key_that_needs_no_secret_signs_nothing(y: int, sign_bit: int) -> None:
    """With the neutral element as key, R = key and s = 0 is a signature on every message (RFC 8032 5.1.7 accepts it)."""
    key = (y + (sign_bit << 255)).to_bytes(32, "little")
    document = canonical({"body": {"a": 1}, "key": b64(key), "sig": b64((1).to_bytes(32, "little") + bytes(32))})
    with pytest.raises(Tampered, match="anybody can sign with the key on this event"):
        open_signed("event", document)


def test_the_signature_cannot_be_written_in_another_way() -> None:
    """s + L verifies in lax implementations (RFC 8032 5.1.7, malleability)."""
    order = 2**252 + 27742317777372353535851937790883648493
    value = parse_canonical(SIGNED)
    signature = unb64(value["sig"])
    s = int.from_bytes(signature[32:], "little") + order
    value["sig"] = b64(signature[:32] + s.to_bytes(32, "little"))
    with pytest.raises(Tampered):
        open_signed("event", canonical(value))


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QQ==\n", " QQ==", "QR==", "Q-Q_", "QQ==QQ==", "===="])
def test_base64_has_one_form(text: str) -> None:
    assert unb64("QQ==") == b"A"
    with pytest.raises(Tampered):
        unb64(text)


def test_keys_are_written_and_read() -> None:
    read = Keys.from_text(KEYS.to_text())
    assert (read.public, read.box_public) == (KEYS.public, KEYS.box_public)
    assert sign("event", {"a": 1}, read) == SIGNED  # Ed25519 is deterministic
    assert KEYS.to_text().endswith("\n") and len(KEYS.to_text().splitlines()) == 2
    assert KEYS.public != KEYS.box_public


@pytest.mark.parametrize(
    "text", ["", KEYS.public, f"{KEYS.public}\n{KEYS.public}\n{KEYS.public}", "short\nshort\n", f"{KEYS.public}\nQQ==\n"]
)
def test_a_broken_key_file_is_told(text: str) -> None:
    with pytest.raises(Tampered):
        Keys.from_text(text)


def test_secret_keys_do_not_show() -> None:
    signing, box = KEYS.to_text().split()
    assert signing not in repr(KEYS) and box not in repr(KEYS)


def test_a_fingerprint_is_the_beginning_of_the_keys_digest() -> None:
    public = b64(bytes(range(32)))
    assert fingerprint(public) == "630d-cd29-66c4-3366"
    assert hashlib.sha256(bytes(range(32))).hexdigest().startswith("630dcd2966c43366")
    with pytest.raises(Tampered):
        fingerprint(b64(bytes(31)))


def test_a_commitment_is_the_digest_of_salt_and_canonical_body() -> None:
    salt = "00" * 31 + "01"
    assert commit(salt, {"b": 1, "a": None}) == hashlib.sha256(bytes.fromhex(salt) + b'{"a":null,"b":1}').hexdigest()
    with pytest.raises(ValueError):
        commit("not hexadecimal", {})


def test_ids_and_salts_are_random_and_of_full_length() -> None:
    assert len({new_id() for _ in range(100)}) == len({new_salt() for _ in range(100)}) == 100
    assert len(new_id()) == 32 and len(new_salt()) == 64
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
