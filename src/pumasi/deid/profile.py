"""What each column of a table is like: how full, how varied, numbers, dates, levels, words; and which identifiers stand in it.

Every row is read, twice or three times: once for counts, once for the levels of columns that have few, and once for the cells of all
others, of which those that cannot hold an identifier (short numbers, ISO dates) are set aside inside DuckDB. Nothing grows with the rows.
The levels of a column are held to classify it and are shown nowhere.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import duckdb

from pumasi.deid import dates, engine
from pumasi.deid.evidence import HOLDS, ISO, SHORT, Found, Tally, ordinary
from pumasi.deid.looking import PIECE, Piece, lookers
from pumasi.deid.reading import Table
from pumasi.deid.sql import BLANKS, MISSING, NUMBERS

FEW = 20_000  # different values at most, for a column whose levels are counted one by one
_TOGETHER = 16  # columns in one query; DuckDB's planning grows with the square of them
_LOOKED = 100  # columns whose longest cell is asked for in one query
_COPY = "pumasi_suggest_copy"
_LEVELS = 600_000  # levels at most that are held at once
# Two-digit years are left out: 24-03-05 has three readings, and rules take no form without the whole year.
DAY_FORMS = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%Y%m%d%H%M")

Tell = Callable[[str, float], None]
"""Told a piece of work, and how much of it is done in per cent."""


@dataclass(frozen=True)
class Column:
    """One column: counts over all rows; `levels` (when few) hold how many rows each value has."""

    name: str
    type: str
    rows: int
    filled: int
    distinct: int
    numbers: int
    whole: int
    days: int
    form: str | None
    low: float | None
    high: float | None
    lowest: float | None
    highest: float | None
    longest: int
    length: float
    words: float
    levels: dict[str, int] | None = field(repr=False)
    found: dict[str, Found] = field(default_factory=dict)
    cells: int = 0
    names: int = 0

    @property
    def unique(self) -> float:
        """Different values per filled row; 1 is a key."""
        return self.distinct / self.filled if self.filled else 0.0

    @property
    def entropy(self) -> float | None:
        """Shannon's entropy of the levels in bits, when they were counted."""
        if not self.levels or not self.filled:
            return None
        return -sum(count / self.filled * math.log2(count / self.filled) for count in self.levels.values())

    @property
    def numeric(self) -> bool:
        return self.filled > 0 and self.numbers == self.filled

    @property
    def dated(self) -> bool:
        return self.filled > 0 and self.days == self.filled

    @property
    def rare(self) -> int:
        """How many levels have fewer than ten rows."""
        return sum(count < 10 for count in self.levels.values()) if self.levels else 0


def profile(table: Table, tell: Tell | None = None, *, workers: int = 1) -> list[Column]:
    """The columns of a table, in its order; cells are looked at by as many processes as `workers` says."""
    say = tell or (lambda piece, share: None)
    with table.explained(), _held(table) as held:
        columns: dict[str, Column] = {}
        long = _long_enough_for_days(held)
        for start in range(0, len(table.columns), _TOGETHER):
            say(f"{table.name}: counts", 100 * start / len(table.columns))
            columns |= _counted(held, table.columns[start : start + _TOGETHER], long)
        say(f"{table.name}: counts", 100)
        columns = _with_forms(held, columns)
        levels = _levels(held, columns)
        rest = [one for one in columns.values() if one.name not in levels and _may_hold(one)]
        cells = sum(map(len, levels.values())) + sum(one.filled for one in rest)
        tallies: dict[str, Tally] = {}
        with lookers(workers, cells) as look:
            for piece, tally in look(itertools.chain(_pieces_of_levels(levels), _pieces(held, rest))):
                tallies.setdefault(piece.column, Tally()).merge(tally)
                say(f"{table.name}: cells", 100 * piece.rows / table.rows)
    return [_finished(column, levels.get(name), tallies.get(name)) for name, column in columns.items()]


@contextmanager
def _held(table: Table) -> Iterator[Table]:
    """The table in columns: as it is when it is stored so, otherwise as a temporary copy (on disk, encrypted, when memory is short)."""
    if table.kind in ("parquet", "duckdb"):
        yield table
        return
    table.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_COPY} AS {table.sql}")
    try:
        yield replace(table, sql=f"SELECT * FROM {_COPY}")
    finally:
        table.connection.execute(f"DROP TABLE IF EXISTS {_COPY}")


def _finished(column: Column, levels: dict[str, int] | None, tally: Tally | None) -> Column:
    tally = tally or Tally()
    return replace(
        column,
        levels=levels,
        distinct=column.distinct if levels is None else len(levels),
        cells=tally.cells,
        names=tally.names,
        found={kind.value: found for kind, found in tally.weighed().items()},
    )


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...]:
    found = connection.execute(sql).fetchone()
    assert found is not None  # an aggregate without groups has one row
    return tuple(found)


# --- the first reading: counts ---


def text(table: Table, name: str) -> str:
    """A column as text without blanks around it; nothing for NA, NULL and the like."""
    column, kind = engine.name(name), table.types[name]
    if kind in ("FLOAT", "DOUBLE"):  # a whole number as digits, so that an id is seen
        whole = f"{column} = round({column}) AND abs({column}) < 9e15"
        column = f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
    elif kind != "VARCHAR":
        return f"CAST({column} AS VARCHAR)"
    missing = ", ".join(engine.literal(token) for token in ("", *MISSING))
    clean = f"trim({column}, {engine.literal(BLANKS)})"
    return f"CASE WHEN {clean} IN ({missing}) THEN NULL ELSE {clean} END"


_COUNTS = {
    "filled": "count(t{0})",
    "distinct": "approx_count_distinct(t{0})",
    "numbers": "count(n{0})",
    "whole": "count(*) FILTER (n{0} = round(n{0}) AND NOT contains(t{0}, '.'))",
    "days": "count(d{0})",
    "quantiles": "approx_quantile(n{0}, [0.01, 0.99])",
    "lowest": "min(n{0})",
    "highest": "max(n{0})",
    "longest": "max(length(t{0}))",
    "length": "avg(length(t{0}))",
    "words": "avg(1 + length(t{0}) - length(replace(t{0}, ' ', '')))",
}


def _long_enough_for_days(table: Table) -> set[str]:
    """The columns with a text or number as long as a date: reading days is dear to plan, and a wide table has few such columns."""
    asked = [name for name in table.columns if not _dated_type(table.types[name])]
    found: set[str] = set()
    for start in range(0, len(asked), _LOOKED):
        some = asked[start : start + _LOOKED]
        longest = ", ".join(f"max(length({text(table, name)}))" for name in some)
        found |= {
            name for name, most in zip(some, _one(table.connection, f"SELECT {longest} FROM ({table.sql})"), strict=True) if _long(most)
        }
    return found


def _long(most: object) -> bool:
    return isinstance(most, int) and most >= 8


def _counted(table: Table, names: tuple[str, ...], long: set[str]) -> dict[str, Column]:
    """Some columns, in one query in layers: t is the clean text, n the number and d the day that it may be."""
    places = range(len(names))
    texts = ", ".join(f"{text(table, name)} AS t{place}" for place, name in enumerate(names))
    values = ", ".join(_read_as(table.types[name], place, long=name in long) for place, name in enumerate(names))
    counts = ", ".join(count.format(place) for place in places for count in _COUNTS.values())
    layer = f"SELECT {', '.join(f't{place}' for place in places)}, {values} FROM (SELECT {texts} FROM ({table.sql}))"
    row = _one(table.connection, f"SELECT {counts} FROM ({layer})")
    width = len(_COUNTS)
    return {
        name: _column(name, table, dict(zip(_COUNTS, row[place * width : (place + 1) * width], strict=True)))
        for place, name in enumerate(names)
    }


def _read_as(kind: str, place: int, *, long: bool) -> str:
    value = f"t{place}"
    number, day = "CAST(NULL AS DOUBLE)", "CAST(NULL AS DATE)"
    if kind == "VARCHAR" or kind in NUMBERS or kind.startswith("DECIMAL"):
        read = f"try_cast({value} AS DOUBLE)"
        number = f"CASE WHEN NOT contains({value}, '_') AND isfinite({read}) THEN {read} END"
        if long:
            day = f"CASE WHEN length({value}) BETWEEN 8 AND 40 AND regexp_matches({value}, '^[0-9]') THEN {dates.day(value)} END"
    elif kind == "DATE" or kind.startswith("TIMESTAMP"):
        day = f"try_cast({value} AS DATE)"
    return f"{number} AS n{place}, {day} AS d{place}"


def _column(name: str, table: Table, values: dict[str, object]) -> Column:
    def number(key: str) -> float | None:
        value = values[key]
        return float(value) if isinstance(value, int | float) else None

    quantiles = values["quantiles"] if isinstance(values["quantiles"], list) else [None, None]
    low, high = (float(one) if one is not None else None for one in quantiles)
    counts = {key: int(number(key) or 0) for key in ("filled", "distinct", "numbers", "whole", "days", "longest")}
    return Column(
        name=name,
        type=table.types[name],
        rows=table.rows,
        filled=counts["filled"],
        distinct=counts["distinct"],
        numbers=counts["numbers"],
        whole=counts["whole"],
        days=counts["days"],
        longest=counts["longest"],
        form=None,
        low=low,
        high=high,
        lowest=number("lowest"),
        highest=number("highest"),
        length=number("length") or 0.0,
        words=number("words") or 0.0,
        levels=None,
    )


def _with_forms(table: Table, columns: dict[str, Column]) -> dict[str, Column]:
    """Columns whose dates are written so that they could be two days get the one form, of the usual ones, that reads them all."""
    doubtful = [one for one in columns.values() if one.type == "VARCHAR" and one.filled and not one.dated and 8 <= one.length <= 12]
    if not doubtful:
        return columns
    tried = [(one.name, form) for one in doubtful for form in DAY_FORMS]
    row = _one(
        table.connection,
        "SELECT "
        + ", ".join(f"count(try_strptime({text(table, name)}, {engine.literal(form)}))" for name, form in tried)
        + f" FROM ({table.sql})",
    )
    found = dict(columns)
    for (name, form), count in zip(tried, row, strict=True):
        if count == columns[name].filled and found[name].form is None:
            found[name] = replace(columns[name], form=form)
    return found


# --- the second reading: levels ---


def _levels(table: Table, columns: dict[str, Column]) -> dict[str, dict[str, int]]:
    """The values of columns that have few, with their rows."""
    most = min(FEW, _LEVELS // max(len(columns), 1))
    chosen = [one for one in columns.values() if 0 < one.distinct <= most and not _dated_type(one.type) and one.longest <= 10_000]
    if not chosen:
        return {}
    row = _one(table.connection, "SELECT " + ", ".join(f"histogram({text(table, one.name)})" for one in chosen) + f" FROM ({table.sql})")
    found = {}
    for one, histogram in zip(chosen, row, strict=True):
        assert isinstance(histogram, dict)
        found[one.name] = {str(value): int(count) for value, count in histogram.items()}
    return found


def _pieces_of_levels(levels: dict[str, dict[str, int]]) -> Iterator[Piece]:
    for name, counts in levels.items():
        worth = {value: count for value, count in counts.items() if not ordinary(value)}
        values = iter(worth.items())
        while part := dict(itertools.islice(values, PIECE)):
            yield Piece(name, Counter(part))


def _dated_type(kind: str) -> bool:
    return kind in ("DATE", "TIME", "BOOLEAN") or kind.startswith("TIMESTAMP")


# --- the third reading: cells ---


def _may_hold(column: Column) -> bool:
    if column.filled == 0 or _dated_type(column.type):
        return False
    fraction = column.type in ("FLOAT", "DOUBLE") or column.type.startswith("DECIMAL")
    return not (fraction and column.whole == 0) and not (column.highest is not None and column.highest < 1e5 and column.type in NUMBERS)


def _pieces(table: Table, columns: list[Column]) -> Iterator[Piece]:
    """Every cell of these columns that could hold something; what repeats within a piece is looked at once."""
    if not columns:
        return
    cells = ", ".join(f"CASE WHEN {_inert(text(table, one.name), one)} THEN NULL ELSE {text(table, one.name)} END" for one in columns)
    rows = table.connection.execute(f"SELECT {cells} FROM ({table.sql})")
    done = 0
    while batch := rows.fetchmany(PIECE):
        done += len(batch)
        for column, values in zip(columns, zip(*batch, strict=True), strict=True):
            yield Piece(column.name, Counter(value for value in values if value is not None), done)


def _inert(value: str, column: Column) -> str:
    """SQL: whether a cell cannot hold an identifier. Only asked where many cells are so; what is doubtful is looked at."""
    tests = [f"{value} IS NULL", f"(length({value}) <= {SHORT} AND NOT regexp_matches({value}, {engine.literal(HOLDS)}))"]
    if column.numbers > 0:  # a decimal fraction; but not 010.12345678 or 800101.1234567
        dotted = f"contains({value}, '.') AND (length({value}) <> 14 OR position('.' IN {value}) <> 7)"
        zeros = f"starts_with({value}, '0') AND NOT starts_with({value}, '0.')"
        tests.append(f"(isfinite(try_cast({value} AS DOUBLE)) AND NOT contains({value}, '_') AND NOT ({zeros}) AND {dotted})")
    if column.days > 0:
        tests.append(f"(length({value}) BETWEEN 10 AND 35 AND regexp_full_match({value}, '{ISO}'))")
    return " OR ".join(tests)
