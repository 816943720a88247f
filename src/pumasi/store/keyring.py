"""Where a party keeps its half of every workspace key: files, or a hardware security module. The one place that chooses.

Both halves of a workspace are never one party's; two parties that share one token still hold different keys, because every label
carries its owner.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import model_validator

from pumasi.kernel.envelope import sha256
from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Line, Model
from pumasi.store.custody import Custodian, FileCustodian

if TYPE_CHECKING:
    from pumasi.store.hsm import Hsm

TEMPLATE = """\
# Who holds this party's half of every workspace key. "files": files of mode 0600 below this folder.
# "pkcs11": a hardware security module, which no backup of this machine reaches into; needs pumasi[hsm].
[custody]
kind = "files"
# kind = "pkcs11"
# module = "/usr/lib/softhsm/libsofthsm2.so"    # the device's PKCS#11 library
# token = "pumasi"                              # the token's label
# pin_file = "keys/hsm.pin"                     # one line, mode 0600; relative to this folder, or absolute
"""

_LABEL = re.compile(r"[0-9a-z-]{1,80}")


class CustodySettings(Model):
    """The section [custody] of node.toml and hub.toml."""

    kind: Literal["files", "pkcs11"] = "files"
    module: Line | None = None
    token: Line | None = None
    pin_file: Line | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = [name for name in ("module", "token", "pin_file") if getattr(self, name) is not None]
        if self.kind == "pkcs11" and len(given) < 3:
            raise ValueError('kind = "pkcs11" needs module, token and pin_file')
        if self.kind == "files" and given:
            raise ValueError(f'kind = "files" takes no {", ".join(given)}')
        return self


class Keyring(Protocol):
    """The keys of one party, each under a label of small letters, digits and dashes."""

    def holds(self, label: str) -> bool: ...

    def create(self, label: str) -> Custodian:
        """A new random key; `Invalid` when the label is taken, so that no key is ever replaced."""
        ...

    def custodian(self, label: str) -> Custodian:
        """The custodian of a key that is or was there; nothing is made."""
        ...

    def returned(self) -> list[str]:
        """The labels of keys that a restored backup of this machine can have brought back. A device is in no such backup."""
        ...


class FileKeyring:
    """One file per key below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def holds(self, label: str) -> bool:
        return self._path(label).exists()

    def create(self, label: str) -> FileCustodian:
        return FileCustodian.create(self._path(label))

    def custodian(self, label: str) -> FileCustodian:
        return FileCustodian(self._path(label))

    def returned(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.key"))

    def _path(self, label: str) -> Path:
        return self._folder / f"{_checked(label)}.key"


class HsmKeyring:
    """Keys in one token. The labels there are 39 characters, which small devices take too."""

    def __init__(self, hsm: Hsm, *, owner: str) -> None:
        self._hsm, self._owner = hsm, owner

    def holds(self, label: str) -> bool:
        return self._hsm.holds(self.device_label(label))

    def create(self, label: str) -> Custodian:
        return self._hsm.create(self.device_label(label))

    def custodian(self, label: str) -> Custodian:
        return self._hsm.custodian(self.device_label(label))

    def returned(self) -> list[str]:
        return []

    def device_label(self, label: str) -> str:
        return f"pumasi-{sha256(f'{self._owner}|{_checked(label)}'.encode())[:32]}"


def open_keyring(settings: CustodySettings, *, home: Path, folder: Path, owner: str) -> Keyring:
    """The keyring that these settings choose. `folder` is for files, `owner` the party's id; a wrong device is told at first use."""
    if settings.module is None or settings.token is None or settings.pin_file is None:
        return FileKeyring(folder)
    try:
        from pumasi.store.hsm import Hsm
    except ModuleNotFoundError as error:
        raise Invalid("a hardware security module needs the package python-pkcs11; install pumasi[hsm]") from error
    return HsmKeyring(Hsm(Path(settings.module), token=settings.token, pin=_pin(home / settings.pin_file)), owner=owner)


def _pin(path: Path) -> str:
    """The PIN in a file that its owner alone may read."""
    try:
        mode, pin = path.stat().st_mode, path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:  # the error's own text may hold bytes of the PIN
        raise Invalid(f"the PIN of the security module cannot be read from {path} ({type(error).__name__})") from None
    if mode & 0o077:
        raise Invalid(f"others than its owner may read {path}, which holds the PIN of the security module; run chmod 600 on it")
    if not pin or "\n" in pin:
        raise Invalid(f"{path} must hold the PIN of the security module in one line")
    return pin


def _checked(label: str) -> str:
    if not _LABEL.fullmatch(label):
        raise ValueError("the label of a key is made of small letters, digits and dashes")
    return label
