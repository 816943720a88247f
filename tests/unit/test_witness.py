"""A witness outside the membership cosigns one line of heads and nothing else, and the hub's policy counts it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.channel import Answer, post
from pumasi.hub import cases
from pumasi.hub.log import Sequencer
from pumasi.hub.witnesses import Witnesses
from pumasi.kernel.envelope import b64
from pumasi.kernel.errors import Invalid, Unreachable
from pumasi.ledger import note, verify
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.witness import cli
from pumasi.witness.app import make_app
from pumasi.witness.memory import Conflict, Inconsistent, Malformed, Memory, NotSigned, UnknownLog
from pumasi.witness.settings import load
from tests.casebook import ORIGIN, Casebook, play
from tests.live_hub import LiveHub

Live = Callable[[Casebook], LiveHub]
NAME = "witness.ministry.example/pumasi"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BOOK = play(until="opened")
LOG = note.log_vkey(ORIGIN, BOOK.public(BOOK.log_key))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    found = Memory(tmp_path / "witness.db", name=NAME, key=KEY, logs=(LOG,))
    yield found
    found.close()


def head(size: int, *, book: Casebook = BOOK) -> str:
    return book.checkpoint(size, cosigners=[])


def proof(old: int, size: int) -> list[bytes]:
    return BOOK.tree.consistency_proof(old, size)


def forked(size: int) -> str:
    tree = Tree()
    for data in [*BOOK.log[: size - 1], b"another entry"]:
        tree.append(leaf_hash(data))
    return note.sign_checkpoint(ORIGIN, size=size, root=tree.root(), key=BOOK.log_key)


# --- what it promises


def test_it_cosigns_heads_that_grow(memory: Memory, tmp_path: Path) -> None:
    for old, size in ((0, 7), (7, 7), (7, 40), (40, 64), (64, len(BOOK.log))):
        line = note.SignatureLine.parse(memory.add(old, proof(old, size) if 0 < old < size else [], head(size)))
        assert line.is_by(memory.vkey) and line.holds(memory.vkey, note.parse_checkpoint(head(size)).body)
        assert abs(line.time - time.time()) < 5
    again = Memory(tmp_path / "witness.db", name=NAME, key=KEY, logs=(LOG,))  # after kill -9
    with pytest.raises(Conflict):
        again.add(0, [], head(7))
    again.close()


@pytest.mark.parametrize(
    ("old", "steps", "text", "kind"),
    [
        (0, [], head(50), Conflict),
        (39, proof(39, 50), head(50), Conflict),
        (40, [], forked(40), Conflict),
        (40, [], head(50), Inconsistent),
        (40, proof(39, 50), head(50), Inconsistent),
        (40, proof(40, 50), forked(50), Inconsistent),
        (40, [bytes(32)], head(40), Inconsistent),
        (50, [], head(40), Malformed),
        (40, [], "no note", Malformed),
        (40, proof(40, 50), note.sign_checkpoint(ORIGIN, size=50, root=BOOK.tree.root(50), key=KEY), NotSigned),
        (0, [], note.sign_checkpoint("another.example/log", size=50, root=bytes(32), key=BOOK.log_key), UnknownLog),
    ],
)
def test_it_cosigns_nothing_else_and_remembers_what_it_had(
    memory: Memory, old: int, steps: list[bytes], text: str, kind: type[Exception]
) -> None:
    memory.add(0, [], head(40))
    with pytest.raises(kind):
        memory.add(old, steps, text)
    assert memory.newest(ORIGIN) is not None and memory.newest(ORIGIN).size == 40  # type: ignore[union-attr]
    memory.add(40, proof(40, 50), head(50))


def test_a_first_head_needs_no_proof_and_takes_none(memory: Memory) -> None:
    with pytest.raises(Inconsistent):
        memory.add(0, [bytes(32)], head(40))
    assert memory.newest(ORIGIN) is None


def test_a_log_may_have_two_keys(tmp_path: Path) -> None:
    book = play(until="opened")
    book.rotate_log()
    both = Memory(tmp_path / "witness.db", name=NAME, key=KEY, logs=(LOG, note.log_vkey(ORIGIN, book.public(book.log_key))))
    size = len(BOOK.log)
    both.add(0, [], head(size))
    assert both.add(size, book.tree.consistency_proof(size), book.checkpoint(cosigners=[]))
    both.close()


def test_of_many_at_once_one_line_of_heads_is_cosigned(memory: Memory) -> None:
    done: list[str] = []

    def ask(text: str) -> None:
        try:
            memory.add(0, [], text)
            done.append(text)
        except Conflict:
            pass

    asking = [threading.Thread(target=ask, args=(text,)) for text in [head(30), forked(30), head(31), forked(29)] * 3]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(done) == 1


# --- over HTTP


@pytest.fixture
def served(memory: Memory) -> Iterator[str]:
    config = uvicorn.Config(make_app(memory), host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=5)


def request(old: int | str, steps: list[bytes], text: str) -> bytes:
    return "\n".join([f"old {old}", *map(b64, steps), "", text]).encode()


def test_the_statuses_are_those_of_c2sp(served: str, memory: Memory) -> None:
    def ask(body: bytes) -> httpx.Response:
        return httpx.post(f"{served}/add-checkpoint", content=body, trust_env=False)

    good = ask(request(0, [], head(40)))
    assert good.status_code == 200 and note.SignatureLine.parse(good.text.removesuffix("\n")).is_by(memory.vkey)
    conflict = ask(request(0, [], head(50)))
    assert (conflict.status_code, conflict.headers["content-type"].partition(";")[0], conflict.text) == (409, "text/x.tlog.size", "40\n")
    assert ask(request(40, [], head(50))).status_code == 422
    assert ask(request(0, [], note.sign_checkpoint("x.example/l", size=1, root=bytes(32), key=KEY))).status_code == 404
    assert ask(request(40, [], note.sign_checkpoint(ORIGIN, size=40, root=BOOK.tree.root(40), key=KEY))).status_code == 403
    bad = [b"", b"old 1", b"\xff", b"old x\n\n" + head(40).encode(), request("040", [], head(40)), request(-1, [], head(40))]
    bad += [request(40, [bytes(32)] * 64, head(50)), request(40, [bytes(31)], head(50)), request(41, [], head(40)), b"x" * 70_000]
    assert [ask(body).status_code for body in bad] == [400] * len(bad)
    assert ask(request(40, proof(40, 50), head(50))).status_code == 200
    assert httpx.get(served, trust_env=False).text == f"{memory.vkey}\n"
    assert post(served, b"", seconds=5).status == 405
    with pytest.raises(Unreachable, match="nobody answers"):
        post("http://127.0.0.1:9/add-checkpoint", b"", seconds=2)


def policy_with(book: Casebook, vkey: note.VKey, url: str = "") -> str:
    """4 of the 5 hospitals AND the ministry."""
    lines = book.policy(quorum=4).splitlines()
    assert lines[-2].startswith("group cosigners 4") and lines[-1] == "quorum cosigners"
    both = [f"witness ministry {vkey} {url}".rstrip(), "group both all cosigners ministry", "quorum both"]
    return "\n".join([*lines[:-1], *both, ""])


def test_a_head_is_final_with_the_members_and_the_witness(live: Live, served: str, memory: Memory, tmp_path: Path) -> None:
    book = play()
    hub, log = live(book), None
    policy = policy_with(book, memory.vkey, served)
    memory.add(0, [], head(30))  # it knows this log already, and further than this hub remembers
    log = Sequencer(hub.hub.site, book.log_key, origin=ORIGIN, batch_seconds=0, policy=policy)
    log.publish()
    for member, key in book.cosigners.items():
        line = note.cosign(log.newest() or "", note.cosigner_name(ORIGIN, member), key=key, time=1)
        log.add_cosignature(log.published, line)
    assert log.final(0) is None, "the ministry has not cosigned"
    asking = Witnesses(log)
    assert asking.step() == 1 and asking.step() == 0
    final = log.final(0)
    assert final is not None and memory.newest(ORIGIN).size == len(book.log)  # type: ignore[union-attr]
    bundle = cases.bundle_of(log, book.case, final)
    verified = verify.verify(bundle)
    assert b'"pumasi bundle v2"' in bundle and list(verified.cosigners.values()).count("") == 1
    assert verify.policy_refusals(verify.read_policy(policy.encode()), verified) == []
    told = "\n".join(verify.report(verified, pinned=True))
    assert "- 5 cosignatures on the head" in told and f"Outside the membership the head is cosigned by {NAME}" in told
    without = verify.verify(book.bundle())
    refused = ["the cosignatures do not reach the quorum of the policy"]
    assert verify.policy_refusals(verify.read_policy(policy.encode()), without) == refused


def test_a_handover_under_such_a_policy_takes_its_members_and_the_witness_on_the_new_head() -> None:
    book = play(until="opened")
    vkey = note.VKey(NAME, note.COSIGNER, KEY.public_key().public_bytes_raw())
    policy = verify.read_policy(policy_with(book, vkey).encode())
    book.hand_over(signers=list(book.cosigners)[:4])
    book.play(after="opened")
    text = book.checkpoint()
    witnessed = note.add_cosignature(text, note.cosign(text, NAME, key=KEY, time=1))
    for checkpoint, expected in ((witnessed, 0), (text, 2)):
        verified = verify.verify(book.bundle(checkpoint=checkpoint, witnesses=[vkey]))
        assert len(verify.policy_refusals(policy, verified)) == expected


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([Answer(409, "text/plain", b"7\n")], "status 409"),
        ([Answer(409, "text/x.tlog.size", b"7")], "no understandable way"),
        ([Answer(409, "text/x.tlog.size", b"999999\n")], "cosigned a head over 999999 entries"),
        ([Answer(409, "text/x.tlog.size", b"7\n"), Answer(409, "text/x.tlog.size", b"8\n")], "status 409"),
        ([Answer(422, "text/plain", b"")], "did not only grow"),
        ([Answer(404, "text/plain", b"")], "does not know this log"),
        ([Answer(403, "text/plain", b"")], "does not know this log"),
        ([Answer(500, "text/plain", b"")], "status 500"),
        ([Answer(200, "text/plain", (note.cosign(head(40), NAME, key=KEY, time=1) + "\n").encode())], "not the cosignature"),
        ([Answer(200, "text/plain", b"x\n")], "signature line of a note"),
    ],
)
def test_a_witness_that_answers_something_else_is_named_once(
    live: Live, answers: list[Answer], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    book = play(until="opened")
    vkey = note.VKey(NAME, note.COSIGNER, KEY.public_key().public_bytes_raw())
    policy = policy_with(book, vkey, "https://witness.example")
    log = Sequencer(live(book).hub.site, book.log_key, origin=ORIGIN, batch_seconds=0, policy=policy)
    log.publish()
    asked: list[Any] = []

    def send(url: str, body: bytes) -> Answer:
        asked.append((url, body))
        return answers[(len(asked) - 1) % len(answers)]

    asking = Witnesses(log, send=send)
    assert asking.step() == 0 and asking.step() == 0
    assert asked[0][0] == "https://witness.example/add-checkpoint"
    told = [record.getMessage() for record in caplog.records if "witness ministry" in record.getMessage()]
    assert len(set(told)) == len(told) and words in told[0]
    assert len(note.parse_checkpoint(log.newest() or "").lines) == 1


def test_a_folder_becomes_a_witness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "ministry"
    with pytest.raises(Invalid, match="is no witness"):
        load(home)
    cli.init(home, name=NAME, port=8444)
    said = capsys.readouterr().out.splitlines()[0].split()
    assert said[:2] == ["witness", "NAME"] and said[3] == "http://127.0.0.1:8444"
    assert note.VKey.parse(said[2]).name == NAME and load(home).logs == []
    with pytest.raises(Invalid, match="is a witness already"):
        cli.init(home, name=NAME, port=8444)
