"""How far a long piece of work is, on the terminal; silent where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A function that is told a piece of work and how much of it is done, in per cent; it draws on standard error."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        pieces: dict[str, TaskID] = {}

        def tell(name: str, share: float) -> None:
            if name not in pieces:
                pieces[name] = bar.add_task(name, total=100)
            bar.update(pieces[name], completed=share)

        yield tell
