"""Leaving out, next to the small counts, as little as makes none of them narrow for an attacker.

What goes together is found by linear programs over two possible worlds that differ enough in the number to protect: whatever published
number differs in either of them has to go, at the least cost (after Kelly, Golden and Assad, Networks 22, 1992; Fischetti and Salazar).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pumasi.analysis.attacker import View, solve, stack, whole
from pumasi.analysis.population import Array, Equation, Model, Sum, Who
from pumasi.analysis.refusal import Refusal, told
from pumasi.analysis.statements import Levels, Moments, Path, Rank, Result, numbers

KEPT = ("name", "kind", "table", "by", "where", "hospitals", "rounds")  # what a refused result still says
SLACK = 1e-5  # of means, which are rounded; scaled so that 1 is about a person
NOTHING = 1e-5  # a number that moves less than this in a solution does not move
GOLDEN = 0.6180339887498949  # multiples of it spread evenly and never repeat, so no two solutions tie
TOGETHER = Refusal(
    "other-results", "together with other results of this project it would show the size of a group that is too small to be published"
)


@dataclass
class Fact:
    """One number about people, wherever it is said."""

    value: Any = None
    places: list[tuple[Result, Rank, tuple[Path, ...]]] = field(default_factory=list)
    before: bool = False  # an earlier release says it, or keeps it back
    known: bool = False  # for good: an earlier release says it, or it is the one zero that is never left out
    hidden: bool = False
    derived: bool = False  # said by nobody, but the difference of two numbers that are
    told: bool = False  # left out, but may be worked out: how many records lack a value says nothing about anybody's value

    @property
    def rank(self) -> Rank:
        return max(rank for _, rank, _ in self.places)

    @property
    def said(self) -> bool:
        return self.value is not None and (self.known or (bool(self.places) and not self.hidden))

    @property
    def guarded(self) -> bool:
        return self.hidden and not self.told and (self.before or self.derived or bool(self.places))


Facts = dict[Who | Moments, Fact]


class Guard:
    """Leaves out more and more of one table's facts until the attacker can work out none of what is left out.

    `low` and `high` hold, for every fact, the least and the most it is in any possible world found so far. Leaving out more only adds
    worlds, so what once was found to be wide enough stays so, and few facts need a linear program of their own.
    """

    def __init__(self, facts: Facts, model: Model, levels: Levels, *, smallest: int) -> None:
        self._facts, self._model = facts, model
        self._equations = {about: self._said_by(about, fact, levels) for about, fact in facts.items()}
        self._groups = [(about, total) for about in facts if isinstance(about, tuple) and (total := model.sum_of(about)) is not None]
        self._totals = stack([total for _, total in self._groups], model.size)
        self._needs = np.full(len(self._groups), float(smallest))
        counts = [fact.value for fact in facts.values() if isinstance(fact.value, int | float)]
        self._ceiling = 2.0 * max(counts, default=0) + 4 * smallest + 100

    def start(self) -> bool:
        """Whether any people at all could give these numbers, and whether the model has them all."""
        every = [about for about, fact in self._facts.items() if fact.value is not None]
        if any(isinstance(about, tuple) and not self._equations[about] for about in every):
            return False
        world = self._view(every).furthest(np.zeros(self._model.size), start=None)
        if world is None:
            return False
        self._world = world
        self._low = self._high = self._totals @ world
        self._grant_the_past()
        return True

    def run(self, results: list[Result]) -> None:
        """Leaves out, refuses, and writes into the results what was decided."""
        left_out = [fact for fact in self._facts.values() if fact.hidden]
        self._give_up([result for fact in left_out for result, rank, _ in fact.places if rank is Rank.MODEL], TOGETHER)
        while (weak := self._weakest()) is not None:
            if not self._strengthen(weak):
                places = self._facts[self._groups[weak][0]].places
                guilty = [result for result, _, _ in places] or [result for result in results if "refused" not in result]
                if not guilty:
                    return  # nothing new is left to publish
                self._give_up(guilty, TOGETHER)
        for fact in self._facts.values():
            if fact.hidden:
                for result, _, paths in fact.places:
                    for path in paths:
                        _leave_out(result, path)

    def _said_by(self, about: Who | Moments, fact: Fact, levels: Levels) -> list[Equation]:
        if fact.value is None:
            return []
        if isinstance(about, tuple):
            return self._model.said(about, fact.value)
        values = numbers(levels.get(about.column, []))
        mean, deviation = fact.value
        if values is None:
            return []
        apart = np.array(values) - mean
        rows = [(apart, 0.0)] if deviation is None else [(apart, 0.0), (apart**2 - deviation**2, -(deviation**2))]
        parts = [self._model.sum_of(about.of(at)) for at in range(len(values))]
        equations = []
        for weights, value in rows:
            scale = float(np.abs(weights).max()) or 1.0
            pairs = [(part.at, np.full(len(part.at), weight / scale)) for part, weight in zip(parts, weights, strict=True) if part]
            at, scaled = (np.concatenate(side) for side in zip(*pairs, strict=True))
            equations.append(Equation(Sum(at, scaled), value / scale - SLACK, value / scale + SLACK))
        return equations

    def _view(self, said: Sequence[Who | Moments], joined: Sequence[Sum] = ()) -> View:
        known = {about: self._facts[about].value for about in said if isinstance(about, tuple)}
        equations = [*self._model.structure(known), *(equation for about in said for equation in self._equations[about])]
        return View(self._model.size, equations, joined=joined, ceiling=self._ceiling)

    def _published(self) -> list[Who | Moments]:
        return [about for about, fact in self._facts.items() if fact.said]

    def _grant_the_past(self) -> None:
        """What earlier releases gave away already cannot be asked back: it must not become narrower, that is all."""
        kept = [number for number, (about, _) in enumerate(self._groups) if self._facts[about].hidden and not self._facts[about].places]
        if not kept:
            return
        view = self._view([about for about, fact in self._facts.items() if fact.before and fact.known])
        for number in kept:
            ends = []
            for sign in (-1.0, 1.0):
                world = view.furthest(self._only(number, sign), start=self._world)
                ends.append(self._low[number] if world is None else (self._totals @ world)[number])
            self._needs[number] = min(self._needs[number], float(whole(*map(np.asarray, ends))))

    def _only(self, number: int, sign: float) -> Array:
        weights = np.zeros(self._model.size)
        total = self._groups[number][1]
        weights[total.at] = sign * total.weights
        return weights

    def _narrow(self) -> list[int]:
        narrow = np.flatnonzero(whole(self._low, self._high) < self._needs)
        return [int(number) for number in narrow if self._facts[self._groups[number][0]].guarded]

    def _is_narrow(self, number: int) -> bool:
        return bool(whole(self._low[number], self._high[number]) < self._needs[number])

    def _record(self, world: Array) -> None:
        values = self._totals @ world
        self._low, self._high = np.minimum(self._low, values), np.maximum(self._high, values)

    def _weakest(self) -> int | None:
        """The first number left out that the attacker bounds too narrowly; None when there is none."""
        narrow = self._narrow()
        if not narrow:
            return None
        view = self._view(self._published(), [self._groups[number][1] for number in narrow])
        turn = 0
        while len(narrow) > 1:  # many at once, weighted differently each time, as long as that finds new worlds
            spread = np.zeros(len(self._groups))
            spread[narrow] = np.modf(GOLDEN * (np.arange(len(narrow)) + 1 + turn))[0] + 0.1
            together = self._totals.T @ spread
            for sign in (1.0, -1.0):
                world = view.furthest(sign * together, start=self._world)
                if world is not None:
                    self._record(world)
            left = self._narrow()
            if len(left) == len(narrow):
                break
            narrow, turn = left, turn + len(narrow)
        for number in narrow:
            for sign in (1.0, -1.0):
                if self._is_narrow(number) and (world := view.furthest(self._only(number, sign), start=self._world)) is not None:
                    self._record(world)
            if self._is_narrow(number):
                return number
        return None

    def _strengthen(self, weak: int) -> bool:
        """Leaves out what makes this number wide enough at the least cost; False when nothing does."""
        tried = -1
        for rank in Rank:
            soft = [
                about
                for about, fact in self._facts.items()
                if fact.said and not fact.known and fact.rank <= rank and self._equations[about]
            ]
            if len(soft) == tried:
                continue
            tried = len(soft)
            for width in (self._needs[weak], self._needs[weak] + 1):  # one more where the bounds are no whole numbers
                moved = self._cheapest(weak, soft, width)
                if moved is None:
                    break
                models = [result for about in moved for result, at, _ in self._facts[about].places if at is Rank.MODEL]
                if models:
                    self._give_up(models, TOGETHER)
                    return True
                for about in moved:
                    self._facts[about].hidden = True
                if moved or not self._is_narrow(weak):
                    return True
        return False

    def _cheapest(self, weak: int, soft: list[Who | Moments], width: float) -> list[Who | Moments] | None:
        """The facts to leave out so that two possible worlds differ by `width` in the weak number; None when no choice does it.

        One linear program over both worlds: every fact that may go can be off its value, at a price for each person that it is off.
        """
        from scipy import sparse

        free = set(soft)
        rows = [(about, equation) for about in soft for equation in self._equations[about]]
        target = self._groups[weak][1]
        view = self._view([about for about in self._published() if about not in free], [target, *(equation.sum for _, equation in rows)])
        touched = view.touched(target)
        if not touched:
            return None
        matrix, low, high, unknowns = view.rows_of(touched[0])
        everything = stack([equation.sum for _, equation in rows], self._model.size)
        moving = everything[:, unknowns]
        inside = np.flatnonzero(np.diff(moving.tocsr().indptr))
        gone = (everything @ np.nan_to_num(view.values))[inside]
        ends = [np.array([getattr(rows[row][1], side) for row in inside], dtype=float) - gone for side in ("low", "high")]
        count = len(inside)
        off = sparse.eye_array(count)
        hard = sparse.hstack([matrix, sparse.csr_array((matrix.shape[0], 2 * count))])
        one = sparse.vstack([hard, sparse.hstack([moving[inside], -off, off])])
        goal = sparse.hstack([stack([target], self._model.size)[:, unknowns], sparse.csr_array((1, 2 * count))])
        both = sparse.vstack([sparse.block_diag([one, one]), sparse.hstack([goal, -goal])]).tocsr()
        prices = np.array([self._price(rows[row][0], int(row)) for row in inside])
        costs = np.tile(np.concatenate((np.zeros(len(unknowns)), prices, prices)), 2)
        lows, highs = (np.concatenate((*2 * (side, end), (edge,))) for side, end, edge in ((low, ends[0], width), (high, ends[1], np.inf)))
        answer = solve(costs, both, lows, highs, ceiling=self._ceiling)
        if answer is None:
            return None
        first, second = np.split(answer, 2)
        size = len(unknowns)
        distance = (first + second)[size:].reshape(2, count).sum(axis=0)
        moved = list(dict.fromkeys(rows[inside[number]][0] for number in np.flatnonzero(distance > NOTHING)))
        if not any(self._facts[about].rank is Rank.MODEL for about in moved):
            for half in (first, second):
                world = self._world.copy()
                world[unknowns] = half[:size]
                self._record(world)
        return moved

    def _price(self, about: Who | Moments, row: int) -> float:
        fact = self._facts[about]
        size = fact.value if isinstance(about, tuple) else 0
        return float(10.0**fact.rank * math.log2(2 + size) * (1 + 1e-3 * math.modf(GOLDEN * row)[0]))

    def _give_up(self, results: list[Result], reason: Refusal) -> None:
        for result in results:
            if "refused" not in result:
                refuse(result, reason)
        for fact in self._facts.values():
            fact.places = [place for place in fact.places if "refused" not in place[0]]


def refuse(result: Result, reason: Refusal) -> None:
    kept = {key: result[key] for key in KEPT if key in result}
    result.clear()
    result.update(kept, **told([reason]))


def _leave_out(result: Result, path: Path) -> None:
    inner: Any = result
    for step in path[:-1]:
        inner = inner[step]
    if path[-1] in inner:
        inner[path[-1]] = None
