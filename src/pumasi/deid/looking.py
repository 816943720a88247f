"""Looks at cells, piece by piece: here, or in several processes when there are many. Few pieces are on the way, so memory stays flat."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

from pumasi.deid.evidence import Tally
from pumasi.deid.patterns import ENGLISH, INDIRECT, SURE, Kind, find
from pumasi.deid.reading import Table

PIECE = 20_000  # rows, or levels
_NUMBERED = (Kind.RRN, Kind.FRN, Kind.PHONE, Kind.CARD)  # no name of a column has such a form
MANY = 200_000  # cells; below, processes take longer to start than to work


@dataclass(frozen=True)
class Piece:
    """Some cells of one column, each with how often it stands there; `rows` is how far the reading has come with it."""

    column: str
    cells: Counter[str]
    rows: int = 0


class Look(Protocol):
    """Gives for each piece a tally."""

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Tally]]: ...


@contextmanager
def lookers(workers: int, cells: int) -> Iterator[Look]:
    """A way to look at about so many cells: with so many processes, or here when they are few."""
    if workers <= 1 or cells < MANY:
        yield lambda pieces: ((piece, tally(piece.cells)) for piece in pieces)
        return
    context = get_context("spawn")  # a fork would copy DuckDB's threads
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_deaf) as pool:
        try:
            yield lambda pieces: _shared(pieces, pool, 3 * workers)
        finally:
            pool.shutdown(cancel_futures=True)  # after an interrupt, what is under way ends and nothing new begins


def header(table: Table) -> list[str]:
    """What is wrong with a header that holds identifiers, as a row of data does: names of columns go into rule files and reports."""
    faults = []
    for place, column in enumerate(table.columns, start=1):
        sure = [
            span
            for span in find(column)
            if span.confidence >= (0.8 if span.kind in _NUMBERED else SURE) and span.kind not in INDIRECT and "label" not in span.why
        ]
        if sure:
            faults.append(
                f"{table.where}: the name of column {place} holds what looks like a {ENGLISH[sure[0].kind]}; "
                "give the table a header line, or rename the column"
            )
    return faults


def tally(cells: Counter[str]) -> Tally:
    """What stands in these cells."""
    found = Tally()
    for value, times in cells.items():
        found.add(value, times)
    return found


def _shared(pieces: Iterable[Piece], pool: ProcessPoolExecutor, most: int) -> Iterator[tuple[Piece, Tally]]:
    under_way: deque[tuple[Piece, Future[Tally]]] = deque()
    for piece in pieces:
        under_way.append((piece, pool.submit(tally, piece.cells)))
        while len(under_way) >= most:
            done, future = under_way.popleft()
            yield done, future.result()
    for done, future in under_way:
        yield done, future.result()


def _deaf() -> None:
    """An interrupt is for the process that reads; it ends these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
