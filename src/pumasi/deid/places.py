"""Where a command reads and where it writes: nothing that is read is written over, and no two results go to one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pumasi.deid.reading import POSTGRES

_TABLES = ("", ".csv", ".parquet")  # what a folder of originals would be read with the next time


def overlaps(read: Sequence[str | Path | None], written: Sequence[str | Path | None]) -> list[str]:
    """Everything that a run would write over or into: files, folders of files, links to them. A folder that is written is
    replaced as a whole, so nothing that is read or written otherwise may lie in it."""
    sources, results = _paths(read), _paths(written)
    faults = [fault for result in results for source in sources if (fault := _over(result, source))]
    for place, result in enumerate(results):
        for other in results[place + 1 :]:
            if _same(result, other):
                faults.append(f"{other}: two results would go there; name another place for one of them")
            elif result.resolve() in other.resolve().parents:
                faults.append(f"{other}: this lies in the folder of the treated tables, which is replaced as a whole; name a place outside")
    return list(dict.fromkeys(faults))


def _paths(named: Sequence[str | Path | None]) -> list[Path]:
    """The files and folders among what was named; a table of a database lies in the file of the database."""
    return [Path(str(one).rpartition("::")[0] or one) for one in named if one is not None and not str(one).startswith(POSTGRES)]


def _over(result: Path, source: Path) -> str | None:
    if _same(result, source):
        return f"{result}: the original would be overwritten; name another place"
    if result.resolve() in source.resolve().parents and result.is_dir():
        return f"{result}: the original {source} lies in this folder, which would be replaced as a whole; name another place"
    if source.is_dir() and source.resolve() in result.resolve().parents and result.suffix.lower() in _TABLES:
        return f"{result}: this lies in the folder of the originals; name a place outside"
    return None


def _same(one: Path, other: Path) -> bool:
    """Also where a link, hard or symbolic, gives a file a second name."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
