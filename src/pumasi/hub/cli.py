"""`pumasi hub`: set up and serve the coordinating body's hub."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pumasi.store.commands import RecordCommands

if TYPE_CHECKING:
    from pumasi.channel import Channel

app = typer.Typer(no_args_is_help=True, help="The coordinating body's hub: membership, catalogue, cases, mailbox, log.")
Home = Annotated[Path, typer.Option(help="The hub's own folder.")]


def _name(home: Path) -> str:
    from pumasi.hub.settings import load

    return load(home).name


record = RecordCommands("hub", _name)


@app.command()
def init(
    home: Home,
    name: Annotated[str, typer.Option(help="This body's id in the log.")] = "coordinator",
    origin: Annotated[str, typer.Option(help="The log's name, fixed for ever.")] = "pumasi.example/log",
    host: str = "127.0.0.1",
    port: int = 8443,
) -> None:
    """Make the folder, hub.toml, keys and the TLS certificate that nodes will pin."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pumasi.hub.settings import TEMPLATE
    from pumasi.kernel.envelope import Keys, b64
    from pumasi.kernel.errors import Invalid
    from pumasi.store import keyring

    if (home / "hub.toml").exists():
        raise Invalid(f"{home} is a hub already; serve it with `pumasi hub serve --home {home}`")
    (home / "keys").mkdir(parents=True, mode=0o700)
    _write_secret(home / "keys" / "coordinator.key", Keys.new().to_text().encode())
    _write_secret(home / "keys" / "log.key", (b64(Ed25519PrivateKey.generate().private_bytes_raw()) + "\n").encode())
    certificate, key = _certificate(host)
    _write_secret(home / "keys" / "tls.key", key)
    (home / "hub.crt").write_bytes(certificate)
    values = {"name": json.dumps(name, ensure_ascii=False), "origin": json.dumps(origin), "host": json.dumps(host), "port": port}
    (home / "hub.toml").write_text(TEMPLATE.format(**values) + "\n" + keyring.TEMPLATE, encoding="utf-8")
    typer.echo(f"A hub at {home}. Give hub.crt to every member; then `pumasi hub serve --home {home}`.")


@app.command()
def serve(home: Home) -> None:
    """Serve HTTPS until stopped. It can be stopped and started at any time."""
    from pumasi.store.memory import give_back

    give_back()
    import asyncio.sslproto

    import uvicorn

    from pumasi.hub.app import make_app, open_hub
    from pumasi.hub.settings import load
    from pumasi.store.jsonlog import start_logging

    # asyncio would hold 256 KiB for each connection, of which hundreds of parties keep several open; a record of TLS has 16 at most
    asyncio.sslproto.SSLProtocol.max_size = 32 << 10
    settings = load(home)
    with _alone(home):
        start_logging(home / "hub.log", "hub")
        hub = open_hub(home)
        uvicorn.run(
            make_app(hub), host=settings.host, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=2,
            ssl_certfile=home / "hub.crt", ssl_keyfile=home / "keys" / "tls.key", timeout_keep_alive=120, backlog=512,
        )  # fmt: skip


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One process writes one log."""
    import fcntl

    from pumasi.kernel.errors import Invalid

    with (home / "serving.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"a process is serving {home}; stop it first") from None
        yield


@app.command()
def rotate(home: Home) -> None:
    """New keys for the coordinating body and its log, announced with the present ones. Stop the hub first; start it again afterwards."""
    from pumasi.hub import rotation
    from pumasi.hub.settings import load
    from pumasi.kernel.envelope import fingerprint
    from pumasi.store.rotation import public_of, signing_key

    load(home)
    with _alone(home):
        keys = rotation.rotate(home)
    log_key = public_of(signing_key(home / rotation.LOG))
    typer.echo(f"New key of {load(home).name}: {fingerprint(keys.public)}; of the log: {fingerprint(log_key)}. Start the hub.")


@app.command()
def admit(home: Home, member: str) -> None:
    """Admit an organisation that has applied; the rule on the consortium's make-up is checked when a study applies."""
    channel = coordinator(home)
    channel.post("/admissions", member.encode())
    channel.close()
    typer.echo(f"{member} is a member.")


@app.command()
def revoke(home: Home, member: str) -> None:
    """A member's keys were lost or stolen: they speak and cosign no more. It applies again with new keys, as what it was."""
    channel = coordinator(home)
    channel.post("/revocations", member.encode())
    channel.close()
    typer.echo(f"The keys of {member} are revoked.")


@app.command()
def reverse(home: Home, case: str, hospital: str) -> None:
    """Agree to reverse a pending deletion that the hospital's steward wants reversed; the workspace is open again."""
    channel = coordinator(home)
    channel.post(f"/cases/{case}/reversals", hospital.encode())
    channel.close()
    typer.echo(f"The workspace at {hospital} is open again.")


@app.command()
def propose(
    home: Home,
    mirror: Annotated[Path, typer.Option(help="A copy of the log as files: of /tlog/, or made with `pumasi node mirror`.")],
) -> None:
    """Offer to go on with a log whose hub is gone or not trusted any more. HOME is new (`pumasi hub init`), its name and origin too."""
    from pumasi.hub import takeover as taking
    from pumasi.ledger.handover import told

    with _alone(home):
        proposal = taking.propose(home, mirror)
    cosigners = len(taking.cosigners(home))
    for line in told(proposal, cosigners=cosigners):
        typer.echo(line)
    typer.echo(f"Send {home / taking.FILE} to the hospitals; each answers with `pumasi node handover sign`.")


@app.command()
def takeover(home: Home, signatures: Annotated[list[Path], typer.Argument(help="What the hospitals sent back, one file each.")]) -> None:
    """Put the hospitals' signatures together: with a quorum of them the log is this hub's. Then `pumasi hub serve`."""
    from pumasi.hub import takeover as taking
    from pumasi.ledger.handover import Signature, told

    with _alone(home):
        complete = taking.take_over(home, [Signature.parse(path.read_bytes()) for path in signatures])
    for line in told(complete):
        typer.echo(line)
    typer.echo(f"The log is yours. Serve it, and send {home / taking.FILE} to hospitals that did not sign, and to people.")


app.command()(record.backup)
app.command(help="Make a hub from its backup. It asks the hospitals for what came later before it goes on.")(record.restore)
app.command()(record.check)
documents, erase = app.command()(record.documents), app.command()(record.erase)


def coordinator(home: Path) -> Channel:
    """A channel to the running hub that speaks for the coordinating body."""
    from pumasi.channel import Channel as Opened
    from pumasi.hub.settings import load
    from pumasi.kernel.envelope import Keys

    settings = load(home)
    keys = Keys.from_text((home / "keys" / "coordinator.key").read_text())
    return Opened(settings.url, home / "hub.crt", author=settings.name, keys=keys)


def _write_secret(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _certificate(host: str) -> tuple[bytes, bytes]:
    """A self-signed certificate for the hub's address: members pin it, so no authority is asked."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    try:
        address: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        address = x509.DNSName(host)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=825))
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), pem
