"""kill -9 at random moments: a hub, nodes that record, send, follow and cosign, and a client, all at work while any of them dies.

`lay_siege` returns what was counted; it raises `AssertionError` when something acknowledged was lost, changed or told twice.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pumasi.kernel import rules
from pumasi.kernel.errors import Refused
from pumasi.kernel.event import Entry
from pumasi.kernel.world import World
from pumasi.ledger import note
from pumasi.ledger.tree import Tree, leaf_hash
from tests.casebook import COORDINATOR, ORIGIN
from tests.torture.histories import COSIGNERS, Stream, prepared
from tests.torture.parties import Line, Party, database, prepare, serve_hub, serve_node

PATIENCE = 60.0
CALM = 0.05  # how often nobody dies for long enough that a quorum can meet
LONGEST = 450  # entries after which a siege ends: every start replays them all


def entries_of(home: Path) -> list[bytes]:
    with closing(sqlite3.connect(f"file:{database(home)}?mode=ro", uri=True)) as db:
        return [bytes(row[0]) for row in db.execute('SELECT data FROM entries ORDER BY "index"')]


def notes_of(home: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{database(home)}?mode=ro", uri=True)) as db:
        return [row[0] for row in db.execute("SELECT note FROM checkpoints")]


@dataclass
class Siege:
    """One hub and a few nodes in `folder`, all of them mortal."""

    folder: Path
    template: Path
    book: Stream
    nodes: tuple[str, ...]
    seed: int
    acknowledged: dict[str, int] = field(default_factory=dict)  # digest -> index, as the hub said
    admitted: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)
    finals: set[str] = field(default_factory=set)  # every final checkpoint that was seen
    _stop: bool = False
    _pace: float = 1.0  # how long a strike is waited for: longer where a machine is too slow to get anything done in between

    def __post_init__(self) -> None:
        shutil.copytree(self.template, self.folder)
        self._chance = random.Random(self.seed)
        self._work = prepared(self.book.seed)
        self._parties: list[Party] = []
        self._seen: list[bytes] = []

    def home(self, name: str) -> Path:
        return self.folder / name

    def _start(self, *, dies: float, quiet: bool) -> None:
        hub = self.home("hub")
        self._parties = [Party("hub", serve_hub, (hub, self.book.seed, dies))]
        for name in self.nodes:
            self._parties.append(Party("node", serve_node, (self.home(name), self.book.seed, name, hub, 10 * dies, quiet)))
        for party in self._parties:
            party.start()

    def run(self, kills: int, acknowledged: int) -> None:
        """Kill until so many have died and so much was acknowledged, or the log is long; then let the rest settle and judge."""
        self._start(dies=0.02, quiet=False)
        client = threading.Thread(target=self._submit, daemon=True)
        client.start()
        try:
            while (self.kills.total() < kills or len(self.acknowledged) < acknowledged) and len(self._seen) < LONGEST:
                calm, before = self._chance.random() < CALM, len(self.acknowledged)
                time.sleep(self._pace * (0.5 if calm else self._chance.uniform(0.01, 0.16)))
                self._strike()
                self._pace = max(1.0, self._pace * (1.2 if len(self.acknowledged) == before else 0.7))
        finally:
            self._stop = True
            client.join(timeout=PATIENCE)
            for party in self._parties:
                party.kill()
        assert not client.is_alive(), "the client never got its last answer"
        self._settle()

    def _strike(self) -> None:
        fallen = [(party, f"{party.name}, in the act") for party in self._parties if party.died()]
        if not fallen:
            victim = self._chance.choice([self._parties[0], *self._parties])
            victim.kill()
            fallen = [(victim, victim.name)]
        for party, how in fallen:
            self.kills[how] += 1
            if party.name == "hub":
                self._judge_hub()
            party.start()

    def _judge_hub(self) -> None:
        """What is on the disk of a killed hub extends what was there before, and holds all it had acknowledged."""
        now, promised = entries_of(self.home("hub")), dict(self.acknowledged)
        assert now[: len(self._seen)] == self._seen, "an entry was lost or changed"
        digests = {Entry(data).digest: index for index, data in enumerate(now) if index >= len(self._seen)}
        for digest, index in promised.items():
            assert digests.get(digest, index) == index and index < len(now), "an acknowledged entry was lost or moved"
        self._seen = now

    # --- the client ---

    def _submit(self) -> None:
        line, number = Line(self.home("hub")), 0
        while not self._stop:
            start = len(self._work.log)
            self._work.case_number(number, until="destroyed")
            case, number = self._work.log[start:], number + 1
            while case and not self._stop:
                batch, case = case[: (size := self._chance.randint(1, 4))], case[size:]
                answers = line.insist("submit", batch, until=lambda: self._stop)
                for data, told in zip(batch, answers or [], strict=False):
                    assert told["reasons"] == [], told
                    self.acknowledged[Entry(data).digest] = told["index"]
                if (final := line.insist("final", 0, until=lambda: self._stop)) is not None:
                    self.finals.add(final)
            self._admit(line, f"newcomer-{self.seed}-{number}")
        line.close()

    def _admit(self, line: Line, name: str) -> None:
        """A company applies; the coordinating body admits it by an act of its own."""
        told = line.insist("submit", [self._work.newcomer(name)], until=lambda: self._stop)
        if told is None:
            return
        try:
            digest = line.insist("admit", name, until=lambda: self._stop)
        except Refused as refused:
            assert "is a member already" in refused.reasons[0], refused.reasons  # the answer before this one was lost
            digest = None
        if not self._stop or digest is not None:
            self.admitted.add(name)

    # --- the end ---

    def _settle(self) -> None:
        """Nobody dies any more: every copy becomes the same, with a quorum under its head."""
        self._start(dies=0.0, quiet=True)
        line, deadline = Line(self.home("hub")), time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                time.sleep(0.05)
                sizes = {len(entries_of(self.home(name))) for name in ("hub", *self.nodes)}
                receipts = self._receipts() <= {Entry(data).digest for data in entries_of(self.home("hub"))}
                if len(sizes) == 1 and receipts and (final := line.insist("final", max(sizes))) is not None:
                    self.finals.add(final)
                    break
            else:
                raise AssertionError("the copies did not become the same")
        finally:
            line.close()
            for party in self._parties:
                party.kill()
        self._judge()

    def _receipts(self) -> set[str]:
        files = [self.home(name) / "receipts" for name in self.nodes]
        return {line for file in files if file.exists() for line in file.read_text().splitlines() if len(line) == 64}

    def _judge(self) -> None:
        self._judge_hub()
        log, world, tree = self._seen, World(), Tree()
        for data in log:
            rules.apply(world, Entry(data))
            tree.append(leaf_hash(data))
        digests = [Entry(data).digest for data in log]
        assert len(set(digests)) == len(digests), "an entry was logged twice"
        assert {digest: digests.index(digest) for digest in self.acknowledged} == self.acknowledged
        assert self._receipts() <= set(digests), "an act that was recorded never reached the log"
        assert all(world.members[name].admitted for name in self.admitted)
        assert all(entries_of(self.home(name)) == log for name in self.nodes), "two copies differ"
        cosigners = [note.cosigner_vkey(ORIGIN, m.id, m.cosigner) for m in world.members.values() if m.cosigner]
        assert world.founded is not None
        vkey = note.log_vkey(ORIGIN, world.founded.log_key)
        for text in [*self.finals, *(text for name in ("hub", *self.nodes) for text in notes_of(self.home(name)))]:
            head = note.parse_checkpoint(text)
            note.check(head, log=vkey, cosigners=cosigners)
            assert head.root == tree.root(head.size), "a head was signed over another history"


@dataclass(frozen=True)
class Outcome:
    kills: Counter[str]
    acknowledged: int
    recorded: int
    finals: int


def lay_siege(folder: Path, *, kills: int, seed: int, acknowledged: int = 0, nodes: tuple[str, ...] = COSIGNERS[:3]) -> Outcome:
    """Sieges one after the other until so many processes were killed and the hub has acknowledged so much."""
    book, template = prepared("siege"), folder / "template"
    prepare(template / "hub", book, COORDINATOR)
    for name in nodes:
        prepare(template / name, book, name)
    done, told, recorded, finals, number = Counter[str](), 0, 0, 0, 0
    while done.total() < kills or told < acknowledged:
        siege = Siege(folder / f"siege {number}", template, book, nodes, seed + number)
        siege.run(kills - done.total(), acknowledged - told)
        done, number = done + siege.kills, number + 1
        told, recorded, finals = told + len(siege.acknowledged), recorded + len(siege._receipts()), finals + len(siege.finals)
        shutil.rmtree(siege.folder)
    return Outcome(done, told, recorded, finals)
