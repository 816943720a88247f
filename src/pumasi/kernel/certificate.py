"""What a hospital declares when a workspace is gone, and what no declaration can prove."""

from __future__ import annotations

from pydantic import Field

from pumasi.kernel.codes import LegalBasis
from pumasi.kernel.model import Hash, Instant, Line, MemberId, Model, RandomId

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


class Manifest(Model):
    """What a workspace holds: the columns of each table, never how many rows; the digest of the encrypted file."""

    case: RandomId
    hospital: MemberId
    permit: Hash
    tables: dict[Line, list[Line]]
    objects: int = Field(ge=1)
    bytes: int = Field(ge=1)
    ciphertext: Hash
