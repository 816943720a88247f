"""Sealed bytes open for one reader, in one context, unchanged; and a released result only with the parts of all its hospitals."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.kernel.seal import derive, exchange, release_key, seal, seal_to, unseal, unseal_from

KEY = bytes(range(32))
READER = X25519PrivateKey.generate()
PUBLIC = READER.public_key().public_bytes_raw()


def test_what_is_sealed_opens_with_key_and_context() -> None:
    assert unseal(KEY, seal(KEY, b"share", context=b"job 1"), context=b"job 1") == b"share"
    assert unseal_from(READER, seal_to(PUBLIC, b"result", context=b"job 1"), context=b"job 1") == b"result"
    assert seal(KEY, b"share", context=b"") != seal(KEY, b"share", context=b"")


def test_every_bit_counts() -> None:
    sealed, boxed = seal(KEY, b"share", context=b"c"), seal_to(PUBLIC, b"share", context=b"c")
    for place in range(len(boxed)):
        changed = boxed[:place] + bytes([boxed[place] ^ 1]) + boxed[place + 1 :]
        with pytest.raises(Tampered):
            unseal_from(READER, changed, context=b"c")
    for place in range(len(sealed)):
        with pytest.raises(Tampered):
            unseal(KEY, sealed[:place] + bytes([sealed[place] ^ 128]) + sealed[place + 1 :], context=b"c")
    for cut in range(len(sealed)):
        with pytest.raises(Tampered):
            unseal(KEY, sealed[:cut], context=b"c")


def test_another_reader_or_context_opens_nothing() -> None:
    with pytest.raises(Tampered):
        unseal(bytes(32), seal(KEY, b"x", context=b"c"), context=b"c")
    with pytest.raises(Tampered):
        unseal(KEY, seal(KEY, b"x", context=b"c"), context=b"d")
    with pytest.raises(Tampered):
        unseal_from(X25519PrivateKey.generate(), seal_to(PUBLIC, b"x", context=b"c"), context=b"c")


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little"), b"short", b""])
def test_keys_that_share_no_secret(public: bytes) -> None:
    assert exchange(READER, public) is None
    with pytest.raises(Refused, match="not a usable X25519 key"):
        seal_to(public, b"x", context=b"")
    with pytest.raises(Tampered, match="not a usable X25519 key"):
        unseal_from(READER, public, context=b"")


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_sealing_key_has_its_full_length(size: int) -> None:
    with pytest.raises(Invalid, match="32 bytes"):
        seal(bytes(size), b"x", context=b"")


def test_a_released_result_needs_every_hospitals_part() -> None:
    parts = {"haneul": b"h" * 32, "bada": b"b" * 32}
    key = release_key(parts, "ab" * 32)
    assert len(key) == 32 and key == release_key(dict(reversed(parts.items())), "ab" * 32)
    others = [release_key({"haneul": parts["haneul"]}, "ab" * 32), release_key(parts, "cd" * 32), derive(b"h" * 32, salt=b"", info="x")]
    assert key not in others and len(set(others)) == 3
