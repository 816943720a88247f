"""From a table and its rules to one query that treats every column: streaming, sorted so that the row order says nothing.

1. decide every column, all faults at once   2. look up what has to be known beforehand: pseudonyms of the different ids, rare levels
3. one SELECT in layers   4. rows sorted by pseudonym, then by a hash of what the row shows: the order holds nothing but the content
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pumasi.deid import dates, engine, hierarchy, keys, shapes, sql
from pumasi.deid.keys import Key
from pumasi.deid.layers import Layers, Value
from pumasi.deid.lookups import Lookups, faults_of, put
from pumasi.deid.reading import Table
from pumasi.deid.regions import PROVINCES
from pumasi.deid.rulefile import Decision, Rules
from pumasi.deid.treatments import LADDERS, Step
from pumasi.kernel.errors import Invalid

_NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "BIT", "VARIANT", "GEOMETRY")
_LONGEST = 1_000_000
_PERSON = "person"
_SHOWN = ("keep", "rare", "withhold")  # steps that leave a text as it is
_LIVED = ("1850-01-01", "2150-01-01")  # dates beyond stand for something else: 8888-08-08, or 2204 for 2024


@dataclass(frozen=True)
class Person:
    """Whose row it is: the pseudonym, its first 64 bits as a number, and by how many days this person's dates move."""

    short: Value
    first: Value
    days: Value


@dataclass(frozen=True)
class Treated:
    """A table as it will be written: `query` yields `columns` in an order that says nothing."""

    table: Table
    decisions: Mapping[str, Decision]
    columns: tuple[str, ...]
    query: str
    layers: Layers
    without_person: Value | None

    def faults(self) -> list[str]:
        """A sentence for each kind of value that no treatment understands, asked for when rows are missing."""
        return faults_of(self.table.connection, self.layers)


def prepare(table: Table, rules: Rules, key: Key, *, today: date, numbered: bool = False) -> Treated:
    """The query that treats a table; `Invalid` with every reason why it cannot be treated by these rules.

    `numbered` lets columns of few texts come as ENUM, which files do not show but a database would.
    """
    decisions = rules.decide(table.name, table.columns, types(table, rules), table.where)
    plan = _Plan(table, rules, key, today, numbered=numbered)
    faults: list[str] = []
    picked: dict[str, Value] = {}
    for column, decision in decisions.items():
        if decision.dropped:
            continue
        try:
            picked[column] = plan.column(decision)
        except Invalid as error:
            faults.extend(error.reasons)
    if faults:
        raise Invalid(*dict.fromkeys(faults))
    return plan.finished(decisions, picked)


def _shown(value: Value) -> str:
    """Zero without a sign: -0.0 sorts as 0.0 does, so that two runs would not show the same."""
    return f"{value.sql} + 0" if value.kind in ("FLOAT", "DOUBLE", "number") else value.sql


def types(table: Table, rules: Rules) -> dict[str, str]:
    """The type of each column that only a rule by type could decide, found over all its values."""
    open_columns = rules.undecided(table.name, table.columns) if rules.types else []
    return {column: _type(table, column) for column in open_columns}


def _type(table: Table, column: str) -> str:
    kind = table.types[column]
    if kind == "BOOLEAN" or sql.is_number(kind):
        return "boolean" if kind == "BOOLEAN" else "number"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return "date"
    layers = Layers(f"SELECT {engine.name(column)} AS c0 FROM ({table.sql})")
    clean = sql.text(layers, Value("c0", 0, kind))
    tests = {"date": dates.day(clean.sql), "boolean": f"nullif(lower({clean.sql}) IN ('true', 'false'), false)"}
    tests["number"] = f"try_cast({clean.sql} AS DOUBLE)"
    counts = ", ".join(f"count({test})" for test in tests.values())
    with table.explained():
        found = table.connection.execute(layers.select(f"count({clean.sql}), {counts}")).fetchone() or (0,)
    return next((name for name, count in zip(tests, found[1:], strict=True) if count == found[0] and count), "text")


class _Plan:
    """What grows while the columns of one table are gone through."""

    def __init__(self, table: Table, rules: Rules, key: Key, today: date, *, numbered: bool) -> None:
        self._table, self._rules, self._key, self._today = table, rules, key, today
        self._connection = table.connection
        listed = ", ".join(f"{engine.name(column)} AS c{place}" for place, column in enumerate(table.columns))
        self._source = f"SELECT {listed} FROM ({table.sql})"
        self.layers, self._lookups = Layers(self._source), Lookups(table, self._source, rules.person_of(table.columns), numbered=numbered)
        self._persons: dict[tuple[str, str], Person] = {}
        table.connection.execute(f"CREATE OR REPLACE TEMP TABLE {sql.PROVINCES} (written VARCHAR, whole VARCHAR)")
        names = [(written, whole) for whole, ways in PROVINCES.items() for written in ways]
        put(table.connection, sql.PROVINCES, [written for written, _ in names], [whole for _, whole in names])

    def column(self, decision: Decision) -> Value:
        """The treated column. Steps that ask for nothing but the value are done once for every different value, if that is less work."""
        column, steps = decision.column, list(decision.steps)
        where = f"{self._table.where}: the column '{column}'"
        place, value = self._table.columns.index(column), self._raw(column)
        if value.kind.startswith(_NESTED) or value.kind.endswith("]"):
            raise Invalid(f"{where} holds nested values or bytes ({value.kind.partition('(')[0]}); flatten it first, or drop it")
        alone = list(itertools.takewhile(lambda step: sql.alone(step), steps))
        if alone and self._lookups.few(place):

            def all_steps(layers: Layers, raw: Value) -> list[Value]:
                return [functools.reduce(lambda done, step: sql.treated(layers, done, step, where, self._today), alone, raw)]

            value, steps = self._lookups.add(self.layers, place, value.kind, all_steps)[0], steps[len(alone) :]
        for step in steps:
            value = self._without_rare(step, value, decision, where) if step.do == "rare" else self._step(step, value, column, where)
        if not decision.rule.checked and all(step.do in _SHOWN for step in decision.steps):
            self._refuse_identifiers(value, where)
        return value

    def _refuse_identifiers(self, value: Value, where: str) -> None:
        if value.kind not in ("VARCHAR", "text", "JSON"):
            return
        sentence = (
            f"{where} would be shown, but holds what looks like a registration number, a telephone or a mail address; "
            "drop it, mend the rows, or write checked = true into its rule once somebody has seen that it is none"
        )
        read = self.layers.add(f"CAST({value.sql} AS VARCHAR)", "VARCHAR", value) if value.kind == "JSON" else value
        self.layers.refuse(sql.telling(read.sql), sentence, read, shown=read)

    def finished(self, decisions: Mapping[str, Decision], picked: Mapping[str, Value]) -> Treated:
        """All columns in one SELECT, sorted. Rows are grouped by person only where the pseudonym is shown anyway."""
        person, order, kept = self._rules.person_of(self._table.columns), [], None
        if person is not None and (self._persons or not decisions[person].dropped):
            whose = self._persons.get((person, _PERSON))
            kept = self._with_person(person, whose)
            if whose is not None and decisions[person].steps[0].do == "pseudonym":
                order.append(whose.first.sql)
        faults = self._lookups.make()
        if faults:
            raise Invalid(*faults)
        named = ", ".join(f"{_shown(value)} AS {engine.name(column)}" for column, value in picked.items())
        order.append(f"hash({', '.join(value.sql for value in picked.values())})")
        condition = self.layers.good + (f" AND {kept.sql} IS NOT NULL" if kept is not None else "")
        query = f"{self.layers.select(named)} WHERE {condition} ORDER BY {', '.join(order)}" if picked else ""
        dropping = kept if self._rules.without_person == "drop" else None
        return Treated(self._table, decisions, tuple(picked), query, self.layers, dropping)

    def _with_person(self, person: str, whose: Person | None) -> Value:
        """What is NULL where a row has no person, which no row may be unless the rules drop such rows."""
        told = whose.short if whose is not None else sql.text(self.layers, self._raw(person))
        if self._rules.without_person == "refuse":
            sentence = (
                f"{self._table.where}: the person column '{person}' has no value; fill it in, or write without_person = \"drop\" "
                "into the rule file to leave such rows out"
            )
            self.layers.refuse(f"{told.sql} IS NULL", sentence, told)
        return told

    def _raw(self, column: str) -> Value:
        return Value(f"c{self._table.columns.index(column)}", 0, self._table.types[column])

    def _step(self, step: Step, value: Value, column: str, where: str) -> Value:
        match step.do:
            case "keep":
                return self._short_enough(value, where)
            case "pseudonym":
                return self._pseudonym(step, value, column, where)
            case "shift":
                return self._shifted(step, value, column, where)
            case "date":
                return sql.cut_date(self.layers, value, step, where, self._at(step, where))
            case "noise":
                return sql.noisy(self.layers, value, step, where, self._drawn(column))
            case "generalise" if step["by"] not in LADDERS:
                return self._climbed(step, value, where)
            case _:
                return sql.treated(self.layers, value, step, where, self._today)

    def _short_enough(self, value: Value, where: str) -> Value:
        if value.kind != "VARCHAR" or self._table.kind == "csv":  # a CSV file was looked through already
            return value
        sentence = f"{where} has a value longer than a megabyte; tables hold values, so move it to a file of its own"
        self.layers.refuse(f"strlen({value.sql}) > {_LONGEST}", sentence, value)
        return value

    def _pseudonym(self, step: Step, value: Value, column: str, where: str) -> Value:
        if value.level:
            raise Invalid(f"{where}: a pseudonym is made of the id itself; let it be the first step")
        if step["format"] == "same":
            return self._in_shape(step, column, where)
        found = self._ids(column, step["of"])
        if step["format"] == "hex":
            return found.short
        return self.layers.add(f"CAST({found.first.sql} >> 1 AS BIGINT)", "BIGINT", found.first)

    def _ids(self, column: str, of: str) -> Person:
        """Pseudonyms of a column: of its different ids once, or, where nearly every row has another one, as the rows come by."""
        if (column, of) not in self._persons:
            inner, outer = self._pads(of)

            def hashed(layers: Layers, raw: Value) -> list[Value]:
                told = sql.text(layers, raw)
                again = f"unhex(sha256(getvariable('{inner}') || encode({told.sql})))"
                digest = layers.add(f"sha256(getvariable('{outer}') || {again})", "text", told)  # RFC 2104
                return [layers.add(one, kind, digest) for one, kind in self._parts(digest.sql)]

            place, raw = self._table.columns.index(column), self._raw(column)
            repeats = self._lookups.repeats(place)
            made = self._lookups.add(self.layers, place, raw.kind, hashed) if repeats else hashed(self.layers, raw)
            self._persons[column, of] = Person(*made)
        return self._persons[column, of]

    def _pads(self, of: str) -> tuple[str, str]:
        """The two blocks of HMAC as variables: a key never stands in the text of a query, which DuckDB quotes in messages."""
        names = (f"pumasi_i_{of.encode().hex()}", f"pumasi_o_{of.encode().hex()}")
        for one, block in zip(names, keys.pads(self._key.of(f"pseudonym {of}")), strict=True):
            self._connection.execute(f"SET VARIABLE {one} = ?", [block])
        return names

    def _parts(self, digest: str) -> list[tuple[str, str]]:
        """Pseudonym, sort key, days: from different bits of one HMAC, of which the pseudonym shows the first 128 alone."""
        reach, unit = self._rules.shift.days, 7 if self._rules.shift.weekday else 1
        steps = reach // unit
        place = f"CAST(CAST('0x' || substr({digest}, 33, 16) AS UBIGINT) % {2 * steps} AS INTEGER) - {steps}"
        days = f"{unit} * (CASE WHEN {place} >= 0 THEN {place} + 1 ELSE {place} END)"  # never zero: everybody's dates move
        return [(f"left({digest}, 32)", "text"), (f"CAST('0x' || left({digest}, 16) AS UBIGINT)", "UBIGINT"), (days, "INTEGER")]

    def _in_shape(self, step: Step, column: str, where: str) -> Value:
        key = self._key.of(f"shape {step['of']}")
        raw = self._raw(column)

        def text(layers: Layers, raw: Value) -> list[Value]:
            return [sql.text(layers, raw)]

        return self._lookups.add(
            self.layers, self._table.columns.index(column), raw.kind, text, lambda ids: shapes.same_shape(ids, key, where)
        )[0]

    def _shifted(self, step: Step, value: Value, column: str, where: str) -> Value:
        person = self._rules.person_of(self._table.columns)
        if person is None:
            raise Invalid(
                f"{where} is a date to be moved, but the table has no person column (the rules look for {', '.join(self._rules.person)}); "
                "name it in 'person' of the rule file, or cut the date to its year"
            )
        days = self._ids(person, _PERSON).days
        read, place = sql.moment if step["time"] else sql.day, self._table.columns.index(column)
        if value.level == 0 and self._lookups.few(place):
            when = self._lookups.add(self.layers, place, value.kind, lambda layers, raw: [read(layers, raw, where, step["format"])])[0]
        else:
            when = read(self.layers, value, where, step["format"])
        known = ", ".join(f"DATE '{one}'" for one in self._rules.shift.landmarks)  # moving what everybody knows would tell how far
        lived = f"{when.sql} >= DATE '{_LIVED[0]}' AND {when.sql} < DATE '{_LIVED[1]}'"
        elsewhere = f"CASE WHEN {lived} THEN {when.sql} + to_days({days.sql}) ELSE date_trunc('year', {when.sql}) END"
        moved = f"CASE WHEN CAST({when.sql} AS DATE) IN ({known}) THEN {when.sql} ELSE {elsewhere} END"
        kind = "TIMESTAMP" if step["time"] else "DATE"
        return self.layers.add(f"CAST({moved} AS {kind})", kind, when, days)

    def _at(self, step: Step, where: str) -> Value | None:
        """The date at which an age is meant: a date, today, or another column of the row."""
        at: str | None = step["at"]
        if at is None or sql.alone(step):
            return sql.fixed_day(at, self._today)
        if at not in self._table.columns:
            raise Invalid(f"{where} becomes an age at '{at}', but the table has no such column")
        return sql.day(self.layers, self._raw(at), f"{self._table.where}: the column '{at}'")

    def _drawn(self, column: str) -> Value:
        """Pseudorandom digits for this cell, from everything the row holds: the same under the same key, of no use without it."""
        inner, outer = self._pads(f"noise {self._table.name} {column}")
        cells = ", ".join(f"coalesce(CAST(c{place} AS VARCHAR), '')" for place in range(len(self._table.columns)))
        row = f"encode(concat_ws(chr(31), {cells}, ''))"
        return self.layers.add(f"sha256(getvariable('{outer}') || unhex(sha256(getvariable('{inner}') || {row})))", "text")

    def _without_rare(self, step: Step, value: Value, decision: Decision, where: str) -> Value:
        """Levels that enough different people have, else NULL or what stands for the rest."""
        earlier = decision.steps[: decision.steps.index(step)]
        if not all(map(sql.alone, earlier)):
            raise Invalid(f"{where}: let 'rare' come before '{earlier[-1].do}', so that it counts what is in the table")

        def made(layers: Layers) -> Value:
            done = functools.reduce(lambda one, by: sql.treated(layers, one, by, where, self._today), earlier, self._raw(decision.column))
            return sql.text(layers, done)

        level, place = sql.text(self.layers, value), self._table.columns.index(decision.column)
        common = self._lookups.common(self.layers, level, place, made, step["fewer_than"])
        shown = "NULL" if step["as"] is None else engine.literal(step["as"])
        hidden = f"{level.sql} IS NOT NULL AND {common.sql} IS NULL"
        return self.layers.add(f"CASE WHEN {hidden} THEN {shown} ELSE {common.sql} END", "text", common)

    def _climbed(self, step: Step, value: Value, where: str) -> Value:
        """A level of a CSV hierarchy, in which every value that occurs has to stand."""
        found = hierarchy.read(Path(step["by"]), where)
        if not step["level"] < found.levels:
            raise Invalid(
                f"{where}: the hierarchy {step['by']} has the levels 0 to {found.levels - 1}, and the rule asks for {step['level']}"
            )
        labels = found.labels[step["level"]]
        treated = [labels[code] for code in found.codes[step["level"]]]
        name = self._lookups.name()
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} (value VARCHAR, label VARCHAR)")
        put(self._connection, name, found.values, treated)
        clean = sql.text(self.layers, value)
        label = self.layers.join(name, "value", clean, {"label": "text"})[0]
        sentence = f"{where} holds values that its hierarchy {step['by']} does not have; add a line for each"
        self.layers.refuse(f"{clean.sql} IS NOT NULL AND {label.sql} IS NULL", sentence, label, clean, shown=clean)
        return label
