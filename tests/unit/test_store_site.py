"""A party's record: acts are chained and survive kill -9; a copy of the log holds what the rules allow, whole or not at all."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, commit
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.ledger import bundle
from pumasi.store.db import CASE_OF, open_db
from pumasi.store.document import Document
from pumasi.store.site import Site
from pumasi.store.watch import Watch
from tests.casebook import COORDINATOR, Casebook, play
from tests.live_hub import Clock, party

HOSPITAL = "river-hospital"
CASE = "ab" * 16


def site_at(path: Path, *, keys: Keys | None = None, who: str = HOSPITAL) -> Site:
    return Site(open_db(path, synchronous="OFF"), id=who, keys=keys or Keys.new(), now=Clock())


def described(site: Site, number: int = 0, *, case: str = CONSORTIUM, opened: tuple[Document, ...] = ()) -> Entry:
    return Entry(site.record(ev.DatasetDescribed, case=case, opened=opened, dataset=f"{number:064x}").data)


# --- starting


def test_a_record_that_lost_entries_which_its_checkpoint_covers_does_not_start(tmp_path: Path) -> None:
    book = play(until="datasets")
    site = party(tmp_path, book, HOSPITAL, clock=Clock(), file="node.db")
    site.save_checkpoint(len(book.log), book.checkpoint())
    with site.database.begin() as db:
        db.execute('DELETE FROM entries WHERE "index" >= ?', (len(book.log) - 2,))
    with pytest.raises(Tampered, match=f"over {len(book.log)} entries and only {len(book.log) - 2} of them: entries were lost"):
        Site(site.database, id=HOSPITAL, keys=site.keys)


# --- recording


def test_acts_are_signed_dated_and_chained_within_their_case(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    first, second, third = described(site, 1), described(site, 2), described(site, 3)
    other = described(site, case=CASE)
    assert [(entry.event.seq, entry.event.prev) for entry in (first, second, third)] == [(0, None), (1, first.digest), (2, second.digest)]
    assert (other.event.seq, other.event.prev) == (0, None)
    assert {entry.key for entry in (first, other)} == {site.keys.public} and first.event.at == "2026-03-02T01:00:00Z"


def test_a_recorded_act_is_unsent_until_the_log_has_answered(tmp_path: Path) -> None:
    keys = Keys.new()
    site = site_at(tmp_path / "a.db", keys=keys)
    entries = [described(site, number) for number in range(3)]
    assert [data for _, data in site.unsent()] == [entry.data for entry in entries]
    again = site_at(tmp_path / "a.db", keys=keys)  # after kill -9
    assert again.unsent() == site.unsent()
    (one, _), (two, _), (three, _) = again.unsent()
    again.settle(one)
    again.settle(two, refused=["no", "really no"])
    assert [id for id, _ in again.unsent()] == [three]
    assert [entry.digest for entry in again.own(CONSORTIUM)] == [entries[0].digest, entries[2].digest]


def test_the_next_act_is_chained_to_the_last_that_was_not_refused(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    first, _ = described(site, 1), described(site, 2)
    site.settle(site.unsent()[1][0], refused=["no"])
    again = described(site, 3)
    assert (again.event.seq, again.event.prev) == (1, first.digest)


def test_an_act_and_its_documents_are_recorded_together_or_not_at_all(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    document = Document.new({"a": 1})
    with site.database.begin() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON documents BEGIN SELECT RAISE(ABORT, 'no space'); END")
    with pytest.raises(sqlite3.DatabaseError, match="no space"):
        described(site, 1, opened=(document,))
    assert site.unsent() == []
    with site.database.begin() as db:
        db.execute("DROP TRIGGER full")
    described(site, 1, opened=(document,))
    assert len(site.unsent()) == 1 and site.document(document.commitment) == document


def test_an_act_without_the_form_of_its_kind_is_not_recorded(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    with pytest.raises(Invalid, match="dataset"):
        site.record(ev.DatasetDescribed, case=CONSORTIUM, dataset="short")
    with pytest.raises(Invalid, match="extra"):
        site.record(ev.DatasetDescribed, case=CONSORTIUM, dataset="0" * 64, colour=1)
    assert site.unsent() == []


def test_threads_that_record_at_once_are_chained(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    threads = [threading.Thread(target=described, args=(site, number)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unbroken(site, 12)


def unbroken(site: Site, count: int) -> bool:
    entries = site.own(CONSORTIUM)
    expected = [(number, entries[number - 1].digest if number else None) for number in range(count)]
    return [(entry.event.seq, entry.event.prev) for entry in entries] == expected


RECORDS = """
import os, sys
from pathlib import Path
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys
from pumasi.store.db import open_db
from pumasi.store.site import Site
site = Site(open_db(Path(sys.argv[1])), id="river-hospital", keys=Keys.new())
sys.stdin.readline()
for number in range(5):
    print(site.record(ev.DatasetDescribed, case="consortium", dataset="0" * 64).digest, flush=True)
os.kill(os.getpid(), 9)
"""


def test_processes_that_record_at_once_are_chained_and_what_they_recorded_survives_kill_9(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    command = [sys.executable, "-c", RECORDS, str(tmp_path / "a.db")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [digest for process in started for digest in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in started] == [-9, -9]
    assert sorted(said) == sorted(Entry(data).digest for _, data in site.unsent())
    assert unbroken(site, 10)


# --- the copy of the log


def test_a_copy_holds_the_log_and_gives_it_back(tmp_path: Path) -> None:
    book = play(until="destroyed")
    site = site_at(tmp_path / "a.db")
    assert site.extend(book.log) == [[]] * len(book.log)
    assert site.entries(0) == book.log and site.entries(3, 5) == book.log[3:5] and site.entries(len(book.log)) == []
    assert site.tree.root() == book.tree.root() and site.world == book.world
    assert [site.index_of(Entry(data).digest) for data in book.log[:3]] == [0, 1, 2] and site.index_of("0" * 64) is None
    assert site.extend(book.log[-3:]) == [[]] * 3 and site.tree.size == len(book.log)
    again = site_at(tmp_path / "a.db")
    assert (again.tree.root(), again.world) == (book.tree.root(), book.world)


def test_what_the_rules_refuse_leaves_no_trace(tmp_path: Path) -> None:
    book = play(until="datasets")
    site = site_at(tmp_path / "a.db")
    site.extend(book.log)
    illegal = book.entry(ev.MemberAdmitted, "company-1", case=CONSORTIUM, member="company-2").data
    outcome = site.extend([illegal, b"{}", b"", illegal])
    assert all(outcome) and len(outcome) == 4
    assert site.tree.root() == book.tree.root() and site.world == book.world
    assert site_at(tmp_path / "a.db").entries(0) == book.log


def test_behind_a_refused_entry_of_an_ordered_history_nothing_is_added(tmp_path: Path) -> None:
    book, site = play(until="datasets"), site_at(tmp_path / "a.db")
    illegal = book.entry(ev.MemberAdmitted, "company-1", case=CONSORTIUM, member="company-2").data
    outcome = site.extend([*book.log[:-1], illegal, book.log[-1]], in_order=True)
    assert len(outcome) == len(book.log) and outcome[-1] and not any(outcome[:-1])
    assert site.entries(0) == book.log[:-1]


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_batch_that_cannot_be_written_leaves_memory_and_disk_as_they_were(tmp_path: Path, at: int) -> None:
    book, site = play(until="datasets"), site_at(tmp_path / "a.db")
    site.extend(book.log)
    book.submitted()
    book.committed()
    new = book.log[site.tree.size :]
    before = (site.tree.size, site.tree.root(), len(site.world.cases))
    with site.database.begin() as db:
        full = f'CREATE TRIGGER full BEFORE INSERT ON entries WHEN new."index" >= {site.tree.size + at} '
        db.execute(full + "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
    with pytest.raises(sqlite3.DatabaseError, match="disk is full"):
        site.extend(new)
    assert (site.tree.size, site.tree.root(), len(site.world.cases)) == before
    assert site_at(tmp_path / "a.db").tree.size == before[0]
    with site.database.begin() as db:
        db.execute("DROP TRIGGER full")
    assert not any(site.extend(new)) and site.tree.root() == book.tree.root() and site.world == book.world


def test_a_disk_that_is_really_full_leaves_memory_and_disk_as_they_were(tmp_path: Path) -> None:
    book, site = play(until="closed"), site_at(tmp_path / "a.db")
    site.extend(book.log[:10])
    with site.database.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    site.database.dispose()
    small = Site(open_db(tmp_path / "a.db", synchronous="OFF"), id=HOSPITAL, keys=site.keys)
    with small.database.reading() as db:  # a connection that stays in the pool, with no room beyond two more pages
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        small.extend(book.log[10:])
    assert (small.tree.size, small.tree.root()) == (10, book.tree.root(10))
    small.database.dispose()
    assert site_at(tmp_path / "a.db").entries(0) == book.log[:10]


def test_a_batch_that_ends_in_any_other_failure_leaves_memory_as_it_was(tmp_path: Path) -> None:
    book, site = play(until="datasets"), site_at(tmp_path / "a.db")
    site.extend(book.log)
    book.submitted()
    broken: list[Any] = [*book.log[site.tree.size :], None]
    with pytest.raises(TypeError):
        site.extend(broken)
    assert site.tree.size == len(site.entries(0)) and site.tree.root() == book.tree.root(site.tree.size)
    assert not any(site.extend(broken[:-1])) and site.entries(0) == book.log


def test_who_waits_is_woken_by_what_is_added(tmp_path: Path) -> None:
    book, site = play(until="datasets"), site_at(tmp_path / "a.db")
    later = threading.Timer(0.1, site.extend, (book.log,))
    later.start()
    assert site.wait_for(lambda: site.tree.size > 0, 10) is True
    later.join()
    assert site.wait_for(lambda: site.tree.size > len(book.log), 0.05) is False


@pytest.mark.parametrize("who", ["this process", "another"])
def test_who_rests_is_woken_by_what_anybody_records(tmp_path: Path, who: str) -> None:
    site = site_at(tmp_path / "a.db")
    described(site)
    watch = Watch(site)
    moment, stop, started = watch.moment(), threading.Event(), time.monotonic()
    watch.rest(moment, 0.01, stop)  # nothing happens: it is over in time, and nothing counts as having happened
    assert watch.moment() == moment
    threading.Timer(0.05, described, (site if who == "this process" else site_at(tmp_path / "a.db"), 1)).start()
    watch.rest(moment, 20, stop)
    assert watch.moment() != moment and len(site.unsent()) == 2 and time.monotonic() < started + 10
    watch.rest(moment, 20, stop)  # what was recorded before it began is no news to wait for
    assert time.monotonic() < started + 10


def test_the_newest_act_that_the_log_took_is_known_after_a_restart(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    assert site.last_logged() == ""
    first, _ = described(site, 1), described(site, 2)
    site.settle(site.unsent()[0][0])
    assert site.last_logged() == first.digest == site_at(tmp_path / "a.db").last_logged()


# --- checkpoints, documents, notes


def test_the_newest_checkpoint_is_the_one_over_most_entries(tmp_path: Path) -> None:
    book, site = play(until="submitted"), site_at(tmp_path / "a.db")
    site.extend(book.log)
    assert site.checkpoint() is None
    heads = {size: book.checkpoint(size, cosigners=[]) for size in (5, len(book.log), 9)}
    for size, text in heads.items():
        site.save_checkpoint(size, text)
    cosigned = book.checkpoint()
    site.save_checkpoint(len(book.log), cosigned)
    assert (site.checkpoint(), site.checkpoint(5), site.checkpoint(6)) == (cosigned, heads[5], None)
    assert site_at(tmp_path / "a.db").checkpoint() == cosigned


def test_the_entries_of_a_case_are_found_without_reading_the_others(tmp_path: Path) -> None:
    book = play(until="opened")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="a.db")
    bodies = [(index, json.loads(data)["body"]["case"]) for index, data in enumerate(book.log)]
    for cases in ([book.case], [CONSORTIUM], [CONSORTIUM, book.case], ["0" * 32], []):
        expected = [(index, book.log[index]) for index, case in bodies if case in cases]
        assert site.entries_of(*cases) == expected
        assert site.entries_of(*cases, before=40) == [(index, data) for index, data in expected if index < 40]
    with site.database.reading() as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT data FROM entries WHERE {CASE_OF} = 'x'").fetchall()
    assert "entries_case" in str(plan)


def test_a_kept_document_is_given_back_only_whole(tmp_path: Path) -> None:
    site, document = site_at(tmp_path / "a.db"), Document.new({"제목": ["연구", 1, None]})
    site.keep(document)
    site.keep(document)
    assert site.document(document.commitment) == document
    with site.database.begin() as db:
        db.execute("UPDATE documents SET data = ?", (Document(document.salt, {"제목": []}).data,))
    with pytest.raises(Tampered):
        site.document(document.commitment)


def test_an_erased_document_is_gone_and_the_log_still_verifies(tmp_path: Path) -> None:
    book = play(until="destroyed")
    site = party(tmp_path, book, COORDINATOR, clock=Clock(), file="a.db")
    assert site.document(book.applied)
    with site.database.begin() as db:
        db.execute("DELETE FROM documents WHERE commitment = ?", (book.applied,))
    with pytest.raises(NotFound, match="never sent here"):
        site.document(book.applied)
    again = site_at(tmp_path / "a.db", who=COORDINATOR, keys=book.keys_of(COORDINATOR))
    assert again.tree.root() == book.tree.root() and again.world.cases[book.case].state == "done"
    entries, wanted = bundle.select(book.case, again.entries_of(CONSORTIUM, book.case))
    held = {commitment: book.documents[commitment] for commitment in wanted if commitment != book.applied}
    with pytest.raises(Invalid, match="was it erased"):
        bundle.build(book.case, entries=entries, checkpoint=book.checkpoint(), tree=again.tree, documents=held)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"[]", b'{"body":1}', b'{"body":1,"salt":""}', b'{"body":1,"salt":"AB"}', b'{"body":1,"salt":7}', b"\xff",
        b'{"salt":1,"body":2}',
    ],
)  # fmt: skip
def test_what_is_no_document_is_not_read_as_one(data: bytes) -> None:
    with pytest.raises(Tampered):
        Document.read(data, "0" * 64)


def test_one_document_has_one_way_to_be_written() -> None:
    """Or two texts would pass for the same commitment."""
    document = Document.new({"a": 1})
    assert Document.read(document.data, document.commitment) == document
    upper = document.salt.upper()
    assert commit(upper, document.body) == document.commitment
    for other in (document.data.replace(document.salt.encode(), upper.encode()), document.data.replace(b":", b": "), document.data + b"\n"):
        assert other != document.data
        with pytest.raises(Tampered):
            Document.read(other, document.commitment)


def test_notes_are_replaced_read_and_forgotten_by_prefix(tmp_path: Path) -> None:
    site = site_at(tmp_path / "a.db")
    for key, value in (("output|a|1", b"1"), ("output|a|2", b"2"), ("output|b|1", b"3"), ("output|a_b|1", b"4"), ("begun|a|1", b"5")):
        site.note(key, b"old")
        site.note(key, value)
    assert site.noted("output|a|2") == b"2" and site.noted("output|c|1") is None
    assert site.forget("output|a|") == 2
    assert [site.noted(key) for key in ("output|a|1", "output|b|1", "output|a_b|1", "begun|a|1")] == [None, b"3", b"4", b"5"]
    assert site.forget("output|_") == 0 and site.forget("output|%") == 0


def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    site_at(tmp_path / "a.db")
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["100%25", "a?b", "한글 폴더", "a#b", "a&b=c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    described(site_at(tmp_path / name / "node.db"))
    assert (tmp_path / name / "node.db").stat().st_size > 0
    assert len(site_at(tmp_path / name / "node.db").unsent()) == 1


def test_a_power_cut_is_reckoned_with(tmp_path: Path) -> None:
    with open_db(tmp_path / "a.db").reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_reader_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    book: Casebook = play(until="founded")
    site = site_at(tmp_path / "a.db")
    site.extend(book.log)
    with site.database.begin() as writing:
        writing.execute("INSERT INTO notes VALUES ('a', 'b')")
        assert site.entries(0) == book.log and site.noted("a") is None
    assert site.noted("a") == "b"
