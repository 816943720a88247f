"""The channel speaks to the pinned hub and to no other, waits for one that is away, and turns its answers into our four errors."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pumasi.channel import Channel
from pumasi.demo.processes import free_port
from pumasi.hub import cli as hub_cli
from pumasi.kernel.envelope import Keys
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, Tampered, Unreachable
from tests.casebook import RESEARCHER, Casebook, play
from tests.live_hub import LiveHub, Server

Live = Callable[[Casebook], LiveHub]


def home(folder: Path, name: str = "other") -> Path:
    """The folder of a hub that is somebody else's."""
    hub_cli.init(folder / name, name="impostor", origin="log.example/x", host="127.0.0.1", port=1)
    return folder / name


@contextmanager
def answering(
    folder: Path, raw: bytes, *, host: str = "127.0.0.1", port: int = 0, tls: bool = True
) -> Iterator[tuple[int, threading.Semaphore]]:
    """A TLS server with the certificate of `folder` that answers every request with these bytes, and counts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hub.crt", folder / "keys" / "tls.key")
    listener = socket.create_server((host, port))
    listener.settimeout(0.05)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            with suppress(OSError):  # nobody yet; or the client hung up, as it should
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) if tls else plain as connection:
                    connection.settimeout(5)
                    connection.recv(65536)
                    connection.sendall(raw)
                    served.release()

    served = threading.Semaphore(0)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], served
    finally:
        done.set()
        thread.join(timeout=10)
        listener.close()


def channel(port: int, certificate: Path, *, patience: float = 0.3) -> Channel:
    return Channel(f"https://127.0.0.1:{port}", certificate, author="river-hospital", keys=Keys.new(), patience=patience)


def ok(body: bytes = b"{}", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


# --- who answers


def test_a_server_with_another_certificate_is_refused_at_once(https: Server, tmp_path: Path) -> None:
    other = home(tmp_path)
    with answering(other, ok()) as (port, _):
        pinned = channel(port, https.certificate, patience=30)
        started = time.monotonic()
        with pytest.raises(Tampered, match="does not have the certificate that is pinned here"):
            pinned.get("/members")
        assert time.monotonic() - started < 25
        pinned.close()
    with answering(other, ok()) as (port, _):
        theirs = channel(port, other / "hub.crt")
        assert theirs.get("/members").json() == {}
        theirs.close()


def test_the_pinned_certificate_at_another_address_is_refused(tmp_path: Path) -> None:
    folder = home(tmp_path)
    with answering(folder, ok(), host="127.0.0.2") as (port, _):
        elsewhere = Channel(f"https://127.0.0.2:{port}", folder / "hub.crt", author="x", keys=Keys.new(), patience=30)
        with pytest.raises(Tampered, match="and the address"):
            elsewhere.get("/members")
        elsewhere.close()


def test_an_address_without_tls_is_no_address(https: Server) -> None:
    for url in ("http://127.0.0.1:8443", "127.0.0.1:8443", "", "ftp://x", "HTTPS-not"):
        with pytest.raises(Invalid, match="begins with https://"):
            Channel(url, https.certificate, author="x", keys=Keys.new())
    with pytest.raises(Invalid, match="no address of a hub"):
        Channel("https://127.0.0.1:port", https.certificate, author="x", keys=Keys.new())


def test_a_server_without_tls_gets_no_request(https: Server, tmp_path: Path) -> None:
    with answering(home(tmp_path), ok(), tls=False) as (port, _):
        pinned = channel(port, https.certificate, patience=0)
        with pytest.raises(PumasiError):
            pinned.post("/events", b"secret")
        pinned.close()


def test_a_missing_or_broken_certificate_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"there is no hub certificate at .*; copy hub\.crt"):
        channel(1, tmp_path / "hub.crt")
    (tmp_path / "hub.crt").write_text("no certificate")
    with pytest.raises(Invalid, match=r"is no certificate; copy hub\.crt"):
        channel(1, tmp_path / "hub.crt")


# --- a hub that is away


def test_a_hub_that_never_answers_is_named_with_what_to_do(https: Server) -> None:
    away = channel(free_port(), https.certificate)
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"does not answer \(ConnectionRefusedError\); start it with `pumasi hub serve`"):
        away.get("/members")
    assert 0.2 < time.monotonic() - started < 25
    away.close()


def test_a_connection_that_the_hub_has_ended_is_not_used_again(tmp_path: Path) -> None:
    folder = home(tmp_path)
    kept_open = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"  # and then it ends the connection without having said so
    with answering(folder, kept_open) as (port, served):
        asking = channel(port, folder / "hub.crt", patience=0)
        for _ in range(3):
            assert asking.get("/members").json() == {}
            assert served.acquire(timeout=15)
            time.sleep(0.02)  # its end is on the way
        asking.close()


def test_a_hub_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    late, port = home(tmp_path), free_port()
    waiting = channel(port, late / "hub.crt", patience=20)
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(waiting.get("/members").status))
    asking.start()
    time.sleep(0.3)
    with answering(late, ok(), port=port):
        asking.join(timeout=15)
    assert found == [200]
    waiting.close()


def test_a_hub_that_is_killed_in_the_middle_is_asked_again(tmp_path: Path) -> None:
    killed = home(tmp_path)
    with answering(killed, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf") as (port, served):
        again = channel(port, killed / "hub.crt", patience=20)
        found: list[bytes] = []
        asking = threading.Thread(target=lambda: found.append(again.put("/documents/x", b"data").content))
        asking.start()
        assert served.acquire(timeout=15)
    with answering(killed, ok(b"whole"), port=port):
        asking.join(timeout=15)
    assert found == [b"whole"]
    again.close()


def test_closing_ends_the_waiting(https: Server) -> None:
    away = channel(free_port(), https.certificate, patience=60)
    errors: list[PumasiError] = []

    def ask() -> None:
        try:
            away.get("/members")
        except PumasiError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.2)
    away.closing.set()
    asking.join(timeout=30)
    assert not asking.is_alive() and isinstance(errors[0], Unreachable)
    away.close()


# --- what it answers


@pytest.mark.parametrize(
    ("status", "kind"),
    [("401 x", Tampered), ("404 x", NotFound), ("409 x", Refused), ("422 x", Invalid), ("500 x", PumasiError), ("503 x", PumasiError)],
)
def test_each_status_is_one_of_our_errors_with_all_its_reasons(tmp_path: Path, status: str, kind: type[PumasiError]) -> None:
    folder = home(tmp_path)
    with answering(folder, ok('{"reasons": ["하나", "two"]}'.encode(), status)) as (port, _):
        asking = channel(port, folder / "hub.crt")
        with pytest.raises(PumasiError) as raised:
            asking.get("/x")
        assert type(raised.value) is kind and raised.value.reasons == ["하나", "two"]
        asking.close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"reasons": 5}', b'{"detail": "x"}', b"\xff"])
def test_an_error_without_reasons_says_where_to_look(tmp_path: Path, body: bytes) -> None:
    folder = home(tmp_path)
    with answering(folder, ok(body, "500 Internal Server Error")) as (port, _):
        asking = channel(port, folder / "hub.crt")
        with pytest.raises(PumasiError, match="status 500; its log says why"):
            asking.get("/x")
        asking.close()


def test_every_method_reaches_the_hub_signed(live: Live) -> None:
    book = play(until="job")
    hub = live(book)
    asking = hub.channel(book.hospitals[0])
    assert asking.put(f"/jobs/{book.job}/q0r1", b"x").json() == {"kept": True}
    assert asking.get(f"/jobs/{book.job}/q0r1?wait=0").json()[book.hospitals[0]] == "eA=="
    assert asking.post("/events", b"").json() == []
    with pytest.raises(NotFound):
        hub.channel(RESEARCHER).get(f"/cases/{'0' * 32}")


def test_many_threads_share_one_channel(live: Live) -> None:
    book = play(until="members")
    hub = live(book)
    asking, found = hub.channel("company-1"), list[int]()
    threads = [threading.Thread(target=lambda: found.append(len(asking.get("/members").json()))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [len(book.world.members)] * 12
    with pytest.raises(Refused):
        asking.post("/admissions", b"x")
