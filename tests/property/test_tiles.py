"""Whatever is added and wherever a crash falls: the folder is the log of RFC 9162 over a prefix that holds all that was acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumasi.ledger.note import sign_checkpoint
from pumasi.ledger.tiles import ENTRIES, WIDTH, Edge, Tile, decode_bundle, encode_bundle, partial_tiles
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.tiles import TileStore, verify_copy

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # flushing costs nothing there
LEVEL_1 = WIDTH * WIDTH  # entries under a full tile of level 1
slow = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def entry(number: int) -> bytes:
    return b"%d" % number * (number % 7)


def entries(start: int, end: int) -> list[bytes]:
    return [entry(number) for number in range(start, end)]


MOST = LEVEL_1 + 3 * WIDTH


@cache
def tree() -> Tree:
    grown = Tree()
    for number in range(MOST):
        grown.append(leaf_hash(entry(number)))
    return grown


def root(size: int) -> bytes:
    return tree().root(size)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name) / "log"


def check(store: TileStore, *, at_least: int) -> None:
    size = store.size
    assert size >= at_least
    assert store.entries(0, size) == entries(0, size)
    assert store.root() == root(size)


def publish_and_verify(store: TileStore, place: Path) -> None:
    store.publish(sign_checkpoint("log.example", size=store.size, root=store.root(), key=KEY))
    with folder() as mirror:
        shutil.copytree(place, mirror)
        assert verify_copy(mirror).size == store.size


# --- the layout


@given(st.lists(st.binary(max_size=300), max_size=WIDTH))
def test_bundles_are_read_as_they_were_written(items: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(items), len(items)) == items


@given(st.integers(ENTRIES, 63), st.integers(0, 1 << 64), st.integers(1, WIDTH))
def test_every_path_is_read_as_it_was_written(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@settings(deadline=None)
@given(st.integers(0, MOST - 1))
def test_the_edge_of_any_size_gives_the_root_and_the_partial_tiles(size: int) -> None:
    grown = tree()
    parts = []
    level = 0
    while count := size >> (8 * level):
        starts = [index << (8 * level) for index in range(count - count % WIDTH, count)]
        parts.append([grown._range(start, start + (1 << (8 * level))) for start in starts])
        level += 1
    edge = Edge(parts)
    assert (edge.size, edge.root()) == (size, root(size))
    assert [tile for tile, _ in edge.partial()] == [tile for tile in partial_tiles(size) if tile.level != ENTRIES]
    edge.push(leaf_hash(entry(size)))
    assert (edge.size, edge.root()) == (size + 1, root(size + 1))


# --- the folder


@slow
@given(st.lists(st.one_of(st.integers(0, 5), st.integers(250, 260), st.integers(0, 600)), max_size=6), st.data())
def test_any_sequence_of_additions_is_the_log_of_its_entries(counts: list[int], data: st.DataObject) -> None:
    with folder() as place:
        store, size = TileStore(place), 0
        for count in counts:
            size += count
            assert store.append(entries(size - count, size)) == store.size == size
            if data.draw(st.booleans()):
                store = TileStore(place)
            check(store, at_least=size)
        publish_and_verify(store, place)
        start = data.draw(st.integers(0, size))
        end = data.draw(st.integers(start, size))
        assert store.entries(start, end) == entries(start, end)
        assert store.hashes(0, start, end) == [leaf_hash(item) for item in entries(start, end)]
        assert store.root(start) == root(start)


@cache
def files_of(size: int) -> dict[str, bytes]:
    """The files of a log of this size, added at once."""
    with folder() as place:
        TileStore(place).append(entries(0, size))
        return read(place)


def read(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def write(place: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def last_entry(path: str) -> int:
    """One more than the last entry that a file covers."""
    tile = Tile.parse(path)
    level = max(tile.level, 0)
    return (tile.index * WIDTH + tile.width) << (8 * level)


def step_of(path: str) -> int:
    """The bundle with which a file is written."""
    return (last_entry(path) - 1) // WIDTH


def damaged(content: bytes, how: str) -> bytes | None:
    return {"whole": content, "gone": None, "half": content[: len(content) // 2], "empty": b"", "zeros": bytes(len(content))}[how]


@slow
@given(
    before=st.sampled_from([0, 1, 200, 255, 256, 257, 500, 512]),
    count=st.one_of(st.integers(1, 60), st.integers(200, 700)),
    data=st.data(),
)
def test_a_crash_anywhere_in_an_addition_leaves_a_prefix_with_all_that_was_acknowledged(
    before: int, count: int, data: st.DataObject
) -> None:
    """Bundle by bundle: those before the crash are whole, of the one in work each file may be anything, those after it are not there."""
    old, size = files_of(before), before + count
    with folder() as place, folder() as crashed:
        write(place, old)
        store = TileStore(place)
        if data.draw(st.booleans(), label="published before"):
            store.publish(sign_checkpoint("log.example", size=before, root=root(before), key=KEY))
        old = read(place)
        store.append(entries(before, size))
        new = {path: content for path, content in read(place).items() if path not in old}
        at = data.draw(st.integers(before // WIDTH, (size - 1) // WIDTH), label="bundle in work")
        left = dict(old)
        for path, content in new.items():
            ways = ["whole"] if step_of(path) < at else ["whole", "gone", "half", "empty", "zeros"] if step_of(path) == at else ["gone"]
            partly = damaged(content, data.draw(st.sampled_from(ways), label=path))
            left |= {} if partly is None else {path: partly}
        for path in old:  # what full ones replace is removed after them
            if path not in read(place) and at > before // WIDTH and data.draw(st.booleans()):
                del left[path]
        write(crashed, left | {".new/0": b"half a fi"})
        repaired = TileStore(crashed)
        check(repaired, at_least=max(before, at * WIDTH))
        assert all(last_entry(path) <= repaired.size for path in read(crashed) if path != "checkpoint")
        whole = read(crashed)
        again = TileStore(crashed)
        assert read(crashed) == whole
        again.append(entries(again.size, size))
        check(again, at_least=size)
        publish_and_verify(again, crashed)


@pytest.mark.parametrize("how", ["gone", "half", "zeros"])
def test_a_tile_of_the_next_level_that_a_crash_damaged_is_made_again(how: str) -> None:
    with folder() as place:
        write(place, files_of(LEVEL_1))
        content = damaged(files_of(LEVEL_1)["tile/1/000"], how)
        (place / "tile/1/000").unlink()
        write(place, {} if content is None else {"tile/1/000": content})
        shutil.rmtree(place / "tile/2")
        store = TileStore(place)
        assert (store.size, store.root()) == (LEVEL_1, root(LEVEL_1))
        assert read(place) == files_of(LEVEL_1)
