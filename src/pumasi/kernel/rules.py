"""Every state table and every invariant: one pure fold over the log, the same in the hub, in each node and at each cosigner.

`refusals(world, entry)` says why an entry may not follow; `apply(world, entry)` lets it follow. Nothing else changes a `World`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pumasi.kernel import deletion, handover, keys
from pumasi.kernel import event as ev
from pumasi.kernel.actor import MAY
from pumasi.kernel.codes import MEDICAL, UNTIL_SEALED, Role
from pumasi.kernel.effects import AIRLOCK_QUORUM, EFFECTS, board_of, case_of, permit_of, release_of
from pumasi.kernel.envelope import commit, is_weak, unb64
from pumasi.kernel.errors import Refused
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.states import APPLICATION, PERMIT, RELEASE, move
from pumasi.kernel.world import Case, JobAtHospital, JobCase, World

Reasons = list[str | None]


def refusals(world: World, entry: Entry) -> list[str]:
    """Every reason why `entry` may not be the next event; empty means it may."""
    event = entry.event
    name = event.type
    if world.is_closed(event.case):  # whatever else is wrong with it: a closed case may be known by nothing but its id
        return ["the case is closed: its last event counts all the others"]
    general = [*_key_refusals(world, entry), *_chain_refusals(world, entry)]
    if name != "LogFounded" and world.founded is None:
        return [*general, "the first event of a log is LogFounded"]
    specific: Reasons
    try:
        specific = _CHECKS[name](world, event)
    except Refused as refused:
        specific = [*refused.reasons]
    return general + [reason for reason in specific if reason is not None]


def apply(world: World, entry: Entry) -> None:
    """Let `entry` follow; `Refused` with every reason, and nothing changed, when it may not."""
    reasons = refusals(world, entry)
    if reasons:
        raise Refused(*reasons)
    event = entry.event
    count, _ = world.chain(event.case, event.author)
    world.chains.setdefault(event.case, {})[event.author] = (count + 1, entry.digest, event.at)
    EFFECTS[event.type](world, event)
    world.entries += 1
    if event.case == CONSORTIUM:
        world.consortium_events += 1
    else:
        world.cases[event.case].events += 1


# --- who may speak ---------------------------------------------------------------------------------------------------


def _key_refusals(world: World, entry: Entry) -> list[str]:
    event: Any = entry.event
    who = MAY[event.type]
    if who in ("founder", "self"):
        return [] if entry.key == event.key else [f"{event.type} must be signed with the key that it announces"]
    known = world.people.get(event.author) or world.members.get(event.author)
    if known is None:
        return [f"'{event.author}' is not a member, nor a person that a member has enrolled"]
    if not known.key:
        return [f"the key of '{event.author}' is revoked"]
    if known.key != entry.key:
        return [f"the signature on {event.type} is not that of '{event.author}'"]
    return [] if _is(world, event, who) else [f"{event.type} is for the {who}, and '{event.author}' is not"]


def _is(world: World, event: Any, who: str) -> bool:
    member, person = world.members.get(event.author), world.people.get(event.author)
    case = world.cases.get(event.case)
    at_hospital = case is not None and (person.member if person else event.author) in case.permits
    match who:
        case "coordinator":
            return bool(event.author == world.coordinator)
        case "member":
            return member is not None and member.admitted
        case "hospital":
            medical = member is not None and member.admitted and member.kind in MEDICAL
            return medical and (event.case == CONSORTIUM or at_hospital)
        case "key holder":
            return True  # with whose key it is signed
        case "researcher":
            return person is not None and "researcher" in person.roles
        case "applicant":
            return case is not None and event.author == _applicant(case)
        case "board member":
            role: Role = "drb" if event.board == "drb" else "checker"
            return person is not None and role in person.roles and at_hospital
        case "steward or hospital":
            steward = person is not None and "steward" in person.roles and person.member == event.hospital
            return at_hospital and (steward or event.author == event.hospital)
        case _:  # irb, steward: a role at one of the case's hospitals
            return person is not None and who in person.roles and at_hospital


def _applicant(case: Case) -> str:
    return case.event.author


def _chain_refusals(world: World, entry: Entry) -> list[str]:
    event = entry.event
    count, digest = world.chain(event.case, event.author)
    reasons = []
    if (event.seq, event.prev) != (count, digest):
        reasons.append(
            f"{event.type} does not follow the last event of '{event.author}' in this case: one was left out, repeated or reordered"
        )
    last = world.chains.get(event.case, {}).get(event.author)
    if last is not None and event.at < last[2]:
        reasons.append(f"{event.type} is dated before the author's last event")
    return reasons


# --- what may happen -------------------------------------------------------------------------------------------------


def _founded(world: World, event: ev.LogFounded) -> Reasons:
    return [
        None if world.founded is None else "the log was founded before",
        None if event.case == CONSORTIUM else "a log is founded in the consortium's case",
        "anybody can sign under this log key" if is_weak(unb64(event.log_key)) else None,
        f"'{event.author}' is the name of a person, not of a member" if "@" in event.author else None,
    ]


def _member_applied(world: World, event: ev.MemberApplied) -> Reasons:
    return [
        _in_consortium(event),
        f"'{event.author}' is the name of a person, not of a member" if "@" in event.author else None,
        keys.again(world.members.get(event.author), f"'{event.author}' has applied before"),
        keys.same_kind(world, event),
        "this key belongs to somebody else" if {event.key, event.cosigner} & world.keys else None,
        "anybody can sign under this cosigner key" if event.cosigner is not None and is_weak(unb64(event.cosigner)) else None,
        "a log has one coordinating body" if event.kind == "coordinator" else None,
    ]


def _member_admitted(world: World, event: ev.MemberAdmitted) -> Reasons:
    member = world.members.get(event.member)
    return [
        _in_consortium(event),
        f"'{event.member}' has not applied" if member is None else None,
        f"'{event.member}' is a member already" if member is not None and member.admitted else None,
    ]


def _person_enrolled(world: World, event: ev.PersonEnrolled) -> Reasons:
    return [
        _in_consortium(event),
        None if event.person.partition("@")[2] == event.author else "a member enrols its own people only",
        keys.again(world.people.get(event.person), f"'{event.person}' is enrolled already"),
        "this key belongs to somebody else" if event.key in world.keys else None,
        "whoever applies for data never reviews: researcher goes with no other role"
        if "researcher" in event.roles and len(set(event.roles)) > 1
        else None,
    ]


def _in_consortium(event: Any) -> str | None:
    return None if event.case == CONSORTIUM else f"{event.type} belongs to the consortium's case"


def _dataset_described(world: World, event: ev.DatasetDescribed) -> Reasons:
    return [_in_consortium(event)]


def _application_submitted(world: World, event: ev.ApplicationSubmitted) -> Reasons:
    reasons: Reasons = [*world.consortium_refusals()]
    reasons.append("this case was opened before" if event.case in world.cases else None)
    reasons.append("an application opens a case of its own" if event.case == CONSORTIUM else None)
    reasons.append("a hospital is named twice" if len(set(event.hospitals)) < len(event.hospitals) else None)
    for hospital in event.hospitals:
        member = world.members.get(hospital)
        if member is None or not member.admitted or member.kind not in MEDICAL:
            reasons.append(f"'{hospital}' is not a medical institution of the consortium")
            continue
        reasons.append(None if hospital in world.datasets else f"'{hospital}' has described no dataset")
        for role, least, words in (
            ("drb", 1, "data review board"),
            ("irb", 1, "ethics board"),
            ("steward", 1, "data steward"),
            ("checker", AIRLOCK_QUORUM, "pair of output checkers"),
        ):
            reasons.append(None if world.board_size(hospital, role) >= least else f"'{hospital}' has enrolled no {words}")  # type: ignore[arg-type]
    return reasons


def _application_moves(world: World, event: Any) -> Reasons:
    case = case_of(world, event)
    move(APPLICATION, case.state, event.type, "the application")
    return []


def _vote_committed(world: World, event: ev.VoteCommitted) -> Reasons:
    board, case = board_of(world, event), case_of(world, event)
    return [
        "nobody reviews their own request" if event.author == _applicant(case) else None,
        "the vote is about something else than what is under review" if event.subject != board.subject else None,
        f"'{event.author}' has voted already" if event.author in board.committed else None,
        "the quorum has voted; votes are being opened" if board.opening else None,
        # a copied commitment could be opened with the salt that its author shows: one review would count twice
        "this vote repeats a commitment that somebody has made" if event.vote in _commitments(case) else None,
    ]


def _commitments(case: Case) -> set[str]:
    boards = [permit.drb for permit in case.permits.values()]
    boards += [here.airlock for job in case.jobs.values() for here in job.at.values() if here.airlock is not None]
    return {vote for board in boards for vote in board.committed.values()}


def _vote_opened(world: World, event: ev.VoteOpened) -> Reasons:
    board = board_of(world, event)
    body = {"decision": event.decision, "reason": event.reason, "smallest_cell": event.smallest_cell}
    committed = board.committed.get(event.author)
    asked = case_of(world, event).event.smallest_cell
    return [
        None if board.opening else "a vote opened early: the quorum has not voted yet",
        f"'{event.author}' has committed no vote" if committed is None else None,
        "the vote was opened before" if event.author in board.opened else None,
        "the opened vote is not the one that was committed" if committed not in (None, commit(event.salt, body)) else None,
        "a board may raise the smallest cell, never lower it" if (event.smallest_cell or asked) < asked else None,
    ]


def _irb_decided(world: World, event: ev.IrbDecided) -> Reasons:
    permit, case = permit_of(world, event), case_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    return [
        "the ethics board has decided already" if permit.irb is not None else None,
        "the decision is about another application" if event.application != case.event.application else None,
        "nobody reviews their own request" if event.author == _applicant(case) else None,
    ]


def _permit_authorised(world: World, event: ev.PermitAuthorised) -> Reasons:
    permit, case = permit_of(world, event), case_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    return [
        None if permit.drb.decision == "approve" else f"the data review board of {permit.hospital} has not approved",
        None if permit.irb in ("approved", "exempt") else f"the ethics board of {permit.hospital} has not approved",
        "the signature is about another application" if event.application != case.event.application else None,
        "nobody signs for their own request" if event.author == _applicant(case) else None,
    ]


def smallest_cell(case: Case, hospital: str) -> int:
    """What the application asked for, raised by any member of the hospital's board."""
    raised = [vote.smallest_cell for vote in case.permits[hospital].drb.opened.values() if vote.smallest_cell is not None]
    return max([case.event.smallest_cell, *raised])


def _permit_issued(world: World, event: ev.PermitIssued) -> Reasons:
    permit, case = permit_of(world, event), case_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    return [
        "the permit lowers the smallest cell that the board decided"
        if event.smallest_cell < smallest_cell(case, permit.hospital)
        else None,
        "the permit ends before it begins" if event.valid_until < event.valid_from else None,
    ]


def _workspace_opened(world: World, event: ev.WorkspaceOpened) -> Reasons:
    permit = permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    return []


def _job_submitted(world: World, event: ev.JobSubmitted) -> Reasons:
    case = case_of(world, event)
    reasons: Reasons = ["this job was submitted before" if event.job in world.jobs else None]
    running = any(job.running for job in case.jobs.values())
    # What a job may publish depends on what the project knows already, so its jobs come one after the other.
    reasons.append(f"another job of this case is still running; {UNTIL_SEALED}" if running else None)
    reasons.append(_another_project(world, event))
    reasons.append(None if event.lead in event.hospitals else "the lead node takes part in the job")
    reasons.append("a hospital is named twice" if len(set(event.hospitals)) < len(event.hospitals) else None)
    for hospital in event.hospitals:
        permit = case.permits.get(hospital)
        if permit is None or (permit.state, "JobSubmitted") not in PERMIT or permit.event is None:
            reasons.append(f"'{hospital}' has no permit in force with a workspace for this case")
        elif len(event.hospitals) < permit.event.hospitals_at_least:
            reasons.append(f"the permit of '{hospital}' asks for more hospitals to take part")
    return reasons


def _another_project(world: World, event: ev.JobSubmitted) -> str | None:
    """The same for all projects of one organisation, at each hospital: what one is answered, the next is compared with."""
    group = event.author.partition("@")[2]
    others = [case for id, case in world.cases.items() if id != event.case and case.event.author.partition("@")[2] == group]
    at = {hospital for case in others for job in case.jobs.values() if job.running for hospital in job.at} & set(event.hospitals)
    return f"another project of your organisation has a job running at {', '.join(sorted(at))}; {UNTIL_SEALED}" if at else None


def _leaving(world: World, event: Any) -> tuple[JobCase, JobAtHospital]:
    """The job and its output here; `Refused` once the permit has ended, so that nothing leaves after a revocation or a certificate."""
    (job, here), permit = release_of(world, event), permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    move(RELEASE, here.state, event.type, "the output")
    return job, here


def _output_sealed(world: World, event: ev.OutputSealed) -> Reasons:
    job, _ = _leaving(world, event)
    return ["the hospitals of one job seal one output" if job.outputs - {None, event.output} else None, _stopped(job)]


def _stopped(job: JobCase) -> str | None:
    return f"the job failed at {', '.join(job.failed)}" if job.failed else None


def _job_failed(world: World, event: ev.JobFailed) -> Reasons:
    _, here = release_of(world, event)
    move(RELEASE, here.state, event.type, "the output")
    return []


def _released(world: World, event: ev.Released) -> Reasons:
    job, here = _leaving(world, event)
    assert here.airlock is not None  # an output under review has one
    by_people = here.airlock.decision == "approve" and sorted(here.airlock.opened) == event.reviewers
    untouched = event.reviewers == [] and not here.airlock.committed  # once one person looks, two decide
    automatic = permit_of(world, event).release == "automatic-if-clear" and here.findings == "clear" and untouched
    return [
        "a release names what was reviewed" if event.output != here.output else None,
        None if by_people or automatic else "two people of the hospital have not both approved this output",
        _stopped(job),
        None if job.outputs == {event.output} else "not every hospital of the job has sealed this output",
    ]


def _permit_ended(world: World, event: ev.PermitEnded) -> Reasons:
    permit = permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    revoking = event.author in world.people
    return [None if revoking == (event.reason == "revoked") else "a steward revokes; a node ends a permit that expired"]


def _destroyed(world: World, event: Any) -> Reasons:
    permit = permit_of(world, event)
    move(PERMIT, permit.state, event.type, f"the permit of {permit.hospital}")
    already = event.type != "WorkspaceDestroyed" and permit.share_destroyed
    return ["the coordinating body's key share is destroyed already" if already else None]


def _case_closed(world: World, event: ev.CaseClosed) -> Reasons:
    case = case_of(world, event)
    move(APPLICATION, case.state, event.type, "the application")
    pending = [
        hospital for hospital, permit in case.permits.items()
        if permit.state != "lapsed" and not (permit.state == "destroyed" and permit.share_destroyed)
    ]  # fmt: skip
    return [
        f"the workspace and both keys are not destroyed yet at {', '.join(pending)}" if pending else None,
        None if event.events == case.events else "the closing event counts the case's events wrongly",
        None if event.consortium == world.consortium_events else "the closing event counts the consortium's events wrongly",
    ]


_CHECKS: dict[str, Callable[[World, Any], Reasons]] = {
    "LogFounded": _founded,
    "MemberApplied": _member_applied,
    "MemberAdmitted": _member_admitted,
    "PersonEnrolled": _person_enrolled,
    "DatasetDescribed": _dataset_described,
    "ApplicationSubmitted": _application_submitted,
    "ApplicationWithdrawn": _application_moves,
    "VoteCommitted": _vote_committed,
    "VoteOpened": _vote_opened,
    "IrbDecided": _irb_decided,
    "PermitAuthorised": _permit_authorised,
    "PermitIssued": _permit_issued,
    "WorkspaceOpened": _workspace_opened,
    "JobSubmitted": _job_submitted,
    "OutputSealed": _output_sealed,
    "JobFailed": _job_failed,
    "Released": _released,
    "StudyDone": _application_moves,
    "PermitEnded": _permit_ended,
    "WorkspaceDestroyed": _destroyed,
    "KeyShareDestroyed": _destroyed,
    "CaseClosed": _case_closed,
    "DeletionPending": deletion.pending,
    "ReversalAsked": deletion.reversal,
    "ReversalAgreed": deletion.reversal,
    "ShareCertified": _destroyed,
    "KeyRotated": keys.rotated,
    "KeyRevoked": keys.revoked,
    "LogHandedOver": handover.handed_over,
    "LogKeyRotated": keys.log_key_rotated,
}
