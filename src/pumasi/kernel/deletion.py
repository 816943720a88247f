"""Deletion in two recorded steps: pending (unusable at once, for a time reversible if both sides agree) and destroyed.

Instants are those of the authors' clocks; what is destroyed stays destroyed whatever anybody's clock says.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.effects import case_of, permit_of
from pumasi.kernel.permit import SEOUL
from pumasi.kernel.states import APPLICATION, PERMIT, move
from pumasi.kernel.world import Case, PermitCase, World

Reasons = list[str | None]

LONGEST_GRACE = timedelta(days=31)
UNUSABLE = ("ended", "deletion pending", "reversal asked")  # over, and not destroyed yet


def moment(instant: str) -> datetime:
    """The instant that an event or certificate names."""
    return datetime.strptime(instant, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def pending(world: World, event: ev.DeletionPending) -> Reasons:
    permit = permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    return [
        "the deletion would be due before it is pending" if event.until < event.at else None,
        f"a deletion waits at most {LONGEST_GRACE.days} days" if moment(event.until) - moment(event.at) > LONGEST_GRACE else None,
    ]


def reversal(world: World, event: Any) -> Reasons:
    """Both consents are asked the same; the state table keeps them in order, so that neither side reverses alone."""
    case, permit = case_of(world, event), permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    move(APPLICATION, case.state, "ReversalAgreed", "the application")
    assert permit.until is not None and permit.event is not None  # the deletion of what an issued permit opened is pending
    return [
        "the time in which the deletion could be reversed is over" if event.at > permit.until else None,
        "there is no workspace to open again" if permit.manifest is None else None,
        "the coordinating body's key share is destroyed already" if permit.share_destroyed else None,
        None if _in_time(permit, moment(event.at)) else f"the permit of {permit.hospital} is over by its date",
    ]


def _in_time(permit: PermitCase, now: datetime) -> bool:
    if permit.event is None or permit.ended == "expired":
        return False
    return now - moment(f"{permit.event.valid_until}T00:00:00Z") < timedelta(days=1) - SEOUL


def reversible(case: Case, permit: PermitCase, now: datetime) -> bool:
    """Whether a permit that has ended could be open again: then the coordinating body keeps its key share for a while."""
    possible = permit.state in UNUSABLE and (case.state, "ReversalAgreed") in APPLICATION
    return possible and permit.manifest is not None and not permit.share_destroyed and _in_time(permit, now)
