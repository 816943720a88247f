"""`pumasi demo`: the whole story on this machine, with synthetic hospitals or your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your own hospitals: a folder with study.toml and hospitals/<hospital>/<table>.csv")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the outcome here.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and write system.json.")] = False,
) -> None:
    """Start a hub and a node per hospital, and walk one study from application to deletion."""
    from pumasi.demo import story

    raise typer.Exit(story.tell(data, json_file=json_file, keep=keep, say=lambda line: typer.echo(line)))


@commands.command("demo-people", hidden=True)
def demo_people(record: Path) -> None:
    """Act for the synthetic people of a kept demo until stopped."""
    import signal
    import threading

    from pumasi.client.home import Home
    from pumasi.demo.people import Staff, work

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    people = json.loads(record.read_text(encoding="utf-8"))["people"]
    nodes = sorted({person["node"] for person in people})
    staffs = [Staff([Home(Path(person["home"])) for person in people if person["node"] == node], Path(node)) for node in nodes]
    working = threading.Thread(target=work, args=(staffs, stop), daemon=True)
    working.start()
    stop.wait()
    working.join(timeout=0.5)  # it may be waiting for news for long, and may be cut off anywhere
    for staff in staffs:
        for person in staff.people:
            person.close()  # or they would wait a minute for a hub that was stopped before them


@commands.command("demo-stop")
def demo_stop(record: Annotated[Path, typer.Argument(help="The system.json of a kept demo.")]) -> None:
    """Stop a kept demo and remove its folders."""
    import contextlib
    import os
    import shutil
    import signal
    import time

    system = json.loads(record.read_text(encoding="utf-8"))
    ours = [process["pid"] for process in reversed(system["processes"]) if _is_ours(process["pid"], process["command"])]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(2 if number == signal.SIGTERM else 0)
    shutil.rmtree(system["folder"], ignore_errors=True)
    record.unlink()
    typer.echo("Stopped and removed.")


def _is_ours(pid: int, command: list[str]) -> bool:
    """Whether this process is still the one that was started: its number may belong to somebody else by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:-1] == [part.encode() for part in command[1:]]
    except OSError:
        return False
