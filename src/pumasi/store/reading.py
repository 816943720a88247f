"""Entries read on all processors. Verifying signatures is most of what a copy of the log costs, and OpenSSL works beside Python."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from pumasi.kernel import door
from pumasi.kernel.errors import Refused, Tampered, refuse_if
from pumasi.kernel.event import Entry, body_of

T = TypeVar("T")
Fits = Callable[[Entry], list[str]]  # further reasons against an entry

LONGEST = 60_000  # bytes of an event: a tile of entries takes 65,535 (C2SP tlog-tiles)
MOST = 6  # threads: a fifth of the work is Python's own, which one thread does at a time
CHUNK = 32  # items that one thread reads in a row: handing them over costs less than reading one


def anything_fits(entry: Entry) -> list[str]:
    return []


def judged(data: bytes, fits: Fits) -> Entry | list[str]:
    """An entry whose signature holds and which says nothing that must not be said, or why these bytes are none."""
    try:
        refuse_if(f"an event is at most {LONGEST} bytes long" if len(data) > LONGEST else None)
        entry = Entry(data)
        refuse_if(*door.refusals(body_of(entry.event)), *fits(entry))  # at the door, not in the rules: old logs replay for ever
        return entry
    except (Refused, Tampered) as error:
        return error.reasons


class Readers:
    """Threads that read; they start when there is the first work for more than one."""

    def __init__(self) -> None:
        self.count = min(os.cpu_count() or 1, MOST)
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="read")

    def each(self, read: Callable[[bytes], T], data: Iterable[bytes]) -> Iterator[T]:
        """`read(item)` for every item, in order; what it raises is raised at its item. Only a little is read ahead."""
        items, under_way = iter(data), deque[Future[list[T]]]()
        while chunk := list(islice(items, CHUNK)):
            if self.count == 1 or (len(chunk) < CHUNK and not under_way):
                yield from map(read, chunk)
                continue
            under_way.append(self._pool.submit(lambda chunk: list(map(read, chunk)), chunk))
            if len(under_way) > 2 * self.count:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
