"""Tables for the tests of risk, made of rows as a paper has them; and the measures once more, as slow as they are defined."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from math import exp, log

from pumasi.deid import engine
from pumasi.deid.reading import Table

Row = tuple[str | None, ...]


@contextmanager
def made(columns: str, rows: Sequence[Row]) -> Iterator[Table]:
    """A table of text with these columns, parted by spaces."""
    names = tuple(columns.split())
    with engine.connection() as connection:
        connection.execute(f"CREATE TABLE given ({', '.join(f'{engine.name(one)} VARCHAR' for one in names)})")
        connection.executemany(f"INSERT INTO given VALUES ({', '.join('?' * len(names))})", rows)
        yield Table("given", "given", names, dict.fromkeys(names, "VARCHAR"), "SELECT * FROM given", len(rows), 0, connection, "duckdb")


def words(text: str) -> list[Row]:
    """A row for each line, a cell for each word; `-` is a missing value."""
    return [tuple(None if word == "-" else word for word in line.split()) for line in text.strip().splitlines()]


def groups(rows: Sequence[Row], width: int) -> list[list[str | None]]:
    """The sensitive values (the last column) of each class of the first `width` columns."""
    found = defaultdict(list)
    for row in rows:
        found[row[:width]].append(row[-1])
    return list(found.values())


def slow(rows: Sequence[Row], width: int) -> dict[str, float]:
    """l, t by equal and by ordered distance (values ranked as text), beta, delta, alpha of the last column."""
    total = Counter(row[-1] for row in rows)
    ranked = sorted(total, key=lambda one: (one is not None, one))
    p = {one: total[one] / len(rows) for one in ranked}
    found = []
    for group in groups(rows, width):
        q = {one: group.count(one) / len(group) for one in ranked}
        cumulated, ordered = 0.0, 0.0
        for one in ranked:
            cumulated += q[one] - p[one]
            ordered += abs(cumulated)
        counts = sorted((group.count(one) for one in set(group)), reverse=True)
        found.append(
            {
                "distinct_l": len(set(group)),
                "entropy_l": exp(-sum(q[one] * log(q[one]) for one in ranked if q[one])),
                "t_equal": sum(abs(q[one] - p[one]) for one in ranked) / 2,
                "t_ordered": ordered / (len(ranked) - 1) if len(ranked) > 1 else 0.0,
                "beta": max((q[one] - p[one]) / p[one] for one in ranked),
                "delta": max(abs(log(q[one] / p[one])) for one in ranked if q[one]),
                "alpha": counts[0] / len(group),
                "counts": counts,
            }
        )
    least = ("distinct_l", "entropy_l")
    worst = {key: (min if key in least else max)(one[key] for one in found) for key in found[0] if key != "counts"}
    l = worst["distinct_l"]  # noqa: E741
    return worst | {"recursive_c": max(one["counts"][0] / sum(one["counts"][l - 1 :]) for one in found)}


def minimal_uniques(rows: Sequence[Row], largest: int) -> dict[tuple[int, ...], set[int]]:
    """Every set of columns with the rows that it, and no part of it, singles out."""
    alone: dict[tuple[int, ...], set[int]] = {}
    for size in range(1, largest + 1):
        for columns in combinations(range(len(rows[0])), size):
            seen = Counter(tuple(row[column] for column in columns) for row in rows)
            alone[columns] = {place for place, row in enumerate(rows) if seen[tuple(row[column] for column in columns)] == 1}
    return {
        columns: left
        for columns, found in alone.items()
        if (left := found - set().union(*(alone[part] for size in range(1, len(columns)) for part in combinations(columns, size)), set()))
    }
