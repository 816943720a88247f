"""What people decide: each only what waits for them, blind until the quorum, about the very thing they read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pumasi.client import board
from pumasi.client.home import Home
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.store.document import Document
from tests.casebook import Casebook
from tests.live_hub import DescribedBook, LiveHub

Live = Callable[[Casebook], LiveHub]
FIRST = "바다대학교병원"


@pytest.fixture
def at(live: Live) -> Callable[[str], LiveHub]:
    """The hub of a case that has come to a step."""

    def step(until: str) -> LiveHub:
        book = DescribedBook()
        book.play(until=until)
        return live(book)

    return step


def test_a_vote_is_blind_until_the_quorum_and_opened_by_looking_again(at: Callable[[str], LiveHub]) -> None:
    hub = at("submitted")
    one, two = (hub.person(f"drb-{number}@{FIRST}") for number in (0, 1))
    case = hub.book.case
    board.vote(one, case, decision="approve", reason="좋은 연구입니다", smallest_cell=15)
    here = hub.hub.site.world.cases[case].permits[FIRST]
    assert here.drb.opened == {} and here.drb.decision is None
    assert not any("좋은".encode() in data or b"approve" in data for data in hub.hub.site.entries(len(hub.book.log)))
    assert [item for item in board.inbox(one) if item["case"] == case] == [] and here.drb.opened == {}
    board.vote(two, case, decision="approve")
    assert here.drb.opened == {}
    for person in (one, two):
        assert [item for item in board.inbox(person) if item["case"] == case] == []
    assert here.drb.decision == "approve" and {vote.smallest_cell for vote in here.drb.opened.values()} == {15, None}
    assert not any("좋은".encode() in data for data in hub.hub.site.entries(0))


def test_a_vote_can_only_be_opened_from_the_folder_it_was_cast_from(at: Callable[[str], LiveHub]) -> None:
    hub = at("submitted")
    one, two = (hub.person(f"drb-{number}@{FIRST}") for number in (0, 1))
    board.vote(one, hub.book.case, decision="approve")
    board.vote(two, hub.book.case, decision="reject")
    for file in (one.folder / "votes").iterdir():
        file.unlink()
    with pytest.raises(NotFound, match="from the folder it was cast from"):
        board.inbox(one)


@pytest.mark.parametrize(
    ("step", "who", "act"),
    [
        ("submitted", f"drb-0@{FIRST}", lambda home, case: board.sign(home, case)),
        ("submitted", f"drb-0@{FIRST}", lambda home, case: board.decide(home, case, decision="approved")),
        ("submitted", f"irb@{FIRST}", lambda home, case: board.sign(home, case)),
        ("submitted", f"steward@{FIRST}", lambda home, case: board.sign(home, case)),
        ("submitted", f"steward@{FIRST}", lambda home, case: board.vote(home, case, decision="approve")),
        ("submitted", "drb-0@한밭 병원", lambda home, case: board.vote(home, case, decision="approve")),
        ("submitted", f"drb-0@{FIRST}", lambda home, case: board.vote(home, "0" * 32, decision="approve")),
        ("reviewed", f"drb-2@{FIRST}", lambda home, case: board.vote(home, case, decision="approve")),
        ("reviewed", f"irb@{FIRST}", lambda home, case: board.decide(home, case, decision="rejected")),
        ("sealed", f"drb-0@{FIRST}", lambda home, case: board.review(home, case, "0" * 32, output="0" * 64, decision="approve")),
    ],
)  # fmt: skip
def test_what_waits_for_nobody_here_cannot_be_decided(
    at: Callable[[str], LiveHub], step: str, who: str, act: Callable[[Home, str], None]
) -> None:
    hub = at(step)
    size = hub.hub.site.tree.size
    with pytest.raises(Refused, match=r"nothing waits for|is awaited|ethics board"):
        act(hub.person(who), hub.book.case)
    assert hub.hub.site.tree.size == size


def test_the_ethics_officer_decides_and_does_not_vote(at: Callable[[str], LiveHub]) -> None:
    hub = at("submitted")
    officer, case = hub.person(f"irb@{FIRST}"), hub.book.case
    with pytest.raises(Refused, match="waits for the ethics board's decision"):
        board.vote(officer, case, decision="approve")
    board.decide(officer, case, decision="exempt", reason="공개 자료")
    assert hub.hub.site.world.cases[case].permits[FIRST].irb == "exempt"
    assert not any("공개".encode() in data for data in hub.hub.site.entries(0))


def test_a_steward_signs_and_may_revoke(at: Callable[[str], LiveHub]) -> None:
    hub = at("reviewed")
    steward, case = hub.person(f"steward@{FIRST}"), hub.book.case
    with pytest.raises(Refused):
        board.revoke(steward, case)
    board.sign(steward, case)
    assert hub.hub.site.world.cases[case].permits[FIRST].state == "authorised"


def test_a_revocation_ends_a_permit_in_force(at: Callable[[str], LiveHub]) -> None:
    hub = at("opened")
    board.revoke(hub.person(f"steward@{FIRST}"), hub.book.case)
    here = hub.hub.site.world.cases[hub.book.case].permits[FIRST]
    assert (here.state, here.ended) == ("ended", "revoked")


def test_a_review_is_about_the_bytes_that_were_read(at: Callable[[str], LiveHub]) -> None:
    hub = at("sealed")
    book = hub.book
    one, two = (hub.person(name) for name in book.checkers_of(FIRST))
    with pytest.raises(Refused, match="the output you read is not the one under review"):
        board.review(one, book.case, book.job, output="0" * 64, decision="approve")
    for checker in (one, two):
        board.review(checker, book.case, book.job, output=book.output, decision="approve")
    for checker in (one, two):
        board.inbox(checker)
    here = hub.hub.site.world.cases[book.case].jobs[book.job].at[FIRST]
    assert here.airlock is not None and here.airlock.decision == "approve"


def test_an_application_is_read_only_as_it_was_committed_to(at: Callable[[str], LiveHub]) -> None:
    hub = at("submitted")
    reader = hub.person(f"drb-0@{FIRST}")
    assert board.application(reader, hub.book.applied).case == hub.book.case
    with hub.hub.site.database.begin() as db:
        db.execute("UPDATE documents SET data = ? WHERE commitment = ?", (Document.new({}).data, hub.book.applied))
    with pytest.raises(Tampered):
        board.application(reader, hub.book.applied)
