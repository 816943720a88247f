"""Whatever hospitals and values there are: the sum is exact, and anything less than the sum shows nothing."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis.secure import MODULUS, Masks, add, decode, encode, pack, pair_key, unpack
from pumasi.kernel.errors import Tampered

NAMES = [f"hospital-{letter}" for letter in "abcdefghijkl"]
KEYS = {name: X25519PrivateKey.generate() for name in NAMES}
OFFERED = {name: key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for name, key in KEYS.items()}
PAIRS = {(me, peer): pair_key(KEYS[me], OFFERED[peer], job="5f" * 32, me=me, peer=peer) for me in NAMES for peer in NAMES if me != peer}
BOUND = 2.0**62 / len(NAMES)


@st.composite
def partials(draw: st.DrawFn) -> list[list[float]]:
    """Values of 2..12 hospitals: ordinary, tiny, huge, negative."""
    hospitals = draw(st.integers(2, len(NAMES)))
    value = st.one_of(
        st.floats(-BOUND, BOUND, exclude_min=True, exclude_max=True),
        st.integers(-1000, 1000).map(float),
        st.floats(-(2.0**-50), 2.0**-50),
    )
    width = draw(st.integers(1, 8))
    return [draw(st.lists(value, min_size=width, max_size=width)) for _ in range(hospitals)]


def masked(rows: list[list[float]], *, round: str = "0") -> list[list[int]]:
    names = NAMES[: len(rows)]
    shares = []
    for me, row in zip(names, rows, strict=True):
        masks = Masks(me, {peer: PAIRS[me, peer] for peer in names if peer != me})
        shares.append(masks.mask(encode(row, hospitals=len(rows)), round=round))
    return shares


@given(partials())
def test_the_sum_of_the_masked_shares_is_the_sum_of_the_values(rows: list[list[float]]) -> None:
    sent = [unpack(pack(share), len(share)) for share in masked(rows)]
    step = Fraction(1, 2**64)
    for got, column in zip(decode(add(sent)), zip(*rows, strict=True), strict=True):
        rounded = sum((round(Fraction(value) / step) * step for value in column), Fraction(0))
        assert got == float(rounded)
        assert abs(Fraction(got) - sum(map(Fraction, column))) <= len(rows) * step + Fraction(math.ulp(got))


@given(partials(), st.data())
def test_a_sum_that_lacks_shares_is_noticed(rows: list[list[float]], data: st.DataObject) -> None:
    shares = masked(rows)
    kept = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows) - 1))
    with pytest.raises(Tampered):
        add([shares[number] for number in kept])


@given(partials(), st.data())
def test_no_sum_of_a_few_shares_equals_the_sum_of_their_values(rows: list[list[float]], data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows) - 1))
    shares, plain = masked(rows), [encode(row, hospitals=len(rows)) for row in rows]
    for element in range(len(plain[0])):
        seen = sum(shares[number][element] for number in kept) % MODULUS
        true = sum(plain[number][element] for number in kept) % MODULUS
        assert seen != true


@given(partials())
def test_two_rounds_of_the_same_values_look_unrelated(rows: list[list[float]]) -> None:
    first, second = masked(rows, round="0"), masked(rows, round="1")
    assert all(a != b for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))
    assert add(first) == add(second)


@settings(max_examples=10)
@given(st.integers(2, 12), st.floats(-1e6, 1e6))
def test_all_but_one_share_are_spread_evenly(hospitals: int, value: float) -> None:
    """Chi-squared over the 256 byte values of 2,000 elements; keys differ from run to run, so the bound is one in 10^12."""
    shares = masked([[value] * 2000] * hospitals, round=str(value))
    seen = [sum(column) % MODULUS for column in zip(*shares[1:], strict=True)]
    counts = Counter(pack(seen))
    expected = len(seen) * 16 / 256
    assert sum((counts[byte] - expected) ** 2 / expected for byte in range(256)) < 255 + 7.5 * math.sqrt(2 * 255) + 30
