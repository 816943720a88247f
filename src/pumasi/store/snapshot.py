"""What a party had computed from the log, kept so that a restart replays only what came later. It can be thrown away at any time.

The tree grows in files to which nodes are appended; `head` ties them to one size and root, holds the `World` as JSON, and carries a
MAC under a key derived from the party's own. It is replaced by rename after all else is synced, so a crash leaves the older snapshot.
Loading proves that this party made it, whole, with the rules that run now. That the entries on the disk are still those it was made
of is only sampled (see `Site`); the replay of `pumasi node check` and `pumasi hub check` asks all of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import TypeAdapter, ValidationError

from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import Tampered
from pumasi.kernel.event import LogFounded
from pumasi.kernel.world import Case, LogKey, Member, Person, World
from pumasi.ledger.tree import HASH, Tree
from pumasi.store.custody import sync_folder

FORMAT = "pumasi snapshot v1"


@dataclass
class _Kept:
    """What is kept of a `World`; the rest follows from it."""

    founded: LogFounded | None
    coordinator: str
    logs: list[LogKey]
    members: dict[str, Member]
    people: dict[str, Person]
    datasets: dict[str, str]
    cases: dict[str, Case]
    retired: set[str]
    jobs: dict[str, str]
    chains: dict[str, dict[str, tuple[int, str, str]]]
    consortium_events: int
    entries: int
    keys: set[str]


_kept = TypeAdapter(_Kept)
_case = TypeAdapter(Case)


def write_case(case: Case) -> bytes:
    return _case.dump_json(case)


def read_case(data: bytes) -> Case:
    return _case.validate_json(data)


def write_world(world: World) -> bytes:
    values = {field.name: getattr(world, field.name) for field in fields(world) if field.init}
    return _kept.dump_json(_Kept(**values))


def read_world(data: bytes) -> World:
    """`Tampered` when the bytes are no world as the code of today knows it."""
    try:
        kept = _kept.validate_json(data)
    except ValidationError as error:
        raise Tampered(f"the kept state does not have the form that this version reads ({error.error_count()} mismatches)") from error
    values = {field.name: getattr(kept, field.name) for field in fields(kept)}
    return World(**values)


@cache
def rules_digest() -> str:
    """SHA-256 over the kernel's source: what other rules have computed is computed again."""
    sources = sorted((file for file in files("pumasi.kernel").iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
    digest = hashlib.sha256(FORMAT.encode())
    for source in sources:
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Head:
    format: str
    rules: str
    size: int
    root: str
    levels: list[str]  # SHA-256 of each level of the tree, leaves first


@dataclass(frozen=True)
class Moment:
    """A world and what its tree has grown by since the last snapshot, taken while nothing changed; to be written when there is time."""

    size: int
    root: bytes
    world: bytes
    grown: list[bytes]


class Snapshots:
    """The one snapshot in `folder`. Many may load it; one process at a time saves."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._folder = folder
        self._key = _key_of(keys)
        self._lock: IO[bytes] | None = None
        self.forget()

    def forget(self) -> None:
        """Nothing here is of use: the next snapshot is written from the first entry on."""
        self.size = 0  # of the newest snapshot that this object has loaded or saved
        self._digests: list[Any] = []  # hashlib objects over what is in the level files

    def load(self) -> tuple[World, Tree] | None:
        """World and tree of the newest snapshot, None if there is none; `Tampered` with the reason when it is not to be trusted."""
        self.forget()
        rest = self._vouched()
        if rest is None:
            return None
        first, _, world = rest.partition(b"\n")
        head = json.loads(first)
        if (head["format"], head["rules"]) != (FORMAT, rules_digest()):
            raise Tampered("the snapshot was made by another version of the rules")
        tree = Tree.of_levels([self._level(number, head) for number in range(len(head["levels"]))], head["size"])
        if tree.root().hex() != head["root"]:
            raise Tampered("the snapshot's tree does not have the root that it was made with")
        self.size = head["size"]
        return read_world(world), tree

    def _vouched(self) -> bytes | None:
        """What is in `head`, None if there is none; `Tampered` unless this party wrote it."""
        try:
            mac, _, rest = (self._folder / "head").read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Tampered(f"the snapshot cannot be read ({error.strerror})") from error
        if not hmac.compare_digest(mac, self._mac(rest)):
            raise Tampered("the snapshot was changed, or another party made it")
        return rest

    def rekey(self, keys: Keys) -> None:
        """The party has another key: it vouches from now on for what the former one does. Otherwise everything would be replayed once."""
        with suppress(Tampered):
            rest = self._vouched()
            self._key = _key_of(keys)
            if rest is not None and self._alone():
                self._put(rest)
                self.close()

    def _level(self, number: int, head: dict[str, Any]) -> bytearray:
        nodes = bytearray((head["size"] >> number) * HASH)
        try:
            with self._path(number).open("rb") as file:
                file.readinto(nodes)  # what follows was being appended when the process was killed, and is not counted
        except OSError as error:
            raise Tampered(f"a file of the snapshot cannot be read ({error.strerror})") from error
        digest = hashlib.sha256(nodes)
        if digest.hexdigest() != head["levels"][number]:
            raise Tampered("the snapshot's tree was changed or torn")
        self._digests.append(digest)
        return nodes

    def capture(self, world: World, tree: Tree) -> Moment:
        """Everything that `save` needs; call it while nobody changes `world` and `tree`."""
        grown = [tree.nodes(level, self.size >> level) for level in range(max(tree.size.bit_length(), 1))]
        return Moment(tree.size, tree.root(), write_world(world), grown)

    def save(self, moment: Moment) -> bool:
        """Write it down; False when another process is the one that saves here."""
        if not self._alone():
            return False
        try:
            self._write(moment)
        except OSError:
            self.forget()  # how far the files came is unknown: the next one writes them anew
            raise
        self.size = moment.size
        return True

    def _write(self, moment: Moment) -> None:
        for number, grown in enumerate(moment.grown):
            self._append(number, grown)
        head = _Head(FORMAT, rules_digest(), moment.size, moment.root.hex(), [digest.hexdigest() for digest in self._digests])
        self._put(json.dumps(asdict(head)).encode() + b"\n" + moment.world)

    def _put(self, rest: bytes) -> None:
        """The new `head`, in one step."""
        new = self._folder / "head.new"
        with _private(new, os.O_TRUNC) as file:
            file.write(self._mac(rest) + b"\n" + rest)
            _sync(file)
        new.rename(self._folder / "head")
        sync_folder(self._folder)

    def _append(self, number: int, grown: bytes) -> None:
        if number == len(self._digests):
            self._digests.append(hashlib.sha256())
        self._digests[number].update(grown)
        start = (self.size >> number) * HASH
        with _private(self._path(number), 0) as file:
            file.truncate(start)
            file.seek(start)
            file.write(grown)
            _sync(file)

    def _alone(self) -> bool:
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _private(self._folder / "lock", 0)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._lock = lock
        return True

    def close(self) -> None:
        """Let another process save here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _path(self, number: int) -> Path:
        return self._folder / f"level-{number:02d}"

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256").hex().encode()


def _key_of(keys: Keys) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"pumasi/snapshot/v1").derive(keys.signing.private_bytes_raw())


def _private(path: Path, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600), "r+b")


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
