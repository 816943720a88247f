"""Pseudonyms that look like the id: digits stay digits, letters stay letters, everything else stays where it is.

A keyed permutation of all ids of one shape, so that two ids never share a pseudonym: an alternating Feistel network of ten rounds in
mixed radix, as in FF1 (NIST SP 800-38G), with AES-256 under a key of its own for each shape and kind of id as round function. It is
not FF1 itself and has no certificate. Shapes with fewer than a million ids are refused, as in SP 800-38G Rev. 1: there, a
pseudonym could be guessed. Length and shape of an id stay visible, and so do hyphens, blanks and the like.
"""

from __future__ import annotations

import hmac
import itertools
import re
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pumasi.kernel.errors import Refused

ROUNDS = 10
SMALLEST = 1_000_000
_ALPHABETS = ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_CLASS = {sign: (number, place) for number, alphabet in enumerate(_ALPHABETS) for place, sign in enumerate(alphabet)}
_WIDE = 1 << 31  # halves below this are computed in arrays, larger ones one by one


def same_shape(ids: Sequence[str], key: bytes, where: str) -> list[str]:
    """The pseudonym of each id in its own shape; `Refused` for a shape that has too few ids to hide in."""
    shapes: dict[str, list[int]] = {}
    for place, one in enumerate(ids):
        shapes.setdefault(_shape(one), []).append(place)
    if any(sign[1:].isalnum() for shape in shapes for sign in _fixed(shape)):
        raise Refused(f'{where}: some ids hold letters other than a-z, which would stay as they are; take format = "hex" or "number"')
    found: list[str] = [""] * len(ids)
    for shape, places in shapes.items():
        if _product(_radices(shape)) < SMALLEST:
            raise Refused(
                f"{where}: some ids have so few digits and letters that their pseudonym in the same format could be guessed; "
                'take format = "hex" or "number"'
            )
        for place, treated in zip(places, _permuted([ids[place] for place in places], shape, key), strict=True):
            found[place] = treated
    return found


def _shape(one: str) -> str:
    return "".join("9Aa"[_CLASS[sign][0]] if sign in _CLASS else f"\0{sign}" for sign in one)


def _fixed(shape: str) -> list[str]:
    return re.findall("\0.", shape, re.DOTALL)


def _radices(shape: str) -> list[int]:
    return [10 if sign == "9" else 26 for sign in re.sub("\0.", "", shape, flags=re.DOTALL)]


def _product(numbers: Sequence[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def _permuted(ids: list[str], shape: str, key: bytes) -> list[str]:
    radices = _radices(shape)
    half = _half(radices)
    left, right = radices[:half], radices[half:]
    numbers = [[_CLASS[sign][1] for sign in one if sign in _CLASS] for one in ids]
    a = [_number(digits[:half], left) for digits in numbers]
    b = [_number(digits[half:], right) for digits in numbers]
    own = hmac.digest(key, b"shape " + shape.encode(), "sha256")
    rounds = _in_arrays if max(_product(left), _product(right)) <= _WIDE else _one_by_one
    a, b = rounds(a, b, _product(left), _product(right), own)
    return [_written(one, [*_digits(x, left), *_digits(y, right)]) for one, x, y in zip(ids, a, b, strict=True)]


def _half(radices: list[int]) -> int:
    """Where to cut so that the two halves are of nearly equal size."""
    logs = np.cumsum(np.log(radices))
    return int(np.argmin(np.abs(logs[:-1] - logs[-1] / 2))) + 1


def _number(digits: list[int], radices: list[int]) -> int:
    number = 0
    for digit, radix in zip(digits, radices, strict=True):
        number = number * radix + digit
    return number


def _digits(number: int, radices: list[int]) -> list[int]:
    digits = []
    for radix in reversed(radices):
        number, digit = divmod(number, radix)
        digits.append(digit)
    return digits[::-1]


def _written(one: str, digits: list[int]) -> str:
    left = itertools.chain(digits)
    return "".join(_ALPHABETS[_CLASS[sign][0]][next(left)] if sign in _CLASS else sign for sign in one)


def _in_arrays(a: list[int], b: list[int], size_a: int, size_b: int, key: bytes) -> tuple[list[int], list[int]]:
    """All rounds at once for all ids. A round adds 128 pseudorandom bits, reduced modulo the half, so that no value is likelier."""
    cipher = Cipher(algorithms.AES256(key), modes.ECB())  # single blocks that never repeat: a random function, not a mode of encryption
    halves = [np.array(a, dtype=np.uint64), np.array(b, dtype=np.uint64)]
    sizes = [size_a, size_b]
    for number in range(ROUNDS):
        changed, other = number % 2, 1 - number % 2
        block = np.zeros((len(a), 2), dtype=np.uint64)
        block[:, 0], block[:, 1] = number, halves[other]
        drawn = np.frombuffer(cipher.encryptor().update(block.tobytes()), dtype=np.uint64).reshape(-1, 2)
        size = np.uint64(sizes[changed])
        high = (drawn[:, 0] % size) * np.uint64((1 << 64) % sizes[changed]) % size
        halves[changed] = (halves[changed] + high + drawn[:, 1] % size) % size
    return [int(x) for x in halves[0]], [int(x) for x in halves[1]]


def _one_by_one(a: list[int], b: list[int], size_a: int, size_b: int, key: bytes) -> tuple[list[int], list[int]]:
    """The same for halves that no machine word holds; HMAC-SHA-256, 256 bits and more, as round function."""
    found = [_rounds(x, y, size_a, size_b, key) for x, y in zip(a, b, strict=True)]
    return [x for x, _ in found], [y for _, y in found]


def _rounds(x: int, y: int, size_a: int, size_b: int, key: bytes) -> tuple[int, int]:
    length = (max(size_a, size_b).bit_length() + 7) // 8
    for number in range(ROUNDS):
        if number % 2 == 0:
            x = (x + _drawn(key, number, y, length)) % size_a
        else:
            y = (y + _drawn(key, number, x, length)) % size_b
    return x, y


def _drawn(key: bytes, number: int, half: int, length: int) -> int:
    """A pseudorandom number of 128 bits more than the half has, so that reducing it favours no value."""
    message = bytes([number]) + half.to_bytes(length, "big")
    blocks = (hmac.digest(key, bytes([count]) + message, "sha256") for count in range(1 + (length + 16) // 32))
    return int.from_bytes(b"".join(blocks), "big")
