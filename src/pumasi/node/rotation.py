"""New keys for a hospital, speaking and cosigning, announced with the present ones. They count from the next entry of the log on."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.envelope import Keys, b64
from pumasi.kernel.errors import Invalid
from pumasi.kernel.event import CONSORTIUM, KeyRotated
from pumasi.store.rotation import announced, change, finish, next_of, public_of, signing_key, write_next
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots


def rotate(home: Path, site: Site) -> None:
    """New keys from this node's next act on; `Invalid` while something that the present ones signed is not in the log."""
    if site.unsent():
        raise Invalid("something this node has signed is not in the log yet; start it with `pumasi node serve`, let it send, then rotate")
    new, cosigner = Keys.new(), Ed25519PrivateKey.generate()
    write_next(home / "keys" / "node.key", new.to_text())
    write_next(home / "keys" / "cosigner.key", b64(cosigner.private_bytes_raw()) + "\n")
    site.record(KeyRotated, case=CONSORTIUM, **change(site.id, site.keys, new, cosigner))
    settle(home)
    Snapshots(home / "snapshot", site.keys).rekey(new)


def settle(home: Path) -> None:
    """Finish, or undo, what a crash interrupted: the next keys count once their announcement is recorded."""
    node, cosigner = home / "keys" / "node.key", home / "keys" / "cosigner.key"
    if not (next_of(node).exists() or next_of(cosigner).exists()):
        return
    said = announced(home / "node.db")
    if next_of(cosigner).exists():
        finish(cosigner, announced=public_of(signing_key(next_of(cosigner))) in said)
    if next_of(node).exists():
        finish(node, announced=Keys.from_text(next_of(node).read_text()).public in said)
