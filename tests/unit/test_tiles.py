"""The log as a folder of static files: the layout that C2SP tlog-tiles writes down, what is refused, copies, and real kills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.ledger.note import parse_checkpoint, sign_checkpoint
from pumasi.ledger.tiles import ENTRIES, LARGEST_ENTRY, Edge, Tile, decode_bundle, decode_tile, encode_bundle, partial_tiles, root_of
from pumasi.ledger.tree import EMPTY, Tree, leaf_hash
from pumasi.store.tiles import TileStore, verify_copy

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def entries(start: int, end: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, end)]


def signed(store: TileStore, size: int | None = None, *, root: bytes | None = None) -> str:
    size = store.size if size is None else size
    return sign_checkpoint("log.example", size=size, root=root or store.root(size), key=KEY)


def published(folder: Path, size: int) -> TileStore:
    store = TileStore(folder)
    store.append(entries(0, size))
    store.publish(signed(store))
    return store


def changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1  # in a checkpoint: in the root
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-32])


# --- the layout


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the example in the specification
        (Tile(63, 999, 1), "tile/63/999.p/1"),
        (Tile(ENTRIES, 1067, 255), "tile/entries/x001/067.p/255"),
        (Tile(ENTRIES, 1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path and Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/1000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/٠٠٠",
        "checkpoint",
        "",
    ],
)
def test_a_path_written_in_another_way_is_refused(path: str) -> None:
    with pytest.raises(Tampered, match="path of a tile"):
        Tile.parse(path)


@pytest.mark.parametrize("fields", [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_a_tile_that_cannot_be_is_refused(fields: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid, match="1 to 256"):
        Tile(*fields)


def test_partial_tiles_of_the_sizes_in_the_specification() -> None:
    assert partial_tiles(70_000) == [Tile(ENTRIES, 273, 112), Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert partial_tiles(256) == [Tile(1, 0, 1)]
    assert partial_tiles(0) == []


def test_a_bundle_is_entries_behind_their_lengths() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 256]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x00" + b"c" * 256
    assert decode_bundle(encode_bundle([b"x" * LARGEST_ENTRY]), 1) == [b"x" * LARGEST_ENTRY]
    with pytest.raises(Invalid, match="at most 65535 bytes"):
        encode_bundle([b"x" * (LARGEST_ENTRY + 1)])


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x02a", b"\x00\x01a", b"\x00\x01a\x00\x01b\x00\x01c", b"\x00\x01a\x00\x02b"])
def test_a_bundle_of_another_width_or_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(Tampered, match="exactly 2 entries"):
        decode_bundle(data, 2)


def test_a_tile_of_another_width_is_refused() -> None:
    assert decode_tile(b"a" * 32 + b"b" * 32, 2) == [b"a" * 32, b"b" * 32]
    with pytest.raises(Tampered, match="exactly 2 hashes"):
        decode_tile(b"a" * 63, 2)


def test_an_edge_grows_into_full_tiles_of_two_levels() -> None:
    edge, tree, complete = Edge(), Tree(), []
    assert edge.root() == root_of([]) == root_of([[], []]) == EMPTY
    for number in range(256 * 256 + 1):
        leaf = leaf_hash(b"%d" % number)
        tree.append(leaf)
        complete += [tile for tile, data in edge.push(leaf) if len(decode_tile(data, 256)) == 256]
    assert complete == [*(Tile(0, index) for index in range(256)), Tile(1, 0)]
    assert [tile for tile, _ in edge.partial()] == [Tile(0, 256, 1), Tile(2, 0, 1)]
    assert edge.root() == tree.root()


# --- the folder


def test_every_file_stands_where_a_reader_of_the_specification_looks(tmp_path: Path) -> None:
    published(tmp_path, 600)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    full = {f"tile/{level}/{index:03d}" for level in ("0", "entries") for index in (0, 1)}
    assert there == full | {"tile/0/002.p/88", "tile/entries/002.p/88", "tile/1/000.p/2", "checkpoint"}
    assert (tmp_path / "tile/entries/002.p/88").read_bytes() == encode_bundle(entries(512, 600))
    assert (tmp_path / "tile/0/001").read_bytes() == b"".join(leaf_hash(entry) for entry in entries(256, 512))


def test_partial_tiles_stay_until_the_full_one_is_there(tmp_path: Path) -> None:
    store = published(tmp_path, 3)
    store.append(entries(3, 10))
    assert {path.name for path in (tmp_path / "tile/0/000.p").iterdir()} == {"3", "10"}
    store.append(entries(10, 256))
    assert not (tmp_path / "tile/0/000.p").exists() and not (tmp_path / "tile/entries/000.p").exists()
    assert verify_copy(tmp_path).size == 3  # from the full ones


def test_an_entry_too_long_for_the_format_is_refused_and_nothing_added(tmp_path: Path) -> None:
    store = TileStore(tmp_path)
    with pytest.raises(Invalid, match="at most 65535 bytes; nothing was added"):
        store.append([b"first", b"x" * (LARGEST_ENTRY + 1)])
    assert store.size == 0 and not (tmp_path / "tile").exists()
    assert store.append([b"x" * LARGEST_ENTRY, b""]) == 2
    assert TileStore(tmp_path).entries(0, 2) == [b"x" * LARGEST_ENTRY, b""]


def test_what_the_log_does_not_have_cannot_be_read(tmp_path: Path) -> None:
    store = published(tmp_path, 300)
    for ask in (
        lambda: store.entries(0, 301),
        lambda: store.entries(-1, 2),
        lambda: store.entries(3, 2),
        lambda: store.hashes(1, 0, 2),
        lambda: store.root(301),
        lambda: store.root(-1),
    ):
        with pytest.raises(Invalid, match="does not have that many"):
            ask()


def test_a_checkpoint_goes_out_only_over_what_is_there_and_never_back(tmp_path: Path) -> None:
    store = published(tmp_path, 300)
    first = store.checkpoint()
    with pytest.raises(Tampered, match="more entries than the log holds"):
        store.publish(signed(store, 301, root=b"r" * 32))
    with pytest.raises(Tampered, match="does not have the root"):
        store.publish(signed(store, root=b"r" * 32))
    with pytest.raises(Refused, match="does not go back"):
        store.publish(signed(store, 299))
    with pytest.raises(Tampered):
        store.publish("no checkpoint")
    assert store.checkpoint() == TileStore(tmp_path).checkpoint() == first


def test_a_checkpoint_between_two_additions_gets_its_partial_tiles(tmp_path: Path) -> None:
    store = TileStore(tmp_path)
    store.append(entries(0, 700))
    store.publish(signed(store, 530))
    assert verify_copy(tmp_path).size == 530
    for path in ("tile/entries/002.p/18", "tile/0/002.p/18"):
        assert (tmp_path / path).exists()


def test_after_an_error_of_the_disk_nothing_is_added_until_the_log_was_opened_again(tmp_path: Path) -> None:
    store = published(tmp_path, 300)
    (tmp_path / "tile/0/001.p").rename(tmp_path / "aside")
    (tmp_path / "tile/0/001.p").write_bytes(b"in the way of a folder")
    with pytest.raises(OSError, match=r"001\.p"):
        store.append(entries(300, 310))
    assert store.size == 300
    (tmp_path / "tile/0/001.p").unlink()
    (tmp_path / "aside").rename(tmp_path / "tile/0/001.p")
    for again in (lambda: store.append([b"other"]), lambda: store.publish(signed(store))):
        with pytest.raises(Refused, match="open the log again"):
            again()
    store = TileStore(tmp_path)
    assert store.size == 300 and store.append(entries(300, 310)) == 310


def test_a_log_that_lost_what_its_checkpoint_covers_is_not_opened_and_not_touched(tmp_path: Path) -> None:
    published(tmp_path, 600)
    for lost, told in (
        ("tile/entries/001", "001 is missing"),
        ("tile/entries/002.p", "covers more entries"),
        ("tile/0/000", "000 is missing"),
    ):
        (tmp_path / lost).rename(tmp_path / "lost")
        with pytest.raises(Tampered, match=told):
            TileStore(tmp_path)
        (tmp_path / "lost").rename(tmp_path / lost)
    assert TileStore(tmp_path).size == 600


def test_a_complete_bundle_that_was_damaged_is_told_instead_of_dropped(tmp_path: Path) -> None:
    TileStore(tmp_path).append(entries(0, 256))
    TileStore(tmp_path).append(entries(256, 257))
    (tmp_path / "tile/entries/000").write_bytes(b"")
    (tmp_path / "tile/0/001.p/1").unlink()
    with pytest.raises(Tampered, match="complete and are damaged"):
        TileStore(tmp_path)


def test_a_stranger_among_the_bundles_is_named(tmp_path: Path) -> None:
    published(tmp_path, 3)
    (tmp_path / "tile/entries/notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(Tampered, match=r"notes\.txt"):
        TileStore(tmp_path)


@pytest.mark.parametrize("damage", [changed, cut, Path.unlink], ids=["changed", "cut", "removed"])
def test_a_partial_tile_above_the_lowest_is_made_again_at_opening(damage: Callable[[Path], None], tmp_path: Path) -> None:
    published(tmp_path, 600)
    damage(tmp_path / "tile/1/000.p/2")
    TileStore(tmp_path)
    assert verify_copy(tmp_path).size == 600


# --- copies


@pytest.mark.parametrize("damage", [changed, cut, Path.unlink], ids=["changed", "cut", "removed"])
def test_no_file_of_a_copy_can_be_changed_cut_or_removed_unseen(damage: Callable[[Path], None], tmp_path: Path) -> None:
    published(tmp_path / "log", 600)
    copy = tmp_path / "copy"
    names = sorted(path.relative_to(tmp_path / "log") for path in (tmp_path / "log").rglob("*") if path.is_file())
    assert len(names) == 8
    for name in names:
        shutil.copytree(tmp_path / "log", copy)
        assert verify_copy(copy).size == 600
        damage(copy / name)
        with pytest.raises(Tampered):
            verify_copy(copy)
        shutil.rmtree(copy)


def test_a_copy_names_every_file_that_does_not_fit(tmp_path: Path) -> None:
    store = published(tmp_path, 100)
    store.append(entries(100, 600))
    store.publish(signed(store))
    for name in ("tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"):
        changed(tmp_path / name)
    (tmp_path / "tile/entries/002.p/7").write_bytes(encode_bundle(entries(512, 518)))  # six
    with pytest.raises(Tampered) as error:
        verify_copy(tmp_path)
    assert [reason.split()[0] for reason in error.value.reasons] == [
        "tile/0/000",
        "tile/entries/002.p/7",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
    ]


def test_a_rewritten_copy_is_seen_by_its_root(tmp_path: Path) -> None:
    published(tmp_path / "log", 300)
    other = TileStore(tmp_path / "other")
    other.append([*entries(0, 299), b"another"])
    shutil.copy(tmp_path / "log" / "checkpoint", tmp_path / "other" / "checkpoint")
    with pytest.raises(Tampered, match="do not lead to the root"):
        verify_copy(tmp_path / "other")
    with pytest.raises(Tampered, match="does not have the root"):
        TileStore(tmp_path / "other")


# --- kills

WRITER = """
import os, random, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pumasi.ledger.note import sign_checkpoint
from pumasi.store.tiles import TileStore
from pathlib import Path

def write(folder, seed):
    random.seed(seed)
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    key, store = Ed25519PrivateKey.from_private_bytes(bytes(32)), TileStore(folder / "log")
    while True:
        size = store.size
        size = store.append([b"entry %d" % number for number in range(size, size + random.choice([1, 7, 100, 256, 600]))])
        os.write(acknowledged, b"size %d\\n" % size)
        if random.random() < 0.5:
            store.publish(sign_checkpoint("log.example", size=size, root=store.root(), key=key))
            os.write(acknowledged, b"head %d\\n" % size)

for line in sys.stdin:  # one fork a line, so that nothing is imported thirty times
    child = os.fork()
    if child == 0:
        write(Path(sys.argv[1]), int(line))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def acknowledged(folder: Path) -> dict[str, int]:
    lines = (folder / "acknowledged").read_text().splitlines() if (folder / "acknowledged").exists() else []
    return {"size": 0, "head": 0} | {word: int(number) for word, _, number in (line.partition(" ") for line in lines)}


def test_thirty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    tree, chance, grown, longest = Tree(), random.Random(7), 0, 0.15
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin and writer.stdout
        for kill in range(30):
            print(kill, file=writer.stdin, flush=True)
            child = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            assert writer.stdout.readline() == "dead\n"
            store, told = TileStore(tmp_path / "log"), acknowledged(tmp_path)
            found = store.entries(tree.size, store.size)
            assert store.size >= told["size"] and found == entries(tree.size, store.size)
            for entry in found:
                tree.append(leaf_hash(entry))
            assert store.root() == tree.root()
            text = store.checkpoint()
            assert (parse_checkpoint(text).size if text else 0) >= told["head"]
            grown += bool(found)
            longest *= 0.9 if found else 1.2  # about as long as this machine takes to write something
        writer.stdin.close()
    assert grown >= 10 and verify_copy(tmp_path / "log").size > 0
