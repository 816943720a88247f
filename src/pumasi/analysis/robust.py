"""What a hospital judges about its own rows against sums over all: no hospital's number leaves it, only a yes or no that is added up.

Dominance: a sum in which one person has a large part tells that person's value (p % rule with p = 10 and n-k rule with n = 2, k = 90 %;
Hundepool and others, Statistical Disclosure Control, 2012, 5.2.3). Nobody knows the second largest contribution, so the first alone is
judged as if another as large stood beside it: stricter than either rule. Units: another unit multiplies every value of a hospital.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Above this part of a sum: twice as much is 90 % (n-k), and 2.1 times as much, 95 % and more, is within 10 % of the whole (p %).
LARGEST_PART = 0.45
# Of a predictor: above it the standard deviation of what the model leaves unknown of the person's outcome is less than half of what it was.
LEADING_PART = 0.75
# A unit is judged on at least so many rows on either side, as a ratio that hardly any mix of patients explains: 1 kg is 2.2 lb.
# Of hundreds of hospitals whose medians differ by 30 % as a rule, one in a hundred or fewer are called wrongly, and of those with
# pounds four in five are found.
ENOUGH_ROWS = 20
LEAST_RATIO = 1.8
FAR = 3.5
FARTHER = 5.0  # where a ratio has no meaning, because values lie on both sides of zero

OTHER_UNIT = Refusal(
    "other-unit",
    "the values of '{}' at one or more hospitals lie so far from those of all others that they may be in another unit; "
    "ask the hospitals, and leave those rows out with `where` or have the file corrected",
)
ONE_PERSON = Refusal(
    "dominance", "one person has so large a part in the sum of '{}' that its mean would tell that person's value; it is left out"
)
ONE_OUTLIER = Refusal(
    "dominance", "one person lies so far from the mean of '{}' that its standard deviation would tell that person's value; it is left out"
)
TWO_VALUES = Refusal(
    "count-in-disguise",
    "'{}' takes at most two values here, so that a mean would be a count; give it levels in study.toml and count it with a table",
)


def dominates(contributions: NDArray[np.float64], persons: NDArray[np.int64], *, whole: float, part: float = LARGEST_PART) -> bool:
    """Whether somebody here contributes so much to a `whole` of non-negative contributions that it gives the contribution away."""
    if not len(contributions) or whole <= 0:
        return False
    of_each = np.bincount(np.unique(persons, return_inverse=True)[1].reshape(-1), weights=contributions)
    return bool(of_each.max() > part * whole)


def has_third_value(values: NDArray[np.float64], *, rows: int, above: int, mean: float, squares: float) -> bool:
    """Whether a value here shows that the column has more than two values over all hospitals.

    If it had two, number of rows, rows above the mean, mean and squares about it would tell which two.
    """
    if not len(values) or not 0 < above < rows or squares <= 0:
        return False
    spread = math.sqrt(squares / rows)
    high, low = mean + spread * math.sqrt((rows - above) / above), mean - spread * math.sqrt(above / (rows - above))
    near = 1e-6 * spread + 1e-11 * abs(mean)
    return bool(np.any(np.minimum(np.abs(values - high), np.abs(values - low)) > near))


def is_in_another_unit(values: NDArray[np.float64], *, rows: int, mean: float) -> bool:
    """Whether this hospital's values lie away from those of all others by a factor that their own spread does not explain.

    `rows` and `mean` are those over all hospitals. Median and quartiles of one's own values, so that outliers do not hide or feign it.
    """
    others = rows - len(values)
    if len(values) < ENOUGH_ROWS or others < ENOUGH_ROWS:
        return False
    low, middle, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    elsewhere = (mean * rows - float(values.sum())) / others
    spread = (high - low) / 1.349  # of a normal distribution, its sd
    if spread <= 0:
        spread = float(values.std())
    if spread <= 0 or middle == 0:
        return False
    if elsewhere / middle > 0:
        apart = abs(math.log(elsewhere / middle))
        return apart > math.log(LEAST_RATIO) and apart > FAR * spread / abs(middle)
    return bool(np.all(np.sign(values) == np.sign(middle))) and abs(elsewhere - middle) > FARTHER * spread
