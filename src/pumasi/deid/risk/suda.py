"""Special uniques: the smallest sets of columns that single a row out, all of them, and the scores made of them.

A minimal sample unique (MSU) is a set of columns in which a row is alone, while it is not in any part of the set: M. Elliot, A. Manning,
R. Ford 2002, A computational algorithm for handling the special uniques problem; SUDA2: A. Manning, D. Haglin, J. Keane 2008, A recursive
search algorithm for statistical disclosure assessment, Data Min Knowl Disc 16, 165-196. Exact: every MSU up to the size asked for is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumasi.deid.risk.classes import Classes, Floats, Ints, grouped

Rows = NDArray[np.int64]

EFFORT = 60_000_000
"""Rows times column sets that a search within bounds looks at; about five seconds."""


@dataclass(frozen=True)
class Uniques:
    """What the search found. `score` and `dis` are of the rows alone in their class, in the order of those classes; all other rows have 0.

    patterns: for each set of column numbers the rows it singles out minimally, most first. sizes: MSUs by number of columns, from 1.
    contribution: the share of each column in the sum of all scores (shares overlap, so they add up to more than 1).
    """

    largest: int
    complete: bool
    patterns: tuple[tuple[tuple[int, ...], int], ...]
    sizes: tuple[int, ...]
    score: Floats
    dis: Floats
    contribution: Floats


def special_uniques(found: Classes, *, largest: int | None = None, fraction: float = 0.01, effort: int | None = None) -> Uniques:
    """Find every MSU of up to `largest` columns (all, if None) and score the rows; `fraction` is the sampling fraction for `dis`.

    With `effort`, sizes are searched from 1 up to the largest at which rows x column sets stays below it; `complete` says whether
    that is every size asked for.
    """
    width = len(found.codes)
    wanted = min(largest or width, width)
    reach = wanted if effort is None else _within(len(found.sizes), width, wanted, effort)
    unique = np.flatnonzero(found.sizes == 1)
    place = np.full(len(found.sizes), -1, dtype=np.int64)
    place[unique] = np.arange(len(unique))
    score, contribution = np.zeros(len(unique)), np.zeros(width)
    patterns, sizes = [], [0] * reach
    for columns, rows in _search(found, reach):
        patterns.append((columns, len(rows)))
        sizes[len(columns) - 1] += len(rows)
        weight = _weight(len(columns), width, reach)
        score[place[rows]] += weight
        contribution[list(columns)] += weight * len(rows)
    total = score.sum()
    patterns.sort(key=lambda one: (-one[1], len(one[0]), one[0]))
    share = contribution / total if total else contribution
    return Uniques(reach, reach == wanted, tuple(patterns), tuple(sizes), score, _dis(score, found.sizes, width, fraction), share)


def _within(classes: int, width: int, wanted: int, effort: int) -> int:
    steps = 0
    for size in range(1, wanted + 1):
        steps += classes * comb(width, size)
        if steps > effort and size > 1:
            return size - 1
    return wanted


def _weight(size: int, width: int, largest: int) -> int:
    """What an MSU of this size adds to a score: the product of (columns - i) for i from its size up to the largest one searched."""
    return prod(width - i for i in range(size, min(largest, width - 1) + 1))


def _dis(score: Floats, sizes: Ints, width: int, fraction: float) -> Floats:
    """The DIS-SUDA score: the probability that a match with this row alone is right, spread over the rows by their scores.

    DIS = u p / (u p + 2 d (1 - p)) with u classes of one, d of two, p the sampling fraction: C. Skinner, M. Elliot 2002, A measure of
    disclosure risk for microdata, JRSS B 64, 855-867. The spread, with the exponent 1 + (8 - columns) / 20, is that of the SUDA software
    (M. Elliot et al. 2005, SUDA: a program for detecting special uniques), as in sdcMicro.
    """
    alone, pairs = float(np.count_nonzero(sizes == 1)), float(np.count_nonzero(sizes == 2))
    dis = np.zeros_like(score)
    there = score > 0
    if not there.any():
        return dis
    overall = alone * fraction / (alone * fraction + 2 * pairs * (1 - fraction))
    power = score[there] ** (1 + (8 - width) / 20)
    dis[there] = 1 / (1 + (alone / overall - alone) / (power * (1 / power).sum()))
    return dis


def _search(found: Classes, largest: int) -> Iterator[tuple[tuple[int, ...], Rows]]:
    """Every set of columns with the classes that it singles out minimally.

    Sets are taken by size. A class that a part of the set singles out shares that part with nobody, so it can neither be an MSU of
    the set nor stand in the way of one: it is left out of it. What is left shrinks quickly, which makes the search fast.
    """
    width = len(found.codes)
    alone = found.sizes == 1
    gone: dict[tuple[int, ...], NDArray[np.uint8]] = {(): np.packbits(np.zeros(len(alone), dtype=bool))}
    for size in range(1, largest + 1):
        known: dict[tuple[int, ...], NDArray[np.uint8]] = {}
        for columns in combinations(range(width), size):
            out = gone[columns[1:]].copy()
            for part in combinations(columns, size - 1):
                out |= gone[part]
            left = np.flatnonzero(np.unpackbits(out, count=len(alone)) == 0)
            rows = _alone([found.codes[column] for column in columns], left, alone)
            if size < largest:
                hit = np.zeros(len(alone), dtype=bool)
                hit[rows] = True
                known[columns] = out | np.packbits(hit)
            if len(rows):
                yield columns, rows
        gone = known


def _alone(codes: list[NDArray[Any]], left: Rows, alone: NDArray[np.bool_]) -> Rows:
    """Which of the classes `left`, each of one row, have a combination of codes that no other has."""
    if len(left) == 0:
        return left
    group, groups = grouped([code[left] for code in codes])
    only = np.bincount(group, minlength=groups)[group] == 1
    hit: Rows = left[only & alone[left]]
    return hit
