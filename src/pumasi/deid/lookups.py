"""What is worked out once for every different value of a column instead of once for every row: pseudonyms, dates, codes, levels.

One pass over the table finds the different values of all such columns; they are treated in small tables, which the query over all
rows joins. A sample says which columns are worth it. Values that no treatment understands are found here, before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from pumasi.deid.layers import Layers, Value
from pumasi.deid.reading import Table

_SAMPLE = 100_000
_SAMPLED = 100  # columns that are sampled in one query
_BATCH = 200_000
_FEW = 500_000  # different values that are treated beforehand
_SHARE = 5  # rows that each of them has to stand in
_JOINS = 40  # tables at most that a query joins; each takes memory, and wide tables have a thousand columns
_LISTED = 32  # different values that are looked for one after the other, which is then no dearer than a join
_TOGETHER = 8  # columns whose levels are counted in one reading of the table
_LABELS = 2_000  # different results that are carried as numbers of two bytes and written as a dictionary

Make = Callable[[Layers, Value], Sequence[Value]]


@dataclass(frozen=True)
class _Wanted:
    """A table (raw, t0, t1 …) of the different values of a column; `last` works on t0 in Python."""

    name: str
    column: int
    layers: Layers
    made: tuple[Value, ...]
    last: Callable[[list[str]], list[str]] | None


@dataclass(frozen=True)
class _Counted:
    """Columns whose levels are counted in one query over `layers`; each has a name, the level, and how many people it must have."""

    layers: Layers
    columns: list[tuple[str, Value, int]]


class Lookups:
    """The tables that one table's query joins, and the lists that it looks into."""

    def __init__(self, table: Table, source: str, person: str | None, *, numbered: bool) -> None:
        self._person = None if person is None else table.columns.index(person)
        self._table, self._source, self._connection, self._numbered = table, source, table.connection, numbered
        self._wanted: list[_Wanted] = []
        self._counted: list[_Counted] = []
        self._listed: set[str] = set()
        self._sampled: list[float] | None = None
        self._number = 0

    def name(self) -> str:
        """The name of a new table."""
        self._number += 1
        return f"pumasi_{self._table.name.encode().hex()[:40]}_{self._number}"

    def few(self, column: int) -> bool:
        """Whether a column has so few different values that each is better treated once."""
        return not self._crowded and self._population(column) <= min(_FEW, self._table.rows / _SHARE)

    def repeats(self, column: int) -> bool:
        """Whether most values stand in two rows or more."""
        return not self._crowded and self._population(column) * 2 < self._table.rows

    @property
    def _crowded(self) -> bool:
        return self._number - len(self._listed) >= _JOINS

    def add(self, layers: Layers, column: int, kind: str, make: Make, last: Callable[[list[str]], list[str]] | None = None) -> list[Value]:
        """Columns of `layers` that hold for each row what `make` makes of the row's value in a column."""
        name = self.name()
        small = Layers(f"SELECT id AS c0 FROM {name}_ids")
        made = tuple(make(small, Value("c0", 0, kind)))
        self._wanted.append(_Wanted(name, column, small, made, last))
        return layers.join(name, "raw", Value(f"c{column}", 0, kind), {f"t{place}": value.kind for place, value in enumerate(made)})

    def common(self, layers: Layers, level: Value, column: int, make: Callable[[Layers], Value], people: int) -> Value:
        """The level of each row where at least so many people have it, else NULL; `make` makes the level from the column of a table."""
        if not self._counted or len(self._counted[-1].columns) == _TOGETHER:
            self._counted.append(_Counted(Layers(self._source), []))
        batch = self._counted[-1]
        listed = self._crowded or self._population(column) <= _LISTED
        name = self.name()
        batch.columns.append((name, make(batch.layers), people))
        if not listed:
            return layers.join(name, "level", level, {"level": "text"})[0]
        self._listed.add(name)
        return layers.add(f"CASE WHEN list_contains(getvariable('{name}'), {level.sql}) THEN {level.sql} END", "text", level)

    def make(self) -> list[str]:
        """Make all tables; a sentence for each kind of value that a treatment does not understand."""
        columns = {one.column: self._kind(one.column) for one in self._wanted}
        faults: list[str] = []
        with self._table.explained():
            for number, kind in enumerate(dict.fromkeys(columns.values())):
                self._distinct(f"pumasi_ids_{number}", [column for column, other in columns.items() if other == kind])
            for one in self._wanted:
                found = faults_of(self._connection, one.layers, unit="different value")
                faults.extend(found)
                if not found:
                    self._fill(one)
            for number, batch in enumerate([] if faults else self._counted):
                self._count(batch, f"pumasi_levels_{number}")
        for number in range(len(set(columns.values()))):
            self._connection.execute(f"DROP TABLE IF EXISTS pumasi_ids_{number}")
        return faults

    def _kind(self, column: int) -> str:
        return self._table.types[self._table.columns[column]]

    def _population(self, column: int) -> float:
        if self._sampled is None:
            self._sampled = []
            for start in range(0, len(self._table.columns), _SAMPLED):
                places = range(start, min(start + _SAMPLED, len(self._table.columns)))
                counts = ", ".join(f"count(DISTINCT c{place}), count(c{place})" for place in places)
                with self._table.explained():
                    row = self._connection.execute(f"SELECT {counts} FROM (FROM ({self._source}) LIMIT {_SAMPLE})").fetchone() or ()
                self._sampled += [population(row[place], row[place + 1]) for place in range(0, len(row), 2)]
        return self._sampled[column]

    def _distinct(self, name: str, columns: list[int]) -> None:
        """The different values of columns of one type, in one pass, and a view for every table that wants them."""
        listed, sets = ", ".join(f"c{one}" for one in columns), ", ".join(f"(c{one})" for one in columns)
        grouped = f"SELECT grouping_id({listed}) AS of, coalesce({listed}) AS id FROM ({self._source}) GROUP BY GROUPING SETS ({sets})"
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {grouped}")
        everything = (1 << len(columns)) - 1
        for one in self._wanted:
            if one.column in columns:
                number = everything - (1 << len(columns) - 1 - columns.index(one.column))  # a bit for each column not in the set
                view = f"SELECT id FROM {name} WHERE of = {number} AND id IS NOT NULL"
                self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {one.name}_ids AS {view}")

    def _count(self, batch: _Counted, name: str) -> None:
        """The levels that enough different people have (rows, where no person is known), of some columns in one reading."""
        places = [f"l{place}" for place in range(len(batch.columns))]
        levels = ", ".join(f"{level.sql} AS {place}" for place, (_, level, _) in zip(places, batch.columns, strict=True))
        whose = "" if self._person is None else f", c{self._person} AS whose"
        people = "count(*)" if self._person is None else "count(DISTINCT whose)"
        listed, sets = ", ".join(places), ", ".join(f"({place})" for place in places)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT grouping_id({listed}) AS of, coalesce({listed}) AS level, {people} AS people "
            f"FROM ({batch.layers.select(levels + whose)}) GROUP BY GROUPING SETS ({sets})"
        )
        for place, (wanted, _, least) in enumerate(batch.columns):
            number = (1 << len(places)) - 1 - (1 << len(places) - 1 - place)  # a bit for each column not in the set
            found = f"FROM {name} WHERE of = {number} AND level IS NOT NULL AND people >= {least}"
            if wanted in self._listed:
                self._connection.execute(f"SET VARIABLE {wanted} = (SELECT coalesce(list(level ORDER BY level), []) {found})")
            else:
                self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {wanted} AS SELECT level {found}")
        self._connection.execute(f"DROP TABLE {name}")

    def _fill(self, one: _Wanted) -> None:
        made = ", ".join(f"{value.sql} AS t{place}" for place, value in enumerate(one.made))
        query = one.layers.select(f"c0 AS raw, {made}")
        if one.last is None:
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {one.name} AS {query}")
            if self._numbered and [value.kind for value in one.made] == ["text"]:
                self._number_labels(one.name)
        else:
            self._connection.execute(f"CREATE OR REPLACE TABLE {one.name}_told AS {query}")
            self._in_python(one)
        self._connection.execute(f"DROP TABLE {one.name}_ids")

    def _number_labels(self, name: str) -> None:
        """Few texts become an ENUM: sorting and writing rows of small numbers is far cheaper than of texts."""
        labels = f"SELECT DISTINCT t0 FROM {name} WHERE t0 IS NOT NULL"
        count = self._connection.execute(f"SELECT count(*) FROM ({labels})").fetchone()
        if count and 0 < count[0] <= _LABELS:
            self._connection.execute(f"DROP TYPE IF EXISTS {name}_labels")
            self._connection.execute(f"CREATE TYPE {name}_labels AS ENUM ({labels} ORDER BY t0)")  # in order, so that runs are alike
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT raw, CAST(t0 AS {name}_labels) AS t0 FROM {name}")

    def _in_python(self, one: _Wanted) -> None:
        assert one.last is not None
        # The two tables are not temporary ones, because the cursor that reads while the other writes would not see them.
        self._connection.execute(f"CREATE OR REPLACE TABLE {one.name}_pairs (told VARCHAR, t0 VARCHAR)")
        with self._connection.cursor() as reader:
            cursor = reader.execute(f"SELECT DISTINCT t0 FROM {one.name}_told WHERE t0 IS NOT NULL")
            while rows := cursor.fetchmany(_BATCH):
                told = [str(row[0]) for row in rows]
                put(self._connection, f"{one.name}_pairs", told, one.last(told))
        joined = f"SELECT raw, p.t0 AS t0 FROM {one.name}_told AS t LEFT JOIN {one.name}_pairs AS p ON p.told = t.t0"
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {one.name} AS {joined}")


def put(connection: duckdb.DuckDBPyConnection, table: str, first: Sequence[str], second: Sequence[str]) -> None:
    """Pairs of texts into a table of two columns."""
    pairs = {"a": np.array(first, dtype=object), "b": np.array(second, dtype=object)}
    connection.register("pumasi_batch", pairs)
    connection.execute(f"INSERT INTO {table} SELECT a, b FROM pumasi_batch")
    connection.unregister("pumasi_batch")


def faults_of(connection: duckdb.DuckDBPyConnection, layers: Layers, *, unit: str = "row") -> list[str]:
    """A sentence for each check that some row fails. Values appear by their shape alone: digits as 9, letters as a."""
    faults = []
    for check in layers.checks:
        text = f"CAST({check.value} AS VARCHAR)"
        shape = f"regexp_replace(regexp_replace({text}, '[0-9]', '9', 'g'), '[^0-9\\s[:punct:]]', 'a', 'g')" if check.value else "''"
        columns = f"count_if({check.condition}), min(left({shape}, 20)) FILTER (WHERE {check.condition})"
        row = connection.execute(layers.select(columns, check.level)).fetchone()
        if row and row[0]:
            count = f"{row[0]} {unit}{'' if row[0] == 1 else 's'}"
            faults.append(f"{check.sentence} ({count}{f', written like {row[1]}' if check.value and row[1] else ''})")
    return list(dict.fromkeys(faults))


def population(different: int, count: int) -> float:
    """How many values there are if `count` draws found so many different ones: different = n (1 - exp(-count / n)), by bisection."""
    if different == count:
        return math.inf if count else 0.0
    low, high = float(different), 1e15
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * -math.expm1(-count / middle) < different else (low, middle)
    return high
