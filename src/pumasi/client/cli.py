"""The commands of people: a key, an inbox, votes, signatures, reviews; members without a node; studies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

people = typer.Typer()
key_app = typer.Typer(no_args_is_help=True, help="A key of your own.")
member_app = typer.Typer(no_args_is_help=True, help="Members without a node: companies, the platform company, agencies.")
ledger_app = typer.Typer(no_args_is_help=True, help="The shared log, seen from your side.")
study_app = typer.Typer(no_args_is_help=True, help="A researcher's studies.")

Home = Annotated[Path, typer.Option(envvar="PUMASI_HOME", help="Your own folder (or PUMASI_HOME).")]
Reason = Annotated[str, typer.Option(help="In your own words; it stays in your folder, the log gets a commitment.")]


def _home(folder: Path) -> Any:
    from pumasi.client.home import Home as Folder

    return Folder(folder)


@key_app.command("new")
def key_new(
    home: Home,
    id: Annotated[str, typer.Option(help="Who you are in the log: someone@member, or a member's name.")],
    hub: Annotated[str, typer.Option(help="The hub's address.")],
    hub_cert: Annotated[Path, typer.Option(help="The hub's certificate.")],
) -> None:
    """Make your folder with a key that never leaves it, and card.json for the member that enrols you."""
    from pumasi.client.home import Home as Folder

    folder = Folder.new(home, id=id, hub=hub, certificate=hub_cert)
    (home / "card.json").write_text(json.dumps(folder.card(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"Your folder is {home}. Give {home / 'card.json'} to the member that enrols you.")


@key_app.command("rotate")
def key_rotate(home: Home) -> None:
    """A new key for you, announced with the present one. Permits that name you stay yours."""
    from pumasi.kernel.envelope import fingerprint

    party = _home(home)
    party.rotate()
    typer.echo(f"New key of {party.id}: {fingerprint(party.keys.public)}.")


@key_app.command("move")
def key_move(
    home: Home,
    handover: Annotated[Path, typer.Argument(help="handover.json, complete, from your member or the new hub.")],
    policy: Annotated[Path | None, typer.Option(help="A C2SP tlog-policy with the keys you trust; without one you are asked.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="You have compared the fingerprints; do not ask.")] = False,
) -> None:
    """The log was handed over: speak to the new hub, and send it again what you have said so far."""
    from pumasi.client import moving
    from pumasi.client.home import read_toml
    from pumasi.ledger.handover import Handover, told

    found, party = Handover.parse(handover.read_bytes()), _home(home)
    moving.check(found, policy=policy.read_bytes() if policy else None)
    for line in told(found):
        typer.echo(line)
    if policy is None and not yes:
        typer.confirm("Compare the fingerprints with your hospital or member over another channel. Move?", abort=True)
    before = party.hub
    count = party.move(found)
    known = read_toml(identities_file()) if identities_file().is_file() else {}
    if known.get(before) == str(home):
        remember(party.hub, home)
    typer.echo(f"{party.id} speaks to {party.hub} now; {count} events are there.")


@member_app.command("revoke")
def member_revoke(home: Home, person: Annotated[str, typer.Argument(help="someone@member")]) -> None:
    """A key of one of your people was lost or stolen: it speaks no more. Enrol the person again with a new card."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.event import CONSORTIUM

    _home(home).record(ev.KeyRevoked, case=CONSORTIUM, subject=person)
    typer.echo(f"The key of {person} is revoked.")


@member_app.command("join")
def member_join(
    home: Home,
    kind: Annotated[str, typer.Option(help="platform, company, public-agency, research-institute, hospital or tertiary-hospital")],
) -> None:
    """Apply for membership with the key in HOME; the coordinating body admits."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.event import CONSORTIUM

    party = _home(home)
    party.record(ev.MemberApplied, case=CONSORTIUM, kind=kind, key=party.keys.public, box=party.keys.box_public, cosigner=None)
    typer.echo(f"{party.id} applies for membership.")


@member_app.command("enrol")
def member_enrol(
    home: Home, card: Path, role: Annotated[list[str], typer.Option(help="researcher, drb, irb, steward or checker; may be repeated")]
) -> None:
    """Vouch for a person of this member."""
    from pumasi.kernel import event as ev
    from pumasi.kernel.event import CONSORTIUM
    from pumasi.store.card import read_card

    party, person = _home(home), read_card(card)
    party.record(ev.PersonEnrolled, case=CONSORTIUM, roles=role, **person)
    typer.echo(f"{person['person']} is enrolled.")


@people.command()
def inbox(home: Home) -> None:
    """What waits for your decision, and for an application which columns it asks for in what form."""
    from pumasi.client import board
    from pumasi.kernel.errors import PumasiError

    party = _home(home)
    items = board.inbox(party)
    for item in items:
        job = f" {item['job']}" if "job" in item else ""
        asked: list[str] = []
        try:
            study = board.application(party, item["application"])
            about = f"{study.title} ({study.purpose}, smallest cell {study.smallest_cell}, asked by {study.applicant})"
            asked = [] if job else board.asked(study)
        except PumasiError as error:  # one application that cannot be read must not hide the others
            about = f"its application cannot be read, so it cannot be judged: {error}"
        typer.echo(f"{item['do']:<7} {item['case']}{job}  {about}")
        for line in asked:
            typer.echo(f"        {line}")
    if not items:
        typer.echo("Nothing waits for you.")


@people.command()
def vote(
    home: Home,
    case: str,
    approve: Annotated[bool | None, typer.Option("--approve/--reject", help="Your decision.")] = None,
    reason: Reason = "",
    smallest_cell: Annotated[int | None, typer.Option(help="Raise the smallest cell that results may show.")] = None,
    exempt: Annotated[bool, typer.Option("--exempt", help="Ethics board: the study needs no ethics review.")] = False,
) -> None:
    """Vote on an application: blind on a data review board, decisive as the ethics board's officer."""
    from pumasi.client import board
    from pumasi.kernel.errors import Invalid

    if (approve is None) != exempt:
        raise Invalid("give one decision: --approve, --reject, or for the ethics board --exempt")
    party = _home(home)
    awaited = {item["board"] for item in board.inbox(party) if item["case"] == case and item["do"] == "vote"}
    if "irb" in awaited:
        board.decide(party, case, decision="exempt" if exempt else "approved" if approve else "rejected", reason=reason)
        typer.echo("The ethics board's decision is recorded.")
    else:
        if exempt:
            raise Invalid("only the ethics board exempts a study; a data review board votes --approve or --reject")
        board.vote(party, case, decision="approve" if approve else "reject", reason=reason, smallest_cell=smallest_cell)
        typer.echo("Your vote is committed; it is opened once the quorum has voted (run `pumasi inbox` again then).")


@people.command()
def sign(
    home: Home, case: str, revoke: Annotated[bool, typer.Option("--revoke", help="End the hospital's permit instead.")] = False
) -> None:
    """As data steward: let your hospital's node sign the permit, or revoke the one it signed."""
    from pumasi.client import board

    (board.revoke if revoke else board.sign)(_home(home), case)
    typer.echo("The permit is revoked; the node destroys its workspace." if revoke else "Signed; the node issues the permit.")


@people.command()
def reverse(home: Home, case: str) -> None:
    """As data steward: ask that a pending deletion be reversed. Nothing is reversed until the coordinating body agrees."""
    from pumasi.client import board

    board.ask_reversal(_home(home), case)
    typer.echo("Asked; the workspace stays unusable until the coordinating body agrees (`pumasi hub reverse`).")


@study_app.command("run")
def study_run(
    study: Annotated[Path, typer.Argument(help="study.toml")],
    hub: Annotated[str, typer.Option(help="The hub's address.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the outcome here; the case bundle goes beside it.")] = None,
    home: Annotated[Path | None, typer.Option(envvar="PUMASI_HOME", help="Your folder; by default the one you use with this hub.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write each result as CSV and as a figure into this folder.")] = None,
) -> None:
    """Apply, wait for permits, compute, wait for the releases, end the study, and write outcome and case bundle."""
    from pumasi.client import outcome, studyfile
    from pumasi.client.home import Home as Folder
    from pumasi.kernel.errors import Invalid

    found = studyfile.read_to_run(study)
    target = json_file or Path(f"{study.stem}.outcome.json")
    if not target.parent.is_dir():
        raise Invalid(f"there is no folder {target.parent} to write the outcome to; make it, or choose another --json")
    party = Folder(home or folder_for(hub))
    result = outcome.run(party, found, bundle=target.with_suffix(".bundle.json"), progress=lambda line: typer.echo(f"  {line}"))
    outcome.write(result, target)
    typer.echo(outcome.text(result))
    if export is not None:
        for path in outcome.export(result, export):
            typer.echo(f"  wrote {path}")
    typer.echo(f"\nOutcome: {target}\nCase bundle: {result['bundle']} (check it with `pumasi verify {result['bundle']}`)")
    raise typer.Exit(outcome.exit_code(result))


@ledger_app.command("show")
def ledger_show(home: Home, case: Annotated[str | None, typer.Option(help="Only this case, or 'consortium'.")] = None) -> None:
    """The log's events, one line each."""
    from pumasi.client import ledger

    for line in ledger.show(_home(home), case=case):
        typer.echo(line)


@ledger_app.command("prove")
def ledger_prove(home: Home, index: int, out: Annotated[Path | None, typer.Option(help="Write the proof here.")] = None) -> None:
    """An offline proof that one entry is in the log (C2SP tlog-proof)."""
    from pumasi.client import ledger

    proof = ledger.prove(_home(home), index)
    typer.echo(proof, nl=False) if out is None else out.write_text(proof, encoding="utf-8")


@ledger_app.command("check")
def ledger_check(home: Home) -> None:
    """Copy the whole log, replay every rule, and check the newest final checkpoint against it."""
    from pumasi.client import ledger

    for line in ledger.check(_home(home)):
        typer.echo(line)


@ledger_app.command("evidence")
def ledger_evidence(file: Path) -> None:
    """Check alone a file that accuses a log of having told two stories."""
    from pumasi.ledger import evidence

    for line in evidence.check(file.read_bytes()):
        typer.echo(line)


def identities_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "pumasi" / "identities.toml"


def folder_for(hub: str) -> Path:
    """The folder this user acts from at a hub."""
    from pumasi.client.home import read_toml
    from pumasi.kernel.errors import Invalid

    path = identities_file()
    known = read_toml(path) if path.is_file() else {}
    if hub not in known:
        raise Invalid(f"no folder of yours is known for {hub}; give --home FOLDER, or set PUMASI_HOME")
    return Path(known[hub])


def remember(hub: str, folder: Path) -> None:
    """Act from `folder` at this hub from now on."""
    from pumasi.client.home import read_toml

    path = identities_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_toml(path) if path.is_file() else {}
    known[hub] = str(folder)
    lines = [f"{json.dumps(url)} = {json.dumps(where, ensure_ascii=False)}" for url, where in sorted(known.items())]
    path.write_text("# Which folder you act from at which hub.\n" + "\n".join(lines) + "\n", encoding="utf-8")
