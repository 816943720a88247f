"""Running the real thing: commands as a person types them, kept demos, and their processes killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ALONE = Path(__file__).with_name("alone.py")
PATIENCE = 240.0  # seconds that no single step of a story takes, on a busy machine either


@dataclass(frozen=True)
class Ended:
    """A command that has ended: what it said, and whatever it left behind."""

    code: int
    out: str
    err: str
    left_processes: list[str]
    left_files: list[str]

    @property
    def said(self) -> str:
        return self.out + self.err


def pumasi(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pumasi.cli", *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """As a person's shell, with this folder for everything that would otherwise land in their home or in /tmp."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    dropped = ("PUMASI_HOME", "PYTHONDONTWRITEBYTECODE", "COV_CORE_SOURCE", "COV_CORE_CONFIG", "COV_CORE_DATAFILE")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return kept | {"TMPDIR": str(temporary), "XDG_CONFIG_HOME": str(folder / "config"), **more}


def run_alone(folder: Path, *arguments: str) -> Ended:
    """A pumasi command in `folder` to its end, with every process and temporary file that it leaves."""
    left = folder / "left.json"
    command = [sys.executable, "-I", "-S", str(ALONE), "30", str(left), *pumasi(*arguments)]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=PATIENCE)
    assert left.exists(), done.stderr
    files = [str(path.relative_to(folder)) for path in (folder / "tmp").rglob("*")]
    return Ended(done.returncode, done.stdout, done.stderr, json.loads(left.read_text()), files)


@dataclass
class Kept:
    """A demo that keeps running: where it is, and its processes."""

    folder: Path  # where it was started
    code: int
    said: str
    mark: str
    system: dict[str, Any]
    own: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # what was started again here

    @property
    def hub(self) -> str:
        return str(self.system["hub"])

    @property
    def root(self) -> Path:
        return Path(self.system["folder"])

    @property
    def researcher(self) -> Path:
        return Path(self.system["researcher"])

    @property
    def nodes(self) -> list[str]:
        return [row["name"] for row in self.system["processes"] if row["name"] not in ("hub", "people")]

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.system["processes"] if row["name"] == name)

    def home(self, name: str) -> Path:
        return Path(self.row(name)["home"])

    def database(self, name: str) -> Path:
        return self.home(name) / ("hub.db" if name == "hub" else "node.db")

    # --- processes ---

    def end(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait until the process is gone."""
        pid = self.row(name)["pid"]
        os.kill(pid, number)
        if name in self.own:
            self.own.pop(name).wait(timeout=PATIENCE)
        wait_until(lambda: not alive(pid), f"{name} does not end")

    def end_all(self) -> None:
        """Ask every process to end, all at once, as a machine does that is shut down."""
        for row in self.system["processes"]:
            os.kill(row["pid"], signal.SIGTERM)
        for row in self.system["processes"]:
            wait_until(partial(_gone, row["pid"]), f"{row['name']} does not end")

    def begin(self, name: str) -> None:
        """Start a process again with the command in system.json."""
        row = self.row(name)
        with (Path(row["home"]) / "output.txt").open("ab") as output:
            self.own[name] = subprocess.Popen(
                row["command"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=self.environment()
            )
        row["pid"] = self.own[name].pid
        (self.folder / "system.json").write_text(json.dumps(self.system))
        if name == "hub":
            wait_until(self.hub_answers, lambda: f"the hub does not come up: {(Path(row['home']) / 'output.txt').read_text()}")

    def hub_answers(self) -> bool:
        host, _, port = self.hub.removeprefix("https://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True

    # --- commands ---

    def environment(self, **more: str) -> dict[str, str]:
        return environment(self.folder, PUMASI_STORY=self.mark, **more)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(pumasi(*arguments), cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE)

    def study(self, text: str, name: str, *, home: Path | None = None) -> StudyRun:
        """Begin `pumasi study run` with this study.toml, by the plain command or with PUMASI_HOME."""
        (self.folder / f"{name}.toml").write_text(text, encoding="utf-8")
        more = {"PUMASI_HOME": str(home)} if home else {}
        command = pumasi("study", "run", f"{name}.toml", "--hub", self.hub, "--json", f"{name}.json")
        shell = self.environment(PYTHONUNBUFFERED="1", **more)
        process = subprocess.Popen(command, cwd=self.folder, env=shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return StudyRun(self.folder / f"{name}.json", process)

    # --- looking inside ---

    def entries(self, name: str) -> list[bytes]:
        """The log as one party holds it."""
        with sqlite3.connect(f"file:{self.database(name)}?mode=ro", uri=True) as db:
            return [bytes(row[0]) for row in db.execute('SELECT data FROM entries ORDER BY "index"')]

    def logs(self) -> Iterator[tuple[Path, bytes]]:
        """Every log and every output of every process."""
        for path in sorted([*self.root.rglob("*.log"), *self.root.rglob("output.txt")]):
            yield path, path.read_bytes()

    def stop(self) -> None:
        """End it for sure: by the public command, then by whatever still carries this story's mark."""
        if (self.folder / "system.json").exists():
            self.command("demo-stop", "system.json")
        for process in self.own.values():
            process.kill()
            process.wait()
        for pid in marked(self.mark):
            os.kill(pid, signal.SIGKILL)


@dataclass
class StudyRun:
    """A study that is being run."""

    outcome_file: Path
    process: subprocess.Popen[str]
    said: str = ""

    def until(self, words: str) -> None:
        """Read what it says until a line holds `words`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"the study never said '{words}' but:\n{self.said}")

    def end(self) -> int:
        """Its exit code, once it has ended."""
        self.said += self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode

    def outcome(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.outcome_file.read_text(encoding="utf-8"))
        return value


def keep(folder: Path, data: Path) -> Kept:
    """`pumasi demo --data DATA --json FILE --keep`."""
    mark = uuid.uuid4().hex
    done = subprocess.run(
        pumasi("demo", "--data", str(data), "--json", "outcome.json", "--keep"),
        cwd=folder, env=environment(folder, PUMASI_STORY=mark), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    record = folder / "system.json"
    system = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    return Kept(folder, done.returncode, done.stdout + done.stderr, mark, system)


def wait_until(ready: Callable[[], object], otherwise: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(0.05)


def _gone(pid: int) -> bool:
    return not alive(pid)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def marked(mark: str) -> list[int]:
    """The processes whose environment carries a story's mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PUMASI_STORY={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if alive(pid)]


def verify(bundle: Path | str, policy: Path | str) -> subprocess.CompletedProcess[str]:
    """The verifier as an auditor runs it: the file alone, with nothing of pumasi in reach."""
    import pumasi.ledger

    file = Path(next(iter(pumasi.ledger.__path__))) / "verify.py"
    command = [sys.executable, "-I", str(file), str(bundle), "--policy", str(policy)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def write_study(folder: Path, study: str, hospitals: Mapping[str, Mapping[str, bytes | str]]) -> Path:
    """Lay out DIR/study.toml and DIR/hospitals/<hospital>/<file>."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(study, encoding="utf-8")
    for hospital, files in hospitals.items():
        (folder / "hospitals" / hospital).mkdir(parents=True)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / "hospitals" / hospital / name).write_bytes(data)
    return folder
