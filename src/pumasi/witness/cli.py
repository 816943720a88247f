"""`pumasi witness`: cosign the heads of logs for whoever is no member: a ministry, a patient organisation, a foreign peer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pumasi.witness.memory import Memory

app = typer.Typer(no_args_is_help=True, help="A witness of logs (C2SP tlog-witness), run by somebody who is no member.")
Home = Annotated[Path, typer.Option(help="The witness's own folder.")]


@app.command()
def init(
    home: Home,
    name: Annotated[str, typer.Option(help="The witness's key name, for example witness.ministry.example/pumasi.")],
    host: str = "127.0.0.1",
    port: int = 8444,
) -> None:
    """Make the folder with a key and witness.toml; prints the line that a policy names this witness by."""
    import json
    import os

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pumasi.kernel.envelope import b64
    from pumasi.kernel.errors import Invalid
    from pumasi.witness.settings import TEMPLATE, load

    if (home / "witness.toml").exists():
        raise Invalid(f"{home} is a witness already; serve it with `pumasi witness serve --home {home}`")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(home / "witness.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(b64(Ed25519PrivateKey.generate().private_bytes_raw()) + "\n")
    text = TEMPLATE.format(name=json.dumps(name), host=json.dumps(host), port=port)
    (home / "witness.toml").write_text(text, encoding="utf-8")
    settings = load(home)
    typer.echo(f"witness NAME {_memory(home).vkey} http://{settings.host}:{settings.port}")
    typer.echo(
        "Name the logs in witness.toml, then `pumasi witness serve`. The line above is for the policy of the hub, with a name for NAME."
    )


@app.command()
def serve(home: Home) -> None:
    """Answer until stopped. It can be stopped and started at any time; it never cosigns two stories of one log."""
    import uvicorn

    from pumasi.store.jsonlog import start_logging
    from pumasi.witness.app import make_app
    from pumasi.witness.settings import load

    settings = load(home)
    start_logging(home / "witness.log", "witness")
    uvicorn.run(make_app(_memory(home)), host=settings.host, port=settings.port, log_config=None, access_log=False)


def _memory(home: Path) -> Memory:
    from pumasi.ledger.note import VKey
    from pumasi.store.rotation import signing_key
    from pumasi.witness.memory import Memory as Opened
    from pumasi.witness.settings import load

    settings = load(home)
    logs = tuple(VKey.parse(text) for text in settings.logs)
    return Opened(home / "witness.db", name=settings.name, key=signing_key(home / "witness.key"), logs=logs)
