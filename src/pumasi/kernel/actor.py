"""Who may say what: one table. `rules.py` asks it for every event."""

from __future__ import annotations

from typing import Literal

# "self": an applicant for membership, or the successor at a handover, known by the key in the event itself.
Who = Literal[
    "founder",
    "self",
    "coordinator",
    "member",
    "hospital",
    "researcher",
    "applicant",
    "drb",
    "irb",
    "steward",
    "checker",
    "board member",
    "steward or hospital",
    "key holder",
]

MAY: dict[str, Who] = {
    "LogFounded": "founder",
    "MemberApplied": "self",
    "MemberAdmitted": "coordinator",
    "PersonEnrolled": "member",
    "DatasetDescribed": "hospital",
    "ApplicationSubmitted": "researcher",
    "ApplicationWithdrawn": "applicant",
    "VoteCommitted": "board member",
    "VoteOpened": "board member",
    "IrbDecided": "irb",
    "PermitAuthorised": "steward",
    "PermitIssued": "hospital",
    "WorkspaceOpened": "hospital",
    "JobSubmitted": "applicant",
    "OutputSealed": "hospital",
    "JobFailed": "hospital",
    "Released": "hospital",
    "StudyDone": "applicant",
    "PermitEnded": "steward or hospital",
    "WorkspaceDestroyed": "hospital",
    "KeyShareDestroyed": "coordinator",
    "CaseClosed": "coordinator",
    "DeletionPending": "hospital",
    "ReversalAsked": "steward",
    "ReversalAgreed": "coordinator",
    "ShareCertified": "coordinator",
    "KeyRotated": "key holder",
    "KeyRevoked": "member",
    "LogHandedOver": "self",
    "LogKeyRotated": "coordinator",
}
