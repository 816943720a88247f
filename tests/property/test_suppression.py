"""Whatever the people are like and whatever is asked about them: no number that is left out can be worked out from what is published.

The attacker here is written from the published output alone, on one joint of all columns, and shares no code with the module.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from pumasi.analysis.suppression import CLEAR, findings, protect

COLUMNS = "abc"
COUNTS = [0, 0, 1, 2, 3, 5, 8, 9, 10, 11, 14, 25, 40, 90]


@dataclass(frozen=True)
class People:
    """How many people have each combination; the last place of each axis is "missing"."""

    joint: np.ndarray[Any, Any]

    @property
    def names(self) -> list[str]:
        return list(COLUMNS[: self.joint.ndim])

    @property
    def levels(self) -> dict[tuple[str, str], list[str]]:
        return {("patients", name): [str(at) for at in range(size - 1)] for name, size in zip(self.names, self.joint.shape, strict=True)}

    def count(self, **picks: Any) -> int:
        return int(self.joint[self.where(**picks)].sum())

    def where(self, **picks: Any) -> tuple[slice, ...]:
        chosen = []
        for name, size in zip(self.names, self.joint.shape, strict=True):
            pick = picks.get(name, "any")
            at = size - 1 if pick == "missing" else 0 if pick in ("any", "present") else int(pick)
            chosen.append(slice(0, size) if pick == "any" else slice(0, size - 1) if pick == "present" else slice(at, at + 1))
        return tuple(chosen)

    def table(self, *by: str) -> dict[str, Any]:
        places = itertools.product(*(self.levels["patients", name] for name in by))
        cells = [{**dict(zip(by, at, strict=True)), "n": self.count(**dict(zip(by, at, strict=True)))} for at in places]
        return {"kind": "table", "table": "patients", "by": list(by), "n": self.count(**dict.fromkeys(by, "present")), "cells": cells}

    def describe(self, names: list[str], numeric: set[str]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for name in names:
            levels = {level: self.count(**{name: level}) for level in self.levels["patients", name]}
            columns[name] = {"n": sum(levels.values()), "missing": self.count(**{name: "missing"})}
            if name in numeric:
                values = np.repeat([float(level) for level in levels], list(levels.values()))
                columns[name]["mean"] = float(values.mean()) if len(values) else None
                columns[name]["sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
            else:
                columns[name]["levels"] = levels
        return {"kind": "describe", "table": "patients", "n": self.count(), "columns": columns}

    def glm(self, names: list[str]) -> dict[str, Any]:
        outcome, *others = names
        inside = dict.fromkeys(names, "present")
        factors = [[], *([(name, level)] for name in others for level in self.levels["patients", name][1:])]
        implied = [
            {
                "column": str(pairs),
                "factors": [{"column": name, "level": level} for name, level in pairs],
                "outcome": outcome,
                "outcome1": self.count(**{**inside, **dict(pairs), outcome: "1"}),
                "outcome0": self.count(**{**inside, **dict(pairs), outcome: "0"}),
            }
            for pairs in factors
        ]
        return {"kind": "glm", "table": "patients", "n": self.count(**inside), "columns": names, "implied_counts": implied}


@st.composite
def people(draw: st.DrawFn, *, counts: list[int] = COUNTS, columns: int = 3) -> People:
    levels = [draw(st.integers(2, 3)) for _ in range(draw(st.integers(1, columns)))]
    joint = np.array(draw(st.lists(st.sampled_from(counts), min_size=int(np.prod(levels)), max_size=int(np.prod(levels))))).reshape(levels)
    for axis in range(joint.ndim):  # at random nobody, a few or more people without a value
        size = int(np.prod(joint.shape)) // joint.shape[axis]
        missing = draw(st.lists(st.sampled_from([0, 0, 0, 1, 3, 12]), min_size=size, max_size=size)) if draw(st.booleans()) else [0] * size
        shape = [1 if at == axis else length for at, length in enumerate(joint.shape)]
        joint = np.concatenate([joint, np.array(missing).reshape(shape)], axis=axis)
    return People(joint)


@st.composite
def studies(draw: st.DrawFn, *, counts: list[int] = COUNTS) -> tuple[People, list[dict[str, Any]]]:
    subject = draw(people(counts=counts))
    some = st.lists(st.sampled_from(subject.names), min_size=1, max_size=3, unique=True)
    results = []
    for kind in draw(st.lists(st.sampled_from(["table", "table", "table", "describe", "glm"]), min_size=1, max_size=4)):
        names = draw(some)
        if kind == "describe":
            results.append(subject.describe(names, set(draw(st.lists(st.sampled_from(names), max_size=1)))))
        elif kind == "table" or len(names) < 2 or subject.joint.shape[subject.names.index(names[0])] != 3:
            results.append(subject.table(*names[:2]))
        else:
            results.append(subject.glm(names))
    return subject, results


class Attacker:
    """Reads published results into equations over one joint of all columns, and bounds what they leave out."""

    def __init__(self, subject: People, published: list[dict[str, Any]]) -> None:
        self.subject = subject
        self.known: list[tuple[np.ndarray[Any, Any], float]] = []
        self.near: list[tuple[np.ndarray[Any, Any], float]] = []
        self.hidden: list[np.ndarray[Any, Any]] = []
        for result in published:
            if "refused" not in result:
                getattr(self, result["kind"])(result)

    def row(self, **picks: Any) -> np.ndarray[Any, Any]:
        row = np.zeros(self.subject.joint.shape)
        row[self.subject.where(**picks)] = 1
        return row.ravel()

    def say(self, value: float | None, **picks: Any) -> None:
        if value is None:
            # How many records lack a value, and how many of everybody have one, is no number about people who share a value.
            if set(picks.values()) - {"present", "missing"}:
                self.hidden.append(self.row(**picks))
        else:
            self.known.append((self.row(**picks), value))

    def table(self, result: dict[str, Any]) -> None:
        self.say(result["n"], **dict.fromkeys(result["by"], "present"))
        for cell in result["cells"]:
            self.say(cell["n"], **{name: cell[name] for name in result["by"]})

    def describe(self, result: dict[str, Any]) -> None:
        self.say(result["n"])
        for name, about in result["columns"].items():
            self.say(about["n"], **{name: "present"})
            self.say(about["missing"], **{name: "missing"})
            for level, value in about.get("levels", {}).items():
                self.say(value, **{name: level})
            if about.get("mean") is not None:
                levels = {level: float(level) - about["mean"] for level in self.subject.levels["patients", name]}
                self.near.append((sum(off * self.row(**{name: level}) for level, off in levels.items()), 0.0))  # type: ignore[arg-type]
                if about["sd"] is not None:
                    spread = sum((off**2 - about["sd"] ** 2) * self.row(**{name: level}) for level, off in levels.items())
                    self.near.append((spread, -(about["sd"] ** 2)))  # type: ignore[arg-type]

    def glm(self, result: dict[str, Any]) -> None:
        inside = dict.fromkeys(result["columns"], "present")
        self.say(result["n"], **inside)
        for implied in result["implied_counts"]:
            exact = {factor["column"]: factor["level"] for factor in implied["factors"]}
            for outcome in "01":
                self.say(implied[f"outcome{outcome}"], **{**inside, **exact, implied["outcome"]: outcome})

    def narrowest(self) -> float:
        """The width of the range of the number that is bounded best."""
        width = np.inf
        exact = {"A_eq": np.array([row for row, _ in self.known]), "b_eq": [value for _, value in self.known]} if self.known else {}
        rows = [row for row, _ in self.near]
        ends = [value for _, value in self.near]
        near = {"A_ub": np.array([*rows, *(-row for row in rows)]), "b_ub": [*(end + 1e-6 for end in ends), *(1e-6 - end for end in ends)]}
        for row in self.hidden:
            reach = []
            for sign in (1, -1):
                answer = linprog(sign * row, **exact, **(near if rows else {}), bounds=(0, None))
                assert answer.status in (0, 3), "the published numbers contradict each other"
                reach.append(answer.fun if answer.status == 0 else -np.inf)
            width = min(width, -reach[1] - reach[0])
        return width


@settings(max_examples=150, deadline=None)
@given(studies(), st.sampled_from([3, 5, 10]), st.data())
def test_nothing_left_out_can_be_worked_out(study: tuple[People, list[dict[str, Any]]], smallest: int, data: st.DataObject) -> None:
    subject, results = study
    asked = copy.deepcopy(results)
    earlier_ones = data.draw(st.integers(0, len(results) - 1))
    repeated = data.draw(st.booleans())
    terms: Any = {"levels": subject.levels, "smallest_cell": smallest, "repeated_people": repeated}
    earlier = protect(results[:earlier_ones], earlier=[], **terms)
    new = protect(results[earlier_ones:], earlier=earlier, **terms)
    assert results == asked
    assert Attacker(subject, [*earlier, *new]).narrowest() >= smallest - 1e-3
    assert protect(results[:earlier_ones], earlier=earlier, **terms) == earlier
    for before, after in zip(results, [*earlier, *new], strict=True):
        if "refused" in after:
            assert not any(letter.isdigit() for letter in str(after["refused"]))
            assert set(after) <= {"kind", "table", "by", "refused", "reasons"}
        else:
            assert_only_left_out(before, after, smallest)


def assert_only_left_out(before: Any, after: Any, smallest: int, key: str = "") -> None:
    """What is published is what was counted, and no small count is."""
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        for name in before:
            assert_only_left_out(before[name], after[name], smallest, key if key == "levels" else name)
    elif isinstance(before, list):
        for one, other in zip(before, after, strict=True):
            assert_only_left_out(one, other, smallest, key)
    elif after is not None:
        assert after == before
        assert key not in ("n", "levels") or after >= smallest
        assert key != "missing" or after >= smallest or after == 0


@settings(max_examples=40, deadline=None)
@given(studies(counts=[10, 11, 12, 30, 77]), st.booleans())
def test_nothing_is_left_out_when_every_count_is_large(study: tuple[People, list[dict[str, Any]]], repeated: bool) -> None:
    subject, results = study
    assume(not any(0 < subject.count(**{name: "missing"}) < 10 for name in subject.names))
    protected = protect(results, earlier=[], levels=subject.levels, smallest_cell=10, repeated_people=repeated)
    assert protected == results
    assert findings(results, protected) == [CLEAR]


@settings(max_examples=40, deadline=None)
@given(st.just(2), st.integers(2, 3), st.data())
def test_every_whole_number_table_that_fits_leaves_room(rows: int, columns: int, data: st.DataObject) -> None:
    """Not bounds but all tables of people that give the published numbers, one by one."""
    smallest = data.draw(st.integers(2, 3))
    cells = data.draw(st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns).filter(lambda cells: sum(cells) <= 10))
    joint = np.zeros((rows + 1, columns + 1), dtype=int)
    joint[:rows, :columns] = np.array(cells).reshape(rows, columns)
    subject = People(joint)
    asked = [subject.table("a", "b")]
    if data.draw(st.booleans()):
        asked.append(subject.describe(["a", "b"], set()))
    if data.draw(st.booleans()):
        asked.append(subject.table("b"))
    published = protect(asked, earlier=[], levels=subject.levels, smallest_cell=smallest, repeated_people=False)
    attacker = Attacker(People(joint), published)
    fitting = []
    for total in range(sum(cells) + smallest + 1):
        for bars in itertools.combinations(range(total + rows * columns - 1), rows * columns - 1):
            world = np.zeros_like(joint)
            ends = (-1, *bars, total + rows * columns - 1)
            world[:rows, :columns] = np.array([after - before - 1 for before, after in itertools.pairwise(ends)]).reshape(rows, columns)
            fitting.append(world.ravel())
    worlds = np.array(fitting)
    for row, value in attacker.known:
        worlds = worlds[worlds @ row == value]
    for row in attacker.hidden:
        assert np.ptp(worlds @ row) >= smallest


@settings(max_examples=40, deadline=None)
@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(study: tuple[People, list[dict[str, Any]]], random: Any) -> None:
    subject, results = study

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in random.sample(list(value), len(value))}
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    terms: Any = {"earlier": [], "smallest_cell": 10, "repeated_people": False}
    one = protect(results, levels=subject.levels, **terms)
    other = protect(shuffled(results), levels=shuffled(subject.levels), **terms)
    assert one == other


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[tuple[tuple[int, int], ...]], list[int], tuple[int, int]]:
    """People with several rows each: every set of cells of a small table, and how many people have rows in just these."""
    shape = (2, draw(st.integers(2, 3)))
    cells = list(itertools.product(*map(range, shape)))
    sets = [some for count in range(1, len(cells) + 1) for some in itertools.combinations(cells, count)]
    counts = [draw(st.sampled_from([0, 2, 5, 9, 20, 60])) if len(some) == 1 else 0 for some in sets]
    for at in draw(st.lists(st.integers(0, len(sets) - 1), min_size=1, max_size=4)):
        counts[at] += draw(st.integers(1, 15))
    return sets, counts, shape


@settings(max_examples=60, deadline=None)
@given(crowds(), st.data())
def test_people_in_several_cells_are_protected_too(crowd: tuple[Any, Any, tuple[int, int]], data: st.DataObject) -> None:
    sets, counts, shape = crowd
    levels = {("visits", name): [str(at) for at in range(size)] for name, size in zip("ab", shape, strict=True)}
    places: list[tuple[Any, Any, np.ndarray[Any, Any]]] = []  # the object that holds a count, its key there, and who is counted

    def say(holder: dict[str, Any], key: str, **picks: int) -> None:
        row = np.array([float(any(all(cell["ab".index(name)] == at for name, at in picks.items()) for cell in some)) for some in sets])
        holder[key] = int(row @ counts)
        places.append((holder, key, row))

    def table(*by: str) -> dict[str, Any]:
        result: dict[str, Any] = {"kind": "table", "table": "visits", "by": list(by), "cells": []}
        say(result, "n")
        for at in itertools.product(*(range(shape["ab".index(name)]) for name in by)):
            result["cells"].append({name: str(level) for name, level in zip(by, at, strict=True)})
            say(result["cells"][-1], "n", **dict(zip(by, at, strict=True)))
        return result

    description: dict[str, Any] = {"kind": "describe", "table": "visits", "columns": {}}
    say(description, "n")
    for name, size in zip("ab", shape, strict=True):
        about: dict[str, Any] = {"missing": 0, "levels": {}}
        say(about, "n")
        for level in range(size):
            say(about["levels"], str(level), **{name: level})
        description["columns"][name] = about
    asked = data.draw(st.lists(st.sampled_from([("a",), ("b",), ("a", "b")]), max_size=3, unique=True))
    results = [description, *(table(*by) for by in asked)]
    published = protect(results, earlier=[], levels=levels, smallest_cell=5, repeated_people=True)

    holders: dict[int, Any] = {}

    def pair(before: Any, after: Any) -> None:
        if isinstance(before, dict):
            holders[id(before)] = after
            for key in before.keys() & after.keys():
                pair(before[key], after[key])
        elif isinstance(before, list):
            for one, other in zip(before, after, strict=True):
                pair(one, other)

    for before, after in zip(results, published, strict=True):
        if "refused" not in after:
            pair(before, after)
    said = [(holders[id(holder)][key], row) for holder, key, row in places if id(holder) in holders]
    known = [(row, value) for value, row in said if value is not None]
    exact: Any = {"A_eq": np.array([row for row, _ in known]), "b_eq": [value for _, value in known]} if known else {}
    for row in [row for value, row in said if value is None]:
        least, most = (linprog(sign * row, **exact, bounds=(0, None)) for sign in (1, -1))
        assert most.status == 3 or -most.fun - least.fun >= 5 - 1e-3
