"""What a hospital declares when a workspace is gone, and what no declaration can prove."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pumasi.kernel.codes import LegalBasis
from pumasi.kernel.model import Day, Hash, Instant, Line, MemberId, Model, RandomId

LIMITS = [
    "a copy of the plaintext or of the derived key that somebody made while the workspace was open",
    "results that were released before, listed by their digests",
]


class Certificate(Model):
    """Signed by the hospital's node after the keys and files of one permit's workspace were destroyed."""

    case: RandomId
    hospital: MemberId
    permit: Hash
    legal_basis: LegalBasis
    algorithm: Line
    method: Line  # how the hospital's custodian destroyed its key
    objects: int = Field(ge=0)
    bytes: int = Field(ge=0)
    attempts: int = Field(ge=1)  # tries to open the ciphertext afterwards
    failures: int = Field(ge=0)
    residual: int = Field(ge=0)  # files left below the workspace folder
    released: list[Hash]
    not_covered: list[Line]
    at: Instant


# What no cryptography can prove, in every certificate of the second version.
UNPROVABLE = (
    "no cryptography proves that no copy exists: this rests on the sandbox, on the one way out, and on one of the two key holders"
    " having been honest"
)


class Purge(Model):
    """One kind of thing that was removed, and how much of it was counted afterwards."""

    what: Literal["workspace", "scratch", "held-outputs"]
    removed: int = Field(ge=0)
    residual: int = Field(ge=0)


class Backup(Model):
    """A backup that may hold ciphertext or a key, as its owner declares it, and the day on which it is gone."""

    what: Line
    until: Day


class CertificateV2(Model):
    """The hospital's half of a deletion, signed by its node. The coordinating body's half is a ShareCertificate."""

    version: Literal[2]
    case: RandomId
    hospital: MemberId
    permit: Hash
    legal_basis: LegalBasis
    manifest: Hash | None  # the commitment in WorkspaceOpened; None when no workspace was opened
    objects: int = Field(ge=0)
    bytes: int = Field(ge=0)
    algorithm: Line
    method: Line  # how the hospital's custodian destroyed its key
    attempts: int = Field(ge=1)  # tries to open the ciphertext afterwards
    failures: int = Field(ge=0)
    purged: list[Purge]
    backups: list[Backup]
    released: list[Hash]  # results that left before; a deletion does not reach them
    not_covered: list[Line]
    unprovable: Line
    at: Instant


class ShareCertificate(Model):
    """Signed by the coordinating body after it destroyed its half of one workspace key."""

    case: RandomId
    hospital: MemberId
    permit: Hash
    method: Line
    attempts: int = Field(ge=1)  # tries to use the key afterwards
    failures: int = Field(ge=0)
    backups: list[Backup]
    at: Instant


class Manifest(Model):
    """What a workspace holds: the columns of each table, never how many rows; the digest of the encrypted file."""

    case: RandomId
    hospital: MemberId
    permit: Hash
    tables: dict[Line, list[Line]]
    objects: int = Field(ge=1)
    bytes: int = Field(ge=1)
    ciphertext: Hash
