"""Outputs on this side of the airlock: the sealed bytes, what the checks found, and this hospital's part of the key to them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pumasi.kernel.envelope import b64, sha256, unb64
from pumasi.kernel.errors import NotFound, Tampered
from pumasi.store.db import read_note
from pumasi.store.site import Site
from pumasi.store.sqlite import Database


@dataclass(frozen=True)
class HeldOutput:
    """One job's output as this hospital keeps it. `known` is what later jobs of the project must treat as published."""

    case: str
    job: str
    hospitals: list[str]
    data: bytes
    release_share: bytes
    findings: list[str]
    known: list[dict[str, Any]]

    @property
    def digest(self) -> str:
        return sha256(self.data)


def _key(case: str, job: str) -> str:
    return f"output|{case}|{job}"


def hold(site: Site, output: HeldOutput) -> None:
    """Keep an output until its case's workspace is destroyed."""
    fields = {"hospitals": output.hospitals, "data": b64(output.data), "digest": output.digest, "findings": output.findings}
    value = fields | {"share": b64(output.release_share), "known": output.known}
    site.note(_key(output.case, output.job), json.dumps(value).encode())


def held(database: Database, case: str, job: str) -> HeldOutput:
    """The output as it was kept; `Tampered` when its bytes are not the ones that were sealed."""
    value = read_note(database, _key(case, job))
    if value is None:
        raise NotFound(f"this node holds no output of job {job[:8]}…; it was never sealed here, or is destroyed")
    kept = json.loads(value)
    output = HeldOutput(case, job, kept["hospitals"], unb64(kept["data"]), unb64(kept["share"]), kept["findings"], kept["known"])
    if output.digest != kept["digest"]:
        raise Tampered(f"the output of job {job[:8]}… was changed after it was sealed")
    return output
