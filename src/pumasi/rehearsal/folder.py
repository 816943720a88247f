"""A folder with a study and its hospitals' files, as `pumasi rehearse` and `pumasi demo --data` read it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pumasi.client.studyfile import StudyFile
from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import MemberId


def is_a_name(name: str) -> bool:
    """Whether a hospital may be called so."""
    try:
        TypeAdapter(MemberId).validate_python(name)
    except ValidationError:
        return False
    return True


def find_hospitals(
    data: Path, study: StudyFile, *, most: int | None = None, instead: str = "", fits: Callable[[str], bool] = is_a_name
) -> dict[str, dict[str, Path]]:
    """Hospital -> table -> file, from DIR/hospitals/<hospital>/<table>.csv or .parquet; `Invalid` names every file that is missing.

    `instead` is said where there are more than `most` hospitals.
    """
    root = data / "hospitals"
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")) if root.is_dir() else []
    if not folders:
        raise Invalid(f"{root} must hold one folder for each hospital; it holds none")
    if most is not None and len(folders) > most:
        raise Invalid(f"{root} must hold 1 to {most} folders, one per hospital; it holds {len(folders)}{instead}")
    found: dict[str, dict[str, Path]] = {}
    reasons = []
    for folder in folders:
        name = unicodedata.normalize("NFC", folder.name)
        if not fits(name):
            reasons.append(
                f"the folder name '{name}' cannot be a hospital's name: up to 64 characters, none of @ | \\, and no name of another member"
            )
        if name in found:
            reasons.append(f"two folders in {root} are called '{name}', written in two ways; rename one")
        found[name] = {}
        for table in study.tables:
            files = [folder / f"{table}{ending}" for ending in (".csv", ".parquet") if (folder / f"{table}{ending}").is_file()]
            if len(files) == 1:
                found[name][table] = files[0].resolve()
            else:
                what = "both a .csv and a .parquet" if files else "no file"
                reasons.append(f"{name} has {what} for the table '{table}': put one {table}.csv or {table}.parquet into {folder}")
    if reasons:
        raise Invalid(*reasons)
    return found
