"""The permit: one signed document for one project at one hospital. Read this first.

It is the decision of the boards, the contract and the key to the data at once. The hospital's own node signs it, and the node
asks it one question, again and again: `permit.refusals(job, ...)`. Empty means yes; anything the permit does not know is a no.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from pumasi.kernel.codes import AnalysisKind, LegalBasis, Purpose, ReleaseRule
from pumasi.kernel.errors import Invalid
from pumasi.kernel.job import Job
from pumasi.kernel.model import Day, Hash, MemberId, Model, PersonId, PublicKey, RandomId
from pumasi.kernel.study import AgreedTable, Name, RulesNamed

# Permits hold from the first to the last moment of their days in Korea; it has no daylight saving time.
SEOUL = timedelta(hours=9)


class Permit(Model):
    """Who may ask what of which columns, transformed how, until when."""

    case: RandomId
    hospital: MemberId
    applicant: PersonId
    applicant_key: PublicKey
    purpose: Purpose
    legal_basis: LegalBasis
    application: Hash
    tables: dict[Name, AgreedTable]
    kinds: list[AnalysisKind]
    smallest_cell: int = Field(ge=1)
    hospitals: list[MemberId]
    hospitals_at_least: int = Field(ge=1)
    release: ReleaseRule
    valid_from: Day
    valid_until: Day

    def plain(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    def dates_refusal(self, now: datetime) -> str | None:
        """Whether the permit is in force at this instant (UTC), judged by the day in Seoul."""
        today = seoul_day(now)
        if today < self.valid_from:
            return f"the permit of {self.hospital} is in force from {self.valid_from} (Seoul)"
        if today > self.valid_until:
            return f"the permit of {self.hospital} ended on {self.valid_until} (Seoul)"
        return None

    def refusals(self, job: Job, *, signed_with: str, now: datetime) -> list[str]:
        """Every reason why this job may not run under this permit; an empty list means it may."""
        reasons = [
            self.dates_refusal(now),
            None if job.case == self.case else "the job belongs to another case than the permit",
            None if signed_with == self.applicant_key else f"the job is not signed with the key of {self.applicant}",
            None if job.applicant == self.applicant else f"the permit names {self.applicant}, the job {job.applicant}",
            None if self.hospital in job.permits else f"the job does not name {self.hospital}",
            None if job.smallest_cell >= self.smallest_cell else f"the permit of {self.hospital} asks for larger cells than the job",
        ]
        strangers = sorted(set(job.permits) - set(self.hospitals))
        reasons.append(f"the permit does not foresee {', '.join(strangers)} in this study" if strangers else None)
        if len(job.permits) < self.hospitals_at_least:
            reasons.append(
                f"the permit of {self.hospital} asks for all the hospitals it names to take part"
                if self.hospitals_at_least == len(self.hospitals)
                else f"the permit of {self.hospital} asks for more hospitals to take part"
            )
        return [reason for reason in reasons if reason is not None] + [
            reason for question in job.questions for reason in self._question_refusals(question)
        ]

    def _question_refusals(self, question: dict[str, Any]) -> list[str]:
        kind, table = question.get("kind"), question.get("table")
        if kind not in self.kinds:
            return [f"the permit of {self.hospital} does not cover analyses of kind '{kind}'"]
        if not isinstance(table, str) or table not in self.tables:
            return [f"the permit of {self.hospital} does not cover the table '{table}'"]
        try:
            asked = columns_of(question)
        except Invalid as invalid:
            return invalid.reasons
        return [
            f"the permit of {self.hospital} does not cover the column '{column}' of '{table}'"
            for column in sorted(asked - set(self.tables[table].columns))
        ]


class PermitV2(Permit):
    """A permit that names the rule files of its hospital: the columns are treated by them, or by what hides more."""

    version: Literal[2]
    rules: dict[Name, RulesNamed] = Field(min_length=1)


def read_permit(value: Any) -> Permit:
    """A permit of either version; `Invalid` with every field that does not fit."""
    return (PermitV2 if isinstance(value, dict) and "version" in value else Permit).read(value)


def columns_of(question: dict[str, Any]) -> set[str]:
    """Every column that a question may read. A method gets these columns of the workspace and no others, so what it does not name
    here it cannot touch, whatever its other fields say. `Invalid` when it does not name them."""
    named = question.get("reads")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise Invalid("an analysis names the columns that it reads; make jobs with the client")
    return set(named)


def seoul_day(now: datetime) -> str:
    """The calendar day in Seoul at an instant."""
    return (now.astimezone(UTC) + SEOUL).strftime("%Y-%m-%d")
