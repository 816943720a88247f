"""What a hospital tells the others about its tables: kinds, and the values that enough people share. Never how often, never a rare value.

A person is one id of the person column, so somebody with many rows counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from pumasi.deid import asked, keys, treatments
from pumasi.deid.rulefile import Rules
from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.kernel.study import (
    ColumnDescription,
    Dataset,
    RuledTableDescription,
    Spread,
    TableDescription,
    TreatedDescription,
    level_order,
    level_text,
)
from pumasi.node import columnrules
from pumasi.node.sources import SourceTable, TableSource, files, open_source, treated, values

FEW = 50  # different values that still make a number column a list of categories
MOST = 0.75  # of the people with a value: so many share the values of a list of categories; of ages in a small hospital few do
_SURELY_MANY = 1_000  # by DuckDB's estimate, which errs by far less than the factor between this and FEW
_AT_ONCE = 32  # columns counted in one pass over the file
_LONGEST = 300  # characters of a level (kernel.model.Line)


@dataclass(frozen=True)
class _Found:
    distinct: int
    shared: list[str]  # the values that enough people have
    cover: float  # the part of the people with a value who have one of these


def describe(tables: dict[str, TableSource], *, hospital: str, smallest_cell: int, today: date | None = None) -> Dataset:
    """The description of all tables that node.toml names; `Invalid` with what is wrong in any of them.

    `today` (by default the machine's) is the day at which rules mean an age `at = "today"`.
    """
    described: dict[str, RuledTableDescription | TableDescription] = {}
    faults: list[str] = []
    for name, source in tables.items():
        try:
            with open_source(source, name, hospital=hospital) as table:
                if source.rules is None:
                    described[name] = _describe_table(table, source, smallest_cell=smallest_cell)
                else:
                    described[name] = _describe_ruled(table, source, source.rules, smallest_cell=smallest_cell, today=today or date.today())
        except Invalid as error:
            faults.extend(error.reasons)
    if faults:
        raise Invalid(*faults)
    return Dataset(hospital=hospital, smallest_cell=smallest_cell, tables=described)


def _describe_table(table: SourceTable, source: TableSource, *, smallest_cell: int) -> TableDescription:
    found = _describe_columns(table, _open_columns(table, source), source.person, smallest_cell)
    return TableDescription(person=source.person, columns=found)


def _describe_ruled(table: SourceTable, source: TableSource, rules: Rules, *, smallest_cell: int, today: date) -> RuledTableDescription:
    """A table as its rules leave it. What depends on a key has another value in each permit, so none is named."""
    shown = columnrules.shown(rules, table.name, {column: table.kinds[column] for column in _open_columns(table, source)})
    with treated(table, shown, person=source.person, rules=rules, key=keys.forgotten(), today=today) as left:
        found = _describe_columns(left, list(shown), source.person, smallest_cell)
    columns = {
        name: TreatedDescription(
            kind=one.kind,
            spread=one.spread,
            levels=[] if asked.is_secret(shown[name]) else one.levels,
            treat=treatments.told(shown[name]),
        )
        for name, one in found.items()
    }
    return RuledTableDescription(person=source.person, rules=columnrules.named(rules), columns=columns)


def _open_columns(table: SourceTable, source: TableSource) -> list[str]:
    return [column for column in table.kinds if column != source.person and column not in source.identifiers]


def _describe_columns(table: SourceTable, columns: list[str], person: str, smallest_cell: int) -> dict[str, ColumnDescription]:
    faults = table.faults(person=person, columns=columns)
    if faults:
        raise Invalid(*faults)
    try:
        with files.connect() as connection:
            files.plan_for(connection, table.rows)
            found = _count(connection, table, columns, person=person, smallest_cell=smallest_cell)
    except duckdb.Error as error:  # its message may quote a value
        kind = type(error).__name__
        raise PumasiError(
            f"{table.where}: its values could not be counted ({kind}); give the node more memory, or a smaller table"
        ) from None
    return {column: _describe_column(table, column, found.get(column)) for column in columns}


def _describe_column(table: SourceTable, column: str, found: _Found | None) -> ColumnDescription:
    kind = table.kinds[column]
    spread = _spread(found)
    if found is None or kind in (None, "date") or (kind == "number" and (spread == "many" or _is_measured(found))):
        return ColumnDescription(kind=kind, spread=spread, levels=[])
    levels = (
        [level_text(float(value)) for value in found.shared]
        if kind == "number"
        else [value for value in found.shared if value.isprintable()]
    )
    return ColumnDescription(kind=kind, spread=spread, levels=sorted(levels, key=level_order(kind or "text")))


def _is_measured(found: _Found) -> bool:
    return found.distinct > 2 and found.cover < MOST


def _spread(found: _Found | None) -> Spread:
    if found is None or found.distinct > FEW:
        return "many"
    return "few" if found.distinct > 2 else "one-or-two"


def _count(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, columns: list[str], *, person: str, smallest_cell: int
) -> dict[str, _Found]:
    """The values of each column and those that enough people share; columns with surely many numbers or days are left out."""
    measured = [column for column in columns if table.kinds[column] in ("number", "date")]
    many = set()
    if measured:
        estimates = ", ".join(f"approx_count_distinct({_value(table, column)})" for column in measured)
        row = connection.execute(f"SELECT {estimates} FROM {table.relation}").fetchone() or ()
        many = {column for column, estimate in zip(measured, row, strict=True) if estimate > _SURELY_MANY}
    counted = [column for column in columns if column not in many]
    found: dict[str, _Found] = {}
    for begin in range(0, len(counted), _AT_ONCE):
        found |= _count_some(connection, table, counted[begin : begin + _AT_ONCE], person=person, smallest_cell=smallest_cell)
    return found


def _count_some(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, columns: list[str], *, person: str, smallest_cell: int
) -> dict[str, _Found]:
    names = [f"v{place}" for place in range(len(columns))]
    listed, sets = ", ".join(names), ", ".join(f"({name})" for name in names)
    picked = ", ".join(f"{_value(table, column)} AS {name}" for column, name in zip(columns, names, strict=True))
    enough = f"people >= {smallest_cell:d}"
    rows = connection.execute(
        f"SELECT which, count(value), list(value) FILTER ({enough} AND length(value) <= {_LONGEST}),"
        f"  coalesce(sum(people) FILTER ({enough} AND value IS NOT NULL) / sum(people) FILTER (value IS NOT NULL), 0) FROM ("
        f"  SELECT grouping({listed}) AS which, coalesce({listed}) AS value, count(DISTINCT person) AS people"
        f"  FROM (SELECT {table.sql(person)} AS person, {picked} FROM {table.relation}) GROUP BY GROUPING SETS ({sets})"
        ") GROUP BY which"
    ).fetchall()
    # `grouping` has a bit for each column, the first the highest, and the bit is 0 for the one that is grouped by
    full = 2 ** len(columns) - 1
    which = {full - 2 ** (len(columns) - 1 - place): column for place, column in enumerate(columns)}
    return {which[int(mask)]: _Found(int(distinct), shared or [], cover) for mask, distinct, shared, cover in rows}


def _value(table: SourceTable, column: str) -> str:
    """The value of a column as text, written the same way wherever it is the same value."""
    cell = table.sql(column)
    match table.kinds[column]:
        case "number":
            return f"CAST({values.number(cell)} + 0.0 AS VARCHAR)"  # + 0.0 makes -0 the 0 that it equals
        case "date":
            return values.day(cell)
        case "boolean":
            return values.boolean(cell)
        case _:
            return cell
