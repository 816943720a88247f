"""Each invariant of the log, membership and applications, broken once: how it is refused, and that nothing changed."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.codes import Role
from pumasi.kernel.envelope import sha256
from pumasi.kernel.event import CONSORTIUM
from tests import kernel_world as k
from tests.casebook import HOSPITALS, play
from tests.kernel_world import APPLICANT, COORDINATOR, HERE, THERE, UNADMITTED, Story

NEVER_SEEN = sha256(b"something else")


# --- the beginning and the chain --------------------------------------------------------------------------------------


def test_the_first_event_is_the_founding() -> None:
    reasons = Story().refusals("first", ev.MemberApplied, **k.apply_as("first", "hospital"))
    assert reasons == ["the first event of a log is LogFounded"]


def test_a_log_is_founded_once_by_a_member_in_the_consortium() -> None:
    assert k.founded().refusals("second", ev.LogFounded, **k.founded_fields("second")) == ["the log was founded before"]
    assert Story().refusals("a@b", ev.LogFounded, **k.founded_fields("a@b")) == ["'a@b' is the name of a person, not of a member"]
    elsewhere = {**k.founded_fields("first"), "case": k.CASE}
    assert Story().refusals("first", ev.LogFounded, **elsewhere) == ["a log is founded in the consortium's case"]


def test_the_founder_signs_with_the_key_it_announces() -> None:
    reasons = Story().refusals("first", ev.LogFounded, signed_by="somebody else", **k.founded_fields("first"))
    assert reasons == ["LogFounded must be signed with the key that it announces"]


@pytest.mark.parametrize(
    "link",
    [{"seq": 1}, {"seq": 3}, {"seq": 0, "prev": None}, {"prev": None}, {"prev": NEVER_SEEN}],
    ids=["repeats a number", "leaves one out", "starts again", "forgets the last", "points elsewhere"],
)
def test_an_author_cannot_drop_repeat_or_reorder_events(link: dict[str, Any]) -> None:
    story = k.in_force()
    story.do(HERE, ev.WorkspaceOpened, manifest=k.MANIFEST)
    reasons = story.refusals(HERE, ev.PermitEnded, hospital=HERE, reason="done", **link)
    assert reasons == ["PermitEnded does not follow the last event of 'haneul' in this case: one was left out, repeated or reordered"]


def test_an_event_cannot_be_sent_twice() -> None:
    story = k.opened()
    entry = story.do(APPLICANT, ev.JobSubmitted, **k.job_fields())
    assert "this job was submitted before" in story.refusals_of(entry)


def test_nobody_dates_an_event_before_their_last_one() -> None:
    story = k.in_force()
    reasons = story.refusals(HERE, ev.WorkspaceOpened, manifest=k.MANIFEST, at="2026-03-01T23:59:59Z")
    assert reasons == ["WorkspaceOpened is dated before the author's last event"]


def test_two_events_may_share_an_instant() -> None:
    story = k.in_force()
    last = story.world.chains[k.CASE][HERE][2]
    assert story.refusals(HERE, ev.WorkspaceOpened, manifest=k.MANIFEST, at=last) == []


# --- membership -------------------------------------------------------------------------------------------------------


def test_membership_belongs_to_the_consortium() -> None:
    story = k.submitted()
    wrong = k.apply_as("x", "company") | {"case": k.CASE}
    assert story.refusals("x", ev.MemberApplied, **wrong) == ["MemberApplied belongs to the consortium's case"]
    assert story.refusals(COORDINATOR, ev.MemberAdmitted, member=UNADMITTED) == ["MemberAdmitted belongs to the consortium's case"]
    enrolment = {"person": f"new@{HERE}", "roles": ["drb"], **k.public("new")}
    assert story.refusals(HERE, ev.PersonEnrolled, **enrolment) == ["PersonEnrolled belongs to the consortium's case"]
    assert story.refusals(HERE, ev.DatasetDescribed, dataset=NEVER_SEEN) == ["DatasetDescribed belongs to the consortium's case"]


def test_what_belongs_to_a_case_is_refused_in_the_consortium() -> None:
    reasons = k.opened().refusals(HERE, ev.WorkspaceOpened, case=CONSORTIUM, manifest=k.MANIFEST)
    assert reasons == ["there is no such case"]


def test_members_apply_once_and_are_admitted_once() -> None:
    story = k.consortium()
    again = {**k.apply_as(HERE, "hospital"), **k.public("a new key")}
    assert story.refusals(HERE, ev.MemberApplied, signed_by="a new key", **again) == ["'haneul' has applied before"]
    admit = {"case": CONSORTIUM}
    assert story.refusals(COORDINATOR, ev.MemberAdmitted, member=HERE, **admit) == ["'haneul' is a member already"]
    assert story.refusals(COORDINATOR, ev.MemberAdmitted, member="unknown", **admit) == ["'unknown' has not applied"]


def test_there_is_one_coordinating_body() -> None:
    reasons = k.founded().refusals("second", ev.MemberApplied, **k.apply_as("second", "coordinator"))
    assert reasons == ["a log has one coordinating body"]


@pytest.mark.parametrize("owner", [HERE, COORDINATOR, APPLICANT, "log", f"{HERE} cosigner"])
def test_a_key_is_one_partys(owner: str) -> None:
    story = k.consortium()
    stolen = {**k.apply_as("thief", "hospital"), **k.public(owner)}
    assert story.refusals("thief", ev.MemberApplied, signed_by=owner, **stolen) == ["this key belongs to somebody else"]
    cosigner = k.apply_as("thief", "hospital", cosigner=k.keys(owner).public)
    assert story.refusals("thief", ev.MemberApplied, **cosigner) == ["this key belongs to somebody else"]
    enrolment = {"case": CONSORTIUM, "person": f"new@{HERE}", "roles": ["drb"], **k.public(owner)}
    assert story.refusals(HERE, ev.PersonEnrolled, **enrolment) == ["this key belongs to somebody else"]


def test_a_person_is_enrolled_once_and_by_their_own_member() -> None:
    story = k.consortium()
    again = {"case": CONSORTIUM, "person": f"irb@{HERE}", "roles": ["irb"], **k.public("a new key")}
    assert story.refusals(HERE, ev.PersonEnrolled, **again) == ["'irb@haneul' is enrolled already"]
    assert story.refusals(THERE, ev.PersonEnrolled, **{**again, "person": f"new@{HERE}"}) == ["a member enrols its own people only"]


@pytest.mark.parametrize("role", ["drb", "irb", "steward", "checker"])
def test_whoever_applies_never_reviews(role: str) -> None:
    both = {"case": CONSORTIUM, "person": f"new@{HERE}", "roles": ["researcher", role], **k.public("new")}
    assert k.consortium().refusals(HERE, ev.PersonEnrolled, **both) == [
        "whoever applies for data never reviews: researcher goes with no other role"
    ]


LACKING: dict[str, tuple[set[str], str]] = {
    "no platform": ({k.PLATFORM}, "the consortium has no platform company"),
    "four medical institutions": ({"san"}, "the consortium has 4 of at least 5 medical institutions"),
    "one tertiary hospital": ({THERE}, "the consortium has 1 of at least 2 tertiary hospitals"),
    "two companies": ({"company-c"}, "the consortium has 2 of at least 3 companies on the demand side"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_each_part_of_the_membership_rule(lacking: str) -> None:
    absent, sentence = LACKING[lacking]
    story = k.founded()
    assert "the consortium has no coordinating body" not in story.world.consortium_refusals()
    for who, kind in k.MEMBERS.items():
        if who not in absent:
            k.join(story, who, kind)
    if lacking == "one tertiary hospital":
        k.join(story, THERE, "hospital")  # so that only the tertiary ones are too few
    k.enrol(story, "company-a", APPLICANT, "researcher")
    assert story.world.consortium_refusals() == [sentence]
    assert sentence in story.refusals(APPLICANT, ev.ApplicationSubmitted, **k.application_fields())


def test_an_empty_world_meets_no_part_of_the_membership_rule() -> None:
    assert [sentence.split(" has ")[1] for sentence in Story().world.consortium_refusals()] == [
        "no coordinating body",
        "no platform company",
        "0 of at least 5 medical institutions",
        "0 of at least 2 tertiary hospitals",
        "0 of at least 3 companies on the demand side",
    ]


def test_who_is_not_admitted_does_not_count() -> None:
    story = k.founded()
    story.do(k.PLATFORM, ev.MemberApplied, **k.apply_as(k.PLATFORM, "platform"))
    assert "the consortium has no platform company" in story.world.consortium_refusals()


# --- application ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"case": CONSORTIUM}, "an application opens a case of its own"),
        ({"hospitals": [HERE, HERE]}, "a hospital is named twice"),
        ({"hospitals": [HERE, "company-a"]}, "'company-a' is not a medical institution of the consortium"),
        ({"hospitals": [HERE, UNADMITTED]}, "'newcomer' is not a medical institution of the consortium"),
        ({"hospitals": ["unknown"]}, "'unknown' is not a medical institution of the consortium"),
        ({"hospitals": [HERE, "gang"]}, "'gang' has described no dataset"),
        ({"hospitals": ["gang"]}, "'gang' has enrolled no data review board"),
        ({"hospitals": ["gang"]}, "'gang' has enrolled no ethics board"),
        ({"hospitals": ["gang"]}, "'gang' has enrolled no data steward"),
        ({"hospitals": ["gang"]}, "'gang' has enrolled no pair of output checkers"),
    ],
)
def test_an_application_goes_to_hospitals_that_can_decide(fields: dict[str, Any], reason: str) -> None:
    assert reason in k.consortium().refusals(APPLICANT, ev.ApplicationSubmitted, **k.application_fields(**fields))


def test_one_output_checker_is_not_two() -> None:
    story = k.consortium()
    for name, role in (("drb", "drb"), ("irb", "irb"), ("steward", "steward"), ("checker", "checker")):
        k.enrol(story, "gang", f"{name}@gang", role)
    story.do("gang", ev.DatasetDescribed, case=CONSORTIUM, dataset=NEVER_SEEN)
    reasons = story.refusals(APPLICANT, ev.ApplicationSubmitted, **k.application_fields(hospitals=["gang"]))
    assert reasons == ["'gang' has enrolled no pair of output checkers"]


def test_a_case_is_opened_once() -> None:
    reasons = k.submitted().refusals(k.OTHER_RESEARCHER, ev.ApplicationSubmitted, **k.application_fields())
    assert reasons == ["this case was opened before"]


def test_a_board_is_counted_as_its_people_are_enrolled() -> None:
    book = play(until="people")
    hospital = book.hospitals[0]
    voter = f"drb-0@{hospital}"
    counted = (book.world.board_size(hospital, "drb"), book.world.board_size(hospital, "irb"))
    book.revoke(voter, by=hospital)
    book.keys[voter] = book.new_keys(voter)
    book.person(voter, "irb", "steward")
    assert (book.world.board_size(hospital, "drb"), book.world.board_size(hospital, "irb")) == (counted[0] - 1, counted[1] + 1)
    assert book.world.board_size("nowhere", "drb") == 0
    for member in HOSPITALS:
        for role in get_args(Role):
            people = [person for person in book.world.people.values() if person.member == member and role in person.roles]
            assert book.world.board_size(member, role) == len(people)
