"""Masked sums: what is refused, what is noticed, and that two sides of a pair agree."""

from __future__ import annotations

import math

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pumasi.analysis.secure import CHECKS, MODULUS, Masks, add, decode, encode, pack, pair_key, unpack
from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.kernel.seal import seal, seal_to, unseal, unseal_from

JOB = "5f" * 32
KEY = bytes(range(32))


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def private(seed: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))


def circle(*names: str) -> dict[str, Masks]:
    """The masks of every named hospital, agreed as the nodes do it."""
    keys = {name: private(number + 1) for number, name in enumerate(names)}
    return {
        me: Masks(me, {peer: pair_key(mine, public(theirs), job=JOB, me=me, peer=peer) for peer, theirs in keys.items() if peer != me})
        for me, mine in keys.items()
    }


@pytest.mark.parametrize(
    ("value", "integer"),
    [
        (0.0, 0),
        (1.0, 1 << 64),
        (-1.0, MODULUS - (1 << 64)),
        (0.5, 1 << 63),
        (2.0**-64, 1),
        (-(2.0**-64), MODULUS - 1),
        (2.0**-66, 0),
        (-0.0, 0),
    ],
)
def test_fixed_point_is_exact_down_to_its_step(value: float, integer: int) -> None:
    assert encode([value], hospitals=1) == [integer, 1 << 64]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**62, -(2.0**62), 1e308, 2.0**62 / 5, -(2.0**62) / 5])
def test_values_that_could_wrap_around_are_refused_without_a_number(value: float) -> None:
    with pytest.raises(Refused) as refusal:
        encode([1.0, value], hospitals=5)
    assert not any(letter.isdigit() for letter in str(refusal.value))


def test_both_reasons_are_given_at_once_and_each_once() -> None:
    with pytest.raises(Refused) as refusal:
        encode([math.nan, math.inf, 1e30, 1e31], hospitals=2)
    assert len(refusal.value.reasons) == 2


def test_the_largest_allowed_value_of_every_hospital_sums_without_wrapping() -> None:
    largest = math.nextafter(2.0**62 / 4, 0)
    shares = [encode([largest, -largest], hospitals=4) for _ in range(4)]
    assert decode(add(shares)) == [4 * largest, -4 * largest]


def test_nobody_or_less_cannot_sum() -> None:
    with pytest.raises(Invalid):
        encode([1.0], hospitals=0)


@pytest.mark.parametrize("total", [1 << 126, MODULUS - (1 << 126), 1 << 127])
def test_a_sum_that_honest_shares_cannot_reach_is_noticed(total: int) -> None:
    with pytest.raises(Tampered):
        decode([0, total])


def test_both_sides_of_a_pair_derive_the_same_key_and_nobody_else_does() -> None:
    a, b, c = private(1), private(2), private(3)
    key = pair_key(a, public(b), job=JOB, me="east", peer="west")
    assert key == pair_key(b, public(a), job=JOB, me="west", peer="east")
    assert len(key) == 32
    others = [
        pair_key(c, public(b), job=JOB, me="east", peer="west"),
        pair_key(a, public(b), job="60" * 32, me="east", peer="west"),
        pair_key(a, public(b), job=JOB, me="east", peer="north"),
    ]
    assert len({key, *others}) == 4


# The points of order 1, 2, 4 and 8, RFC 7748 section 6.1, and two that are no X25519 keys at all.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 19 - 1).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("theirs", [*LOW_ORDER, b"", bytes(31), bytes(33)])
def test_a_key_that_forces_the_secret_is_refused(theirs: bytes) -> None:
    with pytest.raises(Refused, match="west"):
        pair_key(private(1), theirs, job=JOB, me="east", peer="west")
    with pytest.raises(Refused):
        seal_to(theirs, b"share", context=b"job")
    with pytest.raises(Tampered):
        unseal_from(private(1), theirs + bytes(40), context=b"job")


@pytest.mark.parametrize(("me", "peer"), [("east", "east"), ("", "west"), ("east", ""), ("ea|st", "west"), ("east", "we|st")])
def test_names_that_could_be_confused_make_no_pair(me: str, peer: str) -> None:
    with pytest.raises(Invalid):
        pair_key(private(1), public(private(2)), job=JOB, me=me, peer=peer)


def test_a_job_is_named_by_its_digest() -> None:
    with pytest.raises(Invalid):
        pair_key(private(1), public(private(2)), job="the first job", me="east", peer="west")


def test_a_round_label_masks_once() -> None:
    masks = circle("east", "west")["east"]
    first = masks.mask(encode([1.0], hospitals=2), round="0")
    assert masks.mask(encode([1.0], hospitals=2), round="1") != first
    with pytest.raises(Refused, match="used before"):
        masks.mask(encode([1.0], hospitals=2), round="0")


def test_masks_need_peers_with_whole_keys() -> None:
    with pytest.raises(Invalid):
        Masks("east", {"east": KEY})
    with pytest.raises(Invalid):
        Masks("east", {"west": KEY[:16]})


def test_a_hospital_alone_has_no_masks() -> None:
    values = encode([1.5, -2.0], hospitals=1)
    assert Masks("east", {}).mask(values, round="0") == values
    assert decode(add([values])) == [1.5, -2.0]


def test_the_masks_of_a_pair_are_equal_and_opposite() -> None:
    both = circle("east", "west")
    plus, minus = (both[name].mask([0] * 50, round="0") for name in ("east", "west"))
    assert [(MODULUS - value) % MODULUS for value in plus] == minus
    assert len(set(plus)) == 50


def test_carries_and_borrows_cross_the_limbs() -> None:
    values = [0, 1, (1 << 64) - 1, 1 << 64, MODULUS - 1]
    for round in map(str, range(40)):
        both = circle("east", "west")
        zero = {name: both[name].mask([0] * len(values), round=round) for name in both}
        both = circle("east", "west")
        for name in both:
            expected = [(value + mask) % MODULUS for value, mask in zip(values, zero[name], strict=True)]
            assert both[name].mask(values, round=round) == expected


def test_shares_that_do_not_fit_together_are_noticed() -> None:
    def shares(round: str) -> list[list[int]]:
        return [masks.mask(encode([3.0], hospitals=3), round=round) for masks in circle("a", "b", "c").values()]

    now, before = shares("1"), shares("0")
    assert decode(add(now)) == [9.0]
    for wrong in (now[1:], [*now, now[0]], [before[0], *now[1:]], [[*now[0][:-1], now[0][-1] ^ 1], *now[1:]], []):
        with pytest.raises(Tampered):
            add(wrong)
    empty: list[int] = []
    for wrong in ([now[0], now[1][1:], now[2]], [empty], [empty, empty]):
        with pytest.raises(Tampered):
            add(wrong)


def test_the_wire_holds_16_bytes_each_and_nothing_else() -> None:
    values = [0, 1, MODULUS - 1, 1 << 64]
    data = pack(values)
    assert len(data) == 16 * len(values)
    assert data[16:32] == b"\x01" + bytes(15)
    assert unpack(data, len(values)) == values
    assert len(encode([1.0, 2.0], hospitals=3)) == 2 + CHECKS
    for count in (3, 5):
        with pytest.raises(Tampered):
            unpack(data, count)
    with pytest.raises(Tampered):
        unpack(data[:-1], len(values))
    for wrong in (-1, MODULUS):
        with pytest.raises(Invalid):
            pack([wrong])


def test_a_sealed_share_opens_only_unchanged_and_in_its_place() -> None:
    sealed = seal(KEY, b"share", context=b"job|0|east")
    assert unseal(KEY, sealed, context=b"job|0|east") == b"share"
    assert seal(KEY, b"share", context=b"job|0|east") != sealed
    for key, data, context in [
        (bytes(32), sealed, b"job|0|east"),
        (KEY, sealed, b"job|1|east"),
        (KEY, sealed[:-1], b"job|0|east"),
        (KEY, sealed[:5], b"job|0|east"),
        (KEY, b"", b"job|0|east"),
        *((KEY, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"job|0|east") for at in range(len(sealed))),
    ]:
        with pytest.raises(Tampered):
            unseal(key, data, context=context)
    with pytest.raises(Invalid):
        seal(KEY[:16], b"share", context=b"")


def test_a_message_to_a_key_opens_with_that_key_only() -> None:
    sealed = seal_to(public(private(7)), b"job key", context=b"job")
    assert unseal_from(private(7), sealed, context=b"job") == b"job key"
    assert seal_to(public(private(7)), b"job key", context=b"job")[:32] != sealed[:32]
    for key, data, context in [
        (private(8), sealed, b"job"),
        (private(7), sealed, b"other"),
        (private(7), sealed[:-1], b"job"),
        *((private(7), sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"job") for at in range(len(sealed))),
    ]:
        with pytest.raises(Tampered):
            unseal_from(key, data, context=context)
