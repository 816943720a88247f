"""Cases as people see them: whose turn it is, what a case has come to, and when the coordinating body may close it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pumasi.hub import deletion
from pumasi.hub.keyshares import KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.settings import HubSettings
from pumasi.hub.tasks import Mailbox
from pumasi.kernel import event as ev
from pumasi.kernel.world import BoardCase, Case, Person, World


def inbox(world: World, person: Person) -> list[dict[str, Any]]:
    """What waits for this person: one item per decision, with what it is about."""
    items: list[dict[str, Any]] = []
    for id, case in world.cases.items():
        permit = case.permits.get(person.member)
        if permit is None or case.event.author == person.id:
            continue
        about = {"case": id, "application": case.event.application, "hospital": person.member}
        if permit.state == "in review":
            if "drb" in person.roles:
                items += _board_items(permit.drb, person, about)
            if "irb" in person.roles and permit.irb is None:
                items.append({"do": "vote", "board": "irb", **about})
            if "steward" in person.roles and permit.drb.decision == "approve" and permit.irb in ("approved", "exempt"):
                items.append({"do": "sign", **about})
        if "checker" in person.roles:
            for job_id, job in case.jobs.items():
                here = job.at.get(person.member)
                if (
                    here is not None
                    and here.state == "under review"
                    and here.airlock is not None
                    and not job.failed
                    and permit.release == "two-people"
                ):
                    items += _board_items(here.airlock, person, {**about, "job": job_id, "output": here.output})
    return items


def _board_items(board: BoardCase, person: Person, about: dict[str, Any]) -> list[dict[str, Any]]:
    verb = "vote" if board.board == "drb" else "review"
    if not board.opening and person.id not in board.committed:
        return [{"do": verb, "board": board.board, **about}]
    if board.opening and person.id in board.committed and person.id not in board.opened:
        return [{"do": "open", "board": board.board, "vote": board.committed[person.id], **about}]
    return []


def case_view(case: Case) -> dict[str, Any]:
    """The state of a case, for those who take part in it."""
    return {
        "state": case.state,
        "applicant": case.event.author,
        "application": case.event.application,
        "hospitals": {
            hospital: {
                "state": permit.state,
                "drb": permit.drb.decision,
                "irb": permit.irb,
                "permit": permit.event.permit if permit.event else None,
                "smallest_cell": permit.event.smallest_cell if permit.event else None,
                "hospitals_at_least": permit.event.hospitals_at_least if permit.event else None,
                "share_destroyed": permit.share_destroyed,
                "ended": permit.ended,
                "until": permit.until,
            }
            for hospital, permit in case.permits.items()
        },
        "jobs": {
            job_id: {
                hospital: {
                    "state": here.state,
                    "output": here.output,
                    "failure": here.failure,
                    "waited_for": here.waited_for,
                    "decision": here.airlock.decision if here.airlock else None,
                    "reviewers": sorted(here.airlock.opened) if here.airlock else [],
                }
                for hospital, here in job.at.items()
            }
            for job_id, job in case.jobs.items()
        },
    }


def tidy(log: Sequencer, shares: KeyShares, settings: HubSettings) -> None:
    """What the coordinating body owes its cases: destroy its key share of every permit that is over, close what is finished."""
    silence = timedelta(days=settings.deletion_silence_days)
    for id, case in list(log.site.world.cases.items()):
        for hospital, permit in dict(case.permits).items():
            if deletion.share_is_due(case, permit, now=log.site.now(), silence=silence):
                deletion.certify(log, shares, settings, case=id, hospital=hospital)
        if case.state in ("done", "withdrawn") and all(_over(permit.state, permit.share_destroyed) for permit in case.permits.values()):
            with log.site.changed:
                log.record(ev.CaseClosed, case=id, events=case.events, consortium=log.site.world.consortium_events)


def empty_mailboxes(world: World, mailbox: Mailbox) -> None:
    """Delete what the hospitals of a finished job exchanged; what was released goes when its study is over."""
    for case in list(world.cases.values()):
        over = case.state != "submitted"
        for id, job in dict(case.jobs).items():
            if over or job.failed or all(here.state == "released" for here in job.at.values()):
                mailbox.clear(id, keep=() if over else ("release", "release-output"))


def _over(state: str, share_destroyed: bool) -> bool:
    return state == "lapsed" or (state == "destroyed" and share_destroyed)
