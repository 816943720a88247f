"""The way to a hub: HTTPS to one pinned certificate, each request signed. Everything here dials out; nothing listens.

A hub that is down is waited for, because it can be stopped and started at any time and every request may be sent twice.
"""

from __future__ import annotations

import json
import selectors
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pumasi.kernel import request
from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, Tampered, Unreachable
from pumasi.store.hubname import hub_name

KINDS: dict[int, type[PumasiError]] = {401: Tampered, 404: NotFound, 409: Refused, 422: Invalid}
AWAY = 503  # a hub that is there and cannot answer yet is waited for as well
ANSWER = 30.0  # seconds that a hub may take beyond the time it was asked to wait
KEPT = 100.0  # seconds for which a connection may be used again; a hub ends it after 120
ASCII = "%/?:@!$&'()*+,;=~"  # what a path and query hold as they are, besides letters and digits


@dataclass(frozen=True)
class Answer:
    """What somebody has answered."""

    status: int
    kind: str  # its media type
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        return json.loads(self.content)


def post(url: str, body: bytes, *, seconds: float) -> Answer:
    """One request to a witness of the log, who is no member; `Unreachable` when nobody answers in time. Nothing secret goes there."""
    try:
        where = _split(url, "https://", "http://")
        kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
        connection = kind(where.hostname or "", where.port, timeout=seconds)
        try:
            return _ask(connection, "POST", where.path or "/", body, {"Content-Type": "text/plain"})
        finally:
            connection.close()
    except (OSError, HTTPException, Invalid) as error:
        raise Unreachable(f"nobody answers at {url} ({type(error).__name__})") from error


def _split(url: str, *schemes: str) -> SplitResult:
    """The parts of an address; `Invalid` when it is none."""
    try:
        parts = urlsplit(url)
        if parts.hostname and url.startswith(schemes) and (parts.port is None or parts.port > 0):
            return parts
    except ValueError as error:
        raise Invalid(f"'{url}' is no address of a hub: {error}") from error
    raise Invalid(f"'{url}' is no address of a hub; it begins with {schemes[0]} and a name")


def _ask(connection: HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    return Answer(response.status, response.headers.get("content-type", ""), response.read())


class Connections:
    """Connections to one place, each used by one thread at a time and kept for the next request."""

    def __init__(self, where: SplitResult, context: ssl.SSLContext) -> None:
        self._where, self._context = where, context
        self._idle: list[tuple[HTTPSConnection, float]] = []
        self._lock, self._closed = threading.Lock(), False

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str], *, seconds: float) -> Answer:
        connection, whole = self._take(), False
        try:
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            answer = _ask(connection, method, path, body, headers)
            whole = True
            return answer
        finally:
            self._give_back(connection, usable=whole)

    def _give_back(self, connection: HTTPSConnection, *, usable: bool) -> None:
        with self._lock:
            if usable and not self._closed:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()

    def _take(self) -> HTTPSConnection:
        """The connection that was used last, unless it is too old or the other side has ended it."""
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if connection.sock is not None and time.monotonic() < since + KEPT and not _speaks(connection):
                    return connection
                connection.close()
        assert self._where.hostname is not None  # an address has one
        return HTTPSConnection(self._where.hostname, self._where.port, context=self._context)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection, _ in self._idle:
                connection.close()


# Windows has no poll; its select takes any number of a socket
_SELECTOR: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def _speaks(connection: HTTPSConnection) -> bool:
    """Whether the other side says something that it was not asked: that it ends here."""
    with _SELECTOR() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


@lru_cache(maxsize=16)
def _trusting(certificate: str) -> ssl.SSLContext:
    """TLS that trusts this certificate and no other. Many people of one process may pin the same."""
    return ssl.create_default_context(cadata=certificate)


class Channel:
    """Signed requests of `author` to the hub at `url`. Safe for several threads."""

    def __init__(self, url: str, certificate: Path, *, author: str, keys: Keys, patience: float = 60.0) -> None:
        self.url, self.author, self._keys, self._patience = url.rstrip("/"), author, keys, patience
        if not certificate.is_file():
            raise Invalid(f"there is no hub certificate at {certificate}; copy hub.crt from the coordinating body")
        where = _split(self.url, "https://")
        try:
            pinned = certificate.read_text(encoding="utf-8")
            self._prefix, self._connections, self._name = where.path, Connections(where, _trusting(pinned)), hub_name(pinned)
        except ssl.SSLError as error:
            raise Invalid(f"{certificate} is no certificate; copy hub.crt from the coordinating body again") from error
        self.closing = threading.Event()

    def close(self) -> None:
        self.closing.set()
        self._connections.close()

    def get(self, target: str, *, wait: float = 0) -> Answer:
        return self._send("GET", target, b"", wait)

    def post(self, target: str, body: bytes, *, wait: float = 0) -> Answer:
        return self._send("POST", target, body, wait)

    def put(self, target: str, body: bytes) -> Answer:
        return self._send("PUT", target, body, 0)

    def _send(self, method: str, target: str, body: bytes, wait: float) -> Answer:
        path = quote(self._prefix + target, safe=ASCII)
        named = {"author": self.author, "hub": self._name, "method": method, "target": _readable(path)}

        def once() -> Answer:
            signed = request.header(self._keys, **named, body=body, now=datetime.now(UTC))
            return self._connections.ask(method, path, body, {request.HEADER: signed}, seconds=wait + ANSWER)

        answer = self._patiently(once)
        if 200 <= answer.status < 300:
            return answer
        kind = KINDS.get(answer.status, PumasiError)
        raise kind(*_reasons(answer))

    def _patiently(self, once: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while True:
            try:
                answer = once()
                if self.closing.is_set():
                    raise Unreachable(f"this party speaks to the hub at {self.url} no more")
                if answer.status != AWAY or time.monotonic() > deadline:
                    return answer
            except (OSError, HTTPException) as error:
                if _is_another(error):
                    raise Tampered(
                        f"whoever answers at {self.url} does not have the certificate that is pinned here; "
                        "compare hub.crt with the coordinating body's, and the address"
                    ) from error
                if time.monotonic() > deadline or self.closing.is_set():
                    raise Unreachable(
                        f"the hub at {self.url} does not answer ({type(error).__name__}); start it with `pumasi hub serve`, then try again"
                    ) from error
            self.closing.wait(pause)
            pause = min(pause * 2, 1.0)


def _is_another(error: BaseException | None) -> bool:
    """Whether the other side showed a certificate that is not the pinned one."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _readable(path: str) -> str:
    """Path decoded, query as sent: the form in which the hub's framework shows both."""
    plain, mark, query = path.partition("?")
    return unquote(plain) + mark + query


def _reasons(answer: Answer) -> list[str]:
    try:
        value: Any = answer.json()
        return [str(reason) for reason in value["reasons"]]
    except (ValueError, KeyError, TypeError):
        return [f"the hub answered with status {answer.status}; its log says why"]
