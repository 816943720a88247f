"""The job: questions under permits, signed by the person the permits name; and the papers that travel while it runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pumasi.kernel.model import Hash, MemberId, Model, PersonId, PublicKey, RandomId


class Job(Model):
    """What to compute. `permits` names every participating hospital and the permit it acts on; `lead` computes each step first."""

    job: RandomId
    case: RandomId
    applicant: PersonId
    applicant_box: PublicKey  # the released bytes are sealed to this X25519 key
    permits: dict[MemberId, Hash] = Field(min_length=1)
    lead: MemberId
    smallest_cell: int = Field(ge=1)
    code: Hash  # the digest of the analysis code that all nodes must be running
    questions: list[dict[str, Any]] = Field(min_length=1)


class Handshake(Model):
    """A node's one-time X25519 key for one job, signed with the node's own key: from these the pairwise masks are made."""

    job: RandomId
    hospital: MemberId
    document: Hash
    box: PublicKey
