"""`pumasi node`: set up and serve one hospital's node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from pumasi.store.commands import RecordCommands

app = typer.Typer(no_args_is_help=True, help="One hospital's node: sources, workspaces, sandbox, airlock.")
handover_app = typer.Typer(no_args_is_help=True, help="The log moves to another hub: a person of the hospital decides.")
app.add_typer(handover_app, name="handover")
Home = Annotated[Path, typer.Option(help="The node's own folder.")]


def _name(home: Path) -> str:
    from pumasi.node.settings import load

    return load(home).name


record = RecordCommands("node", _name)


@app.command()
def init(
    home: Home,
    name: Annotated[str, typer.Option(help="The hospital's id in the log.")],
    hub: Annotated[str, typer.Option(help="The hub's address, https://host:port.")],
    hub_cert: Annotated[Path, typer.Option(help="The hub's certificate, hub.crt, from the coordinating body.")],
    kind: Annotated[str, typer.Option(help="hospital or tertiary-hospital; any other kind of member only cosigns")] = "hospital",
    smallest_cell: Annotated[int, typer.Option(help="No result of this hospital is about fewer people.")] = 10,
) -> None:
    """Make the folder, node.toml and keys. Then name your tables in node.toml, and `describe` them."""
    import os
    import shutil

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pumasi.kernel.codes import MemberKind, choices
    from pumasi.kernel.envelope import Keys, b64
    from pumasi.kernel.errors import Invalid
    from pumasi.node import settings

    if kind not in get_args(MemberKind) or kind == "coordinator":
        raise Invalid(f"--kind is one of {choices(MemberKind)}, but not coordinator: that one runs the hub")
    if (home / "node.toml").exists():
        raise Invalid(f"{home} is a node already; serve it with `pumasi node serve --home {home}`")
    if not hub_cert.is_file():
        raise Invalid(f"there is no hub certificate at {hub_cert}; copy hub.crt from the coordinating body")
    (home / "keys" / "permits").mkdir(parents=True, mode=0o700)
    (home / "workspaces").mkdir(mode=0o700)
    cosigner = b64(Ed25519PrivateKey.generate().private_bytes_raw()) + "\n"
    for file, text in (("node.key", Keys.new().to_text()), ("cosigner.key", cosigner)):
        with os.fdopen(os.open(home / "keys" / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(text)
    shutil.copyfile(hub_cert, home / "hub.crt")
    settings.write(home, name=name, kind=kind, hub=hub, smallest_cell=smallest_cell)
    settings.load(home)
    typer.echo(f"A node at {home}. Name your tables in node.toml, then `pumasi node describe` and `pumasi node join`.")


@app.command()
def describe(home: Home) -> None:
    """Read the tables of node.toml and record what the catalogue may know of them. Rare values are never named."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.codes import MEDICAL
    from pumasi.kernel.errors import Invalid
    from pumasi.kernel.event import CONSORTIUM
    from pumasi.node.app import open_node
    from pumasi.node.describe import describe as describe_tables
    from pumasi.store.document import Document

    node = open_node(home)
    if node.settings.kind not in MEDICAL:
        raise Invalid(f"a {node.settings.kind} describes no data: its node only copies, checks and cosigns the log")
    if not node.sources:
        raise Invalid(f"{home / 'node.toml'} names no table; add a section [tables.NAME] with file and person")
    dataset = describe_tables(node.sources, hospital=node.settings.name, smallest_cell=node.settings.smallest_cell)
    document = Document.new(dataset.plain())
    node.site.record(ev.DatasetDescribed, case=CONSORTIUM, opened=[document], dataset=document.commitment)
    for name, table in dataset.tables.items():
        typer.echo(f"{name}: {len(table.columns)} columns that studies may ask for")
    node.close()


@app.command()
def join(home: Home) -> None:
    """Apply for membership of the consortium; `pumasi node serve` sends it, the coordinating body admits."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.envelope import b64
    from pumasi.kernel.errors import Invalid
    from pumasi.kernel.event import CONSORTIUM
    from pumasi.node.app import open_node

    node = open_node(home)
    if node.site.noted("joined") is not None:
        raise Invalid(f"{node.settings.name} has applied already; `pumasi node serve --home {home}` sends what is recorded")
    keys, cosigner = node.site.keys, b64(node.cosigner.public_key().public_bytes_raw())
    node.site.record(ev.MemberApplied, case=CONSORTIUM, kind=node.settings.kind, key=keys.public, box=keys.box_public, cosigner=cosigner)
    node.site.note("joined", b"1")
    node.close()
    typer.echo(f"{node.settings.name} applies for membership.")


@app.command()
def enrol(
    home: Home,
    card: Annotated[Path, typer.Argument(help="The person's card.json, made by `pumasi key new`.")],
    role: Annotated[list[str], typer.Option(help="researcher, drb, irb, steward or checker; may be repeated")],
) -> None:
    """Vouch for a person of this hospital and say what they may do."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.event import CONSORTIUM
    from pumasi.node.app import open_node
    from pumasi.store.card import read_card

    node = open_node(home)
    person = read_card(card)
    node.site.record(ev.PersonEnrolled, case=CONSORTIUM, roles=role, **person)
    node.close()


@app.command()
def serve(home: Home) -> None:
    """Work until stopped: follow and cosign the log, answer permitted jobs, destroy what has ended."""
    import fcntl
    import signal
    import sys

    from pumasi.node.settings import load
    from pumasi.store.memory import give_back

    load(home)  # before a lock and a log are put into a folder that is no node's
    give_back()
    sys.modules.update(dict.fromkeys(("pandas", "pyarrow")))  # type: ignore[arg-type]  # duckdb would import them, and nothing needs them here
    from pumasi.kernel.errors import Invalid
    from pumasi.node.agent import Agent
    from pumasi.node.app import open_node
    from pumasi.store.jsonlog import start_logging

    with (home / "serving.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"another process is serving {home}; stop it first") from None
        node = open_node(home)
        start_logging(home / "node.log", node.settings.name)
        agent = Agent(node)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop.set())
        agent.run()
        node.close()


@app.command()
def rotate(home: Home) -> None:
    """New keys for this hospital, announced with the present ones. Stop the node first; start it again afterwards."""
    import fcntl

    from pumasi.kernel.envelope import fingerprint
    from pumasi.kernel.errors import Invalid
    from pumasi.node import rotation
    from pumasi.node.app import open_node

    with (home / "serving.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"a process is serving {home}; stop it first") from None
        node = open_node(home)
        rotation.rotate(home, node.site)
        node.close()
        node = open_node(home)
        typer.echo(f"New keys of {node.settings.name}: {fingerprint(node.site.keys.public)}. Start the node; it announces them first.")
        node.close()


@app.command()
def revoke(home: Home, person: Annotated[str, typer.Argument(help="someone@member")]) -> None:
    """A key of one of this hospital's people was lost or stolen: it speaks no more. Enrol the person again with a new card."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.event import CONSORTIUM
    from pumasi.node.app import open_node

    node = open_node(home)
    node.site.record(ev.KeyRevoked, case=CONSORTIUM, subject=person)
    node.close()
    typer.echo(f"The key of {person} is revoked; `pumasi node serve` sends it.")


app.command()(record.backup)
app.command(help="Make a node from its backup. It signs nothing until it has caught up; its workspaces are lost.")(record.restore)
app.command()(record.check)
documents, erase = app.command()(record.documents), app.command()(record.erase)


@app.command()
def mirror(home: Home, to: Annotated[Path, typer.Option(help="A folder: new, or an older mirror, which grows.")]) -> None:
    """Write this node's copy of the log as static files (C2SP tlog-tiles), up to the newest head that it has checked."""
    from pumasi.kernel.errors import Invalid
    from pumasi.node.app import open_node
    from pumasi.store.tiles import write_copy

    node = open_node(home)
    checkpoint = node.site.checkpoint()
    if checkpoint is None:
        raise Invalid(f"{home} knows no head of the log yet; serve it first")
    head = write_copy(to, node.site.entries, checkpoint)
    node.close()
    typer.echo(f"{head.size} entries of {head.origin} in {to}.")


@handover_app.command("sign")
def handover_sign(
    home: Home,
    proposal: Annotated[Path, typer.Argument(help="handover.json from the successor.")],
    to: Annotated[Path, typer.Option(help="Where your signature goes; send it back.")],
    yes: Annotated[bool, typer.Option("--yes", help="You have read it and compared the fingerprints; do not ask.")] = False,
) -> None:
    """Want the log to go on as the proposal says. From then on this node follows nothing of the old hub, and the new one when it can."""
    from pumasi.ledger.handover import Handover, told
    from pumasi.node import handover
    from pumasi.node.app import open_node

    read = Handover.parse(proposal.read_bytes())
    for line in told(read):
        typer.echo(line)
    if not yes:
        typer.confirm("Compare the fingerprints with the successor over another channel. Sign?", abort=True)
    node = open_node(home)
    to.write_bytes(handover.sign(node, read).data)
    node.close()
    typer.echo(f"Signed by {node.settings.name}: {to}. Send it to the successor.")


@handover_app.command("withdraw")
def handover_withdraw(home: Home) -> None:
    """Follow the old hub again, because the handover will not come to be."""
    from pumasi.node import handover
    from pumasi.node.app import open_node

    node = open_node(home)
    handover.withdraw(node)
    node.close()
    typer.echo("Withdrawn. Whoever holds your signature may still use it; if a quorum has signed, this node follows what it has signed.")


@handover_app.command("follow")
def handover_follow(home: Home, file: Annotated[Path, typer.Argument(help="handover.json, complete, from the successor.")]) -> None:
    """Follow a handover that the quorum has signed, without having signed it. A node that is serving does it at once."""
    from pumasi.ledger.handover import Handover, told
    from pumasi.node import handover
    from pumasi.node.app import open_node

    read, node = Handover.parse(file.read_bytes()), open_node(home)
    handover.bring(node, read)
    node.close()
    for line in told(read):
        typer.echo(line)


@app.command()
def probe(script: Annotated[Path, typer.Argument(help="A Python script.")]) -> None:
    """Run a script in the very sandbox that a job gets, and print what it could do."""
    from pumasi.node.jobs.probe import probe as run_probe

    report = run_probe(script)
    typer.echo(report.text)
    raise typer.Exit(0)
