"""`pumasi rehearse`: a study tried out before anybody is asked for a permit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@commands.command()
def rehearse(
    data: Annotated[Path, typer.Argument(help="A folder with study.toml and hospitals/<hospital>/<table>.csv or .parquet")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the outcome here.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write each result as CSV and as a figure into this folder.")] = None,
) -> None:
    """Try a study over any number of hospitals in one process: the nodes' own code, without boards, log, sandbox or review."""
    for library in _THREADS:  # as in a node's sandbox: over many small matrices, threads that wait for one another take thrice the time
        os.environ.setdefault(library, "1")
    from pumasi.client import outcome, studyfile
    from pumasi.kernel.errors import Invalid
    from pumasi.rehearsal import story
    from pumasi.rehearsal.folder import find_hospitals

    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise Invalid(f"there is no folder {json_file.parent} to write the outcome to; make it, or choose another --json")
    if export is not None and export.exists() and not export.is_dir():
        raise Invalid(f"{export} is no folder to write the results into; choose another --export")
    study = studyfile.read_to_run(data / "study.toml")
    files = find_hospitals(data, study)
    typer.echo(story.REHEARSAL)
    result = story.rehearse(study, files, say=lambda line: typer.echo(line))
    if json_file is not None:
        outcome.write(result, json_file)
    typer.echo("\n" + outcome.text(result))
    for path in outcome.export(result, export) if export is not None else ():
        typer.echo(f"  wrote {path}")
    typer.echo(f"\nThe rehearsal took {result['seconds']['total']:.1f} s. {story.NOT_RELEASED}")
    raise typer.Exit(outcome.exit_code(result))
