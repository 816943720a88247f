"""`./run bench` lists the benchmarks, `./run bench NAME [--json FILE]` runs one.

A benchmark is a module here whose docstring's first line says what it measures, with `rows() -> list[dict]`: case, ours, peer, unit, ratio
(ours / peer, both in `unit`; the module says whether less is better and who the peer is).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("case", "ours", "peer", "unit", "ratio")


def benchmarks() -> dict[str, str]:
    """Name and first docstring line of every benchmark, read without importing it."""
    modules = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0] for path in modules}


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("ours", "peer", "ratio") else "left")
    for row in rows:
        table.add_row(*(f"{row[column]:.4g}" if isinstance(row[column], float) else str(row[column]) for column in COLUMNS))
    Console().print(table)


def main() -> None:
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="./run bench", description="Run a benchmark; without a name, list them.")
    parser.add_argument("name", nargs="?", choices=sorted(known), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    chosen = parser.parse_args()
    if chosen.name is None:
        if chosen.json is not None:
            parser.error("--json needs the NAME of a benchmark")
        for name, line in known.items():
            print(f"{name:12} {line}")
        return
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"{chosen.json}: there is no such folder; make it first")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ended like Ctrl-C, so that gigabytes of tables are removed
    rows: list[dict[str, Any]] = importlib.import_module(f"benchmarks.{chosen.name}").rows()
    show(known[chosen.name], rows)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
