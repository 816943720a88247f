"""The risk before and after a run of `pumasi deid table`, for the report that a review board signs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pumasi.deid import engine, reading
from pumasi.deid.risk import report as reports
from pumasi.deid.table import Done
from pumasi.deid.transform import Treated
from pumasi.kernel.errors import Invalid

KNOWN = ("sex", "gender", "성별")  # what anybody knows of anybody, even where the rules keep it
COARSENED = ("date", "age", "generalise", "bucket", "round", "limit", "rare")


def quasi_of(treated: Treated) -> tuple[str, ...]:
    """The columns that an outsider may know: those that the rules make coarser, because they may be known, and the sex."""
    return tuple(column for column in treated.columns if treated.decisions[column].steps[0].do in COARSENED or column.casefold() in KNOWN)


def check(tables: Sequence[Treated], quasi: tuple[str, ...]) -> None:
    """`Invalid` when no report could be made of these tables, before they are written."""
    if not quasi and not any(map(quasi_of, tables)):
        raise Invalid("no column of the treated table is one that others may know, so there is no risk to report; name some with --quasi")
    chosen = max(tables, key=lambda one: len(quasi or quasi_of(one)))
    absent = [column for column in quasi if column not in chosen.columns]
    if absent:
        raise Invalid(*(f"{chosen.table.where}: --quasi names '{column}', which the treated table does not show" for column in absent))


def report(source: str, done: Done, *, quasi: tuple[str, ...] = (), html: Path | None, population: int | None = None) -> dict[str, Any]:
    """Measure the table with the most such columns before and after, write the page, and return the figures."""
    chosen = max(done.tables, key=lambda one: len(quasi or quasi_of(one.treated)))
    columns = quasi or quasi_of(chosen.treated)
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connection())
        before = _named(source, chosen.treated.table.name, opened, connection)
        after = opened.enter_context(reading.read(chosen.place, connection))
        faults = [*before.absent(columns), *after.absent(columns)]
        if faults:
            raise Invalid(*faults)
        found = reports.examine(before, after, reports.Question(quasi=columns, population=population))
        reports.write(found, html=html)
    return {"table": chosen.treated.table.name, "quasi": list(columns), **reports.as_json(found)}


def _named(source: str, name: str, opened: ExitStack, connection: engine.Connection) -> reading.Table:
    tables = reading.tables(source, connection)
    for table in tables:
        opened.callback(table.close)
    return next(table for table in tables if table.name == name)
