"""Which number of a result counts which people: results as they are written, read as statements about groups of people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pumasi.analysis.population import MISSING, PRESENT, Who

Result = dict[str, Any]
Path = tuple[str | int, ...]
Levels = dict[str, list[str]]  # of each column, in the agreed order


class Rank(IntEnum):
    """What is given up first when something has to go."""

    CELL = 0  # of a table
    LEVEL = 1  # of a described column
    COLUMN = 2  # how many have the column, or not; its mean and sd
    TOTAL = 3  # people of an analysis
    MODEL = 4  # a model leaves nothing out: it is refused as a whole


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation (divisor n - 1) of a number column, over those of a group that have it."""

    column: str
    within: Who = ()

    def of(self, pick: int) -> Who:
        """Those of the group who have this level, or any."""
        return tuple(sorted(((self.column, pick), *self.within)))


@dataclass(frozen=True)
class Statement:
    """`value` people are `about`, or the mean and sd are; `paths` lead to where the result says so."""

    about: Who | Moments
    value: Any
    rank: Rank
    paths: tuple[Path, ...]


def read(result: Result, levels: Levels) -> Iterator[Statement]:
    """Everything that a result says about people. `levels` knows every level in it (`note_levels`)."""
    inside = ((_condition(result), 0),) if "where" in result else ()
    for said in _unconditional(result, levels):
        if not inside:
            yield said
        elif isinstance(said.about, tuple):  # a mean under a condition is no mean of the column
            yield Statement(tuple(sorted((*said.about, *inside))), said.value, said.rank, said.paths)


def _unconditional(result: Result, levels: Levels) -> Iterator[Statement]:
    match result["kind"]:
        case "table":
            yield from _table(result, levels)
        case "describe":
            yield from _description(result, levels)
        case "glm":
            yield from _model(result, levels)
            yield from _others(result, levels)
        case _:
            yield from _others(result, levels)


WHERE = "where "  # before a condition, which is a column of its own: everybody meets it or does not


def _condition(result: Result) -> str:
    return WHERE + str(result["where"])


def _others(result: Result, levels: Levels) -> Iterator[Statement]:
    """A kind whose results list what they say of people themselves."""
    for said in result.get("said", []):
        paths = paths_of(said)
        told = {column: place(levels[column], level) for column, level in said["who"].items()}
        if "moments" in said:
            value = None if said["n"] is None else tuple(said["n"])
            yield Statement(Moments(said["moments"], tuple(sorted(told.items()))), value, Rank.COLUMN, paths)
            continue
        picks = {column: PRESENT for column in said.get("present", [])} | told
        rank = Rank.MODEL if not paths else Rank.CELL if said["who"] else Rank.TOTAL if paths == (("n",),) else Rank.COLUMN
        yield Statement(tuple(sorted(picks.items())), said["n"], rank, paths)


def paths_of(said: dict[str, Any]) -> tuple[Path, ...]:
    """Where the result says it: nowhere, in one place, or a mean and an sd in two."""
    match said["at"]:
        case None:
            return ()
        case [[*_], *_] as several:
            return tuple(tuple(path) for path in several)
        case path:
            return (tuple(path),)


def note_levels(result: Result, levels: Levels) -> None:
    """Adds the columns and levels of a result that nobody agreed on beforehand, in the order in which they stand there."""
    if "where" in result:
        levels.setdefault(_condition(result), ["yes", "no"])
    match result["kind"]:
        case "table":
            for column in result["by"]:
                levels.setdefault(column, [])
                for cell in result["cells"]:
                    place(levels[column], cell[column])
        case "describe":
            for column, about in sorted(result["columns"].items()):
                names = levels.setdefault(column, [])
                for name in sorted(about.get("levels", {})):
                    place(names, name)
        case "glm":
            for column in _model_columns(result):
                levels.setdefault(column, [])
            for implied in result.get("implied_counts", []):
                for factor in implied["factors"]:
                    place(levels[factor["column"]], factor["level"])
                for outcome in _outcome_levels(implied):
                    place(levels[implied["outcome"]], outcome)
    for said in result.get("said", []):
        for column in (*said.get("present", []), *said["who"]):
            levels.setdefault(column, [])
        for column, level in said["who"].items():
            place(levels[column], level)


def fill_in(result: Result, levels: Levels) -> None:
    """Adds the cells and levels that a result leaves unsaid because nobody is in them: an empty cell is a small cell."""
    if result["kind"] == "describe":
        for column, about in result["columns"].items():
            if "levels" in about:
                said = {place(levels[column], name) for name in about["levels"]}
                about["levels"].update({name: 0 for at, name in enumerate(levels[column]) if at not in said})
        return
    filled = {tuple(place(levels[column], cell[column]) for column in result["by"]) for cell in result["cells"]}
    for places in itertools.product(*(range(len(levels[column])) for column in result["by"])):
        if places not in filled:
            names = {column: levels[column][at] for column, at in zip(result["by"], places, strict=True)}
            result["cells"].append({**names, "n": 0})


def place(names: list[str], value: Any) -> int:
    """Where a level stands in `names`; added at the end when it is new. 1, 1.0 and "1" are one level, and the 1 of a boolean is "True"."""
    text = str(value)
    if {text, *names} <= {"0", "1", "False", "True"} and "True" in names:
        text = {"0": "False", "1": "True"}.get(text, text)
    if text not in names:
        same = [name for name in names if _number(name) is not None and _number(name) == _number(text)]
        if same:
            return names.index(same[0])
        names.append(text)
    return names.index(text)


def numbers(names: list[str]) -> list[float] | None:
    """The levels as numbers; None unless all of them are."""
    values = [value for name in names if (value := _number(name)) is not None]
    return values if values and len(values) == len(names) else None


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _present(columns: list[str]) -> Who:
    return tuple((column, PRESENT) for column in sorted(columns))


def _table(result: Result, levels: Levels) -> Iterator[Statement]:
    by = sorted(result["by"])
    yield Statement(_present(by), result["n"], Rank.TOTAL, (("n",),))
    for number, cell in enumerate(result["cells"]):
        who = tuple((column, place(levels[column], cell[column])) for column in by)
        yield Statement(who, cell["n"], Rank.CELL, (("cells", number, "n"),))


def _description(result: Result, levels: Levels) -> Iterator[Statement]:
    yield Statement((), result["n"], Rank.TOTAL, (("n",),))
    for column, about in sorted(result["columns"].items()):
        at = ("columns", column)
        yield Statement(((column, PRESENT),), about["n"], Rank.COLUMN, ((*at, "n"),))
        yield Statement(((column, MISSING),), about["missing"], Rank.COLUMN, ((*at, "missing"),))
        for name, value in sorted(about.get("levels", {}).items(), key=lambda level: place(levels[column], level[0])):
            yield Statement(((column, place(levels[column], name)),), value, Rank.LEVEL, ((*at, "levels", name),))
        if "mean" in about:
            value = None if about["mean"] is None else (about["mean"], about["sd"])
            yield Statement(Moments(column), value, Rank.COLUMN, ((*at, "mean"), (*at, "sd")))


def _model(result: Result, levels: Levels) -> Iterator[Statement]:
    """Only people with all columns of a model are in it."""
    columns = _model_columns(result)
    if columns:
        yield Statement(_present(columns), result["n"], Rank.TOTAL, (("n",),))
    for implied in result.get("implied_counts", []):
        factors = {factor["column"]: place(levels[factor["column"]], factor["level"]) for factor in implied["factors"]}
        for value, level in zip(("0", "1"), _outcome_levels(implied), strict=True):
            exact = {**factors, implied["outcome"]: place(levels[implied["outcome"]], level)}
            who = tuple((column, exact.get(column, PRESENT)) for column in columns)
            yield Statement(who, implied[f"outcome{value}"], Rank.MODEL, ())


def _outcome_levels(implied: dict[str, Any]) -> list[str]:
    """What tables call the 0 and the 1 of a model's outcome."""
    return list(implied.get("outcome_levels", ("0", "1")))


def _model_columns(result: Result) -> list[str]:
    named = set(result.get("columns", []))
    for implied in result.get("implied_counts", []):
        named |= {implied["outcome"], *(factor["column"] for factor in implied["factors"])}
    return sorted(named)
