"""What an answer adds up of a column's values: with which other columns, by the question alone.

The mean age of those with a disease is a sum over the disease as much as over the age, and a slope is one over outcome and predictor alike:
whichever of the two an attacker does not know. So for each column of a question the products of others with which its values are summed.
`weights` are those of an outcome, a correlation or a score; `swapped` those of a column that makes groups, selects rows or predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import filter, forms
from pumasi.analysis.memory import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

    Question = dict[str, Any]

Factor = tuple[str, str | None]  # a column as a number, or one of its levels
MODELS = ("glm", "cox", "meta")
# A model tells p standard errors, and its predictors have p (p - 1) / 2 products: one model of more than these is far from telling them.
MOST_PREDICTORS = 20


@dataclass(frozen=True)
class Weight:
    """The product of `factors`, of rows that have all of `present`; by the `hospital`, where an answer tells each by name."""

    factors: tuple[Factor, ...]
    present: tuple[str, ...]
    hospital: str | None = None

    def of(self, chosen: Frame, question: Question) -> NDArray[np.float64]:
        """One number per row of those that the question is about; NaN where it does not count."""
        found = np.ones(chosen.rows)
        with np.errstate(over="ignore", under="ignore"):
            for column, level in self.factors:
                found = found * (chosen.numbers(column) if level is None else chosen.codes(column, [level]) == 0)
        there = chosen.complete(self.present) >= 0
        if self.hospital is not None and self.hospital != question["here"]:
            there[:] = False
        return np.where(there, found, np.nan)


def weights(question: Question, column: str) -> list[Weight]:
    """Of a model of the column: its design columns, unless it only tells sums by level (memory.py). Their products with the outcome are
    what the coefficients say (McCullagh and Nelder, 1989, 2.5). Of a correlation: the other column; of a score: the score."""
    match question["kind"]:
        case "glm" | "cox" | "meta":
            model = _Model(question)
            if column not in (model.outcome, question.get("offset")) or (shape_of(question) and "weights" not in question):
                return []
            return model.weighing([one for one in model.columns if one or "weights" in question])
        case "correlation" if column in question["columns"]:
            return [Weight(((other, None),), (column, other)) for other in question["columns"] if other != column]
        case "brier" | "calibration" if column in (question["outcome"], question["score"]):
            both = (question["outcome"], question["score"])
            return [Weight(((other, None),), both) for other in both if other != column]
        case _:
            return []


def swapped(question: Question, column: str) -> list[Weight]:
    """The same where the column is no number that is added up, but says of whom others are."""
    if question["kind"] in MODELS:
        return _Model(question).swapped(column)
    selects = "filter" in question and column in filter.columns(question["filter"])
    if column != question.get("by") and not selects:
        return []
    groups: list[tuple[Factor, ...]] = [()]
    if isinstance(by := question.get("by"), str) and by != column:
        groups += [((by, level),) for level in question["levels"][by]]
    beside = tuple({factor[0] for group in groups for factor in group})
    found = []
    for name in _averaged(question):
        if name != column:
            found += [Weight((*group, *((name, None),) * power), (name, *beside)) for group in groups for power in (0, 1, 2)]
    return found


def _averaged(question: Question) -> list[str]:
    """The columns whose means are told."""
    match question["kind"]:
        case "describe" | "table1":
            names, two = question["columns"], question["two_valued"]
            counted = {name for name in names if question["levels"].get(name) and name in two}
            return [name for name in names if question["column_kinds"][name] == "number" and name not in counted]
        case "ttest" | "anova":
            return [question["column"]]
        case "correlation":
            return list(question["columns"])
        case "brier" | "calibration":
            return [question["score"], question["outcome"]]
        case _:
            return []


@dataclass(frozen=True)
class _Model:
    question: Question

    @property
    def outcome(self) -> str:
        return str(self.question["design"]["outcome"])

    @cached_property
    def columns(self) -> list[tuple[Factor, ...]]:
        """The design columns; () is the intercept."""
        columns = self.question["design"]["columns"]
        return [tuple((one["column"], one.get("level")) for one in column["factors"]) for column in columns]

    @property
    def complete(self) -> tuple[str, ...]:
        keys = forms.keys_of(self.question["kind"])
        beside = {self.question[key] for key in ("offset", "weights", "time") if key in keys and key in self.question}
        used = {name for column in self.columns for name, _ in column}
        return tuple(sorted({self.outcome, *used, *beside} - {forms.HOSPITAL}))

    def weighing(self, products: Iterable[tuple[Factor, ...]], *, column: str = "") -> list[Weight]:
        """By the model's own weights as well, unless these are the column in question."""
        weight = ((self.question["weights"], None),) if self.question.get("weights", column) != column else ()
        places = self.question.get("edges", []) if self.question["kind"] == "meta" else [None]
        return [Weight((*one, *weight), self.complete, place) for one in dict.fromkeys(products) for place in places]

    def swapped(self, column: str) -> list[Weight]:
        """Of a predictor: the outcome and the other predictors. Of a column that selects rows or weighs them: the predictors, and their
        products with the outcome. Only least squares and means by level are sums over such a column: of other families its values stand
        inside a curve, each person's with a factor of its own."""
        outcome: tuple[Factor, ...] = ((self.outcome, None),)
        if column == self.outcome or not (self.question.get("family") == "gaussian" or shape_of(self.question)):
            return []
        if any(column == name for one in self.columns for name, _ in one):
            rests = [tuple(factor for factor in one if factor[0] != column) for one in self.columns if column in dict(one)]
            offset = [((self.question["offset"], None),)] if "offset" in self.question else []
            beside = [one for one in self.columns if column not in dict(one)]
            others = [outcome, *offset, *(beside if len(beside) < MOST_PREDICTORS else [()])]
            return self.weighing((*rest, *other) for rest in rests for other in others)
        selects = "filter" in self.question and column in filter.columns(self.question["filter"])
        if not selects and column != self.question.get("weights"):
            return []
        return self.weighing([outcome, *self.columns, *((*one, *outcome) for one in self.columns)], column=column)


def cells(question: Question) -> list[set[str]]:
    """By the levels of which columns together an answer tells sums."""
    by = question.get("by")
    if isinstance(by, str):
        return [{by}]
    if by is not None:
        return [set(by)]
    if question["kind"] in MODELS:
        columns = [one for one in _Model(question).columns if one and all(level is not None for _, level in one)]
        return [found for one in columns if (found := {name for name, _ in one} - {forms.HOSPITAL})]
    return []
