"""Where the SDK begins: a researcher at a hub.

with connect("https://hub.example:8443") as me:
    study = me.apply("study.toml")
    study.wait_for_permits()
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # the command line is up in half the time without them
    from pumasi.client.study import Progress, Study
    from pumasi.kernel.study import Dataset


def connect(hub: str | None = None, *, home: Path | str | None = None) -> Researcher:
    """Act from your own folder: `home`, else PUMASI_HOME, else the folder you use with this hub. `Invalid` when there is none."""
    from pumasi.client.cli import folder_for
    from pumasi.kernel.errors import Invalid

    folder = home or os.environ.get("PUMASI_HOME") or (folder_for(hub) if hub else None)
    if folder is None:
        raise Invalid("say which hub, connect('https://...'), or which folder is yours, connect(home=...) or PUMASI_HOME")
    return Researcher(Path(folder))


class Researcher:
    """One researcher, speaking to the hub that their folder pins."""

    def __init__(self, folder: Path) -> None:
        from pumasi.client.home import Home

        self.home = Home(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.home.close()

    def catalogue(self) -> dict[str, Dataset]:
        """What each hospital describes: tables, columns, kinds and common levels; no counts."""
        from pumasi.client import study

        return {hospital: dataset for hospital, (_, dataset) in study.described(self.home).items()}

    def apply(self, study: Path | str, *, hospitals: list[str] | None = None, progress: Progress = lambda _: None) -> Study:
        """Send the application in a study.toml to every hospital that describes its tables, or to those named."""
        from pumasi.client import study as studies
        from pumasi.client import studyfile

        return studies.apply(self.home, studyfile.read(Path(study)), hospitals=hospitals, progress=progress)
