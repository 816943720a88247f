"""The airlock lets an output out when, and only when, the log says that this hospital's people let exactly these bytes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64, sha256
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.event import Entry
from pumasi.kernel.seal import release_key, seal, unseal, unseal_from
from pumasi.node.agent import Agent
from pumasi.node.airlock import release
from pumasi.node.airlock.held import HeldOutput, held, hold
from pumasi.node.app import Node
from pumasi.node.courier import Courier
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, RESEARCHER, Casebook
from tests.live_hub import Clock, LiveHub, Server, party

Live = Callable[[Casebook], LiveHub]
DATA = b'{"analyses":[],"case":"c","format":"pumasi result v1"}'


def book_until(step: str, *, release: str = "two-people", hospitals: int = 3) -> Casebook:
    """A casebook whose sealed output is DATA."""
    book = Casebook(release=release, hospitals=hospitals)
    book.output = sha256(DATA)
    return book.play(until=step)


def output(book: Casebook, hospital: str, data: bytes = DATA) -> HeldOutput:
    share = sha256(f"share of {hospital}".encode())[:32].encode()
    return HeldOutput(book.case, book.job, book.hospitals, data, share, ["clear"], [{"name": "who", "n": 40}])


@dataclass(frozen=True)
class Gate:
    """What the airlock of the first hospital needs of its node; the output is held there. Nobody answers its courier."""

    site: Site
    courier: Courier


Closed = Callable[[Casebook], Gate]


@pytest.fixture
def closed(tmp_path: Path, https: Server) -> Iterator[Closed]:
    couriers: list[Courier] = []

    def gate(book: Casebook) -> Gate:
        site = party(tmp_path, book, book.hospitals[0], clock=Clock(), file="node.db")
        hold(site, output(book, site.id))
        couriers.append(Courier("https://127.0.0.1:1", https.certificate, hospital=site.id, keys=site.keys))
        return Gate(site, couriers[-1])

    yield gate
    for courier in couriers:
        courier.close()


def airlock(live: Live, book: Casebook) -> tuple[LiveHub, Node]:
    """The first hospital's node, holding its output, beside the hub."""
    hub = live(book)
    node = hub.node(book.hospitals[0])
    hold(node.site, output(book, book.hospitals[0]))
    return hub, node


def let_out(node: Node | Gate, book: Casebook) -> None:
    box = book.keys_of(RESEARCHER).box_public
    release.release(node.site, node.courier, case=book.case, job=book.job, applicant_box=box)


def recorded(node: Node | Gate) -> list[ev.Released]:
    return [entry.event for entry in map(Entry, [data for _, data in node.site.unsent()]) if entry.event.type == "Released"]


def why_not(node: Node | Gate, book: Casebook, data: bytes = DATA) -> list[str]:
    return release.refusals(node.site.world, output(book, node.site.id, data), node.site.id)


# --- what is held


def test_an_output_is_kept_as_it_was_sealed(tmp_path: Path) -> None:
    book = book_until("founded")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="a.db")
    kept = output(book, "바다대학교병원")
    hold(site, kept)
    found = held(site.database, book.case, book.job)
    assert found == kept
    assert found.digest == sha256(DATA)


def test_an_output_that_was_never_sealed_or_is_destroyed_is_not_found(tmp_path: Path) -> None:
    book = book_until("founded")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="a.db")
    with pytest.raises(NotFound, match="never sealed here, or is destroyed"):
        held(site.database, book.case, book.job)
    hold(site, output(book, COORDINATOR))
    site.forget(f"output|{book.case}|")
    with pytest.raises(NotFound):
        held(site.database, book.case, book.job)


@pytest.mark.parametrize("changed", ["data", "digest"])
def test_a_held_output_that_was_changed_is_noticed(tmp_path: Path, changed: str) -> None:
    book = book_until("founded")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="a.db")
    hold(site, output(book, COORDINATOR))
    key = f"output|{book.case}|{book.job}"
    value = json.loads(site.noted(key) or b"")
    value[changed] = b64(DATA.replace(b"v1", b"v2")) if changed == "data" else sha256(b"another")
    with site.database.begin() as db:
        db.execute("UPDATE notes SET value = ? WHERE key = ?", (json.dumps(value).encode(), key))
    with pytest.raises(Tampered, match="changed after it was sealed"):
        held(site.database, book.case, book.job)


# --- why an output may not leave


def test_an_approved_output_has_nothing_against_it(closed: Closed) -> None:
    book = book_until("voted")
    assert why_not(closed(book), book) == []


def test_an_output_that_nobody_has_looked_at_stays(closed: Closed) -> None:
    book = book_until("sealed")
    node = closed(book)
    assert why_not(node, book) == ["two people of this hospital have not both approved this output"]
    with pytest.raises(Refused, match="two people"):
        let_out(node, book)
    assert recorded(node) == []


def test_one_reviewer_is_not_two(closed: Closed) -> None:
    book = book_until("sealed")
    book.commit_vote(book.checkers_of(book.hospitals[0])[0], job=book.job)
    assert why_not(closed(book), book) == ["two people of this hospital have not both approved this output"]


def test_votes_that_are_not_all_open_decide_nothing(closed: Closed) -> None:
    book = book_until("sealed")
    first, second = book.checkers_of(book.hospitals[0])
    for checker in (first, second):
        book.commit_vote(checker, job=book.job)
    book.open_vote(first, job=book.job)
    assert why_not(closed(book), book) == ["two people of this hospital have not both approved this output"]


def test_one_rejection_keeps_it_in(closed: Closed) -> None:
    book = book_until("sealed")
    first, second = book.checkers_of(book.hospitals[0])
    book.commit_vote(first, job=book.job)
    book.commit_vote(second, job=book.job, decision="reject")
    for checker in (first, second):
        book.open_vote(checker, job=book.job)
    node = closed(book)
    with pytest.raises(Refused, match="have not both approved"):
        let_out(node, book)


def test_approval_of_other_bytes_is_none_of_these(closed: Closed) -> None:
    book = book_until("voted")
    node = closed(book)
    hold(node.site, output(book, node.site.id, DATA + b" "))
    with pytest.raises(Refused) as refused:
        let_out(node, book)
    assert refused.value.reasons == [
        "the log names another output than the one held here",
        "not every hospital of the job has sealed this output",
    ]


def test_no_hospital_releases_before_all_have_sealed(closed: Closed) -> None:
    book = book_until("job")
    first = book.hospitals[0]
    book.say(ev.OutputSealed, first, job=book.job, output=book.output, findings="clear")
    for checker in book.checkers_of(first):
        book.commit_vote(checker, job=book.job)
    for checker in book.checkers_of(first):
        book.open_vote(checker, job=book.job)
    assert why_not(closed(book), book) == ["not every hospital of the job has sealed this output"]


def test_the_failure_of_one_hospital_keeps_the_output_in_everywhere(closed: Closed) -> None:
    book = book_until("voted")
    other = book.hospitals[1]
    book.say(ev.JobFailed, other, job=book.job, reason="disagreement", about=[])
    node = closed(book)
    with pytest.raises(Refused, match=f"the job failed at {other}"):
        let_out(node, book)


@pytest.mark.parametrize("how", ["revoked", "done"])
def test_nothing_leaves_once_the_permit_has_ended(closed: Closed, how: str) -> None:
    book = book_until("voted")
    first = book.hospitals[0]
    if how == "revoked":
        book.say(ev.PermitEnded, f"steward@{first}", hospital=first, reason="revoked")
    else:
        book.done()
    node = closed(book)
    assert why_not(node, book) == [f"the permit of {first} has ended"]
    with pytest.raises(Refused, match="has ended"):
        let_out(node, book)
    assert recorded(node) == []


def test_an_output_of_a_job_that_the_log_does_not_know_here_stays(closed: Closed) -> None:
    book = book_until("voted")
    node = closed(book)
    stranger = HeldOutput(book.case, "0" * 32, book.hospitals, DATA, b"share", ["clear"], [])
    with pytest.raises(Refused, match="no such job at this hospital"):
        release.refusals(node.site.world, stranger, node.site.id)
    with pytest.raises(Refused, match="no such job at this hospital"):
        release.refusals(node.site.world, output(book, "river-hospital"), "river-hospital")


def test_every_reason_is_given_at_once(closed: Closed) -> None:
    book = book_until("job")
    first, other = book.hospitals[:2]
    book.say(ev.JobFailed, other, job=book.job, reason="fault", about=[])
    book.say(ev.PermitEnded, first, hospital=first, reason="expired")
    assert why_not(closed(book), book) == [
        f"the permit of {first} has ended",
        "the log names another output than the one held here",
        "not every hospital of the job has sealed this output",
        f"the job failed at {other}",
        "two people of this hospital have not both approved this output",
    ]


# --- automatic release


def sealed_with(findings: str) -> Casebook:
    book = book_until("job", release="automatic-if-clear")
    for hospital in book.hospitals:
        book.say(ev.OutputSealed, hospital, job=book.job, output=book.output, findings=findings)
    return book


def test_a_clear_output_leaves_by_itself_where_the_permit_says_so(closed: Closed) -> None:
    book = sealed_with("clear")
    node = closed(book)
    let_out(node, book)
    assert [(event.output, event.reviewers) for event in recorded(node)] == [(book.output, [])]


def test_a_flagged_output_waits_for_two_people_even_then(closed: Closed) -> None:
    book = sealed_with("flagged")
    node = closed(book)
    with pytest.raises(Refused, match="two people"):
        let_out(node, book)


def test_once_one_person_looks_two_decide(closed: Closed) -> None:
    book = sealed_with("clear")
    first, second = book.checkers_of(book.hospitals[0])
    book.commit_vote(first, job=book.job)
    node = closed(book)
    with pytest.raises(Refused, match="two people"):
        let_out(node, book)
    said = len(book.log)
    book.commit_vote(second, job=book.job)
    for checker in (first, second):
        book.open_vote(checker, job=book.job)
    node.site.extend(book.log[said:])
    let_out(node, book)
    assert [event.reviewers for event in recorded(node)] == [[first, second]]


# --- leaving


def test_the_key_part_leaves_only_after_the_log_took_the_release(live: Live) -> None:
    book = book_until("voted")
    hub, node = airlock(live, book)
    agent = Agent(node)
    let_out(node, book)
    assert [(event.output, event.reviewers) for event in recorded(node)] == [(book.output, book.checkers_of(node.site.id))]
    assert hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0) == {}
    agent.send_recorded()
    assert hub.hub.site.world.cases[book.case].jobs[book.job].at[node.site.id].state == "released"
    assert hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0) == {}
    node.site.extend(hub.hub.site.entries(node.site.tree.size))
    let_out(node, book)
    assert set(hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0)) == {node.site.id}


def test_a_release_is_recorded_once_and_the_part_may_be_sent_again(live: Live) -> None:
    book = book_until("released")
    hub, node = airlock(live, book)
    let_out(node, book)
    first = hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0)
    let_out(node, book)
    assert recorded(node) == []
    assert hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0) == first


def test_what_leaves_is_this_hospitals_part_sealed_to_the_applicant_and_nothing_else(live: Live) -> None:
    book = book_until("released")
    hub, node = airlock(live, book)
    let_out(node, book)
    sent = hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0)[node.site.id]
    part = output(book, node.site.id).release_share
    assert part not in sent and DATA not in sent
    assert len(sent) == 32 + 12 + len(part) + 16  # one-time key, nonce, the part, tag
    context = f"release|{book.job}|{book.output}|{node.site.id}"
    applicant = book.keys_of(RESEARCHER).box
    assert unseal_from(applicant, sent, context=context.encode()) == part
    for wrong in (
        context.replace(book.job, "0" * 32),
        context.replace(book.output, sha256(b"")),
        context.replace(node.site.id, "들꽃병원"),
    ):
        with pytest.raises(Tampered):
            unseal_from(applicant, sent, context=wrong.encode())
    with pytest.raises(Tampered):
        unseal_from(Keys.new().box, sent, context=context.encode())


def test_without_one_hospitals_part_the_result_stays_closed() -> None:
    book = book_until("founded")
    parts = {hospital: output(book, hospital).release_share for hospital in book.hospitals}
    digest = sha256(DATA)
    closed = seal(release_key(parts, digest), DATA, context=digest.encode())
    assert unseal(release_key(parts, digest), closed, context=digest.encode()) == DATA
    for missing in book.hospitals:
        some = {hospital: part for hospital, part in parts.items() if hospital != missing}
        for guess in (some, {**some, missing: bytes(32)}):
            with pytest.raises(Tampered):
                unseal(release_key(guess, digest), closed, context=digest.encode())


def test_a_key_that_nobody_holds_gets_no_part(live: Live) -> None:
    book = book_until("released")
    hub, node = airlock(live, book)
    for box, error in ((b64(bytes(32)), Refused), (b64(bytes(31)), Tampered), ("no key", Tampered)):
        with pytest.raises(error):
            release.release(node.site, node.courier, case=book.case, job=book.job, applicant_box=box)
    assert hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0) == {}


def test_the_clock_of_the_record_is_the_hospitals_own(live: Live) -> None:
    book = book_until("voted")
    hub, node = airlock(live, book)
    hub.clock.time += timedelta(days=2)
    let_out(node, book)
    assert recorded(node)[0].at == hub.clock.time.strftime("%Y-%m-%dT%H:%M:%SZ")
