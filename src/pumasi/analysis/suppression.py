"""Small counts are left out of every table, description and model, with enough around them that nobody can work them out.

Everything a project publishes about one table is judged together: counts, margins, totals, means of columns with agreed levels,
counts that follow from a model's coefficients, counts under a condition, and what was released before.
Promise: a number that is left out could lie, as far as
the attacker of `attacker` can tell, anywhere in a range at least `smallest_cell` wide. Limits: a group that only the difference of two
published numbers describes (people with one column filled in and another not) is no cell and is not protected as one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pumasi.analysis import refusal
from pumasi.analysis.forms import FORMS
from pumasi.analysis.guard import Fact, Facts, Guard, refuse
from pumasi.analysis.population import LARGEST, MISSING, PRESENT, Joint, Overlaps, Who
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.statements import WHERE, Levels, Moments, Path, Rank, Result, Statement, fill_in, note_levels, paths_of, read

CLEAR = "clear"

TOO_SMALL = Refusal("smallest-cell", "it concerns a group that is too small to be published")
MODEL_TELLS = Refusal("count-in-disguise", "its coefficients would show the size of a group that is too small to be published")
TOO_LARGE = Refusal("too-many-cells", "it has too many cells to be checked for small groups; group its levels first")
UNKNOWN = Refusal("cannot-be-checked", "results of the kind {} cannot be checked for small groups")
DISAGREES = Refusal(
    "cannot-be-checked",
    "its counts and other results about the same people do not add up or are too many, so they cannot be checked together",
)


def protect(
    results: Sequence[Result],
    *,
    earlier: Sequence[Result],
    levels: Mapping[tuple[str, str], Sequence[str]],
    smallest_cell: int,
    repeated_people: bool,
) -> list[Result]:
    """Copies of the results that are safe to publish together, next to what was published `earlier`.

    Counts under `smallest_cell`, zero included, become None, and others around them until none can be worked out; only "missing": 0
    stays. A small "missing" is left out too, but not guarded: totals may give it away, and it says nothing about anybody's value.
    A result that cannot be made safe keeps its name and gets `refused`. `levels` are the agreed ones of (table, column). With
    `repeated_people` a person may be in several cells; where the counts add up all the same, the attacker is granted that they do.
    A model is judged by its `implied_counts` and, where it names its `columns`, by how many people have all of them. The same input
    gives the same answer at every node: choices depend on counts and their order, never on a tie within the solver.
    """
    released = [copy.deepcopy(result) for result in results]
    for result in released:
        if "refused" not in result and result["kind"] not in FORMS:
            refuse(result, UNKNOWN.about(result["kind"]))
    for name in dict.fromkeys(result["table"] for result in released if "refused" not in result):
        agreed = {column: [str(level) for level in names] for (of, column), names in levels.items() if of == name}
        mine = [result for result in released if result["table"] == name and "refused" not in result]
        past = [result for result in earlier if result["table"] == name and "refused" not in result]
        _prepare(mine, past, agreed, smallest=smallest_cell)
        _Case(mine, past, agreed, smallest_cell).settle(repeated_people=repeated_people)
    return released


def findings(results: Sequence[Result], protected: Sequence[Result]) -> list[str]:
    """What `protect` or a method left out or noticed, in sentences for those who review the release; [CLEAR] when there is nothing."""
    notes = []
    for before, after in zip(results, protected, strict=True):
        title = f"'{after['name']}'" if "name" in after else f"the {after['kind']} of '{after['table']}'"
        if "refused" in after:
            notes += [f"{title} is refused: {reason}" for reason in refusal.lines(after)]
            continue
        notes += [f"{title}: {finding}" for finding in after.get("findings", [])]
        unsaid = set(_unsaid(after)) - set(_unsaid(before))
        cells = [path for path in unsaid if (len(path) > 1 and path[:1] != ("columns",)) or "levels" in path]
        for count, what in ((len(cells), "cells"), (len(unsaid) - len(cells), "totals")):
            if count:
                notes.append(f"{count} of the {what} of {title} {'is' if count == 1 else 'are'} suppressed")
    return notes or [CLEAR]


def _prepare(mine: list[Result], past: list[Result], levels: Levels, *, smallest: int) -> None:
    """Completes levels and cells, and refuses what no suppression can help."""
    for result in (*past, *mine):
        note_levels(result, levels)
    for result in mine:
        if result["kind"] == "table" and math.prod(len(levels[column]) + 1 for column in result["by"]) > LARGEST:
            refuse(result, TOO_LARGE)
        elif result["kind"] in ("table", "describe"):
            fill_in(result, levels)
        else:
            small = [said for said in read(result, levels) if said.rank is Rank.MODEL and said.value < smallest]
            if small or (result.get("n") or 0) < smallest:
                refuse(result, MODEL_TELLS if small else TOO_SMALL)


@dataclass(frozen=True)
class _Case:
    """What is to be judged together: the new and the earlier results about one table."""

    mine: list[Result]
    past: list[Result]
    levels: Levels
    smallest: int

    def settle(self, *, repeated_people: bool) -> None:
        """Grants the attacker the strongest assumptions that the counts allow, and lets a `Guard` leave out what it must."""
        repeated_people = repeated_people or any(_repeats(result) for result in (*self.past, *self.mine) if "refused" not in result)
        for adds_up, moments in self._assumptions(repeated_people=repeated_people):
            facts = self._gather(frozenset())
            if facts is not None and not any(fact.hidden for fact in facts.values()):
                return
            guard = self._guard(adds_up=adds_up, moments=moments)
            if guard is not None:
                guard.run(self.mine)
                return
        for result in self.mine:
            refuse(result, DISAGREES)

    def _assumptions(self, *, repeated_people: bool) -> Iterator[tuple[bool, Levels]]:
        """Whether everybody is in one cell, and of which columns everybody has one of the levels, so that a mean tells counts; strongest
        first. Where many have a number that too few share to be a level, no people would fit."""
        yield True, self.levels
        known: Levels = {}
        for column in sorted({said.about.column for said in self._statements() if isinstance(said.about, Moments)}):
            more = known | {column: self.levels.get(column, [])}
            known = more if self._model(frozenset(), adds_up=True, moments=more) is not None else known
        yield True, known
        if repeated_people:
            yield False, {}

    def _guard(self, *, adds_up: bool, moments: Levels) -> Guard | None:
        """With as many columns without missing values as the counts allow: nobody said that there are any, so an attacker may guess."""
        of_all = [said for said in self._statements() if isinstance(said.about, tuple) and len(said.about) == 1]
        missing = {column: said.value for said in of_all for column in _missing(said.about)}
        certain = frozenset(column for column, value in missing.items() if adds_up and value == 0)
        guesses = [column for column in sorted(self.levels) if column not in certain and missing.get(column, 0) == 0]
        best = self._model(certain.union(guesses), adds_up=adds_up, moments=moments)
        if best is not None or not guesses:
            return best
        best = self._model(certain, adds_up=adds_up, moments=moments)
        for column in guesses if best is not None else ():
            better = self._model(certain | {column}, adds_up=adds_up, moments=moments)
            if better is not None:
                best, certain = better, certain | {column}
        return best

    def _model(self, complete: frozenset[str], *, adds_up: bool, moments: Levels) -> Guard | None:
        """A guard over these assumptions; None when no people fit them."""
        facts = self._gather(complete)
        if facts is None:
            return None
        groups = [
            about if isinstance(about, tuple) else about.of(0) for about in facts if isinstance(about, tuple) or self.levels[about.column]
        ]
        counts = {column: len(names) for column, names in sorted(self.levels.items())}
        model = (Joint if adds_up else Overlaps)(counts, groups, complete=complete)
        guard = Guard(facts, model, moments, smallest=self.smallest)
        return guard if guard.start() else None

    def _statements(self) -> list[Statement]:
        return [said for result in (*self.past, *self.mine) if "refused" not in result for said in read(result, self.levels)]

    def _gather(self, complete: frozenset[str]) -> Facts | None:
        """Every fact once, however often it is said; None when two results contradict each other."""
        facts: Facts = {}
        for result, before in (*((result, True) for result in self.past), *((result, False) for result in self.mine)):
            for said in read(result, self.levels) if "refused" not in result else ():
                fact = facts.setdefault(_without(said.about, complete), Fact())
                if said.value is not None:
                    if fact.value is not None and fact.value != said.value and isinstance(said.about, tuple):
                        return None
                    fact.value = said.value
                    fact.known |= before or (said.value == 0 and bool(_missing(said.about)))
                fact.before |= before
                if not before:
                    fact.places.append((result, said.rank, said.paths))
        self._add_complements(facts)
        for about, fact in facts.items():
            if isinstance(about, Moments):
                people = facts[_without(about.of(PRESENT), complete)].value
                fact.hidden = people is not None and people < self.smallest
            elif fact.derived:
                fact.hidden = True
            elif fact.value != 0 or not _missing(about):
                small = bool(fact.places) and (fact.value or 0) < self.smallest
                fact.hidden = small or (fact.before and not fact.known)
                fact.told = not _is_cell(about, fact.value, self.smallest)
        return facts

    def _add_complements(self, facts: Facts) -> None:
        """Those who are in a published group but do not meet a condition under which it is published as well, where they are few."""
        groups = [(about, fact) for about, fact in facts.items() if isinstance(about, tuple)]
        for about, fact in groups:
            for column, pick in about:
                whole = facts.get(tuple(one for one in about if one[0] != column)) if column.startswith(WHERE) and pick == 0 else None
                if whole is None or whole.value is None or fact.value is None or not 0 < whole.value - fact.value < self.smallest:
                    continue
                rest = tuple(sorted((one if one[0] != column else (column, 1)) for one in about))
                facts.setdefault(rest, Fact(value=whole.value - fact.value, derived=True))


def _repeats(result: Result) -> bool:
    """Whether a result by itself shows that people are counted in several of its cells."""
    if result["kind"] == "table" and result["n"] is not None:
        return bool(sum(cell["n"] or 0 for cell in result["cells"]) > result["n"])
    columns = result["columns"].values() if result["kind"] == "describe" else ()
    return any(about["n"] is not None and sum(count or 0 for count in about.get("levels", {}).values()) > about["n"] for about in columns)


def _is_cell(about: Who, value: Any, smallest: int) -> bool:
    """Whether a number is about people who share a value, or about so few people that they must not be known at all."""
    picks = {pick for _, pick in about}
    if MISSING in picks:
        return False
    return bool(picks - {PRESENT}) or (value is not None and value < smallest)


def _missing(about: Who | Moments) -> list[str]:
    """The column whose missing values are counted, if nothing else is but a condition."""
    counted = [one for one in about if not one[0].startswith(WHERE)] if isinstance(about, tuple) else []
    return [column for column, pick in counted if pick == MISSING] if len(counted) == 1 else []


def _without(about: Any, complete: frozenset[str]) -> Any:
    """The same people, without saying that they have a column that everybody has."""
    if isinstance(about, Moments):
        return about
    return tuple((column, pick) for column, pick in about if pick != PRESENT or column not in complete)


def _unsaid(result: Result) -> Iterator[Path]:
    """The paths of all numbers that a table or description leaves out."""

    def walk(value: Any, path: Path) -> Iterator[Path]:
        if value is None:
            yield path
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, (*path, key))
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                yield from walk(inner, (*path, number))

    if result["kind"] in ("table", "describe", "glm"):
        for key in ("n", "cells", "columns"):
            yield from walk(result.get(key, 0), (key,))
        return
    for said in result.get("said", []):
        yield from (path for path in paths_of(said) if value_at(result, path) is None)


def value_at(result: Result, path: Sequence[str | int]) -> Any:
    inner: Any = result
    for step in path:
        inner = inner[step]
    return inner
