"""Each invariant of the boards and the permit, broken once: how it is refused, and (in `Story.refusals`) that nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.envelope import sha256
from tests import kernel_world as k
from tests.kernel_world import COORDINATOR, HERE, JOB, THERE, Story

NEVER_SEEN = sha256(b"something else")


# --- boards -----------------------------------------------------------------------------------------------------------


def test_a_vote_opened_before_the_quorum_is_refused() -> None:
    story = k.submitted()
    story.vote(f"drb1@{HERE}", "drb")
    reasons = story.refusals(f"drb1@{HERE}", ev.VoteOpened, **story.open_fields(f"drb1@{HERE}", "drb"))
    assert reasons == ["a vote opened early: the quorum has not voted yet"]


def test_one_hospitals_quorum_opens_no_vote_at_another() -> None:
    story = k.submitted()
    story.vote(f"drb1@{THERE}", "drb")
    for member in ("drb1", "drb2"):
        story.vote(f"{member}@{HERE}", "drb")
    reasons = story.refusals(f"drb1@{THERE}", ev.VoteOpened, **story.open_fields(f"drb1@{THERE}", "drb"))
    assert reasons == ["a vote opened early: the quorum has not voted yet"]


@pytest.mark.parametrize(
    ("board", "field", "reason"),
    [
        ("drb", {"subject": NEVER_SEEN}, "the vote is about something else than what is under review"),
        ("airlock", {"subject": NEVER_SEEN}, "the vote is about something else than what is under review"),
        ("airlock", {"subject": k.APPLICATION}, "the vote is about something else than what is under review"),
        ("drb", {"job": JOB}, "a data review board votes on applications, not on jobs"),
        ("airlock", {"job": None}, "an airlock vote names the job it is about"),
        ("airlock", {"job": "1b" * 16}, "there is no such job at this hospital"),
    ],
)
def test_a_vote_is_about_what_is_under_review(board: str, field: dict[str, Any], reason: str) -> None:
    story, voter = (k.submitted(), f"drb1@{HERE}") if board == "drb" else (k.under_review(), f"checker1@{HERE}")
    assert story.refusals(voter, ev.VoteCommitted, **{**story.vote_fields(voter, board), **field}) == [reason]


@pytest.mark.parametrize(("board", "post"), [("drb", "drb1"), ("airlock", "checker1")])
def test_nobody_votes_twice(board: str, post: str) -> None:
    story, voter = k.submitted() if board == "drb" else k.under_review(), f"{post}@{HERE}"
    story.vote(voter, board)
    assert story.refusals(voter, ev.VoteCommitted, **story.vote_fields(voter, board, decision="reject")) == [f"'{voter}' has voted already"]


@pytest.mark.parametrize(("board", "post"), [("drb", "drb3"), ("airlock", "checker3")])
def test_nobody_votes_after_the_quorum(board: str, post: str) -> None:
    story, voter = k.drb_committed() if board == "drb" else k.airlock_committed(), f"{post}@{HERE}"
    reasons = story.refusals(voter, ev.VoteCommitted, **story.vote_fields(voter, board))
    assert reasons == ["the quorum has voted; votes are being opened"]


@pytest.mark.parametrize("copier", [f"checker2@{HERE}", f"checker2@{THERE}"])
def test_nobody_copies_a_blind_vote(copier: str) -> None:
    """A copied commitment opens with the salt that its author shows: a vote without a look."""
    story = k.under_review()
    entry = story.vote(f"checker1@{HERE}", "airlock")
    copied = {**story.vote_fields(copier, "airlock"), "vote": entry.event.vote}
    assert story.refusals(copier, ev.VoteCommitted, **copied) == ["this vote repeats a commitment that somebody has made"]


@pytest.mark.parametrize("change", [{"salt": NEVER_SEEN}, {"decision": "reject"}, {"reason": NEVER_SEEN}, {"smallest_cell": k.CELL + 1}])
@pytest.mark.parametrize("board", ["drb", "airlock"])
def test_the_opened_vote_is_the_committed_one(board: str, change: dict[str, Any]) -> None:
    story, voter = (k.drb_committed(), f"drb1@{HERE}") if board == "drb" else (k.airlock_committed(), f"checker1@{HERE}")
    reasons = story.refusals(voter, ev.VoteOpened, **{**story.open_fields(voter, board), **change})
    assert reasons == ["the opened vote is not the one that was committed"]


def test_whoever_committed_nothing_opens_nothing_and_nobody_opens_twice() -> None:
    story = k.drb_committed()
    reasons = story.refusals(f"drb3@{HERE}", ev.VoteOpened, **story.open_fields(f"drb3@{HERE}", "drb"))
    assert reasons == ["'drb3@haneul' has committed no vote"]
    story.open(f"drb1@{HERE}", "drb")
    reasons = story.refusals(f"drb1@{HERE}", ev.VoteOpened, **story.open_fields(f"drb1@{HERE}", "drb"))
    assert reasons == ["the vote was opened before"]


def test_the_applicant_reviews_nothing() -> None:
    """The role refuses, and so does the rule of its own that would still hold if roles were ever mixed."""
    own = "nobody reviews their own request"
    story = k.submitted()
    researcher = k.HOSPITAL_RESEARCHER
    story.do(researcher, ev.ApplicationSubmitted, **k.application_fields(case="cb" * 16))
    ask = {"case": "cb" * 16}
    committed = story.refusals(researcher, ev.VoteCommitted, **story.vote_fields(researcher, "drb"), **ask)
    assert committed == [f"VoteCommitted is for the board member, and '{researcher}' is not", own]
    decided = {"application": k.APPLICATION, "decision": "approved", "reason": k.REASON}
    assert story.refusals(researcher, ev.IrbDecided, **decided, **ask) == [f"IrbDecided is for the irb, and '{researcher}' is not", own]
    signed = story.refusals(researcher, ev.PermitAuthorised, application=k.APPLICATION, **ask)
    assert signed[0] == f"PermitAuthorised is for the steward, and '{researcher}' is not"
    assert signed[-1] == "nobody signs for their own request"


def test_the_ethics_board_decides_once_and_about_this_application() -> None:
    story = k.boards_approved()
    decision = {"application": k.APPLICATION, "decision": "rejected", "reason": k.REASON}
    assert story.refusals(f"irb@{HERE}", ev.IrbDecided, **decision) == ["the ethics board has decided already"]
    other = {**decision, "application": NEVER_SEEN}
    assert k.submitted().refusals(f"irb@{HERE}", ev.IrbDecided, **other) == ["the decision is about another application"]


@pytest.mark.parametrize("cell", [1, k.CELL - 1])
@pytest.mark.parametrize("board", ["drb", "airlock"])
def test_no_board_lowers_the_smallest_cell(board: str, cell: int) -> None:
    story = k.submitted() if board == "drb" else k.under_review()
    posts = ("drb1", "drb2") if board == "drb" else ("checker1", "checker2")
    for post in posts:
        story.vote(f"{post}@{HERE}", board, cell=cell)
    voter = f"{posts[0]}@{HERE}"
    reasons = story.refusals(voter, ev.VoteOpened, **story.open_fields(voter, board))
    assert reasons == ["a board may raise the smallest cell, never lower it"]


# --- permit -----------------------------------------------------------------------------------------------------------

NO_DRB, NO_IRB = "the data review board of haneul has not approved", "the ethics board of haneul has not approved"


def boards(*, drb: tuple[str, ...] | None, irb: str | None) -> Story:
    """The boards of the first hospital decide: the review board's committed votes (None: not opened), the ethics board's decision."""
    story = k.submitted()
    for number, decision in enumerate(drb or ("approve", "approve"), start=1):
        story.vote(f"drb{number}@{HERE}", "drb", decision=decision)  # type: ignore[arg-type]
    for number in range(1, len(drb or ()) + 1):
        story.open(f"drb{number}@{HERE}", "drb")
    if irb:
        story.do(f"irb@{HERE}", ev.IrbDecided, application=k.APPLICATION, decision=irb, reason=k.REASON)
    return story


@pytest.mark.parametrize(
    ("drb", "irb", "reasons"),
    [
        (("approve", "approve"), "approved", []),
        (("approve", "approve"), "exempt", []),
        (("approve", "approve"), "rejected", [NO_IRB]),
        (("approve", "approve"), None, [NO_IRB]),
        (("approve", "reject"), "approved", [NO_DRB]),
        (("reject", "reject"), "approved", [NO_DRB]),
        (None, "approved", [NO_DRB]),
        (None, None, [NO_DRB, NO_IRB]),
    ],
)
def test_a_permit_needs_both_boards(drb: tuple[str, ...] | None, irb: str | None, reasons: list[str]) -> None:
    story = boards(drb=drb, irb=irb)
    assert story.refusals(f"steward@{HERE}", ev.PermitAuthorised, application=k.APPLICATION) == reasons


def test_the_steward_signs_this_application() -> None:
    reasons = k.boards_approved().refusals(f"steward@{HERE}", ev.PermitAuthorised, application=NEVER_SEEN)
    assert reasons == ["the signature is about another application"]


def test_no_permit_without_the_steward() -> None:
    reasons = k.boards_approved().refusals(HERE, ev.PermitIssued, **k.permit_fields())
    assert reasons == ["PermitIssued is not possible while the permit of haneul is 'in review'"]


def test_the_permit_keeps_the_largest_cell_that_a_board_member_asked_for() -> None:
    story = k.submitted()
    for post, cell in (("drb1", 20), ("drb2", 15)):
        story.vote(f"{post}@{HERE}", "drb", cell=cell)
    for post in ("drb1", "drb2"):
        story.open(f"{post}@{HERE}", "drb")
    story.do(f"irb@{HERE}", ev.IrbDecided, application=k.APPLICATION, decision="approved", reason=k.REASON)
    story.do(f"steward@{HERE}", ev.PermitAuthorised, application=k.APPLICATION)
    assert rules.smallest_cell(story.world.cases[k.CASE], HERE) == 20
    assert rules.smallest_cell(story.world.cases[k.CASE], THERE) == k.CELL
    low = ["the permit lowers the smallest cell that the board decided"]
    assert story.refusals(HERE, ev.PermitIssued, **k.permit_fields(smallest_cell=19)) == low
    assert story.refusals(HERE, ev.PermitIssued, **k.permit_fields(smallest_cell=20)) == []
    assert k.authorised().refusals(HERE, ev.PermitIssued, **k.permit_fields(smallest_cell=k.CELL - 1)) == low


def test_a_permit_does_not_end_before_it_begins() -> None:
    reasons = k.authorised().refusals(HERE, ev.PermitIssued, **k.permit_fields(valid_until="2026-03-01"))
    assert reasons == ["the permit ends before it begins"]
    one_day = k.permit_fields(valid_from="2026-03-02", valid_until="2026-03-02")
    assert k.authorised().refusals(HERE, ev.PermitIssued, **one_day) == []


def test_only_a_steward_revokes_and_a_node_only_says_that_it_is_over() -> None:
    story, sentence = k.opened(), ["a steward revokes; a node ends a permit that expired"]
    assert story.refusals(HERE, ev.PermitEnded, hospital=HERE, reason="revoked") == sentence
    for reason in ("done", "expired", "source"):
        assert story.refusals(f"steward@{HERE}", ev.PermitEnded, hospital=HERE, reason=reason) == sentence
        assert story.refusals(HERE, ev.PermitEnded, hospital=HERE, reason=reason) == []


def test_a_permit_that_nobody_asked_for_cannot_be_ended() -> None:
    reasons = k.opened().refusals(COORDINATOR, ev.KeyShareDestroyed, hospital=k.OUTSIDE)
    assert reasons == [f"'{k.OUTSIDE}' does not take part in this case"]
