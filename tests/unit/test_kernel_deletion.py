"""Deletion in two recorded steps: what is pending can be reversed by both sides together and in time, what is destroyed by nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.deletion import reversible
from pumasi.kernel.envelope import sha256
from tests import kernel_world as k
from tests.kernel_world import APPLICANT, COORDINATOR, HERE, THERE, Story

STEWARD = f"steward@{HERE}"
PAPER = sha256(b"certificate")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def permit(story: Story) -> Any:
    return story.world.cases[k.CASE].permits[HERE]


@pytest.mark.parametrize(
    ("days", "reason"),
    [(-0.1, "the deletion would be due before it is pending"), (31.1, "a deletion waits at most 31 days"), (0, None), (31, None)],
)
def test_how_long_a_deletion_may_wait(days: float, reason: str | None) -> None:
    story = k.revoked()
    reasons = story.refusals(HERE, ev.DeletionPending, until=stamp(story.now + timedelta(days=days)))
    assert reasons == ([reason] if reason else [])


def test_a_deletion_at_the_end_of_all_calendars_is_judged_too() -> None:
    story, end = k.revoked(), "9999-12-31T23:59:59Z"
    story.do(HERE, ev.DeletionPending, until=end, at=end)
    assert story.refusals(STEWARD, ev.ReversalAsked, at=end) == [f"the permit of {HERE} is over by its date"]


def test_one_side_alone_reverses_nothing() -> None:
    story = k.deletion_pending()
    agreed = story.refusals(COORDINATOR, ev.ReversalAgreed, hospital=HERE)
    assert agreed == [f"ReversalAgreed is not possible while the permit of {HERE} is 'deletion pending'"]
    story.do(STEWARD, ev.ReversalAsked)
    assert permit(story).state == "reversal asked"
    assert story.refusals(APPLICANT, ev.JobSubmitted, **k.job_fields())
    for author in (STEWARD, HERE, f"steward@{THERE}", APPLICANT):
        assert story.refusals(author, ev.ReversalAgreed, hospital=HERE)
    assert story.refusals(COORDINATOR, ev.ReversalAgreed, hospital=THERE)  # whose steward has not asked


def test_both_sides_reverse_it_and_the_study_goes_on() -> None:
    story = k.released()
    story.do(APPLICANT, ev.StudyDone)
    k.wait(story)
    story.do(STEWARD, ev.ReversalAsked)
    story.do(COORDINATOR, ev.ReversalAgreed, hospital=HERE)
    found = permit(story)
    assert (found.state, found.ended, found.ended_at, found.until) == ("open", None, None, None)
    assert story.world.cases[k.CASE].state == "submitted"
    assert permit(story).share_destroyed is False
    story.do(APPLICANT, ev.StudyDone)  # once more, at the hospital that goes on
    assert (permit(story).state, permit(story).ended) == ("ended", "done")
    assert story.world.cases[k.CASE].permits[THERE].state == "deletion pending"


@pytest.mark.parametrize("who", ["steward", "coordinator"])
def test_in_time_only(who: str) -> None:
    story = k.deletion_pending() if who == "steward" else k.reversal_asked()
    act: Any = (STEWARD, ev.ReversalAsked) if who == "steward" else (COORDINATOR, ev.ReversalAgreed)
    fields = {} if who == "steward" else {"hospital": HERE}
    until = permit(story).until
    assert story.refusals(*act, at=until, **fields) == []
    late = stamp(story.now + k.GRACE + timedelta(seconds=1))
    assert story.refusals(*act, at=late, **fields) == ["the time in which the deletion could be reversed is over"]


def test_not_when_the_permit_is_over_by_its_date() -> None:
    story = k.wait(k.ended())  # expired, says its node
    assert story.refusals(STEWARD, ev.ReversalAsked) == [f"the permit of {HERE} is over by its date"]
    story = k.revoked()
    story.now = datetime(2027, 3, 1, 14, 59, 0, tzinfo=UTC)  # 23:59 in Seoul on its last day
    k.wait(story)
    assert story.refusals(STEWARD, ev.ReversalAsked) == []
    story.now = datetime(2027, 3, 1, 15, 0, 0, tzinfo=UTC)
    assert story.refusals(STEWARD, ev.ReversalAsked) == [f"the permit of {HERE} is over by its date"]


def test_not_without_the_other_key_or_a_workspace_or_the_applicant() -> None:
    story = k.certify_shares(k.deletion_pending())
    assert story.refusals(STEWARD, ev.ReversalAsked) == ["the coordinating body's key share is destroyed already"]
    story = k.in_force()
    story.do(STEWARD, ev.PermitEnded, hospital=HERE, reason="revoked")
    k.wait(story, HERE)
    assert story.refusals(STEWARD, ev.ReversalAsked) == ["there is no workspace to open again"]
    story = k.opened()
    story.do(APPLICANT, ev.ApplicationWithdrawn)
    k.wait(story)
    assert story.refusals(STEWARD, ev.ReversalAsked) == ["ReversalAgreed is not possible while the application is 'withdrawn'"]


def test_nothing_reverses_a_destruction() -> None:
    story = k.destroy(k.reversal_asked())
    for author, kind, fields in ((STEWARD, ev.ReversalAsked, {}), (COORDINATOR, ev.ReversalAgreed, {"hospital": HERE})):
        assert story.refusals(author, kind, **fields) == [f"{kind.__name__} is not possible while the permit of {HERE} is 'destroyed'"]


def test_a_share_is_destroyed_once_whichever_event_says_so() -> None:
    for first, second in (("KeyShareDestroyed", "ShareCertified"), ("ShareCertified", "KeyShareDestroyed")):
        story = k.destroyed()
        events: dict[str, tuple[type[Any], dict[str, Any]]] = {
            "KeyShareDestroyed": (ev.KeyShareDestroyed, {"hospital": HERE}),
            "ShareCertified": (ev.ShareCertified, {"hospital": HERE, "certificate": PAPER}),
        }
        story.do(COORDINATOR, events[first][0], **events[first][1])
        reasons = story.refusals(COORDINATOR, events[second][0], **events[second][1])
        assert reasons == ["the coordinating body's key share is destroyed already"]


def test_a_case_is_closed_after_two_steps_and_two_certificates() -> None:
    story = k.released()
    story.do(APPLICANT, ev.StudyDone)
    k.certify_shares(k.destroy(k.wait(story)))
    story.do(COORDINATOR, ev.CaseClosed, **k.closing_fields(story))


def test_while_a_deletion_can_be_reversed_and_no_longer() -> None:
    def could(story: Story, now: datetime) -> bool:
        return reversible(story.world.cases[k.CASE], permit(story), now)

    story, soon, late = k.revoked(), datetime(2026, 3, 3, tzinfo=UTC), datetime(2027, 3, 2, tzinfo=UTC)
    assert could(story, soon) and not could(story, late)
    assert could(k.deletion_pending(), soon) and could(k.reversal_asked(), soon)
    assert not could(k.opened(), soon) and not could(k.destroyed(), soon)
    assert not could(k.ended(), soon)  # expired
    assert not could(k.certify_shares(k.deletion_pending()), soon)
    never_issued = k.authorised()
    never_issued.do(APPLICANT, ev.StudyDone)
    assert not could(never_issued, soon)
    withdrawn = k.opened()
    withdrawn.do(APPLICANT, ev.ApplicationWithdrawn)
    assert not could(withdrawn, soon)
    without = k.in_force()
    without.do(APPLICANT, ev.StudyDone)
    assert not could(without, soon)
