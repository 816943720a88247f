"""The log as static files that anyone may copy (C2SP tlog-tiles): which files there are and, byte for byte, what they hold.

Tiles hold 256 hashes of one level, bundles hold 256 entries; those at the right end are partial. Pure: paths and bytes. What keeps
them in a folder is `pumasi.store.tiles`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pumasi.kernel.errors import Invalid, Tampered
from pumasi.ledger.tree import EMPTY, HASH, node_hash

WIDTH = 256  # hashes in a full tile, entries in a full bundle
ENTRIES = -1  # the level of bundles
LARGEST_ENTRY = 0xFFFF  # lengths in bundles have 16 bits

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True)
class Tile:
    """One file: the tile `index` of `level`, or the bundle `index` of ENTRIES; partial when it has fewer than 256 of them."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (ENTRIES <= self.level <= 63 and self.index >= 0 and 1 <= self.width <= WIDTH):
            raise Invalid("a tile has a level below 64, an index from 0, and 1 to 256 hashes or entries")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path; `Tampered` unless it is written exactly as `path` writes it."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise Tampered(f"'{path}' is not the path of a tile")
        level, number, width = found.groups()
        try:
            tile = cls(ENTRIES if level == "entries" else int(level), int(re.sub("[x/]", "", number)), int(width or WIDTH))
        except Invalid as error:
            raise Tampered(f"'{path}' is not the path of a tile") from error
        if tile.path != path:
            raise Tampered(f"'{path}' is not the path of a tile as it must be written")
        return tile

    @property
    def path(self) -> str:
        number, rest = f"{self.index % 1000:03d}", self.index // 1000
        while rest:
            number, rest = f"x{rest % 1000:03d}/{number}", rest // 1000
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{number}{partial}"


def partial_tiles(size: int) -> list[Tile]:
    """The partial bundle and tiles that a log of this size has, beside full ones."""
    found, level = [], 0
    while count := size >> (8 * level):
        if count % WIDTH:
            found += [Tile(each, count // WIDTH, count % WIDTH) for each in ([ENTRIES, 0] if level == 0 else [level])]
        level += 1
    return found


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after the other, each behind its length in two bytes; `Invalid` for one that does not fit."""
    parts = []
    for entry in entries:
        if len(entry) > LARGEST_ENTRY:
            raise Invalid(f"an entry of the log has at most {LARGEST_ENTRY} bytes")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle, which must be exactly `width`; `Tampered` otherwise."""
    entries: list[bytes] = []
    place = 0
    while place < len(data) and len(entries) < width:
        end = place + 2 + int.from_bytes(data[place : place + 2], "big")
        entries.append(data[place + 2 : end])
        place = end
    if place != len(data) or len(entries) != width:
        raise Tampered(f"a bundle does not hold exactly {width} entries")
    return entries


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile, which must be exactly `width`; `Tampered` otherwise."""
    if len(data) != width * HASH:
        raise Tampered(f"a tile does not hold exactly {width} hashes")
    return [data[place : place + HASH] for place in range(0, len(data), HASH)]


def tree_hash(nodes: Sequence[bytes]) -> bytes:
    """The root over at least one node: neighbours are paired level by level, one that is left over goes up (as RFC 9162 2.1.1)."""
    while len(nodes) > 1:
        paired = [node_hash(nodes[place], nodes[place + 1]) for place in range(0, len(nodes) - 1, 2)]
        nodes = paired + list(nodes[len(paired) * 2 :])
    return nodes[0]


def root_of(parts: Iterable[Sequence[bytes]]) -> bytes:
    """The root of a log from the hashes in its partial tile of every level, the lowest first (empty where a level has none)."""
    below: list[bytes] = []
    for hashes in parts:
        nodes = [*hashes, *below]
        below = [tree_hash(nodes)] if nodes else []
    return below[0] if below else EMPTY


class Edge:
    """The right end of a growing log: the hashes in its partial tiles, at most 255 a level. All that it must know to grow."""

    def __init__(self, parts: Iterable[Sequence[bytes]] = ()) -> None:
        self.parts = [list(hashes) for hashes in parts]
        self.size = sum(len(hashes) << (8 * level) for level, hashes in enumerate(self.parts))

    def push(self, leaf_hash: bytes) -> list[tuple[Tile, bytes]]:
        """Add one leaf; the tiles that it completed, the lowest first."""
        complete, node, level = [], leaf_hash, 0
        while True:
            if level == len(self.parts):
                self.parts.append([])
            hashes = self.parts[level]
            hashes.append(node)
            if len(hashes) < WIDTH:
                break
            complete.append((Tile(level, self.size >> (8 * (level + 1))), b"".join(hashes)))
            node = tree_hash(hashes)
            hashes.clear()
            level += 1
        self.size += 1
        return complete

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles and what they hold."""
        tiles = [tile for tile in partial_tiles(self.size) if tile.level != ENTRIES]
        return [(tile, b"".join(self.parts[tile.level])) for tile in tiles]

    def root(self) -> bytes:
        return root_of(self.parts)
