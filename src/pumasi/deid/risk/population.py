"""How many people are alone in their population, when only a sample of it is at hand: Pitman, Zayatz, SNB, and which to believe.

The sample is taken as random; f classes of size i are counted in it, and nothing else is needed. Rule and comparison: F. K. Dankar,
K. El Emam, A. Neisa, T. Roffey (2012), Estimating the re-identification risk of clinical data sets, BMC Med Inform Decis Mak 12:66.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln, digamma, gammaln

from pumasi.deid.risk.classes import Floats, Ints
from pumasi.kernel.errors import Invalid

MOST = 100_000_000_000  # about as many people as ever lived


@dataclass(frozen=True)
class Uniqueness:
    """Expected numbers of people alone in the population. None: the model does not fit these classes. `rule` is the model chosen."""

    population: int
    fraction: float
    uniques: float
    rule: str
    pitman: float | None
    zayatz: float
    snb: float | None


def uniqueness(sizes: Ints, population: int) -> Uniqueness:
    """Estimate with every model and decide as Dankar et al. (2012): Pitman up to a sampling fraction of 0.1; above, the smaller of Zayatz
    and SNB. Where the chosen model does not fit, Zayatz stands in. Without sample uniques the answer is 0; with the whole population at
    hand it is their number. `Invalid` when the population is smaller than the table.
    """
    rows = int(sizes.sum())
    check_population(rows, population)
    fraction = rows / population
    if population == rows or not (sizes == 1).any():
        known = float(np.count_nonzero(sizes == 1))
        return Uniqueness(population, fraction, known, "census" if population == rows else "no sample uniques", known, known, known)
    size, often = np.unique(sizes, return_counts=True)
    first, second, third = pitman(size, often, population), zayatz(size, often, population), snb(size, often, population)
    if fraction <= 0.1:
        rule, uniques = ("pitman", first) if first is not None else ("zayatz", second)
    else:
        rule, uniques = ("snb", third) if third is not None and third <= second else ("zayatz", second)
    return Uniqueness(population, fraction, float(uniques), rule, first, second, third)


def check_population(rows: int, population: int) -> None:
    if not 1 <= population <= MOST:
        raise Invalid(f"--population {population}: a population is a number of people, from 1 to {MOST:,}")
    if population < rows:
        raise Invalid(f"--population {population}: the table has more rows than that; give the number of people it was drawn from")


def pitman(size: Ints, often: Ints, population: int) -> float | None:
    """The Ewens-Pitman sampling formula with theta and alpha by maximum likelihood (N. Hoshino 2001, Applying Pitman's sampling formula to
    microdata disclosure risk assessment, J. Official Statistics 17, 499-520).

    Returns the expected number of classes of one, N Gamma(theta+1) Gamma(N+theta+alpha-1) / (Gamma(theta+alpha) Gamma(N+theta)), of which
    Hoshino's Gamma(theta+1) / Gamma(theta+alpha) N^alpha is the limit for N much larger than theta. None when all rows are unique (every
    alpha below 1 is beaten by a larger one).
    """
    rows, classes = float((size * often).sum()), float(often.sum())
    if classes == rows or classes == 1:
        return None
    theta, alpha = _pitman_fit(size.astype(np.float64), often.astype(np.float64), rows, classes)
    log = gammaln(theta + 1) - gammaln(theta + alpha) + gammaln(population + theta + alpha - 1) - gammaln(population + theta)
    found = population * float(np.exp(log))
    return found if np.isfinite(found) and 0 <= found <= population else None


def _pitman_fit(size: Floats, often: Floats, rows: float, classes: float) -> tuple[float, float]:
    """The maximum over theta > 0, 0 < alpha < 1 of the log likelihood; theta is the one root of its score for each alpha."""

    def score(theta: float, alpha: float) -> float:
        gain = (digamma(theta / alpha + classes) - digamma(theta / alpha + 1)) / alpha
        return float(gain - (digamma(theta + rows) - digamma(theta + 1)))

    def best_theta(alpha: float) -> float:
        low, high = -20.0, float(np.log(rows) * 2 + 7)  # of ln theta; the score is above 0, then below, and ends below as classes < rows
        for _ in range(64):
            middle = (low + high) / 2
            low, high = (middle, high) if score(float(np.exp(middle)), alpha) > 0 else (low, middle)
        return float(np.exp(low))

    def loss(alpha: float) -> float:
        theta = best_theta(alpha)
        new = (classes - 1) * np.log(alpha) + gammaln(theta / alpha + classes) - gammaln(theta / alpha + 1)
        old = gammaln(theta + rows) - gammaln(theta + 1)
        return float(old - new - (often * (gammaln(size - alpha) - gammaln(1 - alpha))).sum())

    grid = np.linspace(1e-4, 1 - 1e-6, 60)
    best = int(np.argmin([loss(float(one)) for one in grid]))
    around = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    alpha = float(minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-10}).x)
    return best_theta(alpha), alpha


def zayatz(size: Ints, often: Ints, population: int) -> float:
    """The probability that a sample unique is alone in the population, if the population's classes had the sizes of the sample's, times the
    sample uniques / sampling fraction (L. Zayatz 1991, Estimation of the percent of unique population elements on a microdata file using
    the sample, US Census Bureau SRD 91/08)."""
    rows = int((size * often).sum())
    drawn_once = often / often.sum() * _once(size, rows, population)
    uniques = float(often[size == 1].sum())
    return float(uniques * drawn_once[size == 1].sum() / drawn_once.sum() * population / rows)


def _once(size: Ints, rows: int, population: int) -> Floats:
    """The hypergeometric probability that a class of each size is in the sample once (scipy's takes time in the size of the population)."""
    others = population - size
    chance = np.zeros(len(size))
    can = others >= rows - 1
    chance[can] = size[can] * rows / population * np.exp(_log_choose(others[can], rows - 1) - _log_choose(population - 1, rows - 1))
    return chance


def _log_choose(of: Ints | int, some: int) -> Floats:
    chosen: Floats = -np.log1p(of) - betaln(np.subtract(of, some) + 1.0, some + 1.0)
    return chosen


def snb(size: Ints, often: Ints, population: int) -> float | None:
    """Classes in the population as shifted negative binomials, F - 1 ~ NB(alpha, beta) (G. Chen, S. Keller-McNulty 1998, Estimation of
    identification disclosure risk in microdata, J. Official Statistics 14, 79-95).

    K, the number of classes in the population, by the modified Shlosser estimator (P. Haas, L. Stokes 1998, JASA 93, 1475-1487); alpha and
    beta from the expected classes of one and of two. Returns K beta^alpha. None when no alpha, beta fits.
    """
    rows = float((size * often).sum())
    p = rows / population
    ones, twos = float(often[size == 1].sum()), float(often[size == 2].sum())
    classes = _shlosser(size.astype(np.float64), often.astype(np.float64), p, ones)
    if not np.isfinite(classes) or twos == 0:
        return None
    fits = [found for beta in _BETAS if (found := _snb_fit(beta, classes, p, ones, twos))]
    around = next((pair for pair in pairwise(fits) if pair[0].missed * pair[1].missed <= 0), None)
    if around is None:
        return None
    fit = _between(*around, classes=classes, p=p, ones=ones, twos=twos)
    uniques = float(classes * fit.beta**fit.alpha)
    return uniques if uniques <= population else None


@dataclass(frozen=True)
class _Fit:
    """For a beta, the alpha that gives the classes of one, and how many classes of two it gives too many."""

    beta: float
    alpha: float
    missed: float


_BETAS = tuple(float(one) for one in 1 / (1 + np.exp(-np.linspace(-14, 14, 200))))
_ALPHAS = np.exp(np.linspace(-12, 12, 97))


def _snb_fit(beta: float, classes: float, p: float, ones: float, twos: float) -> _Fit | None:
    """With r = (1 - p)(1 - beta): E(ones) = K p (beta / (1 - r))^alpha (1 + alpha r / (1 - r)) and
    E(twos) = K p^2 / 2 alpha (1 - beta) beta^alpha (2 - (1 - alpha) r) / (1 - r)^(alpha + 2).

    The first may rise before it falls with alpha, and then has two solutions. The smaller one makes nearly every class large and the
    uniques few whatever the sample says, so only the larger is taken.
    """
    r = (1 - p) * (1 - beta)

    def many(alpha: Floats) -> NDArray[np.bool_]:
        expected = classes * p * np.exp(alpha * np.log(beta / (1 - r))) * (1 + alpha * r / (1 - r))
        more: NDArray[np.bool_] = expected > ones
        return more

    alphas = _ALPHAS
    for _ in range(8):  # each time the step in which the classes of one become too few is cut into finer ones
        over = many(alphas)
        falls = np.flatnonzero(over[:-1] & ~over[1:])
        if len(falls) == 0:
            return None
        alphas = np.geomspace(alphas[falls[-1]], alphas[falls[-1] + 1], 97)
    alpha = float(alphas[0])
    expected = classes * p**2 / 2 * alpha * (1 - beta) * (2 - (1 - alpha) * r)
    expected *= np.exp(alpha * np.log(beta) - (alpha + 2) * np.log(1 - r))
    return _Fit(beta, alpha, float(expected - twos))


def _between(low: _Fit, high: _Fit, *, classes: float, p: float, ones: float, twos: float) -> _Fit:
    """Halve until the classes of two are met as well."""
    for _ in range(60):
        middle = _snb_fit((low.beta + high.beta) / 2, classes, p, ones, twos)
        if middle is None:
            return low
        low, high = (low, middle) if low.missed * middle.missed <= 0 else (middle, high)
    return low


def _shlosser(size: Floats, often: Floats, p: float, ones: float) -> float:
    """Haas and Stokes' D_Sh3: how many classes the population has."""
    q = 1 - p
    first = (size * p**2 * (1 - p**2) ** (size - 1) * often).sum() / (((1 - p**2) ** size - q**size) * often).sum()
    second = (q**size * often).sum() / (size * p * q ** (size - 1) * often).sum()
    return float(often.sum() + ones * first * second**2)
