"""The risk report: a table before and after treatment, as JSON and as one HTML page in Korean and English that a board can sign.

    found = examine(before, after, Question(quasi=("age", "region"), sensitive=("disease",), population=500_000))
    write(found, html=Path("risk.html"), json_file=Path("risk.json"))

Neither holds a value of the table but rounded quantiles of numbers; both name its columns. Nothing is fetched when the page is opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumasi.deid.risk import assess
from pumasi.deid.risk.examination import Examination, Question, Utility, examine

__all__ = ["Examination", "Question", "as_json", "examine", "write"]


def as_json(found: Examination) -> dict[str, Any]:
    """The measures of the table that would be handed out; with two tables also `before`, the same keys for the untreated one."""
    out = assess.as_json(found.last)
    if found.after is not None:
        out["before"] = assess.as_json(found.before)
    if found.histories:
        out["people"] = found.people
        out["histories"] = [asdict(one) for one in found.histories[-1]]
    if found.links is not None:
        out["links"] = [asdict(one) for one in found.links]
    if found.utility is not None:
        out["utility"] = _utility_json(found.utility)
    return {key: _finite(value) for key, value in out.items()}


def _utility_json(found: Utility) -> dict[str, Any]:
    related = found.relations
    matrices = None
    if related is not None:
        matrices = {
            "columns": related.columns,
            "before": related.before.tolist(),
            "after": related.after.tolist(),
            "change": related.change,
        }
    return {
        "columns": {one.column: {key: value for key, value in asdict(one).items() if key != "column"} for one in found.kept},
        "relations": matrices,
        "scores": [
            {one.column: {key: value for key, value in asdict(one).items() if key != "column"} for one in each} for each in found.scores
        ],
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity: where a measure is infinite it says null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(found: Examination, *, html: Path | None = None, json_file: Path | None = None) -> None:
    """Write the report; each file appears whole or not at all. The page names the SHA-256 of the JSON file's bytes."""
    text = json.dumps(as_json(found), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    if html is not None:
        from pumasi.deid.risk.page import page  # the pictures' library takes half a second to load

        _put(html, page(found, digest=hashlib.sha256(text.encode()).hexdigest(), on=datetime.now(UTC).date()))
    if json_file is not None:
        _put(json_file, text)


def _put(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
