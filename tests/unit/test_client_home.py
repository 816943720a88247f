"""A person's folder keeps what was signed before it is sent, mends what a crash tore off, and sends what the hub has not heard."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumasi.channel import Channel
from pumasi.client.home import Home
from pumasi.kernel import event as ev
from pumasi.kernel.errors import Invalid, NotFound, Refused, Unreachable
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.store.document import Document
from tests.casebook import RESEARCHER, Casebook
from tests.live_hub import DescribedBook, LiveHub, Server

Live = Callable[[Casebook], LiveHub]


def enrol(home: Home, hub: LiveHub, name: str) -> str:
    """Any act will do."""
    keys = hub.book.keys_of(name)
    return home.record(ev.PersonEnrolled, case=CONSORTIUM, person=name, key=keys.public, box=keys.box_public, roles=["researcher"])


def lines(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home.folder / "outbox.jsonl").read_text().splitlines()]


def away(home: Home) -> Channel:
    """Put the hub out of reach; gives back the channel to it."""
    reachable = home.channel
    home.channel = Channel("https://127.0.0.1:1", home.folder / "hub.crt", author=home.id, keys=home.keys, patience=0)
    return reachable


@pytest.fixture
def hub(live: Live) -> LiveHub:
    book = DescribedBook()
    book.play(until="people")
    return live(book)


@pytest.fixture
def home(hub: LiveHub) -> Home:
    return hub.person("company-3")


def test_a_new_folder_is_private_and_its_card_is_not_secret(https: Server, tmp_path: Path) -> None:
    home = Home.new(tmp_path / "나", id="dal@회사 하나", hub="https://127.0.0.1:1", certificate=https.certificate)
    assert stat.S_IMODE((tmp_path / "나").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "나" / "secret.key").stat().st_mode) == 0o600
    assert home.card() == {"person": "dal@회사 하나", "key": home.keys.public, "box": home.keys.box_public}
    assert Home(tmp_path / "나").card() == home.card()
    with pytest.raises(Invalid, match="belongs to somebody already"):
        Home.new(tmp_path / "나", id="x@y", hub="https://127.0.0.1:1", certificate=https.certificate)
    with pytest.raises(Invalid, match="there is no hub certificate"):
        Home.new(tmp_path / "b", id="x@y", hub="https://127.0.0.1:1", certificate=tmp_path / "none")
    with pytest.raises(Invalid, match="is nobody's folder yet; make one with"):
        Home(tmp_path / "nobody")


def test_acts_are_chained_and_logged(hub: LiveHub, home: Home) -> None:
    for number in range(3):
        digest = enrol(home, hub, f"dal-{number}@company-3")
        assert hub.hub.site.index_of(digest) is not None
    assert [line["do"] for line in lines(home)] == ["logged", "send", "logged", "send", "logged", "send", "logged"]
    again = Home(home.folder)
    enrol(again, hub, "dal-9@company-3")
    assert "dal-9@company-3" in hub.hub.site.world.people
    again.close()


def test_what_is_refused_is_told_kept_and_never_sent_again(hub: LiveHub, home: Home) -> None:
    with pytest.raises(Refused, match="a member enrols its own people only"):
        enrol(home, hub, "dal@company-2")
    size = hub.hub.site.tree.size
    home.send_kept()
    assert hub.hub.site.tree.size == size and lines(home)[-1]["do"] == "refused"
    enrol(home, hub, "dal@company-3")
    assert hub.hub.site.tree.size == size + 1


def test_what_was_recorded_while_the_hub_was_away_is_sent_by_the_next_command(hub: LiveHub, home: Home) -> None:
    reachable = away(home)
    with pytest.raises(Unreachable):
        enrol(home, hub, "dal@company-3")
    assert lines(home)[-1]["do"] == "send" and "dal@company-3" not in hub.hub.site.world.people
    home.channel.close()
    home.channel = reachable
    enrol(home, hub, "bom@company-3")
    assert {"dal@company-3", "bom@company-3"} <= hub.hub.site.world.people.keys()


def test_an_act_whose_answer_was_lost_is_logged_once(hub: LiveHub, home: Home) -> None:
    enrol(home, hub, "dal@company-3")
    path = home.folder / "outbox.jsonl"
    *before, _ = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in before))  # killed after sending, before noting that it was logged
    size = hub.hub.site.tree.size
    enrol(home, hub, "bom@company-3")
    assert hub.hub.site.tree.size == size + 1 and [line["do"] for line in lines(home)][-3:] == ["logged", "send", "logged"]


@pytest.mark.parametrize("torn", ['{"do": "send", "eve', "{", "\x00\x00\x00\x00", '{"do": "send", "event": "AAAA", "documents": []}'])
def test_a_line_that_a_crash_tore_off_was_never_said(hub: LiveHub, home: Home, torn: str) -> None:
    enrol(home, hub, "dal@company-3")
    whole = (home.folder / "outbox.jsonl").read_bytes()
    (home.folder / "outbox.jsonl").write_bytes(whole + torn.encode())
    again = Home(home.folder)
    again.send_kept()
    enrol(again, hub, "bom@company-3")
    assert (home.folder / "outbox.jsonl").read_bytes().startswith(whole + b'{"do": "send"')
    assert "bom@company-3" in hub.hub.site.world.people and len(lines(home)) == 5
    again.close()


def test_the_document_of_an_act_goes_before_it(hub: LiveHub) -> None:
    hub.book.datasets()
    hub.hub.log.submit(hub.book.log[hub.hub.site.tree.size :])
    home, case = hub.person(RESEARCHER), "ab" * 16
    document = Document.new(hub.book.body(hub.book.application(case=case)))
    fields = {"application": document.commitment, "hospitals": hub.book.hospitals, "smallest_cell": 10}
    reachable = away(home)
    with pytest.raises(Unreachable):
        home.record(ev.ApplicationSubmitted, case=case, opened=[document], **fields)
    home.channel.close()
    home.channel = reachable
    home.send_kept()
    assert hub.hub.site.document(document.commitment) == document
    (entry,) = [Entry(data) for data in hub.hub.site.entries(0) if Entry(data).event.case == case]
    assert entry.event.author == RESEARCHER and entry.key == home.keys.public


def test_a_secret_is_kept_for_its_owner_alone(hub: LiveHub, home: Home) -> None:
    home.secret("ab" * 32, {"salt": "x", "decision": "approve"})
    assert home.kept_secret("ab" * 32) == {"salt": "x", "decision": "approve"}
    assert stat.S_IMODE((home.folder / "votes" / f"{'ab' * 32}.json").stat().st_mode) == 0o600
    with pytest.raises(NotFound, match="can only be opened from the folder it was cast from"):
        home.kept_secret("cd" * 32)
