"""Equivalence classes: the rows that look alike in the columns an outsider may know, counted in one scan.

The database groups; what comes back is a number for each level and a count for each class, never a value. A missing value is a
level of its own, so that two rows are alike only when the same values are missing: that is the cautious reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from pumasi.deid.engine import name
from pumasi.deid.reading import Table
from pumasi.kernel.errors import Invalid

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

_SERIAL = count()


@dataclass(frozen=True)
class Column:
    """A column without its values: `rows` at each level; `order` ranks the levels where all are numbers, or all dates; else None.

    A code with a leading zero (01, 007) is no number. A missing value is a level (`missing`) and ranks below all others.
    """

    name: str
    kind: str
    rows: Ints
    order: Ints | None
    missing: bool

    @property
    def levels(self) -> int:
        return len(self.rows)

    @property
    def share(self) -> Floats:
        share: Floats = self.rows / self.rows.sum()
        return share


@dataclass(frozen=True)
class Contingency:
    """Classes x values of one sensitive column, only cells that occur, sorted by class: `cls[i]` holds `value[i]` in `count[i]` rows."""

    column: Column
    cls: Ints
    value: Ints
    count: Ints
    labels: tuple[str | None, ...]  # the values themselves, to look them up in a hierarchy; they go nowhere else

    def by_class(self, per_cell: NDArray[Any]) -> NDArray[Any]:
        """The sum over the cells of each class."""
        return np.add.reduceat(per_cell, self.starts)

    @property
    def starts(self) -> Ints:
        return np.flatnonzero(np.r_[True, self.cls[1:] != self.cls[:-1]])


@dataclass(frozen=True)
class Joint:
    """Every combination of levels of all columns asked for, quasi and sensitive, and how many rows have it."""

    columns: tuple[Column, ...]
    codes: tuple[NDArray[Any], ...]
    rows: Ints


@dataclass(frozen=True)
class Classes:
    """The table as its equivalence classes: `codes` (classes x columns) numbers the level of each class in each quasi column."""

    columns: tuple[Column, ...]
    codes: tuple[NDArray[Any], ...]
    sizes: Ints
    sensitive: tuple[Contingency, ...]
    joint: Joint

    @property
    def rows(self) -> int:
        return int(self.sizes.sum())

    def merged(self, codes: Sequence[NDArray[Any]]) -> Ints:
        """The class sizes if the quasi columns were these instead (a column left out, or its levels put together)."""
        if not codes:
            return np.array([self.rows])
        group, groups = grouped(codes)
        return np.bincount(group, weights=self.sizes, minlength=groups).astype(np.int64)


def grouped(codes: Sequence[NDArray[Any]]) -> tuple[Ints, int]:
    """A number for each row, equal where all codes are equal, from 0 without gaps; and how many there are."""
    key = np.zeros(len(codes[0]), dtype=np.int64)
    span = 1
    for code in codes:
        levels = int(code.max()) + 1
        if span > (1 << 62) // levels:
            found, key = np.unique(key, return_inverse=True)
            span = len(found)
        key = key * levels + code
        span *= levels
    if span <= 4 * len(key) + 1024:
        seen = np.zeros(span, dtype=np.int64)
        seen[key] = 1
        number = np.cumsum(seen) - 1
        return number[key], int(seen.sum())
    found, key = np.unique(key, return_inverse=True)
    return key.astype(np.int64), len(found)


def classes(table: Table, *, quasi: Sequence[str], sensitive: Sequence[str] = ()) -> Classes:
    """Group a table by its quasi columns. `Invalid` names every column that is missing, named twice, or named for both."""
    check(table, quasi=quasi, sensitive=sensitive)
    names = [*quasi, *sensitive]
    with table.explained(), _counted(table, names) as found:
        columns, hashes = _columns(table.connection, found, names)
        labels = [_labels(table.connection, found, place) for place in range(len(quasi), len(names))]
        coded, rows = _codes(table.connection, found, columns, hashes)
    joint = Joint(tuple(columns), tuple(coded), rows)
    if not sensitive:
        return Classes(joint.columns, joint.codes, rows, (), joint)
    cls, number = grouped(coded[: len(quasi)])
    first = np.zeros(number, dtype=np.int64)
    first[cls] = np.arange(len(cls))
    sizes = np.bincount(cls, weights=rows, minlength=number).astype(np.int64)
    cells = [
        _contingency(column, label, cls, code, rows)
        for column, label, code in zip(columns[len(quasi) :], labels, coded[len(quasi) :], strict=True)
    ]
    return Classes(tuple(columns[: len(quasi)]), tuple(code[first] for code in coded[: len(quasi)]), sizes, tuple(cells), joint)


def check(table: Table, *, quasi: Sequence[str], sensitive: Sequence[str] = ()) -> None:
    """All that is wrong with the choice of columns, at once."""
    faults = [] if quasi else ["name at least one quasi-identifying column: what an outsider may know of a person"]
    faults += table.absent(list(dict.fromkeys([*quasi, *sensitive])))
    for kind, names in (("quasi", quasi), ("sensitive", sensitive)):
        twice = [one for one, often in Counter(names).items() if often > 1]
        faults += [f"the column '{one}' is named twice among the {kind} columns" for one in twice]
    faults += [f"the column '{one}' is both quasi and sensitive; name it once" for one in dict.fromkeys(quasi) if one in sensitive]
    if faults:
        raise Invalid(*faults)
    if table.rows == 0:
        raise Invalid(f"{table.where}: the table has columns but no rows")


@contextmanager
def _counted(table: Table, names: Sequence[str]) -> Iterator[str]:
    """A temporary table c0, c1 … n: every combination of values that occurs, as text, and how many rows have it."""
    found = f"risk_{next(_SERIAL)}"
    chosen = ", ".join(f"{name(one)} AS c{place}" for place, one in enumerate(names))
    places = ", ".join(f"c{place}" for place in range(len(names)))
    text = ", ".join(f"CAST(c{place} AS VARCHAR) AS c{place}" for place in range(len(names)))
    table.connection.execute(
        f"CREATE TEMP TABLE {found} AS SELECT {text}, n FROM "
        f"(SELECT {places}, count(*) AS n FROM (SELECT {chosen} FROM ({table.sql})) GROUP BY {places})"
    )
    try:
        yield found
    finally:
        table.connection.execute(f"DROP TABLE IF EXISTS {found}")


def _columns(connection: duckdb.DuckDBPyConnection, found: str, names: Sequence[str]) -> tuple[list[Column], list[Hashes]]:
    """The levels of every column in the order of their text, a missing value, if any, first; and the hash of each level."""
    parts = (
        f"SELECT {place} AS place, CAST(sum(n) AS BIGINT) AS n, c{place} IS NULL AS missing, try_cast(c{place} AS DOUBLE) AS number, "
        f"epoch_us(try_cast(c{place} AS TIMESTAMP)) AS moment, coalesce(regexp_matches(c{place}, '^[+-]?0[0-9]'), false) AS padded, "
        f"row_number() OVER (ORDER BY c{place} NULLS FIRST) AS k, hash(c{place}) AS h FROM {found} GROUP BY c{place}"
        for place in range(len(names))
    )
    got = connection.execute(f"{' UNION ALL '.join(parts)} ORDER BY place, k").fetchnumpy()
    place, rows, missing = (np.asarray(got[key]).astype(np.int64) for key in ("place", "n", "missing"))
    numbers, moments, padded = _known(got["number"]), _known(got["moment"]), np.asarray(got["padded"]).astype(bool)
    mine = [place == number for number in range(len(names))]
    columns = [_column(one, rows[at], missing[at] == 1, numbers[at], moments[at], padded[at]) for one, at in zip(names, mine, strict=True)]
    hashes = np.asarray(got["h"])
    return columns, [hashes[at] for at in mine]


def _column(title: str, rows: Ints, missing: NDArray[np.bool_], numbers: Floats, moments: Floats, padded: NDArray[np.bool_]) -> Column:
    there = ~missing
    kind, values = "text", None
    if there.any() and np.isfinite(numbers[there]).all() and not padded[there].any():
        kind, values = "number", numbers
    elif there.any() and np.isfinite(moments[there]).all():
        kind, values = "date", moments
    order = None
    if values is not None:
        order = np.empty(len(values), dtype=np.int64)
        order[np.argsort(np.where(missing, -np.inf, values), kind="stable")] = np.arange(len(values))
    return Column(title, kind, rows, order, bool(missing.any()))


def _known(found: Any) -> Floats:
    """Floats with NaN where the database had nothing."""
    return np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan)


def _labels(connection: duckdb.DuckDBPyConnection, found: str, place: int) -> tuple[str | None, ...]:
    return tuple(row[0] for row in connection.execute(f"SELECT DISTINCT c{place} FROM {found} ORDER BY 1 NULLS FIRST").fetchall())


def _codes(
    connection: duckdb.DuckDBPyConnection, found: str, columns: Sequence[Column], hashes: Sequence[Hashes]
) -> tuple[list[NDArray[Any]], Ints]:
    """The number of the level in each column, and the rows, of each combination."""
    row = connection.execute(f"SELECT count(*) FROM {found}").fetchone()
    few = row is not None and row[0] <= FEW and all(len(np.unique(one)) == len(one) for one in hashes)
    coded, rows = _hashed(connection, found, hashes) if few else _joined(connection, found, columns)
    order = np.argsort(grouped(coded)[0])  # the database's order differs from run to run, and with it the last digit of a sum
    return [code[order] for code in coded], rows[order]


FEW = 500_000


def _hashed(connection: duckdb.DuckDBPyConnection, found: str, hashes: Sequence[Hashes]) -> tuple[list[NDArray[Any]], Ints]:
    """By hashes, no two of which are the same in a column: quicker where there are not many combinations."""
    parts = ", ".join(f"hash(c{place}) AS h{place}" for place in range(len(hashes)))
    got = connection.execute(f"SELECT {parts}, n FROM {found}").fetchnumpy()
    coded = []
    for place, levels in enumerate(hashes):
        order = np.argsort(levels)
        coded.append(order[np.searchsorted(levels[order], np.asarray(got[f"h{place}"]))])
    return coded, np.asarray(got["n"], dtype=np.int64)


def _joined(connection: duckdb.DuckDBPyConnection, found: str, columns: Sequence[Column]) -> tuple[list[NDArray[Any]], Ints]:
    """By the values themselves, in as few bytes as the levels need."""
    parts, joins = [], []
    for place, column in enumerate(columns):
        small = next(width for width, top in _WIDTHS if column.levels <= top)
        parts.append(f"CAST(l{place}.k AS {small}) AS c{place}")
        levels = f"SELECT DISTINCT c{place} FROM {found}"
        numbered = f"SELECT c{place}, row_number() OVER (ORDER BY c{place} NULLS FIRST) - 1 AS k FROM ({levels})"
        joins.append(f"JOIN ({numbered}) AS l{place} ON {found}.c{place} IS NOT DISTINCT FROM l{place}.c{place}")
    got = connection.execute(f"SELECT {', '.join(parts)}, n FROM {found} {' '.join(joins)}").fetchnumpy()
    return [np.asarray(got[f"c{place}"]) for place in range(len(columns))], np.asarray(got["n"], dtype=np.int64)


_WIDTHS = (("UTINYINT", 1 << 8), ("USMALLINT", 1 << 16), ("UINTEGER", 1 << 32))


def _contingency(column: Column, labels: tuple[str | None, ...], cls: Ints, code: NDArray[Any], rows: Ints) -> Contingency:
    keys, place = np.unique(cls * column.levels + code, return_inverse=True)
    count = np.bincount(place, weights=rows, minlength=len(keys)).astype(np.int64)
    return Contingency(column, keys // column.levels, keys % column.levels, count, labels)
