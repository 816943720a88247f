"""What the repository may hold: a lock of hashes without addresses, no registry's host anywhere, scripts that start anywhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
# Written in pieces, so that this file does not hold what it looks for.
HOSTS = tuple(f"{name}.{top}" for name, top in [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io")])
ADDRESS = re.compile(r"https?://|file://|--(extra-)?index-url|--find-links")


def tracked() -> list[Path]:
    """Every file that is committed or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("this copy is no git checkout, so there is no list of its files")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_lock_holds_no_address() -> None:
    assert [line for line in LOCK.splitlines() if ADDRESS.search(line)] == []


def test_everything_in_the_lock_is_pinned_by_version_and_hash() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(blocks) > 30
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==\S+( ; .+)? \\\n", block), block.partition("\n")[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.partition("\n")[0]


def test_the_lock_covers_every_declared_dependency() -> None:
    declared = re.findall(r'^\s*(?:\w+ = \[)?"([a-z0-9-]+)[><=]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(declared) > 10
    assert [name for name in declared if f"\n{name}==" not in f"\n{LOCK}"] == []


def test_no_file_names_a_package_registry() -> None:
    found = [path for path in tracked() if any(host.encode() in path.read_bytes() for host in HOSTS)]
    assert found == []


def test_run_explains_itself_from_any_folder(tmp_path: Path) -> None:
    told = subprocess.run([ROOT / "run"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0
    assert all(f"./run {command}" in told.stdout for command in ("demo", "test", "bench", "pumasi", "lock"))
    wrong = subprocess.run([ROOT / "run", "no-such-command"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and "./run demo" in wrong.stderr
