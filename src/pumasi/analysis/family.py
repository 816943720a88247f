"""The four families of generalised linear models (McCullagh and Nelder, Generalized Linear Models, ch. 2 and 8).

Links: identity for gaussian, logit for binomial, log for poisson and for gamma. Gamma's canonical link, the inverse, allows negative means;
costs and lengths of stay are modelled with the log. Everything here is about single rows at one hospital, except `log_likelihood`.
Only numpy: it runs inside the sandbox.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Family = Literal["gaussian", "binomial", "poisson", "gamma"]

OUTCOMES = {
    "gaussian": "numbers",
    "binomial": "zero or one, or one of its two levels",
    "poisson": "counts: whole numbers from zero upwards",
    "gamma": "numbers above zero",
}
# The families whose dispersion is estimated from the residuals.
DISPERSED = ("gaussian", "gamma")


def valid(family: Family, outcome: NDArray[np.float64]) -> bool:
    """Whether every value can be an outcome of this family."""
    if family == "binomial":
        return bool(np.all((outcome == 0) | (outcome == 1)))
    if family == "poisson":
        # the count of a row must also be exact as a float
        return bool(np.all((outcome >= 0) & (outcome == np.floor(outcome)) & (outcome < 2**53)))
    return family == "gaussian" or bool(np.all(outcome > 0))


def link(family: Family, mean: float) -> float | None:
    """The linear predictor of everybody's mean; None where it is infinite."""
    if family == "gaussian":
        return mean
    if mean <= 0 or (family == "binomial" and mean >= 1):
        return None
    return math.log(mean / (1 - mean)) if family == "binomial" else math.log(mean)


def first(family: Family, outcome: NDArray[np.float64], *, mean: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and working response of the first step: fitted values half-way between each outcome and a middle, as statsmodels starts."""
    if family == "gaussian":
        return np.ones_like(outcome), outcome
    if family == "binomial":
        fitted = (outcome + 0.5) / 2
        weight = fitted * (1 - fitted)
        return weight, np.log(fitted / (1 - fitted)) + (outcome - fitted) / weight
    fitted = (outcome + mean) / 2
    response = np.log(fitted) + (outcome - fitted) / fitted
    return (fitted, response) if family == "poisson" else (np.ones_like(outcome), response)


def slope(family: Family, outcome: NDArray[np.float64], *, linear: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and negative second derivative of each row's log-likelihood by the linear predictor, at dispersion 1.

    The log may overflow to infinity; the caller looks for it.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if family == "binomial":
            small = np.exp(-np.abs(linear))
            mean = np.where(linear >= 0, 1 / (1 + small), small / (1 + small))
            return outcome - mean, small / (1 + small) ** 2
        if family == "poisson":
            mean = np.exp(linear)
            return outcome - mean, mean
        if family == "gamma":
            ratio = outcome * np.exp(-linear)
            return ratio - 1, ratio
    return outcome - linear, np.ones_like(linear)


def deviance(family: Family, outcome: NDArray[np.float64], *, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit deviances, each computed without cancelling: never negative."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if family == "binomial":
            wrong = np.where(outcome > 0.5, -linear, linear)
            return np.asarray(2 * (np.maximum(wrong, 0) + np.log1p(np.exp(-np.abs(linear)))))
        if family == "poisson":
            log = np.where(outcome > 0, outcome * (np.log(np.maximum(outcome, 1)) - linear), 0.0)
            return np.asarray(2 * (log - (outcome - np.exp(linear))))
        if family == "gamma":
            above = np.log(outcome) - linear
            return np.asarray(2 * (np.expm1(above) - above))
    return np.asarray((outcome - linear) ** 2)


def saturated(family: Family, outcome: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a row adds to the log-likelihood besides its deviance: y log y - y - log y! of a count, half the log of a gaussian weight."""
    if family == "gaussian":
        return np.asarray(np.log(weight) / 2)
    if family != "poisson":
        return np.zeros_like(outcome)
    return weight * np.array([_saturated_count(value) for value in outcome.tolist()], dtype=np.float64)


def _saturated_count(count: float) -> float:
    if count == 0:
        return 0.0
    if count < 100:
        return count * math.log(count) - count - math.lgamma(count + 1)
    # Stirling's series: for large counts the three terms above cancel to nothing (DLMF 5.11.1)
    return -0.5 * math.log(2 * math.pi * count) - 1 / (12 * count) + 1 / (360 * count**3)


def log_likelihood(family: Family, *, deviance: float, saturated: float, rows: int) -> float:
    """The maximised log-likelihood; for gaussian that of least squares, as statsmodels and R's `logLik` report it. Not for gamma."""
    if family == "gaussian":
        return saturated - rows / 2 * (math.log(2 * math.pi * deviance / rows) + 1)
    return saturated - deviance / 2


def gamma_likelihood(
    outcome: NDArray[np.float64], weight: NDArray[np.float64], *, linear: NDArray[np.float64], dispersion: float
) -> NDArray[np.float64]:
    """The log-likelihood of each row of a gamma model, once its dispersion is known (McCullagh and Nelder, 8.3)."""
    shape = weight / dispersion
    above = np.log(outcome) - linear
    normal = np.array([math.lgamma(one) for one in shape.tolist()], dtype=np.float64)
    with np.errstate(over="ignore"):  # of a fit that ran away
        return np.asarray(shape * (np.log(shape) + above - np.exp(above)) - normal - np.log(outcome))
