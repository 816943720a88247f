"""A node ends what is over by itself: on its own clock, without a hub, after a crash at any step; and nothing that is gone comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pumasi.hub import cases, governance
from pumasi.kernel import event as ev
from pumasi.kernel.certificate import UNPROVABLE, CertificateV2
from pumasi.kernel.envelope import canonical, open_signed
from pumasi.kernel.errors import Refused, Tampered, Unreachable
from pumasi.kernel.event import Entry
from pumasi.ledger import certificate as certificates
from pumasi.node.agent import Agent
from pumasi.node.app import Node
from pumasi.node.courier import Courier
from pumasi.node.workspace import cipher, vault
from pumasi.store.custody import workspace_key
from pumasi.store.document import Document
from tests.casebook import COORDINATOR, RESEARCHER, Casebook
from tests.live_hub import CSV, DescribedBook, LiveHub

Live = Callable[[Casebook], LiveHub]
FIRST = "바다대학교병원"
STEWARD = f"steward@{FIRST}"
GRACE = {"deletion_grace_hours = 0": "deletion_grace_hours = 48"}
TABLE = '[tables.patients]\nfile = "patients.csv"\nperson = "patient_no"\nidentifiers = ["name"]\n'
TABLE += '[[backups]]\nwhat = "weekly tape of the node"\nuntil = "2026-12-31"\n'


@dataclass
class Hospital:
    """One hospital with an open workspace, its hub, and the book in which everybody else speaks."""

    hub: LiveHub
    node: Node
    agent: Agent
    book: Any

    @classmethod
    def opened(cls, live: Live, *, settings: dict[str, str] | None = None) -> Hospital:
        book = DescribedBook(hospitals=1).play(until="authorised")
        hub = live(book)
        node = hub.node(FIRST, tables=TABLE, settings=settings)
        (node.home / "patients.csv").write_text(CSV)
        hospital = cls(hub, node, Agent(node), book)
        hospital.follow()
        hospital.turn()
        hospital.turn()
        assert hospital.permit.state == "open"
        return hospital

    @property
    def case(self) -> str:
        return str(self.book.case)

    @property
    def permit(self) -> Any:
        return self.hub.hub.site.case(self.case).permits[FIRST]

    @property
    def file(self) -> Any:
        return self.node.workspace(self.case) / cipher.FILE

    def follow(self) -> None:
        self.hub.hub.log.publish()
        if self.hub.hub.log.published > self.agent._told:
            self.agent.follow()
        self.book.hear(self.hub.hub.site.entries(len(self.book.log)))

    def turn(self) -> None:
        self.agent.act()
        self.follow()

    def say(self, kind: type[Any], author: str, /, **fields: Any) -> None:
        entry = self.book.say(kind, author, **fields)
        assert self.hub.hub.log.submit([entry.data])[0]["reasons"] == []
        self.follow()

    def tidy(self) -> None:
        governance.tidy(self.hub.hub.log, self.hub.hub.shares, self.hub.hub.settings)
        self.follow()

    def revoked(self) -> None:
        self.say(ev.PermitEnded, STEWARD, hospital=FIRST, reason="revoked")

    def killed(self) -> None:
        """kill -9, and the node again."""
        self.node = self.hub.reopen_node(self.node)
        self.agent = Agent(self.node)

    def offline(self) -> None:
        self.online = self.node.courier
        self.node.courier = Courier("https://127.0.0.1:1", self.node.home / "hub.crt", hospital=FIRST, keys=self.node.site.keys)
        self.node.courier._channel._patience = 0

    def acts_offline(self) -> None:
        with pytest.raises(Unreachable):
            self.agent.act()

    def back(self) -> None:
        self.node.courier = self.online

    def said(self) -> list[str]:
        """What this node has signed about the end, in order, whether or not the log has it."""
        ends = ("PermitEnded", "DeletionPending", "WorkspaceDestroyed")
        return [entry.event.type for entry in self.node.site.own(self.case) if entry.event.type in ends]

    def key_parts(self) -> tuple[bytes, bytes]:
        """Both halves of the workspace key, as a thief would need them."""
        own = self.node.custody.custodian(self.case).evaluate(b"pumasi/workspace-share/v1")
        self.agent.keeper._key(self.case, self.permit.event.permit)
        return own, self.agent.keeper._shares[self.case]


# --- by itself


def test_an_offline_node_destroys_by_itself_when_the_permit_is_over(live: Live) -> None:
    hospital = Hospital.opened(live)
    hospital.offline()
    hospital.hub.clock.time += timedelta(days=179)
    hospital.acts_offline() if hospital.node.site.unsent() else hospital.agent.act()
    assert hospital.file.exists() and hospital.said() == []
    hospital.hub.clock.time += timedelta(days=2)
    hospital.acts_offline()
    assert not hospital.file.exists() and not hospital.node.custody.holds(hospital.case)
    assert hospital.said() == ["PermitEnded", "DeletionPending", "WorkspaceDestroyed"]
    hospital.acts_offline()
    hospital.killed()
    hospital.offline()
    hospital.acts_offline()
    assert len(hospital.said()) == 3  # once, however often it looks
    hospital.back()
    hospital.turn()
    assert (hospital.permit.state, hospital.permit.ended) == ("destroyed", "expired")


def test_what_the_log_learnt_meanwhile_is_not_fought_but_joined(live: Live) -> None:
    """Offline the node ended an expired permit; meanwhile the researcher was done. The log refuses the one, and gets the rest anew."""
    hospital = Hospital.opened(live)
    hospital.offline()
    hospital.hub.clock.time += timedelta(days=200)
    hospital.acts_offline()
    hospital.back()
    entry = hospital.book.say(ev.StudyDone, RESEARCHER)
    assert hospital.hub.hub.log.submit([entry.data])[0]["reasons"] == []
    for _ in range(3):
        hospital.turn()
    assert (hospital.permit.state, hospital.permit.ended) == ("destroyed", "done")
    assert hospital.node.site.unsent() == []


def test_pending_makes_the_workspace_unusable_at_once_and_destroys_it_later(live: Live) -> None:
    hospital = Hospital.opened(live, settings=GRACE)
    keeper, permit = hospital.agent.keeper, hospital.permit.event.permit
    hospital.key_parts()
    hospital.revoked()
    hospital.turn()
    assert hospital.permit.state == "deletion pending" and hospital.permit.until == "2026-03-04T01:00:00Z"
    assert keeper._shares == {} and hospital.file.exists()
    with pytest.raises(Refused, match="deletion of its workspace is pending"):
        keeper._key(hospital.case, permit)
    hospital.killed()  # nothing in memory says so any more
    with pytest.raises(Refused, match="no permit in force"):
        hospital.agent.keeper._key(hospital.case, permit)
    hospital.hub.clock.time += timedelta(hours=47)
    hospital.turn()
    assert hospital.permit.state == "deletion pending" and hospital.file.exists()
    hospital.tidy()
    assert not hospital.permit.share_destroyed
    hospital.hub.clock.time += timedelta(hours=1)
    hospital.turn()
    assert hospital.permit.state == "destroyed" and not hospital.file.exists()
    hospital.tidy()
    assert hospital.permit.share_destroyed


# --- back, if both sides want it


def test_both_sides_reverse_a_pending_deletion(live: Live) -> None:
    hospital = Hospital.opened(live, settings=GRACE)
    hospital.revoked()
    hospital.turn()
    hospital.say(ev.ReversalAsked, STEWARD)
    hospital.turn()
    with pytest.raises(Refused):
        hospital.agent.keeper._key(hospital.case, hospital.permit.event.permit)
    hospital.hub.channel(COORDINATOR).post(f"/cases/{hospital.case}/reversals", FIRST.encode())
    hospital.follow()
    hospital.hub.clock.time += timedelta(days=3)
    hospital.turn()
    assert hospital.permit.state == "open" and len(hospital.said()) == 1
    own, theirs = hospital.key_parts()
    key = workspace_key(own, theirs, hospital.permit.event.permit)
    with cipher.reading(hospital.file, key) as connection:
        assert connection.execute("SELECT count(*) FROM w.t0").fetchone() == (200,)
    hospital.revoked()  # and once more, for good
    hospital.turn()
    hospital.hub.clock.time += timedelta(days=3)
    hospital.turn()
    assert hospital.permit.state == "destroyed"


def test_a_reversal_that_only_the_steward_wants_changes_nothing(live: Live) -> None:
    hospital = Hospital.opened(live, settings=GRACE)
    hospital.revoked()
    hospital.turn()
    hospital.say(ev.ReversalAsked, STEWARD)
    hospital.hub.clock.time += timedelta(days=2)
    hospital.turn()
    assert hospital.permit.state == "destroyed" and not hospital.file.exists()
    with pytest.raises(Refused, match="not possible while the permit"):
        hospital.hub.channel(COORDINATOR).post(f"/cases/{hospital.case}/reversals", FIRST.encode())


def test_a_reversal_that_comes_after_the_destruction_opens_nothing(live: Live) -> None:
    """The node destroyed while it was offline; the log, not knowing, took the reversal within its time."""
    hospital = Hospital.opened(live, settings=GRACE)
    hospital.revoked()
    hospital.turn()
    hospital.say(ev.ReversalAsked, STEWARD)
    hospital.offline()
    hospital.hub.clock.time += timedelta(hours=49)
    hospital.acts_offline()
    assert not hospital.file.exists()
    hospital.hub.clock.time -= timedelta(hours=2)  # as the coordinating body's clock has it
    hospital.hub.channel(COORDINATOR).post(f"/cases/{hospital.case}/reversals", FIRST.encode())
    hospital.hub.clock.time += timedelta(hours=2)
    assert hospital.permit.state == "open"
    hospital.back()
    for _ in range(6):
        hospital.turn()
        hospital.hub.clock.time += timedelta(hours=48)
    assert (hospital.permit.state, hospital.permit.ended) == ("destroyed", "source")
    assert not hospital.node.custody.holds(hospital.case)


# --- crashes


@pytest.mark.parametrize("step", ["ended", "pending", "noted", "key", "files", "recorded"])
def test_a_crash_after_any_step_is_made_good_by_the_next_start(live: Live, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """kill -9 here."""

    def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    hospital = Hospital.opened(live)
    hospital.offline()
    hospital.hub.clock.time += timedelta(days=200)
    deletion, keeper = hospital.agent.deletion, hospital.agent.keeper
    with monkeypatch.context() as patched:
        match step:
            case "ended":
                patched.setattr(deletion, "_pend", dies)
            case "pending":
                patched.setattr(deletion, "_is_due", dies)
            case "noted":
                patched.setattr("pumasi.store.custody.FileCustodian.destroy", dies)
            case "key":
                patched.setattr(vault, "purge", dies)
            case "files":
                patched.setattr(keeper, "make_unusable", _second_time(keeper.make_unusable, dies))
            case _:
                patched.setattr(hospital.agent, "send_recorded", dies)
        with pytest.raises(Killed):
            hospital.agent.act()
    hospital.killed()
    hospital.offline()
    hospital.acts_offline()
    assert not hospital.file.exists() and not hospital.node.custody.holds(hospital.case)
    assert hospital.said() == ["PermitEnded", "DeletionPending", "WorkspaceDestroyed"]
    hospital.back()
    hospital.turn()
    assert hospital.permit.state == "destroyed"
    found = certificate_of(hospital)
    assert (found.objects, found.bytes > 4096, found.failures) == (1, True, 8)


def _second_time(first: Callable[[str], None], then: Callable[..., Any]) -> Callable[[str], None]:
    calls = []

    def act(case: str) -> None:
        calls.append(case)
        (first if len(calls) < 3 else then)(case)  # pending, due, and then within the destruction

    return act


# --- nothing comes back


def certificate_of(hospital: Hospital) -> CertificateV2:
    (destroyed,) = [entry.event for entry in hospital.node.site.own(hospital.case) if entry.event.type == "WorkspaceDestroyed"]
    signed = open_signed("certificate", canonical(hospital.node.site.document(destroyed.certificate).body))
    assert signed.key == hospital.node.site.keys.public
    return CertificateV2.read(signed.body)


@pytest.mark.parametrize("what", ["keys", "workspaces", "both"])
def test_a_snapshot_of_the_hospitals_side_alone_revives_nothing(live: Live, what: str) -> None:
    hospital = Hospital.opened(live)
    home = hospital.node.home
    own, theirs = hospital.key_parts()
    permit = hospital.permit.event.permit
    for name in ("keys", "workspaces"):
        shutil.copytree(home / name, home / "backup" / name)
    hospital.revoked()
    hospital.turn()
    hospital.tidy()
    assert hospital.permit.state == "destroyed" and hospital.permit.share_destroyed
    for name in ("keys", "workspaces") if what == "both" else (what,):
        shutil.copytree(home / "backup" / name, home / name, dirs_exist_ok=True)
    stolen = home / "backup" / "workspaces" / hospital.case / cipher.FILE
    with pytest.raises(Refused, match="no permit in force"):  # the other half is given to nobody
        hospital.hub.channel(FIRST).get(f"/cases/{hospital.case}/share")
    for share in (own, bytes(32), b"c" * 32):
        with pytest.raises(Tampered), cipher.reading(stolen, workspace_key(own, share, permit)):
            pass
    with cipher.reading(stolen, workspace_key(own, theirs, permit)):
        pass  # both halves would have done it: it is the missing one that keeps it closed
    hospital.killed()
    hospital.turn()
    assert not hospital.file.exists() and not hospital.node.custody.holds(hospital.case)


def test_a_snapshot_of_a_closed_case_is_destroyed_again(live: Live) -> None:
    hospital = Hospital.opened(live)
    home = hospital.node.home
    for name in ("keys", "workspaces"):
        shutil.copytree(home / name, home / "backup" / name)
    hospital.say(ev.StudyDone, RESEARCHER)
    hospital.turn()
    hospital.tidy()
    assert hospital.node.site.world.is_closed(hospital.case)
    hospital.agent.act()
    for name in ("keys", "workspaces"):
        shutil.copytree(home / "backup" / name, home / name, dirs_exist_ok=True)
    hospital.killed()
    hospital.agent.act()
    assert not hospital.file.exists() and not hospital.node.custody.holds(hospital.case)


def test_a_snapshot_of_the_hubs_side_alone_revives_nothing(live: Live) -> None:
    hospital = Hospital.opened(live)
    theirs = hospital.key_parts()[1]
    shares = hospital.hub.home / "shares"
    shutil.copytree(shares, hospital.hub.home / "backup")
    shutil.copytree(hospital.node.workspace(hospital.case), hospital.node.home / "stolen")
    hospital.revoked()
    hospital.turn()
    hospital.tidy()
    permit = hospital.permit.event.permit
    shutil.copytree(hospital.hub.home / "backup", shares, dirs_exist_ok=True)
    with pytest.raises(Refused, match="no permit in force"):
        hospital.hub.channel(FIRST).get(f"/cases/{hospital.case}/share")
    for share in (theirs, bytes(32)):  # the hospital's own half is gone from its disk
        with pytest.raises(Tampered), cipher.reading(hospital.node.home / "stolen" / cipher.FILE, workspace_key(share, theirs, permit)):
            pass
    assert not hospital.node.custody.holds(hospital.case)


# --- the certificate


def test_the_certificate_covers_what_there_was_and_says_what_it_cannot_prove(live: Live) -> None:
    hospital = Hospital.opened(live)
    size = hospital.file.stat().st_size
    scratch = hospital.node.workspace(hospital.case) / ".new-0-spill"
    scratch.mkdir()
    (scratch / "half").write_bytes(b"half")
    hospital.node.site.note(f"output|{hospital.case}|{'0' * 32}", b"held")
    hospital.revoked()
    hospital.turn()
    found = certificate_of(hospital)
    assert [(purge.what, purge.removed, purge.residual) for purge in found.purged] == [
        ("workspace", 1, 0), ("scratch", 1, 0), ("held-outputs", 1, 0),
    ]  # fmt: skip
    assert (found.objects, found.bytes, found.attempts, found.failures, found.unprovable) == (1, size, 8, 8, UNPROVABLE)
    assert [(backup.what, backup.until) for backup in found.backups] == [("weekly tape of the node", "2026-12-31")]
    (opened,) = [entry.event for entry in map(Entry, hospital.hub.hub.site.entries(0)) if entry.event.type == "WorkspaceOpened"]
    assert found.manifest == opened.manifest
    assert hospital.node.site.noted(f"output|{hospital.case}|{'0' * 32}") is None


def test_a_case_is_closed_with_certificates_of_both_sides_that_an_auditor_can_read(live: Live) -> None:
    hospital = Hospital.opened(live)
    for document in hospital.book.documents.values():
        hospital.hub.hub.site.keep(Document(document["salt"], document["body"]))
    hospital.say(ev.StudyDone, RESEARCHER)
    hospital.turn()
    hospital.tidy()
    site = hospital.hub.hub.site
    assert site.world.is_closed(hospital.case)
    hospital.hub.hub.log.publish()
    data = cases.bundle_of(hospital.hub.hub.log, hospital.case, hospital.hub.hub.log.newest() or "")
    facts = certificates.facts(data, FIRST)
    assert (facts["status"], facts["complete"]) == ("TWO-SIDED", True)
    assert facts["sides"]["hospital"]["failures"] == facts["sides"]["coordinator"]["failures"] == 8
