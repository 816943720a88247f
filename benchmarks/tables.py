"""Tables: anonymising beside anjana, risk measures beside pycanon, and a treated table beside DuckDB's plain copy.

Each part is a module tables_*.py of its own, which says what is measured and whether less is better.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any


def rows() -> list[dict[str, Any]]:
    parts = sorted(path.stem for path in Path(__file__).parent.glob("tables_*.py"))
    return [row for part in parts for row in importlib.import_module(f"benchmarks.{part}").rows()]
