"""Sums that nobody sees the parts of: each hospital's share is masked pairwise with every other hospital's.

The masks of a pair are equal and opposite, so they vanish in the sum of all shares and in no other sum (Bonawitz et al.,
CCS 2017, section 4.0.1, without recovery of hospitals that drop out). Values are integers modulo 2^128 in fixed point with
step 2^-64. Promise: a share alone, and every sum that lacks a share, is indistinguishable from random numbers to everyone
who does not hold the pair keys. Limits: a hospital can still lie about its own values, and all the others together
know what one hospital sent, which is why one or two hospitals hide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from pumasi.analysis.refusal import Refusal
from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.kernel.seal import derive, exchange

FRACTION_BITS = 64
LARGEST = 62  # a joint sum stays below 2^62 in size, one bit short of the sign
MODULUS = 1 << 128
ELEMENT = 16  # bytes of one element on the wire
CHECKS = 1  # elements that `encode` puts behind the values and `add` takes off again
_ONE = 1 << FRACTION_BITS

NOT_FINITE = Refusal("beyond-measure", "a value of this step is not a finite number, so it cannot be summed")
TOO_LARGE = Refusal("beyond-measure", "a value of this step is too large to be summed safely; rescale the column it comes from")


def encode(partial: Sequence[float], *, hospitals: int) -> list[int]:
    """One hospital's values as integers modulo 2^128, with the check element behind them: `len(partial) + CHECKS` elements.

    Exact for every multiple of 2^-64, otherwise rounded to the nearest, ties to even. `Refused` for a value that is not
    finite or that is 2^62 / hospitals or more in size, because the joint sum could then wrap around unnoticed.
    """
    if hospitals < 1:
        raise Invalid("a joint sum needs at least one hospital")
    reasons: list[Refusal] = []
    encoded: list[int] = []
    for value in partial:
        if not math.isfinite(value):
            reasons.append(NOT_FINITE)
        elif abs(value) >= 2.0**LARGEST or abs(fixed := round(math.ldexp(value, FRACTION_BITS))) * hospitals >= 1 << (
            LARGEST + FRACTION_BITS
        ):
            reasons.append(TOO_LARGE)
        else:
            encoded.append(fixed % MODULUS)
    if reasons:
        raise Refused(*dict.fromkeys(reasons))
    return [*encoded, _ONE]


def add(shares: Iterable[Sequence[int]]) -> list[int]:
    """The joint sum of all hospitals' shares modulo 2^128, without its check element.

    Every share carries the value 1 as its check element, so the sum of all must be the number of shares. A share that is
    missing, from another round, counted twice or damaged leaves masks in the sum, which then is random: `Tampered`.
    """
    rows = [list(share) for share in shares]
    if not rows:
        raise Tampered("there is no share to add")
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < CHECKS:
        raise Tampered("the hospitals' shares differ in length, so they do not belong to the same step")
    *total, check = (sum(column) % MODULUS for column in zip(*rows, strict=True))
    if check != len(rows) * _ONE:
        raise Tampered("the hospitals' shares do not fit together: one is missing, damaged or from another round")
    return total


def decode(total: Sequence[int]) -> list[float]:
    """The numbers that a joint sum stands for, each correctly rounded. `Tampered` for 2^62 or more in size: no honest sum gets there."""
    signed = [value - MODULUS if value >= MODULUS >> 1 else value for value in total]
    if any(abs(value) >= 1 << (LARGEST + FRACTION_BITS) for value in signed):
        raise Tampered("the joint sum is larger than honest shares can make it: a share is inconsistent")
    return [value / _ONE for value in signed]  # true division of integers rounds correctly


def pair_key(mine: X25519PrivateKey, theirs: bytes, *, job: str, me: str, peer: str) -> bytes:
    """The key that `me` and `peer` share for one job; both sides get the same 32 bytes. `job` is the signed job's SHA-256 in hexadecimal.

    `mine` must be made anew each time a job starts: the same key, job and round label give the same masks, and two shares
    under the same masks give away their difference. `Refused` for a public key that is malformed or of low order (RFC 7748, 6.1).
    """
    if me == peer or not me or not peer or "|" in me + peer:
        raise Invalid("a pair key needs two different hospital names without '|'")
    try:
        salt = bytes.fromhex(job)
    except ValueError:
        raise Invalid("a job is named by its digest, in hexadecimal digits") from None
    secret = exchange(mine, theirs)
    if secret is None:
        raise Refused(f"the key that {peer} offers for this job is not a usable X25519 key")
    return derive(secret, salt=salt, info="|".join(("pumasi/mask/v1", *sorted((me, peer)))))


class Masks:
    """One hospital's masks for one job. Each round label gives its masks once; a second use is refused, as it would reveal differences."""

    def __init__(self, me: str, pair_keys: dict[str, bytes]) -> None:
        if me in pair_keys:
            raise Invalid("a hospital has no pair key with itself")
        if any(len(key) != 32 for key in pair_keys.values()):
            raise Invalid("a pair key is 32 bytes long; use pair_key to make it")
        self._me = me
        self._pair_keys = dict(pair_keys)
        self._used: set[str] = set()

    def mask(self, values: Sequence[int], *, round: str) -> list[int]:
        """The encoded values plus the streams of the peers after this hospital in name order, minus those of the peers before it."""
        if round in self._used:
            raise Refused("the masks of this round were used before; a repeated step needs a round label of its own")
        self._used.add(round)
        low, high = _limbs(pack(values))
        for peer in sorted(self._pair_keys):
            mask_low, mask_high = _limbs(_stream(self._pair_keys[peer], round=round, length=len(values) * ELEMENT))
            if peer > self._me:
                low = low + mask_low
                high = high + mask_high + (low < mask_low)  # the carry
            else:
                borrow = low < mask_low
                low = low - mask_low
                high = high - mask_high - borrow
        return unpack(np.stack((low, high), axis=1).astype("<u8").tobytes(), len(values))


def pack(values: Sequence[int]) -> bytes:
    """Elements modulo 2^128 as they travel: 16 bytes each, little-endian."""
    if any(not 0 <= value < MODULUS for value in values):
        raise Invalid("an element of a share lies outside 0 .. 2^128 - 1; encode it first")
    return b"".join(value.to_bytes(ELEMENT, "little") for value in values)


def unpack(data: bytes, count: int) -> list[int]:
    """The `count` elements in `data`, check element included. `Tampered` unless the length fits exactly."""
    if len(data) != count * ELEMENT:
        raise Tampered("a share does not have the length that this step needs")
    return [int.from_bytes(data[at : at + ELEMENT], "little") for at in range(0, len(data), ELEMENT)]


def _stream(key: bytes, *, round: str, length: int) -> bytes:
    # A key of its own for each round, so counter mode may start at zero each time (NIST SP 800-38A, appendix B).
    cipher = Cipher(algorithms.AES256(derive(key, salt=b"", info=f"pumasi/mask/v1/round|{round}")), modes.CTR(bytes(16)))
    return cipher.encryptor().update(bytes(length))


def _limbs(data: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = np.frombuffer(data, dtype="<u8").astype(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
