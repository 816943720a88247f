"""Generalisation hierarchies: for every value of a column what it becomes at each level, read from a CSV file.

One row per value, one column per level: `1234;123*;12**;*`. Level 0 is the value itself. Every label has one parent. Cells are parted by
`;`; where a file holds none, by the separator that the reader asks for, a comma, a tab or `|`, whichever its first line has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pumasi.kernel.errors import Invalid, NotFound

SUPPRESSED = "*"
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hierarchy:
    """What each of `labels[0]`, the values, becomes: at level l it is `labels[l][codes[l][value]]`."""

    column: str
    labels: tuple[tuple[str, ...], ...]
    codes: tuple[Ints, ...]

    @property
    def values(self) -> tuple[str, ...]:
        return self.labels[0]

    @property
    def levels(self) -> int:
        return len(self.labels)

    def shares(self, level: int) -> Floats:
        """For each value the fraction of all values of the hierarchy that its label at `level` stands for (Iyengar 2002)."""
        found = np.bincount(self.codes[level], minlength=len(self.labels[level]))
        return np.asarray(found[self.codes[level]] / len(self.values), dtype=np.float64)


def of_rows(column: str, rows: Sequence[Sequence[str]]) -> Hierarchy:
    """A hierarchy from rows of equal length without faults (see `faults`)."""
    labels, codes = [], []
    for level in zip(*rows, strict=True):
        places: dict[str, int] = {}
        codes.append(np.array([places.setdefault(label, len(places)) for label in level], dtype=np.int64))
        labels.append(tuple(places))
    return Hierarchy(column, tuple(labels), tuple(codes))


def flat(column: str, values: Sequence[str]) -> Hierarchy:
    """The hierarchy of a column that has none: the value, or nothing."""
    return of_rows(column, [(value, SUPPRESSED) for value in values])


def read(path: Path, column: str, *, separator: str = ";") -> Hierarchy:
    """The hierarchy of `column` in a CSV file. `Invalid` names every fault with its line."""
    rows = read_cells(path, separator=separator)
    found = faults(rows)
    if found:
        raise Invalid(*(f"the hierarchy of '{column}', {path}: {fault}" for fault in found))
    return of_rows(column, rows)


def faults(rows: Sequence[Sequence[str]]) -> list[str]:
    """What makes rows no hierarchy: a sentence each, at most ten, with line numbers and never a value."""
    if not rows:
        return ["the file is empty; write one line for each value, with its label at every level"]
    wide = len(rows[0])
    found = [
        f"line {line} has {len(row)} columns and line 1 has {wide}; give every value a label at every level"
        for line, row in enumerate(rows, 1)
        if len(row) != wide
    ]
    if found:
        return found[:10]
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, 1):
        if row[0] in seen:
            found.append(f"lines {seen[row[0]]} and {line} are for the same value; keep one of them")
        seen.setdefault(row[0], line)
    for level in range(1, wide - 1):
        parents: dict[str, tuple[str, int]] = {}
        for line, row in enumerate(rows, 1):
            parent, first = parents.setdefault(row[level], (row[level + 1], line))
            if parent != row[level + 1]:
                found.append(
                    f"a label at level {level} has two parents at level {level + 1} (lines {first} and {line}); "
                    "give it the same parent everywhere, or two labels"
                )
                parents[row[level]] = (row[level + 1], line)
    return found[:10]


def read_cells(path: Path, *, separator: str = ";") -> list[list[str]]:
    """The rows of a hierarchy file, in UTF-8 or CP949, as they are."""
    if not path.is_file():
        raise NotFound(f"{path}: there is no such hierarchy file")
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise Invalid(f"{path}: the hierarchy is text neither in UTF-8 nor in CP949; save it as UTF-8")
    first = text if ";" in text else text.partition("\n")[0]
    used = next((one for one in (";", separator, ",", "\t", "|") if one in first), separator)
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=used, strict=True) if row]
    except csv.Error:
        raise Invalid(f"{path}: the hierarchy is no readable CSV; see that every quotation mark is closed") from None
