"""The key of a de-identification: one random key per permit and hospital, from which every secret number comes.

Whoever holds the key and the original ids can follow a pseudonym back; whoever holds two extracts under two keys cannot join them by
pseudonym or row order. So a key is kept apart from the data (PIPA 28-4(1)) and destroyed with the permit.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pumasi.kernel.errors import Invalid, Refused

BYTES = 32
PSEUDONYM_BYTES = 16  # 128 bits: no two of 10^12 people share one but with probability 2^-49
_BLOCK = 64  # of SHA-256


@dataclass(frozen=True)
class Key:
    """A key, and where it lies: in a file that was there (`found`), that was made now (`made`), or nowhere (`forgotten`)."""

    secret: bytes
    kept: str

    def of(self, purpose: str) -> bytes:
        """A key for one purpose, which says nothing about the key of another (HMAC-SHA-256 as a key derivation function)."""
        return hmac.digest(self.secret, b"pumasi deid 1 " + purpose.encode(), "sha256")

    def __repr__(self) -> str:
        return f"Key({self.kept})"


def forgotten() -> Key:
    """A key that nobody will ever have again: no later extract fits to what it makes."""
    return Key(secrets.token_bytes(BYTES), "forgotten")


def in_file(path: Path) -> Key:
    """The key in a file, or a new one for it, which `keep` writes there. `Refused` when others may read the file."""
    if path.exists() or path.is_symlink():
        return _read(path)
    if not path.parent.is_dir():
        raise Invalid(f"{path}: there is no such folder for the key; make it first, away from the data")
    return Key(secrets.token_bytes(BYTES), "made")


def keep(key: Key, path: Path) -> None:
    """Write a new key, for its owner alone. `Refused` when somebody made the file meanwhile."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Refused(f"{path}: somebody else made this key just now; run the command again to use it") from None
    with os.fdopen(number, "w") as file:
        os.fchmod(number, 0o600)
        file.write(key.secret.hex() + "\n")
        file.flush()
        os.fsync(number)


def _read(path: Path) -> Key:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Invalid(f"{path}: the key is no regular file of its own; name the file itself")
    if found.st_mode & 0o077:
        raise Refused(f"{path}: others on this machine may read the key; take the right away (chmod 600) and ask whether they did")
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise Invalid(f"{path}: a key file holds {2 * BYTES} hexadecimal digits and nothing else; name a new file and it is made")
    return Key(secret, "found")


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and the outer block of HMAC-SHA-256 (RFC 2104), for an engine that has SHA-256 alone."""
    block = key.ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def pseudonyms(ids: Sequence[str | None], key: bytes) -> list[str | None]:
    """The pseudonym of each id: HMAC-SHA-256 under `key`, cut to 128 bits, as 32 hexadecimal digits; None stays None.

    Ids are compared in Unicode normal form C, so that a name typed on another system stays the same person. Without the key
    nobody can test a guessed id; whoever holds the key can, so it is random per permit and destroyed with it.
    """
    if len(key) < BYTES:
        raise ValueError("a pseudonym key has at least 32 bytes")
    return [None if one is None else _pseudonym(one, key) for one in ids]


def _pseudonym(one: str, key: bytes) -> str:
    return hmac.digest(key, unicodedata.normalize("NFC", one).encode(), "sha256")[:PSEUDONYM_BYTES].hex()
