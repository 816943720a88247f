"""Re-identification: the three attackers of El Emam and how often each would be right.

Prosecutor: knows that the person is in the table. Journalist: does not, and wants any one person. Marketer: wants as many as possible.
Definitions: K. El Emam, Guide to the De-Identification of Personal Health Information (CRC, 2013), chapters 14-16; a class is the rows
that are equal in all quasi columns (Sweeney 2002, k-anonymity), f its size in the table, F in the population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import hyp2f1

from pumasi.deid.risk.classes import Floats, Ints

THRESHOLDS = (0.05, 0.09, 0.2, 0.33, 0.5)
"""What boards ask for: 0.09 for public release (EMA policy 0070, Health Canada), 0.2 to 0.33 for controlled access."""

BANDS = (1, 2, 3, 5, 10, 20, 100)
"""Class sizes at which the bands of the report begin: 1, 2, 3-4, 5-9, 10-19, 20-99, 100 and more."""


SERIES = 200  # terms: k! f! / (f + k)! is below 1e-25 after them


@dataclass(frozen=True)
class Reidentification:
    """Probabilities between 0 and 1, and counts of rows or classes."""

    rows: int
    classes: int
    k: int
    uniques: int
    average_risk: float
    prosecutor: float
    journalist: float
    marketer: float
    above: tuple[tuple[float, int], ...]
    bands: tuple[tuple[int, int], ...]


def reidentification(sizes: Ints, *, journalist: float | None = None, marketer: float | None = None) -> Reidentification:
    """The measures of a table by its class sizes.

    k: the smallest class. uniques: rows alone in their class. average_risk: classes / rows, the mean of 1/f over the rows. prosecutor:
    the largest 1/f. Without a population the table itself is taken for it, so `journalist` is the prosecutor's risk and `marketer` the
    average one; both are then upper bounds. above: rows whose 1/f is above each threshold. bands: rows by size of their class.
    """
    rows, count = int(sizes.sum()), len(sizes)
    k = int(sizes.min())
    edges = np.array(BANDS)
    band = np.bincount(np.searchsorted(edges, sizes, side="right") - 1, weights=sizes, minlength=len(BANDS))
    return Reidentification(
        rows=rows,
        classes=count,
        k=k,
        uniques=int(np.count_nonzero(sizes == 1)),
        average_risk=count / rows,
        prosecutor=1 / k,
        journalist=1 / k if journalist is None else journalist,
        marketer=count / rows if marketer is None else marketer,
        above=tuple((limit, above(sizes, limit)) for limit in THRESHOLDS),
        bands=tuple((edge, int(number)) for edge, number in zip(BANDS, band, strict=True)),
    )


def above(sizes: Ints, threshold: float) -> int:
    """The rows whose 1/f is above the threshold."""
    return int(sizes[sizes * threshold < 1].sum())


def expected_risk(sizes: Ints, fraction: float) -> Floats:
    """E(1/F | f) of each class, when the table is a random sample of this fraction of its population.

    F given f is negative binomial (f, fraction): R. Benedetti, L. Franconi (1998), Statistical and technological solutions for controlled
    data dissemination, NTTS'98; as the estimator of marketer risk: F. K. Dankar, K. El Emam (2010), A method for evaluating marketer
    re-identification risk, PAIS'10. With p = fraction it is p^f / f * 2F1(f, f; f + 1; 1 - p), here by Euler's transformation
    p / f * 2F1(1, 1; f + 1; 1 - p), which does not overflow. At fraction 1 it is 1/f.
    """
    if fraction >= 1:
        certain: Floats = 1 / sizes
        return certain
    size, place = np.unique(sizes, return_inverse=True)
    terms = (np.arange(SERIES)[None, :] + 1) / (size[:, None] + 1 + np.arange(SERIES)[None, :]) * (1 - fraction)
    series = 1 + np.cumprod(terms, axis=1).sum(axis=1)
    few = size < 20  # the series of these converges slowly, and scipy's function fails for large ones
    series[few] = hyp2f1(1.0, 1.0, size[few] + 1.0, 1 - fraction)
    risk: Floats = (fraction / size * series)[place]
    return risk


def of_population(sizes: Ints, population: Sequence[int] | Ints) -> tuple[float, float]:
    """Journalist and marketer risk when each class's size F in the population is known: the largest 1/F, and their mean over the rows."""
    known = np.asarray(population, dtype=np.float64)
    return float(1 / known.min()), float((sizes / known).sum() / sizes.sum())
