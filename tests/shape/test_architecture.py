"""The import contracts hold, and cover what they should."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def test_the_import_contracts_hold() -> None:
    """In a process of its own: import-linter configures logging, and with that silences every logger that exists already."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(config_filename='pyproject.toml'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_contract_has_exceptions() -> None:
    assert [contract["name"] for contract in CONTRACTS if "ignore_imports" in contract] == []


@pytest.mark.parametrize("package", ["analysis", "deid"])
def test_pure_packages_are_forbidden_store_ledger_and_network_as_soon_as_they_exist(package: str) -> None:
    sources = {source for contract in CONTRACTS if contract["type"] == "forbidden" for source in contract["source_modules"]}
    assert not (ROOT / "src" / "pumasi" / package).exists() or f"pumasi.{package}" in sources
