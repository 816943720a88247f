"""The coordinating body's half of every workspace key: one random key per permit, given out only while the permit is in force.

From the moment a deletion is pending it is given to nobody. It is kept while the deletion can still be reversed, then destroyed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pumasi.kernel.envelope import sha256, unb64
from pumasi.kernel.errors import NotFound, Refused
from pumasi.kernel.seal import seal_to
from pumasi.store.custody import Custodian
from pumasi.store.keyring import Keyring
from pumasi.store.site import Site

CONTEXT = b"pumasi/workspace-share/v1"
ATTEMPTS = 8
# What the certificate says when the log was handed over: a successor cannot testify to what it never had.
LOST = "no half was here to destroy: it stayed with the hub from which the log was handed over, or was destroyed before"


@dataclass(frozen=True)
class Gone:
    """The facts for a share certificate: `failures` of `attempts` tries to use the key afterwards failed."""

    method: str
    attempts: int
    failures: int


class KeyShares:
    def __init__(self, keys: Keyring, site: Site) -> None:
        self._keys, self._site = keys, site

    def _label(self, case: str, hospital: str) -> str:
        return f"{case}-{sha256(hospital.encode())[:32]}"

    def sealed(self, case: str, hospital: str) -> bytes:
        """This half for the node of `hospital`, sealed to its box key; it travels encrypted and stays in the node's memory."""
        with self._site.changed:  # or a permit could end, and its half be destroyed, before a new one is made here
            found = self._site.world.cases.get(case)
            permit = found.permits.get(hospital) if found else None
            if permit is None or permit.state not in ("in force", "open"):
                raise Refused(f"'{hospital}' has no permit in force for this case, so there is no key to give")
            label = self._label(case, hospital)
            if permit.state == "open" and not self._keys.holds(label):  # a new half would open nothing
                raise Refused("this half was lost with the hub that held it, or no backup brought it back; end the permit and apply again")
            custodian = self._keys.custodian(label) if self._keys.holds(label) else self._keys.create(label)
        return seal_to(
            unb64(self._site.world.members[hospital].box, 32), custodian.evaluate(CONTEXT), context=f"{case}|{hospital}".encode()
        )

    def destroy(self, case: str, hospital: str) -> Gone:
        """Destroy this half, if it is there, and try to use it; may be called again after a crash."""
        custodian = self._keys.custodian(self._label(case, hospital))
        handed_over = len({log.origin for log in self._site.world.logs}) > 1
        method = LOST if handed_over and not self._keys.holds(self._label(case, hospital)) else custodian.method
        custodian.destroy()
        return Gone(method, ATTEMPTS, sum(_refuses(custodian) for _ in range(ATTEMPTS)))

    def sweep(self) -> int:
        """Destroy again what a restored backup brought back, though the log says that it is destroyed; how many there were."""
        world = self._site.world
        ends = {id: [name for name, permit in case.permits.items() if permit.share_destroyed] for id, case in world.cases.items()}
        gone = {self._label(id, hospital) for id, hospitals in ends.items() for hospital in hospitals}
        back = [label for label in self._keys.returned() if label in gone or world.is_closed(label[:32])]
        for label in back:
            self._keys.custodian(label).destroy()
        return len(back)


def _refuses(custodian: Custodian) -> bool:
    try:
        custodian.evaluate(secrets.token_bytes(32))
    except NotFound:
        return True
    return False
