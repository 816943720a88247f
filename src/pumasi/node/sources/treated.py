"""A table as treatments leave it, before anything of it is described or extracted: a Parquet file without a name, in memory alone.

Every column that is not wanted is gone, and the person column is as it was: whoever reads on makes pseudonyms of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import date

import duckdb

from pumasi.deid import asked, dates, engine, treatments
from pumasi.deid.keys import Key
from pumasi.deid.reading import Table
from pumasi.deid.rulefile import Rule, Rules, Shift, folded
from pumasi.deid.transform import prepare
from pumasi.deid.treatments import Step, Steps
from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.node.sources import files
from pumasi.node.sources.parquet import Parquet
from pumasi.node.sources.table import SourceTable

NO_RULES = Rules("study", "", "", "drop", (), "refuse", Shift(), {}, {}, {})


def treated(
    table: SourceTable,
    wanted: Mapping[str, Steps],
    *,
    person: str,
    rules: Rules | None,
    key: Key,
    today: date,
    levels: Mapping[str, Collection[str]] | None = None,
) -> SourceTable:
    """The wanted columns of a table after their steps; the caller closes both. `Invalid` says which values no step understands.

    `rules` gives what holds for the whole table: how far dates move, and where its CSV hierarchies lie. `today` is the day at which an
    age `at = "today"` is meant.
    """
    said = rules or NO_RULES
    columns = _rules(table, {column: asked.found(steps, said, table.where) for column, steps in wanted.items()}, person)
    said = replace(said, person=(folded(person),), without_person="refuse", unknown="drop", columns=columns, tables={}, types={})
    kinds = {column: kind for column, steps in wanted.items() if (kind := asked.kind_after(steps)) is not None}
    with ExitStack() as opened:
        copy = files.memory_file(f"{table.name} treated", table.where)
        opened.callback(copy.close)
        with closing(engine.connect()) as connection:
            _write(connection, table, said, key, today, copy)
        left = SourceTable(Parquet(copy, table.where), table.name, where=table.where, levels=levels or {}, kinds=kinds)
        opened.pop_all()  # all is well: it stays open, until the table is closed
        return left


def _rules(table: SourceTable, wanted: Mapping[str, Steps], person: str) -> dict[str, Rule]:
    """A rule for every column by its name. Names that differ by case alone are one name to a rule file."""
    steps = {column: wanted.get(column, (Step("drop"),)) for column in table.kinds} | {person: treatments.parse("keep", "person")}
    rules: dict[str, Rule] = {}
    for column, one in steps.items():
        other = rules.setdefault(folded(column), Rule("permit", one, checked=True))  # no row of it leaves the node
        if other.steps != one:
            raise Invalid(
                f"{table.where}: two columns are called '{column}' but for upper and lower case; rename one, so that rules tell them apart"
            )
    return rules


def _write(connection: duckdb.DuckDBPyConnection, table: SourceTable, rules: Rules, key: Key, today: date, copy: files.Handle) -> None:
    connection.execute(f"SET TimeZone = '{dates.ZONE}'")
    files.plan_for(connection, table.rows)
    named = ", ".join(f"{table.sql(column)} AS {engine.name(column)}" for column in table.kinds)
    columns = tuple(table.kinds)
    types = dict.fromkeys(columns, "VARCHAR")
    opened = Table(table.name, table.where, columns, types, f"SELECT {named} FROM {table.relation}", table.rows, 0, connection, "source")
    one = prepare(opened, rules, key, today=today)
    try:
        found = connection.execute(f"COPY ({one.query}) TO '{copy.path}' (FORMAT parquet, USE_TMP_FILE false)").fetchone()
    except duckdb.Error as error:  # its message may quote a value
        kind = type(error).__name__
        raise PumasiError(f"{table.where}: it could not be treated ({kind}); give the node more memory, or a smaller table") from None
    if found != (table.rows,):
        raise Invalid(*(one.faults() or [f"{table.where}: not every row could be treated; the file was changed while it was read"]))
