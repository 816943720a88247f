"""What a table is still good for after its treatment: information left in each column, relations between columns.

The rows of the two tables need not belong together, and values may be written otherwise (31 became 30-39), so that only what both
tables have by themselves is compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.engine import name
from pumasi.deid.reading import Table
from pumasi.deid.risk.classes import Floats, Joint
from pumasi.deid.risk.effects import coarser, entropy

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COLUMNS = 12
"""The most columns whose relations are compared, the first ones named."""


@dataclass(frozen=True)
class Kept:
    """A column before and after. `information`: entropy after / entropy before, the share that is left (1 - the loss of non-uniform
    entropy, A. Gionis, T. Tassa 2009); None for a column that said nothing before. `distance`: half the sum of differences between the
    shares of equal values, 0 the same and 1 nothing in common. Levels, missing shares, and quantiles of what is numbers before and after,
    rounded so that they are nobody's number."""

    column: str
    levels: tuple[int, int]
    missing: tuple[float, float]
    information: float | None
    distance: float
    quantiles: tuple[tuple[float, ...] | None, tuple[float, ...] | None]


@dataclass(frozen=True)
class Relations:
    """Cramer's V of every pair (bias-corrected: W. Bergsma 2013, J Korean Stat Soc 42, 323-328), numbers and dates in ten bands; 0 to 1."""

    columns: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def change(self) -> float:
        """The mean absolute difference over the pairs."""
        upper = np.triu_indices(len(self.columns), 1)
        return float(np.abs(self.before - self.after)[upper].mean()) if len(upper[0]) else 0.0


def kept(before: Table, after: Table) -> tuple[Kept, ...]:
    """Every column that both tables have, in the order of the first."""
    return tuple(_kept(before, after, one) for one in before.columns if one in after.columns)


def _kept(before: Table, after: Table, column: str) -> Kept:
    old, new = _levels(before, column), _levels(after, column)
    start, end = entropy(old.share), entropy(new.share)
    return Kept(
        column,
        (len(old.share), len(new.share)),
        (old.missing, new.missing),
        min(end / start, 1.0) if start > 0 else None,
        _distance(old, new),
        (_shown(old.quantiles), _shown(new.quantiles)) if old.quantiles and new.quantiles else (None, None),
    )


def _shown(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    """Quantiles to a hundredth of their spread, which is enough for a picture, and of a patient number leaves nobody's."""
    spread = quantiles[-1] - quantiles[0]
    if spread <= 0:
        return quantiles
    digits = 2 - math.floor(math.log10(spread))
    return tuple(round(one, digits) for one in quantiles)


@dataclass(frozen=True)
class _Levels:
    """The levels of a column as sorted hashes, their shares, and quantiles when all are numbers."""

    hashes: NDArray[np.uint64]
    share: Floats
    missing: float
    quantiles: tuple[float, ...] | None


def _levels(table: Table, column: str) -> _Levels:
    points = ", ".join(str(one) for one in QUANTILES)
    value = f"SELECT CAST({name(column)} AS VARCHAR) AS v FROM ({table.sql})"
    with table.explained():
        found = table.connection.execute(f"SELECT hash(v) AS h, count(*) AS n FROM ({value}) GROUP BY v ORDER BY h").fetchnumpy()
        row = table.connection.execute(
            f"SELECT count(v) > 0 AND count(v) = count(try_cast(v AS DOUBLE)), 1 - count(v) / count(*), "
            f"quantile_cont(try_cast(v AS DOUBLE), [{points}]) FROM ({value})"
        ).fetchone()
    numbers, missing, quantiles = row or (False, 0.0, None)
    count = np.asarray(found["n"], dtype=np.float64)
    known = tuple(float(one) for one in quantiles) if numbers and quantiles else None
    return _Levels(np.asarray(found["h"]), count / count.sum(), float(missing), known)


def _distance(old: _Levels, new: _Levels) -> float:
    """Half the sum of |difference| over all values that occur in either."""
    every, place = np.unique(np.r_[old.hashes, new.hashes], return_inverse=True)
    gap = np.bincount(place, weights=np.r_[old.share, -new.share], minlength=len(every))
    return float(0.5 * np.abs(gap).sum())


# --- relations ---


def relations(before: Joint, after: Joint) -> Relations:
    """Of the first twelve columns, the same in both."""
    return Relations(tuple(one.name for one in before.columns[:COLUMNS]), _associations(before), _associations(after))


def _associations(found: Joint) -> Floats:
    columns = found.columns[:COLUMNS]
    bands = [coarser(column)[code] if column.order is not None else code for column, code in zip(columns, found.codes, strict=False)]
    matrix = np.eye(len(columns))
    for one, other in combinations(range(len(columns)), 2):
        matrix[one, other] = matrix[other, one] = cramers_v(bands[one], bands[other], found.rows)
    return matrix


def cramers_v(one: NDArray[Any], other: NDArray[Any], weights: NDArray[Any]) -> float:
    """Bias-corrected Cramer's V of two numbered columns."""
    width = int(other.max()) + 1
    keys, place = np.unique(one.astype(np.int64) * width + other, return_inverse=True)
    cell = np.bincount(place, weights=weights)
    rows, columns = np.bincount(one, weights=weights), np.bincount(other, weights=weights)
    total = cell.sum()
    expected = rows[keys // width] * columns[keys % width] / total
    chi = float((cell**2 / expected).sum() - total)
    r, c = np.count_nonzero(rows), np.count_nonzero(columns)
    if total <= 1 or min(r, c) <= 1:
        return 0.0
    phi = max(0.0, chi / total - (r - 1) * (c - 1) / (total - 1))
    r, c = r - (r - 1) ** 2 / (total - 1), c - (c - 1) ** 2 / (total - 1)
    return float(min(1.0, np.sqrt(phi / max(min(r, c) - 1, 1e-12))))
