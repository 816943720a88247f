"""The memory of releases: no answer may differ from an earlier one by a group that is too small to be asked about.

Two answers about almost the same people, subtracted, are an answer about the few in whom they differ (a *difference attack*; with a group
of one's own making a *tracker*, Denning, Denning and Schwartz, TODS 4, 1979). So before a question is answered, whom it is about is
compared with whom each earlier one was about: every group of the one with every union of groups of the other, on sums over all hospitals.
Under one condition only missing values set answers apart; then fewer than three people (`FEWEST_LACKING`) are too few. What is remembered
is definitions, never people. Limits: docs/explanation/what-a-study-can-reveal.md; a changed source is noticed by its number of people.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import design, filter, forms
from pumasi.analysis.methods import KINDS
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_CELLS = 1_000  # of a model of levels; one of more is compared as one group
MOST_COMPARED = 200_000  # pairs of groups; a comparison is that many numbers on the wire
TOO_MANY = Refusal(
    "too-many-cells", "it has too many groups to be compared with earlier analyses of the same people; ask for fewer groups at once"
)
TOO_CLOSE = Refusal(
    "remembered-difference",
    "it is about almost the same people as an earlier analysis ('{}'), and the difference is a group that is too small; "
    "ask about the same people, or about clearly different ones, and leave those who lack a value out of both",
)
TOO_FEW_LACK = Refusal(
    "remembered-missing",
    "very few people lack a value in it that an earlier analysis ('{}') could do without, or the other way round, and the difference would "
    'show theirs; give both a condition that leaves them out, as in where = "age IS NOT NULL", or ask about fewer columns',
)
OTHER_SOURCE = Refusal(
    "remembered-source",
    "almost the same people were asked about before ('{}'), and a hospital's table has changed by a group that is too small since; "
    "ask again when it has changed by more",
)
OTHER_HOSPITALS = Refusal(
    "remembered-hospitals",
    "the same was asked of another set of hospitals before, some of which are in both ('{}'); the difference would show what few hospitals "
    "hold; ask the same hospitals as then",
)

# Their numbers are sums over people, so that two of them about one column can be subtracted whatever else they are about.
_SUMS = frozenset({"describe", "table1", "histogram", "quantiles", "ttest", "anova", "roc", "calibration", "brier"})

# People whom only missing values set apart from an analysis: of two, each can work out the other's value.
FEWEST_LACKING = 3

# Their counts are about intervals that the grid of each chooses, so that two grids tell who leaves between two of their times.
_CURVES = frozenset({"kaplan_meier", "logrank"})


@dataclass(frozen=True)
class Footprint:
    """Which rows one question is about at one hospital, whose they are, and in which group of each partition each is; -1 for none."""

    person: NDArray[np.intp]
    base: NDArray[np.bool_]
    partitions: list[NDArray[np.int64]]
    strata: dict[str, NDArray[np.int64]]  # the level of each row in every column by which the answer tells means (`_strata`)

    @property
    def people(self) -> int:
        return int(self.person.max(initial=-1)) + 1

    @staticmethod
    def of(frame: Frame, question: dict[str, Any]) -> Footprint:
        chosen = filter.seen(frame.numbered(np.arange(frame.rows)), question)
        rows = chosen.persons
        base = np.zeros(frame.rows, dtype=bool)
        base[rows] = True

        def placed(groups: NDArray[np.int64]) -> NDArray[np.int64]:
            everywhere = np.full(frame.rows, -1, dtype=np.int64)
            everywhere[rows] = groups
            return everywhere

        partitions = [placed(groups) for groups in groups_of(chosen, question)]
        strata = {name: placed(chosen.codes(name, levels)) for name, levels in _strata(question).items()}
        return Footprint(np.unique(frame.persons, return_inverse=True)[1].reshape(-1), base, partitions, strata)


def groups_of(chosen: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """The groups that an answer tells numbers of, in each partition: of a model of levels alone the cells of their table."""
    partitions = KINDS[question["kind"]].groups(chosen, question)
    if shape := shape_of(question):
        codes = tuple(chosen.codes(name, levels) for name, levels in _strata(question).items())
        return [np.where(partitions[0] < 0, -1, np.ravel_multi_index(codes, shape, mode="clip"))]
    return partitions


def is_the_same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether over two sets of hospitals the difference of two answers may be what the hospitals hold that are in one set only: they are
    about one column, or about none. Neither kind nor condition matters: coefficients tell means, and a condition may leave nobody out."""
    mine, theirs = set(now["reads"]), set(before["reads"])
    return bool(mine & theirs) or mine == theirs


def pairs(now: dict[str, Any], before: dict[str, Any]) -> list[tuple[int, int]]:
    """Which partitions of two questions are compared: those that share a column. Decided by the questions alone.

    Under one condition only missing values set two analyses apart. Counts and coefficients are then compared as wholes (`_by_whole`);
    correlations are no sums, and say nothing of the kind.
    """
    if _alike(now, before) and "correlation" in (now["kind"], before["kind"]):
        return []
    told = _named if _by_whole(now, before) else _summed if _alike(now, before) and now["kind"] in _SUMS else about
    mine, theirs = told(now), told(before)
    return [(i, j) for i, one in enumerate(mine) for j, other in enumerate(theirs) if one & other]


def _alike(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return bool(now.get("filter") == before.get("filter"))


def _by_whole(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether all that matters is who lacks a value: one condition, and not two sums about one column or two grids."""
    kinds = {now["kind"], before["kind"]}
    curves = all(one["kind"] in _CURVES or (one["kind"] == "cox" and "edges" in one) for one in (now, before))
    return _alike(now, before) and not kinds <= _SUMS and not curves


def about(question: dict[str, Any]) -> list[set[str]]:
    """The columns that each partition is about."""
    return _shared_out(question, set(question["reads"]))


def _named(question: dict[str, Any]) -> list[set[str]]:
    """The columns whose missing values leave people out of each partition: not those of the condition alone."""
    named: set[str] = set(design.named(question["design"])) - {forms.HOSPITAL} if "design" in question else set()
    for name, key in forms.keys_of(question["kind"]).items():
        if key.what in ("column", "columns") and name != "reads" and name in question:
            value = question[name]
            named |= {value} if isinstance(value, str) else set(value)
    return _shared_out(question, named)


def _shared_out(question: dict[str, Any], columns: set[str]) -> list[set[str]]:
    """For each partition its own column and those that all have in common."""
    count = len(group_counts(question))
    listed = question.get("columns", [])
    if len(listed) != count or question["kind"] == "correlation":
        return [columns] * count
    others = columns - set(listed)
    return [{name} | others for name in listed]


def _summed(question: dict[str, Any]) -> list[set[str]]:
    """The one column whose values each partition adds up: what makes its groups does not matter, and is judged by `suppression`."""
    count = len(group_counts(question))
    listed = question.get("columns") or [question.get("column", question.get("score"))] * count
    return [{name} for name in listed]


def sizes(now: dict[str, Any], before: dict[str, Any]) -> list[tuple[int, int]]:
    """The numbers of groups behind each pair of partitions."""
    mine, theirs = (group_counts(one) for one in (now, before))
    if _by_whole(now, before):
        mine, theirs = (counts if one["kind"] == "meta" else [1] * len(counts) for one, counts in ((now, mine), (before, theirs)))
    return [(mine[i], theirs[j]) for i, j in pairs(now, before)]


def _strata(question: dict[str, Any]) -> dict[str, list[str]]:
    """The columns, with their levels, by which an answer tells sums of its outcome: of a model without numbers every predictor."""
    if question["kind"] in ("table1", "ttest", "anova"):
        names = {question["by"]} if question.get("by") else set()
    else:
        factors = [factor for column in question.get("design", {}).get("columns", []) for factor in column["factors"]]
        names = {factor["column"] for factor in factors} if all("level" in factor for factor in factors) else set()
    known = question["levels"] | {forms.HOSPITAL: question["hospitals"]}
    return {name: list(known[name]) for name in sorted(names)}


def shape_of(question: dict[str, Any]) -> tuple[int, ...]:
    """The shape of the table that a model without numbers tells sums of; () for anything else."""
    shape = tuple(len(levels) for levels in _strata(question).values()) if question["kind"] == "glm" else ()
    return shape if math.prod(shape) <= MOST_CELLS else ()


def group_counts(question: dict[str, Any]) -> list[int]:
    shape = shape_of(question)
    return [math.prod(shape)] if shape else KINDS[question["kind"]].group_counts(question)


def _both_strata(now: dict[str, Any], before: dict[str, Any]) -> dict[str, list[str]]:
    """Those by which people are counted whom a missing value sets apart: where both answers tell sums by levels."""
    mine, theirs = (_strata(one) for one in (now, before))
    return mine | theirs if mine and theirs and _by_whole(now, before) else {}


def is_comparable(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return sum((i + 1) * (j + 1) for i, j in sizes(now, before)) <= MOST_COMPARED


def local(now: Footprint, before: Footprint, *, asked: tuple[dict[str, Any], dict[str, Any]], load: int) -> list[float]:
    """What this hospital adds: people of the table now and when it was asked before (`load`), then people by group of both."""
    partial = [float(now.people), float(load), *map(float, _crossed(now, before))]
    for (i, j), (rows, columns) in zip(pairs(*asked), sizes(*asked), strict=True):
        mine, theirs = _merged(now.partitions[i], rows), _merged(before.partitions[j], columns)
        partial += _crosstab(now.person, mine, theirs, rows=rows, columns=columns).ravel()[:-1].tolist()
    for (i, j), (name, levels) in itertools.product(pairs(*asked), _both_strata(*asked).items()):
        codes = now.strata[name] if name in now.strata else before.strata[name]
        here, there = now.partitions[i] >= 0, before.partitions[j] >= 0
        for lacking in (here & ~there, there & ~here):
            partial += [float(len(np.unique(now.person[lacking & (codes == place)]))) for place in range(len(levels))]
    return partial


def _merged(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """One group of all where there is to be one only, as when a partition is compared as a whole."""
    return groups if count > 1 else np.minimum(groups, 0)


def _crossed(now: Footprint, before: Footprint) -> tuple[int, int, int]:
    """People with a row in both answers, in the one alone, and only in the other alone: rows of a person are told apart as well."""
    apart = len(np.unique(now.person[now.base ^ before.base]))
    both, mine = (len(np.unique(now.person[rows])) for rows in (now.base & before.base, now.base & ~before.base))
    return both, mine, apart - mine


def _crosstab(
    person: NDArray[np.intp], now: NDArray[np.int64], before: NDArray[np.int64], *, rows: int, columns: int
) -> NDArray[np.float64]:
    """People by group now and group before; the last row and column are those in no group. A person in several places is in each."""
    places = np.where(now < 0, rows, now) * (columns + 1) + np.where(before < 0, columns, before)
    size = (rows + 1) * (columns + 1)
    found = np.unique(person * size + places) % size
    return np.bincount(found, minlength=size).astype(np.float64).reshape(rows + 1, columns + 1)


def length(now: dict[str, Any], before: dict[str, Any]) -> int:
    compared = sizes(now, before)
    strata = sum(2 * len(levels) for levels in _both_strata(now, before).values())
    return 5 + sum((i + 1) * (j + 1) - 1 + strata for i, j in compared)


def refusals(total: Sequence[float], now: dict[str, Any], before: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why the question may not be answered next to the earlier one."""
    values = [round(value) for value in total]
    people, load, both, mine, theirs = values[:5]
    if 0 < abs(people - load) < terms.smallest_cell and pairs(now, before):
        return [OTHER_SOURCE.about(before["name"])]
    close = both > 0 and 0 < mine + theirs < terms.smallest_cell
    whole, few = _by_whole(now, before), False
    at = 5
    for rows, columns in sizes(now, before):
        cells = (rows + 1) * (columns + 1) - 1
        table = np.array([*values[at : at + cells], 0]).reshape(rows + 1, columns + 1)
        if whole:
            few = few or _is_few([*table[:-1, -1], *table[-1, :-1]])
        else:
            close = close or _is_close(table, terms.smallest_cell) or _is_close(table.T, terms.smallest_cell)
        at += cells
    few = few or _is_few(values[at:])
    return [reason.about(before["name"]) for reason, found in ((TOO_CLOSE, close), (TOO_FEW_LACK, few)) if found]


def _is_few(lacking: Sequence[int]) -> bool:
    return any(0 < people < FEWEST_LACKING for people in lacking)


def _is_close(table: NDArray[np.int64], smallest: int) -> bool:
    """Whether a group (row) differs from some union of the other's groups (columns) by fewer people than may be asked about."""
    inside = table[:, :-1]
    others = inside.sum(axis=0)[np.newaxis, :] - inside  # of each column, those outside the row
    apart = np.minimum(inside[:-1], others[:-1]).sum(axis=1) + table[:-1, -1]
    touched = (inside[:-1] > others[:-1]).any(axis=1)
    large = table[:-1].sum(axis=1) >= smallest
    return bool(np.any(touched & large & (apart > 0) & (apart < smallest)))
