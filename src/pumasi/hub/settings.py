"""hub.toml: what the coordinating body decides, in one commented file."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pumasi.kernel.certificate import Backup
from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Line, MemberId, Model
from pumasi.store import settingsfile
from pumasi.store.keyring import CustodySettings

TEMPLATE = """\
# The coordinating body's hub. Change a value, restart `pumasi hub serve`, done.

name = {name}              # this body's id in the log; fixed once the log is founded
origin = {origin}    # the log's name in every checkpoint; fixed once the log is founded
host = {host}              # the address to listen on
port = {port}                      # nodes and researchers reach https://host:port

# Whose cosignatures make a checkpoint final: "two-thirds" (more than two thirds of the members that cosign), or the name of a C2SP
# tlog-policy file beside this one. Such a file asks for groups, say 5 of 7 hospitals AND any public body AND any patient
# organisation; see the how-to.
policy = "two-thirds"

# How long (seconds) new entries are gathered before a checkpoint is signed over them.
batch_seconds = 0.05

# How long this body waits for a hospital that does not record its deletion before it destroys its own key share first.
deletion_silence_days = 7

# Backups of this folder that may hold a key share, and the day they are gone; every certificate lists them. One section each:
#   [[backups]]
#   what = "nightly snapshot of the hub"
#   until = "2026-12-31"
"""


class HubSettings(Model):
    name: MemberId
    origin: Line
    host: str
    port: int = Field(ge=1, le=65535)
    policy: Line = "two-thirds"
    batch_seconds: float = Field(ge=0, le=60)
    deletion_silence_days: float = Field(default=7, ge=0, le=366)
    backups: list[Backup] = Field(default=[])
    custody: CustodySettings = Field(default=CustodySettings())

    def policy_text(self, home: Path) -> str | None:
        """The pinned policy; None for two thirds. `Invalid` when the file is missing."""
        if self.policy == "two-thirds":
            return None
        if self.policy == "majority":  # as files said before
            raise Invalid('in hub.toml, policy = "majority" lets one liar of four make two histories final; write policy = "two-thirds"')
        if not (home / self.policy).is_file():
            raise Invalid(f"hub.toml names the policy {self.policy}, but there is no such file in {home}")
        return (home / self.policy).read_text(encoding="utf-8", errors="surrogateescape")

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"


def load(home: Path) -> HubSettings:
    """Read hub.toml; `Invalid` says what is wrong with which key."""
    path = home / "hub.toml"
    if not path.is_file():
        raise Invalid(f"{home} is no hub: it has no hub.toml; make one with `pumasi hub init --home {home}`")
    return settingsfile.read(path, HubSettings)
