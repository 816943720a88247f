"""New keys for a party: announced with the present ones, never a moment with none or two, and what was sealed before still opens."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.client.home import Home
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64, unb64
from pumasi.kernel.errors import Invalid, Refused, Tampered, Unreachable
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.seal import seal_to
from pumasi.ledger import note, verify
from pumasi.node import permits, rotation
from pumasi.node.agent import Agent
from pumasi.node.app import Node
from pumasi.store.rotation import next_of, signing_key, write_next
from pumasi.store.snapshot import Snapshots
from tests.casebook import COORDINATOR, ORIGIN, RESEARCHER, Casebook, play
from tests.live_hub import LiveHub

Live = Callable[[Casebook], LiveHub]
FIRST = play().hospitals[0]


def node_of(hub: LiveHub) -> Node:
    """A hospital's node with its key files."""
    node = hub.node(FIRST)
    (node.home / "keys" / "node.key").write_text(node.site.keys.to_text())
    (node.home / "keys" / "cosigner.key").write_text(b64(node.cosigner.private_bytes_raw()) + "\n")
    return node


def again(hub: LiveHub, node: Node) -> Node:
    """The node after a restart, with the keys that are on its disk."""
    rotation.settle(node.home)
    keys = Keys.from_text((node.home / "keys" / "node.key").read_text())
    hub.book.keys[FIRST], hub.book.cosigners[FIRST] = keys, signing_key(node.home / "keys" / "cosigner.key")
    node.site.keys = keys
    return hub.reopen_node(node)


def test_a_node_announces_its_new_keys_and_cosigns_with_them_from_there_on(live: Live) -> None:
    hub = live(play(until="opened"))
    node = node_of(hub)
    old = b64(node.cosigner.public_key().public_bytes_raw())
    snapshots = Snapshots(node.home / "snapshot", node.site.keys)
    assert snapshots.save(snapshots.capture(node.site.world, node.site.tree))
    snapshots.close()
    rotation.rotate(node.home, node.site)
    kept = Snapshots(node.home / "snapshot", Keys.from_text((node.home / "keys" / "node.key").read_text())).load()
    assert kept is not None and kept[1].root() == node.site.tree.root()  # nothing is replayed for new keys
    assert not next_of(node.home / "keys" / "node.key").exists()
    assert stat.S_IMODE((node.home / "keys" / "node.key").stat().st_mode) == 0o600
    node = again(hub, node)
    agent = Agent(node)
    hub.hub.log.publish()
    agent.follow()  # a head that does not hold the change yet: neither key speaks for it
    assert len(note.parse_checkpoint(hub.hub.log.newest() or "").lines) == 1
    agent.send_recorded()
    hub.hub.log.publish()
    agent.follow()
    world = hub.hub.site.world
    assert world.members[FIRST].key == node.site.keys.public
    head = note.parse_checkpoint(hub.hub.log.newest() or "")
    new = b64(node.cosigner.public_key().public_bytes_raw())
    assert [line.is_by(note.cosigner_vkey(ORIGIN, FIRST, new)) for line in head.lines] == [False, True]
    stale = note.cosign(hub.hub.log.newest() or "", note.cosigner_name(ORIGIN, FIRST), key=_other(play(until="opened")), time=1)
    with pytest.raises(Refused, match="not the cosignature of a member"):
        hub.hub.log.add_cosignature(head.size, stale)
    assert (FIRST, old) in world.cosigners_at(head.size - 1)
    with pytest.raises(Tampered):
        hub.channel(FIRST, keys=play().keys_of(FIRST)).get("/members")
    hub.channel(FIRST, keys=node.site.keys).get("/members")
    permit = world.cases[hub.book.case].permits[FIRST]
    assert agent.keeper.permit(hub.book.case, permit).hospital == FIRST  # signed with the old key, and still its permit


def _other(book: Casebook) -> Ed25519PrivateKey:
    return book.cosigners[FIRST]


def test_a_node_with_something_unsent_does_not_rotate(live: Live) -> None:
    hub = live(play(until="opened"))
    node = node_of(hub)
    node.site.record(ev.DatasetDescribed, case=CONSORTIUM, dataset="00" * 32)
    with pytest.raises(Invalid, match="let it send, then rotate"):
        rotation.rotate(node.home, node.site)


@pytest.mark.parametrize("step", ["before recording", "after recording", "between the files"])
def test_a_crash_leaves_the_old_keys_or_the_new_ones_and_never_a_mixture(live: Live, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """kill -9 here."""

    def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    hub = live(play(until="opened"))
    node = node_of(hub)
    before = (node.home / "keys" / "node.key").read_text(), (node.home / "keys" / "cosigner.key").read_text()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        if step == "before recording":
            patched.setattr(node.site, "record", dies)
        elif step == "after recording":
            patched.setattr(rotation, "settle", dies)
        else:
            finish = rotation.finish
            patched.setattr(rotation, "finish", lambda path, **fields: finish(path, **fields) if path.name == "cosigner.key" else dies())
        rotation.rotate(node.home, node.site)
    rotation.settle(node.home)
    rotation.settle(node.home)
    after = (node.home / "keys" / "node.key").read_text(), (node.home / "keys" / "cosigner.key").read_text()
    announced = [entry.event for entry in node.site.own(CONSORTIUM) if entry.event.type == "KeyRotated"]
    if step == "before recording":
        assert (after, announced) == (before, [])
    else:
        assert Keys.from_text(after[0]).public == announced[0].key and after[1] != before[1]
    assert not list((node.home / "keys").glob("*.next"))


# --- people


def test_a_person_gets_a_new_key_and_opens_what_was_sealed_to_the_old_one(live: Live) -> None:
    hub = live(play(until="opened"))
    home = hub.person(RESEARCHER)
    sealed = seal_to(unb64(home.keys.box_public, 32), b"a result", context=b"c")
    old = home.keys.public
    for _ in range(2):
        home.rotate()
    assert hub.hub.site.world.people[RESEARCHER].key == home.keys.public
    assert hub.hub.site.world.people[RESEARCHER].former[0] == old
    assert home.unseal(sealed, context=b"c") == b"a result"
    assert home.unseal(seal_to(unb64(home.keys.box_public, 32), b"new", context=b"c"), context=b"c") == b"new"
    with pytest.raises(Tampered):
        home.unseal(sealed, context=b"d")
    home.channel.get("/members")
    home.record(ev.StudyDone, case=hub.book.case)
    reopened = Home(home.folder)
    assert reopened.keys.public == home.keys.public
    reopened.close()


def test_a_rotation_while_the_hub_is_down_counts_from_the_moment_it_is_sent(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = live(play(until="opened"))
    home = hub.person(RESEARCHER)

    def away(*_: Any) -> Any:
        raise Unreachable("the hub does not answer")

    with monkeypatch.context() as patched, pytest.raises(Unreachable):
        patched.setattr(home.channel, "post", away)
        home.rotate()
    again = Home(home.folder)
    assert again.keys.public != home.keys.public and not next_of(home.folder / "secret.key").exists()
    again.send_kept()
    assert hub.hub.site.world.people[RESEARCHER].key == again.keys.public
    again.close()


def test_a_rotation_that_the_log_refused_or_that_was_never_signed_leaves_the_old_key(live: Live) -> None:
    hub = live(play(until="opened"))
    home = hub.person(RESEARCHER)
    write_next(home.folder / "secret.key", Keys.new().to_text())
    same = Home(home.folder)
    assert same.keys.public == home.keys.public and not next_of(home.folder / "secret.key").exists()
    same.close()
    entry = hub.book.entry(ev.KeyRevoked, "company-1", case=CONSORTIUM, subject=RESEARCHER)
    assert hub.hub.log.submit([entry.data])[0]["reasons"] == []
    with pytest.raises(Refused, match="is revoked"):
        home.rotate()
    same = Home(home.folder)
    assert same.keys.public == home.keys.public
    same.close()


def test_a_permit_names_the_person_and_not_only_the_key(live: Live) -> None:
    book = play(until="opened")
    permit = permits.opened(hub_document(book), key=book.keys_of(FIRST).public)
    old = book.keys_of(RESEARCHER).public
    assert permits.signer(book.world, permit, old) == old
    book.rotate(RESEARCHER)
    new = book.keys_of(RESEARCHER).public
    assert permits.signer(book.world, permit, new) == old
    assert permits.signer(book.world, permit, "another") == "another"
    book.revoke(RESEARCHER, by="company-1")
    book.keys[RESEARCHER] = book.new_keys("after the loss")
    book.person(RESEARCHER, "researcher")
    newest = book.keys_of(RESEARCHER).public
    assert permits.signer(book.world, permit, newest) == newest  # a lost key ends what was permitted to it: apply again


def hub_document(book: Casebook) -> Any:
    from pumasi.store.document import Document

    found = book.documents[book.permit_digest(FIRST)]
    return Document(found["salt"], found["body"])


# --- the coordinating body


def test_the_coordinating_body_alone_revokes_a_member(live: Live) -> None:
    hub = live(play(until="opened"))
    for who in (FIRST, f"steward@{FIRST}", RESEARCHER):
        with pytest.raises(Refused, match="the coordinating body revokes"):
            hub.channel(who).post("/revocations", b"company-2")
    hub.channel(COORDINATOR).post("/revocations", b"company-2")
    assert hub.hub.site.world.members["company-2"].key == ""
    with pytest.raises(Tampered):
        hub.channel("company-2").get("/members")
    hub.channel(COORDINATOR).post("/revocations", b"river-hospital")
    assert "river-hospital" not in dict(hub.hub.site.world.cosigners_at(hub.hub.site.world.entries))


def test_a_closed_case_is_shown_under_the_keys_that_cosigned_it_whatever_changes_later(live: Live) -> None:
    book = play()
    hub = live(book)
    final = book.checkpoint()
    hub.hub.site.save_checkpoint(len(book.log), final)
    said = len(book.log)
    for hospital in book.cosigners:
        book.rotate(hospital)
    assert not any(hub.hub.site.extend(book.log[said:]))
    hub.hub.site.save_checkpoint(len(book.log), book.checkpoint())
    shown = hub.channel(RESEARCHER).get(f"/cases/{book.case}/bundle").content
    verified = verify.verify(shown)
    assert (verified.head.size, len(verified.cosigners)) == (said, 5)


def test_a_bundle_of_the_hub_counts_the_new_cosigner_key(live: Live) -> None:
    book = play(until="destroyed")
    book.rotate(FIRST)
    book.closed()
    data = book.bundle()
    assert len(verify.verify(data).cosigners) == 5
    assert any(Entry(entry).event.type == "KeyRotated" for entry in book.log)
