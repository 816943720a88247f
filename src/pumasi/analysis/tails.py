"""Tail probabilities in plain Python, so that every node publishes the same p-values without a numeric library."""

from __future__ import annotations

import math


def chi_square(statistic: float, freedom: int) -> float:
    """The chance of at least this chi-square with a whole number of degrees of freedom (Abramowitz and Stegun, 26.4.4 and 26.4.5)."""
    if freedom < 1:
        raise ValueError("a chi-square has at least one degree of freedom")
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    # each term is the one before it times half / index, all scaled by exp(-half)
    tail = math.erfc(math.sqrt(half)) if freedom % 2 else 0.0
    index = 0.5 if freedom % 2 else 0.0
    terms = []
    while index < freedom / 2 - 0.25:
        terms.append(math.exp(index * math.log(half) - half - math.lgamma(index + 1)))
        index += 1
    return min(1.0, tail + math.fsum(terms))


def two_sided(z: float) -> float:
    """The chance of a normal deviate at least as far from zero."""
    return math.erfc(abs(z) / math.sqrt(2))
