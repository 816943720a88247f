"""Sums that nobody sees the parts of: each hospital's share is masked pairwise with every other hospital's.

The masks of a pair are equal and opposite, so they vanish in the sum of all shares and in no other sum (Bonawitz et al.,
CCS 2017, section 4.0.1, without recovery of hospitals that drop out). Values are integers modulo 2^128 in fixed point with
step 2^-64. Promise: a share alone, and every sum that lacks a share, is indistinguishable from random numbers to everyone
who does not hold the pair keys. Limits: a hospital can still lie about its own values, and all the others together
know what one hospital sent, which is why one or two hospitals hide nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import overload

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
_HALF = (1 << 64) - 1

NOT_FINITE = Refusal("beyond-measure", "a value of this step is not a finite number, so it cannot be summed")
TOO_LARGE = Refusal("beyond-measure", "a value of this step is too large to be summed safely; rescale the column it comes from")


class Elements(Sequence[int]):
    """Integers modulo 2^128, each as a low and a high half of 64 bits: what travels, and what numpy adds ten times as fast as Python."""

    __slots__ = ("high", "low")

    def __init__(self, low: NDArray[np.uint64], high: NDArray[np.uint64]) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, values: Sequence[int]) -> Elements:
        if isinstance(values, Elements):
            return values
        if any(not 0 <= value < MODULUS for value in values):
            raise Invalid("an element of a share lies outside 0 .. 2^128 - 1; encode it first")
        halves = ([value & _HALF for value in values], [value >> 64 for value in values])
        return cls(np.array(halves[0], dtype=np.uint64), np.array(halves[1], dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.low)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Elements: ...
    def __getitem__(self, place: int | slice) -> int | Elements:
        if isinstance(place, slice):
            return Elements(self.low[place], self.high[place])
        return int(self.high[place]) << 64 | int(self.low[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def plus(self, other: Elements) -> Elements:
        low = self.low + other.low
        return Elements(low, self.high + other.high + (low < other.low))  # the carry

    def minus(self, other: Elements) -> Elements:
        return Elements(self.low - other.low, self.high - other.high - (self.low < other.low))  # the borrow

    def negative(self, which: NDArray[np.bool_]) -> Elements:
        """Those that are named, subtracted from zero."""
        zero = np.zeros_like(self.low)
        turned = Elements(zero, zero).minus(self)
        return Elements(np.where(which, turned.low, self.low), np.where(which, turned.high, self.high))


def encode(partial: Sequence[float] | NDArray[np.float64], *, hospitals: int) -> Elements:
    """One hospital's values as integers modulo 2^128, with the check element behind them: `len(partial) + CHECKS` elements.

    Exact for every multiple of 2^-64, otherwise rounded to the nearest, ties to even. `Refused` for a value that is not
    finite or that is 2^62 / hospitals or more in size, because the joint sum could then wrap around unnoticed.
    """
    if hospitals < 1:
        raise Invalid("a joint sum needs at least one hospital")
    values = np.array([*partial, 1.0], dtype=np.float64)  # the check element is 1
    finite = np.isfinite(values)
    size = np.where(finite & (np.abs(values) < 2.0**LARGEST), np.abs(values), 0.0)
    whole = np.floor(size)
    # below the whole part at most 53 bits are left, so that scaling is exact and rint is the only rounding; it never reaches 2^64
    fixed = Elements(np.rint(np.ldexp(size - whole, FRACTION_BITS)).astype(np.uint64), whole.astype(np.uint64))
    most = -(-(1 << (LARGEST + FRACTION_BITS)) // hospitals)  # the least size that is too large
    high = np.uint64(most >> 64)
    large = (np.abs(values) >= 2.0**LARGEST) | (fixed.high > high) | ((fixed.high == high) & (fixed.low >= np.uint64(most & _HALF)))
    reasons = [NOT_FINITE] if not np.all(finite) else []
    if np.any(large[:-CHECKS] & finite[:-CHECKS]):
        reasons.append(TOO_LARGE)
    if reasons:
        raise Refused(*reasons)
    return fixed.negative(values < 0)


def add(shares: Iterable[Sequence[int]]) -> Elements:
    """The joint sum of all hospitals' shares modulo 2^128, without its check element.

    Every share carries the value 1 as its check element, so the sum of all must be the number of shares. A share that is
    missing, from another round, counted twice or damaged leaves masks in the sum, which then is random: `Tampered`.
    """
    rows = [Elements.of(share) for share in shares]
    if not rows:
        raise Tampered("there is no share to add")
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < CHECKS:
        raise Tampered("the hospitals' shares differ in length, so they do not belong to the same step")
    total = functools.reduce(Elements.plus, rows)
    if total[-1] != len(rows) * _ONE:
        raise Tampered("the hospitals' shares do not fit together: one is missing, damaged or from another round")
    return total[:-CHECKS]


def decode(total: Sequence[int]) -> list[float]:
    """The numbers that a joint sum stands for, each correctly rounded. `Tampered` for 2^62 or more in size: no honest sum gets there."""
    found = Elements.of(total)
    below = found.high >= np.uint64(1 << 63)
    size = found.negative(below)
    if np.any(size.high >= np.uint64(1 << LARGEST)):
        raise Tampered("the joint sum is larger than honest shares can make it: a share is inconsistent")
    # Where the whole part is not zero, the number's first 64 bits, the last of them set if anything follows: all that rounding asks for.
    bits = np.frexp(size.high.astype(np.float64))[1]
    shift = bits.astype(np.uint64)
    first = size.high << (np.uint64(64) - shift) | np.where(bits > 0, size.low >> shift, np.uint64(0))
    rest = np.where(bits > 0, size.low << (np.uint64(64) - shift), np.uint64(0))
    first = np.where(bits > 0, first | (rest != 0), size.low)
    values = np.ldexp(first.astype(np.float64), bits - FRACTION_BITS)
    decoded: list[float] = np.where(below, -values, values).tolist()
    return decoded


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

    def mask(self, values: Sequence[int], *, round: str) -> Elements:
        """The encoded values plus the streams of the peers after this hospital in name order, minus those of the peers before it."""
        if round in self._used:
            raise Refused("the masks of this round were used before; a repeated step needs a round label of its own")
        self._used.add(round)
        masked = Elements.of(values)
        for peer in sorted(self._pair_keys):
            stream = unpack(_stream(self._pair_keys[peer], round=round, length=len(values) * ELEMENT), len(values))
            masked = masked.plus(stream) if peer > self._me else masked.minus(stream)
        return masked


def pack(values: Sequence[int]) -> bytes:
    """Elements modulo 2^128 as they travel: 16 bytes each, little-endian."""
    found = Elements.of(values)
    return np.stack((found.low, found.high), axis=1).astype("<u8").tobytes()


def unpack(data: bytes, count: int) -> Elements:
    """The `count` elements in `data`, check element included. `Tampered` unless the length fits exactly."""
    if len(data) != count * ELEMENT:
        raise Tampered("a share does not have the length that this step needs")
    pairs = np.frombuffer(data, dtype="<u8").astype(np.uint64).reshape(-1, 2)
    return Elements(pairs[:, 0].copy(), pairs[:, 1].copy())


def _stream(key: bytes, *, round: str, length: int) -> bytes:
    # A key of its own for each round, so counter mode may start at zero each time (NIST SP 800-38A, appendix B).
    cipher = Cipher(algorithms.AES256(derive(key, salt=b"", info=f"pumasi/mask/v1/round|{round}")), modes.CTR(bytes(16)))
    return cipher.encryptor().update(bytes(length))
