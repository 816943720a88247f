"""The risk report: a table before and after treatment, as JSON and as one HTML page in Korean and English that a board can sign.

    found = examine(before, after, Question(quasi=("age", "region"), sensitive=("disease",), population=500_000))
    write(found, html=Path("risk.html"), json_file=Path("risk.json"))

Neither holds a value of the table but quantiles of numeric columns; both name its columns. Nothing is fetched when the page is opened.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumasi.deid.reading import Table
from pumasi.deid.risk import assess
from pumasi.deid.risk.assess import Assessment, Distance


@dataclass(frozen=True)
class Question:
    """What is asked of a table; only `quasi` is needed. `threshold` is the risk per person that the board finds acceptable."""

    quasi: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    population: int | None = None
    population_table: Table | None = None
    distances: Mapping[str, Distance] = field(default_factory=dict)
    largest: int | None = None
    person: str | None = None
    events: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    threshold: float = 0.2
    utility: bool = True


@dataclass(frozen=True)
class Examination:
    """What was found. `last` is what would be handed out: the table after treatment, or the only one."""

    question: Question
    before: Assessment
    after: Assessment | None

    @property
    def last(self) -> Assessment:
        return self.after or self.before


def examine(before: Table, after: Table | None, question: Question) -> Examination:
    """Measure both tables by the same question. The tables may have different rows and values, but both have the columns asked for."""
    first = _assess(before, question)
    return Examination(question, first, None if after is None else _assess(after, question))


def _assess(table: Table, question: Question) -> Assessment:
    return assess.assess(
        table,
        quasi=question.quasi,
        sensitive=question.sensitive,
        population=question.population,
        population_table=question.population_table,
        distances=question.distances,
        largest=question.largest,
    )


def as_json(found: Examination) -> dict[str, Any]:
    """The measures of the table that would be handed out; with two tables also `before`, the same keys for the untreated one."""
    out = assess.as_json(found.last)
    return out if found.after is None else {**out, "before": assess.as_json(found.before)}


def write(found: Examination, *, html: Path | None = None, json_file: Path | None = None) -> None:
    """Write the report; each file appears whole or not at all."""
    if json_file is not None:
        _put(json_file, json.dumps(as_json(found), ensure_ascii=False, indent=2) + "\n")


def _put(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
