"""Every verb that concerns a case, as the otherwise flawless event with which any actor could try it at the first hospital."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import sha256
from pumasi.kernel.event import Entry
from tests import kernel_world as k
from tests.kernel_world import HERE, OUTSIDE, THERE, Story

ANOTHER_JOB = "1b" * 16

# verb -> (event, its fields for this author in this story)
Fields = Callable[[Story, str], dict[str, Any]]
VERBS: Mapping[str, tuple[type[Any], Fields]] = {
    "ApplicationSubmitted": (ev.ApplicationSubmitted, lambda story, author: k.application_fields()),
    "ApplicationWithdrawn": (ev.ApplicationWithdrawn, lambda story, author: {}),
    "VoteCommitted drb": (ev.VoteCommitted, lambda story, author: story.vote_fields(f"again {author}", "drb")),
    "VoteOpened drb": (ev.VoteOpened, lambda story, author: story.open_fields(author, "drb")),
    "IrbDecided": (ev.IrbDecided, lambda story, author: {"application": k.APPLICATION, "decision": "approved", "reason": k.REASON}),
    "PermitAuthorised": (ev.PermitAuthorised, lambda story, author: {"application": k.APPLICATION}),
    "PermitIssued": (ev.PermitIssued, lambda story, author: k.permit_fields()),
    "WorkspaceOpened": (ev.WorkspaceOpened, lambda story, author: {"manifest": k.MANIFEST}),
    "JobSubmitted": (ev.JobSubmitted, lambda story, author: k.job_fields(job=_next_job(story))),
    "OutputSealed": (ev.OutputSealed, lambda story, author: {"job": k.JOB, "output": k.OUTPUT, "findings": "clear"}),
    "JobFailed": (ev.JobFailed, lambda story, author: {"job": k.JOB, "reason": "fault", "about": []}),
    "VoteCommitted airlock": (ev.VoteCommitted, lambda story, author: story.vote_fields(f"again {author}", "airlock")),
    "VoteOpened airlock": (ev.VoteOpened, lambda story, author: story.open_fields(author, "airlock")),
    "Released by people": (ev.Released, lambda story, author: k.release_fields(author.rpartition("@")[2])),
    "Released automatically": (ev.Released, lambda story, author: k.release_fields(author, reviewers=[])),
    "StudyDone": (ev.StudyDone, lambda story, author: {}),
    "PermitEnded revoked": (ev.PermitEnded, lambda story, author: {"hospital": HERE, "reason": "revoked"}),
    "PermitEnded expired": (ev.PermitEnded, lambda story, author: {"hospital": HERE, "reason": "expired"}),
    "WorkspaceDestroyed": (ev.WorkspaceDestroyed, lambda story, author: {"certificate": sha256(b"certificate")}),
    "KeyShareDestroyed": (ev.KeyShareDestroyed, lambda story, author: {"hospital": HERE}),
    "DeletionPending": (ev.DeletionPending, lambda story, author: {"until": story.now.strftime("%Y-%m-%dT%H:%M:%SZ")}),
    "ReversalAsked": (ev.ReversalAsked, lambda story, author: {}),
    "ReversalAgreed": (ev.ReversalAgreed, lambda story, author: {"hospital": HERE}),
    "ShareCertified": (ev.ShareCertified, lambda story, author: {"hospital": HERE, "certificate": sha256(b"share certificate")}),
    "CaseClosed": (ev.CaseClosed, lambda story, author: k.closing_fields(story)),
}
# In all other verbs of a hospital and its people the hospital is their own.
NAMES_THE_HOSPITAL = {"PermitEnded revoked", "PermitEnded expired"}

STAFF_AT = [f"{name}@{HERE}" for name in k.STAFF]
STAFF_AT += [f"{name}@{THERE}" for name in ("drb1", "drb3", "irb", "steward", "checker1", "checker3")]
STAFF_AT += [f"{name}@{OUTSIDE}" for name in ("drb1", "irb", "steward", "checker1")]
ACTORS = [
    k.COORDINATOR, k.PLATFORM, k.COMPANIES[0], HERE, THERE, OUTSIDE, k.UNADMITTED, k.STRANGER,
    k.APPLICANT, k.OTHER_RESEARCHER, k.HOSPITAL_RESEARCHER, *STAFF_AT,
]  # fmt: skip


def role_of(author: str) -> str:
    """The word the table uses: a staff member's post, "node" for any hospital, else the author's own name."""
    post = author.partition("@")[0]
    return post if post in k.STAFF else "node" if author in k.HOSPITALS else author


def attempt(story: Story, author: str, verb: str, *, signed_by: str | None = None) -> Entry:
    kind, fields = VERBS[verb]
    return story.say(author, kind, signed_by=signed_by, **fields(story, author))


def _next_job(story: Story) -> str:
    case = story.world.cases.get(k.CASE)
    return ANOTHER_JOB if case and k.JOB in case.jobs else k.JOB
