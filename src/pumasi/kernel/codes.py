"""The closed lists. A value that is not here is refused, not guessed."""

from __future__ import annotations

from typing import Literal, get_args

# Purposes for which secondary use may be asked: Regulation (EU) 2025/327 Art. 53(1), PIPA Art. 28-2 for the Korean ones.
Purpose = Literal["scientific-research", "statistics", "public-health", "policy-making", "education", "ai-development", "ai-validation"]

MemberKind = Literal["coordinator", "platform", "hospital", "tertiary-hospital", "company", "public-agency", "research-institute"]
MEDICAL: tuple[MemberKind, ...] = ("hospital", "tertiary-hospital")

Role = Literal["researcher", "drb", "irb", "steward", "checker"]

Board = Literal["drb", "airlock"]
Decision = Literal["approve", "reject"]
IrbDecision = Literal["approved", "exempt", "rejected"]

ColumnClass = Literal["identifier", "quasi", "sensitive", "plain"]
ColumnKind = Literal["number", "text", "date", "boolean"]
Keep = Literal["year"]
AnalysisKind = Literal[
    "count", "describe", "table", "table1", "histogram", "quantiles", "correlation", "ttest", "anova",
    "glm", "cox", "kaplan_meier", "logrank", "roc", "calibration", "brier", "meta",
]  # fmt: skip

ReleaseRule = Literal["two-people", "automatic-if-clear"]
EndReason = Literal["done", "expired", "revoked", "source", "lost"]
FailReason = Literal["permit", "missing-hospital", "restarted", "disagreement", "tampered", "sandbox", "source", "fault"]
LegalBasis = Literal["pipa-28-2", "pipa-consent", "bioethics-act-16", "ehds-53"]

FAILURES: dict[FailReason, str] = {
    "permit": "its permit does not allow the job, or ended while it ran",
    "missing-hospital": "another hospital did not answer in time; start its node, then run the study again",
    "restarted": "its node was stopped and started again while the job ran; run the study again",
    "disagreement": "its own recomputation differs from what the lead node sent; nothing was released",
    "tampered": "a message of another hospital did not pass its checks; nothing was released",
    "sandbox": "its sandbox stopped the job (time, memory or a forbidden call)",
    "source": "its source could not be read as the permit describes it; its own log says why",
    "fault": "its node failed; its own log says why",
}


ENDINGS: dict[EndReason, str] = {
    "done": "the study is done",
    "expired": "the permit's last day is over",
    "revoked": "the hospital's data steward revoked it",
    "source": "the hospital's file no longer reads as it was described; its node's log says why",
    "lost": "its node was restored from a backup, which never holds a workspace or its key",
}


# How a refusal ends that is over once a job of the applicant's organisation is.
UNTIL_SEALED = "wait until it is sealed"


def choices(literal: object) -> str:
    """The members of a closed list, for error messages."""
    return ", ".join(str(value) for value in get_args(literal))
