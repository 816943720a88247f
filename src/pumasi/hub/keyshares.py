"""The coordinating body's half of every workspace key: one random key per permit, given out only while the permit is in force."""

from __future__ import annotations

from pathlib import Path

from pumasi.kernel.envelope import sha256, unb64
from pumasi.kernel.errors import Refused
from pumasi.kernel.seal import seal_to
from pumasi.store.custody import FileCustodian
from pumasi.store.site import Site

CONTEXT = b"pumasi/workspace-share/v1"


class KeyShares:
    def __init__(self, folder: Path, site: Site) -> None:
        self._folder, self._site = folder, site
        folder.mkdir(mode=0o700, exist_ok=True)

    def _path(self, case: str, hospital: str) -> Path:
        return self._folder / f"{case}-{sha256(hospital.encode())[:32]}.key"

    def sealed(self, case: str, hospital: str) -> bytes:
        """This half for the node of `hospital`, sealed to its box key; it travels encrypted and stays in the node's memory."""
        with self._site.changed:  # or a permit could end, and its half be destroyed, before a new one is made here
            found = self._site.world.cases.get(case)
            permit = found.permits.get(hospital) if found else None
            if permit is None or permit.state not in ("in force", "open"):
                raise Refused(f"'{hospital}' has no permit in force for this case, so there is no key to give")
            path = self._path(case, hospital)
            if permit.state == "open" and not path.exists():  # a new half would open nothing
                raise Refused("this half was lost: the hub was restored from a backup, which holds no keys; end the permit and apply again")
            custodian = FileCustodian(path) if path.exists() else FileCustodian.create(path)
        return seal_to(
            unb64(self._site.world.members[hospital].box, 32), custodian.evaluate(CONTEXT), context=f"{case}|{hospital}".encode()
        )

    def destroy(self, case: str, hospital: str) -> None:
        path = self._path(case, hospital)
        if path.exists():
            FileCustodian(path).destroy()
