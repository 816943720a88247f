"""Sums of any size through a channel of fixed point, and the reading of a total element by element.

A secure sum carries |x| < 2^62 / hospitals in steps of 2^-64. That suits counts and standardised values, but not an income of 1e12 or a
concentration of 1e-9. Those travel *wide*: one hospital's own sum, cut into digits of base 2^50. Digits of the sum and never of a value,
so that the added digits tell the nodes nothing but the total (and how many carries there were).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pumasi.kernel.errors import Tampered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNITS = [2.0**power for power in range(200, -201, -50)]
WIDTH = len(_UNITS)
# Values beyond this are no measurement; up to it, the squares of 2^40 rows still fit the digits.
LARGEST = 1e30


def wide(values: NDArray[np.float64]) -> list[float]:
    """One hospital's sum, cut into digits whose totals stay exact over up to 4,096 hospitals.

    Short stretches are added pairwise by numpy and those sums exactly, so the error does not grow with the number of rows.
    """
    stretches = np.add.reduceat(values, np.arange(0, len(values), 256)) if len(values) else values
    rest = math.fsum(stretches.tolist())
    digits = []
    for unit in _UNITS[:-1]:
        digit = float(math.trunc(rest / unit))
        digits.append(digit)
        rest -= digit * unit
    return [*digits, rest / _UNITS[-1]]


def fold(digits: Sequence[float]) -> float:
    """The sum again, from the added digits."""
    return math.fsum(digit * unit for digit, unit in zip(digits, _UNITS, strict=True))


def too_large(values: NDArray[np.float64]) -> bool:
    """Whether a value is infinite or beyond anything measured; NaN, which is missing, is not."""
    return bool(np.any(np.abs(values) > LARGEST))


class Reader:
    """Reads a total in the order in which `local` wrote it, and insists at the end that nothing is left."""

    def __init__(self, total: Sequence[float]) -> None:
        self._total = total
        self._at = 0

    def many(self, count: int) -> list[float]:
        self._at += count
        if self._at > len(self._total):
            raise ValueError("the total is shorter than this step of the method writes")
        return [float(value) for value in self._total[self._at - count : self._at]]

    def one(self) -> float:
        return self.many(1)[0]

    def count(self) -> int:
        """A number of people or rows; whole by nature, so the fixed point carries it exactly. `Tampered` for what no people can be."""
        value = self.one()
        if value < 0 or value != math.floor(value) or value >= 2**53:
            raise Tampered("the hospitals' shares add up to a number of people that there cannot be: one of them is wrong")
        return int(value)

    def flag(self) -> bool:
        """True where at least one hospital raised it."""
        return self.one() > 0.5

    def wide(self) -> float:
        return fold(self.many(WIDTH))

    def squares(self) -> float:
        """A wide sum of what is never negative. `Tampered` where it is."""
        value = self.wide()
        if value < 0:
            raise Tampered("the hospitals' shares add up to squares that are negative: one of them is wrong")
        return value

    def rows(self, *, people: int) -> int:
        """How many rows these people have. `Tampered` where somebody would have none."""
        value = self.count()
        if value < people:
            raise Tampered("the hospitals' shares add up to fewer rows than people: one of them is wrong")
        return value

    def end(self) -> None:
        if self._at != len(self._total):
            raise ValueError("the total is longer than this step of the method writes")
