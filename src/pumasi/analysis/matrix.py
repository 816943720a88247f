"""A plain design evaluated on one hospital's rows: complete cases, the outcome, and each column as a product of its factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis.frame import OUTSIDE, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Rows at a time when products of columns are summed, so that memory does not grow with the hospital.
BLOCK = 8_192


def levels_used(design: dict[str, Any]) -> dict[str, list[str]]:
    """For each column that the design uses as a category, the levels that it names, in order."""
    used: dict[str, list[str]] = {}
    for column in design["columns"]:
        for factor in column["factors"]:
            if "level" in factor and factor["level"] not in used.setdefault(factor["column"], []):
                used[factor["column"]].append(factor["level"])
    return used


def numbers_used(design: dict[str, Any]) -> list[str]:
    """The columns that the design uses as numbers."""
    return list(dict.fromkeys(one["column"] for column in design["columns"] for one in column["factors"] if "level" not in one))


def outside(frame: Frame, design: dict[str, Any]) -> list[float]:
    """1.0 for each category column of the design in which this hospital has a value that nobody agreed to."""
    found = []
    for name in levels_used(design):
        codes = frame.column(name).codes
        found.append(float(codes is not None and bool(np.any(codes == OUTSIDE))))
    return found


@dataclass(frozen=True)
class Cases:
    """The rows that have a value in every column of the design and in the columns `beside` it.

    `factors` holds numbers under (column, None) and levels as booleans.
    """

    frame: Frame
    outcome: NDArray[np.float64]
    factors: dict[tuple[str, str | None], NDArray[np.float64] | NDArray[np.bool_]]
    beside: dict[str, NDArray[np.float64]]
    kept: NDArray[np.bool_]  # of the table's rows, those that are here

    @property
    def rows(self) -> int:
        return len(self.outcome)

    def number(self, name: str) -> NDArray[np.float64]:
        return self.factors[name, None].astype(np.float64)

    def column(self, factors: list[dict[str, str]], *, within: slice = slice(None)) -> NDArray[np.float64]:
        """One design column: the product of its factors, 1 for the intercept."""
        if not factors:
            return np.ones(len(self.outcome[within]))
        first, *others = [self.factors[factor["column"], factor.get("level")][within] for factor in factors]
        values = first.astype(np.float64)
        with np.errstate(over="ignore", under="ignore"):
            for other in others:
                values *= other
        return values

    def matrix(
        self, columns: list[dict[str, Any]], *, centres: list[float], scales: list[float], within: slice = slice(None)
    ) -> NDArray[np.float64]:
        """The centred and scaled design matrix."""
        matrix = np.empty((len(self.outcome[within]), len(columns)), order="F")
        for place, column in enumerate(columns):
            matrix[:, place] = (self.column(column["factors"], within=within) - float(centres[place])) / float(scales[place])
        return matrix

    def blocks(
        self, columns: list[dict[str, Any]], *, centres: list[float], scales: list[float]
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """(which rows, their matrix), some rows at a time."""
        for begin in range(0, self.rows, BLOCK):
            within = slice(begin, begin + BLOCK)
            yield within, self.matrix(columns, centres=centres, scales=scales, within=within)


def complete_cases(frame: Frame, design: dict[str, Any], *, beside: Sequence[str] = ()) -> Cases:
    """Leave out every row with a missing value, as a pooled fit would."""
    outcome = frame.numbers(design["outcome"])
    used = levels_used(design)
    codes = {name: frame.codes(name, used[name]) for name in used}
    keep = ~np.isnan(outcome)
    factors: dict[tuple[str, str | None], NDArray[np.float64] | NDArray[np.bool_]] = {}
    for column in design["columns"]:
        for factor in column["factors"]:
            name, level = factor["column"], factor.get("level")
            if (name, level) in factors:
                continue
            if level is None:
                factors[name, None] = frame.numbers(name)
                keep &= ~np.isnan(frame.numbers(name))
            else:
                factors[name, level] = codes[name] == used[name].index(level)
                keep &= frame.present(name)
    numbers = {name: frame.numbers(name) for name in beside}
    for values in numbers.values():
        keep &= ~np.isnan(values)
    return Cases(
        frame=Frame(persons=frame.persons[keep], columns={}),
        outcome=outcome[keep],
        factors={key: values[keep] for key, values in factors.items()},
        beside={name: values[keep] for name, values in numbers.items()},
        kept=keep,
    )
