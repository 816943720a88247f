"""A small consortium for tests of the kernel: real keys, real signatures, and worlds reached by `rules.apply` alone.

Two hospitals share one case and always move together, so that every test can ask whether one of them decides for the other. A third
hospital is a member but not in the case. Worlds are built once and copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.codes import Decision
from pumasi.kernel.envelope import Keys, commit, sha256, sign
from pumasi.kernel.event import CONSORTIUM, Entry, body_of
from pumasi.kernel.world import World

COORDINATOR, PLATFORM = "coordination-centre", "platform"
HERE, THERE, OUTSIDE = "haneul", "bada", "숲병원"
PAIR = (HERE, THERE)
HOSPITALS = (*PAIR, OUTSIDE, "gang", "san")
COMPANIES = ("company-a", "company-b", "company-c")
APPLICANT, OTHER_RESEARCHER, HOSPITAL_RESEARCHER = "ari@company-a", "bom@company-a", f"dal@{HERE}"
STAFF = {
    "drb1": "drb", "drb2": "drb", "drb3": "drb", "irb": "irb", "steward": "steward",
    "checker1": "checker", "checker2": "checker", "checker3": "checker",
}  # fmt: skip
STRANGER, UNADMITTED = "nobody@nowhere", "newcomer"

CASE, JOB = "ca" * 16, "0b" * 16
APPLICATION, OUTPUT, MANIFEST, REASON = sha256(b"application"), sha256(b"output"), sha256(b"manifest"), sha256(b"reason")
CELL = 10
START = datetime(2026, 3, 2, 0, 0, 0, tzinfo=UTC)


@cache
def keys(who: str) -> Keys:
    return Keys.new()


@dataclass
class Story:
    """A history in the making. `say` writes the author's next event, `do` also lets it follow."""

    world: World = field(default_factory=World)
    now: datetime = START
    ballots: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def copy(self) -> Story:
        return Story(copy.deepcopy(self.world), self.now, copy.deepcopy(self.ballots))

    def say(self, author: str, kind: type[Any], /, *, case: str = CASE, signed_by: str | None = None, **fields: Any) -> Entry:
        seq, prev = self.world.chain(case, author)
        stamp = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        event = kind(**{"case": case, "author": author, "seq": seq, "prev": prev, "at": stamp} | fields)
        return Entry(sign("event", body_of(event), keys(signed_by or author)))

    def do(self, author: str, kind: type[Any], /, **fields: Any) -> Entry:
        entry = self.say(author, kind, **fields)
        rules.apply(self.world, entry)
        self.now += timedelta(seconds=1)
        return entry

    def refusals(self, author: str, kind: type[Any], /, **fields: Any) -> list[str]:
        """Why `rules` refuses this event; asserts that asking, and trying all the same, changed nothing."""
        return self.refusals_of(self.say(author, kind, **fields))

    def refusals_of(self, entry: Entry) -> list[str]:
        before = copy.deepcopy(self.world)
        reasons = rules.refusals(self.world, entry)
        assert self.world == before
        if reasons:
            try:
                rules.apply(self.world, entry)
            except rules.Refused as refused:
                assert refused.reasons == reasons
            else:
                raise AssertionError("apply let through what refusals refuses")
            assert self.world == before
        return reasons

    def ballot(self, author: str, board: str, *, decision: Decision = "approve", cell: int | None = None) -> str:
        """The commitment of a new vote; the vote itself is kept to be opened later."""
        body = {"decision": decision, "reason": REASON, "smallest_cell": cell}
        salt = sha256(f"{author} {board} {len(self.ballots)}".encode())
        self.ballots[(author, board)] = {"salt": salt, **body}
        return commit(salt, body)

    def vote(self, author: str, board: str, *, decision: Decision = "approve", cell: int | None = None) -> Entry:
        return self.do(author, ev.VoteCommitted, **self.vote_fields(author, board, decision=decision, cell=cell))

    def vote_fields(self, author: str, board: str, *, decision: Decision = "approve", cell: int | None = None) -> dict[str, Any]:
        subject, job = (APPLICATION, None) if board == "drb" else (OUTPUT, JOB)
        return {"board": board, "job": job, "subject": subject, "vote": self.ballot(author, board, decision=decision, cell=cell)}

    def open(self, author: str, board: str) -> Entry:
        return self.do(author, ev.VoteOpened, **self.open_fields(author, board))

    def open_fields(self, author: str, board: str) -> dict[str, Any]:
        never = {"salt": sha256(b"none"), "decision": "approve", "reason": REASON, "smallest_cell": None}
        return {"board": board, "job": None if board == "drb" else JOB, **self.ballots.get((author, board), never)}


def from_nothing(build: Callable[[], Story]) -> Callable[[], Story]:
    """Build once, hand out copies."""
    built = cache(build)
    return lambda: built().copy()


def founded_fields(who: str) -> dict[str, Any]:
    return {"case": CONSORTIUM, "origin": "pumasi.test/log", "log_key": keys("log").public, **public(who)}


def public(who: str) -> dict[str, str]:
    return {"key": keys(who).public, "box": keys(who).box_public}


def apply_as(who: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"case": CONSORTIUM, "kind": kind, "cosigner": None, **public(who), **fields}


def join(story: Story, who: str, kind: str) -> None:
    story.do(who, ev.MemberApplied, **apply_as(who, kind, cosigner=keys(f"{who} cosigner").public))
    story.do(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=who)


def enrol(story: Story, member: str, person: str, *roles: str) -> None:
    story.do(member, ev.PersonEnrolled, case=CONSORTIUM, person=person, roles=list(roles), **public(person))


MEMBERS = {
    PLATFORM: "platform",
    HERE: "tertiary-hospital",
    THERE: "tertiary-hospital",
    **dict.fromkeys(HOSPITALS[2:], "hospital"),
    **dict.fromkeys(COMPANIES, "company"),
}


@from_nothing
def founded() -> Story:
    story = Story()
    story.do(COORDINATOR, ev.LogFounded, **founded_fields(COORDINATOR))
    return story


@from_nothing
def consortium() -> Story:
    """The membership rule is met; three hospitals have staff and a described dataset; a newcomer waits to be admitted."""
    story = founded()
    for who, kind in MEMBERS.items():
        join(story, who, kind)
    for hospital in (*PAIR, OUTSIDE):
        for name, role in STAFF.items():
            enrol(story, hospital, f"{name}@{hospital}", role)
        story.do(hospital, ev.DatasetDescribed, case=CONSORTIUM, dataset=sha256(hospital.encode()))
    for researcher in (APPLICANT, OTHER_RESEARCHER, HOSPITAL_RESEARCHER):
        enrol(story, researcher.partition("@")[2], researcher, "researcher")
    story.do(UNADMITTED, ev.MemberApplied, **apply_as(UNADMITTED, "hospital"))
    return story


def application_fields(**fields: Any) -> dict[str, Any]:
    return {"application": APPLICATION, "hospitals": list(PAIR), "smallest_cell": CELL, **fields}


@from_nothing
def submitted() -> Story:
    story = consortium()
    story.do(APPLICANT, ev.ApplicationSubmitted, **application_fields())
    return story


@from_nothing
def drb_committed() -> Story:
    story = submitted()
    for hospital in PAIR:
        story.vote(f"drb1@{hospital}", "drb")
        story.vote(f"drb2@{hospital}", "drb")
    return story


@from_nothing
def boards_approved() -> Story:
    story = drb_committed()
    for hospital in PAIR:
        story.open(f"drb1@{hospital}", "drb")
        story.open(f"drb2@{hospital}", "drb")
        story.do(f"irb@{hospital}", ev.IrbDecided, application=APPLICATION, decision="approved", reason=REASON)
    return story


@from_nothing
def authorised() -> Story:
    story = boards_approved()
    for hospital in PAIR:
        story.do(f"steward@{hospital}", ev.PermitAuthorised, application=APPLICATION)
    return story


def permit_fields(**fields: Any) -> dict[str, Any]:
    return {
        "permit": sha256(b"permit"),
        "smallest_cell": CELL,
        "hospitals_at_least": 2,
        "release": "two-people",
        "valid_from": "2026-03-02",
        "valid_until": "2027-03-01",
        "seen": ev.SeenHead(size=1, root=sha256(b"root")),
        **fields,
    }


@from_nothing
def in_force() -> Story:
    story = authorised()
    for hospital in PAIR:
        story.do(hospital, ev.PermitIssued, **permit_fields())
    return story


def with_workspaces(story: Story) -> Story:
    for hospital in PAIR:
        story.do(hospital, ev.WorkspaceOpened, manifest=MANIFEST)
    return story


@from_nothing
def opened() -> Story:
    return with_workspaces(in_force())


@from_nothing
def opened_automatic() -> Story:
    """As `opened`, with permits that release by themselves what has no findings."""
    story = authorised()
    for hospital in PAIR:
        story.do(hospital, ev.PermitIssued, **permit_fields(release="automatic-if-clear"))
    return with_workspaces(story)


def job_fields(**fields: Any) -> dict[str, Any]:
    return {"job": JOB, "document": sha256(b"job"), "hospitals": list(PAIR), "lead": HERE, **fields}


@from_nothing
def running() -> Story:
    story = opened()
    story.do(APPLICANT, ev.JobSubmitted, **job_fields())
    return story


def seal(story: Story, *hospitals: str, findings: str = "clear") -> Story:
    for hospital in hospitals:
        story.do(hospital, ev.OutputSealed, job=JOB, output=OUTPUT, findings=findings)
    return story


@from_nothing
def under_review() -> Story:
    return seal(running(), *PAIR)


def look(story: Story, *decisions: Decision) -> Story:
    """At both hospitals the first checkers commit these decisions."""
    for hospital in PAIR:
        for number, decision in enumerate(decisions, start=1):
            story.vote(f"checker{number}@{hospital}", "airlock", decision=decision)
    return story


def show(story: Story) -> Story:
    """Every checker who has committed a vote opens it."""
    for author, board in list(story.ballots):
        if board == "airlock":
            story.open(author, board)
    return story


@from_nothing
def airlock_committed() -> Story:
    return look(under_review(), "approve", "approve")


@from_nothing
def airlock_approved() -> Story:
    return show(airlock_committed())


@from_nothing
def airlock_rejected() -> Story:
    return show(look(under_review(), "approve", "reject"))


def release_fields(hospital: str, **fields: Any) -> dict[str, Any]:
    return {"job": JOB, "output": OUTPUT, "reviewers": [f"checker1@{hospital}", f"checker2@{hospital}"], **fields}


@from_nothing
def released() -> Story:
    story = airlock_approved()
    for hospital in PAIR:
        story.do(hospital, ev.Released, **release_fields(hospital))
    return story


@from_nothing
def failed() -> Story:
    story = running()
    for hospital in PAIR:
        story.do(hospital, ev.JobFailed, job=JOB, reason="sandbox", about=[])
    return story


@from_nothing
def ended() -> Story:
    """Every permit has run out; the study itself goes on."""
    story = opened()
    for hospital in PAIR:
        story.do(hospital, ev.PermitEnded, hospital=hospital, reason="expired")
    return story


GRACE = timedelta(days=7)


def wait(story: Story, *hospitals: str) -> Story:
    """Deletion is pending there for a week."""
    until = (story.now + GRACE).strftime("%Y-%m-%dT%H:%M:%SZ")
    for hospital in hospitals or PAIR:
        story.do(hospital, ev.DeletionPending, until=until)
    return story


@from_nothing
def revoked() -> Story:
    story = opened()
    for hospital in PAIR:
        story.do(f"steward@{hospital}", ev.PermitEnded, hospital=hospital, reason="revoked")
    return story


@from_nothing
def deletion_pending() -> Story:
    return wait(revoked())


@from_nothing
def reversal_asked() -> Story:
    story = deletion_pending()
    for hospital in PAIR:
        story.do(f"steward@{hospital}", ev.ReversalAsked)
    return story


@from_nothing
def reversed() -> Story:
    story = reversal_asked()
    for hospital in PAIR:
        story.do(COORDINATOR, ev.ReversalAgreed, hospital=hospital)
    return story


def certify_shares(story: Story) -> Story:
    for hospital in PAIR:
        story.do(COORDINATOR, ev.ShareCertified, hospital=hospital, certificate=sha256(b"share certificate"))
    return story


def destroy(story: Story) -> Story:
    for hospital in PAIR:
        story.do(hospital, ev.WorkspaceDestroyed, certificate=sha256(b"certificate"))
    return story


def destroy_shares(story: Story) -> Story:
    for hospital in PAIR:
        story.do(COORDINATOR, ev.KeyShareDestroyed, hospital=hospital)
    return story


@from_nothing
def destroyed() -> Story:
    return destroy(ended())


@from_nothing
def destroyed_both() -> Story:
    return destroy_shares(destroyed())


@from_nothing
def withdrawn() -> Story:
    """Withdrawn before anything was decided: every permit has lapsed."""
    story = submitted()
    story.do(APPLICANT, ev.ApplicationWithdrawn)
    return story


@from_nothing
def done() -> Story:
    """The study is done and everything is destroyed: the case can be closed."""
    story = released()
    story.do(APPLICANT, ev.StudyDone)
    return destroy_shares(destroy(story))


def closing_fields(story: Story) -> dict[str, Any]:
    case = story.world.cases.get(CASE)
    return {"events": case.events if case and case.events else 1, "consortium": story.world.consortium_events}


@from_nothing
def closed() -> Story:
    story = done()
    story.do(COORDINATOR, ev.CaseClosed, **closing_fields(story))
    return story
