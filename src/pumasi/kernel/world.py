"""What is true after a history of events: members, people, datasets and cases. Only `rules.py` changes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pumasi.kernel.codes import Board, Decision, EndReason, FailReason, MemberKind, ReleaseRule, Role
from pumasi.kernel.event import CONSORTIUM, ApplicationSubmitted, JobSubmitted, LogFounded, PermitIssued, VoteOpened


@dataclass(frozen=True)
class LogKey:
    """Under which name and key the log signs its heads over at least `since` entries, until the next."""

    since: int
    origin: str
    key: str


@dataclass
class Member:
    id: str
    kind: MemberKind
    key: str
    box: str
    cosigner: str | None
    admitted: bool = False
    cosigner_since: int = 0  # the smallest log in which the present cosigner key counts
    former: list[str] = field(default_factory=list)  # keys that this one replaced in turn
    cosigned: list[tuple[str, int, int]] = field(default_factory=list)  # former cosigner keys: key, smallest log, first log no more
    rotated: list[str] = field(default_factory=list)  # cosigner keys that the present one replaced in turn; none after a revocation


@dataclass
class Person:
    id: str
    member: str
    key: str
    box: str
    roles: frozenset[Role]
    former: list[str] = field(default_factory=list)


@dataclass
class BoardCase:
    """One board looking at one subject at one hospital: votes are committed blind, and opened once the quorum has committed."""

    board: Board
    subject: str
    quorum: int
    committed: dict[str, str] = field(default_factory=dict)  # person -> commitment
    opened: dict[str, VoteOpened] = field(default_factory=dict)

    @property
    def opening(self) -> bool:
        return len(self.committed) >= self.quorum

    @property
    def decision(self) -> Decision | None:
        """None until every committed vote is open. An airlock needs every vote; a data review board more than half."""
        if not self.opening or len(self.opened) < len(self.committed):
            return None
        approvals = sum(vote.decision == "approve" for vote in self.opened.values())
        needed = len(self.committed) if self.board == "airlock" else len(self.committed) // 2 + 1
        return "approve" if approvals >= needed else "reject"


@dataclass
class JobAtHospital:
    """The release at one hospital of the output of one job."""

    state: str
    output: str | None = None
    findings: str | None = None
    airlock: BoardCase | None = None
    failure: FailReason | None = None
    waited_for: list[str] = field(default_factory=list)


@dataclass
class JobCase:
    event: JobSubmitted
    at: dict[str, JobAtHospital]

    @property
    def outputs(self) -> set[str | None]:
        return {here.output for here in self.at.values()}

    @property
    def running(self) -> bool:
        return not self.failed and any(here.state == "running" for here in self.at.values())

    @property
    def failed(self) -> list[str]:
        return sorted(hospital for hospital, here in self.at.items() if here.state == "failed")


@dataclass
class PermitCase:
    """One hospital's side of a project."""

    hospital: str
    state: str
    drb: BoardCase
    irb: str | None = None
    event: PermitIssued | None = None
    share_destroyed: bool = False
    ended: EndReason | None = None
    ended_at: str | None = None  # as the author of the event that ended it wrote
    manifest: str | None = None  # of the workspace, once one was opened
    until: str | None = None  # when a pending deletion becomes final
    key: str = ""  # with which the hospital signed the permit

    @property
    def release(self) -> ReleaseRule:
        return self.event.release if self.event else "two-people"


@dataclass
class Case:
    event: ApplicationSubmitted
    state: str
    permits: dict[str, PermitCase]
    jobs: dict[str, JobCase] = field(default_factory=dict)
    events: int = 0


@dataclass
class World:
    founded: LogFounded | None = None
    coordinator: str = ""  # who is the coordinating body: the founder, or the last successor
    logs: list[LogKey] = field(default_factory=list)  # the founding key, and one more after each handover and rotation
    members: dict[str, Member] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)  # closed cases of which only the id is still known here
    jobs: dict[str, str] = field(default_factory=dict)  # every job there ever was -> its case
    chains: dict[str, dict[str, tuple[int, str, str]]] = field(default_factory=dict)  # case -> author -> events, last digest, last instant
    consortium_events: int = 0
    entries: int = 0
    keys: set[str] = field(default_factory=set)  # every key that ever signed something: one key is one party
    staff: Counter[tuple[str, Role]] = field(init=False)  # how many people of a member have a role, as `people` says

    def __post_init__(self) -> None:
        self.staff = Counter(post for person in self.people.values() for post in _posts(person))

    def log_at(self, size: int) -> LogKey:
        """The key that must have signed a head over `size` entries; the log is founded."""
        return next(log for log in reversed(self.logs) if log.since <= size or log is self.logs[0])

    def cosigners_at(self, size: int) -> list[tuple[str, str]]:
        """Every admitted member that cosigns, with the key that counts under a head over `size` entries."""
        found = []
        for member in list(self.members.values()):
            now = [(member.cosigner, member.cosigner_since, size + 1)] if member.cosigner and member.admitted else []
            key = next((key for key, first, end in (*now, *member.cosigned) if first <= size < end), None)
            if key is not None:
                found.append((member.id, key))
        return found

    def stands_for(self, member: str, cosigner: str) -> list[str]:
        """A member's cosigner key and those that it replaced by rotation: whoever trusts one of them trusts it."""
        known = self.members.get(member)
        line = [*known.rotated, known.cosigner] if known is not None else []
        return [key for key in line[: line.index(cosigner) + 1] if key is not None] if cosigner in line else [cosigner]

    def chain(self, case: str, author: str) -> tuple[int, str | None]:
        """The `seq` and `prev` of this author's next event in this case."""
        count, digest, _ = self.chains.get(case, {}).get(author, (0, "", ""))
        return count, digest or None

    def is_closed(self, case: str) -> bool:
        return case in self.retired or (case in self.cases and self.cases[case].state == "closed")

    def retire(self, id: str) -> Case:
        """Forget a closed case but for its id and those of its jobs: nothing can follow, so no rule asks for more. The caller keeps it."""
        case = self.cases[id]
        assert case.state == "closed"  # of an open one the rules need everything
        del self.chains[id]
        self.retired.add(id)
        return self.cases.pop(id)

    def enrol(self, person: Person) -> None:
        """Take in a person, or one again whose key was revoked."""
        if person.id in self.people:
            self.staff.subtract(_posts(self.people[person.id]))
        self.people[person.id] = person
        self.staff.update(_posts(person))

    def board_size(self, hospital: str, role: Role) -> int:
        return self.staff[(hospital, role)]

    def consortium_refusals(self) -> list[str]:
        """Which part of the membership rule is not met yet (the Korean call for proposals: governance facts, step 1)."""
        kinds = [member.kind for member in self.members.values() if member.admitted]
        medical = kinds.count("hospital") + kinds.count("tertiary-hospital")
        rule = [
            (kinds.count("coordinator") >= 1, "the consortium has no coordinating body"),
            (kinds.count("platform") >= 1, "the consortium has no platform company"),
            (medical >= 5, f"the consortium has {medical} of at least 5 medical institutions"),
            (
                kinds.count("tertiary-hospital") >= 2,
                f"the consortium has {kinds.count('tertiary-hospital')} of at least 2 tertiary hospitals",
            ),
            (kinds.count("company") >= 3, f"the consortium has {kinds.count('company')} of at least 3 companies on the demand side"),
        ]
        return [sentence for met, sentence in rule if not met]


def _posts(person: Person) -> Iterator[tuple[str, Role]]:
    return ((person.member, role) for role in person.roles)


__all__ = ["CONSORTIUM", "BoardCase", "Case", "JobAtHospital", "JobCase", "LogKey", "Member", "PermitCase", "Person", "World"]
