"""What each quasi column costs and buys: the risk if it were left out or made coarser, and the information that would go with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pumasi.deid.risk.classes import Classes, Column, Floats, Ints
from pumasi.deid.risk.measures import above

BANDS = 10
RARE = 0.05
EFFORT = 100_000_000
"""Classes x columns squared up to which effects are worked out; about ten seconds."""


@dataclass(frozen=True)
class Step:
    """The table after one change to one column: rows whose 1/f is above the threshold, rows alone in their class, the smallest class,
    classes / rows, levels left, and the share of the column's entropy that the change gives up."""

    above: int
    uniques: int
    k: int
    average_risk: float
    levels: int
    information_lost: float


@dataclass(frozen=True)
class Effect:
    column: str
    kind: str
    levels: int
    removed: Step
    coarser: Step


def effects(found: Classes, threshold: float) -> tuple[Effect, ...] | None:
    """The effect of each quasi column, in their order; None where there are too many classes to work it out in reasonable time."""
    if len(found.sizes) * len(found.codes) ** 2 > EFFORT:
        return None
    return tuple(_effect(found, place, threshold) for place in range(len(found.codes)))


def _effect(found: Classes, place: int, threshold: float) -> Effect:
    column = found.columns[place]
    others = [code for other, code in enumerate(found.codes) if other != place]
    fewer = coarser(column)
    merged = fewer[found.codes[place]]
    gone = _step(found.merged(others), threshold, levels=1, lost=1.0)
    banded = np.bincount(fewer, weights=column.rows)
    before = entropy(column.share)
    lost = 1 - entropy(banded / banded.sum()) / before if before else 0.0
    less = _step(found.merged([*others, merged]), threshold, levels=len(banded), lost=max(float(lost), 0.0))
    return Effect(column.name, column.kind, column.levels, gone, less)


def _step(sizes: Ints, threshold: float, *, levels: int, lost: float) -> Step:
    return Step(above(sizes, threshold), int(np.count_nonzero(sizes == 1)), int(sizes.min()), len(sizes) / int(sizes.sum()), levels, lost)


def coarser(column: Column, bands: int = BANDS) -> Ints:
    """For each level the number of the coarser one that it goes into: numbers and dates into bands that hold about as many rows each (at
    most `bands`, at most half as many as levels); text levels of fewer than 5 % of the rows, or else the two rarest, into one."""
    if column.levels <= 1:
        return np.zeros(column.levels, dtype=np.int64)
    if column.order is not None:
        at = np.argsort(column.order)
        share = column.share[at]
        band = np.minimum(((np.cumsum(share) - share / 2) * min(bands, (column.levels + 1) // 2)).astype(np.int64), bands - 1)
        into = np.empty(column.levels, dtype=np.int64)
        into[at] = band
    else:
        rare = column.share < RARE
        if rare.sum() < 2:
            rare = np.zeros(column.levels, dtype=bool)
            rare[np.argsort(column.rows, kind="stable")[:2]] = True
        into = np.where(rare, 0, 1 + np.cumsum(~rare))
    found: Ints = np.unique(into, return_inverse=True)[1]
    return found


def entropy(share: Floats) -> float:
    """In nats."""
    there = share[share > 0]
    return float(-(there * np.log(there)).sum())
