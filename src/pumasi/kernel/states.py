"""The life of an application, of a permit and of a release, each as one table: (state, event) -> state. What is not here cannot happen."""

from __future__ import annotations

from pumasi.kernel.errors import Refused

Table = dict[tuple[str, str], str]  # (state, event) -> state

APPLICATION: Table = {
    ("-", "ApplicationSubmitted"): "submitted",
    ("submitted", "ApplicationWithdrawn"): "withdrawn",
    ("submitted", "StudyDone"): "done",
    ("submitted", "ReversalAgreed"): "submitted",
    ("done", "ReversalAgreed"): "submitted",
    ("withdrawn", "CaseClosed"): "closed",
    ("done", "CaseClosed"): "closed",
}

# One hospital's side of a project.
PERMIT: Table = {
    ("in review", "VoteCommitted"): "in review",
    ("in review", "VoteOpened"): "in review",
    ("in review", "IrbDecided"): "in review",
    ("in review", "PermitAuthorised"): "authorised",
    ("authorised", "PermitIssued"): "in force",
    ("in force", "WorkspaceOpened"): "open",
    ("open", "JobSubmitted"): "open",
    ("open", "OutputSealed"): "open",
    ("open", "Released"): "open",
    ("in force", "PermitEnded"): "ended",
    ("open", "PermitEnded"): "ended",
    ("in review", "StudyDone"): "lapsed",
    ("authorised", "StudyDone"): "lapsed",
    ("in force", "StudyDone"): "ended",
    ("open", "StudyDone"): "ended",
    ("ended", "StudyDone"): "ended",
    ("destroyed", "StudyDone"): "destroyed",
    ("in review", "ApplicationWithdrawn"): "lapsed",
    ("authorised", "ApplicationWithdrawn"): "lapsed",
    ("in force", "ApplicationWithdrawn"): "ended",
    ("open", "ApplicationWithdrawn"): "ended",
    ("ended", "ApplicationWithdrawn"): "ended",
    ("destroyed", "ApplicationWithdrawn"): "destroyed",
    ("ended", "KeyShareDestroyed"): "ended",
    ("ended", "WorkspaceDestroyed"): "destroyed",
    ("destroyed", "KeyShareDestroyed"): "destroyed",
    # Deletion in two steps: unusable at once, then destroyed. Older logs went from "ended" to "destroyed" in one.
    ("ended", "DeletionPending"): "deletion pending",
    ("deletion pending", "ReversalAsked"): "reversal asked",
    ("reversal asked", "ReversalAgreed"): "open",
    ("deletion pending", "WorkspaceDestroyed"): "destroyed",
    ("reversal asked", "WorkspaceDestroyed"): "destroyed",
    ("ended", "ShareCertified"): "ended",
    ("deletion pending", "ShareCertified"): "deletion pending",
    ("reversal asked", "ShareCertified"): "reversal asked",
    ("destroyed", "ShareCertified"): "destroyed",
    ("deletion pending", "StudyDone"): "deletion pending",
    ("reversal asked", "StudyDone"): "reversal asked",
    ("deletion pending", "ApplicationWithdrawn"): "deletion pending",
    ("reversal asked", "ApplicationWithdrawn"): "reversal asked",
}

# The output of one job at one hospital.
RELEASE: Table = {
    ("-", "JobSubmitted"): "running",
    ("running", "OutputSealed"): "under review",
    ("running", "JobFailed"): "failed",
    ("under review", "JobFailed"): "failed",
    ("under review", "VoteCommitted"): "under review",
    ("under review", "VoteOpened"): "under review",
    ("under review", "Released"): "released",
}


def move(table: Table, state: str, name: str, what: str) -> str:
    """The next state, or `Refused` in a sentence."""
    if (state, name) not in table:
        raise Refused(f"{name} is not possible while {what} is '{state}'")
    return table[(state, name)]
