"""The coordinating body's half of a workspace key: for one hospital, while its permit is in force, and gone for ever after."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from pumasi.hub import governance
from pumasi.hub.keyshares import LOST, KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.settings import HubSettings
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import Refused, Tampered
from pumasi.kernel.seal import unseal_from
from pumasi.store.keyring import FileKeyring
from tests.casebook import COORDINATOR, ORIGIN, RESEARCHER, Casebook, play
from tests.live_hub import Clock, party

SETTINGS = HubSettings(name=COORDINATOR, origin=ORIGIN, host="127.0.0.1", port=8443, batch_seconds=0)


def shares_of(folder: Path, book: Casebook) -> KeyShares:
    folder.mkdir(exist_ok=True)
    return KeyShares(FileKeyring(folder / "shares"), party(folder, book, COORDINATOR, clock=Clock(), file="hub.db"))


def opened(shares: KeyShares, book: Casebook, hospital: str, keys: Keys | None = None) -> bytes:
    return unseal_from((keys or book.keys_of(hospital)).box, shares.sealed(book.case, hospital), context=f"{book.case}|{hospital}".encode())


@pytest.mark.parametrize("step", ["issued", "opened", "released"])
def test_a_hospital_gets_the_same_half_as_long_as_its_permit_is_in_force(tmp_path: Path, step: str) -> None:
    before = play(until="issued")
    given = {hospital: opened(shares_of(tmp_path / "before", before), before, hospital) for hospital in before.hospitals}
    (tmp_path / "before" / "shares").rename(tmp_path / "shares")
    book = play(until=step)
    shares, first = shares_of(tmp_path, book), book.hospitals[0]
    assert {hospital: opened(shares, book, hospital) for hospital in book.hospitals} == given
    assert opened(shares, book, first) == opened(shares, book, first)
    assert len(opened(shares, book, first)) == 32
    assert len({opened(shares, book, hospital) for hospital in book.hospitals}) == 3
    files = list((tmp_path / "shares").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert stat.S_IMODE((tmp_path / "shares").stat().st_mode) == 0o700
    assert not any(first in file.name for file in files)


def test_a_half_that_was_lost_is_not_made_anew(tmp_path: Path) -> None:
    book = play(until="opened")
    with pytest.raises(Refused, match="this half was lost"):
        shares_of(tmp_path, book).sealed(book.case, book.hospitals[0])


def test_nobody_else_can_open_it(tmp_path: Path) -> None:
    book = play(until="issued")
    shares = shares_of(tmp_path, book)
    for other in (book.hospitals[1], COORDINATOR, RESEARCHER):
        with pytest.raises(Tampered):
            opened(shares, book, book.hospitals[0], book.keys_of(other))


@pytest.mark.parametrize("step", ["submitted", "authorised", "done", "destroyed", "closed"])
def test_without_a_permit_in_force_there_is_no_half(tmp_path: Path, step: str) -> None:
    book = play(until=step)
    with pytest.raises(Refused, match="no permit in force"):
        shares_of(tmp_path, book).sealed(book.case, book.hospitals[0])
    assert list((tmp_path / "shares").iterdir()) == []


def test_strangers_to_the_case_get_none(tmp_path: Path) -> None:
    book = play(until="issued")
    shares = shares_of(tmp_path, book)
    for who in ("한밭 병원", RESEARCHER, COORDINATOR, f"steward@{book.hospitals[0]}", "nobody", ""):
        with pytest.raises(Refused):
            shares.sealed(book.case, who)
    for case in ("0" * 32, "consortium", "../../etc/passwd"):
        with pytest.raises(Refused):
            shares.sealed(case, book.hospitals[0])
    assert list((tmp_path / "shares").iterdir()) == []


def test_a_destroyed_half_is_gone_and_destroying_may_be_repeated(tmp_path: Path) -> None:
    book = play(until="issued")
    shares = shares_of(tmp_path, book)
    first, second = book.hospitals[:2]
    before = opened(shares, book, second)
    opened(shares, book, first)
    for _ in range(2):
        shares.destroy(book.case, first)
    assert len(list((tmp_path / "shares").iterdir())) == 1
    assert opened(shares, book, second) == before


def test_the_end_of_a_permit_destroys_its_half_and_no_other(tmp_path: Path) -> None:
    book = play(until="issued")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="hub.db")
    shares, log = KeyShares(FileKeyring(tmp_path / "shares"), site), Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0)
    first, second, _ = book.hospitals
    for hospital in book.hospitals:
        opened(shares, book, hospital)
    said = len(book.log)
    book.say(ev.PermitEnded, first, hospital=first, reason="expired")
    site.extend(book.log[said:])
    for _ in range(2):
        governance.tidy(log, shares, SETTINGS)
    permits = site.world.cases[book.case].permits
    assert {name: permit.share_destroyed for name, permit in permits.items()} == {first: True, second: False, book.hospitals[2]: False}
    assert len(list((tmp_path / "shares").iterdir())) == 2
    with pytest.raises(Refused):
        shares.sealed(book.case, first)


def test_asking_twice_at_once_makes_one_half(tmp_path: Path) -> None:
    book = play(until="issued")
    shares, found, first = shares_of(tmp_path, book), list[bytes](), book.hospitals[0]
    threads = [threading.Thread(target=lambda: found.append(opened(shares, book, first))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_case_is_closed_once_everything_is_destroyed(tmp_path: Path) -> None:
    book = play(until="destroyed")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="hub.db")
    shares, log = KeyShares(FileKeyring(tmp_path / "shares"), site), Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0)
    governance.tidy(log, shares, SETTINGS)
    assert site.case(book.case).state == "closed"
    size = site.tree.size
    governance.tidy(log, shares, SETTINGS)
    assert site.tree.size == size


def test_a_successor_testifies_only_to_halves_that_it_held(tmp_path: Path) -> None:
    book = play(until="opened")
    book.hand_over()
    shares, (first, second, _) = shares_of(tmp_path, book), book.hospitals
    with pytest.raises(Refused, match="this half was lost"):
        shares.sealed(book.case, first)
    gone = shares.destroy(book.case, first)
    assert (gone.method, gone.failures) == (LOST, gone.attempts)
    FileKeyring(tmp_path / "shares").create(shares._label(book.case, second))
    assert shares.destroy(book.case, second).method != LOST
