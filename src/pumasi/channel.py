"""The way to a hub: HTTPS to one pinned certificate, each request signed. Everything here dials out; nothing listens.

A hub that is down is waited for, because it can be stopped and started at any time and every request may be sent twice.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from pumasi.kernel import request
from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, Tampered, Unreachable
from pumasi.store.hubname import hub_name

KINDS: dict[int, type[PumasiError]] = {401: Tampered, 404: NotFound, 409: Refused, 422: Invalid}
AWAY = 503  # a hub that is there and cannot answer yet is waited for as well
ANSWER = 30.0  # seconds that a hub may take beyond the time it was asked to wait


@dataclass(frozen=True)
class Answer:
    """What somebody who is no hub has answered."""

    status: int
    kind: str  # its media type
    text: str


def post(url: str, body: bytes, *, seconds: float) -> Answer:
    """One request to a witness of the log, who is no member; `Unreachable` when nobody answers in time. Nothing secret goes there."""
    try:
        answer = httpx.post(url, content=body, headers={"Content-Type": "text/plain"}, timeout=seconds, trust_env=False)
        return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.text)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"nobody answers at {url} ({type(error).__name__})") from error


class Channel:
    """Signed requests of `author` to the hub at `url`. Safe for several threads."""

    def __init__(self, url: str, certificate: Path, *, author: str, keys: Keys, patience: float = 60.0) -> None:
        self.url, self.author, self._keys, self._patience = url.rstrip("/"), author, keys, patience
        if not certificate.is_file():
            raise Invalid(f"there is no hub certificate at {certificate}; copy hub.crt from the coordinating body")
        if not self.url.startswith("https://"):
            raise Invalid(f"'{url}' is no address of a hub; it begins with https://")
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=120)
        try:
            context = ssl.create_default_context(cafile=str(certificate))  # this certificate and no other
            self._name = hub_name(certificate.read_text(encoding="utf-8"))
            self._http = httpx.Client(base_url=self.url, verify=context, limits=limits, trust_env=False)
        except ssl.SSLError as error:
            raise Invalid(f"{certificate} is no certificate; copy hub.crt from the coordinating body again") from error
        except httpx.InvalidURL as error:
            raise Invalid(f"'{url}' is no address of a hub: {error}") from error
        self.closing = threading.Event()

    def close(self) -> None:
        self.closing.set()
        self._http.close()

    def get(self, target: str, *, wait: float = 0) -> httpx.Response:
        return self._send("GET", target, b"", wait)

    def post(self, target: str, body: bytes, *, wait: float = 0) -> httpx.Response:
        return self._send("POST", target, body, wait)

    def put(self, target: str, body: bytes) -> httpx.Response:
        return self._send("PUT", target, body, 0)

    def _send(self, method: str, target: str, body: bytes, wait: float) -> httpx.Response:
        def once() -> httpx.Response:
            path = httpx.URL(self.url + target).raw_path.decode("ascii")
            named = {"author": self.author, "hub": self._name, "method": method, "target": _readable(path)}
            signed = request.header(self._keys, **named, body=body, now=datetime.now(UTC))
            return self._http.request(method, target, content=body, headers={request.HEADER: signed}, timeout=wait + ANSWER)

        response = self._patiently(once)
        if response.is_success:
            return response
        kind = KINDS.get(response.status_code, PumasiError)
        raise kind(*_reasons(response))

    def _patiently(self, once: Callable[[], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while True:
            try:
                response = once()
                if response.status_code != AWAY or time.monotonic() > deadline or self.closing.is_set():
                    return response
            except httpx.TransportError as error:
                if _is_another(error):
                    raise Tampered(
                        f"whoever answers at {self.url} does not have the certificate that is pinned here; "
                        "compare hub.crt with the coordinating body's, and the address"
                    ) from error
                if time.monotonic() > deadline or self.closing.is_set():
                    raise Unreachable(
                        f"the hub at {self.url} does not answer ({type(error).__name__}); start it with `pumasi hub serve`, then try again"
                    ) from error
            except RuntimeError as error:  # what the client says once it was closed
                if not self.closing.is_set():
                    raise
                raise Unreachable(f"this party speaks to the hub at {self.url} no more") from error
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


def _reasons(response: httpx.Response) -> list[str]:
    try:
        value: Any = response.json()
        return [str(reason) for reason in value["reasons"]]
    except (ValueError, KeyError, TypeError):
        return [f"the hub answered with status {response.status_code}; its log says why"]
