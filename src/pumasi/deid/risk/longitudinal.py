"""Histories as fingerprints: how many events of a person somebody must know until only one person fits.

Unicity as in Y.-A. de Montjoye et al. 2013, Unique in the Crowd (Sci Rep 3:1376): people are drawn, and of each some of their own events
at random; the share of them whom these events fit alone. An event is what stands in the columns named, seen at several precisions of
its dates. The draw is fixed by the data, so that the same table gives the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.dates import day
from pumasi.deid.engine import name
from pumasi.deid.reading import Table
from pumasi.kernel.errors import Invalid

Hashes = NDArray[np.uint64]

PEOPLE = 1000
KNOWN = 6
PRECISIONS = ("day", "month", "year", "none")


@dataclass(frozen=True)
class Fingerprint:
    """At a precision of the dates: `singled[n - 1]` is the share of people with at least n events whom n random ones fit alone, of
    `drawn[n - 1]` people; None where nobody has so many. `enough` is the smallest n at which it is 0.95 or more."""

    precision: str
    people: int
    drawn: tuple[int, ...]
    singled: tuple[float | None, ...]
    enough: int | None


def longitudinal(table: Table, *, person: str, events: Sequence[str], people: int = PEOPLE, known: int = KNOWN) -> tuple[Fingerprint, ...]:
    """Measure a table of events, one row each. Rows without a person or without any event are passed over.

    Values are compared by 64-bit hashes: two of a million events are taken for the same with a probability of 3e-8.
    """
    faults = table.absent([person, *events])
    faults += [f"the column '{person}' says whose event it is; it cannot be an event itself"] if person in events else []
    if faults:
        raise Invalid(*faults)
    with table.explained():
        dates = [one for one in events if _is_date(table, one)]
        return tuple(_fingerprint(table, person, events, dates, one, people, known) for one in (PRECISIONS if dates else ("day",)))


def _is_date(table: Table, column: str) -> bool:
    row = table.connection.execute(
        f"SELECT count(v), count({day('v')}) FROM (SELECT {_text(column)} AS v FROM ({table.sql}) LIMIT 100000)"
    ).fetchone()
    return row is not None and 0 < row[0] == row[1]


def _text(column: str) -> str:
    return f"trim(CAST({name(column)} AS VARCHAR))"


def _fingerprint(
    table: Table, person: str, events: Sequence[str], dates: Sequence[str], precision: str, people: int, known: int
) -> Fingerprint:
    parts = [
        f"date_trunc('{precision}', {day(_text(one))})" if one in dates else _text(one)
        for one in events
        if not (one in dates and precision == "none")
    ]
    if not parts:
        return Fingerprint(precision, 0, (), (), None)
    there = " OR ".join(f"{name(one)} IS NOT NULL" for one in events)
    connection, made = table.connection, "risk_history"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {made} AS SELECT DISTINCT hash(CAST({name(person)} AS VARCHAR)) AS p, hash({', '.join(parts)}) AS e "
        f"FROM ({table.sql}) WHERE {name(person)} IS NOT NULL AND ({there})"
    )
    try:
        everybody = connection.execute(f"SELECT count(DISTINCT p) FROM {made}").fetchone()
        seen = connection.execute(
            f"SELECT p, e, row_number() OVER (PARTITION BY p ORDER BY hash(e, p), e) AS n FROM {made} "
            f"WHERE p IN (SELECT DISTINCT p FROM {made} ORDER BY hash(p), p LIMIT {people:d}) QUALIFY n <= {known:d} ORDER BY p, n"
        ).fetchnumpy()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {made}_known AS SELECT DISTINCT unnest($1::UBIGINT[]) AS e", [seen["e"].tolist()])
        shared = connection.execute(f"SELECT e, p FROM {made} SEMI JOIN {made}_known USING (e) ORDER BY e, p").fetchnumpy()
    finally:
        connection.execute(f"DROP TABLE IF EXISTS {made}")
        connection.execute(f"DROP TABLE IF EXISTS {made}_known")
    drawn, alone = _count(np.asarray(seen["p"]), np.asarray(seen["e"]), np.asarray(shared["e"]), np.asarray(shared["p"]), known)
    singled = tuple(int(hit) / int(of) if of else None for hit, of in zip(alone, drawn, strict=True))
    enough = next((n for n, share in enumerate(singled, start=1) if share is not None and share >= 0.95), None)
    return Fingerprint(precision, int(everybody[0]) if everybody else 0, tuple(int(one) for one in drawn), singled, enough)


def _count(person: Hashes, event: Hashes, events: Hashes, people: Hashes, known: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each number of known events: people drawn, and those of them whom the events fit alone."""
    drawn, alone = np.zeros(known, dtype=np.int64), np.zeros(known, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, person[1:] != person[:-1]]) if len(person) else np.array([], dtype=np.int64)
    for start, end in zip(starts, np.r_[starts[1:], len(person)], strict=True):
        fit: Hashes | None = None
        for n, one in enumerate(event[start:end]):
            low, high = np.searchsorted(events, one, side="left"), np.searchsorted(events, one, side="right")
            having = people[low:high]
            fit = having if fit is None else np.intersect1d(fit, having, assume_unique=True)
            drawn[n] += 1
            alone[n] += len(fit) == 1
    return drawn, alone
