"""What is true after an event that the rules let pass, and how to find what an event is about. Only `rules.apply` calls `EFFECTS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.errors import Refused
from pumasi.kernel.states import APPLICATION, PERMIT, RELEASE, move
from pumasi.kernel.world import BoardCase, Case, JobAtHospital, JobCase, LogKey, Member, PermitCase, Person, World

AIRLOCK_QUORUM = 2  # two people look, findings or no findings


def case_of(world: World, event: Any) -> Case:
    if event.case not in world.cases:
        raise Refused("there is no such case")
    return world.cases[event.case]


def permit_of(world: World, event: Any) -> PermitCase:
    case = case_of(world, event)
    author = world.people.get(event.author)
    hospital = vars(event).get("hospital") or (author.member if author else event.author)
    if hospital not in case.permits:
        raise Refused(f"'{hospital}' does not take part in this case")
    return case.permits[hospital]


def release_of(world: World, event: Any) -> tuple[JobCase, JobAtHospital]:
    case, permit = case_of(world, event), permit_of(world, event)
    if event.job not in case.jobs or permit.hospital not in case.jobs[event.job].at:
        raise Refused("there is no such job at this hospital")
    job = case.jobs[event.job]
    return job, job.at[permit.hospital]


def board_of(world: World, event: Any) -> BoardCase:
    if event.board == "drb":
        permit = permit_of(world, event)
        move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
        if event.job is not None:
            raise Refused("a data review board votes on applications, not on jobs")
        return permit.drb
    if event.job is None:
        raise Refused("an airlock vote names the job it is about")
    _, here = release_of(world, event)
    move(RELEASE, here.state, event.type, "the output")
    assert here.airlock is not None  # an output under review has one
    return here.airlock


def _do_founded(world: World, event: ev.LogFounded) -> None:
    world.founded, world.coordinator = event, event.author
    world.logs.append(LogKey(1, event.origin, event.log_key))
    world.members[event.author] = Member(event.author, "coordinator", event.key, event.box, None, admitted=True)
    world.keys |= {event.key, event.log_key}


def _do_member_applied(world: World, event: ev.MemberApplied) -> None:
    before = world.members.get(event.author)  # whose key was revoked
    member = Member(event.author, event.kind, event.key, event.box, event.cosigner, cosigner_since=world.entries + 1)
    member.cosigned = before.cosigned if before else []
    world.members[event.author] = member
    world.keys |= {event.key, *([event.cosigner] if event.cosigner else [])}


def _do_member_admitted(world: World, event: ev.MemberAdmitted) -> None:
    world.members[event.member].admitted = True


def _do_person_enrolled(world: World, event: ev.PersonEnrolled) -> None:
    world.enrol(Person(event.person, event.author, event.key, event.box, frozenset(event.roles)))
    world.keys.add(event.key)


def _do_dataset_described(world: World, event: ev.DatasetDescribed) -> None:
    world.datasets[event.author] = event.dataset


def _do_application_submitted(world: World, event: ev.ApplicationSubmitted) -> None:
    boards = {hospital: BoardCase("drb", event.application, world.board_size(hospital, "drb") // 2 + 1) for hospital in event.hospitals}
    permits = {hospital: PermitCase(hospital, "in review", board) for hospital, board in boards.items()}
    world.cases[event.case] = Case(event, "submitted", permits)


def _do_application_moves(world: World, event: Any) -> None:
    case = world.cases[event.case]
    case.state = APPLICATION[(case.state, event.type)]
    if event.type != "CaseClosed":
        for permit in case.permits.values():
            permit.state = PERMIT.get((permit.state, event.type), permit.state)
            if permit.state == "ended" and permit.ended is None:
                permit.ended, permit.ended_at = "done", event.at


def _do_vote_committed(world: World, event: ev.VoteCommitted) -> None:
    board_of(world, event).committed[event.author] = event.vote


def _do_vote_opened(world: World, event: ev.VoteOpened) -> None:
    board_of(world, event).opened[event.author] = event


def _do_irb_decided(world: World, event: ev.IrbDecided) -> None:
    permit_of(world, event).irb = event.decision


def _do_permit_moves(world: World, event: Any) -> None:
    permit = permit_of(world, event)
    permit.state = PERMIT[(permit.state, event.type)]
    if event.type == "PermitIssued":
        permit.event, permit.key = event, world.members[permit.hospital].key
    if event.type == "PermitEnded":
        permit.ended, permit.ended_at = event.reason, event.at
    if event.type == "WorkspaceOpened":
        permit.manifest = event.manifest
    permit.share_destroyed = permit.share_destroyed or event.type in ("KeyShareDestroyed", "ShareCertified")


def _do_deletion_pending(world: World, event: ev.DeletionPending) -> None:
    _do_permit_moves(world, event)
    permit_of(world, event).until = event.until


def _do_reversal_agreed(world: World, event: ev.ReversalAgreed) -> None:
    """Open again, as if it had not ended; a study that was done goes on."""
    _do_permit_moves(world, event)
    case, permit = world.cases[event.case], permit_of(world, event)
    case.state = APPLICATION[(case.state, event.type)]
    permit.ended = permit.ended_at = permit.until = None


def _do_job_submitted(world: World, event: ev.JobSubmitted) -> None:
    running = RELEASE[("-", event.type)]
    world.jobs[event.job] = event.case
    world.cases[event.case].jobs[event.job] = JobCase(event, {hospital: JobAtHospital(running) for hospital in event.hospitals})


def _do_release_moves(world: World, event: Any) -> None:
    _, here = release_of(world, event)
    here.state = RELEASE[(here.state, event.type)]
    if event.type == "OutputSealed":
        here.output, here.findings = event.output, event.findings
        here.airlock = BoardCase("airlock", event.output, AIRLOCK_QUORUM)
    if event.type == "JobFailed":
        here.failure, here.waited_for = event.reason, event.about


def _retire_cosigner(world: World, member: Member, key: str | None) -> None:
    """Another cosigner key, or none, from the next entry on."""
    if member.cosigner is not None and member.admitted:
        member.cosigned.append((member.cosigner, member.cosigner_since, world.entries + 1))
    member.cosigner, member.cosigner_since = key, world.entries + 1


def _do_key_rotated(world: World, event: ev.KeyRotated) -> None:
    party: Any = world.people.get(event.author) or world.members[event.author]
    party.former.append(party.key)
    party.key, party.box = event.key, event.box
    world.keys.add(event.key)
    if event.cosigner is not None:
        party.rotated += [party.cosigner] if party.cosigner else []
        _retire_cosigner(world, party, event.cosigner)
        world.keys.add(event.cosigner)


def _do_key_revoked(world: World, event: ev.KeyRevoked) -> None:
    party: Any = world.people.get(event.subject) or world.members[event.subject]
    party.key, party.former = "", []
    if isinstance(party, Member):
        _retire_cosigner(world, party, None)
        party.admitted, party.rotated = False, []


def _do_handed_over(world: World, event: ev.LogHandedOver) -> None:
    """The successor is the coordinating body; the one before, unless it is the same, speaks no more."""
    before = world.members[world.coordinator]
    before.key, before.former, before.admitted = "", [], False
    world.members[event.author] = Member(event.author, "coordinator", event.key, event.box, None, admitted=True)
    world.coordinator = event.author
    world.logs.append(LogKey(world.entries + 1, event.origin, event.log_key))
    world.keys |= {event.key, event.log_key}


def _do_log_key_rotated(world: World, event: ev.LogKeyRotated) -> None:
    world.logs.append(LogKey(world.entries + 1, world.logs[-1].origin, event.log_key))
    world.keys.add(event.log_key)


EFFECTS: dict[str, Callable[[World, Any], None]] = {
    "LogFounded": _do_founded,
    "MemberApplied": _do_member_applied,
    "MemberAdmitted": _do_member_admitted,
    "PersonEnrolled": _do_person_enrolled,
    "DatasetDescribed": _do_dataset_described,
    "ApplicationSubmitted": _do_application_submitted,
    "ApplicationWithdrawn": _do_application_moves,
    "VoteCommitted": _do_vote_committed,
    "VoteOpened": _do_vote_opened,
    "IrbDecided": _do_irb_decided,
    "PermitAuthorised": _do_permit_moves,
    "PermitIssued": _do_permit_moves,
    "WorkspaceOpened": _do_permit_moves,
    "JobSubmitted": _do_job_submitted,
    "OutputSealed": _do_release_moves,
    "JobFailed": _do_release_moves,
    "Released": _do_release_moves,
    "StudyDone": _do_application_moves,
    "PermitEnded": _do_permit_moves,
    "WorkspaceDestroyed": _do_permit_moves,
    "KeyShareDestroyed": _do_permit_moves,
    "CaseClosed": _do_application_moves,
    "DeletionPending": _do_deletion_pending,
    "ReversalAsked": _do_permit_moves,
    "ReversalAgreed": _do_reversal_agreed,
    "ShareCertified": _do_permit_moves,
    "KeyRotated": _do_key_rotated,
    "KeyRevoked": _do_key_revoked,
    "LogHandedOver": _do_handed_over,
    "LogKeyRotated": _do_log_key_rotated,
}
