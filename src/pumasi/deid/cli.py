"""`pumasi deid`: pseudonymise and anonymise tables, and know the risk before and after. Works alone, without hub or node."""

from __future__ import annotations

import csv
import functools
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from pumasi.kernel.errors import Invalid, Refused

app = typer.Typer(no_args_is_help=True, help="Pseudonymise and anonymise tables; measure the risk.")


def listed(text: str) -> tuple[str, ...]:
    """Names parted by commas; a name that holds a comma itself is put in double quotes."""
    return tuple(one.strip() for one in next(csv.reader([text], skipinitialspace=True), []) if one.strip())


@app.command()
def risk(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A CSV or Parquet file, a folder of them, FILE::table or postgresql://…::table.")
    ],
    quasi: Annotated[str, typer.Option(help="The columns that an outsider may know of a person, parted by commas.")],
    sensitive: Annotated[str, typer.Option(help="The columns that must not become known of a person.")] = "",
    population: Annotated[int | None, typer.Option(help="How many people the rows were drawn from.")] = None,
    population_table: Annotated[str | None, typer.Option(help="A table of all these people, with the same quasi columns.")] = None,
    after: Annotated[str | None, typer.Option(help="The table as it would be handed out, to be set beside IN.")] = None,
    distance: Annotated[
        list[str] | None, typer.Option(help="How far values are apart, for t: COLUMN=equal, COLUMN=ordered, or COLUMN=HIERARCHY.csv.")
    ] = None,
    largest: Annotated[
        int | None, typer.Option(help="The most columns of a special unique; without it as many as are quickly searched.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="The column that says whose event a row is, for --events.")] = None,
    events: Annotated[str, typer.Option(help="The columns of a date and codes that others may have seen of a person.")] = "",
    links: Annotated[str, typer.Option(help="Columns to be searched for links between people; without it all others of a table.")] = "",
    threshold: Annotated[float, typer.Option(help="The risk per person that the report holds the rows against.")] = 0.2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the measures here; without it they are printed.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report in Korean and English here, for a review board to sign.")] = None,
) -> None:
    """How easily people are singled out in a table by what others may know of them, and what is then learnt."""
    from pumasi.deid.risk import command

    command.run(
        source,
        command.Wish(
            quasi=listed(quasi),
            sensitive=listed(sensitive),
            population=population,
            population_table=population_table,
            after=after,
            distances=tuple(distance or ()),
            largest=largest,
            person=person,
            events=listed(events),
            links=listed(links),
            threshold=threshold,
        ),
        json_file=json_file,
        report=report,
    )


@app.command()
def table(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="A CSV or Parquet file, a folder of them, FILE.duckdb::TABLE, or postgresql://USER@HOST/DB::TABLE."
        ),
    ],
    rules: Annotated[str, typer.Option(help="A rule file, or the name of one that is built in: kr-pseudonym, hipaa-safe-harbor …")],
    out: Annotated[str, typer.Option(help="Where the treated table goes: .csv, .parquet, a folder, or a database as for IN.")],
    key: Annotated[
        Path | None, typer.Option(help="The key of this permit; made (mode 0600) if it is not there. Without one, a key that is forgotten.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the risk before and after here, as a page.")] = None,
    quasi: Annotated[
        str,
        typer.Option(help="For the report: the columns that an outsider may know, parted by commas; else those that are made coarser."),
    ] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was done here, as JSON.")] = None,
    memory_mb: Annotated[
        int, typer.Option(min=200, help="How much memory DuckDB may use, in MiB; what does not fit goes to the disk, encrypted.")
    ] = 3072,
) -> None:
    """Pseudonymise a table: every column is treated as the rules say, or the command refuses."""
    from pumasi.deid import places
    from pumasi.deid.progress import progress
    from pumasi.deid.table import pseudonymise

    for file in (report, json_file):
        if file is not None and not file.absolute().parent.is_dir():
            raise Invalid(f"{file}: there is no such folder; make it first")
    if faults := places.overlaps([source, rules, key], [out, report, json_file]):
        raise Refused(*faults)
    with progress() as tell:
        if report is None:
            done = pseudonymise(source, rules=rules, out=out, key=key, memory_mb=memory_mb, tell=tell)
            record = done.plain()
        else:
            from pumasi.deid import beforeafter

            known = listed(quasi)
            check = functools.partial(beforeafter.check, quasi=known)
            done = pseudonymise(source, rules=rules, out=out, key=key, memory_mb=memory_mb, before=check, tell=tell)
            record = done.plain() | {"risk": beforeafter.report(source, done, quasi=known, html=report)}
    if json_file:
        json_file.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for one in done.tables:
        left = f", {one.left_out} without a person left out" if one.left_out else ""
        typer.echo(f"{one.place}: {one.rows} rows, {len(one.treated.columns)} of {len(one.treated.decisions)} columns{left}")
    for name in done.empty:
        typer.echo(f"{name}: not written, because the rules drop every column of it")
    match done.key.kept:
        case "forgotten":
            typer.echo("The key is forgotten: no later run will give the same pseudonyms. Name one with --key to keep it.")
        case "made":
            typer.echo(f"A new key is in {key}: keep it apart from the data, and destroy it when the permit ends.")


@app.command()
def suggest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="A CSV or Parquet file, a folder of them, FILE.duckdb::TABLE, or postgresql://USER@HOST/DB::TABLE."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the proposed rule file goes, such as rules.toml.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the proposals and what was found here, as JSON.")] = None,
    memory_mb: Annotated[
        int | None, typer.Option(min=200, help="How much memory DuckDB may use, in MiB; what does not fit goes to the disk, encrypted.")
    ] = None,
) -> None:
    """Read every row of a table, find the identifiers in it, and propose a rule for each column, with the reason."""
    from pumasi.deid import places
    from pumasi.deid import suggest as suggesting
    from pumasi.deid.progress import progress

    if faults := places.overlaps([source], [out, json_file]):
        raise Refused(*faults)
    with progress() as tell:
        found = suggesting.suggest(source, memory_mb=memory_mb, workers=os.cpu_count() or 1, tell=tell)
    suggesting.write(found, out)
    if json_file:
        json_file.write_text(json.dumps(suggesting.plain(found), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for line in suggesting.told(found, out):
        typer.echo(line)


@app.command()
def anonymize(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A CSV or Parquet file, a folder of them, FILE.duckdb::TABLE, or postgresql://…::TABLE.")
    ],
    config: Annotated[Path, typer.Option(help="Which columns, hierarchies, privacy models and metric, as TOML.")],
    out: Annotated[str, typer.Option(help="Where the anonymised table goes: .csv, .parquet, a folder, or a database as for IN.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was found here, as JSON.")] = None,
) -> None:
    """Find the generalisation that holds the privacy models and loses least, and write the table so."""
    from pumasi.deid.anonymize import command
    from pumasi.deid.progress import progress

    with progress() as tell:
        done = command.run(source, config, out, json_file=json_file, tell=tell)
    typer.echo(done.text())
