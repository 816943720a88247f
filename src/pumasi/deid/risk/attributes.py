"""What is learnt of a person whose class is known: l-diversity, t-closeness, beta-likeness, delta-disclosure, alpha.

Each measure comes from the one contingency of classes and values: q is a value's share of a class, p its share of the table. A missing
value counts as a value. Of several sensitive columns the worst one counts: the smallest l, the largest t, beta, delta and alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pumasi.deid.risk.classes import Contingency, Floats, Ints


@dataclass(frozen=True)
class Disclosure:
    """The worst class for each measure of one sensitive column. `distance` names the one that `t` was measured by."""

    column: str
    values: int
    distinct_l: int
    entropy_l: float
    recursive_c: float
    distance: str
    t: float
    t_equal: float
    beta: float
    beta_enhanced: float
    enhanced_holds: bool
    delta: float
    delta_strict: bool
    alpha: float


def disclosure(found: Contingency, *, distance: str | None = None, hierarchy: tuple[Ints, ...] | None = None) -> Disclosure:
    """All measures of a column. Without `distance`, numbers and dates are `ordered`, text is `equal`; `hierarchical` needs `hierarchy`."""
    chosen = distance or ("hierarchical" if hierarchy is not None else "equal" if found.column.order is None else "ordered")
    l = distinct_l(found)  # noqa: E741 - the name that the literature has
    equal = float(t_equal(found).max())
    if chosen == "hierarchical" and hierarchy is not None:
        t = float(t_hierarchical(found, hierarchy).max())
    else:
        t = float(t_ordered(found).max()) if chosen == "ordered" else equal
    basic = beta(found)
    return Disclosure(
        column=found.column.name,
        values=found.column.levels,
        distinct_l=l,
        entropy_l=entropy_l(found),
        recursive_c=recursive_c(found, l),
        distance=chosen,
        t=t,
        t_equal=equal,
        beta=basic,
        beta_enhanced=min(basic, float(-np.log(found.column.share.min()))),
        enhanced_holds=enhanced_holds(found),
        delta=delta(found),
        delta_strict=bool(np.diff(np.r_[found.starts, len(found.cls)]).min() == found.column.levels),
        alpha=float(_shares(found).max()),
    )


def _totals(found: Contingency) -> Ints:
    """The rows of the class of each cell."""
    sums = found.by_class(found.count)
    totals: Ints = np.repeat(sums, np.diff(np.r_[found.starts, len(found.cls)]))
    return totals


def _shares(found: Contingency) -> Floats:
    shares: Floats = found.count / _totals(found)
    return shares


def _known(found: Contingency) -> Floats:
    """The share of each cell's value in the whole table."""
    known: Floats = found.column.share[found.value]
    return known


# --- l-diversity (A. Machanavajjhala et al. 2007, L-diversity: privacy beyond k-anonymity, ACM TKDD 1) ---


def distinct_l(found: Contingency) -> int:
    """The fewest different values that a class has (definition 4.1's simplest instance)."""
    return int(np.diff(np.r_[found.starts, len(found.cls)]).min())


def entropy_l(found: Contingency) -> float:
    """exp of the smallest entropy of a class; the table is entropy l-diverse for every l up to it (definition 4.1)."""
    q = _shares(found)
    return float(np.exp(found.by_class(-q * np.log(q)).min()))


def recursive_c(found: Contingency, l: int) -> float:  # noqa: E741
    """The limit for recursive (c, l)-diversity (definition 4.2): it holds for every c above this number, with r1 < c (r_l + ... + r_m).

    r1 is the count of a class's commonest value. (pycanon 1.3 sorts upwards and puts the rarest there, so that its c is another one.)
    """
    order = np.lexsort((-found.count, found.cls))
    count = found.count[order]
    starts = found.starts
    rank = np.arange(len(count)) - np.repeat(starts, np.diff(np.r_[starts, len(count)]))
    tail = np.add.reduceat(np.where(rank >= l - 1, count, 0), starts)
    with np.errstate(divide="ignore"):
        return float((count[starts] / tail).max())


# --- t-closeness (N. Li, T. Li, S. Venkatasubramanian 2007, t-closeness: privacy beyond k-anonymity and l-diversity, ICDE) ---


def t_equal(found: Contingency) -> Floats:
    """Of each class, the earth mover's distance to the table when any two values are 1 apart: half the sum of |q - p|."""
    q, p = _shares(found), _known(found)
    t: Floats = 0.5 * (found.by_class(np.abs(q - p)) + 1 - found.by_class(p))
    return t


def t_ordered(found: Contingency) -> Floats:
    """Of each class, the distance when values are ranked and 1/(m-1) of the way apart: the sum of |Q - P| over cumulated shares / (m-1).

    The ranks are those of the values that occur, so the gap between two numbers does not count. A column of one value is at distance 0.
    """
    levels = found.column.levels
    if levels == 1:
        return np.zeros(len(found.starts))
    rank = found.column.order if found.column.order is not None else np.arange(levels)
    share = np.empty(levels)
    share[rank] = found.column.share
    below = np.cumsum(share)  # P at each rank
    sums = np.r_[0.0, np.cumsum(below)]
    by_rank = np.lexsort((rank[found.value], found.cls))
    at = rank[found.value][by_rank]
    starts = found.starts
    last = np.r_[starts[1:], len(at)] - 1
    reached = np.cumsum(_shares(found)[by_rank])
    reached -= np.repeat(np.r_[0.0, reached[last[:-1]]], np.diff(np.r_[starts, len(at)]))
    until = np.r_[at[1:], levels]  # Q stays the same from this value's rank to the next one of its class
    until[last] = levels
    cross = np.clip(np.searchsorted(below, reached, side="right"), at, until)
    over = reached * (cross - at) - (sums[cross] - sums[at])
    under = (sums[until] - sums[cross]) - reached * (until - cross)
    per_class = np.add.reduceat(over + under, starts) + sums[at[starts]]  # before the first value Q is 0
    t: Floats = per_class / (levels - 1)
    return t


def t_hierarchical(found: Contingency, hierarchy: tuple[Ints, ...]) -> Floats:
    """Of each class, the distance when two values are as far apart as their lowest common ancestor is high (section 4.3).

    `hierarchy[h][code]` numbers the ancestor of a value at height h; height 0 are the values, the last height one root. Mass that a
    node's children cannot settle among themselves moves up; what they can costs height / H.
    """
    height = len(hierarchy) - 1
    cls = np.repeat(np.arange(len(found.starts)), np.diff(np.r_[found.starts, len(found.cls)]))
    node = hierarchy[0][found.value]
    mass = _shares(found)
    cost = np.zeros(len(found.starts))
    for level in range(1, height + 1):
        child_share = np.bincount(hierarchy[level - 1], weights=found.column.share)
        share = np.bincount(hierarchy[level], weights=found.column.share)
        parent_of = np.zeros(len(child_share), dtype=np.int64)
        parent_of[hierarchy[level - 1]] = hierarchy[level]
        extra = mass - child_share[node]
        keys, place = np.unique(cls * len(share) + parent_of[node], return_inverse=True)
        surplus = np.bincount(place, weights=np.maximum(extra, 0))
        deficit = np.bincount(place, weights=np.maximum(-extra, 0)) + share[keys % len(share)]
        deficit -= np.bincount(place, weights=child_share[node])  # children without a row of the class lack all of their share
        mass = np.bincount(place, weights=mass).astype(np.float64)
        cls, node = keys // len(share), keys % len(share)
        cost += np.bincount(cls, weights=np.minimum(surplus, np.maximum(deficit, 0)) * level / height, minlength=len(cost))
    return cost


# --- beta-likeness (J. Cao, P. Karras 2012, Publishing microdata with a robust privacy guarantee, PVLDB 5) ---


def beta(found: Contingency) -> float:
    """Basic: the largest relative gain (q - p) / p of a value in a class (definition 2)."""
    p = _known(found)
    return float(((_shares(found) - p) / p).max())


def enhanced_holds(found: Contingency) -> bool:
    """Enhanced (definition 3): whether some beta suffices at all, that is (q - p) / p <= -ln p everywhere; then it is the basic one.

    pycanon reports min(basic beta, -ln of the smallest p) as the enhanced beta; `Disclosure.beta_enhanced` is that number.
    """
    p = _known(found)
    return bool(((_shares(found) - p) / p <= -np.log(p)).all())


# --- delta-disclosure (J. Brickell, V. Shmatikov 2008, The cost of privacy, KDD) and (alpha, k) (R. Wong et al. 2006, KDD) ---


def delta(found: Contingency) -> float:
    """The largest |ln(q / p)| over values that occur in a class; the privacy model wants it below delta (definition 2).

    Taken to the letter, a class that lacks a value has no finite delta; `Disclosure.delta_strict` says whether every class has every value.
    """
    return float(np.abs(np.log(_shares(found) / _known(found))).max())
