"""A party's record in one file, and back: `back_up` from a folder in use, `restore` into an empty one, whole or not at all.

The file is a tar archive: a manifest with the size and SHA-256 of everything, a consistent copy of each database, settings, evidence,
and only with a passphrase the signing keys, encrypted. What a backup must not bring back is never in it: the keys of permits and the
coordinating body's halves, workspaces, outputs under review, and the unused pages of the databases. A restored party starts without
a snapshot, replays every rule, and carries a mark until it has caught up with the others (`Site.mark`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field

from pumasi.kernel.envelope import b64, canonical, parse_canonical, sha256, unb64
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.kernel.model import Hash, Instant, Line, MemberId, Model
from pumasi.ledger import note
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.store.custody import sync_folder
from pumasi.store.site import RESTORED, Mark

FORMAT: Final = "pumasi backup v1"
MANIFEST, SUM, KEYS = "manifest.json", "manifest.sha256", "keys.sealed"
LEFT_OUT = [
    "the keys of permits and the coordinating body's halves of them: what was destroyed stays destroyed",
    "workspaces: they are temporary, and their keys are not here either",
    "outputs that wait for their review, and what was deleted from the databases",
    "source tables, logs and people's own folders",
]
SHORTEST = 12  # characters of a passphrase
WORK, ABANDONED = ".pumasi-backup-", 86400.0  # where a backup is put together; the seconds after which nobody does there any more
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}  # 128 MiB and about half a second for each guess
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Plan:
    """Where a kind of party keeps what, relative to its folder: `databases` begin with the one that holds the log, `keys` with its own."""

    kind: Literal["hub", "node"]
    databases: tuple[str, ...]
    files: tuple[str, ...]
    folders: tuple[str, ...]
    keys: tuple[str, ...]  # ".next": while a change of keys is under way
    empty: tuple[str, ...]  # folders that a restored party finds empty


HUB = Plan(
    "hub", ("hub.db", "mailbox.db"), ("hub.toml", "hub.crt", "policy.txt", "handover.json"), (),
    ("keys/coordinator.key", "keys/log.key", "keys/tls.key", "keys/coordinator.key.next", "keys/log.key.next"), ("keys", "shares"),
)  # fmt: skip
NODE = Plan(
    "node", ("node.db",), ("node.toml", "hub.crt"), ("evidence",),
    ("keys/node.key", "keys/cosigner.key", "keys/node.key.next", "keys/cosigner.key.next"), ("keys", "keys/permits", "workspaces"),
)  # fmt: skip


class File(Model):
    """One file of a backup."""

    size: int = Field(ge=0)
    sha256: Hash


class Manifest(Model):
    """What a backup is: of whom, of when, of which log up to where."""

    format: Literal["pumasi backup v1"]
    kind: Literal["hub", "node"]
    name: MemberId
    made_at: Instant
    program: Line
    database_version: int = Field(ge=0)
    size: int = Field(ge=0)
    root: Hash
    checkpoint: str | None
    with_keys: bool
    files: dict[str, File]
    left_out: list[str]


# --- making one ---


def back_up(home: Path, plan: Plan, to: Path, *, name: str, now: datetime, passphrase: str | None = None) -> Manifest:
    """Write the backup of `home` to the new file `to`, also while the party is serving. Without a passphrase no key is in it."""
    if to.exists():
        raise Invalid(f"{to} exists already; a backup never replaces another file")
    if passphrase is not None and len(passphrase) < SHORTEST:
        raise Invalid(f"a passphrase that guards signing keys has at least {SHORTEST} characters")
    to.parent.mkdir(parents=True, exist_ok=True)
    _sweep(to.parent)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=WORK) as folder:
        work = Path(folder)
        found = _collect(home, plan, work)
        if passphrase is not None:
            (work / KEYS).write_bytes(_seal_keys(home, plan, name, passphrase))
            found.append(KEYS)
        with closing(sqlite3.connect(work / plan.databases[0])) as db:
            tree, checkpoint = _log_of(db)
            number = int(db.execute("PRAGMA user_version").fetchone()[0])
        manifest = Manifest(
            format=FORMAT, kind=plan.kind, name=name, made_at=_instant(now), program=version("pumasi"), database_version=number,
            size=tree.size, root=tree.root().hex(), checkpoint=checkpoint, with_keys=passphrase is not None,
            files={path: _measured(work / path) for path in sorted(found)}, left_out=LEFT_OUT,
        )  # fmt: skip
        _pack(work, manifest)
        (work / "archive").rename(to)
    sync_folder(to.parent)
    return manifest


def _collect(home: Path, plan: Plan, work: Path) -> list[str]:
    """Copy what belongs in the backup; the paths."""
    found = []
    for path in plan.databases:
        if (home / path).is_file():
            _copy_database(home / path, work / path)
            found.append(path)
    inner = [str(file.relative_to(home)) for folder in plan.folders for file in sorted((home / folder).glob("*")) if file.is_file()]
    for path in [*plan.files, *inner]:
        if (home / path).is_file():
            (work / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(home / path, work / path)
            found.append(path)
    if plan.databases[0] not in found:
        raise Invalid(f"{home} is no {plan.kind}'s folder: it has no {plan.databases[0]}")
    return found


def _copy_database(source: Path, target: Path) -> None:
    """As it is at one moment, in one file, without what a backup must not hold and without unused pages."""
    with closing(sqlite3.connect(source, timeout=30)) as used, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        used.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("PRAGMA secure_delete=ON")
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone():
            copy.execute("DELETE FROM notes WHERE key LIKE 'output|%'")
        copy.execute("VACUUM")


def _log_of(db: sqlite3.Connection) -> tuple[Tree, str | None]:
    """The tree over the entries of a database, and its newest checkpoint; `Tampered` when one is missing or they do not fit."""
    tree = Tree()
    try:
        for index, data in db.execute('SELECT "index", data FROM entries ORDER BY "index"'):
            if index != tree.size:
                raise Tampered(f"the log in the database has no entry {tree.size}")
            tree.append(leaf_hash(data))
        row = db.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        raise Tampered("the database cannot be read: it is damaged, or none of Pumasi") from error
    checkpoint = str(row[0]) if row else None
    head = note.parse_checkpoint(checkpoint) if checkpoint else None
    if head is not None and (head.size > tree.size or tree.root(head.size) != head.root):
        raise Tampered("the newest checkpoint is not over the entries beside it")
    return tree, checkpoint


def _pack(work: Path, manifest: Manifest) -> None:
    text = canonical(manifest.plain())
    (work / MANIFEST).write_bytes(text)
    (work / SUM).write_text(sha256(text))
    with _private(work / "archive") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in (MANIFEST, SUM, *manifest.files):
                member = tarfile.TarInfo(path)
                member.size, member.mode = (work / path).stat().st_size, 0o600
                with (work / path).open("rb") as content:
                    tar.addfile(member, content)
        file.flush()
        os.fsync(file.fileno())


# --- keys ---


def _seal_keys(home: Path, plan: Plan, name: str, passphrase: str) -> bytes:
    values = {path: b64((home / path).read_bytes()) for path in plan.keys if not path.endswith(".next") or (home / path).is_file()}
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, canonical(values), _context(plan, name))
    return canonical({"kdf": {"name": "scrypt", "salt": b64(salt), **_SCRYPT}, "nonce": b64(nonce), "data": b64(sealed)})


def _open_keys(data: bytes, plan: Plan, name: str, passphrase: str) -> dict[str, bytes]:
    value = parse_canonical(data)
    if value["kdf"] != {"name": "scrypt", "salt": value["kdf"]["salt"], **_SCRYPT}:  # what an archive asks for could exhaust the memory
        raise Tampered("the keys in the backup are not sealed as this version seals them")
    try:
        key = _derived(passphrase, unb64(value["kdf"]["salt"], 16))
        opened = AESGCM(key).decrypt(unb64(value["nonce"], 12), unb64(value["data"]), _context(plan, name))
    except InvalidTag:
        raise Invalid("the passphrase does not open the keys in the backup; nothing was restored") from None
    return {path: unb64(text) for path, text in parse_canonical(opened).items() if path in plan.keys}


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode("utf-8"))


def _context(plan: Plan, name: str) -> bytes:
    return f"pumasi/backup-keys/v1|{plan.kind}|{name}".encode()


# --- bringing one back ---


def restore(home: Path, plan: Plan, source: Path, *, now: datetime, passphrase: str | None = None) -> Manifest:
    """Make `home`, which must not exist or be empty, from a backup. Until the last step, a rename, nothing there counts.

    1. unpack beside `home`, every byte against the manifest   2. the log against its root and checkpoint   3. keys, if asked for
    4. the mark   5. sync, rename. What an interrupted restore left beside `home` is removed by the next.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Invalid(f"{home} is not empty; a backup is restored into a new folder only")
    if not source.is_file():
        raise Invalid(f"there is no backup at {source}")
    stage = home.with_name(f"{home.name}.restoring")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True, mode=0o700)
    try:
        manifest = _unpack(source, plan, stage)
        _check_log(stage / plan.databases[0], manifest)
        for folder in plan.empty:
            (stage / folder).mkdir(mode=0o700, exist_ok=True)
        _restore_keys(stage, plan, manifest, passphrase)
        _mark(stage / plan.databases[0], manifest, now)
        _sync_all(stage)
        stage.rename(home)  # replaces an empty folder
        sync_folder(home.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """What a backup says it is; `Tampered` when that was changed."""
    with _opened(source) as tar:
        return _manifest(tar)


def _unpack(source: Path, plan: Plan, stage: Path) -> Manifest:
    with _opened(source) as tar:
        manifest = _manifest(tar)
        if manifest.kind != plan.kind:
            raise Invalid(f"{source} is the backup of a {manifest.kind}; restore it with `pumasi {manifest.kind} restore`")
        wanted = dict(manifest.files)
        for member in tar:
            if member.name in (MANIFEST, SUM):
                continue
            file = wanted.pop(member.name, None)
            if file is None or not _belongs(member.name, plan) or not member.isreg():
                raise Tampered(f"the backup holds something that its manifest does not name, or that no {plan.kind} has")
            content = tar.extractfile(member)
            assert content is not None  # a regular file
            (stage / member.name).parent.mkdir(mode=0o700, exist_ok=True)
            with content, _private(stage / member.name) as target:
                shutil.copyfileobj(content, target, _CHUNK)
            if _measured(stage / member.name) != file:
                raise Tampered(f"{member.name} in the backup is not what was backed up: the file is damaged or was changed")
        if wanted:
            raise Tampered(f"the backup lacks {', '.join(sorted(wanted))}: it is cut off or was changed")
        return manifest


def _belongs(path: str, plan: Plan) -> bool:
    """Whether a backup may write here: a closed list, and one level below its folders."""
    folder, _, file = path.rpartition("/")
    inner = folder in plan.folders and file not in ("", ".", "..")
    return inner or path in (*plan.databases, *plan.files, KEYS)


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, mode="r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise Tampered(f"{source} is no backup of Pumasi, or is cut off") from error


def _manifest(tar: tarfile.TarFile) -> Manifest:
    first, second = tar.next(), tar.next()
    if first is None or second is None or (first.name, second.name) != (MANIFEST, SUM) or first.size > _CHUNK or second.size != 64:
        raise Tampered("the file does not begin with the manifest of a backup")
    text, digest = (content.read() for member in (first, second) if (content := tar.extractfile(member)))
    if sha256(text).encode() != digest:
        raise Tampered("the manifest of the backup was changed or damaged")
    return Manifest.read(parse_canonical(text))


def _check_log(database: Path, manifest: Manifest) -> None:
    with closing(sqlite3.connect(database)) as db:
        tree, checkpoint = _log_of(db)
    if (tree.size, tree.root().hex(), checkpoint) != (manifest.size, manifest.root, manifest.checkpoint):
        raise Tampered("the log in the backup is not the one that its manifest describes")


def _mark(database: Path, manifest: Manifest, now: datetime) -> None:
    mark = Mark(made_at=manifest.made_at, restored_at=_instant(now), size=manifest.size, checkpoint=manifest.checkpoint)
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)", (RESTORED, canonical(mark.plain())))


def _restore_keys(stage: Path, plan: Plan, manifest: Manifest, passphrase: str | None) -> None:
    sealed = stage / KEYS
    if passphrase is not None:
        if not manifest.with_keys:
            raise Invalid("there are no keys in this backup; restore it without a passphrase and bring the keys yourself")
        for path, data in _open_keys(sealed.read_bytes(), plan, manifest.name, passphrase).items():
            with _private(stage / path) as file:
                file.write(data)
    sealed.unlink(missing_ok=True)


def missing_keys(home: Path, plan: Plan) -> list[str]:
    """Which key files a restored party still needs before it can serve."""
    return [path for path in plan.keys if not path.endswith(".next") and not (home / path).is_file()]


# --- small things ---


def _sweep(folder: Path) -> None:
    """Remove what backups that were killed have left."""
    for left in folder.glob(f"{WORK}*"):
        with contextlib.suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def passphrase_from(file: Path | None, ask: Callable[[], str]) -> str:
    """The passphrase in a file of one line that its owner alone may read, or what a person types."""
    if file is None:
        return ask()
    if file.stat().st_mode & 0o077:
        raise Invalid(f"others than its owner may read {file}, which holds a passphrase; run chmod 600 on it")
    return file.read_text(encoding="utf-8").rstrip("\r\n")


def place(to: Path, kind: str, now: datetime) -> Path:
    """The file to write: `to` itself, or one named after the instant in the folder `to`."""
    return to / f"{kind}-{now.strftime('%Y%m%dT%H%M%SZ')}.tar" if to.is_dir() else to


def told(manifest: Manifest, to: Path) -> str:
    """What was backed up and what was not, for whoever runs it."""
    keys = "with the signing keys, encrypted" if manifest.with_keys else "without any key: keep the files in keys/ elsewhere"
    left = "".join(f"\n  not in it: {what}" for what in manifest.left_out)
    return f"{to}: the log with {manifest.size} entries, {keys}{left}"


def thin(folder: Path, kind: str, *, keep: int) -> list[Path]:
    """Remove all but the `keep` newest backups of this kind that `place` has named in a folder; which went."""
    old = sorted(folder.glob(f"{kind}-[0-9]*.tar"))[:-keep]
    for path in old:
        path.unlink()
    return old


def _instant(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _measured(path: Path) -> File:
    with path.open("rb") as file:
        return File(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)
