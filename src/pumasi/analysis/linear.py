"""Small symmetric systems: a Cholesky factorisation with pivoting that says which columns depend on which, and many systems at once.

The same information matrix must give the same step, bit for bit, at every hospital, whatever linear algebra library its machine has; that
is what lets the nodes recompute each other's states. `factor` adds products by `math.fsum`, which is exactly rounded; `solve` has numpy
work element by element, in an order that is written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A column whose variance is explained by the others up to this share counts as dependent. One over it is the loss of digits:
# 1e-10 leaves six certain digits of a coefficient, and less would not be worth printing.
DEPENDENT = 1e-10


@dataclass(frozen=True)
class Factor:
    """`order[i]` is the column that came i-th; `rows[i]` the i-th row of the triangle for it, of the matrix scaled to a unit diagonal."""

    order: list[int]
    rows: list[list[float]]
    scale: list[float]
    dependent: list[list[int]]

    def solve(self, right: Sequence[float]) -> list[float]:
        """x with A x = right. Only for a matrix without dependent columns."""
        half = self._forward(right)
        size = len(half)
        solved = [0.0] * size
        for i in reversed(range(size)):
            known = math.fsum(self.rows[k][i] * solved[k] for k in range(i + 1, size))
            solved[i] = (half[i] - known) / self.rows[i][i]
        result = [0.0] * size
        for place, column in enumerate(self.order):
            result[column] = solved[place] / self.scale[column]
        return result

    def quadratic(self, vector: Sequence[float]) -> float:
        """v' A^-1 v as a sum of squares, so that it cannot come out negative."""
        return math.fsum(value * value for value in self._forward(vector))

    def _forward(self, right: Sequence[float]) -> list[float]:
        half: list[float] = []
        for row, column in zip(self.rows, self.order, strict=True):
            half.append((right[column] / self.scale[column] - math.fsum(map(mul, row, half))) / row[-1])
        return half


def factor(matrix: Sequence[Sequence[float]]) -> Factor:
    """Factor a symmetric non-negative matrix, largest remaining variance first. `dependent` groups columns that depend on each other."""
    size = len(matrix)
    scale = [math.sqrt(max(matrix[i][i], 0.0)) for i in range(size)]
    dependent = [[i] for i in range(size) if scale[i] == 0.0]
    left = [i for i in range(size) if scale[i] > 0.0]
    triangle: dict[int, list[float]] = {i: [] for i in left}
    remaining = dict.fromkeys(left, 1.0)
    order: list[int] = []
    while left:
        pivot = max(left, key=lambda column: remaining[column])
        if remaining[pivot] < DEPENDENT:
            break
        left.remove(pivot)
        root = math.sqrt(remaining[pivot])
        for column in left:
            entry = matrix[column][pivot] / (scale[column] * scale[pivot])
            value = (entry - math.fsum(map(mul, triangle[column], triangle[pivot]))) / root
            triangle[column].append(value)
            remaining[column] = 1.0 - math.fsum(part * part for part in triangle[column])
        triangle[pivot].append(root)
        order.append(pivot)
    dependent += [_dependence(triangle, order=order, column=column) for column in left]
    return Factor(order=order, rows=[triangle[column] for column in order], scale=scale, dependent=dependent)


def solutions(matrices: Sequence[NDArray[np.float64]], rights: Sequence[Sequence[float]]) -> list[list[float] | None]:
    """x with A x = right for each of these systems, those of one size at once; None where A has dependent columns."""
    found: dict[int, list[float] | None] = {}
    for size in {len(right) for right in rights}:
        places = [place for place, right in enumerate(rights) if len(right) == size]
        solved, dependent = solve(np.array([matrices[place] for place in places]), np.array([rights[place] for place in places]))
        found |= {place: None if dependent[at] else solved[at].tolist() for at, place in enumerate(places)}
    return [found[place] for place in range(len(rights))]


@np.errstate(over="raise", divide="raise", invalid="raise")
def solve(matrices: NDArray[np.float64], rights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """x with A x = right for each of many systems of one size (systems x size x size), and which A has dependent columns; there x means
    nothing. The same pivots as `factor` takes, but for rounding. `FloatingPointError` for numbers that no information can have.

    One addition, multiplication, division or root per element and step, each rounded as IEEE 754 says on every machine: no sum whose
    order numpy chooses, no product of matrices, nothing that BLAS or a fused multiply-add could round in another way.
    """
    systems, size = rights.shape
    each, diagonal = np.arange(systems), np.arange(size)
    scale = np.sqrt(np.maximum(matrices[:, diagonal, diagonal], 0.0))
    dependent = np.any(scale == 0.0, axis=1)
    scale = np.where(scale == 0.0, 1.0, scale)
    left, right = matrices / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :]), rights / scale
    waiting = np.ones((systems, size), dtype=bool)
    columns, halves, pivots = np.zeros((size, systems, size)), np.zeros((size, systems)), np.zeros((size, systems), dtype=np.intp)
    for step in range(size):  # eliminate the column of the largest remaining variance
        remaining = np.where(waiting, left[:, diagonal, diagonal], -1.0)
        pivot = np.argmax(remaining, axis=1)
        variance = remaining[each, pivot]
        dependent |= variance < DEPENDENT
        root = np.sqrt(np.where(variance < DEPENDENT, 1.0, variance))
        column = np.where(waiting & ~dependent[:, np.newaxis], left[each, :, pivot] / root[:, np.newaxis], 0.0)
        column[each, pivot] = root
        halves[step] = right[each, pivot] / root
        right = right - column * halves[step][:, np.newaxis]
        left -= column[:, :, np.newaxis] * column[:, np.newaxis, :]
        waiting[each, pivot] = False
        columns[step], pivots[step] = column, pivot
    solved = np.zeros((systems, size))
    for step in reversed(range(size)):
        found = halves[step] / columns[step, each, pivots[step]]
        solved[each, pivots[step]] = found
        halves[:step] -= columns[:step, each, pivots[step]] * found
    return solved / scale, dependent


def _dependence(triangle: dict[int, list[float]], *, order: list[int], column: int) -> list[int]:
    """The column together with those that it is a combination of."""
    weights = [0.0] * len(order)
    for i in reversed(range(len(order))):
        known = math.fsum(triangle[order[k]][i] * weights[k] for k in range(i + 1, len(order)))
        weights[i] = (triangle[column][i] - known) / triangle[order[i]][i]
    # weights of standardised columns: what is this small is rounding
    return sorted([column, *(order[i] for i in range(len(order)) if abs(weights[i]) > 1e-4)])
