"""Custodians: who holds a secret that a workspace cannot be opened without, and can be told to forget it.

A workspace key needs two of them, the hospital's and the coordinator's. Destroying either makes every copy of the ciphertext
unreadable, backups included. It binds nobody who kept the derived key or the plaintext, and the certificate says so.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pumasi.kernel.errors import Invalid, NotFound

KEY_SIZE = 32
_DESTROYED = bytes(KEY_SIZE)  # what `destroy` writes over a key; never a key


class Custodian(Protocol):
    """Holds one random key that never leaves it. `method` says, for the certificate, what `destroy` does."""

    @property
    def method(self) -> str: ...

    def evaluate(self, context: bytes) -> bytes:
        """32 bytes: HMAC-SHA-256 of the context under the key. `NotFound` once the key is destroyed."""
        ...

    def destroy(self) -> None:
        """Make the key unrecoverable. May be called again, also after a crash half-way."""
        ...


class FileCustodian:
    """A key in a file of mode 0600. It is as safe as the disk and its administrator; a hardware module does better."""

    method = "the key file was overwritten with zeros, flushed to the disk and removed; copies that the disk itself keeps are not reached"

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, path: Path) -> FileCustodian:
        """A new random key on the disk before this returns; `Invalid` when the path is taken, so that no key is ever replaced."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise Invalid(f"there is a key at {path} already; a key is never replaced, destroy it first") from error
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_SIZE))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
        return cls(path)

    def evaluate(self, context: bytes) -> bytes:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"no key at {self._path}: the key was destroyed or never existed") from error
        if len(key) != KEY_SIZE or key == _DESTROYED:
            raise NotFound(f"no key at {self._path}: its destruction began and was interrupted; call it again")
        return hmac.digest(key, context, "sha256")

    def destroy(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            with self._path.open("r+b") as file:
                file.write(_DESTROYED)
                file.flush()
                os.fsync(file.fileno())
            self._path.unlink()
        if self._path.parent.is_dir():
            sync_folder(self._path.parent)


def workspace_key(h: bytes, c: bytes, permit: str) -> bytes:
    """The key of a permit's workspace from the hospital's and the coordinator's share (HKDF, RFC 5869); `permit` is its digest."""
    if len(h) != KEY_SIZE or len(c) != KEY_SIZE:
        raise ValueError("a share of a workspace key has 32 bytes")
    return HKDF(SHA256(), length=32, salt=bytes.fromhex(permit), info=b"pumasi/workspace/v1").derive(h + c)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, so that a file made, renamed or removed there stays so after a power cut."""
    if os.name == "nt":  # Windows cannot open a folder for flushing; NTFS journals the entries itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
