"""Those whom an attacker has to deceive: a hospital's node, an auditor, the other hospitals, and the reader of a bundle or a proof.

All of them are the real code. The attacker is the hub: it holds the log's key and the coordinating body's, serves what it likes and
signs any head. It does not hold the others' keys, except where a mutation says so.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from pumasi.channel import Channel
from pumasi.client import ledger as audit
from pumasi.client.home import Home
from pumasi.kernel.envelope import b64, canonical
from pumasi.kernel.errors import PumasiError
from pumasi.kernel.event import Entry
from pumasi.ledger import evidence, note, proof, verify
from pumasi.ledger.tree import Tree, leaf_hash
from pumasi.node.agent import Agent
from pumasi.node.courier import Courier, News
from pumasi.store.site import Site
from tests.casebook import ORIGIN
from tests.torture.histories import COSIGNERS, Stream
from tests.torture.parties import open_agent, prepare

QUORUM = 3  # of four: one may lie
NEWCOMERS = 60


class Told(Courier):
    """Brings whatever it was given, and keeps what the node would have sent."""

    def __init__(self) -> None:
        self.pages: list[News] = []
        self.cosigned: list[str] = []

    def news(self, start: int, *, seen: int, wait: float = 0) -> News:
        return self.pages.pop(0)

    def cosign(self, size: int, line: str) -> None:
        self.cosigned.append(line)

    def close(self) -> None:
        pass


class Pages:
    """The public part of a hub that serves these entries and this head as final."""

    def __init__(self, log: Sequence[bytes], head: str) -> None:
        self._log, self._head = log, head

    def get(self, path: str, *, wait: float = 0) -> httpx.Response:
        address = urlsplit(path)
        if address.path == "/checkpoint":
            return httpx.Response(200, text=self._head)
        start = int(parse_qs(address.query)["start"][0])
        return httpx.Response(200, json={"entries": [b64(data) for data in self._log[start : start + 2000]]})


class Auditor(Home):
    """Somebody who runs `pumasi ledger check` against such a hub."""

    def __init__(self, log: Sequence[bytes], head: str) -> None:
        self.channel = cast(Channel, Pages(log, head))


class Listener:
    """The node of one hospital, with its copy of a log up to `start`, which it has seen signed."""

    def __init__(self, folder: Path, book: Stream, start: int, *, who: str = COSIGNERS[0]) -> None:
        self._courier, self._book, self._start, self._folder, self._who = Told(), book, start, folder, who
        prepare(folder, book, who)
        self.restart()
        self._cut(start)
        self._site._load()
        self._before = copy.deepcopy((self._site.world, self._site.tree))

    @property
    def _site(self) -> Site:
        return self.agent.node.site

    @property
    def size(self) -> int:
        return self._site.tree.size

    @property
    def newest(self) -> str:
        return self._site.checkpoint() or ""

    def restart(self) -> None:
        """As after kill -9: everything from the disk."""
        self.agent = open_agent(self._folder, self._book, self._who, self._courier, synchronous="OFF")

    def _cut(self, size: int) -> None:
        with self._site.database.begin() as db:
            db.execute('DELETE FROM entries WHERE "index" >= ?', (size,))
            db.execute("DELETE FROM checkpoints")
            db.execute("DELETE FROM notes")
        self._site.save_checkpoint(size, head_over(self._book, self._book.log[:size]))

    def forget(self) -> None:
        """As it was before it heard anything."""
        self._cut(self._start)
        self._site.world, self._site.tree = copy.deepcopy(self._before)
        self.agent = Agent(self.agent.node)

    def hear(self, news: Sequence[bytes], head: str) -> tuple[list[str], list[str]]:
        """Why it does not believe this, and the cosignatures that it gives."""
        self._courier.pages, self._courier.cosigned = [News(list(news), head)], []
        try:
            self.agent.follow()
        except PumasiError as error:
            return list(error.reasons), self._courier.cosigned
        return [], self._courier.cosigned


def grown(log: Iterable[bytes]) -> Tree:
    tree = Tree()
    for data in log:
        tree.append(leaf_hash(data))
    return tree


def head_over(book: Stream, log: Sequence[bytes]) -> str:
    """A head that the log's key signs over these entries, whatever they are."""
    return note.sign_checkpoint(ORIGIN, size=len(log), root=grown(log).root(), key=book.log_key)


def small_case(seed: str) -> Stream:
    """One closed case of two hospitals, small, so that thousands of attempts are quick."""
    book = Stream(seed, hospitals=2, drb=1)
    book.staffed = book.hospitals
    book.play()
    return book


class Scene:
    """One closed case, everything that proves it, and those who look at it."""

    def __init__(self, folder: Path) -> None:
        self.book, self.other = small_case("the true history"), small_case("another consortium")
        self.log = list(self.book.log)
        self.events = [Entry(data).event for data in self.log]
        self.head = self.book.checkpoint()
        self.data = self.book.bundle()
        self.value: dict[str, Any] = json.loads(self.data)
        self.other_value: dict[str, Any] = json.loads(self.other.bundle())
        self.policy_text = self.book.policy(quorum=QUORUM)
        self.policy = verify.read_policy(self.policy_text.encode())
        self.note_policy = note.Policy.parse(self.policy_text)
        self.vkey = self.note_policy.logs[0]
        self.start = next(i for i, event in enumerate(self.events) if event.type == "WorkspaceOpened")
        self.listener = Listener(folder / "listener", self.book, self.start)
        bare = self.book.checkpoint(cosigners=COSIGNERS[:QUORUM])  # no cosignature more than it needs
        self.proofs = [proof.tlog_proof(i, self.book.tree.inclusion_proof(i), bare) for i in range(len(self.log))]
        self.newcomers = [self.book.newcomer(f"newcomer-{number}") for number in range(NEWCOMERS)]

    # --- who judges ---

    def judge_log(self, log: Sequence[bytes], head: str | None = None) -> list[str]:
        """A hub serves this log under this head (None: it signs the fitting one): why the node, an auditor or the others say no."""
        head = head_over(self.book, log) if head is None else head
        told, cosigned = self.tell(log[self.start :], head)
        if told or cosigned:
            return told or self.judge_heads(self.listener.newest)
        return self.judge_audit(log, head) or self.judge_heads(head)  # the node waits for the rest, and cosigns nothing

    def tell(self, news: Sequence[bytes], head: str) -> tuple[list[str], list[str]]:
        self.listener.forget()
        return self.listener.hear(news, head)

    def judge_audit(self, log: Sequence[bytes], head: str) -> list[str]:
        try:
            list(audit.check(Auditor(log, head)))
        except PumasiError as error:
            return list(error.reasons)
        return []

    def judge_heads(self, theirs: str) -> list[str]:
        """What another hospital, which holds the true log, can prove when it sees the head that this one was shown."""
        try:
            found = evidence.find(self.vkey, self.head, theirs, self.book.tree)
        except PumasiError as error:
            return list(error.reasons)
        return [] if found is None else evidence.check(found)[:1]

    def judge_bundle(self, value: Any) -> list[str]:
        data = value if isinstance(value, bytes) else canonical(value)
        try:
            return verify.policy_refusals(self.policy, verify.verify(data))
        except verify.Broken as broken:
            return list(broken.reasons)

    def judge_proof(self, text: str, entry: bytes) -> list[str]:
        try:
            proof.verify_tlog_proof(text, leaf_hash=leaf_hash(entry), policy=self.note_policy)
        except PumasiError as error:
            return list(error.reasons)
        return []

    def judge_note(self, text: str) -> list[str]:
        return self.note_policy.satisfied(text)
