"""The courier carries three kinds of thing out, each through its own door, and brings back what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import b64
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import note
from pumasi.node.courier import Courier
from pumasi.node.outgoing import Release, SealedShare, SignedEvent
from pumasi.store.document import Document
from tests.casebook import ORIGIN, Casebook, play
from tests.live_hub import LiveHub, Server

Live = Callable[[Casebook], LiveHub]
EVENT, SHARE, RELEASE = SignedEvent(b"{}", None), SealedShare("ab" * 16, "q0r1", b"x"), Release("ab" * 16, b"x")


@pytest.mark.parametrize(
    ("door", "things"),
    [
        ("send_event", [SHARE, RELEASE, b"{}", {"data": b"{}"}, None]),
        ("send_share", [EVENT, RELEASE, b"x", ("job", "q0r1", b"x")]),
        ("send_release", [EVENT, SHARE, b"x"]),
    ],
)
def test_each_door_takes_its_own_type_only(https: Server, door: str, things: list[Any]) -> None:
    book = play(until="founded")
    courier = Courier("https://127.0.0.1:1", https.certificate, hospital="들꽃병원", keys=book.keys_of("들꽃병원"))

    class Look(SealedShare):
        """A share that is more than one."""

    for thing in [*things, Look("ab" * 16, "q0r1", b"x")]:
        with pytest.raises(TypeError, match="this way out is for"):
            getattr(courier, door)(thing)
    courier.close()


def test_an_event_goes_with_the_document_it_commits_to(live: Live) -> None:
    book = play(until="people")
    hub = live(book)
    node, document = hub.node("river-hospital"), Document.new({"tables": {}})
    receipt = node.site.record(ev.DatasetDescribed, case=CONSORTIUM, opened=[document], dataset=document.commitment)
    assert node.courier.send_event(SignedEvent(receipt.data, document)) == []
    assert node.courier.document(document.commitment) == document
    assert hub.hub.site.index_of(receipt.digest) == len(book.log)
    assert node.courier.send_event(SignedEvent(receipt.data, None)) == []
    with pytest.raises(NotFound):
        node.courier.document("0" * 64)


def test_a_refused_event_comes_back_with_its_reasons(live: Live) -> None:
    book = play(until="people")
    node = live(book).node("river-hospital")
    entry = book.entry(ev.MemberAdmitted, "river-hospital", case=CONSORTIUM, member="company-1")
    assert len(node.courier.send_event(SignedEvent(entry.data, None))) == 2


def test_shares_are_brought_by_sender_and_only_of_this_job(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    first, second, third = (hub.node(name).courier for name in book.hospitals)
    for name, courier in zip(book.hospitals, (first, second, third), strict=True):
        courier.send_share(SealedShare(book.job, "q0r1", name.encode()))
    assert first.messages(book.job, "q0r1", wait=5) == {name: name.encode() for name in book.hospitals}
    assert set(second.messages(book.job, "q0r1", sender=book.hospitals[2], wait=5)) >= {book.hospitals[2]}
    third.send_release(Release(book.job, b"part"))
    assert hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0) == {book.hospitals[2]: b"part"}
    with pytest.raises(Refused):
        hub.node("river-hospital").courier.send_share(SealedShare(book.job, "q0r1", b"mine"))


def test_news_are_the_entries_behind_ones_own_and_the_newest_head(live: Live) -> None:
    book = play(until="submitted")
    hub = live(book)
    courier = hub.node("river-hospital").courier
    news = courier.news(len(book.log) - 3, seen=0, wait=0)
    assert news.entries == book.log[-3:] and news.checkpoint == hub.hub.log.newest()


def test_a_cosignature_for_a_head_that_was_replaced_is_let_go(live: Live) -> None:
    book = play(until="submitted")
    hub = live(book)
    courier, text = hub.node("river-hospital").courier, hub.hub.log.newest() or ""
    line = note.cosign(text, note.cosigner_name(ORIGIN, "river-hospital"), key=book.cosigners["river-hospital"], time=1)
    courier.cosign(3, line)
    assert len(note.parse_checkpoint(hub.hub.log.newest() or "").lines) == 1
    courier.cosign(len(book.log), line)
    assert len(note.parse_checkpoint(hub.hub.log.newest() or "").lines) == 2


def test_a_document_that_the_hub_changed_is_noticed(live: Live) -> None:
    book = play(until="submitted")
    hub = live(book)
    node = hub.node(book.hospitals[0])
    other = Document.new({"title": "another"})
    with hub.hub.site.database.begin() as db:
        db.execute("UPDATE documents SET data = ? WHERE commitment = ?", (other.data, book.applied))
    with pytest.raises(Tampered):
        node.courier.document(book.applied)


def test_a_courier_speaks_for_its_own_hospital_alone(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    pretender = Courier(hub.server.url, hub.home / "hub.crt", hospital=book.hospitals[0], keys=book.keys_of(book.hospitals[1]))
    with pytest.raises(Tampered, match="not known here with this key"):
        pretender.send_share(SealedShare(book.job, "q0r1", b"forged"))
    assert b64(b"forged") not in str(hub.hub.mailbox.get(book.job, "q0r1", expected=set(), seconds=0))
    pretender.close()
