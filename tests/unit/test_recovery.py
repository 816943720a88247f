"""A restored hub adds nothing before the hospitals gave back what it lacks; a restored node cosigns nothing before it has caught up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pumasi.hub import recovery
from pumasi.hub.app import Hub
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import canonical, sha256
from pumasi.kernel.errors import Refused, Tampered
from pumasi.kernel.event import CONSORTIUM
from pumasi.kernel.seal import unseal_from
from pumasi.ledger import note
from pumasi.node.agent import Agent
from pumasi.node.app import Node
from pumasi.store.site import RESTORED, Mark, Site
from pumasi.store.tail import tail_of
from tests.casebook import HOSPITALS, ORIGIN, Casebook, play
from tests.live_hub import LiveHub

Live = Callable[[Casebook], LiveHub]
NAME, *OTHERS = HOSPITALS


def mark(site: Site) -> None:
    """As `restore` leaves it."""
    day = "2026-03-02T00:00:00Z"
    site.note(RESTORED, canonical(Mark(made_at=day, restored_at=day, size=site.tree.size, checkpoint=site.checkpoint()).plain()))


# --- the hub


def marked_hub(live: LiveHub) -> Hub:
    mark(live.hub.site)
    return live.reopen()


def holding(live: LiveHub, name: str) -> Node:
    """A hospital that holds the whole book and its newest head."""
    node = live.node(name)
    node.site.save_checkpoint(live.book.tree.size, live.book.checkpoint())
    return node


def test_a_restored_hub_answers_nothing_but_how_to_complete_its_log(live: Live) -> None:
    hub = live(play(until="authorised"))
    marked_hub(hub)
    http = hub.plain()
    said = http.post("/events", content=b"")
    assert (said.status_code, "restored from a backup" in said.json()["reasons"][0]) == (503, True)
    assert http.get("/checkpoint").status_code == 503
    news = http.get("/log", params={"start": 0, "wait": 20}).json()
    assert news["wanted"] == len(news["entries"]) == len(hub.book.log)
    with pytest.raises(Refused, match="signs nothing"):
        hub.hub.log.record(ev.MemberAdmitted, case=CONSORTIUM, member="company-9")


def test_hospitals_give_the_log_back_and_the_hub_goes_on_once_all_were_heard(live: Live) -> None:
    book = play(until="authorised")
    hub = live(book)
    restored = marked_hub(hub)
    book.play(until="destroyed", after="authorised")
    for name in HOSPITALS:
        restored.recovery.look()
        assert restored.recovery.pending
        Agent(holding(hub, name)).follow()
    assert restored.site.entries(0) == book.log
    restored.recovery.look()
    assert not restored.recovery.pending and restored.site.mark() is None
    restored.log.stop()
    assert [entry.event.type for entry in restored.site.own(book.case)] == ["KeyShareDestroyed"] * 3  # it knows what it had signed


def test_a_quorum_is_enough_after_a_while(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    book = play(until="authorised")
    hub = live(book)
    restored = marked_hub(hub)
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    for name in [NAME, *OTHERS[:3]]:
        restored.recovery.look()
        assert restored.recovery.pending
        Agent(holding(hub, name)).follow()
    restored.recovery.look()
    assert not restored.recovery.pending
    restored.log.stop()


def test_only_hospitals_that_cosign_give_entries_back_and_only_to_a_restored_hub(live: Live) -> None:
    book = play(until="authorised")
    hub = live(book)
    found = tail_of(hub.hub.site, 1)
    assert found is not None
    with pytest.raises(Refused, match="only hospitals that cosign"):
        hub.channel(NAME).put("/recovery", found.model_dump_json().encode())
    marked_hub(hub)
    with pytest.raises(Refused, match="only hospitals that cosign"):
        hub.channel("company-1").put("/recovery", found.model_dump_json().encode())


def test_a_half_that_was_lost_is_not_replaced_by_one_that_opens_nothing(live: Live) -> None:
    """A restored hub holds no halves. For a workspace that is not open yet it makes a new one; for an open one it says so."""
    hub = live(play(until="issued"))
    book, keys = hub.book, hub.book.keys_of(NAME)
    sealed = hub.hub.shares.sealed(book.case, NAME)
    assert len(unseal_from(keys.box, sealed, context=f"{book.case}|{NAME}".encode())) == 32
    size = len(book.log)
    book.opened()
    hub.hub.log.submit(book.log[size:])
    assert hub.hub.shares.sealed(book.case, NAME)
    for path in (hub.home / "shares").iterdir():
        path.unlink()
    with pytest.raises(Refused, match="this half was lost"):
        hub.hub.shares.sealed(book.case, NAME)


# --- a node


def restored_node(live: LiveHub) -> tuple[Node, Agent]:
    node = live.node(NAME)
    mark(node.site)
    node = live.reopen_node(node)
    agent = Agent(node)
    agent.stop.set()  # nobody waits here
    return node, agent


def cosigned(live: LiveHub) -> bool:
    text = live.hub.log.newest()
    assert text is not None
    return note.cosigner_name(ORIGIN, NAME) in {line.name for line in note.parse_checkpoint(text).lines}


def show(live: LiveHub, text: str, *names: str) -> None:
    for name in names:
        live.channel(name).put("/gossip", text.encode())


def test_a_restored_node_cosigns_once_a_majority_shows_nothing_newer(live: Live) -> None:
    hub = live(play(until="authorised"))
    node, agent = restored_node(hub)
    agent.follow()
    agent.act()
    show(hub, hub.book.checkpoint(cosigners=[]), OTHERS[0])
    agent.follow()
    assert agent.comeback.pending and not cosigned(hub) and node.site.unsent() == []
    show(hub, hub.book.checkpoint(cosigners=[]), OTHERS[1])
    agent.follow()
    assert not agent.comeback.pending and cosigned(hub) and node.site.mark() is None


def test_a_restored_node_waits_for_the_newest_head_that_anybody_knows(live: Live) -> None:
    """The hub holds back what another hospital has seen already."""
    hub = live(play(until="authorised"))
    _, agent = restored_node(hub)
    ahead = hub.book.copy().play(until="opened", after="authorised")
    show(hub, hub.book.checkpoint(cosigners=[]), OTHERS[0])
    show(hub, ahead.checkpoint(cosigners=[]), OTHERS[1])
    agent.follow()
    assert agent.comeback.pending and not cosigned(hub)
    hub.hub.log.submit(ahead.log[len(hub.book.log) :])
    hub.hub.log.publish()
    agent.follow()
    agent.follow()
    assert not agent.comeback.pending and cosigned(hub)


def test_a_restored_node_cosigns_no_second_story(live: Live) -> None:
    """What it had cosigned after its backup is another history than the one that the hub tells it now."""
    hub = live(play(until="authorised"))
    node, agent = restored_node(hub)
    told = hub.book.copy()
    told.say(ev.DatasetDescribed, OTHERS[0], case=CONSORTIUM, dataset=sha256(b"once"))
    now = hub.book.copy()
    now.say(ev.DatasetDescribed, OTHERS[0], case=CONSORTIUM, dataset=sha256(b"again"))
    hub.hub.log.submit(now.log[len(hub.book.log) :])
    hub.hub.log.publish()
    show(hub, told.checkpoint(cosigners=[]), *OTHERS[:2])
    agent.follow()
    with pytest.raises(Tampered, match="signs nothing"):
        agent.follow()
    assert agent.comeback.pending and not cosigned(hub)
    assert node.site.noted(f"evidence|{told.tree.size}") == told.checkpoint(cosigners=[]).encode()


def test_a_head_that_the_log_has_not_signed_says_nothing(live: Live) -> None:
    hub = live(play(until="authorised"))
    _, agent = restored_node(hub)
    stranger = play(until="closed", seed="another log").checkpoint(cosigners=[])
    show(hub, hub.book.checkpoint(cosigners=[]), OTHERS[0])
    show(hub, stranger, OTHERS[1])
    agent.follow()
    assert not agent.comeback.pending and cosigned(hub)


def test_a_permit_whose_workspace_stayed_behind_ends_and_its_certificate_says_why(live: Live) -> None:
    hub = live(play(until="opened"))
    node, agent = restored_node(hub)
    show(hub, hub.book.checkpoint(cosigners=[]), *OTHERS[:2])
    agent.follow()
    case = node.site.world.cases[hub.book.case]
    agent.end_permits()
    agent.send_recorded()
    permit = hub.hub.site.world.cases[hub.book.case].permits[NAME]
    assert (permit.state, permit.ended) == ("destroyed", "lost")
    certificate = agent.keeper.destroy(hub.book.case, case, permit).body["body"]
    assert certificate["method"].startswith("this node was restored from a backup")
    assert certificate["objects"] == 1 and certificate["purged"][0]["removed"] == 0  # what the manifest names, and what was found here
    assert agent.keeper.destroy(hub.book.case, case, permit).body["body"]["method"] == certificate["method"]  # after a crash as well


def test_a_node_that_was_never_restored_loses_no_permit(live: Live) -> None:
    hub = live(play(until="opened"))
    node = hub.node(NAME)
    agent = Agent(node)
    case = node.site.world.cases[hub.book.case]
    assert not agent.comeback.pending and not agent.comeback.lost(hub.book.case, case.permits[NAME])
