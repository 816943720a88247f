"""Columns summarised within groups of rows: people who have a value or lack one, mean and sd of numbers, people per level of the rest.

Four steps: count; the mean of those number columns that enough people of a group have; squares about that mean, so that large values keep
their digits; and what each hospital judges about its own rows (robust.py). No sum over too few people is ever opened, no mean left that
tells one person's value or stands for a count. Where a group's mean is left out, so are others that it would follow from. Means and sds are
over rows, all else counts people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, robust, sums
from pumasi.analysis.frame import OUTSIDE
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

    Mask = NDArray[np.bool_]

SMALL_FOR_THE_OTHER = Refusal(
    "two-hospitals", "with two hospitals each one sees the other's counts, and one of '{}' is of fewer people than the smallest cell allows"
)


@dataclass(frozen=True)
class Plan:
    """Which columns, each with the levels to count (none: it is averaged, or only counted), and in how many groups.

    With `whole` the first group is everybody in the others together.
    """

    columns: dict[str, list[str]]
    averaged: frozenset[str]
    groups: int = 1
    whole: bool = False

    @staticmethod
    def of(question: dict[str, Any], names: Sequence[str], *, groups: int = 1, whole: bool = False) -> Plan:
        """Numbers of more than two values are averaged, everything else is counted by its levels."""
        numbers = {name for name in names if question["column_kinds"][name] == "number"}
        measured = numbers.difference(question["two_valued"]) if numbers else numbers
        columns = {name: [] if name in measured else list(question["levels"].get(name, [])) for name in names}
        averaged = frozenset(name for name in numbers if not columns[name])
        return Plan(columns, averaged, groups, whole)


def start() -> dict[str, Any]:
    return {"step": "count"}


def local(frame: Frame, plan: Plan, state: dict[str, Any], masks: Sequence[Mask]) -> list[float]:
    """What this hospital adds to the sum of this step; `masks` has the rows of each group."""
    match state["step"]:
        case "count":
            return _local_counts(frame, plan, masks)
        case "mean":
            partial: list[float] = []
            for mask, names in zip(masks, _open(plan, state), strict=True):
                for name in names:
                    values, _ = _values(frame, name, mask)
                    partial += [len(values), *sums.wide(values), *sums.wide(np.abs(values))]
            return partial
        case "spread":
            return _local_spread(frame, plan, state, masks)
        case "judge":
            return _local_judgement(frame, plan, state, masks)
        case step:
            raise ValueError(f"a description has no step {step!r}")


def refusals(total: Sequence[float], plan: Plan, state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used: a value that nobody agreed to. Small counts are suppressed, not refused.

    Between two hospitals each could subtract its own counts from the total, so there a small one refuses the analysis.
    """
    if state["step"] != "count":
        return []
    counted = _read_counts(total, plan)
    reasons = [checks.OUTSIDE.about(name) for name in counted.outside]
    reasons += [checks.TOO_LARGE.about(name) for name in counted.too_large]
    for name in plan.columns if terms.hospitals == 2 else ():
        found = [people for group in counted.groups for people in (group.n[name], *group.levels[name].values())]
        if any(0 < people < terms.smallest_cell for people in found):
            reasons.append(SMALL_FOR_THE_OTHER.about(name))
    return reasons


def advance(total: Sequence[float], plan: Plan, state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries `groups` (n, columns), `people` (who have each column), `repeated` and `findings`."""
    match state["step"]:
        case "count":
            return _advance_counts(total, plan, terms)
        case "mean":
            return _advance_mean(total, plan, state)
        case "spread":
            return _advance_spread(total, plan, state)
        case "judge":
            return _advance_judgement(total, plan, state, terms)
        case step:
            raise ValueError(f"a description has no step {step!r}")


def said(
    done: dict[str, Any], question: dict[str, Any], who: Sequence[dict[str, str]], at: Sequence[list[Any]], *, present: list[str]
) -> list[dict[str, Any]]:
    """Every number of people in the groups; `who` they are, and `at` which path of the result each group stands.

    How many people have a number follows from its mean and sd with a test, so where it is left out beside them it is said without a place.
    """
    found: list[dict[str, Any]] = []
    for group, people, whom, path in zip(done["groups"], done["people"], who, at, strict=True):
        found.append({"who": whom, "present": present, "n": group["n"], "at": [*path, "n"]})
        for name in question["columns"]:  # not in the order of a state, which changes when it travels
            column = group["columns"][name]
            here, has = [*path, "columns", name], [*present, name]
            found.append({"who": whom, "present": has, "n": column["n"], "at": [*here, "n"]})
            if column["n"] is None and column.get("sd") is not None:
                found.append({"who": whom, "present": has, "n": people[name], "at": None})
            found += [
                {"who": {**whom, name: level}, "present": present, "n": column["levels"][level], "at": [*here, "levels", level]}
                for level in (question["levels"][name] if "levels" in column else ())
            ]
            if "mean" in column and question["levels"].get(name):
                moments = None if column["mean"] is None else [column["mean"], column["sd"]]
                found.append({"who": whom, "present": has, "moments": name, "n": moments, "at": [[*here, "mean"], [*here, "sd"]]})
    return found


def people(result: dict[str, Any], whom: dict[str, str], name: str) -> int | None:
    """How many people of a group have a value, where that is printed or follows from what is (`said`)."""
    for one in result["said"]:
        if one["at"] is None and one["who"] == whom and one["present"][-1:] == [name]:
            return int(one["n"])
    return None


def _open(plan: Plan, state: dict[str, Any]) -> list[list[str]]:
    """Per group the columns whose mean is still to be found, in the order of the plan: a state that travelled has its keys sorted."""
    return [[name for name in plan.columns if name in numbers] for numbers in state["numbers"]]


def _values(frame: Frame, name: str, mask: Mask) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numbers of a group, and whose they are."""
    numbers = frame.numbers(name)
    there = mask & ~np.isnan(numbers)
    return numbers[there], frame.persons[there]


# count


@dataclass(frozen=True)
class _Group:
    people: int
    n: dict[str, int]
    levels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class _Counts:
    repeated: bool
    outside: list[str]
    too_large: list[str]
    groups: list[_Group]


def _local_counts(frame: Frame, plan: Plan, masks: Sequence[Mask]) -> list[float]:
    anybody = np.logical_or.reduce([*masks]) if len(masks) > 1 else masks[0]
    codes = {name: frame.codes(name, levels) for name, levels in plan.columns.items() if levels}
    partial: list[float] = [not frame.one_row_each]
    for name in plan.columns:
        partial.append(name in codes and bool(np.any(codes[name][anybody] == OUTSIDE)))
        partial.append(name in plan.averaged and sums.too_large(frame.numbers(name)[anybody]))
    for mask in masks:
        partial.append(frame.people(mask))
        for name, levels in plan.columns.items():
            partial.append(frame.people(mask & frame.present(name)))
            if levels:
                partial += frame.people_per(np.where(mask, codes[name], -1), count=len(levels)).tolist()
    return partial


def _read_counts(total: Sequence[float], plan: Plan) -> _Counts:
    reader = sums.Reader(total)
    repeated, flags = reader.flag(), {name: (reader.flag(), reader.flag()) for name in plan.columns}
    groups = []
    for _ in range(plan.groups):
        people, n = reader.count(), {}
        per_level: dict[str, dict[str, int]] = {}
        for name, levels in plan.columns.items():
            n[name] = reader.count()
            per_level[name] = {level: reader.count() for level in levels}
        groups.append(_Group(people, n, per_level))
    reader.end()
    outside, large = ([name for name, flag in flags.items() if flag[place]] for place in (0, 1))
    return _Counts(repeated, outside, large, groups)


def _advance_counts(total: Sequence[float], plan: Plan, terms: Terms) -> dict[str, Any]:
    counted = _read_counts(total, plan)
    groups = [
        {"n": group.people, "columns": {name: _column(group, name, plan=plan, terms=terms) for name in plan.columns}}
        for group in counted.groups
    ]
    numbers: list[dict[str, Any]] = [
        {name: {} for name in plan.columns if name in plan.averaged and group.n[name] >= terms.smallest_cell} for group in counted.groups
    ]
    kept_back = [_kept_back([group.n[name] for group in counted.groups], plan, smallest=terms.smallest_cell) for name in plan.columns]
    for name, hidden in zip(plan.columns, kept_back, strict=True):
        for place in hidden:
            numbers[place].pop(name, None)
    state = {"step": "mean", "groups": groups, "numbers": numbers, "repeated": counted.repeated, "findings": []}
    return _next({**state, "people": [dict(group.n) for group in counted.groups]})


def _column(group: _Group, name: str, *, plan: Plan, terms: Terms) -> dict[str, Any]:
    """What is known of a column after the counting."""
    n, missing = group.n[name], group.people - group.n[name]
    enough = n >= terms.smallest_cell
    told = enough and not 0 < missing < terms.smallest_cell
    column: dict[str, Any] = {"n": n if told else None, "missing": missing if told else None}
    if name in plan.averaged:
        column |= {"mean": None, "sd": None}
    if plan.columns[name]:
        column["levels"] = {level: count if enough else None for level, count in group.levels[name].items()}
    return column


def _kept_back(people: list[int], plan: Plan, *, smallest: int) -> list[int]:
    """Groups without a mean: the small ones, and with them the next larger until what the others leave over is no small group."""
    if not plan.whole:
        return []
    ordered = sorted(range(1, plan.groups), key=lambda place: (people[place], place))
    hidden = [place for place in ordered if people[place] < smallest]
    left = sum(people[place] for place in hidden)
    for place in ordered[len(hidden) :]:
        if not hidden or left >= smallest:
            break
        hidden.append(place)
        left += people[place]
    return hidden


# mean and spread


def _advance_mean(total: Sequence[float], plan: Plan, state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    numbers: list[dict[str, Any]] = []
    for names, people in zip(_open(plan, state), state["people"], strict=True):
        found = {}
        for name in names:
            rows = reader.rows(people=people[name])
            found[name] = {"rows": rows, "mean": reader.wide() / rows, "size": reader.squares()}
        numbers.append(found)
    reader.end()
    return {**state, "step": "spread", "numbers": numbers}


def _local_spread(frame: Frame, plan: Plan, state: dict[str, Any], masks: Sequence[Mask]) -> list[float]:
    partial: list[float] = []
    for mask, names, numbers in zip(masks, _open(plan, state), state["numbers"], strict=True):
        for name in names:
            values, _ = _values(frame, name, mask)
            mean = float(numbers[name]["mean"])
            partial += [int(np.count_nonzero(values > mean)), *sums.wide((values - mean) ** 2)]
    return partial


def _advance_spread(total: Sequence[float], plan: Plan, state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    numbers: list[dict[str, Any]] = []
    for names, known in zip(_open(plan, state), state["numbers"], strict=True):
        numbers.append({name: {**known[name], "above": reader.count(), "squares": reader.squares()} for name in names})
    reader.end()
    return {**state, "step": "judge", "numbers": numbers}


# judge


def _local_judgement(frame: Frame, plan: Plan, state: dict[str, Any], masks: Sequence[Mask]) -> list[float]:
    """Per group and column: one person's part in the sum, in the squares, more than two values; per column of the first: its unit."""
    partial: list[float] = []
    for place, (mask, names, numbers) in enumerate(zip(masks, _open(plan, state), state["numbers"], strict=True)):
        for name in names:
            values, persons = _values(frame, name, mask)
            known = numbers[name]
            rows, mean, squares = int(known["rows"]), float(known["mean"]), float(known["squares"])
            partial.append(robust.dominates(np.abs(values), persons, whole=float(known["size"])))
            partial.append(robust.dominates((values - mean) ** 2, persons, whole=squares))
            partial.append(robust.has_third_value(values, rows=rows, above=int(known["above"]), mean=mean, squares=squares))
            if place == 0:
                partial.append(robust.is_in_another_unit(values, rows=rows, mean=mean))
    return partial


def _advance_judgement(total: Sequence[float], plan: Plan, state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    reader = sums.Reader(total)
    no_mean: dict[str, Refusal] = {}
    no_sd: dict[str, Refusal] = {}
    units: dict[str, Refusal] = {}
    for place, names in enumerate(_open(plan, state)):
        for name in names:
            one_person, one_outlier, third = reader.flag(), reader.flag(), reader.flag()
            if not third and int(state["numbers"][place][name]["rows"]) > 1:
                no_mean[name] = robust.TWO_VALUES.about(name)
            elif one_person:
                no_mean.setdefault(name, robust.ONE_PERSON.about(name))
            elif one_outlier:
                no_sd[name] = robust.ONE_OUTLIER.about(name)
            if place == 0 and reader.flag():
                units[name] = robust.OTHER_UNIT.about(name)
    reader.end()
    groups = []
    for group, names, numbers in zip(state["groups"], _open(plan, state), state["numbers"], strict=True):
        columns = {name: dict(group["columns"][name]) for name in plan.columns}
        for name in names:  # left out in one group and so in all, or the others and the whole would tell it
            if name not in no_mean:
                columns[name] |= {"mean": numbers[name]["mean"], "sd": None if name in no_sd else _sd(numbers[name])}
        groups.append({**group, "columns": columns})
    # where one value is most of a sum, the others look like another unit; a finding is a `Refusal` where the mean is all that was asked
    told = [([no_mean] if name in no_mean else [no_sd, units], name) for name in plan.columns]
    findings = [about[name] for several, name in told for about in several if name in about]
    return _next({**state, "groups": groups, "numbers": [{} for _ in groups], "findings": findings})


def _sd(number: dict[str, Any]) -> float | None:
    return math.sqrt(number["squares"] / (number["rows"] - 1)) if number["rows"] > 1 else None


def _next(state: dict[str, Any]) -> dict[str, Any]:
    """Done when no mean is left to find."""
    if any(state["numbers"]):
        return state
    return {"step": "done"} | {key: state[key] for key in ("groups", "people", "repeated", "findings")}
