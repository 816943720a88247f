"""The coordinating body's half at the end of a permit: kept while a deletion can be reversed, given to nobody, then gone for good."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pumasi.hub import deletion, governance
from pumasi.hub.keyshares import KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.settings import HubSettings
from pumasi.kernel import event as ev
from pumasi.kernel.certificate import Backup, ShareCertificate
from pumasi.kernel.envelope import canonical, open_signed, sha256
from pumasi.kernel.errors import NotFound, Refused
from pumasi.store.custody import FileCustodian
from pumasi.store.keyring import FileKeyring
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, ORIGIN, RESEARCHER, Casebook, play, play_certified
from tests.live_hub import Clock, LiveHub, party

SETTINGS = HubSettings(
    name=COORDINATOR,
    origin=ORIGIN,
    host="127.0.0.1",
    port=8443,
    batch_seconds=0,
    backups=[Backup(what="nightly snapshot", until="2026-12-31")],
)
FIRST, SECOND, THIRD = play().hospitals


@dataclass
class Centre:
    """The coordinating body of a book, with a share for every hospital."""

    book: Casebook
    folder: Path
    clock: Clock
    site: Site
    shares: KeyShares
    keys: FileKeyring
    log: Sequencer

    @classmethod
    def of(cls, folder: Path, *, until: str = "released") -> Centre:
        book, clock = play(until="issued"), Clock()
        site = party(folder, book, COORDINATOR, clock=clock, file="hub.db")
        keys = FileKeyring(folder / "shares")
        shares = KeyShares(keys, site)
        for hospital in book.hospitals:
            shares.sealed(book.case, hospital)
        said = len(book.log)
        book.play(until=until, after="issued")
        assert not any(site.extend(book.log[said:]))
        return cls(book, folder, clock, site, shares, keys, Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0))

    def say(self, kind: type[Any], author: str, /, **fields: Any) -> None:
        entry = self.book.say(kind, author, **fields)
        assert self.site.extend([entry.data]) == [[]]

    def tidy(self) -> None:
        governance.tidy(self.log, self.shares, SETTINGS)

    def has_share(self, hospital: str) -> bool:
        return self.keys.holds(f"{self.book.case}-{sha256(hospital.encode())[:32]}")

    def permit(self, hospital: str = FIRST) -> Any:
        return self.site.world.cases[self.book.case].permits[hospital]


def test_while_a_deletion_can_be_reversed_the_share_is_kept_and_given_to_nobody(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked")
    for kind, author, fields in (
        (None, "", {}), (ev.DeletionPending, FIRST, {"until": centre.book.until()}), (ev.ReversalAsked, f"steward@{FIRST}", {}),
    ):  # fmt: skip
        if kind is not None:
            centre.say(kind, author, **fields)
        centre.tidy()
        assert centre.has_share(FIRST) and not centre.permit().share_destroyed
        with pytest.raises(Refused, match="no permit in force"):
            centre.shares.sealed(centre.book.case, FIRST)
    deletion.agree(centre.log, case=centre.book.case, hospital=FIRST)
    assert centre.permit().state == "open"
    assert centre.shares.sealed(centre.book.case, FIRST)


def test_once_the_hospital_has_destroyed_the_share_goes_with_a_signed_certificate(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.StudyDone, RESEARCHER)
    centre.say(ev.DeletionPending, FIRST, until=centre.book.until())
    centre.say(ev.WorkspaceDestroyed, FIRST, certificate=centre.book.certificate_v2(FIRST))
    for _ in range(2):
        centre.tidy()
    assert not centre.has_share(FIRST) and centre.has_share(SECOND)
    (said,) = [entry.event for entry in centre.site.own(centre.book.case) if entry.event.type == "ShareCertified"]
    signed = open_signed("share-certificate", canonical(centre.site.document(said.certificate).body))
    certificate = ShareCertificate.read(signed.body)
    assert signed.key == centre.book.keys_of(COORDINATOR).public
    assert (certificate.hospital, certificate.permit) == (FIRST, centre.book.permit_digest(FIRST))
    assert (certificate.attempts, certificate.failures, certificate.method) == (8, 8, FileCustodian.method)
    assert certificate.backups == SETTINGS.backups


def test_what_cannot_be_reversed_is_destroyed_at_once(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    centre.tidy()
    assert centre.permit().share_destroyed and not centre.has_share(FIRST)
    assert not centre.permit(SECOND).share_destroyed and centre.has_share(SECOND)
    centre.say(ev.ApplicationWithdrawn, RESEARCHER)
    centre.tidy()
    assert not centre.has_share(SECOND) and not centre.has_share(THIRD)


@pytest.mark.parametrize("pending", [True, False], ids=["silent after it said pending", "silent from the end on"])
def test_a_hospital_that_stays_silent_does_not_keep_the_share_alive(pending: bool, tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked")
    if pending:
        centre.say(ev.DeletionPending, FIRST, until=centre.book.until(2))
    waits = timedelta(days=7 + (2 if pending else 0))
    centre.clock.time += waits - timedelta(hours=2)
    centre.tidy()
    assert centre.has_share(FIRST)
    centre.clock.time += timedelta(hours=4)
    centre.tidy()
    assert not centre.has_share(FIRST) and centre.permit().share_destroyed
    assert centre.permit().state == ("deletion pending" if pending else "ended")


def test_a_crash_between_destroying_and_recording_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    centre.shares.destroy(centre.book.case, FIRST)  # and here the process ends
    assert not centre.permit().share_destroyed
    centre.tidy()
    assert centre.permit().share_destroyed


class Keeps(FileCustodian):
    """A custodian that says it destroyed its key and did not."""

    def destroy(self) -> None:
        return


class Kept(FileKeyring):
    def custodian(self, label: str) -> FileCustodian:
        return Keeps(super()._path(label))


def test_a_share_that_can_still_be_used_is_not_certified(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    centre.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    centre.shares = KeyShares(Kept(tmp_path / "shares"), centre.site)
    with pytest.raises(Refused, match="can still be used after its destruction"):
        centre.tidy()
    assert not centre.permit().share_destroyed


def test_shares_that_a_backup_brings_back_are_given_to_nobody_and_destroyed_again(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    shutil.copytree(tmp_path / "shares", tmp_path / "backup")
    centre.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    centre.tidy()
    shutil.copytree(tmp_path / "backup", tmp_path / "shares", dirs_exist_ok=True)
    assert centre.has_share(FIRST)
    with pytest.raises(Refused, match="no permit in force"):
        centre.shares.sealed(centre.book.case, FIRST)
    assert centre.shares.sweep() == 1 and centre.shares.sweep() == 0
    assert not centre.has_share(FIRST) and centre.has_share(SECOND)


def test_shares_of_a_closed_case_that_a_backup_brings_back_are_destroyed_again(tmp_path: Path) -> None:
    centre = Centre.of(tmp_path)
    shutil.copytree(tmp_path / "shares", tmp_path / "backup")
    centre.say(ev.StudyDone, RESEARCHER)
    for hospital in centre.book.hospitals:
        centre.say(ev.DeletionPending, hospital, until=centre.book.until())
        centre.say(ev.WorkspaceDestroyed, hospital, certificate=centre.book.certificate_v2(hospital))
    centre.tidy()
    assert centre.site.world.is_closed(centre.book.case) and not list((tmp_path / "shares").iterdir())
    shutil.copytree(tmp_path / "backup", tmp_path / "shares", dirs_exist_ok=True)
    assert centre.shares.sweep() == 3 and not list((tmp_path / "shares").iterdir())


def test_only_the_coordinating_body_agrees_to_a_reversal(live: Callable[[Casebook], LiveHub]) -> None:
    book = play_certified(until="pending")
    book.say(ev.ReversalAsked, f"steward@{FIRST}")
    hub = live(book)
    for who in (FIRST, f"steward@{FIRST}", RESEARCHER):
        with pytest.raises(Refused, match="the coordinating body agrees to reversals"):
            hub.channel(who).post(f"/cases/{book.case}/reversals", FIRST.encode())
    with pytest.raises(Refused, match="not possible while the permit"):
        hub.channel(COORDINATOR).post(f"/cases/{book.case}/reversals", SECOND.encode())
    with pytest.raises((Refused, NotFound)):
        hub.channel(COORDINATOR).post(f"/cases/{'0' * 32}/reversals", FIRST.encode())
    hub.channel(COORDINATOR).post(f"/cases/{book.case}/reversals", FIRST.encode())
    view = hub.channel(RESEARCHER).get(f"/cases/{book.case}").json()
    assert (view["hospitals"][FIRST]["state"], view["hospitals"][FIRST]["until"]) == ("open", None)
    assert view["hospitals"][SECOND]["until"] is not None
