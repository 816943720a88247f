"""Wiring of a node. `open_node` is the only place where its parts meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.deid import rulefile
from pumasi.kernel.envelope import Keys, unb64
from pumasi.node import rotation
from pumasi.node.courier import Courier
from pumasi.node.settings import NodeSettings, load
from pumasi.node.sources import TableSource
from pumasi.store.db import open_db
from pumasi.store.keyring import Keyring, open_keyring
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots


@dataclass
class Node:
    """Everything one hospital's node is made of."""

    home: Path
    settings: NodeSettings
    site: Site
    courier: Courier
    cosigner: Ed25519PrivateKey
    sources: dict[str, TableSource]
    custody: Keyring  # one key per permit, labelled with its case

    def workspace(self, case: str) -> Path:
        return self.home / "workspaces" / case

    def close(self) -> None:
        self.courier.close()


def open_node(home: Path) -> Node:
    """Open the node at `home`."""
    settings = load(home)
    rotation.settle(home)
    keys = Keys.from_text((home / "keys" / "node.key").read_text())
    return Node(
        home,
        settings,
        Site(open_db(home / "node.db"), id=settings.name, keys=keys, snapshots=Snapshots(home / "snapshot", keys)),
        Courier(settings.hub, home / "hub.crt", hospital=settings.name, keys=keys),
        Ed25519PrivateKey.from_private_bytes(unb64((home / "keys" / "cosigner.key").read_text().strip(), 32)),
        table_sources(home, settings),
        open_keyring(settings.custody, home=home, folder=home / "keys" / "permits", owner=settings.name),
    )


def table_sources(home: Path, settings: NodeSettings) -> dict[str, TableSource]:
    """The tables of node.toml; relative paths are relative to the node's folder."""
    return {
        name: TableSource(
            file=home / table.file,
            person=table.person,
            identifiers=tuple(table.identifiers),
            rules=None if table.rules is None else rulefile.load(table.rules, beside=home),
        )
        for name, table in settings.tables.items()
    }
