"""What the hub reads before it sequences an application or a job: the document behind it must say what its event says.

The rules see events, not documents. Without this a researcher could open a case whose bundle no verifier would ever accept.
"""

from __future__ import annotations

from typing import Any

from pumasi.kernel.envelope import canonical, open_signed
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.kernel.event import ApplicationSubmitted, Entry, JobSubmitted
from pumasi.kernel.job import Job
from pumasi.kernel.study import Application
from pumasi.store.site import Site


def refusals(site: Site, entry: Entry) -> list[str]:
    """Why an event does not fit its document; empty for events without one."""
    try:
        match entry.event:
            case ApplicationSubmitted():
                return _application(site, entry.event)
            case JobSubmitted():
                return _job(site, entry)
    except NotFound:
        return ["send the document before the event that commits to it"]
    except (Tampered, Invalid) as error:
        return error.reasons
    return []


def _application(site: Site, event: ApplicationSubmitted) -> list[str]:
    application = Application.read(site.document(event.application).body)
    return _differences(
        "application",
        case=(application.case, event.case),
        applicant=(application.applicant, event.author),
        hospitals=(sorted(application.hospitals), sorted(event.hospitals)),
        smallest_cell=(application.smallest_cell, event.smallest_cell),
        datasets=(sorted(application.datasets), sorted(event.hospitals)),
    )


def _job(site: Site, entry: Entry) -> list[str]:
    event: Any = entry.event
    signed = open_signed("job", canonical(site.document(event.document).body))
    job = Job.read(signed.body)
    return _differences(
        "job",
        job=(job.job, event.job),
        case=(job.case, event.case),
        applicant=(job.applicant, event.author),
        signature=(signed.key, entry.key),
        lead=(job.lead, event.lead),
        hospitals=(sorted(job.permits), sorted(event.hospitals)),
    )


def _differences(what: str, **pairs: tuple[Any, Any]) -> list[str]:
    return [f"the {what} and its event name another {field}" for field, (document, event) in pairs.items() if document != event]
