"""Small symmetric systems in plain Python: a Cholesky factorisation with pivoting that says which columns depend on which.

Products are added by `math.fsum`, which is exactly rounded. So the same information matrix gives the same step, bit for bit, at every
hospital, whatever linear algebra library its machine has; that is what lets the nodes recompute each other's states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _dependence(triangle: dict[int, list[float]], *, order: list[int], column: int) -> list[int]:
    """The column together with those that it is a combination of."""
    weights = [0.0] * len(order)
    for i in reversed(range(len(order))):
        known = math.fsum(triangle[order[k]][i] * weights[k] for k in range(i + 1, len(order)))
        weights[i] = (triangle[column][i] - known) / triangle[order[i]][i]
    # weights of standardised columns: what is this small is rounding
    return sorted([column, *(order[i] for i in range(len(order)) if abs(weights[i]) > 1e-4)])
