"""A model of a two-valued outcome on categories alone is a table in disguise: its coefficients say how many had the outcome in each cell.

So every cell that such a model can give away is counted first: for each term every combination of its levels, the reference included, on
either side of the outcome. Below the smallest cell the model is refused; otherwise the counts go with the result as `implied_counts`, to be
treated like any other published count.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pumasi.analysis.matrix import Cases


@dataclass(frozen=True)
class Cell:
    """One combination: for each column a level, or None for none of the levels that the term names (the reference)."""

    columns: tuple[str, ...]
    levels: tuple[str | None, ...]
    named: tuple[tuple[str, ...], ...]

    def holds(self, cases: Cases) -> NDArray[np.bool_]:
        inside = np.ones(cases.rows, dtype=bool)
        for column, level, named in zip(self.columns, self.levels, self.named, strict=True):
            if level is not None:
                inside &= cases.factors[column, level].astype(bool)
            else:
                for other in named:
                    inside &= ~cases.factors[column, other].astype(bool)
        return inside


@dataclass(frozen=True)
class Side:
    """One side of a two-valued column that enters as a number."""

    index: int
    above: bool


def categorical(column: dict[str, Any]) -> bool:
    return all("level" in factor for factor in column["factors"])


def cells(design: dict[str, Any]) -> list[Cell | Side]:
    """Every cell that the design can give away, in a fixed order that depends on the design alone."""
    terms: dict[tuple[str, ...], list[dict[str, str]]] = {}
    found: list[Cell | Side] = []
    for index, column in enumerate(design["columns"]):
        if not column["factors"]:
            continue
        if categorical(column):
            key = tuple(factor["column"] for factor in column["factors"])
            terms.setdefault(key, []).append({factor["column"]: factor["level"] for factor in column["factors"]})
        else:
            found += [Side(index=index, above=True), Side(index=index, above=False)]
    for columns, combinations in terms.items():
        named = tuple(tuple(dict.fromkeys(levels[column] for levels in combinations)) for column in columns)
        for chosen in itertools.product(*((*levels, None) for levels in named)):
            found.append(Cell(columns=columns, levels=chosen, named=named))
    return found


def local_counts(cases: Cases, design: dict[str, Any], *, means: list[float], high: NDArray[np.bool_]) -> list[float]:
    """People with the higher and people with the lower outcome, for each cell in turn."""
    counts: list[float] = []
    for cell in cells(design):
        if isinstance(cell, Side):
            above = cases.column(design["columns"][cell.index]["factors"]) > means[cell.index]
            inside = above if cell.above else ~above
        else:
            inside = cell.holds(cases)
        counts += [cases.frame.people(inside & high), cases.frame.people(inside & ~high)]
    return counts


def refusals(counts: list[int], design: dict[str, Any], *, smallest_cell: int) -> list[str]:
    """A sentence for each term with too small a cell. A cell that holds nobody at all is no cell: the reference of a full coding is one."""
    reasons = []
    for cell, high, low in zip(cells(design), counts[::2], counts[1::2], strict=True):
        if high + low > 0 and min(high, low) < smallest_cell:
            what = design["columns"][cell.index]["name"] if isinstance(cell, Side) else " and ".join(cell.columns)
            reasons.append(
                f"every predictor has only levels, so the model is a table in disguise, and in the table of '{what}' by "
                f"'{design['outcome']}' a cell has fewer people than the smallest cell allows; merge levels, or leave '{what}' out"
            )
    return list(dict.fromkeys(reasons))


def implied(counts: list[int], design: dict[str, Any], *, outcome: tuple[int, int]) -> list[dict[str, Any]]:
    """The counts behind each design column (the intercept: everybody), by outcome: outcome1 is the higher value of the two."""
    by_cell = dict(zip(cells(design), zip(counts[::2], counts[1::2], strict=True), strict=True))
    found: dict[Any, tuple[int, int]] = {}
    for cell, pair in by_cell.items():
        if isinstance(cell, Side):
            if cell.above:
                found[cell.index] = pair
        else:
            found[tuple(zip(cell.columns, cell.levels, strict=True))] = pair
    result = []
    for index, column in enumerate(design["columns"]):
        key: Any = tuple((factor["column"], factor["level"]) for factor in column["factors"]) if categorical(column) else index
        high, low = found[key] if column["factors"] else outcome
        result.append({"column": column["name"], "outcome1": high, "outcome0": low})
    return result
