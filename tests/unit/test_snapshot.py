"""A snapshot is what the log comes to, to the last byte; one that is torn, changed, foreign or of other rules is not believed."""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import NotFound, Refused, Tampered
from pumasi.kernel.world import World
from pumasi.ledger.tree import HASH, Tree, leaf_hash
from pumasi.store import snapshot as store
from pumasi.store.check import check
from pumasi.store.db import open_db
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots, read_world, write_world
from tests.casebook import COORDINATOR, HOSPITALS, STEPS, Casebook, play
from tests.live_hub import Clock

KEYS = Keys.new()


OPENED: list[Snapshots] = []


@pytest.fixture(autouse=True)
def _closing() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def snapshots(folder: Path) -> Snapshots:
    OPENED.append(Snapshots(folder, KEYS))
    return OPENED[-1]


def opened(folder: Path) -> Site:
    folder.mkdir(exist_ok=True)
    database = open_db(folder / "hub.db", synchronous="OFF")
    return Site(database, id=COORDINATOR, keys=KEYS, now=Clock(), snapshots=snapshots(folder / "snapshot"))


def written(folder: Path, book: Casebook) -> Site:
    """A party that has copied the book and saved a snapshot, which others may now do."""
    site = opened(folder)
    assert not any(site.extend(book.log))
    assert site.save_snapshot()
    OPENED[-1].close()
    return site


def same(site: Site, book: Casebook) -> None:
    """The party knows what a replay from zero comes to."""
    replayed = Site(site.database, id=COORDINATOR, keys=KEYS)
    assert site.world == replayed.world
    assert site.tree.size == len(book.log) and site.tree.root() == book.tree.root()


# --- worlds


def test_a_world_keeps_every_field_that_it_has() -> None:
    assert {field.name for field in fields(store._Kept)} == {field.name for field in fields(World) if field.init}


@pytest.mark.parametrize("step", STEPS)
def test_a_world_comes_back_from_its_bytes(step: str) -> None:
    world = play(until=step).world
    again = read_world(write_world(world))
    assert again == world and again.staff == world.staff


def test_bytes_that_are_no_world_are_refused() -> None:
    with pytest.raises(Tampered, match="does not have the form"):
        read_world(b'{"founded": 7}')


# --- trees


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 64, 100])
def test_a_tree_comes_back_from_its_nodes_and_grows_on(size: int) -> None:
    tree = Tree()
    for number in range(size):
        tree.append(leaf_hash(b"%d" % number))
    levels = [bytearray(tree.nodes(level, 0)) for level in range(max(size.bit_length(), 1))]
    again = Tree.of_levels(levels, size)
    for number in range(size, size + 5):
        assert (again.size, again.root()) == (tree.size, tree.root())
        tree.append(leaf_hash(b"%d" % number))
        again.append(leaf_hash(b"%d" % number))
    assert again.inclusion_proof(0) == tree.inclusion_proof(0)
    assert tree.nodes(60, 0) == b""


@pytest.mark.parametrize("levels", [[], [HASH], [2 * HASH], [3 * HASH, HASH, HASH], [3 * HASH, 2 * HASH], [3 * HASH]])
def test_a_tree_with_nodes_missing_or_too_many_is_refused(levels: list[int]) -> None:
    with pytest.raises(Tampered, match="nodes of a tree of its size"):
        Tree.of_levels([bytearray(length) for length in levels], 3)


# --- starting from one


@pytest.mark.parametrize("step", ["founded", "datasets", "issued", "voted", "closed"])
def test_a_start_from_a_snapshot_knows_what_a_replay_knows(tmp_path: Path, step: str) -> None:
    book = play(until=step)
    written(tmp_path, book)
    again = opened(tmp_path)
    assert again._snapshots is not None and again._snapshots.size == len(book.log)
    same(again, book)


def test_only_what_came_later_is_replayed(tmp_path: Path) -> None:
    book = play(until="issued")
    written(tmp_path, book)
    replayed: list[bytes] = []
    site = opened(tmp_path)
    size = len(book.log)
    book.play(after="issued")
    assert not any(site.extend(book.log[size:]))

    class Counting(Site):
        def _fold(self, entry):  # type: ignore[no-untyped-def]
            replayed.append(entry.data)
            return super()._fold(entry)

    again = Counting(site.database, id=COORDINATOR, keys=KEYS, snapshots=snapshots(tmp_path / "snapshot"))
    assert replayed == book.log[size:]
    same(again, book)


def test_a_snapshot_grows_by_what_is_new(tmp_path: Path) -> None:
    book = play(until="datasets")
    site = written(tmp_path, book)
    before = (tmp_path / "snapshot" / "level-00").read_bytes()
    size = len(book.log)
    book.play(after="datasets")
    assert not any(site.extend(book.log[size:])) and site.save_snapshot()
    assert (tmp_path / "snapshot" / "level-00").read_bytes()[: len(before)] == before
    same(opened(tmp_path), book)


def test_what_was_being_appended_when_the_process_was_killed_does_not_count(tmp_path: Path) -> None:
    book = play(until="voted")
    written(tmp_path, book)
    with (tmp_path / "snapshot" / "level-00").open("ab") as file:
        file.write(b"torn")
    site = opened(tmp_path)
    assert site._snapshots is not None and site._snapshots.size == len(book.log)
    size = len(book.log)
    book.play(after="voted")
    assert not any(site.extend(book.log[size:])) and site.save_snapshot()
    same(opened(tmp_path), book)


# --- not believing one


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "head"),
        lambda folder: (folder / "head").write_bytes((folder / "head").read_bytes()[:-1]),
        lambda folder: (folder / "head").write_bytes(b""),
        lambda folder: flip(folder / "level-00"),
        lambda folder: flip(folder / "level-03"),
        lambda folder: (folder / "level-02").unlink(),
        lambda folder: (folder / "level-01").write_bytes((folder / "level-01").read_bytes()[:-HASH]),
    ],
    ids=["head", "torn head", "empty head", "leaf", "node", "missing level", "short level"],
)
def test_a_damaged_snapshot_costs_time_and_nothing_else(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    book = play(until="people")
    written(tmp_path, book)
    damage(tmp_path / "snapshot")
    with caplog.at_level(logging.WARNING):
        site = opened(tmp_path)
    assert "replaying the whole log" in caplog.text
    same(site, book)
    assert site.save_snapshot()
    again = opened(tmp_path)
    assert again._snapshots is not None and again._snapshots.size == len(book.log)


def test_a_new_key_vouches_for_what_the_old_one_did(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book, new = play(until="issued"), Keys.new()
    written(tmp_path / "a", book)
    snapshots(tmp_path / "a" / "snapshot").rekey(new)
    found = Snapshots(tmp_path / "a" / "snapshot", new).load()
    assert found is not None and (found[0], found[1].root()) == (book.world, book.tree.root())
    with pytest.raises(Tampered, match="another party"):
        snapshots(tmp_path / "a" / "snapshot").load()
    other = Snapshots(tmp_path / "a" / "snapshot", Keys.new())
    other.rekey(KEYS)  # whoever is no author of it cannot take it over
    assert Snapshots(tmp_path / "a" / "snapshot", new).load() is not None
    snapshots(tmp_path / "none").rekey(new)
    assert snapshots(tmp_path / "none").load() is None


def test_another_partys_snapshot_is_not_believed(tmp_path: Path) -> None:
    written(tmp_path, play(until="people"))
    with pytest.raises(Tampered, match="another party"):
        Snapshots(tmp_path / "snapshot", Keys.new()).load()


def test_a_snapshot_of_other_rules_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, play(until="people"))
    monkeypatch.setattr(store, "rules_digest", lambda: "0" * 64)
    with pytest.raises(Tampered, match="another version of the rules"):
        Snapshots(tmp_path / "snapshot", KEYS).load()


def test_a_snapshot_that_does_not_fit_the_entries_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another history of the same length, each with its own valid snapshot, under one key."""
    one, two = play(until="people"), play(until="people", seed="another")
    written(tmp_path / "one", one)
    site = written(tmp_path / "two", two)
    (tmp_path / "one" / "snapshot").rename(tmp_path / "kept")
    (tmp_path / "two" / "snapshot").rename(tmp_path / "one" / "snapshot")
    with caplog.at_level(logging.WARNING):
        same(opened(tmp_path / "one"), one)
    assert "not that of the entries on the disk" in caplog.text
    assert site.tree.root() == two.tree.root()


def test_a_snapshot_of_more_than_is_on_the_disk_is_not_believed(tmp_path: Path) -> None:
    book = play(until="people")
    site = written(tmp_path, book)
    with site.database.begin() as db:
        db.execute('DELETE FROM entries WHERE "index" = ?', (len(book.log) - 1,))
    again = opened(tmp_path)
    assert again.tree.size == len(book.log) - 1


def test_a_checkpoint_that_is_not_over_the_own_entries_stops_the_start(tmp_path: Path) -> None:
    one, two = play(until="people"), play(until="people", seed="another")
    site = written(tmp_path, one)
    site.save_checkpoint(len(two.log), two.checkpoint())
    with pytest.raises(Tampered, match="is not over the entries"):
        opened(tmp_path)


# --- who saves


def test_one_process_at_a_time_saves(tmp_path: Path) -> None:
    book = play(until="datasets")
    site = written(tmp_path, book)
    second = opened(tmp_path)
    size = len(book.log)
    book.submitted()
    assert not any(second.extend(book.log[size:]))
    assert site._snapshots is not None and site._snapshots.save(site._snapshots.capture(site.world, site.tree))
    assert not second.save_snapshot()
    site._snapshots.close()
    assert second.save_snapshot()
    with (tmp_path / "snapshot" / "lock").open("r+b") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_disk_that_refuses_is_told_and_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "snapshot").write_text("a file where the folder should be")
    site = opened(tmp_path)
    assert not any(site.extend(play(until="founded").log))
    with caplog.at_level(logging.WARNING):
        assert not site.save_snapshot()
    assert "no snapshot could be written" in caplog.text


def test_a_party_that_stops_saves_first(tmp_path: Path) -> None:
    site, book, stop = opened(tmp_path), play(until="people"), threading.Event()
    keeping = threading.Thread(target=site.keep_snapshots, args=(stop,))
    keeping.start()
    assert not any(site.extend(book.log))
    stop.set()
    keeping.join(timeout=10)
    again = opened(tmp_path)
    assert again._snapshots is not None and again._snapshots.size == len(book.log)


# --- closed cases


def test_a_closed_case_leaves_the_memory_and_is_still_told(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    for party in (site, opened(tmp_path)):
        assert book.case not in party.world.cases and book.case in party.world.retired
        assert book.case not in party.world.chains
        assert party.case(book.case) == book.world.cases[book.case]
        assert party.world.jobs[book.job] == book.case
    with pytest.raises(NotFound, match="no such case"):
        site.case("0" * 32)


def test_nothing_follows_a_closed_case_and_its_ids_stay_taken(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    book.world = site.world
    fields = {"application": "00" * 32, "hospitals": book.hospitals, "smallest_cell": 10}
    again = book.entry(ev.ApplicationSubmitted, "other@company-2", **fields)
    assert rules.refusals(site.world, again) == ["the case is closed: its last event counts all the others"]
    with pytest.raises(Refused, match="the case is closed"):
        rules.apply(site.world, book.entry(ev.StudyDone, "researcher@company-1"))
    assert book.case not in site.world.cases


def test_only_a_closed_case_is_forgotten() -> None:
    book = play(until="destroyed")
    with pytest.raises(AssertionError):
        book.world.retire(book.case)


def test_a_replay_from_zero_writes_closed_cases_anew(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    with site.database.begin() as db:
        db.execute("DELETE FROM closed")
    (tmp_path / "snapshot" / "head").unlink()
    assert opened(tmp_path).case(book.case).state == "closed"


# --- asking every entry


def asked(folder: Path) -> str:
    return "\n".join(check(folder / "hub.db", id=COORDINATOR, keys=KEYS, snapshot=folder / "snapshot"))


def test_a_check_asks_every_entry_and_the_snapshot(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    site.save_checkpoint(book.tree.size, book.checkpoint())
    assert asked(tmp_path).count("\n") == 2
    assert f"the snapshot over {len(book.log)} entries fits" in asked(tmp_path)


def test_a_check_finds_what_a_sample_may_miss(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    with site.database.begin() as db:
        db.execute('UPDATE entries SET digest = ? WHERE "index" = 5', ("0" * 64,))
    with pytest.raises(Tampered, match="entry 5"):
        asked(tmp_path)
    with site.database.begin() as db:
        db.execute('UPDATE entries SET data = ? WHERE "index" = 5', (book.log[7],))
    with pytest.raises(Tampered, match="the rules refuse"):
        asked(tmp_path)


def test_a_check_finds_a_snapshot_whose_world_is_another(tmp_path: Path) -> None:
    book = play()
    site = written(tmp_path, book)
    site.world.datasets[next(iter(HOSPITALS))] = "0" * 64  # as a bug, or a hand in the memory, would
    other = snapshots(tmp_path / "other")
    assert other.save(other.capture(site.world, site.tree))
    with pytest.raises(Tampered, match="the snapshot is not what the log comes to"):
        list(check(tmp_path / "hub.db", id=COORDINATOR, keys=KEYS, snapshot=tmp_path / "other"))
