"""Who may say what: the table of `actor.py` against every actor, for membership here and, through `test_states.py`, for cases."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.actor import MAY, Who
from pumasi.kernel.effects import EFFECTS
from pumasi.kernel.envelope import sha256
from pumasi.kernel.event import CONSORTIUM
from tests import kernel_world as k
from tests.kernel_world import COORDINATOR, HERE, OUTSIDE, STRANGER, THERE, UNADMITTED, Story
from tests.spec.attempts import ACTORS, role_of
from tests.spec.test_states import ROWS

EVENT_TYPES = [kind.model_fields["type"].default for kind in get_args(get_args(ev.Event)[0])]
ADMITTED = {COORDINATOR, *k.MEMBERS}
NEW_PERSON, NEW_KEY = "new", "a key of a new person"

# verb -> (event, its fields for this author, the actors who may)
MEMBERSHIP: dict[str, tuple[type[Any], Callable[[str], dict[str, Any]], set[str]]] = {
    "found another log": (ev.LogFounded, k.founded_fields, set()),
    "apply for membership again": (ev.MemberApplied, lambda who: k.apply_as(who, "hospital"), set()),
    "admit the newcomer": (ev.MemberAdmitted, lambda who: {"case": CONSORTIUM, "member": UNADMITTED}, {COORDINATOR}),
    "enrol a person of one's own": (
        ev.PersonEnrolled,
        lambda who: {"case": CONSORTIUM, "person": f"{NEW_PERSON}@{who.rpartition('@')[2]}", "roles": ["drb"], **k.public(NEW_KEY)},
        ADMITTED,
    ),
    "enrol a person of the hospital": (
        ev.PersonEnrolled,
        lambda who: {"case": CONSORTIUM, "person": f"{NEW_PERSON}@{HERE}", "roles": ["drb"], **k.public(NEW_KEY)},
        {HERE},
    ),
    "describe a dataset": (
        ev.DatasetDescribed,
        lambda who: {"case": CONSORTIUM, "dataset": sha256(b"new")},
        set(k.HOSPITALS),
    ),
}


@pytest.mark.parametrize("verb", MEMBERSHIP)
@pytest.mark.parametrize("world", [k.consortium, k.opened, k.closed], ids=["before any case", "case open", "case closed"])
def test_membership(world: Callable[[], Story], verb: str) -> None:
    """Membership goes on whatever happens to cases, and always by the same people."""
    story, (kind, fields, allowed) = world(), MEMBERSHIP[verb]
    before = copy.deepcopy(story.world)
    for author in ACTORS:
        reasons = rules.refusals(story.world, story.say(author, kind, **fields(author)))
        assert (reasons == []) == (author in allowed), f"{author} {verb}: {reasons}"
        if author in allowed:
            forged = rules.refusals(story.world, story.say(author, kind, signed_by=STRANGER, **fields(author)))
            assert forged == [f"the signature on {kind.__name__} is not that of '{author}'"]
    assert story.world == before


def test_anybody_may_apply_for_membership_with_the_key_announced() -> None:
    story = k.founded()
    assert story.refusals("somebody", ev.MemberApplied, **k.apply_as("somebody", "company")) == []
    forged = story.refusals("somebody", ev.MemberApplied, signed_by=STRANGER, **k.apply_as("somebody", "company"))
    assert forged == ["MemberApplied must be signed with the key that it announces"]
    assert story.refusals("x@somebody", ev.MemberApplied, **k.apply_as("x@somebody", "company")) == [
        "'x@somebody' is the name of a person, not of a member"
    ]


def test_a_newcomer_may_do_nothing_until_admitted() -> None:
    story = k.consortium()
    enrolment = {"case": CONSORTIUM, "person": f"drb@{UNADMITTED}", "roles": ["drb"], **k.public("newcomer's drb")}
    assert story.refusals(UNADMITTED, ev.PersonEnrolled, **enrolment) == ["PersonEnrolled is for the member, and 'newcomer' is not"]
    described = {"case": CONSORTIUM, "dataset": sha256(b"new")}
    assert story.refusals(UNADMITTED, ev.DatasetDescribed, **described) == ["DatasetDescribed is for the hospital, and 'newcomer' is not"]
    story.do(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=UNADMITTED)
    story.do(UNADMITTED, ev.PersonEnrolled, **enrolment)
    story.do(UNADMITTED, ev.DatasetDescribed, **described)


def test_an_unknown_author_is_told_so() -> None:
    story = k.opened()
    reasons = story.refusals(STRANGER, ev.StudyDone)
    assert reasons == [f"'{STRANGER}' is not a member, nor a person that a member has enrolled"]


def test_every_event_has_an_author_a_check_and_an_effect() -> None:
    assert set(MAY) == set(EVENT_TYPES) == set(EFFECTS) == set(rules._CHECKS)
    assert set(MAY.values()) | {"checker", "drb"} == set(get_args(Who))


ROLES: dict[str, set[str]] = {
    "coordinator": {COORDINATOR},
    "hospital": {"node"},
    "researcher": {k.APPLICANT, k.OTHER_RESEARCHER, k.HOSPITAL_RESEARCHER},
    "applicant": {k.APPLICANT},
    "irb": {"irb"},
    "steward": {"steward"},
    "board member": {"drb", "checker"},
    "steward or hospital": {"steward", "node"},
}


@pytest.mark.parametrize(
    "name", [name for name, who in MAY.items() if who in ROLES and name not in ("MemberAdmitted", "DatasetDescribed", "LogKeyRotated")]
)
def test_the_table_names_exactly_those_who_may_at_some_time(name: str) -> None:
    ever = {
        k.STAFF.get(role, role) for row in ROWS.values() for verb, roles in row.may.items() if verb.split()[0] == name for role in roles
    }
    assert ever == ROLES[MAY[name]]


@pytest.mark.parametrize("hospital", [THERE, OUTSIDE, *k.COMPANIES, COORDINATOR])
def test_a_member_enrols_its_own_people_only(hospital: str) -> None:
    person = f"{NEW_PERSON}@{HERE}"
    reasons = k.consortium().refusals(hospital, ev.PersonEnrolled, case=CONSORTIUM, person=person, roles=["drb"], **k.public(NEW_KEY))
    assert reasons == ["a member enrols its own people only"]


def test_actors_play_every_part() -> None:
    assert {role_of(author) for author in ACTORS} >= {*k.STAFF, "node", COORDINATOR, k.APPLICANT, STRANGER, UNADMITTED}
