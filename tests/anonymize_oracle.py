"""Anonymisation by trying every node of the lattice on plain rows, by the definitions and nothing else. For small tables."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

Row = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A table, the hierarchies of its columns (rows of labels), and what is asked."""

    rows: tuple[Row, ...]
    trees: tuple[tuple[Row, ...], ...]
    secret: tuple[str, ...]
    secret_tree: tuple[Row, ...]
    people: tuple[Row, ...]
    models: dict[str, Any]
    suppression: float
    metric: str
    gs: float = 0.5
    monotonic: bool = False
    weights: tuple[float, ...] = ()

    @property
    def limit(self) -> int:
        return math.floor(self.suppression * len(self.rows) + 1e-9)


def optimum(case: Case) -> float | None:
    """The least loss over all nodes that hold the models; None when there is none."""
    found = [loss for _, loss in feasible(case)]
    return min(found) if found else None


def feasible(case: Case) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every node that holds the models, with its loss."""
    for node in product(*(range(len(tree[0])) for tree in case.trees)):
        gone = suppressed(case, node)
        if gone is not None and len(gone) <= case.limit and len(gone) < len(case.rows):
            yield node, loss(case, node, gone)


def lifted(case: Case, rows: Sequence[Row], node: Sequence[int]) -> list[Row]:
    maps = [{line[0]: line[level] for line in tree} for tree, level in zip(case.trees, node, strict=True)]
    return [tuple(known[cell] for known, cell in zip(maps, row, strict=True)) for row in rows]


def suppressed(case: Case, node: Sequence[int]) -> set[int] | None:
    """The rows that go at this node; None when no suppression helps."""
    classes: dict[Row, list[int]] = defaultdict(list)
    for place, label in enumerate(lifted(case, case.rows, node)):
        classes[label].append(place)
    people = Counter(lifted(case, case.people, node))
    sized = "k" in case.models or "l" in case.models
    presence = case.models.get("delta_presence")
    if presence and not sized and presence[0] > 0 and any(label not in classes for label in people):
        return None
    gone = {place for label, places in classes.items() if not good(case, places, people[label]) for place in places}
    kept = [places for places in classes.values() if places[0] not in gone]
    kept.sort(key=lambda places: (len(places), _tie(case, node, places), places[0]))
    for rule in ("average_risk", "sample_uniqueness"):
        while rule in case.models and not _sample_holds(rule, case.models[rule], [len(places) for places in kept]):
            if not kept:
                return set(range(len(case.rows)))
            gone.update(kept.pop(0))
    return gone


def _sample_holds(rule: str, most: float, sizes: list[int]) -> bool:
    if not sizes:
        return False
    share = len(sizes) / sum(sizes) if rule == "average_risk" else sizes.count(1) / sum(sizes)
    return share <= most + (1e-12 if rule == "average_risk" else 0.0)


def _tie(case: Case, node: Sequence[int], places: list[int]) -> float:
    if case.metric != "loss":
        return 0.0
    shares = [_share(tree, level, case.rows[places[0]][column]) for column, (tree, level) in enumerate(zip(case.trees, node, strict=True))]
    return math.prod((len(places) * share + 1) ** (1 / len(shares)) for share in shares)


def _share(tree: tuple[Row, ...], level: int, value: str) -> float:
    label = next(line[level] for line in tree if line[0] == value)
    return sum(line[level] == label for line in tree) / len(tree)


def good(case: Case, places: list[int], people: int) -> bool:
    """Whether one class holds the models that look at one class."""
    models, size = case.models, len(places)
    if size < models.get("k", 1) or people < models.get("k_map", 0):
        return False
    if "delta_presence" in models:
        least, most = models["delta_presence"]
        if not least <= size / people <= most:
            return False
    here, everywhere = Counter(case.secret[place] for place in places), Counter(case.secret)
    if "l" in models and not _diverse(here, **models["l"]):
        return False
    if "t" in models:
        distance, most = models["t"]
        if _distance(case, distance, here, everywhere) > most + 1e-9:
            return False
    if "beta" in models:
        kind, beta = models["beta"]
        for value, count in here.items():
            share = everywhere[value] / len(case.secret)
            if (count / size - share) / share > (min(beta, -math.log(share)) if kind == "enhanced" else beta) + 1e-12:
                return False
    return True


def _diverse(here: Counter[str], *, kind: str, l: float, c: float = 1.0) -> bool:  # noqa: E741
    size = sum(here.values())
    if kind == "distinct":
        return len(here) >= l
    if len(here) < int(l):
        return False
    if kind == "entropy":
        return -sum(count / size * math.log(count / size) for count in here.values()) >= math.log(l) - 1e-9
    counts = sorted(here.values(), reverse=True)
    return counts[0] < c * sum(counts[int(l) - 1 :])


def _distance(case: Case, distance: str, here: Counter[str], everywhere: Counter[str]) -> float:
    size, whole = sum(here.values()), sum(everywhere.values())
    values = sorted(everywhere)
    gap = {value: here[value] / size - everywhere[value] / whole for value in values}
    if distance == "equal":
        return sum(abs(one) for one in gap.values()) / 2
    if distance == "ordered":
        return sum(abs(sum(gap[value] for value in values[: place + 1])) for place in range(len(values))) / max(len(values) - 1, 1)
    height, cost = len(case.secret_tree[0]) - 1, 0.0
    for level in range(1, height + 1):
        children: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for line in case.secret_tree:
            children[line[level]][line[level - 1]] += gap.get(line[0], 0.0)
        for below in children.values():
            more = sum(one for one in below.values() if one > 0)
            less = -sum(one for one in below.values() if one < 0)
            cost += level / height * min(more, less)
    return cost


def loss(case: Case, node: Sequence[int], gone: set[int]) -> float:
    """The metric of one node by its definition."""
    rows = len(case.rows)
    labels = lifted(case, case.rows, node)
    if case.metric == "aecs":
        return _aecs(case, labels, gone)
    if case.metric == "discernibility":
        sizes = Counter(labels)
        return float(sum(rows if place in gone and not case.monotonic else sizes[label] for place, label in enumerate(labels)))
    weights = [weight / max(case.weights) for weight in case.weights]
    if case.metric == "height":
        return sum(weight * level for weight, level in zip(weights, node, strict=True))
    if case.metric == "entropy":
        return sum(weight * _entropy(case, labels, gone, column) for column, weight in enumerate(weights))
    result = 1.0
    for column, weight in enumerate(weights):
        result *= (1.0 + _loss(case, node, gone, column)) ** (weight / sum(weights))
    return result - 1.0


def _factors(gs: float) -> tuple[float, float]:
    return min(1.0, 2.0 - 2.0 * gs), min(1.0, 2.0 * gs)


def _aecs(case: Case, labels: list[Row], gone: set[int]) -> float:
    generalised, by_suppression = _factors(case.gs)
    classes = len(set(labels))
    kept = len({label for place, label in enumerate(labels) if place not in gone})
    if case.monotonic:
        gone, kept = set(), classes
    weight = kept * by_suppression + bool(gone) * generalised
    return len(labels) / weight if weight else math.inf


def _entropy(case: Case, labels: list[Row], gone: set[int], column: int) -> float:
    generalised, by_suppression = _factors(case.gs)
    values = Counter(row[column] for row in case.rows)
    wholes = Counter(label[column] for label in labels)
    of = {row[column]: label[column] for row, label in zip(case.rows, labels, strict=True)}
    bits = -generalised * sum(count * math.log2(count / wholes[of[value]]) for value, count in values.items())
    lost = Counter(labels[place][column] for place in gone)
    if not case.monotonic:
        bits -= by_suppression * sum(count * math.log2(count / len(gone)) for count in lost.values())
    return bits


def _loss(case: Case, node: Sequence[int], gone: set[int], column: int) -> float:
    generalised, by_suppression = _factors(case.gs)
    tree, rows, total = case.trees[column], len(case.rows), 0.0
    for place, row in enumerate(case.rows):
        share = _share(tree, node[column], row[column])
        here = place in gone and not case.monotonic
        total += share + by_suppression * (1 - share) if here else generalised * share
    least = generalised * rows / len(tree)
    return max(0.0, (total - least) / (rows - least)) if rows > least else 0.0
