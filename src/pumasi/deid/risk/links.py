"""Columns that tie rows of different people together: families, households, one doctor's few patients, a pointer to somebody else's row.

Whoever finds one person of such a group has nearly found the others. A column is reported when a good part of its rows share their value
with a few other rows, or when its values are found in a column that numbers the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pumasi.deid.engine import name
from pumasi.deid.reading import Table
from pumasi.kernel.errors import Invalid

SMALL = 9
"""Rows of a group that counts as small: a family or a household, not a ward."""
NOTABLE = 0.05
EFFORT = 60_000_000
"""Rows times columns that are searched when none are named."""


@dataclass(frozen=True)
class Link:
    """`share` of the rows are in one of `groups` groups of 2 to 9 rows (people, if a person column is named) with the same value.
    `refers_to` is the column that numbers the rows and holds this one's values, so that a row points to another."""

    column: str
    values: int
    groups: int
    share: float
    refers_to: str | None


def links(
    table: Table, *, columns: Sequence[str] = (), skip: Sequence[str] = (), person: str | None = None, effort: int = EFFORT
) -> tuple[Link, ...] | None:
    """The linking columns among `columns` (or all but `skip`), strongest first; None where the table is too large to search unasked."""
    if faults := table.absent([*columns, *([person] if person else [])]):
        raise Invalid(*faults)
    chosen = list(columns) or [one for one in table.columns if one not in skip and one != person]
    if not columns and table.rows * len(chosen) > effort:
        return None
    with table.explained():
        found = {one: _groups(table, one, person) for one in chosen}
        keys = [one for one, (values, _, _, _) in found.items() if values >= 0.95 * table.rows] + ([person] if person else [])
        all_links = []
        for one, (values, groups, share, whole) in found.items():
            others = keys[: keys.index(one)] if one in keys else keys  # of two columns that number the rows the later one points
            all_links.append(Link(one, values, groups, share, _refers(table, one, others) if whole else None))
    return tuple(sorted((one for one in all_links if one.share >= NOTABLE or one.refers_to), key=lambda one: -one.share))


def _groups(table: Table, column: str, person: str | None) -> tuple[int, int, float, bool]:
    """Different values; small groups; the share of rows (people) in them; and whether the values are names or whole numbers.

    A measured value (with decimals) or a date may be shared by chance, which links nobody: it makes no group.
    """
    who = f"count(DISTINCT {name(person)})" if person else "count(*)"
    row = table.connection.execute(
        f"SELECT count(*), count(*) FILTER (w BETWEEN 2 AND {SMALL}), coalesce(sum(w) FILTER (w BETWEEN 2 AND {SMALL}), 0) / sum(w), "
        f"count(*) FILTER (contains(v, '.') AND try_cast(v AS DOUBLE) IS NOT NULL) = 0, "
        f"count(*) FILTER (try_cast(v AS TIMESTAMP) IS NULL) > 0 "
        f"FROM (SELECT CAST({name(column)} AS VARCHAR) AS v, {who} AS w FROM ({table.sql}) WHERE {name(column)} IS NOT NULL GROUP BY v)"
    ).fetchone()
    if row is None or row[0] == 0:
        return 0, 0, 0.0, False
    whole = bool(row[3] and row[4])
    return int(row[0]), int(row[1]) if whole else 0, float(row[2]) if whole else 0.0, whole


def _refers(table: Table, column: str, keys: Sequence[str]) -> str | None:
    """The first key column that holds nine in ten of this column's values in other rows than its own."""
    for key in keys:
        row = table.connection.execute(
            f"WITH t AS (SELECT CAST({name(column)} AS VARCHAR) AS v, CAST({name(key)} AS VARCHAR) AS k FROM ({table.sql})) "
            f"SELECT count(*), count(*) FILTER (v <> k AND v IN (SELECT k FROM t)), count(DISTINCT v) FROM t WHERE v IS NOT NULL"
        ).fetchone()
        if row and row[2] >= 10 and row[1] >= 0.9 * row[0]:
            return key
    return None
