"""The rows one hospital's half of a method may see: permitted columns, people as dense codes, and nothing else.

Numbers are float64 with NaN for missing. A column with agreed levels carries `codes`, the index into `levels`; -1 is missing and -2 a value
that nobody agreed to. Several rows may belong to one person, so everything that limits disclosure counts people and never rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pumasi.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MISSING = -1
OUTSIDE = -2


@dataclass(frozen=True)
class Terms:
    """What the permits say about every answer, and between how many hospitals the sums are masked."""

    smallest_cell: int
    hospitals: int


@dataclass(frozen=True)
class Column:
    """One permitted column. A number column with agreed levels has both `numbers` and `codes`; booleans have the levels "False", "True"."""

    name: str
    numbers: NDArray[np.float64] | None
    codes: NDArray[np.int32] | None
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """One table at one hospital. `persons` has one code per row; two rows with one code belong to one person."""

    persons: NDArray[np.int64]
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        return len(self.persons)

    @cached_property
    def _dense(self) -> NDArray[np.intp]:
        return np.unique(self.persons, return_inverse=True)[1].reshape(-1)

    @cached_property
    def one_row_each(self) -> bool:
        """Whether nobody has several rows."""
        return self.rows == 0 or int(self._dense.max()) + 1 == self.rows

    def numbered(self, persons: NDArray[np.intp]) -> Frame:
        """The same rows under other codes for the people."""
        return Frame(persons=persons.astype(np.int64), columns=self.columns)

    def having(self, columns: Iterable[str]) -> Frame:
        """These columns alone."""
        return Frame(persons=self.persons, columns={name: self.column(name) for name in columns})

    def only(self, rows: NDArray[np.bool_]) -> Frame:
        """The rows that are True in `rows`; people keep their codes."""
        columns = {
            name: Column(
                name=name,
                numbers=None if one.numbers is None else one.numbers[rows],
                codes=None if one.codes is None else one.codes[rows],
                levels=one.levels,
            )
            for name, one in self.columns.items()
        }
        return Frame(persons=self.persons[rows], columns=columns)

    def column(self, name: str) -> Column:
        if name not in self.columns:
            raise Invalid(f"the column {name!r} is not in this workspace; the permit names the columns that are")
        return self.columns[name]

    def people(self, mask: NDArray[np.bool_]) -> int:
        """How many different people have at least one row in `mask` (one boolean per row)."""
        if self.one_row_each:
            return int(np.count_nonzero(mask))
        return len(np.unique(self._dense[mask]))

    def people_per(self, groups: NDArray[np.int64], *, count: int) -> NDArray[np.float64]:
        """Different people in each of the groups 0..count-1; `groups` has one entry per row and a negative entry is in none."""
        inside = groups >= 0
        if self.one_row_each:
            return np.bincount(groups[inside], minlength=count).astype(np.float64)
        pairs = np.unique(self._dense[inside] * count + groups[inside])
        return np.bincount(pairs % count, minlength=count).astype(np.float64)

    def present(self, name: str) -> NDArray[np.bool_]:
        """True for each row that has a value in this column, agreed or not."""
        column = self.column(name)
        if column.codes is not None:
            return np.asarray(column.codes != MISSING)
        if column.numbers is None:
            raise Invalid(f"the column {name!r} holds neither numbers nor levels; describe the dataset again")
        return ~np.isnan(column.numbers)

    def complete(self, names: Iterable[str]) -> NDArray[np.int64]:
        """0 for each row that has a value in all of these columns, -1 for the others."""
        present = np.ones(self.rows, dtype=bool)
        for name in names:
            present &= self.present(name)
        return np.where(present, 0, -1).astype(np.int64)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The column as numbers: true and the second of two levels are 1, false and the first 0; 2 is neither, which no outcome may be."""
        column = self.column(name)
        if column.numbers is not None:
            return column.numbers
        boolean = len(column.levels) > 0 and set(column.levels) <= {"False", "True"}
        if column.codes is None or not (boolean or len(column.levels) == 2):
            raise Invalid(f"the column {name!r} is not numeric; use it as a category, or leave it out")
        worth = [float(level == "True") for level in column.levels] if boolean else [0.0, 1.0]
        # the last two entries are reached by the codes -2 and -1
        return np.array([*worth, np.nan if boolean else 2.0, np.nan])[column.codes]

    def codes(self, name: str, levels: Sequence[str]) -> NDArray[np.int64]:
        """The column as indices into `levels`, the levels agreed in the question; -1 missing, -2 outside of them."""
        column = self.column(name)
        if column.codes is not None:
            places = [levels.index(level) if level in levels else OUTSIDE for level in column.levels]
            return np.array([*places, OUTSIDE, MISSING], dtype=np.int64)[column.codes]
        numbers = self.numbers(name)
        codes = np.where(np.isnan(numbers), MISSING, OUTSIDE).astype(np.int64)
        for place, level in enumerate(levels):
            codes[numbers == _number(level)] = place
        return codes


def _number(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return float("nan")
