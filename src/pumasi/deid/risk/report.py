"""The risk report: a table before and after treatment, as JSON and as one HTML page in Korean and English that a board can sign.

    found = examine(before, after, Question(quasi=("age", "region"), sensitive=("disease",), population=500_000))
    write(found, html=Path("risk.html"), json_file=Path("risk.json"))

Neither holds a value of the table but quantiles of numeric columns; both name its columns. Nothing is fetched when the page is opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumasi.deid.reading import Table
from pumasi.deid.risk import assess, links, longitudinal, model, utility
from pumasi.deid.risk.assess import Assessment, Distance


@dataclass(frozen=True)
class Question:
    """What is asked of a table; only `quasi` is needed. `threshold` is the risk per person that the board finds acceptable; `person` and
    `events` ask for histories, `links` for columns that tie people together (all others, if none are named); `utility` costs some time."""

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
class Utility:
    """What is left of the table's use; `kept` and `relations` need two tables, `scores` has an entry for each."""

    kept: tuple[utility.Kept, ...]
    relations: utility.Relations | None
    scores: tuple[tuple[model.Score, ...], ...]


@dataclass(frozen=True)
class Examination:
    """What was found. `last` is what would be handed out: the table after treatment, or the only one."""

    question: Question
    before: Assessment
    after: Assessment | None
    names: tuple[str, str | None]
    histories: tuple[tuple[longitudinal.Fingerprint, ...], ...]
    links: tuple[links.Link, ...] | None
    utility: Utility | None

    @property
    def last(self) -> Assessment:
        return self.after or self.before


def examine(before: Table, after: Table | None, question: Question) -> Examination:
    """Measure both tables by the same question. The tables may have different rows and values, but both have the columns asked for."""
    first = _assess(before, question)
    second = None if after is None else _assess(after, question)
    both = [before] if after is None else [before, after]
    histories = tuple(longitudinal.longitudinal(one, person=question.person, events=question.events) for one in both if question.person)
    tied = None
    if question.links or question.utility:
        tied = links.links(
            both[-1], columns=question.links, skip=[*question.quasi, *question.sensitive, *question.events], person=question.person
        )
    names = (before.where, None if after is None else after.where)
    return Examination(question, first, second, names, histories, tied, _utility(both, first, second) if question.utility else None)


def _utility(both: list[Table], first: Assessment, second: Assessment | None) -> Utility:
    if second is None:
        return Utility((), None, (model.scores(first.found),))
    related = utility.relations(first.found.joint, second.found.joint)
    return Utility(utility.kept(*both), related, (model.scores(first.found), model.scores(second.found)))


def _assess(table: Table, question: Question) -> Assessment:
    return assess.assess(
        table,
        quasi=question.quasi,
        sensitive=question.sensitive,
        population=question.population,
        population_table=question.population_table,
        distances=question.distances,
        largest=question.largest,
        threshold=question.threshold,
    )


def as_json(found: Examination) -> dict[str, Any]:
    """The measures of the table that would be handed out; with two tables also `before`, the same keys for the untreated one."""
    out = assess.as_json(found.last)
    if found.after is not None:
        out["before"] = assess.as_json(found.before)
    if found.histories:
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
