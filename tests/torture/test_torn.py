"""Power cuts: whatever part of the newest writes reached the disk, what is read back is a beginning of the history, never a mixture."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from pumasi.kernel.errors import Tampered
from pumasi.ledger import note
from pumasi.store.site import Site
from tests.casebook import COORDINATOR
from tests.torture.histories import Stream, prepared
from tests.torture.parties import database, open_sequencer, open_site, prepare
from tests.torture.scene import Listener, head_over


@pytest.fixture(scope="module")
def book() -> Stream:
    book = prepared("torn")
    book.case_number(0)
    return book


@pytest.fixture(scope="module")
def running(book: Stream, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Path]:
    """A hub's record with every batch still in the write-ahead log, as when the power goes."""
    home = tmp_path_factory.mktemp("torn") / "hub"
    home.mkdir()
    site = open_site(home, book, COORDINATOR)
    for at in range(0, len(book.log), 7):
        site.extend(book.log[at : at + 7])
    return site, home


def torn(home: Path, to: Path, chance: random.Random) -> Path:
    """A copy whose write-ahead log ends somewhere, in nothing or in rubbish."""
    shutil.copytree(home, to)
    wal = database(to).with_name(database(to).name + "-wal")
    data = wal.read_bytes()
    assert len(data) > 100_000
    rubbish = chance.randbytes(chance.choice([0, 100, 4096]))
    wal.write_bytes(data[: chance.randrange(len(data))] + rubbish)
    database(to).with_name(database(to).name + "-shm").unlink(missing_ok=True)
    return to


def test_a_torn_tail_is_cut_off(running: tuple[Site, Path], book: Stream, tmp_path: Path) -> None:
    site, home = running
    chance, sizes = random.Random(5), set()
    for number in range(25):
        again = open_site(torn(home, tmp_path / str(number), chance), book, COORDINATOR)
        sizes.add(again.tree.size)
        assert again.entries(0) == book.log[: again.tree.size]
        again.extend(book.log)  # whoever was not answered sends it again
        assert again.tree.root() == site.tree.root() == book.tree.root()
        again.database.dispose()
    assert len(sizes) > 5


def test_a_hub_whose_disk_lied_cannot_go_on_differently(book: Stream, tmp_path: Path) -> None:
    """It lost acknowledged entries and sequences others in their place: who has copied the first history does not follow it."""
    start = len(book.log) - 10
    for who, size in (("hub", start), ("full", len(book.log))):
        short = Stream(book.seed)
        short.log, short.world = book.log[:size], book.world
        prepare(tmp_path / who, short, COORDINATOR)
    listener = Listener(tmp_path / "node", book, len(book.log))
    hub = open_sequencer(tmp_path / "hub", book)
    for number in range(12):
        assert hub.submit([book.newcomer(f"late-{number}")])[0]["reasons"] == []
    hub.publish()
    reasons, lines = listener.hear(hub.site.entries(listener.size), hub.newest() or "")
    assert lines == [] and "the hub signed a head that is not the history it sent" in reasons[0]
    assert note.parse_checkpoint(listener.newest).root == book.tree.root()


def test_a_changed_entry_on_the_disk_stops_the_start(running: tuple[Site, Path], book: Stream, tmp_path: Path) -> None:
    home = tmp_path / "hub"
    prepare(home, book, COORDINATOR)
    site = open_site(home, book, COORDINATOR, synchronous="OFF")
    with site.database.begin() as db:
        data = book.log[20].replace(b'"seq":', b'"seq":1', 1)
        db.execute('UPDATE entries SET data = ? WHERE "index" = 20', (data,))
    with pytest.raises(Tampered):
        open_site(home, book, COORDINATOR)
    assert head_over(book, book.log)
