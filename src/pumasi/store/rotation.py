"""Changing a key file without a moment in which the party has none, or two.

1. the next key is on the disk, beside the present one   2. the signed change is recorded, by the present key   3. the next takes its place
A crash before 2 leaves the present key, one after it the next: the party's own record says which of the two it was.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.envelope import Keys, b64, possession, unb64
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.store.custody import sync_folder
from pumasi.store.db import column, open_db


def next_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def write_next(path: Path, text: str) -> None:
    """Step 1, for one file."""
    new = next_of(path)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def finish(path: Path, *, announced: bool, earlier: Path | None = None) -> None:
    """Step 3, or back, for one file. What is sealed to an earlier key is opened with it: it is added to `earlier`, else forgotten."""
    new = next_of(path)
    if not announced:
        new.unlink()
        return
    if earlier is not None:
        with os.fdopen(os.open(earlier, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
            file.write(path.read_text())
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def change(author: str, present: Keys, new: Keys, cosigner: Ed25519PrivateKey | None) -> dict[str, Any]:
    """The fields of KeyRotated, with the proof that whoever announces the new key holds it."""
    public = public_of(cosigner) if cosigner else None
    fields: dict[str, Any] = {"key": new.public, "box": new.box_public, "cosigner": public}
    return fields | {"proof": possession({"author": author, **fields, "replaces": present.public}, new)}


def announced(database: Path) -> set[str]:
    """Every key that a party has announced as its next, or as its log's, whether or not the log has it yet."""
    with open_db(database).reading() as db:
        own = db.execute("""SELECT data FROM outbox WHERE "case" = ? AND state != 'refused'""", (CONSORTIUM,))
        said: list[Any] = [Entry(data).event for data in column(own)]
    events = [event for event in said if event.type in ("KeyRotated", "LogKeyRotated")]
    keys = [getattr(event, name, None) for event in events for name in ("key", "cosigner", "log_key")]
    return {key for key in keys if key is not None}


def signing_key(path: Path) -> Ed25519PrivateKey:
    """A key file of one line."""
    return Ed25519PrivateKey.from_private_bytes(unb64(path.read_text().strip(), 32))


def public_of(key: Ed25519PrivateKey) -> str:
    return b64(key.public_key().public_bytes_raw())
