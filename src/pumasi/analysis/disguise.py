"""A model of a two-valued outcome on categories alone is a table in disguise: its coefficients say how many had the outcome in each cell.

A number column of two values is such a category too. No hospital can know how many values a column has over all of them, so each says
whether it has seen more than two, and the squares about the mean, which only two values can have, settle it. Then every cell that such a
model can give away is counted first: for each term every combination of its levels, the reference included, on either side of the
outcome. Below the smallest cell the model is refused; otherwise the counts go with the result as `implied_counts`, to be treated like any
other published count.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import sums
from pumasi.analysis.matrix import numbers_used
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pumasi.analysis.matrix import Cases

SMALL_CELL = Refusal(
    "count-in-disguise",
    "every predictor has only levels, so the model is a table in disguise, and in the table of {} by '{}' a cell has fewer people than the "
    "smallest cell allows; merge levels, or leave {} out",
)

# A level; None for none of the levels that the term names (the reference); of a number column True for the higher value.
Choice = str | bool | None


@dataclass(frozen=True)
class Cell:
    """One combination of a term: for each of its columns a choice, and the levels that the term names."""

    columns: tuple[str, ...]
    choices: tuple[Choice, ...]
    named: tuple[tuple[Choice, ...], ...]

    def holds(self, cases: Cases, high: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        inside = np.ones(cases.rows, dtype=bool)
        for column, choice, named in zip(self.columns, self.choices, self.named, strict=True):
            if isinstance(choice, bool):
                inside &= high[column] == choice
            elif choice is not None:
                inside &= cases.factors[column, choice].astype(bool)
            else:
                for level in named:
                    inside &= ~cases.factors[column, str(level)].astype(bool)
        return inside


def _choices(column: dict[str, Any]) -> tuple[Choice, ...]:
    return tuple(factor.get("level", True) for factor in column["factors"])


def cells(design: dict[str, Any]) -> list[Cell]:
    """Every cell that the design can give away, in a fixed order that depends on the design alone."""
    terms: dict[tuple[str, ...], list[tuple[Choice, ...]]] = {}
    for column in design["columns"]:
        if column["factors"]:
            terms.setdefault(tuple(factor["column"] for factor in column["factors"]), []).append(_choices(column))
    found = []
    for columns, combinations in terms.items():
        named = tuple(tuple(dict.fromkeys(choices)) for choices in zip(*combinations, strict=True))
        open_to = [(True, False) if choices == (True,) else (*choices, None) for choices in named]
        found += [Cell(columns=columns, choices=chosen, named=named) for chosen in itertools.product(*open_to)]
    return found


def local_counts(cases: Cases, design: dict[str, Any], *, means: list[float], outcome_mean: float) -> list[float]:
    """What tells the two values of each number column and of the outcome; then for each cell people with the higher and lower outcome."""
    partial: list[float] = []
    high: dict[str, NDArray[np.bool_]] = {}
    numbers = {name: cases.number(name) for name in numbers_used(design)} | {design["outcome"]: cases.outcome}
    for (name, values), mean in zip(numbers.items(), [*means, outcome_mean], strict=True):
        high[name] = values > float(mean)
        for side in (values[high[name]], values[~high[name]]):
            partial += [len(side), *sums.wide(side)]
        partial += sums.wide((values - float(mean)) ** 2)
    event = high[design["outcome"]]
    for cell in cells(design):
        inside = cell.holds(cases, high)
        partial += [cases.frame.people(inside & event), cases.frame.people(inside & ~event)]
    return partial


@dataclass(frozen=True)
class Counts:
    """What `local_counts` add up to. `table`: each number column and the outcome has two values indeed; `higher` is the higher one."""

    table: bool
    higher: dict[str, float]
    cells: list[tuple[Cell, int, int]]


def read(reader: sums.Reader, design: dict[str, Any], *, means: list[float], outcome_mean: float) -> Counts:
    """Also right for the share of one hospital, which may lie on one side of the federated mean."""
    table, higher = True, {}
    for name, mean in zip([*numbers_used(design), design["outcome"]], [*means, outcome_mean], strict=True):
        sides = [(reader.count(), reader.wide()) for _ in ("above", "below")]
        # if every value is that of its side, these are the squares about the mean
        two = math.fsum(rows * (total / rows - mean) ** 2 for rows, total in sides if rows)
        table &= math.isclose(two, reader.wide(), rel_tol=1e-9)
        rows, total = sides[0]
        higher[name] = total / rows if rows else mean
    return Counts(table=table, higher=higher, cells=[(cell, reader.count(), reader.count()) for cell in cells(design)])


def refusals(counts: Counts, design: dict[str, Any], *, smallest_cell: int) -> list[Refusal]:
    """A sentence for each term with too small a cell. A cell that holds nobody at all is no cell: the reference of a full coding is one."""
    reasons = []
    for cell, high, low in counts.cells:
        if high + low > 0 and min(high, low) < smallest_cell:
            what = " and ".join(f"'{column}'" for column in cell.columns)
            reasons.append(SMALL_CELL.about(what, design["outcome"], what))
    return list(dict.fromkeys(reasons))


def implied(counts: Counts, design: dict[str, Any], *, outcome: tuple[int, int], levels: list[str]) -> list[dict[str, Any]]:
    """The counts behind each design column (the intercept: everybody) with the outcome 1 and 0, which tables call by these `levels`;
    nothing if it is no table after all."""
    if not counts.table:
        return []
    found = {(cell.columns, cell.choices): (high, low) for cell, high, low in counts.cells}
    result = []
    for column in design["columns"]:
        key = (tuple(factor["column"] for factor in column["factors"]), _choices(column))
        high, low = found[key] if column["factors"] else outcome
        factors = [{"column": one["column"], "level": _level(one, counts)} for one in column["factors"]]
        named = {"column": column["name"], "factors": factors, "outcome": design["outcome"]}
        result.append(named | ({} if levels == ["0", "1"] else {"outcome_levels": levels}) | {"outcome1": high, "outcome0": low})
    return result


def _level(factor: dict[str, str], counts: Counts) -> str:
    """The level, or the higher of a number's two values as agreed levels are written: "1", "0.5"."""
    return factor["level"] if "level" in factor else f"{counts.higher[factor['column']]:.12g}"
