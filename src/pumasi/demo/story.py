"""One story from an empty folder to a closed case, each step by the right party, all through the public commands.

1. prepare    data, hub, one node per hospital: folders, keys, people, descriptions; bad input ends it here, before any process starts
2. found      processes up, members join and are admitted, until the consortium rule is met
3. study      application, boards, permits, joint computation, review, release, deletion: `pumasi study run`
4. audit      the case bundle checked by the stand-alone verifier
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pumasi.client import cli as client_cli
from pumasi.client import outcome, studyfile
from pumasi.client.home import Home
from pumasi.client.studyfile import StudyFile
from pumasi.demo import hospitals as generated
from pumasi.demo.people import ROLES, Staff, work
from pumasi.demo.processes import Fleet, free_port
from pumasi.hub import cli as hub_cli
from pumasi.kernel.errors import Invalid, PumasiError
from pumasi.node import cli as node_cli
from pumasi.rehearsal.folder import find_hospitals, is_a_name

MOST_HOSPITALS = 40
INSTEAD = "; `pumasi rehearse` tries a study over any number of them, in one process"
BATCH = 8  # nodes that start at once
COORDINATOR = "coordinator"
NODELESS = {"platform-company": "platform", "ai-company-1": "company", "ai-company-2": "company", "ai-company-3": "company"}
RESEARCHER = "researcher@ai-company-1"
Say = Callable[[str], None]


@dataclass
class System:
    """A running demo: where everything is."""

    folder: Path
    url: str
    fleet: Fleet
    staffs: list[Staff] = field(default_factory=list)
    researcher: Path = Path()

    @property
    def certificate(self) -> Path:
        return self.folder / "hub" / "hub.crt"


def _fits(name: str) -> bool:
    return is_a_name(name) and name != COORDINATOR and name not in NODELESS and not name.startswith("member-hospital-")


def prepare(system: System, files: dict[str, dict[str, Path]], study: StudyFile, say: Say) -> None:
    """Step 1: every folder, key and description, without starting anything."""
    hub, port = system.folder / "hub", system.url.rpartition(":")[2]
    with _quietly():
        hub_cli.init(home=hub, name=COORDINATOR, origin="demo.pumasi.example/log", host="127.0.0.1", port=int(port))
    reasons: list[str] = []
    for number, (name, tables) in enumerate(files.items()):
        node = system.folder / "nodes" / f"{number + 1:02d}"
        try:
            with _quietly():
                _prepare_node(system, node, name, tables, study, kind="tertiary-hospital" if number < 2 else "hospital")
        except Invalid as error:
            reasons += error.reasons
        say(f"{name}: described its data from its own file")
    if reasons:
        raise Invalid(*dict.fromkeys(reasons))


def _prepare_node(system: System, node: Path, name: str, tables: dict[str, Path], study: StudyFile, *, kind: str) -> None:
    node_cli.init(home=node, name=name, hub=system.url, hub_cert=system.certificate, kind=kind, smallest_cell=study.smallest_cell)
    with (node / "node.toml").open("a", encoding="utf-8") as settings:
        for table, file in tables.items():
            rule = study.tables[table]
            identifiers = [column for column, treated in rule.columns.items() if treated.is_ == "identifier" and column != rule.person]
            settings.write(
                f"\n[tables.{json.dumps(table, ensure_ascii=False)}]\nfile = {json.dumps(str(file), ensure_ascii=False)}\n"
                f"person = {json.dumps(rule.person, ensure_ascii=False)}\nidentifiers = {json.dumps(identifiers, ensure_ascii=False)}\n"
            )
    node_cli.join(home=node)
    people = []
    for role, roles in ROLES.items():
        folder = node / "people" / role
        client_cli.key_new(home=folder, id=f"{role}@{name}", hub=system.url, hub_cert=system.certificate)
        node_cli.enrol(home=node, card=folder / "card.json", role=roles)
        people.append(Home(folder))
    node_cli.describe(home=node)
    system.staffs.append(Staff(people, node))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Commands speak to whoever typed them; here that is the story, which tells it in its own words."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def found(system: System, names: list[str], say: Say) -> None:
    """Step 2: processes, membership, and the consortium rule."""
    system.fleet.start("hub", "hub", "serve", "--home", str(system.folder / "hub"), home=system.folder / "hub", address=system.url)
    coordinator = hub_cli.coordinator(system.folder / "hub")
    _wait(system, lambda: coordinator.get("/").json()["size"] > 0)
    say("the hub is up and has founded the log")
    companies = _nodeless_members(system, len(names))
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        for offset, name in enumerate(batch, start):
            node = system.folder / "nodes" / f"{offset + 1:02d}"
            system.fleet.start(name, "node", "serve", "--home", str(node), home=node)
        _wait(system, lambda batch=batch: _admit(coordinator, set(batch) | companies))  # type: ignore[misc]
    say(f"{len(names)} nodes are up; {len(companies) + len(names) + 1} members admitted: the consortium rule is met")
    researcher = Home(system.researcher)
    _wait(system, lambda: len(researcher.channel.get("/catalogue").json()) == len(names))
    say("every hospital's dataset is in the catalogue")
    researcher.close()
    coordinator.close()


def _admit(coordinator: Any, wanted: set[str]) -> bool:
    members: dict[str, Any] = coordinator.get("/members").json()
    for name in sorted(wanted & members.keys()):
        if not members[name]["admitted"]:
            coordinator.post("/admissions", name.encode())
    return wanted <= members.keys()


def _nodeless_members(system: System, nodes: int) -> set[str]:
    """The platform company, the companies, and hospitals without a node up to the rule's five, two of them tertiary."""
    kinds = dict(NODELESS)
    kinds |= {f"member-hospital-{number}": "tertiary-hospital" if number <= 2 else "hospital" for number in range(nodes + 1, 6)}
    with _quietly():
        for name, kind in kinds.items():
            folder = system.folder / "members" / name
            client_cli.key_new(home=folder, id=name, hub=system.url, hub_cert=system.certificate)
            client_cli.member_join(home=folder, kind=kind)
        hub_cli.admit(home=system.folder / "hub", member="ai-company-1")
        client_cli.key_new(home=system.researcher, id=RESEARCHER, hub=system.url, hub_cert=system.certificate)
        client_cli.member_enrol(home=system.folder / "members" / "ai-company-1", card=system.researcher / "card.json", role=["researcher"])
    return set(kinds)


def _wait(system: System, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        system.fleet.check()
        if time.monotonic() > deadline:
            raise PumasiError("the processes of the demo did not come up within two minutes; their folders hold output.txt and logs")
        time.sleep(0.1)


def tell(data: Path | None, *, json_file: Path | None, keep: bool, say: Say) -> int:
    """The whole story; the exit code. Everything is stopped and removed at the end unless `keep`."""
    started = time.monotonic()
    run = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = Path(tempfile.mkdtemp(prefix="pumasi-"))
    system = System(folder, f"https://127.0.0.1:{free_port()}", Fleet(), researcher=folder / "researcher")
    finished = False
    try:
        if data is None:
            data = folder / "data"
            generated.write(data, hospitals=5, seed=14)
        study = studyfile.read_to_run(data / "study.toml")
        files = find_hospitals(data, study, most=MOST_HOSPITALS, instead=INSTEAD, fits=_fits)
        say(f"1  prepare: {len(files)} hospitals")
        prepare(system, files, study, lambda line: say(f"   {line}"))
        say("2  found the consortium")
        found(system, list(files), lambda line: say(f"   {line}"))
        say(f"3  study: {study.title}")
        run.mkdir(parents=True)
        ready = time.monotonic()
        result = _study(system, study, run / "bundle.json", lambda line: say(f"   {line}"))
        say("4  audit\n")
        result["seconds"] |= {"start": round(ready - started, 3), "whole demo": round(time.monotonic() - started, 3)}
        outcome.write(result, run / "outcome.json")
        if json_file is not None:
            outcome.write(result, json_file)
        verified = _audit(system, run)
        say("\n" + outcome.text(result))
        say(f"\nThe whole story took {time.monotonic() - started:.1f} s. Outcome, case bundle and policy: {run}")
        finished = True
        if keep:
            _keep(system, run, say)
        return verified or outcome.exit_code(result)
    except PumasiError as error:
        if error.exit_code == 1:
            say(f"   the logs of all processes are in {_save_logs(system, run)}")
        raise
    finally:
        if not (keep and finished):
            system.fleet.stop()
            shutil.rmtree(folder, ignore_errors=True)
        if not finished:
            with contextlib.suppress(OSError):  # keeps logs, if there are any
                run.rmdir()
                run.parent.rmdir()


def _save_logs(system: System, run: Path) -> Path:
    """What the processes said, for whoever looks into a fault; logs hold no patient value."""
    logs = run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for one in system.fleet.started:
        for file in [*sorted(one.home.glob("*.log")), one.home / "output.txt"]:
            if file.is_file():
                shutil.copyfile(file, logs / f"{one.home.name}-{file.name}")
    return logs


def _study(system: System, study: StudyFile, bundle: Path, say: Say) -> dict[str, Any]:
    stop = threading.Event()
    boards = threading.Thread(target=work, args=(system.staffs, stop), daemon=True, name="people")
    boards.start()
    researcher = Home(system.researcher)
    try:
        return outcome.run(researcher, study, bundle=bundle, progress=say)
    finally:
        stop.set()
        boards.join(timeout=0.5)  # it may be waiting for news for long
        researcher.close()


def _audit(system: System, run: Path) -> int:
    from pumasi.ledger.verify import main as verify

    researcher = Home(system.researcher)
    (run / "policy.txt").write_text(researcher.channel.get("/policy").text, encoding="utf-8")
    researcher.close()
    sys.stdout.flush()
    return verify([str(run / "bundle.json"), "--policy", str(run / "policy.txt")])


def _keep(system: System, run: Path, say: Say) -> None:
    """Leave everything running, with somebody at every inbox, and say where it all is."""
    record = system.folder / "system.json"
    people = [{"id": person.id, "home": str(person.folder), "node": str(staff.node)} for staff in system.staffs for person in staff.people]
    rows: dict[str, Any] = {"hub": system.url, "certificate": str(system.certificate), "policy": str((run / "policy.txt").resolve())}
    rows |= {"researcher": str(system.researcher), "folder": str(system.folder), "people": people}
    record.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    (system.folder / "people").mkdir()
    system.fleet.start("people", "demo-people", str(record), home=system.folder / "people")
    rows["processes"] = [one.row() for one in system.fleet.started]
    for path in (record, Path("system.json")):
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    client_cli.remember(system.url, system.researcher)
    say("\nEverything keeps running: see system.json. Run another study on it:")
    say(f"  pumasi study run study.toml --hub {system.url} --json outcome.json")
    say("Stop it all with: pumasi demo-stop system.json")
