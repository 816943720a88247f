"""Small counts are left out of every table, description and model, with enough around them that nobody can work them out.

Everything a project publishes about one table is judged together: counts, margins, totals, means of columns with agreed levels,
counts that follow from a model's coefficients, and what was released before. Promise: a number that is left out could lie, as far as
the attacker of `attacker` can tell, anywhere in a range at least `smallest_cell` wide. Limits: a group that only the difference of two
published numbers describes (people with one column filled in and another not) is no cell and is not protected as one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pumasi.analysis.attacker import LARGEST, MISSING, PRESENT, Joint, Unions, Who
from pumasi.analysis.guard import Fact, Facts, Guard, refuse
from pumasi.analysis.statements import Moments, Path, Rank, Result, fill_in, note_levels, read

CLEAR = "clear"

TOO_SMALL = "it concerns a group that is too small to be published"
MODEL_TELLS = "its coefficients would show the size of a group that is too small to be published"
TOO_LARGE = "it has too many cells to be checked for small groups; group its levels first"
DISAGREES = "its counts do not agree with other results about the same people, so they cannot be checked together"


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
    stays. A result that cannot be made safe keeps its name and gets `refused`. `levels` are the agreed ones of (table, column). With
    `repeated_people` a person may be in several cells; where the counts add up all the same, the attacker is granted that they do.
    A model is judged by its `implied_counts` and, where it names its `columns`, by how many people have all of them. The same input
    gives the same answer at every node: choices depend on counts and their order, never on a tie within the solver.
    """
    released = [copy.deepcopy(result) for result in results]
    for result in released:
        if "refused" not in result and result["kind"] not in ("table", "describe", "glm"):
            refuse(result, f"results of the kind {result['kind']} cannot be checked for small groups")
    for name in dict.fromkeys(result["table"] for result in released if "refused" not in result):
        agreed = {column: [str(level) for level in names] for (of, column), names in levels.items() if of == name}
        mine = [result for result in released if result["table"] == name and "refused" not in result]
        past = [result for result in earlier if result["table"] == name and "refused" not in result]
        _prepare(mine, past, agreed, smallest=smallest_cell)
        _settle(mine, past, agreed, smallest=smallest_cell, repeated_people=repeated_people)
    return released


def findings(results: Sequence[Result], protected: Sequence[Result]) -> list[str]:
    """What `protect` left out, in sentences for those who review the release; [CLEAR] when it left nothing out."""
    notes = []
    for before, after in zip(results, protected, strict=True):
        title = f"'{after['name']}'" if "name" in after else f"the {after['kind']} of '{after['table']}'"
        if "refused" in after:
            notes += [f"{title} is refused: {reason}" for reason in after["refused"]]
            continue
        unsaid = set(_unsaid(after)) - set(_unsaid(before))
        cells = [path for path in unsaid if "cells" in path or "levels" in path]
        for count, what in ((len(cells), "cells"), (len(unsaid) - len(cells), "totals")):
            if count:
                notes.append(f"{count} of the {what} of {title} {'is' if count == 1 else 'are'} suppressed")
    return notes or [CLEAR]


def _prepare(mine: list[Result], past: list[Result], levels: dict[str, list[str]], *, smallest: int) -> None:
    """Completes levels and cells, and refuses what no suppression can help."""
    for result in (*past, *mine):
        note_levels(result, levels)
    for result in mine:
        if result["kind"] == "table" and math.prod(len(levels[column]) + 1 for column in result["by"]) > LARGEST:
            refuse(result, TOO_LARGE)
        elif result["kind"] != "glm":
            fill_in(result, levels)
        else:
            small = [said for said in read(result, levels) if said.rank is Rank.MODEL and said.value < smallest]
            if small or result["n"] < smallest:
                refuse(result, MODEL_TELLS if small else TOO_SMALL)


def _settle(mine: list[Result], past: list[Result], levels: dict[str, list[str]], *, smallest: int, repeated_people: bool) -> None:
    """Finds the strongest model of the people that the counts allow, and lets a `Guard` leave out what it must."""
    for adds_up, moments in ((True, True), (True, False), (False, False)) if repeated_people else ((True, True),):
        facts = _gather(mine, past, levels, smallest=smallest, adds_up=adds_up)
        if facts is None:
            continue
        if not any(fact.hidden for fact in facts.values()):
            return
        groups = [about for about in facts if isinstance(about, tuple)]
        counts = {column: len(names) for column, names in sorted(levels.items())}
        model = Joint(counts, [frozenset(column for column, _ in who) for who in groups]) if adds_up else Unions(counts, groups)
        guard = Guard(facts, model, levels if moments else {}, smallest=smallest)
        if guard.start():
            guard.run(mine)
            return
    for result in mine:
        refuse(result, DISAGREES)


def _gather(mine: list[Result], past: list[Result], levels: dict[str, list[str]], *, smallest: int, adds_up: bool) -> Facts | None:
    """Every fact once, however often it is said; None when two results contradict each other."""
    said = [(result, statement) for result in (*past, *mine) if "refused" not in result for statement in read(result, levels)]
    complete = {column for _, statement in said if adds_up for column in _never_missing(statement.about, statement.value)}
    facts: Facts = {}
    released = {id(result) for result in past}
    for result, statement in said:
        fact = facts.setdefault(_without(statement.about, complete), Fact())
        if statement.value is not None:
            if fact.value is not None and fact.value != statement.value and isinstance(statement.about, tuple):
                return None
            fact.value = statement.value
            fact.known |= id(result) in released or bool(_never_missing(statement.about, statement.value))
        if id(result) in released:
            fact.before = True
        else:
            fact.places.append((result, statement.rank, statement.paths))
    for about, fact in facts.items():
        if isinstance(about, Moments):
            people = facts[_without(((about.column, PRESENT),), complete)].value
            fact.hidden = people is None or people < smallest
        elif not _never_missing(about, fact.value):
            small = bool(fact.places) and (fact.value or 0) < smallest
            fact.hidden = small or (fact.before and not fact.known)
    return facts


def _never_missing(about: Who | Moments, value: Any) -> list[str]:
    """The column that nobody lacks, if that is what is said."""
    return [column for column, pick in about if pick == MISSING] if isinstance(about, tuple) and len(about) == 1 and value == 0 else []


def _without(about: Any, complete: set[str]) -> Any:
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

    for key in ("n", "cells", "columns"):
        yield from walk(result.get(key, 0), (key,))
