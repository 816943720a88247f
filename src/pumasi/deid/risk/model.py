"""Can a sensitive column still be predicted from the quasi columns? The score of one plain model, fitted before and after treatment.

Multinomial logistic regression with a small ridge on the levels of the quasi columns (numbers and dates in ten bands), fitted on
70 % of the rows and scored on the others. It is a yardstick: a better model scores higher in both tables. The split is seeded, so
that figures repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array, hstack
from scipy.special import logsumexp

from pumasi.deid.risk.classes import Classes, Column, Floats, Ints, Joint
from pumasi.deid.risk.effects import coarser

ROWS = 30_000
"""Rows drawn to fit and score the model on, when there are more."""
TARGETS = 10
"""The most values of a column that is predicted: a number is put into five bands, of text the commonest are kept and the rest is one."""
SEED = 20120712
RIDGE = 1.0


@dataclass(frozen=True)
class Score:
    """On rows that the model has not seen: `accuracy` is the share predicted rightly, `baseline` that of always saying the commonest value,
    `gained` the share of the target's entropy that the model takes away (0 nothing, 1 all; McFadden's R2)."""

    column: str
    rows: int
    accuracy: float
    baseline: float
    gained: float


def scores(found: Classes) -> tuple[Score, ...]:
    """The score for each sensitive column that has at least two values."""
    width = len(found.codes)
    given = [_score(found.joint, width, place) for place in range(width, len(found.joint.columns))]
    return tuple(one for one in given if one is not None)


def _score(found: Joint, width: int, place: int) -> Score | None:
    """The first `width` columns predict the one at `place`."""
    generator = np.random.default_rng(SEED)
    drawn = found.rows
    if drawn.sum() > ROWS:
        drawn = generator.multinomial(ROWS, drawn / drawn.sum())
    used = np.flatnonzero(drawn)
    drawn = drawn[used]
    fit = generator.binomial(drawn, 0.7)
    goal = _targets(found.columns[place])[found.codes[place][used]]
    bands = [_banded(column)[code[used]] for column, code in zip(found.columns[:width], found.codes[:width], strict=True)]
    inputs = _one_hot(bands)
    if goal.max() == 0 or fit.sum() == 0 or (drawn - fit).sum() == 0:
        return None
    weights = _fitted(inputs, goal, fit.astype(np.float64))
    return _scored(found.columns[place].name, inputs, goal, weights, fit, drawn - fit)


def _banded(column: Column) -> Ints:
    return coarser(column) if column.order is not None else np.arange(column.levels)


def _targets(column: Column) -> Ints:
    if column.order is not None and column.levels > 5:
        return coarser(column, bands=5)
    rank = np.empty(column.levels, dtype=np.int64)
    rank[np.argsort(-column.rows, kind="stable")] = np.arange(column.levels)
    return np.minimum(rank, TARGETS - 1)


def _one_hot(bands: Sequence[NDArray[Any]]) -> csr_array:
    count = len(bands[0])
    ones = np.ones(count)
    parts = [csr_array((ones, (np.arange(count), band)), shape=(count, int(band.max()) + 1)) for band in bands]
    return csr_array(hstack([csr_array(np.ones((count, 1))), *parts]))


def _fitted(inputs: csr_array, goal: Ints, rows: Floats) -> Floats:
    """The weights (inputs x values) of the largest penalised likelihood."""
    used = rows > 0
    x, y, n = inputs[used], goal[used], rows[used]
    values, width = int(goal.max()) + 1, inputs.shape[1]
    total = n.sum()
    right = np.zeros((len(y), values))
    right[np.arange(len(y)), y] = 1

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(width, values)
        score = x @ weights
        log = score - logsumexp(score, axis=1, keepdims=True)
        slope = x.T @ ((np.exp(log) - right) * n[:, None]) + RIDGE * weights
        value = -(log[np.arange(len(y)), y] * n).sum() + RIDGE / 2 * (weights**2).sum()
        return float(value / total), (slope / total).ravel()

    found = minimize(loss, np.zeros(width * values), jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 1e-7})
    best: Floats = found.x.reshape(width, values)
    return best


def _scored(column: str, inputs: csr_array, goal: Ints, weights: Floats, fit: Ints, test: Ints) -> Score:
    score = inputs @ weights
    log = score - logsumexp(score, axis=1, keepdims=True)
    values = weights.shape[1]
    total = test.sum()
    known = np.bincount(goal, weights=fit, minlength=values) + 1
    seen = np.bincount(goal, weights=test, minlength=values)
    blank = -(seen * np.log(known / known.sum())).sum()
    lost = -(log[np.arange(len(goal)), goal] * test).sum()
    return Score(
        column,
        int(fit.sum() + total),
        float(test[np.argmax(score, axis=1) == goal].sum() / total),
        float(seen[int(np.argmax(known))] / total),
        float(max(0.0, 1 - lost / blank)),
    )
