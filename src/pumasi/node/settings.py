"""node.toml: what one hospital decides for itself, in one commented file that a data steward edits."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from pumasi.kernel.certificate import Backup
from pumasi.kernel.codes import LegalBasis
from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Line, MemberId, Model
from pumasi.kernel.study import Name
from pumasi.store import keyring, settingsfile
from pumasi.store.keyring import CustodySettings

TEMPLATE = """\
# One hospital's node. Change a value, restart `pumasi node serve`, done.

name = {name}                # this hospital's id in the log; fixed once it has joined
kind = {kind}                # hospital or tertiary-hospital; any other kind of member only cosigns
hub = {hub}                  # the coordinating body's address; its certificate is hub.crt beside this file

# No permit of this hospital goes below this many people, whatever a study asks. Descriptions name no rarer value.
smallest_cell = {smallest_cell}

# true: results of the built-in analyses leave without two people's review if no finding was made. The default is two people.
automatic_release = false

# How many hospitals must take part in every job of a study. 0: all that the application names.
hospitals_at_least = 0

# How many days a permit holds, from the day it is signed (in Seoul), and on what basis.
permit_days = 180
legal_basis = "pipa-28-2"

# How long (seconds) a job waits for a hospital that does not answer before it stops with a clear message.
patience_seconds = 60

# Folders with copies of the log that others keep: their `checkpoint` files are compared with what the hub shows this node.
mirrors = []

# How many hours a workspace that is over stays unusable before it is destroyed. In that time its deletion can be reversed, if the
# data steward and the coordinating body both want that. 0: it is destroyed at once. At most 744 (31 days).
deletion_grace_hours = 0

# Backups of this folder that may hold a workspace or a key, and the day they are gone; every certificate lists them. One section each:
#   [[backups]]
#   what = "weekly tape of the node"
#   until = "2026-12-31"

"""

TABLES = """\

# One section per table that studies may ask for. Identifiers are never described and never leave the source.
#   [tables.patients]
#   file = "/secure/patients.csv"      # .csv or .parquet; relative to this folder, or absolute
#   person = "patient_no"              # the column that tells people apart
#   identifiers = ["name", "phone"]
#   rules = "kr-pseudonym"             # a rule file of `pumasi deid table`: studies get the columns as it leaves them, or less
"""


class TableSettings(Model):
    file: str
    person: Name
    identifiers: list[Name] = Field(default=[])
    rules: Line | None = None


class NodeSettings(Model):
    name: MemberId
    kind: Line
    hub: Line
    smallest_cell: int = Field(ge=1)
    automatic_release: bool
    hospitals_at_least: int = Field(ge=0)
    permit_days: int = Field(ge=1, le=3650)
    legal_basis: LegalBasis
    patience_seconds: float = Field(gt=0)
    mirrors: list[str] = Field(default=[])
    deletion_grace_hours: int = Field(default=0, ge=0, le=744)
    backups: list[Backup] = Field(default=[])
    tables: dict[Name, TableSettings] = Field(default={})
    custody: CustodySettings = Field(default=CustodySettings())


def write(home: Path, *, name: str, kind: str, hub: str, smallest_cell: int) -> None:
    """A new node.toml with this hospital's values and every other at its safest."""
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in (("name", name), ("kind", kind), ("hub", hub))}
    (home / "node.toml").write_text((TEMPLATE + keyring.TEMPLATE + TABLES).format(**quoted, smallest_cell=smallest_cell), encoding="utf-8")


def load(home: Path) -> NodeSettings:
    """Read node.toml; `Invalid` says what is wrong with which key."""
    path = home / "node.toml"
    if not path.is_file():
        raise Invalid(f"{home} is no node: it has no node.toml; make one with `pumasi node init --home {home}`")
    return settingsfile.read(path, NodeSettings)
