"""The coordinating body and its log get new keys: hospitals follow, policies that pin the old ones hold, a crash leaves old or new."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pumasi.hub import rotation
from pumasi.hub.app import make_app, open_hub
from pumasi.hub.log import Sequencer
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64
from pumasi.kernel.errors import Invalid, Refused
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import note
from pumasi.node.agent import Agent
from pumasi.store.backup import HUB, back_up, restore
from pumasi.store.rotation import next_of, public_of, signing_key, write_next
from tests.casebook import COORDINATOR, ORIGIN, Casebook, play
from tests.live_hub import LiveHub

Live = Callable[[Casebook], LiveHub]


def keys_of(home: Path) -> tuple[str, str]:
    return Keys.from_text((home / rotation.COORDINATOR).read_text()).public, public_of(signing_key(home / rotation.LOG))


def test_the_next_head_is_by_the_new_key_and_hospitals_cosign_it(live: Live) -> None:
    hub = live(play(until="opened"))
    node = hub.node(hub.book.hospitals[0])
    agent, before = Agent(node), keys_of(hub.home)
    agent.follow()
    rotation.rotate(hub.home)
    after = keys_of(hub.home)
    assert not {*before} & {*after} and not list((hub.home / "keys").glob("*.next"))
    opened = open_hub(hub.home)
    assert note.parse_checkpoint(opened.log.newest() or "").size == len(hub.book.log), "the old head stays the old key's"
    world, size = opened.site.world, opened.site.tree.size
    assert size == len(hub.book.log) + 2
    assert (world.members[COORDINATOR].key, world.log_at(size).key, world.log_at(size - 2).key) == (*after, before[1])
    opened.log.publish()
    head = note.parse_checkpoint(opened.log.newest() or "")
    assert head.lines[0].is_by(note.log_vkey(ORIGIN, after[1]))
    hub.hub = opened
    hub.server.app = make_app(opened)
    agent.follow()
    assert len(note.parse_checkpoint(opened.log.newest() or "").lines) == 2
    opened.log.record(ev.KeyRevoked, case=CONSORTIUM, subject="company-1")


@pytest.mark.parametrize("recorded", [0, 1])
def test_a_crash_on_the_way_leaves_the_old_key_or_the_new_one(live: Live, recorded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    hub = live(play(until="opened"))
    before, count = keys_of(hub.home), 0
    record = rotation.Site.record

    def dies(*arguments: object, **fields: object) -> object:
        nonlocal count
        count += 1
        if count > recorded:
            raise Killed
        return record(*arguments, **fields)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(rotation.Site, "record", dies)
        rotation.rotate(hub.home)
    opened = open_hub(hub.home)
    after = keys_of(hub.home)
    assert (after[0] == before[0], after[1] == before[1]) == (True, recorded == 0)
    assert opened.site.world.logs[-1].key == after[1] and not list((hub.home / "keys").glob("*.next"))
    opened.log.publish()
    assert note.parse_checkpoint(opened.log.newest() or "").lines[0].is_by(note.log_vkey(ORIGIN, after[1]))


def test_a_hub_with_another_key_than_its_logs_does_not_start(live: Live) -> None:
    hub = live(play(until="opened"))
    (hub.home / rotation.LOG).write_text(b64(bytes(range(32))) + "\n")
    with pytest.raises(Refused, match="signs with another key than keys"):
        open_hub(hub.home)
    with pytest.raises(Invalid, match="serves no log of its own"):
        rotation.rotate(hub.home)


def test_a_policy_need_not_be_edited_when_keys_rotate(live: Live) -> None:
    """The hub counts as the verifier does: a pinned key stands for what replaced it, not for what came after a revocation."""
    book = play(until="opened")
    first, second, third = list(book.cosigners)[:3]
    policy = book.policy(quorum=5)
    book.rotate(first)
    book.rotate(second)
    book.rotate_log()
    hub = live(book)

    def final(cosigners: Casebook) -> bool:
        log = Sequencer(hub.hub.site, cosigners.log_key, origin=ORIGIN, batch_seconds=0, policy=policy)
        log.publish()
        text = log.newest() or ""
        for member, key in cosigners.cosigners.items():
            log.add_cosignature(log.published, note.cosign(text, note.cosigner_name(ORIGIN, member), key=key, time=1))
        return log.final(log.published) is not None

    assert final(book)
    book.revoke(third, by=COORDINATOR)
    new, cosigner = book.new_keys(third), book.new_keys("its cosigner")
    fields = {"kind": "hospital", "key": new.public, "box": new.box_public, "cosigner": cosigner.public}
    book.say(ev.MemberApplied, third, case=CONSORTIUM, keys=new, **fields)
    book.say(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member=third)
    book.cosigners[third] = cosigner.signing
    assert not any(hub.hub.site.extend(book.log))
    assert not final(book)


def test_a_backup_in_the_midst_of_a_change_of_keys_holds_both(live: Live, tmp_path: Path) -> None:
    hub = live(play(until="opened"))
    new = Keys.new()
    write_next(hub.home / rotation.COORDINATOR, new.to_text())
    now = datetime(2026, 3, 2, tzinfo=UTC)
    back_up(hub.home, HUB, tmp_path / "hub.tar", name=COORDINATOR, now=now, passphrase="seven whole harvests")
    restore(tmp_path / "back", HUB, tmp_path / "hub.tar", now=now, passphrase="seven whole harvests")
    assert next_of(tmp_path / "back" / rotation.COORDINATOR).read_text() == new.to_text()
    assert keys_of(tmp_path / "back") == keys_of(hub.home)
