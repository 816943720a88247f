"""A node that is shown another head than its neighbours keeps a file that proves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pumasi.ledger import evidence, note
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.node.gossip import Gossip
from tests.casebook import ORIGIN, Casebook, play
from tests.live_hub import LiveHub

Live = Callable[[Casebook], LiveHub]


def forked_head(book: Casebook, size: int) -> str:
    """What the log would sign over another history of this length."""
    tree = Tree()
    for data in [*book.log[: size - 1], b"another entry"]:
        tree.append(leaf_hash(data))
    return note.sign_checkpoint(ORIGIN, size=size, root=tree.root(), key=book.log_key)


def files(home: Path) -> list[Path]:
    return sorted((home / "evidence").glob("*.json")) if (home / "evidence").exists() else []


def test_two_stories_become_a_file_that_proves_it(live: Live) -> None:
    book = play(until="datasets")
    hub = live(book)
    node = hub.node(book.hospitals[0])
    gossip, mine = Gossip(node), book.checkpoint()
    node.site.save_checkpoint(book.tree.size, mine)
    found = gossip.compare("a neighbour", mine, forked_head(book, book.tree.size - 3))
    assert found is not None and files(node.home) == [found]
    assert evidence.check(found.read_bytes())[0].startswith("PROVEN")
    assert gossip.compare("a neighbour", mine, forked_head(book, book.tree.size - 3)) is None  # told once


def test_a_head_by_the_old_key_beyond_a_handover_is_evidence(live: Live) -> None:
    book = play(until="datasets")
    old, size = book.log_key, len(book.log)
    book.hand_over()
    book.member("newcomer", "company")
    hub = live(book)
    node = hub.node(book.hospitals[0])
    node.site.save_checkpoint(book.tree.size, book.checkpoint())
    went_on = note.sign_checkpoint(ORIGIN, size=size + 2, root=bytes(32), key=old)
    found = Gossip(node).compare("a neighbour", book.checkpoint(), went_on)
    assert found is not None and f"had handed the log over after {size}" in evidence.check(found.read_bytes())[0]
    # Up to the handover the old key's heads are compared with its own.
    node.site.save_checkpoint(size, note.sign_checkpoint(ORIGIN, size=size, root=book.tree.root(size), key=old))
    lied = note.sign_checkpoint(ORIGIN, size=size - 3, root=bytes(32), key=old)
    found = Gossip(node).compare("a neighbour", book.checkpoint(), lied)
    assert found is not None and "two stories" in evidence.check(found.read_bytes())[0]
    assert Gossip(node).compare("a neighbour", book.checkpoint(), "no note") is None


def test_one_story_is_no_evidence_and_heads_travel_through_the_hub(live: Live) -> None:
    book = play(until="datasets")
    hub = live(book)
    first, second = (hub.node(name) for name in book.hospitals[:2])
    for node in (first, second):
        node.site.save_checkpoint(book.tree.size, book.checkpoint())
        Gossip(node).step()
    assert set(first.courier.heads()) == set(book.hospitals[:2])
    assert files(first.home) == files(second.home) == []


def test_a_mirror_tells_what_the_hub_holds_back(live: Live, tmp_path: Path) -> None:
    book = play(until="datasets")
    node = live(book).node(book.hospitals[0])
    node.site.save_checkpoint(book.tree.size, book.checkpoint())
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "checkpoint").write_text(forked_head(book, book.tree.size), encoding="utf-8")
    node.settings = node.settings.model_copy(update={"mirrors": [str(tmp_path / "mirror")]})
    Gossip(node).step()
    (path,) = files(node.home)
    assert "two heads over" in evidence.check(path.read_bytes())[0]


def test_a_head_that_the_log_has_not_signed_accuses_nobody(live: Live) -> None:
    book = play(until="datasets")
    node = live(book).node(book.hospitals[0])
    stranger = note.sign_checkpoint(ORIGIN, size=5, root=bytes(32), key=book.cosigners[book.hospitals[0]])
    assert Gossip(node).compare("somebody", book.checkpoint(), stranger) is None
    assert files(node.home) == []
