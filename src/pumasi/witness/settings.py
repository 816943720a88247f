"""witness.toml: who this witness is, where it listens, and which logs it knows."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Line, Model
from pumasi.store import settingsfile

TEMPLATE = """\
# A witness of logs (C2SP tlog-witness). Change a value, restart `pumasi witness serve`, done.

name = {name}     # the name of its key, fixed for ever; a policy holds it
host = {host}
port = {port}                     # it speaks HTTP: put a web server with a certificate before it, if it is reached over a network

# The verifier keys of the logs whose heads it cosigns, as the line `log` of a hub's policy has them (GET /policy). A log that has
# changed its key has two; one that was handed over has a new name, and begins anew here.
logs = []
"""


class WitnessSettings(Model):
    name: Line
    host: str
    port: int = Field(ge=1, le=65535)
    logs: list[Line]


def load(home: Path) -> WitnessSettings:
    """Read witness.toml; `Invalid` says what is wrong with which key."""
    path = home / "witness.toml"
    if not path.is_file():
        raise Invalid(f"{home} is no witness: it has no witness.toml; make one with `pumasi witness init --home {home}`")
    return settingsfile.read(path, WitnessSettings)
