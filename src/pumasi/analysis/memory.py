"""The memory of releases: no answer may differ from an earlier one by a group that is too small to be asked about.

Two answers about almost the same people, subtracted, are an answer about the few in whom they differ (a *difference attack*; with a group
of one's own making a *tracker*, Denning, Denning and Schwartz, TODS 4, 1979). So before a question is answered, whom it is about is
compared with whom each earlier one was about: every group of the one with every union of groups of the other, on sums over all hospitals.
What is remembered is definitions, never people. Limits: three answers that only together single somebody out are not found here (counts
are, by `suppression`); a changed source is noticed by its number of people only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import filter
from pumasi.analysis.methods import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms

MOST_COMPARED = 200_000  # pairs of groups; a comparison is that many numbers on the wire
TOO_MANY = "it has too many groups to be compared with earlier analyses of the same people; ask for fewer groups at once"
TOO_CLOSE = (
    "it is about almost the same people as an earlier analysis ('{}'), and the difference is a group that is too small; "
    "ask about the same people, or about clearly different ones"
)
OTHER_SOURCE = (
    "almost the same people were asked about before ('{}'), and a hospital's table has changed by a group that is too small since; "
    "ask again when it has changed by more"
)
OTHER_HOSPITALS = "the same was asked of almost the same hospitals before ('{}'); the difference would show what few hospitals hold"

# Their numbers are sums over people, so that two of them about one column can be subtracted whatever else they are about.
_SUMS = frozenset({"describe", "table1", "histogram", "quantiles", "ttest", "anova", "roc", "calibration", "brier"})

# Their counts are about intervals that the grid of each chooses, so that two grids tell who leaves between two of their times.
_CURVES = frozenset({"kaplan_meier", "logrank"})


@dataclass(frozen=True)
class Footprint:
    """Whom one question is about at one hospital: who passes its condition, and who is in which group of each partition."""

    people: int
    base: NDArray[np.bool_]
    members: list[tuple[NDArray[np.intp], NDArray[np.int64]]]  # (person, group), each pair once

    @staticmethod
    def of(frame: Frame, question: dict[str, Any]) -> Footprint:
        dense = np.unique(frame.persons, return_inverse=True)[1].reshape(-1)
        numbered = frame.numbered(dense)
        chosen = filter.seen(numbered, question)
        people = int(dense.max()) + 1 if frame.rows else 0
        base = np.zeros(people, dtype=bool)
        base[chosen.persons] = True
        members = []
        for groups in KINDS[question["kind"]].groups(chosen, question):
            inside = groups >= 0
            pairs = np.unique(np.stack((chosen.persons[inside], groups[inside])), axis=1)
            members.append((pairs[0].astype(np.intp), pairs[1]))
        return Footprint(people, base, members)


def is_the_same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether two questions ask the same of whatever hospitals they are put to: word for word, or sums about one column of the same
    rows. Over two sets of hospitals their difference is then what the hospitals hold that are in one set only."""
    if now.get("filter") != before.get("filter"):
        return False
    if not {now["kind"], before["kind"]} <= _SUMS | {"count", "table", "correlation"}:
        return _asked(now) == _asked(before)
    mine, theirs = _about(now), _about(before)
    return any(one & other or one == other for one in mine for other in theirs)


def _asked(question: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in question.items() if key not in ("name", "where", "here", "hospitals", "edges")}


def pairs(now: dict[str, Any], before: dict[str, Any]) -> list[tuple[int, int]]:
    """Which partitions of two questions are compared: those that share a column. Decided by the questions alone.

    Under one condition only sums of one column and counts on two grids can be subtracted; other counts are judged by `suppression`,
    and neither a model's coefficients nor correlations are sums. That a row lacks a value is then the only difference there is.
    """
    alike = now.get("filter") == before.get("filter")
    kinds = {now["kind"], before["kind"]}
    if alike and not kinds <= _SUMS and not kinds <= _CURVES:
        return []
    about = _summed if alike and kinds <= _SUMS else _about
    mine, theirs = about(now), about(before)
    return [(i, j) for i, one in enumerate(mine) for j, other in enumerate(theirs) if one & other]


def _about(question: dict[str, Any]) -> list[set[str]]:
    """The columns that each partition is about."""
    count = len(KINDS[question["kind"]].group_counts(question))
    listed = question.get("columns", [])
    reads = set(question["reads"])
    if len(listed) != count or question["kind"] == "correlation":
        return [reads] * count
    others = reads - set(listed)
    return [{name} | others for name in listed]


def _summed(question: dict[str, Any]) -> list[set[str]]:
    """The one column whose values each partition adds up: what makes its groups does not matter, and is judged by `suppression`."""
    count = len(KINDS[question["kind"]].group_counts(question))
    listed = question.get("columns") or [question.get("column", question.get("score"))] * count
    return [{name} for name in listed]


def sizes(now: dict[str, Any], before: dict[str, Any]) -> list[tuple[int, int]]:
    """The numbers of groups behind each pair of partitions."""
    mine, theirs = (KINDS[one["kind"]].group_counts(one) for one in (now, before))
    return [(mine[i], theirs[j]) for i, j in pairs(now, before)]


def is_comparable(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return sum((i + 1) * (j + 1) for i, j in sizes(now, before)) <= MOST_COMPARED


def local(now: Footprint, before: Footprint, *, asked: tuple[dict[str, Any], dict[str, Any]], load: int) -> list[float]:
    """What this hospital adds: people of the table now and when it was asked before (`load`), then people by group of both."""
    partial = [float(now.people), float(load), *map(float, _crossed(now.base, before.base))]
    for (i, j), (rows, columns) in zip(pairs(*asked), sizes(*asked), strict=True):
        partial += _crosstab(now.members[i], before.members[j], rows=rows, columns=columns).ravel()[:-1].tolist()
    return partial


def _crossed(now: NDArray[np.bool_], before: NDArray[np.bool_]) -> tuple[int, int, int]:
    return int(np.count_nonzero(now & before)), int(np.count_nonzero(now & ~before)), int(np.count_nonzero(before & ~now))


def _crosstab(
    now: tuple[NDArray[np.intp], NDArray[np.int64]], before: tuple[NDArray[np.intp], NDArray[np.int64]], *, rows: int, columns: int
) -> NDArray[np.float64]:
    """People by group now and group before; the last row and column are those in no group. A person in several groups is in each."""
    table = np.zeros((rows + 1, columns + 1))
    people = int(max([-1, *(int(who.max()) for who, _ in (now, before) if len(who))])) + 1
    starts = np.searchsorted(before[0], np.arange(people + 1))
    counts = (starts[1:] - starts[:-1])[now[0]] if len(now[0]) else np.zeros(0, dtype=np.intp)
    repeated = np.repeat(np.arange(len(now[0])), counts)
    within = np.arange(len(repeated)) - np.repeat(np.cumsum(counts) - counts, counts)
    partner = starts[now[0][repeated]] + within if len(repeated) else np.zeros(0, dtype=np.intp)
    np.add.at(table, (now[1][repeated], before[1][partner]), 1)
    np.add.at(table[:, columns], now[1][counts == 0], 1)
    np.add.at(table[rows], before[1][~np.isin(before[0], now[0])], 1)
    return table


def length(now: dict[str, Any], before: dict[str, Any]) -> int:
    return 5 + sum((i + 1) * (j + 1) - 1 for i, j in sizes(now, before))


def refusals(total: Sequence[float], now: dict[str, Any], before: dict[str, Any], terms: Terms) -> list[str]:
    """Why the question may not be answered next to the earlier one."""
    values = [round(value) for value in total]
    people, load, both, mine, theirs = values[:5]
    if 0 < abs(people - load) < terms.smallest_cell and pairs(now, before):
        return [OTHER_SOURCE.format(before["name"])]
    close = both > 0 and 0 < mine + theirs < terms.smallest_cell
    at = 5
    for rows, columns in sizes(now, before):
        cells = (rows + 1) * (columns + 1) - 1
        table = np.array([*values[at : at + cells], 0]).reshape(rows + 1, columns + 1)
        close = close or _is_close(table, terms.smallest_cell) or _is_close(table.T, terms.smallest_cell)
        at += cells
    return [TOO_CLOSE.format(before["name"])] if close else []


def _is_close(table: NDArray[np.int64], smallest: int) -> bool:
    """Whether a group (row) differs from some union of the other's groups (columns) by fewer people than may be asked about."""
    inside = table[:, :-1]
    others = inside.sum(axis=0)[np.newaxis, :] - inside  # of each column, those outside the row
    apart = np.minimum(inside[:-1], others[:-1]).sum(axis=1) + table[:-1, -1]
    touched = (inside[:-1] > others[:-1]).any(axis=1)
    large = table[:-1].sum(axis=1) >= smallest
    return bool(np.any(touched & large & (apart > 0) & (apart < smallest)))
