"""The sequencer puts events in order once, forgets nothing when it is killed, and calls a head final only with a quorum behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.hub.log import KEPT, Sequencer
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, sha256
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.handover import two_thirds
from pumasi.ledger import note
from pumasi.store.db import open_db
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, HOSPITALS, ORIGIN, Casebook, play
from tests.live_hub import Clock, party


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Callable[[Casebook], Sequencer]]:
    """The sequencer of a casebook's hub; again with the same book: the same hub after kill -9."""

    def open_one(book: Casebook) -> Sequencer:
        if not (tmp_path / "hub.db").exists():
            party(tmp_path, book, COORDINATOR, clock=Clock(), file="hub.db").database.dispose()
        site = Site(open_db(tmp_path / "hub.db", synchronous="OFF"), id=COORDINATOR, keys=book.keys_of(COORDINATOR), now=Clock())
        return Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0)

    yield open_one


def cosign(log: Sequencer, book: Casebook, *members: str, time: int = 1_800_000_000) -> None:
    for member in members:
        text = log.newest()
        assert text is not None
        log.add_cosignature(log.published, note.cosign(text, note.cosigner_name(ORIGIN, member), key=book.cosigners[member], time=time))


# --- sequencing


def test_an_event_gets_the_next_index_and_keeps_it(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    book.submitted()
    new = book.log[size:]
    assert [answer["index"] for answer in log.submit(new)] == [size, size + 1]
    assert [answer["index"] for answer in log.submit(list(reversed(new)))] == [size + 1, size]
    assert [answer["index"] for answer in log.submit([new[0], new[0]])] == [size, size]
    assert log.site.entries(0) == book.log and log.site.tree.root() == book.tree.root()


def test_what_the_rules_refuse_is_not_sequenced_and_says_why(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    stranger = book.entry(ev.MemberAdmitted, "company-1", case=CONSORTIUM, member="company-2").data
    forged = book.entry(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member="company-2", keys=Keys.new()).data
    skipped = book.entry(ev.DatasetDescribed, "river-hospital", case=CONSORTIUM, dataset="0" * 64, seq=7).data
    answers = log.submit([stranger, forged, skipped, b"{}", b"\xff", skipped[:-1]])
    assert [answer["index"] for answer in answers] == [None] * 6
    assert all(answer["reasons"] for answer in answers)
    assert log.site.tree.size == size and log.site.entries(0) == book.log


def test_a_refused_event_does_not_hold_up_those_beside_it(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    book.submitted()
    one, two = book.log[size:]
    assert [answer["index"] for answer in log.submit([one, b"no event", two])] == [size, None, size + 1]


# --- the coordinating body's own acts


def test_an_act_of_the_coordinating_body_is_recorded_and_logged_at_once(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="members")
    book.apply_only("company-9", "company")
    log = hub(book)
    log.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-9")
    assert log.site.world.members["company-9"].admitted and log.site.unsent() == []
    with pytest.raises(Refused, match="is a member already"):
        log.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-9")
    assert log.site.unsent() == []


def test_an_act_that_a_crash_kept_from_being_logged_is_logged_before_the_next(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="members")
    for name in ("company-8", "company-9"):
        book.apply_only(name, "company")
    hub(book).site.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-8")  # kill -9 here
    log = hub(book)
    log.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-9")
    assert log.site.world.members["company-8"].admitted and log.site.world.members["company-9"].admitted
    assert log.site.unsent() == []


def test_an_act_that_was_logged_when_the_crash_came_is_not_logged_twice(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="members")
    for name in ("company-8", "company-9"):
        book.apply_only(name, "company")
    log = hub(book)
    log.submit([log.site.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-8").data])  # kill -9 here
    again = hub(book)
    again.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-9")
    assert again.site.tree.size == len(book.log) + 2 and again.site.unsent() == []


def test_acts_of_several_threads_are_chained_one_after_the_other(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="members")
    names = [f"company-{number}" for number in range(10, 18)]
    for name in names:
        book.apply_only(name, "company")
    log = hub(book)
    refused: list[Refused] = []

    def admit(name: str) -> None:
        try:
            log.record(ev.MemberAdmitted, case=CONSORTIUM, member=name)
        except Refused as error:
            refused.append(error)

    threads = [threading.Thread(target=admit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [] and all(log.site.world.members[name].admitted for name in names)


# --- checkpoints


def test_a_head_is_final_only_with_more_than_two_thirds_of_the_cosigners(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log = hub(book)
    assert (len(log.cosigners()), log.quorum(), log.newest(), log.final(0)) == (5, 4, None, None)
    log.publish()
    first, second, third, fourth, _ = HOSPITALS
    cosign(log, book, first, second, third)
    assert log.final(0) is None
    cosign(log, book, fourth)
    final = log.final(0)
    assert final is not None and final == log.newest() == log.site.checkpoint()
    assert note.Policy.parse(log.policy()).satisfied(final) == []
    assert log.final(log.published) == final and log.final(log.published + 1) is None


@pytest.mark.parametrize(("cosigners", "quorum"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (12, 9)])
def test_the_quorum_outlasts_a_third_that_is_away_or_lies(cosigners: int, quorum: int) -> None:
    assert two_thirds(cosigners) == quorum
    tolerated = max(cosigners - 1, 0) // 3
    assert 2 * quorum - cosigners > tolerated or not cosigners  # two conflicting heads share an honest cosigner
    assert cosigners - quorum >= tolerated  # so many may be away


def test_an_older_head_stays_final_until_the_newer_one_is(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    log.publish()
    cosign(log, book, *list(HOSPITALS)[:4])
    final = log.final(0)
    book.submitted()
    log.submit(book.log[size:])
    log.publish()
    assert log.final(0) == final and log.final(size + 1) is None
    cosign(log, book, *list(HOSPITALS)[:4])
    assert log.final(0) == log.newest() != final


def test_the_same_cosigner_counts_once_and_may_send_again(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log = hub(book)
    log.publish()
    first = next(iter(HOSPITALS))
    for time in (1_800_000_000, 1_800_000_000, 1_800_000_005):
        cosign(log, book, first, time=time)
    assert log.final(0) is None
    assert len(note.parse_checkpoint(log.newest() or "").lines) == 2


@pytest.mark.parametrize("who", ["nobody", "company", "not admitted"])
def test_a_cosigner_that_the_log_does_not_know_is_refused(hub: Callable[[Casebook], Sequencer], who: str) -> None:
    book = play(until="datasets")
    if who == "not admitted":
        book.apply_only("새 병원", "hospital")
    log = hub(book)
    log.publish()
    name = {"nobody": "nobody", "company": "company-1", "not admitted": "새 병원"}[who]
    key = book.cosigners.get(name) or Ed25519PrivateKey.generate()
    line = note.cosign(log.newest() or "", note.cosigner_name(ORIGIN, name), key=key, time=1)
    with pytest.raises(Refused, match="not the cosignature of a member"):
        log.add_cosignature(log.published, line)
    assert len(note.parse_checkpoint(log.newest() or "").lines) == 1


def test_a_cosignature_over_something_else_is_not_added(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log = hub(book)
    log.publish()
    first = next(iter(HOSPITALS))
    other = note.sign_checkpoint(ORIGIN, size=log.published, root=bytes(32), key=book.log_key)
    line = note.cosign(other, note.cosigner_name(ORIGIN, first), key=book.cosigners[first], time=1)
    with pytest.raises(Refused, match="not the cosignature of a member"):
        log.add_cosignature(log.published, line)
    for nonsense in ("", "— x y", "\n", line + "\n" + line):
        with pytest.raises((Tampered, Refused)):
            log.add_cosignature(log.published, nonsense)
    with pytest.raises(NotFound, match="no recent checkpoint"):
        log.add_cosignature(3, line)
    assert len(note.parse_checkpoint(log.newest() or "").lines) == 1


def test_a_restart_keeps_entries_heads_and_cosignatures(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log = hub(book)
    log.publish()
    cosign(log, book, *list(HOSPITALS)[:4])
    again = hub(book)
    assert again.site.entries(0) == book.log
    assert (again.published, again.newest(), again.final(0)) == (log.published, log.newest(), log.newest())
    cosign(again, book, list(HOSPITALS)[4])
    assert len(note.parse_checkpoint(again.final(0) or "").lines) == 6


def test_checkpoints_are_published_by_themselves(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    log.start()
    assert log.site.wait_for(lambda: log.published == size, 10)
    book.submitted()
    log.submit(book.log[size:])
    assert log.site.wait_for(lambda: log.published == len(book.log), 10)
    log.stop()


def test_only_recent_heads_gather_cosignatures(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="founded")
    log = hub(book)
    for number in range(KEPT + 2):
        book.apply_only(f"company-{number}", "company")
        log.submit(book.log[-1:])
        log.publish()
    with pytest.raises(NotFound):
        log.add_cosignature(2, "")
    assert log.newest() == log.site.checkpoint()


def test_without_cosigners_there_is_a_policy_that_asks_for_none(hub: Callable[[Casebook], Sequencer]) -> None:
    book = play(until="founded")
    log = hub(book)
    log.publish()
    assert (log.quorum(), log.final(0)) == (0, log.newest())
    assert note.Policy.parse(log.policy()).quorum is None


def test_what_is_sequenced_is_on_the_disk_when_submit_returns(hub: Callable[[Casebook], Sequencer], tmp_path: Path) -> None:
    book = play(until="datasets")
    log, size = hub(book), len(book.log)
    book.submitted()
    log.submit(book.log[size:])
    elsewhere = Site(open_db(tmp_path / "hub.db"), id="auditor", keys=Keys.new())
    assert [sha256(data) for data in elsewhere.entries(size)] == [Entry(data).digest for data in book.log[size:]]
