"""New keys for the coordinating body and for its log, announced with the present ones. They count from the next entry of the log on."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.hub.settings import load
from pumasi.kernel import keys as kernel_keys
from pumasi.kernel.envelope import Keys, b64, detached
from pumasi.kernel.errors import Invalid, refuse_if
from pumasi.kernel.event import CONSORTIUM, KeyRotated, LogKeyRotated
from pumasi.store.db import open_db
from pumasi.store.rotation import announced, change, finish, next_of, public_of, signing_key, write_next
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots

COORDINATOR, LOG = "keys/coordinator.key", "keys/log.key"


def rotate(home: Path) -> Keys:
    """New keys from the hub's next act and its next head on; the hub is stopped. `Refused` with the rules' reasons when they say no."""
    settle(home)
    present, log_key = Keys.from_text((home / COORDINATOR).read_text()), signing_key(home / LOG)
    site = Site(open_db(home / "hub.db"), id=load(home).name, keys=present)
    if not site.world.logs or site.world.logs[-1].key != public_of(log_key):
        raise Invalid(f"{home} serves no log of its own yet; serve it first")
    log_recorded(site)
    new, new_log = Keys.new(), Ed25519PrivateKey.generate()
    write_next(home / COORDINATOR, new.to_text())
    write_next(home / LOG, b64(new_log.private_bytes_raw()) + "\n")
    said = kernel_keys.log_change(author=site.id, log_key=public_of(new_log), replaces=public_of(log_key))
    consent, proof = (detached("log-key-rotation", said, key) for key in (log_key, new_log))
    site.record(LogKeyRotated, case=CONSORTIUM, log_key=public_of(new_log), consent=consent, proof=proof)
    site.record(KeyRotated, case=CONSORTIUM, **change(site.id, present, new, None))
    log_recorded(site)
    settle(home)
    Snapshots(home / "snapshot", present).rekey(new)
    return new


def settle(home: Path) -> None:
    """Finish, or undo, what a crash interrupted: the next keys count once their announcement is recorded."""
    coordinator, log = home / COORDINATOR, home / LOG
    if not (next_of(coordinator).exists() or next_of(log).exists()):
        return
    said = announced(home / "hub.db")
    if next_of(log).exists():
        finish(log, announced=public_of(signing_key(next_of(log))) in said)
    if next_of(coordinator).exists():
        finish(coordinator, announced=Keys.from_text(next_of(coordinator).read_text()).public in said)


def log_recorded(site: Site) -> None:
    """Sequence what this hub has recorded and a crash kept from being logged; `Refused` with the rules' reasons."""
    for id, data in site.unsent():
        refused = site.extend([data])[0]
        site.settle(id, refused=refused)
        refuse_if(*refused)
