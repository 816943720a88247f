"""What the hub puts out as files is a copy that anybody can verify, and only ever under a final checkpoint."""

from __future__ import annotations

from pathlib import Path

from pumasi.hub.log import Sequencer
from pumasi.hub.publisher import Publisher
from pumasi.ledger import note
from pumasi.store.db import open_db
from pumasi.store.site import Site
from pumasi.store.tiles import TileStore
from tests.casebook import COORDINATOR, ORIGIN, Casebook, play


def sequencer(folder: Path, book: Casebook, log: list[bytes]) -> Sequencer:
    site = Site(open_db(folder / "hub.db"), id=COORDINATOR, keys=book.keys_of(COORDINATOR))
    assert site.extend(log) == [[] for _ in log]
    return Sequencer(site, book.log_key, origin=ORIGIN, batch_seconds=0)


def cosigned(log: Sequencer, book: Casebook, count: int) -> None:
    text = log.newest()
    assert text is not None
    for member in list(book.cosigners)[:count]:
        line = note.cosign(text, note.cosigner_name(ORIGIN, member), key=book.cosigners[member], time=1_800_000_000)
        log.add_cosignature(note.parse_checkpoint(text).size, line)


def test_nothing_is_put_out_before_the_quorum(tmp_path: Path) -> None:
    book = play()
    log = sequencer(tmp_path, book, book.log)
    publisher = Publisher(tmp_path / "tlog", log)
    log.publish()
    cosigned(log, book, 2)
    assert not publisher.step()
    assert not (tmp_path / "tlog" / "checkpoint").exists()
    cosigned(log, book, 4)
    assert publisher.step()
    assert (tmp_path / "tlog" / "checkpoint").read_text(encoding="utf-8") == log.final(0)
    assert not publisher.step()


def test_the_files_are_the_log_and_go_on_after_a_restart(tmp_path: Path) -> None:
    book = play()
    log = sequencer(tmp_path, book, book.log[:-5])
    publisher = Publisher(tmp_path / "tlog", log)
    log.publish()
    cosigned(log, book, 4)
    assert publisher.step()
    again = Publisher(tmp_path / "tlog", log)
    log.site.extend(book.log[-5:])
    log.publish()
    assert not again.step()  # the longer checkpoint is not final yet
    cosigned(log, book, 5)
    assert again.step()
    mirror = TileStore(tmp_path / "tlog")
    assert mirror.entries(0, mirror.size) == book.log
    assert mirror.root() == book.tree.root()


def test_an_older_final_checkpoint_never_replaces_a_newer_one(tmp_path: Path) -> None:
    book = play()
    log = sequencer(tmp_path, book, book.log)
    publisher = Publisher(tmp_path / "tlog", log)
    log.publish()
    cosigned(log, book, 4)
    assert publisher.step()
    (tmp_path / "other").mkdir()
    forgetful = sequencer(tmp_path / "other", book, book.log[:-5])
    forgetful.publish()
    cosigned(forgetful, book, 4)
    assert not Publisher(tmp_path / "tlog", forgetful).step()
