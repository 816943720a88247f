"""A folder with the log as static files (C2SP tlog-tiles), for any web server to publish and anyone to copy and verify.

What `append` has returned for is on the disk: every file is written beside, flushed, renamed, and its folder flushed, one bundle
after the other, so that a crash leaves at most the last bundle and its tiles in disorder; opening repairs them from what is whole.
A checkpoint goes out only after every tile below it. One process writes; its threads, and everyone else, may read meanwhile.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.ledger.note import Checkpoint, parse_checkpoint
from pumasi.ledger.tiles import (
    ENTRIES,
    LARGEST_ENTRY,
    WIDTH,
    Edge,
    Tile,
    decode_bundle,
    decode_tile,
    encode_bundle,
    partial_tiles,
    root_of,
    tree_hash,
)
from pumasi.ledger.tree import leaf_hash
from pumasi.store.custody import sync_folder

_STAGING = ".new"  # files that are not yet in their place; not part of the log
_CHECKPOINT = "checkpoint"


class TileStore:
    """The log in one folder. Opening repairs what a crash left; `Tampered` when what a checkpoint covers is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock, self._failed = folder, threading.Lock(), False
        (folder / _STAGING).mkdir(parents=True, exist_ok=True)
        for left in (folder / _STAGING).iterdir():
            left.unlink()
        tail, edge, missing = _recovered(folder)
        self._now = tail, edge  # the entries of the partial bundle, and the edge: replaced together, never changed
        self._put(missing)
        published = self.checkpoint()
        self._published = 0 if published is None else _holds(self, parse_checkpoint(published)).size
        _trim(folder, self.size)
        self._put({tile: data for tile, data in edge.partial() if _read(folder, tile) != data})

    @property
    def size(self) -> int:
        return self._now[1].size

    def append(self, entries: Sequence[bytes]) -> int:
        """Add entries in order; the new size. Durable when this returns; `Invalid`, and nothing added, when one is too long.

        After an error of the disk nobody knows what it holds: nothing is added any more until the folder was opened again.
        """
        if any(len(entry) > LARGEST_ENTRY for entry in entries):
            raise Invalid(f"an entry of the log has at most {LARGEST_ENTRY} bytes; nothing was added")
        with self._lock:
            self._refuse_after_failure()
            place = 0
            while place < len(entries):
                part = entries[place : place + WIDTH - len(self._now[0])]
                place += len(part)
                self._extend(part, last=place == len(entries))
            return self.size

    def _extend(self, part: Sequence[bytes], *, last: bool) -> None:
        """Add entries that fill at most the last bundle. What readers see changes only when the disk holds it."""
        tail, edge = [*self._now[0], *part], Edge(self._now[1].parts)
        files = {Tile(ENTRIES, edge.size // WIDTH, len(tail)): encode_bundle(tail)}
        for entry in part:
            files |= edge.push(leaf_hash(entry))
        complete = [tile for tile in files if tile.width == WIDTH]
        if last:
            files |= {tile: data for tile, data in edge.partial() if tile.level == 0 or not (self._folder / tile.path).exists()}
        self._put(files)
        self._now = (tail if len(tail) < WIDTH else []), edge
        for tile in complete:
            shutil.rmtree(_partials(self._folder, tile), ignore_errors=True)  # the full one is served in their place

    def publish(self, checkpoint: str) -> None:
        """Put out a signed checkpoint over what is here; one that is older than the last is refused."""
        head = _holds(self, parse_checkpoint(checkpoint))
        with self._lock:
            self._refuse_after_failure()
            if head.size < self._published:
                raise Refused("a checkpoint over more entries was published before; a log does not go back")
            wanted = [tile for tile in partial_tiles(head.size) if not _either(self._folder, tile)]
            self._put({tile: self._part(tile) for tile in wanted})
            self._write({self._folder / _CHECKPOINT: checkpoint.encode()})
            self._published = head.size

    def checkpoint(self) -> str | None:
        """The last published checkpoint."""
        try:
            return (self._folder / _CHECKPOINT).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def entries(self, start: int, end: int) -> list[bytes]:
        """The entries `start` to `end`, as they were added."""
        tail, edge = self._now
        if not 0 <= start <= end <= edge.size:
            raise Invalid("the log does not have that many entries")
        found: list[bytes] = []
        for index in range(start // WIDTH, -(-end // WIDTH)):
            whole = _bundle(self._folder, Tile(ENTRIES, index)) if index < edge.size // WIDTH else tail
            found += whole[max(start - index * WIDTH, 0) : end - index * WIDTH]
        return found

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        """The hashes `start` to `end` of a level of tiles: roots of complete subtrees of 256**level entries."""
        edge = self._now[1]
        count = edge.size >> (8 * level)
        if not 0 <= start <= end <= count:
            raise Invalid("the log does not have that many hashes at this level")
        found: list[bytes] = []
        for index in range(start // WIDTH, -(-end // WIDTH)):
            whole = _hashes(self._folder, Tile(level, index)) if index < count // WIDTH else edge.parts[level]
            found += whole[max(start - index * WIDTH, 0) : end - index * WIDTH]
        return found

    def root(self, size: int | None = None) -> bytes:
        """The root of the whole log, or of its first `size` entries. Reads one tile a level."""
        size = self.size if size is None else size
        counts = [size >> (8 * level) for level in range(-(-size.bit_length() // 8))]
        return root_of(self.hashes(level, count - count % WIDTH, count) for level, count in enumerate(counts))

    def _part(self, tile: Tile) -> bytes:
        start = tile.index * WIDTH
        if tile.level == ENTRIES:
            return encode_bundle(self.entries(start, start + tile.width))
        return b"".join(self.hashes(tile.level, start, start + tile.width))

    def _put(self, files: Mapping[Tile, bytes]) -> None:
        self._write({self._folder / tile.path: data for tile, data in files.items()})

    def _refuse_after_failure(self) -> None:
        if self._failed:
            raise Refused(f"writing to {self._folder} failed before; open the log again, so that it is repaired")

    def _write(self, files: Mapping[Path, bytes]) -> None:
        """Files in their places and on the disk, whole or not at all each."""
        self._failed = True  # until all of it is done
        staged = [self._folder / _STAGING / str(number) for number in range(len(files))]
        for new, data in zip(staged, files.values(), strict=True):
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        changed: set[Path] = set()
        for new, path in zip(staged, files, strict=True):
            changed |= _make_folder(path.parent)
            new.replace(path)
        for folder in sorted(changed):
            sync_folder(folder)
        self._failed = False


def verify_copy(folder: Path) -> Checkpoint:
    """Recompute a copy of a log, all of it, from its entries to its checkpoint; `Tampered` with every file that does not fit.

    Nothing is repaired or written. Who signed the checkpoint is for `ledger.note.check` to say.
    """
    try:
        head = parse_checkpoint((folder / _CHECKPOINT).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise Tampered(f"{folder} holds no checkpoint that can be read") from error
    edge, wrong = Edge(), list[str]()
    for index in range(-(-head.size // WIDTH)):
        tile = Tile(ENTRIES, index, min(WIDTH, head.size - index * WIDTH))
        try:
            entries = _bundle(folder, tile)
        except Tampered as error:
            raise Tampered(*wrong, *error.reasons) from error  # nothing behind it can be recomputed
        expected = [(tile, encode_bundle(entries))]
        for entry in entries:
            expected += edge.push(leaf_hash(entry))
        wrong += _unlike(folder, expected)
    wrong += _unlike(folder, edge.partial())
    if edge.root() != head.root:
        wrong.append("the entries do not lead to the root in the checkpoint")
    if wrong:
        raise Tampered(*wrong)
    return head


def copied(folder: Path, size: int) -> Iterator[list[bytes]]:
    """The first `size` entries of a copy, a bundle at a time; `Tampered` where one is missing or damaged. Nothing is written."""
    for index in range(-(-size // WIDTH)):
        yield _bundle(folder, Tile(ENTRIES, index, min(WIDTH, size - index * WIDTH)))


def write_copy(folder: Path, entries: Callable[[int, int], Sequence[bytes]], checkpoint: str) -> Checkpoint:
    """Write a log up to a checkpoint as files, or add what a copy lacks; `entries` gives those from one index to another."""
    folder.mkdir(parents=True, exist_ok=True)
    store, head = TileStore(folder), parse_checkpoint(checkpoint)
    while store.size < head.size:
        store.append(entries(store.size, min(head.size, store.size + 16 * WIDTH)))
    store.publish(checkpoint)
    return head


def _unlike(folder: Path, expected: Iterable[tuple[Tile, bytes]]) -> list[str]:
    """The files, full and partial, that differ from what the entries say, and the tiles that are missing."""
    wrong = []
    for tile, data in expected:
        widths = {int(path.name) for path in _partials(folder, tile).glob("*") if path.name.isdecimal()} - {0}
        there = [Tile(tile.level, tile.index, width) for width in sorted(widths | {WIDTH}) if width <= WIDTH]
        held = {each: found for each in there if (found := _read(folder, each)) is not None}
        if not any(each.width in (tile.width, WIDTH) for each in held):
            wrong.append(f"{tile.path} is missing")
        for each, found in held.items():
            if found[: len(data)] != data[: len(found)] or not _has_width(each, found):
                wrong.append(f"{each.path} is not what the entries say")
    return wrong


def _has_width(tile: Tile, data: bytes) -> bool:
    try:
        return bool(decode_bundle(data, tile.width) if tile.level == ENTRIES else decode_tile(data, tile.width))
    except Tampered:
        return False


def _holds(store: TileStore, head: Checkpoint) -> Checkpoint:
    if head.size > store.size:
        raise Tampered("a checkpoint covers more entries than the log holds; copy the missing files from a mirror")
    if store.root(head.size) != head.root:
        raise Tampered("a checkpoint does not have the root of the entries that it covers")
    return head


def _recovered(folder: Path) -> tuple[list[bytes], Edge, dict[Tile, bytes]]:
    """The partial bundle and the edge of the longest whole log in a folder, and the full tiles it lacks."""
    bundles = _bundles(folder)
    last = max((tile.index for tile in bundles), default=0)
    gaps = [Tile(ENTRIES, index).path for index in range(last) if Tile(ENTRIES, index) not in bundles]
    if gaps:
        raise Tampered(*(f"{path} is missing; copy it from a mirror" for path in gaps))
    candidates = sorted((tile for tile in bundles if tile.index == last), key=lambda tile: -tile.width)
    tail = next((entries for tile in candidates if (entries := _whole(folder, tile)) is not None), [])
    if not tail and last and _whole(folder, Tile(ENTRIES, last - 1)) is None:
        raise Tampered(f"{Tile(ENTRIES, last - 1).path} and its tile were complete and are damaged; copy them from a mirror")
    size = last * WIDTH + len(tail)
    missing: dict[Tile, bytes] = {}
    parts = [[leaf_hash(entry) for entry in tail]] if len(tail) < WIDTH else [[]]
    level = 1
    while count := size >> (8 * level):
        if size % (WIDTH << (8 * level)) == 0:  # completed last, so perhaps not whole
            missing |= _rebuilt(folder, Tile(level, count // WIDTH - 1), missing)
        parts.append([_subtree(folder, Tile(level - 1, index), missing) for index in range(count - count % WIDTH, count)])
        level += 1
    return (tail if len(tail) < WIDTH else []), Edge(parts), missing


def _rebuilt(folder: Path, tile: Tile, missing: Mapping[Tile, bytes]) -> dict[Tile, bytes]:
    """A full tile above the lowest, from those below it: nothing when the file is as it should be."""
    below = range(tile.index * WIDTH, (tile.index + 1) * WIDTH)
    data = b"".join(_subtree(folder, Tile(tile.level - 1, index), missing) for index in below)
    return {} if _read(folder, tile) == data else {tile: data}


def _subtree(folder: Path, tile: Tile, rebuilt: Mapping[Tile, bytes]) -> bytes:
    return tree_hash(decode_tile(rebuilt[tile], WIDTH) if tile in rebuilt else _hashes(folder, tile))


def _bundles(folder: Path) -> set[Tile]:
    """Every bundle there is, by name."""
    top = folder / "tile" / "entries"
    paths = (Path(place, name).relative_to(folder).as_posix() for place, _, names in os.walk(top) for name in names)
    return {Tile.parse(path) for path in paths}


def _whole(folder: Path, bundle: Tile) -> list[bytes] | None:
    """The entries of a bundle that was written to its end: it and the tile of its hashes are there and agree."""
    tile = Tile(0, bundle.index, bundle.width)
    data, hashes = _read(folder, bundle), _read(folder, tile)
    try:
        entries = decode_bundle(data or b"", bundle.width)
    except Tampered:
        return None
    return entries if b"".join(leaf_hash(entry) for entry in entries) == hashes else None


def _trim(folder: Path, size: int) -> None:
    """Remove what is not of a log of this size: files of an addition that did not come to its end, and partial tiles of full ones."""
    for place in (folder / "tile").glob("*"):
        level = ENTRIES if place.name == "entries" else int(place.name)
        index, width = divmod(size >> (8 * max(level, 0)), WIDTH)
        (folder / Tile(level, index).path).unlink(missing_ok=True)
        for path in _partials(folder, Tile(level, index)).glob("*"):
            if int(path.name) > width:
                path.unlink()
        if index:
            shutil.rmtree(_partials(folder, Tile(level, index - 1)), ignore_errors=True)


def _either(folder: Path, tile: Tile) -> bool:
    return (folder / tile.path).exists() or (folder / Tile(tile.level, tile.index).path).exists()


def _bundle(folder: Path, tile: Tile) -> list[bytes]:
    """The entries of a bundle, from its own file or the full one."""
    for each in (tile, Tile(ENTRIES, tile.index)):
        data = _read(folder, each)
        if data is not None:
            try:
                return decode_bundle(data, each.width)[: tile.width]
            except Tampered as error:
                raise Tampered(f"{each.path} is damaged; copy it from a mirror") from error
    raise Tampered(f"{tile.path} is missing; copy it from a mirror")


def _hashes(folder: Path, tile: Tile) -> list[bytes]:
    try:
        return decode_tile(_read(folder, tile) or b"", tile.width)
    except Tampered as error:
        raise Tampered(f"{tile.path} is missing or damaged; copy it from a mirror") from error


def _partials(folder: Path, tile: Tile) -> Path:
    return (folder / Tile(tile.level, tile.index, 1).path).parent


def _read(folder: Path, tile: Tile) -> bytes | None:
    try:
        return (folder / tile.path).read_bytes()
    except FileNotFoundError:
        return None


def _make_folder(folder: Path) -> set[Path]:
    """Make a folder and those above it; the folders whose entries changed, this one included."""
    changed, above = {folder}, folder
    while not above.is_dir():
        above = above.parent
        changed.add(above)
    folder.mkdir(parents=True, exist_ok=True)
    return changed
