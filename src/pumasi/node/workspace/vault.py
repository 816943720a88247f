"""Workspaces after they were written: read into frames for a job, and destroyed so that nobody can read them again.

Destroying begins with the key, so that all copies are useless at once; files come after. It can be called again at any time.
"""

from __future__ import annotations

import json
import os
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from pumasi.analysis.frame import MISSING, OUTSIDE, Column, Frame
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.kernel.study import Agreed
from pumasi.node.workspace import cipher
from pumasi.store.custody import Custodian, sync_folder, workspace_key

ATTEMPTS = 8


def frame_parts(folder: Path, key: bytes, *, table: str, columns: Mapping[str, Agreed]) -> Frame:
    """These columns of a table. `Invalid` for a column the workspace does not hold, `Tampered` for a wrong key or changed bytes."""
    with cipher.reading(folder / cipher.FILE, key) as connection:
        place, held = _contents(connection, table)
        strange = [name for name in columns if name not in held]
        if strange:
            raise Invalid(
                *(f"the workspace holds no column '{name}' of '{table}'; the permit names the columns that it does" for name in strange)
            )
        picked = ["dense_rank() OVER (ORDER BY person) - 1 AS person"]
        picked += [f"{_read(agreed, f'c{held.index(name)}')} AS v{number}" for number, (name, agreed) in enumerate(columns.items())]
        found = connection.execute(f"SELECT {', '.join(picked)} FROM w.t{place}").fetchnumpy()
    frame = {name: _column(name, agreed, found[f"v{number}"]) for number, (name, agreed) in enumerate(columns.items())}
    return Frame(persons=np.asarray(found["person"], dtype=np.int64), columns=frame)


def _contents(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, list[str]]:
    for place, name, columns in connection.execute("SELECT place, name, columns FROM w.contents").fetchall():
        if name == table:
            return int(place), list(columns)
    raise Invalid(f"the workspace holds no table '{table}'; the permit names the tables that it does")


def _is_number(agreed: Agreed) -> bool:
    return agreed.kind == "number"


def _read(agreed: Agreed, cell: str) -> str:
    """Numbers with NaN for missing; levels as their index; a column without levels tells only whether there is a value."""
    if _is_number(agreed):
        return f"coalesce({cell}, 'nan'::DOUBLE)"
    levels = ", ".join("'" + unicodedata.normalize("NFC", level).replace("'", "''") + "'" for level in agreed.levels)
    index = f"coalesce(list_position([{levels}]::VARCHAR[], {cell}) - 1, {OUTSIDE})"
    return f"CAST(CASE WHEN {cell} IS NULL THEN {MISSING} ELSE {index} END AS INTEGER)"


def _column(name: str, agreed: Agreed, found: Any) -> Column:
    if not _is_number(agreed):
        return Column(name=name, numbers=None, codes=np.asarray(found, dtype=np.int32), levels=tuple(agreed.levels))
    numbers = np.asarray(found, dtype=np.float64)
    return Column(name=name, numbers=numbers, codes=_number_codes(numbers, agreed.levels), levels=tuple(agreed.levels))


def _number_codes(numbers: NDArray[np.float64], levels: list[str]) -> NDArray[np.int32] | None:
    if not levels:
        return None
    codes = np.where(np.isnan(numbers), MISSING, OUTSIDE).astype(np.int32)
    for index, level in enumerate(levels):
        codes[numbers == float(level)] = index
    return codes


@dataclass(frozen=True)
class Destruction:
    """The facts for a deletion certificate. `failures` of `attempts` tries to open the ciphertext failed; `residual` files are left."""

    objects: int
    bytes: int
    algorithm: str
    method: str
    attempts: int
    failures: int
    residual: int
    scratch: int  # files of an interrupted extract and of its spilling
    held: int  # outputs that the node held


def destroy(folder: Path, custodian: Custodian, *, held: int = 0) -> Destruction:
    """Make a workspace unreadable for good and remove it; the facts, also when called again after a crash or after the end.

    1. note beside the folder what there was   2. destroy the key   3. try to open the ciphertext   4. overwrite and remove every file
    The overwriting reaches neither snapshots nor what a flash disk remaps: that these are useless rests on step 2.
    """
    there = _noted(folder, held)
    custodian.destroy()
    failures = sum(_refuses(folder, custodian) for _ in range(ATTEMPTS))
    purge(folder)
    return Destruction(
        objects=there["objects"],
        bytes=there["bytes"],
        algorithm=cipher.ALGORITHM,
        method=f"{custodian.method}; then the files were overwritten with zeros and removed",
        attempts=ATTEMPTS,
        failures=failures,
        residual=len(_files(folder)),
        scratch=there.get("scratch", 0),
        held=there.get("held", 0),
    )


def is_destroyed(folder: Path) -> bool:
    """Whether the destruction of this workspace has begun: from then on it can only be finished."""
    return _note_of(folder).exists()


def _note_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.destroyed")


def _noted(folder: Path, held: int) -> dict[str, int]:
    """How many objects and bytes the workspace had when its destruction began: written down first, so that a crash cannot lose it."""
    note = _note_of(folder)
    if not note.exists():
        files = _files(folder)
        found = [path for path in files if path.name == cipher.FILE]
        new = note.with_name(f"{note.name}.new")
        note.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as file:
            size = sum(path.stat().st_size for path in found)
            json.dump({"objects": len(found), "bytes": size, "scratch": len(files) - len(found), "held": held}, file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(note)
        sync_folder(note.parent)
    counts: dict[str, int] = json.loads(note.read_text(encoding="utf-8"))
    return counts


def _refuses(folder: Path, custodian: Custodian) -> bool:
    """Whether one attempt to open the workspace fails: the custodian gives no share, and a made-up share opens nothing."""
    try:
        custodian.evaluate(secrets.token_bytes(32))
    except NotFound:
        made_up = workspace_key(secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_hex(32))
        try:
            with cipher.reading(folder / cipher.FILE, made_up):
                return False
        except (Tampered, NotFound):  # NotFound: an earlier call had come as far as the files
            return True
    return False


def purge(folder: Path) -> None:
    """Overwrite and remove every file of a folder, and the folder."""
    for path in _files(folder):
        if not path.is_symlink():
            _overwrite(path)
        path.unlink()
    if folder.is_dir():
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        sync_folder(folder)
        folder.rmdir()
        sync_folder(folder.parent)


def _overwrite(path: Path) -> None:
    left, zeros = path.stat().st_size, bytes(1 << 20)
    with path.open("r+b") as file:
        while left > 0:
            left -= file.write(zeros[: min(left, len(zeros))])
        file.flush()
        os.fsync(file.fileno())


def _files(folder: Path) -> list[Path]:
    """Everything below a folder that is not a folder itself; links are not followed."""
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
