"""What somebody who knows every published number can conclude about the others, with a linear program.

Published numbers are equations over numbers of people, and no number of people is negative (Fischetti and Salazar, Management Science
47, 2001). Limit: that people are whole is used only by rounding the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pumasi.analysis.population import Array, Equation, Sum

ROUNDING = 1e-4  # far above the solver's own error, far below a person


class View:
    """One moment's knowledge: the equations solved as far as they go by hand, the rest split into parts that share no unknown."""

    def __init__(self, size: int, equations: Sequence[Equation], *, joined: Sequence[Sum], ceiling: float) -> None:
        from scipy import sparse

        self._ceiling = ceiling
        matrix = stack([equation.sum for equation in equations], size)
        low, high = (np.array([getattr(equation, side) for equation in equations], dtype=float) for side in ("low", "high"))
        self.values = _substitute(matrix, low, high)
        self.open: Array = np.flatnonzero(np.isnan(self.values))
        rest = matrix[:, self.open]
        gone = matrix @ np.nan_to_num(self.values)
        left = np.diff(rest.tocsr().indptr)
        kept = np.flatnonzero(left)
        checked = left == 0
        self._possible = bool(
            np.all(low[checked] <= gone[checked] + ROUNDING)
            and np.all(high[checked] >= gone[checked] - ROUNDING)
            and np.nanmin(self.values, initial=0.0) >= -ROUNDING
        )
        self._matrix, self._low, self._high = rest[kept], (low - gone)[kept], (high - gone)[kept]
        everything = sparse.vstack([self._matrix, stack(joined, size)[:, self.open]]).tocsr()
        labels = sparse.csgraph.connected_components(sparse.block_array([[None, everything], [everything.T, None]]))[1]
        self.part: Array = labels[everything.shape[0] :]
        self._rows: Array = labels[: len(kept)]

    def touched(self, sum: Sum) -> list[int]:
        """The parts that a sum has unknowns in."""
        return sorted({int(part) for part in self.part[np.isin(self.open, sum.at)]})

    def rows_of(self, part: int) -> tuple[Any, Array, Array, Array]:
        """Matrix, lower and upper ends of one part, and the unknowns that it is about."""
        rows, columns = np.flatnonzero(self._rows == part), np.flatnonzero(self.part == part)
        return self._matrix[rows][:, columns], self._low[rows], self._high[rows], self.open[columns]

    def furthest(self, weights: Array, *, start: Array | None) -> Array | None:
        """A possible world in which `weights @ world` is largest, like `start` where the weights have no say; None when there is none."""
        if not self._possible:
            return None
        world = np.zeros(len(self.values)) if start is None else start.copy()
        world[~np.isnan(self.values)] = self.values[~np.isnan(self.values)]
        for part in range(int(self.part.max(initial=-1)) + 1):
            matrix, low, high, unknowns = self.rows_of(part)
            if start is not None and not weights[unknowns].any():
                continue
            solution = solve(-weights[unknowns], matrix, low, high, ceiling=self._ceiling)
            if solution is None:
                return None
            world[unknowns] = solution
        return world


def stack(sums: Sequence[Sum], size: int) -> Any:
    """The sums as rows of a sparse matrix."""
    from scipy import sparse

    lengths = [len(sum.at) for sum in sums]
    at = np.concatenate([sum.at for sum in sums]) if sums else np.empty(0, dtype=np.intp)
    weights = np.concatenate([sum.weights for sum in sums]) if sums else np.empty(0)
    return sparse.csr_array((weights, (np.repeat(np.arange(len(sums)), lengths), at)), shape=(len(sums), size))


def solve(costs: Array, matrix: Any, low: Array, high: Array, *, ceiling: float) -> Array | None:
    """The cheapest x between 0 and `ceiling` with low <= matrix @ x <= high; None when there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    constraints = [LinearConstraint(matrix, low, high)] if matrix.shape[0] else []
    answer = milp(costs, bounds=Bounds(0, ceiling), constraints=constraints, options={"presolve": False})
    return np.asarray(answer.x) if answer.status == 0 else None


def whole(low: Array, high: Array) -> Array:
    """How many whole numbers apart two bounds are."""
    return np.asarray(np.floor(high + ROUNDING) - np.ceil(low - ROUNDING))


def _substitute(matrix: Any, low: Array, high: Array) -> Array:
    """The unknowns that follow one by one: the only one left in an equation, or all of a sum of nothing. NaN where none does."""
    values = np.full(matrix.shape[1], np.nan)
    exact = low == high
    positive = np.asarray(matrix.minimum(0).sum(axis=1)).ravel() == 0
    while True:
        unknown = np.isnan(values)
        pattern = matrix.multiply(unknown).tocsr()
        pattern.eliminate_zeros()
        left = np.diff(pattern.indptr)
        rest = low - matrix @ np.nan_to_num(values)
        single = np.flatnonzero(exact & (left == 1))
        nothing = np.flatnonzero(exact & positive & (left > 0) & (np.abs(rest) < ROUNDING))
        if not len(single) and not len(nothing):
            return values
        for row in nothing:
            values[pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]] = 0.0
        for row in single:
            values[pattern.indices[pattern.indptr[row]]] = rest[row] / pattern.data[pattern.indptr[row]]
