"""One value, one document, one digest: canonical JSON round trips, and nothing but the canonical bytes is accepted."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from pumasi.kernel.envelope import Keys, b64, canonical, commit, fingerprint, open_signed, parse_canonical, sha256, sign, unb64
from pumasi.kernel.errors import Tampered

KEYS, OTHERS = Keys.new(), Keys.new()
KINDS = ["event", "permit", "job", "handshake", "request", "certificate"]

integers = st.integers(-(2**53) + 1, 2**53 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text()
values = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=3), integers | texts | st.none(), max_size=4)


@given(values)
@example(2.0**53)
@example(-1e20)
@example({"é": 1, "\U0001f600": 2, "\ufb33": 3, "1": 4, "\r": 5})  # RFC 8785 3.2.3: sorted by UTF-16 code units
def test_what_is_written_is_read_back(value: Any) -> None:
    written = canonical(value)
    assert parse_canonical(written) == value
    assert canonical(parse_canonical(written)) == written
    assert json.loads(written, parse_int=float) == value


@given(values, st.booleans(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
@example(1.0, True, True, (",", ":"))
@example({"\ufb33": 1, "\U0001f600": 2}, False, True, (",", ":"))  # by code points, not by UTF-16 code units
@example(["\ud83d\ude00"], True, True, (",", ":"))
@example(2**53, True, True, (",", ":"))
@example(-(2**53), True, True, (",", ":"))
def test_what_another_writes_is_read_only_when_the_standard_writes_the_same(
    value: Any, ascii: bool, ordered: bool, separators: tuple[str, str]
) -> None:
    data = json.dumps(value, ensure_ascii=ascii, sort_keys=ordered, separators=separators).encode("utf-8", "surrogatepass")
    try:
        same = rfc8785.dumps(json.loads(data, parse_int=lambda digits: _exact(int(digits)))) == data
    except (ValueError, rfc8785.CanonicalizationError):
        same = False
    if same:
        assert canonical(parse_canonical(data)) == data
    else:
        with pytest.raises(Tampered):
            parse_canonical(data)


def _exact(number: int) -> float:
    """As JSON.parse reads it."""
    return float(number) if abs(number) >= 2**53 else number


@given(values, values)
def test_two_values_are_the_same_document_only_when_equal(one: Any, other: Any) -> None:
    same = canonical(one) == canonical(other)
    assert same == (_typed(one) == _typed(other))


def _typed(value: Any) -> Any:
    """The value with truth told from 1, which Python takes for equal; JSON has one kind of number."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return (isinstance(value, bool), value)


@given(st.data(), documents)
def test_any_change_of_a_signed_document_is_refused(data: st.DataObject, body: dict[str, Any]) -> None:
    signed = sign("event", body, KEYS)
    assert open_signed("event", signed).body == body
    place = data.draw(st.integers(0, len(signed) - 1))
    for changed in (
        signed[:place] + bytes([signed[place] ^ data.draw(st.integers(1, 255))]) + signed[place + 1 :],
        signed[:place] + signed[place + 1 :],
        signed[:place] + data.draw(st.binary(min_size=1, max_size=3)) + signed[place:],
        signed[:place],
    ):
        if changed != signed:
            with pytest.raises(Tampered):
                open_signed("event", changed)


def test_every_single_bit_of_a_signed_document_counts() -> None:
    signed = sign("permit", {"a": [1, "가", None]}, KEYS)
    for place in range(len(signed)):
        for bit in range(8):
            with pytest.raises(Tampered):
                open_signed("permit", signed[:place] + bytes([signed[place] ^ 1 << bit]) + signed[place + 1 :])


@given(documents, st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_a_signature_is_for_one_kind_of_document(body: dict[str, Any], kind: Any, other: Any) -> None:
    signed = sign(kind, body, KEYS)
    if kind == other:
        opened = open_signed(other, signed)
        assert (opened.body, opened.key, opened.data, opened.digest) == (body, KEYS.public, signed, sha256(signed))
    else:
        with pytest.raises(Tampered, match="does not hold"):
            open_signed(other, signed)


@given(documents)
def test_nobody_signs_for_another(body: dict[str, Any]) -> None:
    value = parse_canonical(sign("job", body, KEYS))
    with pytest.raises(Tampered, match="does not hold"):
        open_signed("job", canonical({**value, "key": OTHERS.public}))


@given(st.binary(max_size=64))
def test_bytes_from_anywhere_are_read_or_refused(data: bytes) -> None:
    """Never another error, never another document than the canonical one."""
    with suppress(Tampered):
        assert canonical(parse_canonical(data)) == data
    with pytest.raises(Tampered):
        open_signed("event", data)


@given(documents, documents, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_commitment_binds_body_and_salt(one: dict[str, Any], other: dict[str, Any], salt: bytes, another: bytes) -> None:
    committed = commit(salt.hex(), one)
    assert len(unb64(KEYS.public, 32)) == 32 and len(committed) == 64
    assert (committed == commit(salt.hex(), other)) == (one == other)
    assert (committed == commit(another.hex(), one)) == (salt == another)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_fingerprints_tell_keys_apart(one: bytes, other: bytes) -> None:
    assert (fingerprint(b64(one)) == fingerprint(b64(other))) == (one == other)
