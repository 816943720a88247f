"""The three families of generalised linear models with their canonical links (McCullagh and Nelder, Generalized Linear Models, ch. 2).

Everything here is about single rows at one hospital, except `log_likelihood`. Only numpy: it runs inside the sandbox.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Family = Literal["gaussian", "binomial", "poisson"]

OUTCOMES = {
    "gaussian": "numbers",
    "binomial": "zero or one",
    "poisson": "counts: whole numbers from zero upwards",
}


def valid(family: Family, outcome: NDArray[np.float64]) -> bool:
    """Whether every value can be an outcome of this family."""
    if family == "binomial":
        return bool(np.all((outcome == 0) | (outcome == 1)))
    if family == "poisson":
        # the count of a row must also be exact as a float
        return bool(np.all((outcome >= 0) & (outcome == np.floor(outcome)) & (outcome < 2**53)))
    return True


def first(family: Family, outcome: NDArray[np.float64], *, mean: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and working response of the first step: fitted values half-way between each outcome and a middle, as statsmodels starts."""
    if family == "binomial":
        fitted = (outcome + 0.5) / 2
        weight = fitted * (1 - fitted)
        return weight, np.log(fitted / (1 - fitted)) + (outcome - fitted) / weight
    if family == "poisson":
        fitted = (outcome + mean) / 2
        return fitted, np.log(fitted) + (outcome - fitted) / fitted
    return np.ones_like(outcome), outcome


def fitted(family: Family, linear: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and weight at a linear predictor. Poisson may overflow to infinity; the caller looks for it."""
    if family == "binomial":
        small = np.exp(-np.abs(linear))
        mean = np.where(linear >= 0, 1 / (1 + small), small / (1 + small))
        return mean, small / (1 + small) ** 2
    if family == "poisson":
        with np.errstate(over="ignore", under="ignore"):
            mean = np.exp(linear)
        return mean, mean
    return linear, np.ones_like(linear)


def deviance(family: Family, outcome: NDArray[np.float64], *, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit deviances, each computed without cancelling: never negative."""
    if family == "binomial":
        wrong = np.where(outcome > 0.5, -linear, linear)
        return np.asarray(2 * (np.maximum(wrong, 0) + np.log1p(np.exp(-np.abs(linear)))))
    if family == "poisson":
        mean, _ = fitted("poisson", linear)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            log = np.where(outcome > 0, outcome * (np.log(np.maximum(outcome, 1)) - linear), 0.0)
        return np.asarray(2 * (log - (outcome - mean)))
    return np.asarray((outcome - linear) ** 2)


def saturated(family: Family, outcome: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-likelihood of each row if it were fitted exactly: y log y - y - log y! for counts, else 0."""
    if family != "poisson":
        return np.zeros_like(outcome)
    return np.array([_saturated_count(value) for value in outcome.tolist()], dtype=np.float64)


def _saturated_count(count: float) -> float:
    if count == 0:
        return 0.0
    if count < 100:
        return count * math.log(count) - count - math.lgamma(count + 1)
    # Stirling's series: for large counts the three terms above cancel to nothing (DLMF 5.11.1)
    return -0.5 * math.log(2 * math.pi * count) - 1 / (12 * count) + 1 / (360 * count**3)


def log_likelihood(family: Family, *, deviance: float, saturated: float, rows: int) -> float:
    """The maximised log-likelihood; for gaussian that of least squares, as statsmodels and R's `logLik` report it."""
    if family == "gaussian":
        return -rows / 2 * (math.log(2 * math.pi * deviance / rows) + 1)
    return saturated - deviance / 2
