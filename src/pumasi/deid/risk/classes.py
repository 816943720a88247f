"""Equivalence classes: the rows that look alike in the columns an outsider may know, counted once.

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
from pumasi.kernel.errors import Invalid, PumasiError

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
        levels = _levels(table.connection, found, names, labelled=len(sensitive))
        coded, rows = _codes(table, found, levels)
    columns = [one.column for one in levels]
    joint = Joint(tuple(columns), tuple(coded), rows)
    if not sensitive:
        return Classes(joint.columns, joint.codes, rows, (), joint)
    starts = _starts(coded[: len(quasi)])
    cls = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rows)]))
    cells = [
        _contingency(one.column, one.texts, cls, code, rows) for one, code in zip(levels[len(quasi) :], coded[len(quasi) :], strict=True)
    ]
    shown = tuple(code[starts] for code in coded[: len(quasi)])
    return Classes(tuple(columns[: len(quasi)]), shown, np.add.reduceat(rows, starts), tuple(cells), joint)


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


@dataclass(frozen=True)
class Counted:
    """A relation c0, c1 … n: combinations of values that occur, as text, and how many rows have each; a small table's rows have no n."""

    sql: str
    entries: int
    small: bool

    @property
    def weight(self) -> str:
        """How many rows an entry stands for, in SQL."""
        return "1::BIGINT" if self.small else "n"


@dataclass(frozen=True)
class Levels:
    """The levels of a column in the order of their text, a missing value first: the hash of each, and its text if that was asked for."""

    column: Column
    hashes: Hashes
    texts: tuple[str | None, ...]


@contextmanager
def _counted(table: Table, names: Sequence[str]) -> Iterator[Counted]:
    """The combinations of a table. A small one is left as it is: its rows are sorted sooner than their text is grouped."""
    chosen = ", ".join(f"{name(one)} AS c{place}" for place, one in enumerate(names))
    places = [f"c{place}" for place in range(len(names))]
    text = ", ".join(f"CAST({one} AS VARCHAR) AS {one}" for one in places)
    source = f"SELECT {chosen} FROM ({table.sql})"
    if table.rows <= SMALL:
        yield Counted(f"(SELECT {text} FROM ({source}))", table.rows, small=True)
        return
    found = f"risk_{next(_SERIAL)}"
    grouped_by = f"SELECT {', '.join(places)}, count(*) AS n FROM ({source}) GROUP BY ALL"
    table.connection.execute(f"CREATE TEMP TABLE {found} AS SELECT {text}, n FROM ({grouped_by})")
    try:
        number = table.connection.execute(f"SELECT count(*) FROM {found}").fetchone()
        yield Counted(found, number[0] if number else 0, small=False)
    finally:
        table.connection.execute(f"DROP TABLE IF EXISTS {found}")


def _levels(connection: duckdb.DuckDBPyConnection, found: Counted, names: Sequence[str], *, labelled: int) -> list[Levels]:
    """The levels of every column, with the texts of the last ones. Those of a large table one after the other, for the sake of memory."""
    out, first = [], len(names) - labelled
    for places in [range(len(names))] if found.small else [range(place, place + 1) for place in range(len(names))]:
        halves = " UNION ALL ".join(_each(found, half) for half in (places[::2], places[1::2]) if half)
        got = connection.execute(
            "SELECT place, n, c IS NULL AS missing, try_cast(c AS DOUBLE) AS number, epoch_us(try_cast(c AS TIMESTAMP)) AS moment, "
            "coalesce(regexp_matches(c, '^[+-]?0[0-9]'), false) AS padded, hash(c) AS h, "
            f"CASE WHEN place >= {first} THEN c END AS label FROM ({halves}) ORDER BY place, c NULLS FIRST"
        ).fetchnumpy()
        for place in places:
            at = slice(*np.searchsorted(got["place"], [place, place + 1]))
            rows, missing, padded, hashes = (np.asarray(got[key])[at] for key in ("n", "missing", "padded", "h"))
            column = _column(names[place], rows, missing, _known(got["number"][at]), _known(got["moment"][at]), padded)
            out.append(Levels(column, hashes, _texts(got["label"][at]) if place >= first else ()))
    return out


def _each(found: Counted, places: Sequence[int]) -> str:
    """The levels of these columns from one scan. Two halves run at once where the table is so small that a scan takes one thread."""
    cells = [f"c{place}" for place in places]
    column = " ".join(f"WHEN grouping(c{place}) = 0 THEN {place}" for place in places)
    return (
        f"SELECT CASE {column} END AS place, coalesce({', '.join([*cells, 'NULL'])}) AS c, sum({found.weight})::BIGINT AS n "
        f"FROM {found.sql} GROUP BY GROUPING SETS ({', '.join(f'({cell})' for cell in cells)})"
    )


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


def _texts(found: Any) -> tuple[str | None, ...]:
    return tuple(None if gone else text for text, gone in zip(np.ma.getdata(found), np.ma.getmaskarray(found), strict=True))


def _known(found: Any) -> Floats:
    """Floats with NaN where the database had nothing."""
    return np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan)


def _codes(table: Table, found: Counted, levels: Sequence[Levels]) -> tuple[list[NDArray[Any]], Ints]:
    """The number of the level in each column, and the rows, of each combination, in the order of the levels."""
    few = found.entries <= FEW and all(len(np.unique(one.hashes)) == len(one.hashes) for one in levels)
    coded, rows = _hashed(table, found, levels) if few else _joined(table.connection, found, levels)
    group, groups = grouped(coded)  # the database's order differs from run to run, and with it the last digit of a sum
    one = np.empty(groups, dtype=np.int64)
    one[group] = np.arange(len(group))
    rows = rows[one] if groups == len(rows) else np.bincount(group, weights=rows).astype(np.int64)
    return [code[one] for code in coded], rows


SMALL = 100_000  # rows of a table that is read twice, for its levels and for its rows, because text is slow to group
FEW = 500_000  # combinations that are numbered by hashes


def _hashed(table: Table, found: Counted, levels: Sequence[Levels]) -> tuple[list[NDArray[Any]], Ints]:
    """By hashes, no two of which are the same in a column: quicker where there are not many combinations."""
    parts = [f"hash(c{place}) AS h{place}" for place in range(len(levels))]
    got = table.connection.execute(f"SELECT {', '.join(parts if found.small else [*parts, 'n'])} FROM {found.sql}").fetchnumpy()
    coded = []
    for place, one in enumerate(levels):
        mine = np.asarray(got[f"h{place}"])
        code = _places(one.hashes, mine)
        # What is small was read a second time here.
        if found.small and not (np.array_equal(one.hashes[code], mine) and np.array_equal(np.bincount(code), one.column.rows)):
            raise PumasiError(f"{table.where}: the table was changed while it was read; run it again")
        coded.append(code)
    return coded, np.ones(len(coded[0]), dtype=np.int64) if found.small else np.asarray(got["n"], dtype=np.int64)


def _places(levels: Hashes, hashes: Hashes) -> Ints:
    """Where each hash is among the levels; for one that is not there, anywhere."""
    for bits in (8, 12, 16):  # few levels differ in their first bits already, and a table of these is quicker than a search
        first = levels >> np.uint64(64 - bits)
        at = np.zeros(1 << bits, dtype=np.int64)
        at[first] = np.arange(len(levels))
        if np.array_equal(at[first], np.arange(len(levels))):
            return np.asarray(at[hashes >> np.uint64(64 - bits)])
    order = np.argsort(levels)
    return np.asarray(order[np.searchsorted(levels[order], hashes).clip(max=len(order) - 1)])


def _joined(connection: duckdb.DuckDBPyConnection, found: Counted, levels: Sequence[Levels]) -> tuple[list[NDArray[Any]], Ints]:
    """By the values themselves, in as few bytes as the levels need."""
    parts, joins = [], []
    for place, one in enumerate(levels):
        small = next(width for width, top in _WIDTHS if one.column.levels <= top)
        parts.append(f"CAST(l{place}.k AS {small}) AS c{place}")
        each = f"SELECT DISTINCT c{place} FROM {found.sql}"
        numbered = f"SELECT c{place}, row_number() OVER (ORDER BY c{place} NULLS FIRST) - 1 AS k FROM ({each})"
        joins.append(f"JOIN ({numbered}) AS l{place} ON f.c{place} IS NOT DISTINCT FROM l{place}.c{place}")
    got = connection.execute(f"SELECT {', '.join(parts)}, {found.weight} AS n FROM {found.sql} AS f {' '.join(joins)}").fetchnumpy()
    return [np.asarray(got[f"c{place}"]) for place in range(len(levels))], np.asarray(got["n"], dtype=np.int64)


_WIDTHS = (("UTINYINT", 1 << 8), ("USMALLINT", 1 << 16), ("UINTEGER", 1 << 32))


def _starts(codes: Sequence[NDArray[Any]]) -> Ints:
    """Where a row of codes differs from the one before, the first row too."""
    new = np.ones(len(codes[0]), dtype=np.bool_)
    new[1:] = False
    for code in codes:
        new[1:] |= code[1:] != code[:-1]
    return np.flatnonzero(new)


def _contingency(column: Column, labels: tuple[str | None, ...], cls: Ints, code: NDArray[Any], rows: Ints) -> Contingency:
    keys = cls * column.levels + code
    if np.any(keys[1:] <= keys[:-1]):  # another sensitive column came before
        keys, place = np.unique(keys, return_inverse=True)
        rows = np.bincount(place, weights=rows).astype(np.int64)
    return Contingency(column, keys // column.levels, keys % column.levels, rows, labels)
