"""Tests and intervals from numbers that are published anyway, so that they tell nothing more. None where such a number is missing.

Only `finish` of a method calls these, outside the sandbox: scipy is imported when one is needed. All p-values are two-sided, all intervals
95 per cent. They take people as independent; methods leave them out where people have several rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The 97.5 % quantile of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True)
class Sample:
    """People of a group, and the mean and sd (divisor n - 1) of what is compared."""

    n: int
    mean: float
    sd: float

    @property
    def error(self) -> float:
        """Squared standard error of the mean."""
        return self.sd**2 / self.n


def chi_square(counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Pearson's test that rows and columns of a table are independent, without continuity correction; Cramér's V goes from 0 to 1.

    Where `smallest_expected` is under 5 the p-value is a rough one (Cochran, Biometrics 10, 1954).
    """
    rows, columns = len(counts), len(counts[0]) if counts else 0
    if rows < 2 or columns < 2:
        return dict.fromkeys(("chi_square", "df", "p", "cramers_v", "smallest_expected"))
    from scipy.special import chdtrc

    across, down = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    whole = sum(across)
    expected = [[one * other / whole for other in down] for one in across]
    statistic = math.fsum(
        (seen - wanted) ** 2 / wanted
        for row, expectations in zip(counts, expected, strict=True)
        for seen, wanted in zip(row, expectations, strict=True)
    )
    df = (rows - 1) * (columns - 1)
    return {
        "chi_square": statistic,
        "df": df,
        "p": float(chdtrc(df, statistic)),
        "cramers_v": math.sqrt(statistic / (whole * (min(rows, columns) - 1))),
        "smallest_expected": min(min(row) for row in expected),
    }


def t_test(one: Sample, other: Sample, *, equal: bool) -> dict[str, float] | None:
    """Difference of two means (`other` less `one`): Student's test if variances are `equal`, else Welch's (Biometrika 34, 1947)."""
    from scipy.special import stdtr, stdtrit

    if equal:
        df = float(one.n + other.n - 2)
        pooled = ((one.n - 1) * one.sd**2 + (other.n - 1) * other.sd**2) / df
        error = math.sqrt(pooled * (1 / one.n + 1 / other.n))
    else:
        error = math.sqrt(one.error + other.error)
        parts = one.error**2 / (one.n - 1) + other.error**2 / (other.n - 1)
        df = error**4 / parts if parts > 0 else math.inf
    if error == 0:
        return None
    difference = other.mean - one.mean
    t, reach = difference / error, float(stdtrit(df, 0.975)) * error
    found = {"difference": difference, "low": difference - reach, "high": difference + reach}
    return found | {"statistic": t, "df": df, "p": 2 * float(stdtr(df, -abs(t)))}


def anova(samples: Sequence[Sample]) -> dict[str, float] | None:
    """One-way analysis of variance; `eta_squared` is the part of the squares that lies between the groups."""
    from scipy.special import fdtrc

    n, groups = sum(sample.n for sample in samples), len(samples)
    middle = math.fsum(sample.n * sample.mean for sample in samples) / n
    between = math.fsum(sample.n * (sample.mean - middle) ** 2 for sample in samples)
    within = math.fsum((sample.n - 1) * sample.sd**2 for sample in samples)
    df, rest = groups - 1, n - groups
    if within <= 0 or df < 1 or rest < 1:
        return None
    f = (between / df) / (within / rest)
    eta = between / (between + within)
    return {"statistic": f, "df": df, "df_residual": rest, "p": float(fdtrc(df, rest, f)), "eta_squared": eta}


def welch_anova(samples: Sequence[Sample]) -> dict[str, float] | None:
    """The same without taking the variances as equal (Welch, Biometrika 38, 1951)."""
    from scipy.special import fdtrc

    groups = len(samples)
    if groups < 2 or any(sample.error <= 0 for sample in samples):
        return None
    weights = [1 / sample.error for sample in samples]
    whole = math.fsum(weights)
    middle = math.fsum(weight * sample.mean for weight, sample in zip(weights, samples, strict=True)) / whole
    between = math.fsum(weight * (sample.mean - middle) ** 2 for weight, sample in zip(weights, samples, strict=True))
    uneven = math.fsum((1 - weight / whole) ** 2 / (sample.n - 1) for weight, sample in zip(weights, samples, strict=True))
    f = (between / (groups - 1)) / (1 + 2 * (groups - 2) / (groups**2 - 1) * uneven)
    rest = (groups**2 - 1) / (3 * uneven)
    return {"statistic": f, "df": groups - 1, "df_residual": rest, "p": float(fdtrc(groups - 1, rest, f))}


def difference_of_means(one: Sample, other: Sample) -> float | None:
    """Standardised: in units of the square root of the mean of both variances (Austin, Statistics in Medicine 28, 2009)."""
    spread = math.sqrt((one.sd**2 + other.sd**2) / 2)
    return (other.mean - one.mean) / spread if spread > 0 else None


def difference_of_shares(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Standardised difference of two distributions over the same levels: a Mahalanobis distance, never negative.

    Yang and Dalton, SAS Global Forum 2012, paper 335; of two levels it is Austin's, without sign.
    """
    import numpy as np

    p, q = (np.array(counts, dtype=float) / sum(counts) for counts in (one, other))
    apart = (q - p)[1:]
    spread = sum((np.diag(shares) - np.outer(shares, shares)) for shares in (p[1:], q[1:])) / 2
    if len(apart) == 0 or np.linalg.matrix_rank(spread) < len(apart):
        return None
    return float(math.sqrt(max(0.0, float(apart @ np.linalg.solve(spread, apart)))))


def correlation(r: float, n: int) -> dict[str, float] | None:
    """Fisher's interval (Metron 1, 1921) and the t test that there is no correlation."""
    from scipy.special import stdtr

    if n < 4 or abs(r) >= 1:
        return None
    middle, reach = math.atanh(r), Z / math.sqrt(n - 3)
    t = r * math.sqrt((n - 2) / (1 - r * r))
    return {"low": math.tanh(middle - reach), "high": math.tanh(middle + reach), "p": 2 * float(stdtr(n - 2, -abs(t)))}


def share(count: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a proportion (Journal of the American Statistical Association 22, 1927)."""
    p, square = count / n, Z * Z
    middle = (p + square / (2 * n)) / (1 + square / n)
    reach = Z * math.sqrt(p * (1 - p) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)
