"""A casebook's log behind a real hub, a real TLS server on loopback, and real nodes and people's folders that know the same log.

Clocks of the parties are injected (`Clock`); requests are signed and checked by the machine's own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.channel import Channel
from pumasi.client.home import Home
from pumasi.hub import cli as hub_cli
from pumasi.hub import settings as hub_settings
from pumasi.hub.app import Hub, make_app
from pumasi.hub.callers import Callers
from pumasi.hub.keyshares import KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.publisher import Publisher
from pumasi.hub.readers import Readers
from pumasi.hub.tasks import Mailbox
from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.envelope import Keys, b64
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.study import Dataset
from pumasi.node import settings as node_settings
from pumasi.node.app import Node, table_sources
from pumasi.node.courier import Courier
from pumasi.store.db import open_db, put_out
from pumasi.store.document import Document, keep_document
from pumasi.store.keyring import FileKeyring
from pumasi.store.site import Site
from tests.casebook import COORDINATOR, HOSPITALS, ORIGIN, START, Casebook


@dataclass
class Clock:
    """The time as the parties of a test know it: an hour after the casebook began, until it is moved."""

    time: datetime = START + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.time


CSV = "patient_no,name,age,birth_date,death14\n" + "".join(
    f"p{number},MARKER-{number},{40 + number % 50},19{20 + number % 70}-05-01,{number % 3 == 0:d}\n" for number in range(200)
)


class DescribedBook(Casebook):
    """A casebook whose hospitals describe tables like CSV, so that their nodes can write permits."""

    def datasets(self) -> None:
        many = {"kind": "number", "spread": "many", "levels": []}
        columns = {
            "age": many,
            "birth_date": {"kind": "date", "spread": "many", "levels": []},
            "death14": {"kind": "number", "spread": "one-or-two", "levels": ["0", "1"]},
        }
        for hospital in HOSPITALS:
            tables = {"patients": {"person": "patient_no", "columns": columns}}
            dataset = Dataset.read({"hospital": hospital, "smallest_cell": 10, "tables": tables})
            self.say(ev.DatasetDescribed, hospital, case=CONSORTIUM, dataset=self.keep(dataset.plain()))

    def now(self) -> str:
        """Long before any machine's clock, because people's folders date what they say by that."""
        return f"2020{super().now()[4:]}"

    def application(self, **changes: Any) -> str:
        return super().application(datasets={name: self.world.datasets[name] for name in self.hospitals}, **changes)

    def hear(self, entries: list[bytes]) -> None:
        """Take in what others said behind the book's own entries."""
        for data in entries:
            rules.apply(self.world, Entry(data))
            self.append_raw(data)


class Server:
    """One HTTPS server for many tests: `app` is the hub it serves now. Its certificate is made as `pumasi hub init` makes it."""

    def __init__(self, folder: Path) -> None:
        self.app: Callable[..., Awaitable[None]] | None = None
        hub_cli.init(folder / "tls", name=COORDINATOR, origin=ORIGIN, host="127.0.0.1", port=1)
        self.certificate = folder / "tls" / "hub.crt"
        config = uvicorn.Config(
            self._serve, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", interface="asgi3", ws="none",
            ssl_certfile=self.certificate, ssl_keyfile=folder / "tls" / "keys" / "tls.key", timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True, name="https")
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)


def party(folder: Path, book: Casebook, who: str, *, clock: Clock, file: str) -> Site:
    """The record of one party that has copied the casebook's log and sent every event of its own in it."""
    database = open_db(folder / file, synchronous="OFF")  # no test here pulls the plug
    site = Site(database, id=who, keys=book.keys_of(who), now=clock)
    assert not any(site.extend(book.log))
    own = [entry for entry in map(Entry, book.log) if entry.event.author == who]
    with database.begin() as db:
        for entry in own:
            put_out(db, entry, state="logged")
        for document in book.documents.values():
            keep_document(db, Document(document["salt"], document["body"]))
    return site


@dataclass
class LiveHub:
    """The hub of a casebook, served by `server`, with whoever a test needs around it."""

    folder: Path
    book: Casebook
    server: Server
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._open = ExitStack()
        home = self.folder / "hub"
        hub_cli.init(home, name=COORDINATOR, origin=ORIGIN, host="127.0.0.1", port=self.server.port)
        (home / "hub.crt").write_bytes(self.server.certificate.read_bytes())
        (home / "keys" / "coordinator.key").write_text(self.book.keys_of(COORDINATOR).to_text())
        (home / "keys" / "log.key").write_text(b64(self.book.log_key.private_bytes_raw()) + "\n")
        self.home = home
        self.hub = self.wire(party(home, self.book, COORDINATOR, clock=self.clock, file="hub.db"))
        self.hub.log.publish()
        self.server.app = make_app(self.hub)

    def wire(self, site: Site) -> Hub:
        """As `open_hub`, with this test's clock."""
        log = Sequencer(site, self.book.log_key, origin=ORIGIN, batch_seconds=0)
        shares = KeyShares(FileKeyring(self.home / "shares"), site)
        mailbox, publisher = Mailbox(self.home / "mailbox.db"), Publisher(self.home / "tlog", log)
        callers, readers = Callers(site, self.home), Readers(self.home / "papers.db", site)
        return Hub(hub_settings.load(self.home), site, log, mailbox, shares, publisher, callers, readers)

    def reopen(self) -> Hub:
        """The hub again after it was killed: everything from its folder, nothing from memory."""
        site = Site(open_db(self.home / "hub.db", synchronous="OFF"), id=COORDINATOR, keys=self.book.keys_of(COORDINATOR), now=self.clock)
        self.hub = self.wire(site)
        self.server.app = make_app(self.hub)
        return self.hub

    def close(self) -> None:
        self._open.close()

    # --- whoever talks to it ---

    def channel(self, author: str, *, keys: Keys | None = None, patience: float = 2.0) -> Channel:
        keys = keys or self.book.keys_of(author)
        channel = Channel(self.server.url, self.home / "hub.crt", author=author, keys=keys, patience=patience)
        self._open.callback(channel.close)
        return channel

    def plain(self) -> httpx.Client:
        """A client that signs nothing."""
        return self._open.enter_context(httpx.Client(base_url=self.server.url, verify=_pinned(self.home / "hub.crt"), trust_env=False))

    def node(self, hospital: str, *, tables: str = "", settings: dict[str, str] | None = None) -> Node:
        """The node of a hospital; `tables` are sections of node.toml, `settings` replace lines of it."""
        home = self.folder / f"node {hospital}"
        (home / "keys" / "permits").mkdir(parents=True)
        (home / "workspaces").mkdir()
        (home / "hub.crt").write_bytes(self.server.certificate.read_bytes())
        node_settings.write(home, name=hospital, kind="hospital", hub=self.server.url, smallest_cell=10)
        text = (home / "node.toml").read_text(encoding="utf-8")
        for line, new in (settings or {}).items():
            assert line in text
            text = text.replace(line, new)
        (home / "node.toml").write_text(f"{text}\n{tables}", encoding="utf-8")
        return self._wire_node(home, party(home, self.book, hospital, clock=self.clock, file="node.db"))

    def reopen_node(self, node: Node) -> Node:
        """The node again after it was killed."""
        site = Site(open_db(node.home / "node.db", synchronous="OFF"), id=node.settings.name, keys=node.site.keys, now=self.clock)
        return self._wire_node(node.home, site)

    def _wire_node(self, home: Path, site: Site) -> Node:
        loaded = node_settings.load(home)
        courier = Courier(loaded.hub, home / "hub.crt", hospital=site.id, keys=site.keys)
        self._open.callback(courier.close)
        cosigner = self.book.cosigners.get(site.id) or Ed25519PrivateKey.generate()
        return Node(home, loaded, site, courier, cosigner, table_sources(home, loaded), FileKeyring(home / "keys" / "permits"))

    def person(self, who: str) -> Home:
        """The folder of a person who has done what the log says they did."""
        folder = self.folder / f"person {who}"
        Home.new(folder, id=who, hub=self.server.url, certificate=self.home / "hub.crt").close()
        (folder / "secret.key").write_text(self.book.keys_of(who).to_text())
        logged = [data for data in self.book.log if Entry(data).event.author == who]
        lines = [json.dumps({"do": "logged", "event": b64(data)}) + "\n" for data in logged]
        (folder / "outbox.jsonl").write_text("".join(lines))
        home = Home(folder)
        self._open.callback(home.close)
        return home


def _pinned(certificate: Path) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(certificate))
