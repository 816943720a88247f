"""From the configuration to judges and a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pumasi.deid.anonymize import models
from pumasi.deid.anonymize.config import Closeness, Config, Diversity, KMap
from pumasi.deid.anonymize.lattice import Combinations, Sensitive
from pumasi.deid.anonymize.metrics import ClassSize, Discernibility, Entropy, Factors, Height, Loss, Metric
from pumasi.deid.anonymize.models import AtLeast, FewSingles, Judge, Mapped, Model, OnAverage, Present
from pumasi.deid.hierarchy import Floats, Hierarchy


def populations(config: Config) -> tuple[Path, ...]:
    """The population tables that the models ask for, each once."""
    asked = [one.population for one in config.model.presence]
    asked += [one.population for one in config.model.k_map if isinstance(one.population, Path)]
    return tuple(dict.fromkeys(asked))


def model(combinations: Combinations, config: Config, trees: Mapping[str, Hierarchy]) -> Model:
    """All models of the configuration as one. `trees` are the hierarchies of sensitive columns."""
    rules = config.model
    people = dict(zip(populations(config), combinations.populations, strict=True))
    sensitive = {one.column: one for one in combinations.sensitive}
    judges: list[Judge] = [AtLeast(smallest(config))] if smallest(config) else []
    judges += [_k_map(one, people, combinations) for one in rules.k_map]
    judges += [Present(one.least, one.most, people[one.population], judges_absent=smallest(config) == 0) for one in rules.presence]
    judges += [_diversity(one, sensitive[one.column]) for one in rules.diversity]
    judges += [models.alike(sensitive[one.column], one.beta, enhanced=one.kind == "enhanced") for one in rules.likeness]
    judges += [_closeness(one, sensitive[one.column], trees) for one in rules.closeness]
    average = [OnAverage(rules.average_risk)] if rules.average_risk is not None else []
    few = [FewSingles(rules.sample_uniqueness)] if rules.sample_uniqueness is not None else []
    # 0.29 * 100 is 28.999999999999996 in floating point, and 29 records are meant.
    limit = math.floor(config.suppression * combinations.records + 1e-9)
    return Model(tuple(judges), (*average, *few), combinations, limit)


def smallest(config: Config) -> int:
    """The smallest class that the models allow by its size; l different values need l records."""
    return max(config.model.k or 0, *(int(one.l_value) for one in config.model.diversity), 0)


def metric(combinations: Combinations, config: Config) -> Metric:
    """The metric that the configuration asks for."""
    factors, weights = Factors(config.gs_factor), [one.weight for one in config.quasi]
    match config.metric:
        case "loss":
            return Loss(combinations, weights, factors=factors, monotonic=config.monotonic)
        case "entropy":
            return Entropy(combinations, weights, factors=factors, monotonic=config.monotonic)
        case "aecs":
            return ClassSize(combinations.records, factors, config.monotonic)
        case "discernibility":
            return Discernibility(combinations.records, config.monotonic)
        case "height":
            return Height(combinations, weights)


def _k_map(one: KMap, people: Mapping[Path, Floats], combinations: Combinations) -> Judge:
    if isinstance(one.population, Path):
        return Mapped(one.k, people[one.population])
    return AtLeast(
        models.sample_k(
            one.k,
            records=combinations.records,
            population=one.population,
            significance=one.significance,
            truncated=one.estimator == "zero-truncated-poisson",
        )
    )


def _diversity(one: Diversity, sensitive: Sensitive) -> Judge:
    match one.kind:
        case "distinct":
            return models.distinct(sensitive, one.l_value)
        case "entropy":
            return models.entropy(sensitive, one.l_value)
        case "recursive":
            return models.recursive(sensitive, one.l_value, one.c)


def _closeness(one: Closeness, sensitive: Sensitive, trees: Mapping[str, Hierarchy]) -> Judge:
    match one.distance:
        case "equal":
            distance = models.equal_distance(sensitive)
        case "ordered":
            distance = models.ordered_distance(sensitive, np.arange(len(sensitive.values)))
        case "hierarchical":
            distance = models.hierarchical_distance(sensitive, trees[sensitive.column])
    return models.close(sensitive, one.t, distance)
