"""The systemd units are well formed, start commands that exist, and forbid what they can without forbidding the sandbox."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from pumasi.cli import app

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(path for path in DEPLOY.iterdir() if path.suffix in (".service", ".timer"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
# What makes a service safe if everything else fails; a unit that drops one must say so here.
ALWAYS = {
    "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
    "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes", "UMask": "0077", "LimitCORE": "0", "SystemCallArchitectures": "native",
    "User": "pumasi",
}  # fmt: skip


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections, and every value of every key: a unit may name a key twice."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_each_party_and_a_nightly_backup() -> None:
    assert [path.name for path in UNITS] == [
        f"pumasi-{kind}{rest}"
        for kind in ("hub", "node")
        for rest in ("-backup.service", "-backup.timer", ".service")
    ]  # fmt: skip
    for timer in (path for path in UNITS if path.suffix == ".timer"):
        assert timer.with_suffix(".service") in UNITS and unit(timer)["Timer"]["Persistent"] == ["yes"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_can_be_read(path: Path) -> None:
    configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=False).read_string(path.read_text(encoding="utf-8"))
    assert unit(path).keys() <= {"Unit", "Service", "Timer", "Install"}
    assert unit(path)["Unit"]["Description"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_has_nothing_against_a_unit(path: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here; the units were only read")
    for other in UNITS:  # a timer is read together with its service; the program is not installed here
        text = other.read_text(encoding="utf-8").replace("/opt/pumasi/.venv/bin/pumasi", "/bin/true")
        (tmp_path / other.name).write_text(text, encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)], capture_output=True, text=True, timeout=60)
    assert (said.returncode, [line for line in said.stderr.splitlines() if path.stem in line]) == (0, [])


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_exists_with_options_that_it_has(path: Path) -> None:
    written = [line.lstrip("#").partition("=")[2] for line in path.read_text(encoding="utf-8").splitlines() if "ExecStart=" in line]
    assert written
    for words in map(shlex.split, written):
        assert words[0] == "/opt/pumasi/.venv/bin/pumasi"
        command = typer.main.get_command(app)
        for word in words[1:3]:
            command = command.commands[word]  # type: ignore[attr-defined]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_service_has_no_more_than_it_needs(path: Path) -> None:
    service = unit(path)["Service"]
    assert {key: service.get(key, ["?"])[-1] for key in ALWAYS} == ALWAYS
    serves = "backup" not in path.name
    assert (service.get("Restart") == ["always"]) == serves


def test_the_nodes_unit_lets_bubblewrap_make_a_sandbox() -> None:
    """Each of these was tried: with it, no sandbox starts."""
    service = unit(DEPLOY / "pumasi-node.service")["Service"]
    assert not service.keys() & {"ProtectKernelTunables", "ProcSubset", "ProtectHostname"}
    assert {"user", "mnt", "pid", "net", "ipc", "uts"} <= set(service["RestrictNamespaces"][-1].split())
    assert {"@system-service", "@mount", "sethostname", "seccomp"} <= set(" ".join(service["SystemCallFilter"]).split())
