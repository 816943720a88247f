"""What a node remembers of the answers it took part in: definitions, never people. Kept after the workspaces are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from pumasi.kernel.envelope import parse_canonical
from pumasi.kernel.job import Job
from pumasi.kernel.study import Agreed, read_agreed
from pumasi.kernel.world import Case
from pumasi.store.site import Site


@dataclass(frozen=True)
class Earlier:
    """A question that was answered before."""

    case: str
    question: dict[str, Any]
    columns: dict[str, Agreed]  # those it read, as they were agreed then
    person: str
    people: int  # in the table when it was asked
    hospitals: list[str]
    answered: bool = True  # False: the job stopped after a sum was opened, so the nodes saw a number but nobody else did
    refused: bool = False  # it was asked, and nothing was told but that it is refused


def keep(site: Site, job: Job, asked: Sequence[Earlier]) -> None:
    """Remember what a job was answered, or what it had opened when it stopped."""
    site.note(_key(job.applicant, job.case, job.job), rfc8785.dumps([_plain(one) for one in asked]))


def before(site: Site, job: Job) -> list[Earlier]:
    """What the applicant's group, the people of one organisation, was answered before, in all its projects.

    Those that were answered are the same in the same order at every hospital that took part: a job that failed anywhere was released
    nowhere. What such a job had opened before counts where other hospitals are asked the same.
    """
    found, cases = [], site.world.cases
    for key, noted in site.notes_of(_key(job.applicant)):
        _, _, case, id = key.split("|")
        there = cases[case].jobs.get(id) if case in cases else None
        failed = there is not None and bool(there.failed)
        found += [_read(one, case, failed=failed) for one in parse_canonical(noted)] if id != job.job else []
    return found


def close(site: Site, case: str, found: Case) -> None:
    """Before a case is closed and its jobs with it: write down which of them failed."""
    for id, job in found.jobs.items():
        key = _key(found.event.author, case, id)
        noted = site.noted(key) if job.failed else None
        if noted is not None:
            site.note(key, rfc8785.dumps([one | {"answered": False} for one in parse_canonical(noted)]))


def _key(applicant: str, *rest: str) -> str:
    group = applicant.partition("@")[2]
    return "|".join(("asked", group, *rest)) + ("" if rest else "|")


def _plain(one: Earlier) -> dict[str, Any]:
    columns = {name: column.model_dump(mode="json", by_alias=True) for name, column in one.columns.items()}
    return {"question": one.question, "columns": columns, "person": one.person, "people": one.people, "hospitals": one.hospitals} | {
        "answered": one.answered,
        "refused": one.refused,
    }


def _read(value: Any, case: str, *, failed: bool) -> Earlier:
    columns = {name: read_agreed(column) for name, column in value["columns"].items()}
    answered = value["answered"] and not failed
    return Earlier(
        case, value["question"], columns, value["person"], value["people"], value["hospitals"], answered, value.get("refused", False)
    )
