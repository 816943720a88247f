"""`pumasi deid table`: every table of IN, treated by the rules, to OUT; and a record of what was done that holds no value.

1. the rules, the key, the tables: whatever is wrong with them, before anything is written   2. each table in one streaming query
3. row counts compared with what was read   4. the new names appear, all at once
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pumasi.deid import dates, engine, keys, places, reading, rulefile, treatments, writing
from pumasi.deid.keys import Key
from pumasi.deid.looking import header
from pumasi.deid.reading import Table
from pumasi.deid.rulefile import Rules
from pumasi.deid.transform import Treated, prepare
from pumasi.kernel.errors import Invalid, PumasiError, Refused

MEMORY_MB = 3072  # what does not fit is spilt, so that a larger table takes longer and not more memory
Tell = Callable[[str, float], None]

# Pushing a check down to the file repeats the work of the columns it is about; small tables are always the ones to look up in.
_COLUMN_MB = 4  # about what a treated text takes of memory in each thread, however few the rows: the vectors of its expressions
_AS_WRITTEN = "filter_pushdown,filter_pullup,join_order,build_side_probe_side,in_clause"


@dataclass(frozen=True)
class Written:
    """One table that was treated: where it is, and how many rows were read, written and left out."""

    treated: Treated
    place: str
    rows: int
    left_out: int

    def plain(self) -> dict[str, Any]:
        decisions = self.treated.decisions.values()
        return {
            "out": self.place,
            "rows": self.rows,
            "rows_left_out": self.left_out,
            "columns": {
                one.column: {
                    "treatment": treatments.told(one.steps),
                    "rule": one.rule.place,
                    **({"why": one.rule.why} if one.rule.why else {}),
                    **({"unverified": True} if one.rule.unverified else {}),
                }
                for one in decisions
            },
        }


@dataclass(frozen=True)
class Done:
    """What a run did."""

    rules: Rules
    key: Key
    tables: tuple[Written, ...]
    empty: tuple[str, ...]
    seconds: float

    def plain(self) -> dict[str, Any]:
        return {
            "rules": {"name": self.rules.name, "sha256": self.rules.digest, "files": list(self.rules.sources)},
            "key": self.key.kept,
            "rows": sum(one.rows for one in self.tables),
            "tables": {one.treated.table.name: one.plain() for one in self.tables},
            "dropped_tables": list(self.empty),
            "seconds": round(self.seconds, 3),
        }


def pseudonymise(
    source: str,
    *,
    rules: str,
    out: str,
    key: Path | None = None,
    today: date | None = None,
    memory_mb: int = MEMORY_MB,
    before: Callable[[Sequence[Treated]], None] = lambda tables: None,
    tell: Tell = lambda name, share: None,
) -> Done:
    """Treat every table that `source` names and write it to `out`. Nothing appears there unless all of it does.

    `before` is called with the tables that will be written, and may still refuse.
    """
    began = time.monotonic()
    said = rulefile.load(rules)
    faults = places.overlaps([source, rules, *said.hierarchies], [out])
    if key is not None and Path(out).resolve() in key.resolve().parents:
        faults.append(f"{key}: the key may not lie in the folder of the treated data; keep them apart")
    if faults:
        raise Refused(*faults)
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connection(memory_mb=memory_mb, spill=_spill(out)))
        connection.execute(f"SET TimeZone = '{dates.ZONE}'")
        tables = reading.tables(source, connection)
        for table in tables:
            opened.callback(table.close)
        secret = keys.in_file(key) if key is not None else keys.forgotten()
        to_files = not (out.startswith(reading.POSTGRES) or "::" in out)
        treated = _prepared(tables, said, secret, today or date.today(), numbered=to_files)
        shown = [one for one in treated if one.columns]
        if not shown:
            raise Invalid(f"{source}: the rules '{said.name}' drop every column, so there is nothing to write")
        several = len(tables) > 1 or Path(source).is_dir()
        suffix = ".csv" if all(table.kind == "csv" for table in tables) else ".parquet"
        before(shown)
        with writing.place(out, connection, several=several, names=[one.table.name for one in shown], suffix=suffix) as to:
            written = []
            for one in shown:
                engine.bound_threads(connection, memory_mb // (_COLUMN_MB * len(one.columns)))
                written.append(_write(one, to, tell))
            if key is not None and secret.kept == "made":
                keys.keep(secret, key)  # last, so that a run that fails leaves no key behind
    dropped = tuple(one.table.name for one in treated if not one.columns)
    return Done(said, secret, tuple(written), dropped, time.monotonic() - began)


def _prepared(tables: list[Table], rules: Rules, key: Key, today: date, *, numbered: bool) -> list[Treated]:
    """All tables or none: every fault of every table at once."""
    treated, faults = [], [fault for table in tables for fault in header(table)]
    for table in tables if not faults else ():
        try:
            treated.append(prepare(table, rules, key, today=today, numbered=numbered))
        except Invalid as error:
            faults.extend(error.reasons)
    if faults:
        raise Invalid(*faults)
    return treated


def _write(one: Treated, to: writing.Out, tell: Tell) -> Written:
    table = one.table
    table.connection.execute(f"SET disabled_optimizers = '{_AS_WRITTEN}'")
    try:
        rows = to.write(table.name, one.query, lambda share: tell(table.name, share))
    except duckdb.Error as error:
        raise table.reason(error) from None
    finally:
        table.connection.execute("RESET disabled_optimizers")
    missing = table.rows - rows
    expected = _without_person(one) if one.without_person is not None else 0
    if missing != expected:
        faults = one.faults() or [fault for file in table.files for fault in file.faults()]
        if faults:
            raise Invalid(*faults)
        raise PumasiError(
            f"{table.where}: not every row arrived; the table was changed while it was read, or cannot be read; export it again"
        )
    return Written(one, to.place(table.name), rows, missing)


def _without_person(one: Treated) -> int:
    """How many rows have no person, when the rules leave such rows out."""
    assert one.without_person is not None
    columns = f"count(*) - count({one.without_person.sql})"
    row = one.table.connection.execute(one.layers.select(columns, one.without_person.level)).fetchone()
    return int(row[0]) if row else 0


def _spill(out: str) -> Path | None:
    """Temporary files go where the result goes: there is room there, and it is trusted with the treated table."""
    if out.startswith(reading.POSTGRES):
        return None
    parent = Path(out.rpartition("::")[0] or out).parent
    return parent if parent.is_dir() else None
