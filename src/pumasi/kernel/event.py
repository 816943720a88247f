"""Everything that happens, as a closed list of signed statements. Read this second.

An event holds ids, codes, numbers that are not about patients, and salted commitments: never personal data, free text or small
counts. `seq` and `prev` chain an author's events within a case, so that leaving one out shows. Classes are append-only.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pumasi.kernel.codes import Board, Decision, EndReason, FailReason, IrbDecision, MemberKind, ReleaseRule, Role
from pumasi.kernel.envelope import Signed, open_signed, sha256
from pumasi.kernel.errors import Tampered
from pumasi.kernel.model import Day, Hash, Instant, MemberId, Model, PersonId, PublicKey, RandomId, Signature

CONSORTIUM = "consortium"  # the case that membership and datasets belong to

CaseId = Annotated[str, Field(pattern=r"^(consortium|[0-9a-f]{32})$")]


class _Event(Model):
    case: CaseId
    author: MemberId | PersonId
    seq: int = Field(ge=0)  # how many events this author had in this case before
    prev: Hash | None  # SHA-256 of the author's previous event in this case
    at: Instant


class LogFounded(_Event):
    type: Literal["LogFounded"] = "LogFounded"
    origin: Annotated[str, Field(pattern=r"^[^\s+\x00-\x1f]{1,200}$")]  # a C2SP key name: no space, no plus sign
    log_key: PublicKey
    key: PublicKey
    box: PublicKey


class MemberApplied(_Event):
    type: Literal["MemberApplied"] = "MemberApplied"
    kind: MemberKind
    key: PublicKey
    box: PublicKey
    cosigner: PublicKey | None  # with it a member that runs a node cosigns the log


class MemberAdmitted(_Event):
    type: Literal["MemberAdmitted"] = "MemberAdmitted"
    member: MemberId


class PersonEnrolled(_Event):
    type: Literal["PersonEnrolled"] = "PersonEnrolled"
    person: PersonId
    key: PublicKey
    box: PublicKey
    roles: list[Role] = Field(min_length=1)


class DatasetDescribed(_Event):
    type: Literal["DatasetDescribed"] = "DatasetDescribed"
    dataset: Hash


class ApplicationSubmitted(_Event):
    type: Literal["ApplicationSubmitted"] = "ApplicationSubmitted"
    application: Hash
    hospitals: list[MemberId] = Field(min_length=1)
    smallest_cell: int = Field(ge=1)


class ApplicationWithdrawn(_Event):
    type: Literal["ApplicationWithdrawn"] = "ApplicationWithdrawn"


class VoteCommitted(_Event):
    type: Literal["VoteCommitted"] = "VoteCommitted"
    board: Board
    job: RandomId | None  # of an airlock vote
    subject: Hash  # the application or the sealed result that the voter looked at
    vote: Hash  # commit(salt, {decision, reason, smallest_cell})


class VoteOpened(_Event):
    type: Literal["VoteOpened"] = "VoteOpened"
    board: Board
    job: RandomId | None
    salt: Hash
    decision: Decision
    smallest_cell: int | None = Field(ge=1)
    reason: Hash  # commitment; the words stay with the voter


class IrbDecided(_Event):
    type: Literal["IrbDecided"] = "IrbDecided"
    application: Hash
    decision: IrbDecision
    reason: Hash


class PermitAuthorised(_Event):
    type: Literal["PermitAuthorised"] = "PermitAuthorised"
    application: Hash


class SeenHead(Model):
    """A log head that the author had copied when it acted: a later history that does not contain it was rewritten."""

    size: int = Field(ge=1)
    root: Hash


class PermitIssued(_Event):
    type: Literal["PermitIssued"] = "PermitIssued"
    permit: Hash
    smallest_cell: int = Field(ge=1)
    hospitals_at_least: int = Field(ge=1)
    release: ReleaseRule
    valid_from: Day
    valid_until: Day
    seen: SeenHead


class WorkspaceOpened(_Event):
    type: Literal["WorkspaceOpened"] = "WorkspaceOpened"
    manifest: Hash


class JobSubmitted(_Event):
    type: Literal["JobSubmitted"] = "JobSubmitted"
    job: RandomId
    document: Hash
    hospitals: list[MemberId] = Field(min_length=1)
    lead: MemberId


class OutputSealed(_Event):
    type: Literal["OutputSealed"] = "OutputSealed"
    job: RandomId
    output: Hash
    findings: Literal["clear", "flagged"]


class JobFailed(_Event):
    type: Literal["JobFailed"] = "JobFailed"
    job: RandomId
    reason: FailReason
    about: list[MemberId]  # the hospitals it waited for, if any


class Released(_Event):
    type: Literal["Released"] = "Released"
    job: RandomId
    output: Hash
    reviewers: list[PersonId]


class StudyDone(_Event):
    type: Literal["StudyDone"] = "StudyDone"


class PermitEnded(_Event):
    type: Literal["PermitEnded"] = "PermitEnded"
    hospital: MemberId
    reason: EndReason


class WorkspaceDestroyed(_Event):
    type: Literal["WorkspaceDestroyed"] = "WorkspaceDestroyed"
    certificate: Hash


class KeyShareDestroyed(_Event):
    type: Literal["KeyShareDestroyed"] = "KeyShareDestroyed"
    hospital: MemberId


class DeletionPending(_Event):
    """The workspace is unusable from now on; after `until` the hospital destroys it."""

    type: Literal["DeletionPending"] = "DeletionPending"
    until: Instant


class ReversalAsked(_Event):
    """The hospital's steward wants a pending deletion to be reversed; alone this changes nothing."""

    type: Literal["ReversalAsked"] = "ReversalAsked"


class ReversalAgreed(_Event):
    """The coordinating body agrees with the steward: the workspace is open again."""

    type: Literal["ReversalAgreed"] = "ReversalAgreed"
    hospital: MemberId


class ShareCertified(_Event):
    """The coordinating body has destroyed its key share, and signs how. Older logs say KeyShareDestroyed, without a certificate."""

    type: Literal["ShareCertified"] = "ShareCertified"
    hospital: MemberId
    certificate: Hash


class KeyRotated(_Event):
    """The author's next keys, signed with the present one. From the next entry on the new key speaks, and the old one no more."""

    type: Literal["KeyRotated"] = "KeyRotated"
    key: PublicKey
    box: PublicKey
    cosigner: PublicKey | None  # None: as before
    proof: Signature  # by the new key: whoever announces it holds it


class KeyRevoked(_Event):
    """A key that was lost or stolen speaks no more: said by a member of its people's, by the coordinating body of a member's."""

    type: Literal["KeyRevoked"] = "KeyRevoked"
    subject: MemberId | PersonId


class HandoverSignature(Model):
    """One of those that cosign the log wants it to be handed over: its cosigner key's signature on `handover.statement`."""

    member: MemberId
    key: PublicKey
    signature: Signature


class LogHandedOver(_Event):
    """The quorum of those that cosign moves the log to a new key and place; the old coordinating body need not agree, or be there."""

    type: Literal["LogHandedOver"] = "LogHandedOver"
    size: int = Field(ge=1)  # entries that come before this one; what the old key signed beyond them does not count
    root: Hash
    replaces: PublicKey  # the log's key until here
    origin: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,200}$")]
    log_key: PublicKey
    key: PublicKey
    box: PublicKey
    place: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.:\[\]-]{1,253}$")]
    certificate: Hash  # SHA-256 of the TLS certificate there, as DER
    signatures: list[HandoverSignature] = Field(min_length=1)  # in the order of the members' names


class LogKeyRotated(_Event):
    """The log's next key, by the coordinating body; the present one consents. It signs every head that holds this entry."""

    type: Literal["LogKeyRotated"] = "LogKeyRotated"
    log_key: PublicKey
    consent: Signature  # by the present log key
    proof: Signature  # by the new one


class CaseClosed(_Event):
    type: Literal["CaseClosed"] = "CaseClosed"
    events: int = Field(ge=1)  # events of this case before this one
    consortium: int = Field(ge=1)  # events of the consortium before this one


Event = Annotated[
    LogFounded | MemberApplied | MemberAdmitted | PersonEnrolled | DatasetDescribed
    | ApplicationSubmitted | ApplicationWithdrawn | VoteCommitted | VoteOpened | IrbDecided | PermitAuthorised
    | PermitIssued | WorkspaceOpened | JobSubmitted | OutputSealed | JobFailed | Released
    | StudyDone | PermitEnded | WorkspaceDestroyed | KeyShareDestroyed | CaseClosed
    | DeletionPending | ReversalAsked | ReversalAgreed | ShareCertified
    | KeyRotated | KeyRevoked | LogHandedOver | LogKeyRotated,
    Field(discriminator="type"),
]  # fmt: skip
_events: TypeAdapter[Event] = TypeAdapter(Event)


class Entry:
    """A signed event as it stands in the log: `data` are the bytes, `digest` their SHA-256, `key` who signed."""

    __slots__ = ("data", "digest", "event", "key")

    def __init__(self, data: bytes) -> None:
        signed: Signed = open_signed("event", data)
        try:
            self.event = _events.validate_python(signed.body)
        except ValidationError as error:
            raise Tampered(f"an event does not have the form of any known event ({error.error_count()} mismatches)") from error
        self.data, self.key, self.digest = data, signed.key, sha256(data)


def body_of(event: Any) -> dict[str, Any]:
    """The JSON value of an event, as it is signed."""
    return event.model_dump(mode="json")  # type: ignore[no-any-return]
