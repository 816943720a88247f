"""What `pumasi deid risk` does: read, assess, and write what was asked for, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer

from pumasi.deid import engine
from pumasi.deid.reading import read
from pumasi.deid.risk import report as reports
from pumasi.deid.risk.assess import Distance
from pumasi.deid.risk.valuetree import read_rows
from pumasi.kernel.errors import Invalid


@dataclass(frozen=True)
class Wish:
    quasi: tuple[str, ...]
    sensitive: tuple[str, ...]
    population: int | None
    population_table: str | None
    after: str | None
    distances: tuple[str, ...]
    largest: int | None
    person: str | None
    events: tuple[str, ...]
    links: tuple[str, ...]
    threshold: float


def run(source: str, wish: Wish, *, json_file: Path | None, report: Path | None) -> None:
    """Assess `source`, and the table after treatment where one is named; files appear whole or not at all."""
    _check(wish, [source, wish.population_table, wish.after, json_file, report])
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connection())
        table = opened.enter_context(read(source, connection))
        after = opened.enter_context(read(wish.after, connection)) if wish.after else None
        people = opened.enter_context(read(wish.population_table, connection)) if wish.population_table else None
        found = reports.examine(
            table,
            after,
            reports.Question(
                quasi=wish.quasi,
                sensitive=wish.sensitive,
                population=wish.population,
                population_table=people,
                distances=_distances(wish.distances),
                largest=wish.largest,
                person=wish.person,
                events=wish.events,
                links=wish.links,
                threshold=wish.threshold,
                utility=report is not None,
            ),
        )
        reports.write(found, html=report, json_file=json_file)
    if json_file is None:
        typer.echo(json.dumps(reports.as_json(found), ensure_ascii=False, indent=2))


def _check(wish: Wish, files: Sequence[str | Path | None]) -> None:
    faults = []
    if wish.population is not None and wish.population_table is not None:
        faults.append("--population and --population-table exclude each other; the table says how many people there are")
    if not 0 < wish.threshold <= 1:
        faults.append(f"--threshold {wish.threshold}: a risk is above 0 and at most 1, for example 0.2")
    if wish.largest is not None and wish.largest < 1:
        faults.append(f"--largest {wish.largest}: a special unique has at least one column")
    if bool(wish.person) != bool(wish.events):
        faults.append("--person and --events belong together: whose event a row is, and the columns of its date and codes")
    for folder in {Path(file).parent for file in files[3:] if file is not None}:
        if not folder.is_dir():
            faults.append(f"{folder}: there is no such folder to write into")
    written = [Path(file).resolve() for file in files if file is not None]
    if len(set(written)) < len(written):
        faults.append("two of the files named are the same; what is read is never written over")
    if faults:
        raise Invalid(*faults)


def _distances(given: Sequence[str]) -> dict[str, Distance]:
    found: dict[str, Distance] = {}
    for one in given:
        column, separator, kind = one.partition("=")
        if not separator or not column or not kind:
            raise Invalid(f"--distance {one}: write COLUMN=equal, COLUMN=ordered, or COLUMN=HIERARCHY.csv")
        found[column] = Distance(kind) if kind in ("equal", "ordered") else Distance("hierarchical", read_rows(Path(kind)))
    return found
