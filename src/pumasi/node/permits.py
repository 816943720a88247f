"""How this hospital's node writes and signs a permit, once its boards have approved and its steward has signed."""

from __future__ import annotations

from datetime import datetime, timedelta

from pumasi.deid.agreement import agree
from pumasi.kernel import rules
from pumasi.kernel.envelope import Keys, canonical, open_signed, parse_canonical, sign
from pumasi.kernel.errors import Tampered, refuse_if
from pumasi.kernel.permit import Permit, read_permit, seoul_day
from pumasi.kernel.study import Application, Dataset, RuledTableDescription
from pumasi.kernel.world import World
from pumasi.node.settings import NodeSettings
from pumasi.store.document import Document


def write(
    world: World, case_id: str, *, application: Application, datasets: list[Dataset], settings: NodeSettings, now: datetime
) -> Permit:
    """The permit as the application, the boards' votes and this hospital's own settings make it; `Refused` when they do not fit."""
    case, me = world.cases[case_id], settings.name
    applicant = world.people[case.event.author]
    refuse_if(
        None if application.case == case_id else "the application is for another case",
        None if application.applicant == applicant.id else "the application names another applicant than the one who signed it",
        None if sorted(application.hospitals) == sorted(case.event.hospitals) else "the application names other hospitals than its event",
        None if application.smallest_cell == case.event.smallest_cell else "the application names another smallest cell than its event",
        None if application.datasets.keys() == set(application.hospitals) else "the application does not pin one dataset of each hospital",
    )
    until = (now + timedelta(days=settings.permit_days)).replace(microsecond=0)
    fields = {
        "case": case_id,
        "hospital": me,
        "applicant": applicant.id,
        "applicant_key": applicant.key,
        "purpose": application.purpose,
        "legal_basis": settings.legal_basis,
        "application": case.event.application,
        "tables": {name: table.model_dump(by_alias=True) for name, table in agree(application, datasets).items()},
        "kinds": application.kinds,
        "smallest_cell": max(rules.smallest_cell(case, me), settings.smallest_cell),
        "hospitals": sorted(application.hospitals),
        "hospitals_at_least": min(settings.hospitals_at_least or len(application.hospitals), len(application.hospitals)),
        "release": "automatic-if-clear" if settings.automatic_release else "two-people",
        "valid_from": seoul_day(now),
        "valid_until": seoul_day(until),
    }
    own = next((dataset.tables for dataset in datasets if dataset.hospital == me), {})
    ruled = {name: table.rules.plain() for name in application.tables if isinstance(table := own.get(name), RuledTableDescription)}
    return read_permit(fields | ({"version": 2, "rules": ruled} if ruled else {}))


def signer(world: World, permit: Permit, key: str) -> str:
    """The key by which a permit knows who signed with `key`: the applicant may have rotated it since the permit was issued."""
    applicant = world.people.get(permit.applicant)
    rotated = applicant is not None and applicant.key == key and permit.applicant_key in applicant.former
    return permit.applicant_key if rotated else key


def sealed(permit: Permit, keys: Keys) -> Document:
    """The signed permit as a document that the log can commit to."""
    return Document.new(parse_canonical(sign("permit", permit.plain(), keys)))


def opened(document: Document, *, key: str) -> Permit:
    """The permit in a document; `Tampered` unless this hospital's own key signed it."""
    signed = open_signed("permit", canonical(document.body))
    if signed.key != key:
        raise Tampered("this permit is not signed with the hospital's own key")
    return read_permit(signed.body)
