"""Both ways of launching a sandbox: as an ordinary user, and, where the tests run as root, also as the host's root.

Root becomes an ordinary user for the first: in a mount namespace of its own, where folders that are closed to others are replaced
by empty ones that hold just the interpreter and this checkout, it switches to a uid that owns nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
ORDINARY = 61234
SMALL = {"cpu_seconds": 5, "memory_bytes": 512 << 20, "wall_seconds": 20, "processes": 8, "file_bytes": 4 << 20, "output_bytes": 1 << 20}
MODES = ["ordinary user", "root"] if os.geteuid() == 0 else ["ordinary user"]
_SCRIPTS = {
    "attempts": {},
    "threads": {},
    "forks": {},
    "memory": {},
    "scratch": {},
    "flood": {},
    "idle": {"wall_seconds": 1},
    "other_calls": {},
}
_SCRIPTS |= {"burn": {"cpu_seconds": 1}, "stubborn": {"cpu_seconds": 1}}


def _closed_ancestor(path: Path) -> Path | None:
    return next((folder for folder in reversed(path.parents) if folder.stat().st_mode & 0o005 != 0o005), None)


def as_ordinary_user() -> list[str]:
    """The words before a command that run it as an ordinary user; empty where the tests already do."""
    if os.geteuid() != 0:
        return []
    needed = sorted({Path(sys.base_prefix), Path(sys.prefix), REPOSITORY})
    closed = {folder: str(folder) for path in needed if (folder := _closed_ancestor(path)) is not None}
    words = ["bwrap", "--dev-bind", "/", "/", "--die-with-parent"]
    words += [word for folder in closed.values() for word in ("--perms", "0755", "--tmpfs", folder)]
    for path in needed:
        if (top := _closed_ancestor(path)) is not None:
            parents = [str(parent) for parent in reversed(path.parents) if parent.is_relative_to(top) and parent != top]
            words += [word for parent in parents for word in ("--perms", "0755", "--dir", parent)] + ["--ro-bind", str(path), str(path)]
    switch = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    return [*words, "--cap-add", "ALL", "--", *switch]


def skip_without_sandbox(mode: str) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed, so there is no sandbox to test")
    if mode == "ordinary user" and os.geteuid() == 0:
        tried = subprocess.run([*as_ordinary_user(), sys.executable, "-c", "import numpy, pumasi"], capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"root cannot run this checkout as an ordinary user here: {tried.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    skip_without_sandbox(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def command(mode: str) -> list[str]:
    """What to put before a command so that it runs in this mode."""
    return as_ordinary_user() if mode == "ordinary user" else []


@pytest.fixture(scope="session")
def outside() -> Iterator[dict[str, Any]]:
    """What there is on this machine for a job to find: a listening port, a neighbour's file, a process, and the node's own folders."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as neighbour:
        listener.setblocking(False)
        secret = Path(neighbour, "patients.csv")
        secret.write_text("patient_no\n1\n")
        folders = [
            "/root",
            "/home",
            "/etc",
            "/proc",
            "/sys",
            "/run",
            "/var",
            "/usr/bin",
            neighbour,
            str(REPOSITORY),
            sys.prefix,
            sys.base_prefix,
            str(Path.home()),
        ]
        files = [
            "/etc/passwd",
            "/etc/hostname",
            "/proc/self/environ",
            "/proc/1/fd/0",
            "/dev/tty",
            "/dev/mem",
            "/dev/shm",
            str(secret),
            str(REPOSITORY / "pyproject.toml"),
        ]
        yield {
            "port": listener.getsockname()[1],
            "listener": listener,
            "folders": folders,
            "files": files,
            "pid": os.getpid(),
            "marker": str(REPOSITORY),
        }


@pytest.fixture(scope="session")
def reports(mode: str, command: list[str], outside: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every probe's report in this mode; they run side by side."""
    given = {key: value for key, value in outside.items() if key != "listener"}
    cases = {
        name: {
            "script": f"HOST = {given!r}\n" + (HERE / "probes" / f"{name}.py").read_text(encoding="utf-8"),
            "limits": {**SMALL, **limits},
        }
        for name, limits in _SCRIPTS.items()
    }
    words = [*command, sys.executable, str(HERE / "runner.py")]
    done = subprocess.run(words, input=json.dumps(cases), capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    answer: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="session")
def attempts(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    output = reports["attempts"]["output"]
    assert output.startswith("{"), output
    answer: dict[str, Any] = json.loads(output)
    return answer
