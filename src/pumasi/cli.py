"""The one entry point `pumasi`. Errors are sentences: exit code 2 for input, 3 for refused, 1 for a fault, never a traceback."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pumasi.client import cli as client_cli
from pumasi.deid import cli as deid_cli
from pumasi.demo import cli as demo_cli
from pumasi.hub import cli as hub_cli
from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.node import cli as node_cli
from pumasi.rehearsal import cli as rehearsal_cli
from pumasi.witness import cli as witness_cli

EXTRAS = {
    "duckdb": "node or deid",
    "fastapi": "hub",
    "uvicorn": "hub",
    "scipy": "node or deid",
    "jinja2": "deid",
    "matplotlib": "plots",
}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="품앗이: hospitals let researchers work with their data without the data leaving.",
)
app.add_typer(hub_cli.app, name="hub")
app.add_typer(node_cli.app, name="node")
app.add_typer(witness_cli.app, name="witness")
app.add_typer(client_cli.key_app, name="key")
app.add_typer(client_cli.member_app, name="member")
app.add_typer(client_cli.study_app, name="study")
app.add_typer(client_cli.ledger_app, name="ledger")
app.add_typer(deid_cli.app, name="deid")
app.registered_commands += client_cli.people.registered_commands
app.registered_commands += demo_cli.commands.registered_commands
app.registered_commands += rehearsal_cli.commands.registered_commands


@app.command()
def verify(
    file: Annotated[str, typer.Argument(help="A case bundle.")],
    policy: Annotated[str | None, typer.Option(help="A C2SP tlog-policy with the keys you trust.")] = None,
    running: Annotated[bool, typer.Option("--open", help="Accept a running case, as complete up to its last entry only.")] = False,
    erased: Annotated[bool, typer.Option("--erased", help="Accept a bundle without documents that were erased, or only left out.")] = False,
) -> None:
    """Check a case bundle offline: signatures, permits, order, completeness, proofs, cosignatures."""
    from pumasi.ledger.verify import main as verify_main

    accepted = [*(["--open"] if running else []), *(["--erased"] if erased else [])]
    raise typer.Exit(verify_main([file, *(["--policy", policy] if policy else []), *accepted]))


@app.command()
def certificate(
    bundle: Annotated[Path, typer.Argument(help="A case bundle.")],
    hospital: Annotated[str, typer.Option(help="Whose deletion.")],
    policy: Annotated[Path | None, typer.Option(help="A C2SP tlog-policy with the keys you trust.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the certificate here as JSON.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write it here as a page that can be printed.")] = None,
) -> None:
    """The certificate of deletion of one hospital: what both sides signed, and what no cryptography can prove."""
    from pumasi.ledger import certificate as certificates

    found = certificates.facts(bundle.read_bytes(), hospital, policy=policy.read_bytes() if policy else None)
    if json_file:
        json_file.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if html_file:
        html_file.write_text(certificates.html(found), encoding="utf-8")
    typer.echo(certificates.text(found), nl=False)


@app.command()
def review(
    case: str,
    job: str,
    home: Annotated[Path, typer.Option(envvar="PUMASI_HOME", help="Your own folder (or PUMASI_HOME).")],
    node: Annotated[Path, typer.Option(help="The folder of your hospital's node, where the output is held.")],
    approve: Annotated[bool | None, typer.Option("--approve/--reject", help="Your decision; without one the output is only shown.")] = None,
    reason: Annotated[str, typer.Option(help="In your own words.")] = "",
) -> None:
    """As output checker: read what a job wants to let out and what the checks found, then decide."""
    from pumasi.client import board
    from pumasi.client.home import Home
    from pumasi.node.airlock.held import held
    from pumasi.store.db import open_db

    if not (node / "node.db").is_file():
        raise Invalid(f"{node} is no node's folder")
    output = held(open_db(node / "node.db"), case, job)
    findings = "".join(f"\n  {finding}" for finding in output.findings)
    typer.echo(json.dumps(json.loads(output.data)["analyses"], ensure_ascii=False, indent=2))
    typer.echo(f"\nWhat the checks found:{findings}\n\nOutput {output.digest} of {', '.join(output.hospitals)}")
    if approve is not None:
        board.review(Home(home), case, job, output=output.digest, decision="approve" if approve else "reject", reason=reason)
        typer.echo("Your vote is committed; it is opened once both checkers have voted (run `pumasi inbox` again then).")


def main() -> None:
    """Run one command and end with its exit code."""
    try:
        app()
    except PumasiError as error:
        _tell(error.reasons, error.exit_code)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS or importlib.util.find_spec(missing) is not None:
            raise
        _tell([f"this command needs the package '{missing}': install pumasi with the extra [{EXTRAS[missing]}]"], 2)
    except KeyboardInterrupt:
        _tell(["interrupted; what was recorded stays recorded"], 130)
    except OSError as error:
        _tell([f"{error.strerror or 'the file system refused'}: {error.filename or 'no file named'}"], 1)


def _tell(reasons: list[str], code: int) -> None:
    for reason in reasons:
        print(reason, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
