"""Estimators of population uniqueness on populations whose truth is known, and drawn by the very models that they assume."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pumasi.deid.risk.population import pitman, snb, uniqueness, zayatz

Sizes = NDArray[np.int64]
SEED = 1912


def drawn(population: Sizes, rows: int, seed: int = SEED) -> Sizes:
    """The class sizes of a random sample without replacement."""
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(len(population)), population)
    found = np.bincount(generator.choice(people, rows, replace=False))
    return found[found > 0].astype(np.int64)


def ewens_pitman(people: int, theta: float, alpha: float, seed: int = SEED) -> Sizes:
    """One population of the Chinese restaurant process with these parameters."""
    generator = np.random.default_rng(seed)
    table_of: list[int] = []
    classes = 0
    chances, picks = generator.random(people), generator.random(people)
    for n in range(people):
        if chances[n] < (theta + classes * alpha) / (theta + n):
            table_of.append(classes)
            classes += 1
            continue
        # an old class with weight size - alpha: pick a person, and refuse its class's founder with probability alpha
        place = table_of[int(picks[n] * n)]
        while generator.random() < alpha and table_of.index(place) == int(picks[n] * n):
            picks[n] = generator.random()
            place = table_of[int(picks[n] * n)]
        table_of.append(place)
    return np.bincount(table_of).astype(np.int64)


POPULATIONS: dict[str, Sizes] = {
    "zipf": np.random.default_rng(1).zipf(1.7, 40_000).clip(max=5000).astype(np.int64),
    "lognormal": np.maximum(np.round(np.random.default_rng(2).lognormal(0.5, 1.5, 60_000)), 1).astype(np.int64),
    "negative binomial": 1 + np.random.default_rng(3).negative_binomial(0.6, 0.15, 50_000).astype(np.int64),
}


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize("fraction", [0.4, 0.7])
def test_large_samples_tell_the_number_of_uniques(name: str, fraction: float) -> None:
    population = POPULATIONS[name]
    found = uniqueness(drawn(population, int(fraction * population.sum())), int(population.sum()))
    assert found.rule in ("snb", "zayatz")
    assert found.uniques == pytest.approx((population == 1).sum(), rel=0.15)


@pytest.mark.parametrize("fraction", [0.02, 0.05, 0.1])
def test_small_samples_of_heavy_tails_are_pitmans(fraction: float) -> None:
    population = POPULATIONS["zipf"]
    found = uniqueness(drawn(population, int(fraction * population.sum())), int(population.sum()))
    assert found.rule == "pitman"
    assert (population == 1).sum() < found.uniques < 2 * (population == 1).sum()


def test_pitman_is_right_about_its_own_process() -> None:
    """The mean over three populations of 20,000 people, theta 50, alpha 0.5, each seen by one in ten."""
    truth, estimate = [], []
    for seed in (1, 2, 3):
        population = ewens_pitman(20_000, theta=50, alpha=0.5, seed=seed)
        size, often = np.unique(drawn(population, 2_000, seed), return_counts=True)
        truth.append(int((population == 1).sum()))
        estimate.append(pitman(size, often, 20_000) or 0.0)
    assert np.mean(estimate) == pytest.approx(np.mean(truth), rel=0.1)


def test_snb_is_right_about_its_own_model() -> None:
    population = POPULATIONS["negative binomial"]
    size, often = np.unique(drawn(population, int(0.5 * population.sum())), return_counts=True)
    assert snb(size, often, int(population.sum())) == pytest.approx((population == 1).sum(), rel=0.05)


def test_zayatz_by_hand() -> None:
    """Two classes of one, one of two; four of eight people sampled. P(1 of size-1 class drawn) = 1/2, of size 2: 2*4*4/(8*7) = 4/7.

    The share of sample uniques alone in the population: (2/3 * 1/2) / (2/3 * 1/2 + 1/3 * 4/7) = 7/11, of 2 uniques at a fraction of 1/2.
    """
    assert zayatz(np.array([1, 2]), np.array([2, 1]), 8) == pytest.approx(2 * 7 / 11 * 2)


def test_the_rule_of_dankar() -> None:
    sizes = drawn(POPULATIONS["zipf"], 50_000)
    at_a_tenth, above = uniqueness(sizes, 500_000), uniqueness(sizes, 499_999)
    assert at_a_tenth.rule == "pitman" and at_a_tenth.uniques == at_a_tenth.pitman
    assert above.uniques == min(one for one in (above.zayatz, above.snb) if one is not None)


def test_certain_cases_are_not_estimated() -> None:
    assert uniqueness(np.array([2, 3]), 500).uniques == 0
    assert uniqueness(np.array([1, 1, 3]), 5).uniques == 2  # the whole population is at hand


@pytest.mark.parametrize("sizes", [[1], [1] * 40, [1, 100_000], [1, 2], [2] * 500 + [1]])
@pytest.mark.parametrize("population", [200_000, 3_000_000_000])
def test_odd_tables_get_an_answer_between_nobody_and_everybody(sizes: list[int], population: int) -> None:
    assert 0 <= uniqueness(np.array(sizes), population).uniques <= population
