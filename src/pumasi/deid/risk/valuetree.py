"""A value hierarchy as t-closeness needs it: for each height, the node that a value is below."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from pumasi.deid.hierarchy import read_cells
from pumasi.deid.risk.classes import Ints
from pumasi.kernel.errors import Invalid


def read_rows(path: Path) -> tuple[tuple[str, ...], ...]:
    """The rows of a hierarchy file: value;parent;...;root, one row for each value."""
    rows = tuple(tuple(cell.strip() for cell in row) for row in read_cells(path))
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        raise Invalid(f"{path}: every row has the same number of columns, two or more, parted by semicolons: the value, then its parents")
    return rows


def heights(rows: Sequence[Sequence[str]], *, labels: Sequence[str | None], column: str) -> tuple[Ints, ...]:
    """Node numbers of each label at each height; the last height is one root, added when the rows do not end in one.

    A missing value hangs below the root alone. `Invalid` for a label without a row, or a node with two parents.
    """
    at: dict[str, Sequence[str]] = {}
    faults = []
    for row in rows:
        if at.setdefault(row[0], row) != row:
            faults.append(f"the hierarchy of '{column}' has two different rows for one value")
    missing = sum(label is not None and label not in at for label in labels)
    if missing:
        faults.append(f"the hierarchy of '{column}' has no row for some values that occur in the table; add them")
    parents: dict[tuple[int, str], str] = {}
    for row in at.values():
        for height, (node, parent) in enumerate(pairwise(row)):
            if parents.setdefault((height, node), parent) != parent:
                faults.append(f"the hierarchy of '{column}' gives a node of level {height} two different parents")
    if faults:
        raise Invalid(*dict.fromkeys(faults))
    roots = {row[-1] for row in at.values()}
    columns = [[(label is None, label if label is None else at[label][height]) for label in labels] for height in range(len(rows[0]))]
    if len(roots) > 1:
        columns.append([(False, None)] * len(labels))
    else:
        columns[-1] = [(False, None)] * len(labels)
    return tuple(_numbered(one) for one in columns)


def _numbered(nodes: Sequence[tuple[bool, str | None]]) -> Ints:
    number: dict[tuple[bool, str | None], int] = {}
    return np.array([number.setdefault(node, len(number)) for node in nodes], dtype=np.int64)
