"""One document erased: its bytes are nowhere in the files of the party, all proofs stay valid, and it does not come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pumasi.hub import cases
from pumasi.hub import cli as hub_cli
from pumasi.hub.log import Sequencer
from pumasi.kernel import event as ev
from pumasi.kernel.errors import Invalid, NotFound, Refused
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import note, verify
from pumasi.node import cli as node_cli
from pumasi.store.document import Document
from pumasi.store.erasure import erase, of_case
from pumasi.store.migrate import copy
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, ORIGIN, Casebook, play, play_certified
from tests.live_hub import Clock, LiveHub, party

Live = Callable[[Casebook], LiveHub]
TITLE = "뇌졸중 뒤 14일 안의 사망".encode()
FIRST = play().hospitals[0]


def hub_of(folder: Path, book: Casebook) -> Site:
    folder.mkdir(exist_ok=True)
    return party(folder, book, COORDINATOR, clock=Clock(), file="hub.db")


def erased(site: Site, commitment: str, folder: Path) -> str:
    return "\n".join(erase(site, commitment, database=folder / "hub.db"))


def files_with(folder: Path, data: bytes) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file() and data in file.read_bytes()]


def final_bundle(site: Site, book: Casebook) -> bytes:
    log = Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0)
    log.publish()
    for member, key in book.cosigners.items():
        log.add_cosignature(log.published, note.cosign(log.newest() or "", note.cosigner_name(ORIGIN, member), key=key, time=1_800_000_000))
    head = cases.checkpoint(log, book.case, covering=0)
    assert head is not None
    return cases.bundle_of(log, book.case, head)


@pytest.mark.parametrize("make", [play, play_certified])
def test_no_byte_is_left_and_every_proof_stays_valid(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    book = make()
    site = hub_of(tmp_path, book)
    assert files_with(tmp_path, TITLE)
    root = site.tree.root()
    told = erased(site, book.applied, tmp_path)
    assert "body and salt are erased" in told and f"ApplicationSubmitted of {book.world.cases[book.case].event.author}" in told
    assert files_with(tmp_path, TITLE) == [] == files_with(tmp_path, book.documents[book.applied]["salt"].encode())
    with pytest.raises(NotFound, match="has been erased here"):
        site.document(book.applied)
    data = final_bundle(site, book)
    with pytest.raises(verify.Broken, match="application behind its commitment is not in the bundle"):
        verify.verify(data)
    verified = verify.verify(data, may_be_erased=True)
    assert verified.history.erased == {book.applied: "application"} and len(verified.cosigners) == len(book.cosigners)
    assert f"- What the application {book.applied[:16]}… said: it was erased" in "\n".join(verify.report(verified, pinned=False))
    again = hub_of_again(tmp_path, book)
    assert again.tree.root() == root == book.tree.root()
    for index in (0, len(book.log) // 2, len(book.log) - 1):
        assert again.tree.inclusion_proof(index) == book.tree.inclusion_proof(index)


def hub_of_again(folder: Path, book: Casebook) -> Site:
    from pumasi.store.db import open_db

    return Site(open_db(folder / "hub.db"), id=COORDINATOR, keys=book.keys_of(COORDINATOR))


def test_every_document_of_a_closed_case_can_be_erased(tmp_path: Path) -> None:
    book = play_certified()
    site = hub_of(tmp_path, book)
    whole = verify.verify(final_bundle(site, book))
    for commitment in book.documents:
        erased(site, commitment, tmp_path)
    verified = verify.verify(final_bundle(site, book), may_be_erased=True)
    assert verified.history.erased.keys() == book.documents.keys() and verified.entries == whole.entries
    assert all(line.split()[1] == "erased" for line in of_case(site, book.case))


@pytest.mark.parametrize("until", ["submitted", "released", "destroyed"])
def test_what_an_open_case_needs_is_not_erased(tmp_path: Path, until: str) -> None:
    book = play(until=until)
    site = hub_of(tmp_path, book)
    with pytest.raises(Refused, match=f"case {book.case} is not closed and needs it"):
        erased(site, book.applied, tmp_path)
    assert site.document(book.applied).body == book.documents[book.applied]["body"]


def test_a_dataset_is_erased_once_another_describes_the_hospital(tmp_path: Path) -> None:
    book = play(until="datasets")
    before, after = Document.new({"tables": "before"}), Document.new({"tables": "after"})
    book.say(ev.DatasetDescribed, FIRST, case=CONSORTIUM, dataset=before.commitment)
    site = hub_of(tmp_path, book)
    site.keep(before)
    with pytest.raises(Refused, match="`pumasi node describe` anew first"):
        erased(site, before.commitment, tmp_path)
    book.say(ev.DatasetDescribed, FIRST, case=CONSORTIUM, dataset=after.commitment)
    assert site.extend(book.log[-1:]) == [[]]
    assert "body and salt are erased" in erased(site, before.commitment, tmp_path)


def test_what_is_erased_does_not_come_back(tmp_path: Path, live: Live) -> None:
    book = play()
    hub = live(book)
    document = Document(book.documents[book.applied]["salt"], book.documents[book.applied]["body"])
    erased(hub.hub.site, book.applied, hub.home)
    with pytest.raises(Refused, match="erased here and is not taken in again"):
        hub.hub.site.keep(document)
    with pytest.raises(Refused, match="erased here and is not taken in again"):
        hub.channel(FIRST).put(f"/documents/{book.applied}", document.data)
    with pytest.raises(NotFound, match="has been erased here"):
        hub.channel(FIRST).get(f"/documents/{book.applied}")
    assert "was erased before" in erased(hub.hub.site, book.applied, hub.home)


def test_a_document_that_never_came_is_not_taken_in_later(tmp_path: Path) -> None:
    book = play()
    document = Document(book.documents[book.applied]["salt"], book.documents[book.applied]["body"])
    del book.documents[document.commitment]
    site = hub_of(tmp_path, book)
    assert "was never here, and will not be taken in" in erased(site, document.commitment, tmp_path)
    with pytest.raises(Refused):
        site.keep(document)


def test_nonsense_is_told_and_erases_nothing(tmp_path: Path) -> None:
    book = play()
    site = hub_of(tmp_path, book)
    for nonsense in ("", "abc", book.applied.upper(), book.applied + "0", "%" * 64, f"{book.applied[:63]}\n"):
        with pytest.raises(Invalid, match="64 hexadecimal digits"):
            erased(site, nonsense, tmp_path)
    with pytest.raises(NotFound, match="no event of the log commits to it"):
        erased(site, "00" * 31 + "ff", tmp_path)
    with pytest.raises(NotFound, match="no such case"):
        list(of_case(site, "00" * 16))
    assert all(site.document_state(commitment) == "here" for commitment in book.documents)


def test_a_copy_from_before_an_upgrade_is_named_while_it_holds_the_document(tmp_path: Path) -> None:
    book = play()
    site = hub_of(tmp_path, book)
    copy(tmp_path / "hub.db", tmp_path / "hub.db.before-2")
    assert "hub.db.before-2 was copied before an upgrade and may hold it still" in erased(site, book.applied, tmp_path)
    copy(tmp_path / "hub.db", tmp_path / "hub.db.before-2")
    assert "hub.db.before-2" not in erased(site, book.applied, tmp_path)
    (tmp_path / "hub.db.before-2").write_bytes(b"no database")
    assert "hub.db.before-2" in erased(site, book.applied, tmp_path)


def test_it_is_said_when_somebody_still_reads_the_write_ahead_log(tmp_path: Path) -> None:
    book = play()
    site = hub_of(tmp_path, book)
    with site.database.reading() as db:
        rows = db.execute("SELECT * FROM entries")
        assert rows.fetchone() is not None  # and the rest is still to be read
        assert "hub.db-wal may hold it" in erased(site, book.applied, tmp_path)
        rows.close()
    assert "hub.db-wal" not in erased(site, book.applied, tmp_path)


def test_the_commands_of_hub_and_node(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    book = play_certified()
    hub = live(book)
    node = hub.node(FIRST)
    (node.home / "keys" / "node.key").write_text(node.site.keys.to_text())
    for cli, home in ((hub_cli, hub.home), (node_cli, node.home)):
        cli.documents(home, book.case)
        listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " here " in line]
        assert set(listed) == set(book.documents)
        cli.erase(home, listed[0])
        assert capsys.readouterr().out.startswith(f"{listed[0]}: body and salt are erased\n")
        cli.documents(home, book.case)
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if " erased " in line] == [listed[0]]
