"""Reading on several threads gives what reading one after the other gives: the same items, in order, the same first trouble."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pumasi.store.reading import CHUNK, Readers


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 20 * CHUNK + 3])
def test_everything_comes_in_order(count: int) -> None:
    data = [str(number).encode() for number in range(count)]
    assert list(Readers().each(int, data)) == list(range(count))


def test_the_first_trouble_is_raised_at_its_place() -> None:
    data = [b"x" if number in (5 * CHUNK, 9 * CHUNK) else str(number).encode() for number in range(12 * CHUNK)]
    found = []
    with pytest.raises(ValueError, match="'x'"):
        for value in Readers().each(int, data):
            found.append(value)
    assert found == list(range(4 * CHUNK + CHUNK))


def test_a_long_log_is_not_read_into_memory() -> None:
    taken = 0

    def rows() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000 * CHUNK):
            taken += 1
            yield b"1"

    readers = Readers()
    assert next(readers.each(int, rows())) == 1
    assert taken < 1000 * CHUNK / 2


def test_many_items_are_read_by_several_threads() -> None:
    readers, seen = Readers(), set[int]()
    together = threading.Barrier(readers.count)

    def read(item: bytes) -> int:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            together.wait(timeout=30)  # nobody goes on before all have begun
        return len(item)

    assert sum(readers.each(read, [b"1"] * (8 * CHUNK))) == 8 * CHUNK
    assert len(seen) == readers.count
