"""`pumasi deid`: pseudonymise and anonymise tables, and know the risk before and after. Works alone, without hub or node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Pseudonymise and anonymise tables; measure the risk.")


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
            quasi=command.listed(quasi),
            sensitive=command.listed(sensitive),
            population=population,
            population_table=population_table,
            after=after,
            distances=tuple(distance or ()),
            largest=largest,
            person=person,
            events=command.listed(events),
            links=command.listed(links),
            threshold=threshold,
        ),
        json_file=json_file,
        report=report,
    )
