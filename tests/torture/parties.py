"""The hub's sequencer and the node's agent as small processes of their own, which can be killed at any moment and started again.

Everything that keeps and decides is the real thing: `Site`, `Snapshots`, `Sequencer`, `Agent.follow`, `Agent.send_recorded`, on
databases on the disk. Only HTTPS is replaced, by a local connection that carries the same requests. A process may be told to kill
itself in the middle of its most delicate acts: after an event is durable and before that is said, before and after a cosignature is
sent. Such a process also writes snapshots all the time.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Literal

from pumasi.hub.log import Sequencer
from pumasi.kernel import event as ev
from pumasi.kernel.errors import NotFound, PumasiError, Refused, Tampered, Unreachable
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.node import settings as node_settings
from pumasi.node.agent import Agent
from pumasi.node.app import Node
from pumasi.node.courier import Courier, News
from pumasi.node.outgoing import SignedEvent
from pumasi.store.db import open_db, put_out
from pumasi.store.document import Document
from pumasi.store.keyring import FileKeyring
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots
from tests.casebook import COORDINATOR, ORIGIN
from tests.torture.histories import Stream

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "tests.torture.parties"])
WAIT = 0.5  # seconds of one long poll here
PAUSE = 0.03  # between two acts of a node


def database(home: Path) -> Path:
    return home / "party.db"


def open_site(home: Path, book: Stream, who: str, *, synchronous: Literal["FULL", "OFF"] = "FULL") -> Site:
    """The record of a party: with full syncs as its process opens it, or fast and without snapshots."""
    keys = book.keys_of(who)
    snapshots = Snapshots(home / "snapshot", keys) if synchronous == "FULL" else None
    return Site(open_db(database(home), synchronous=synchronous), id=who, keys=keys, snapshots=snapshots)


def keep_snapshots(site: Site) -> None:
    """Write snapshots far more often than a process would, so that some kill meets one half-written."""
    while True:
        time.sleep(random.uniform(0.02, 0.4))
        site.save_snapshot()


def prepare(home: Path, book: Stream, who: str) -> None:
    """The folder of a party that has copied the book's log and sent every event of its own in it."""
    home.mkdir(parents=True)
    site = open_site(home, book, who, synchronous="OFF")
    assert not any(site.extend(book.log))
    own = [entry for entry in map(Entry, book.log) if entry.event.author == who]
    with site.database.begin() as db:
        for entry in own:
            put_out(db, entry, state="logged")
    site.database.dispose()


def open_sequencer(home: Path, book: Stream) -> Sequencer:
    return Sequencer(open_site(home, book, COORDINATOR), book.log_key, origin=ORIGIN, batch_seconds=0)


def open_agent(home: Path, book: Stream, who: str, courier: Courier, *, synchronous: Literal["FULL", "OFF"] = "FULL") -> Agent:
    """The agent of a hospital's node, with this courier."""
    if not (home / "node.toml").exists():
        node_settings.write(home, name=who, kind="hospital", hub="https://hub.example", smallest_cell=10)
    site = open_site(home, book, who, synchronous=synchronous)
    return Agent(Node(home, node_settings.load(home), site, courier, book.cosigner_key(who), {}, FileKeyring(home / "keys" / "permits")))


# --- the hub ---------------------------------------------------------------------------------------------------------


def answer(log: Sequencer, request: tuple[Any, ...]) -> Any:
    """What the hub's HTTP interface does with the same request."""
    match request:
        case ("submit", data):
            return log.submit(data)
        case ("news", start, seen, wait):
            log.site.wait_for(lambda: log.site.tree.size > start or log.published > seen, wait)
            return log.site.entries(start, start + 2000), log.newest()
        case ("cosign", size, line):
            log.add_cosignature(size, line)
        case ("admit", member):
            return log.record(ev.MemberAdmitted, case=CONSORTIUM, member=member).digest
        case ("final", covering):
            return log.final(covering)
    return None


def serve_hub(home: Path, seed: str, dies: float = 0.0) -> None:
    """Answer until killed; with the probability `dies` a hub kills itself between having done something and saying so."""
    log = open_sequencer(home, Stream(seed))
    log.start()
    if dies:
        threading.Thread(target=keep_snapshots, args=(log.site,), daemon=True).start()
    address = str(home / "socket")
    with suppress(FileNotFoundError):
        Path(address).unlink()
    with Listener(address, "AF_UNIX", backlog=64) as listener:
        while True:
            threading.Thread(target=_converse, args=(listener.accept(), log, dies), daemon=True).start()


def _converse(connection: Connection, log: Sequencer, dies: float) -> None:
    chance = random.Random()
    with connection, suppress(EOFError, ConnectionError):
        while True:
            request = connection.recv()
            try:
                said = ("done", answer(log, request))
            except PumasiError as error:
                said = (type(error).__name__, error.reasons)
            if request[0] != "news" and chance.random() < dies:
                os.kill(os.getpid(), signal.SIGKILL)
            connection.send(said)


class Line:
    """Talks with a hub that may be gone at any moment."""

    def __init__(self, hub: Path) -> None:
        self._address = str(hub / "socket")
        self._connection: Connection | None = None

    def ask(self, *request: Any) -> Any:
        """The hub's answer; `Unreachable` when it does not answer, and then nothing is known."""
        try:
            if self._connection is None:
                self._connection = Client(self._address, "AF_UNIX")
            self._connection.send(request)
            kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise Unreachable("the hub does not answer") from error
        match kind:
            case "done":
                return value
            case "NotFound":
                raise NotFound(*value)
            case "Tampered":
                raise Tampered(*value)
            case _:
                raise Refused(*value)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def insist(self, *request: Any, until: Callable[[], bool] = lambda: False) -> Any:
        """Ask until there is an answer."""
        while not until():
            try:
                return self.ask(*request)
            except Unreachable:
                time.sleep(0.005)
        return None


# --- a node ----------------------------------------------------------------------------------------------------------


class Wire(Courier):
    """A courier over a `Line`. With the probability `dies` the node is killed around the sending of a cosignature."""

    def __init__(self, hub: Path, *, dies: float = 0.0) -> None:
        self._following, self._sending, self._dies, self._chance = Line(hub), Line(hub), dies, random.Random()

    def close(self) -> None:
        self._following.close()
        self._sending.close()

    def news(self, start: int, *, seen: int, wait: float = WAIT) -> News:
        return News(*self._following.ask("news", start, seen, min(wait, WAIT)))

    def cosign(self, size: int, line: str) -> None:
        self._perhaps_die()
        with suppress(NotFound):
            self._following.ask("cosign", size, line)
        self._perhaps_die()

    def send_event(self, event: SignedEvent) -> list[str]:
        assert type(event) is SignedEvent
        return [str(reason) for reason in self._sending.ask("submit", [event.data])[0]["reasons"]]

    def _perhaps_die(self) -> None:
        if self._chance.random() < self._dies:
            os.kill(os.getpid(), signal.SIGKILL)


def serve_node(home: Path, seed: str, who: str, hub: Path, dies: float = 0.0, quiet: bool = False) -> None:
    """Follow and cosign until killed; unless `quiet`, act now and then, and write each receipt down once the act is recorded."""
    agent = open_agent(home, Stream(seed), who, Wire(hub, dies=dies))
    threading.Thread(target=forever, args=(agent.follow,), daemon=True).start()
    if dies:
        threading.Thread(target=keep_snapshots, args=(agent.node.site,), daemon=True).start()
    receipts = os.open(home / "receipts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        if not quiet:
            dataset = Document.new({"drawn": random.getrandbits(40)})
            receipt = agent.node.site.record(ev.DatasetDescribed, case=CONSORTIUM, opened=[dataset], dataset=dataset.commitment)
            os.write(receipts, f"{receipt.digest}\n".encode())
        with suppress(Unreachable):
            agent.send_recorded()
        time.sleep(PAUSE)


def forever(step: Callable[[], None]) -> None:
    while True:
        try:
            step()
        except Unreachable:
            time.sleep(0.005)


@dataclass
class Party:
    """A process that is started again whenever it has died."""

    name: str
    serve: Callable[..., None]
    arguments: tuple[Any, ...]
    process: Any = None

    def start(self) -> None:
        self.process = CONTEXT.Process(target=self.serve, args=self.arguments, daemon=True, name=self.name)
        self.process.start()

    def died(self) -> bool:
        """Whether it has been killed; any other end of it is a fault."""
        if self.process.is_alive():
            return False
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL, f"{self.name} ended by itself with {self.process.exitcode}"
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
