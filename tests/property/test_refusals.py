"""Whatever the data are: a refused analysis says codes of the closed list, and sentences in which nothing comes from the data.

The criterion is not that no digit stands there, for a study may name a column `death14`. A sentence must be one of those that stand in the
code, its places filled with words of the question: what is the same for all data tells nothing of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pumasi.analysis import methods, refusal, suppression
from pumasi.analysis.family import OUTCOMES
from pumasi.analysis.refusal import REASONS
from pumasi.kernel.errors import Refused
from tests.analysis_models import frames, names, question
from tests.analysis_rounds import summed
from tests.refusal_sentences import says_only

NUMBERS = ("age", "bmi", "cost", "visits", "days30", "risk", "died")
LEVELS: dict[str, list[str]] = {"arm": ["a", "b"], "ward": ["x", "y", "z"], **{name: [] for name in NUMBERS}}
GRID = [1.0, 2, 5, 10, 20, 40]
SURVIVAL: dict[str, Any] = {"time": "days30", "event": "died", "grid": GRID}
MODEL: dict[str, Any] = {"analysis": "m", "of": "glm", "family": "gaussian", "formula": "bmi ~ age", "term": "age"}
ASKED: list[dict[str, Any]] = [
    {"kind": "count"},
    {"kind": "describe", "columns": ["age", "bmi", "arm"]},
    {"kind": "table", "by": ["arm", "ward"]},
    {"kind": "table1", "by": "arm", "columns": ["age", "ward"]},
    {"kind": "histogram", "column": "age"},
    {"kind": "histogram", "column": "age", "edges": [20, 40, 60, 80]},
    {"kind": "quantiles", "columns": ["age", "bmi"], "q": [0.25, 0.5]},
    {"kind": "correlation", "columns": ["age", "bmi", "cost"]},
    {"kind": "ttest", "column": "age", "by": "arm"},
    {"kind": "anova", "column": "age", "by": "ward"},
    {"kind": "glm", "family": "binomial", "formula": "died ~ age + arm"},
    {"kind": "glm", "family": "binomial", "formula": "died ~ arm * ward", "cluster": "hospital"},
    {"kind": "glm", "family": "gaussian", "formula": "age ~ bmi + cost + ward", "ridge": "cv"},
    {"kind": "glm", "family": "poisson", "formula": "visits ~ bmi", "weights": "cost", "offset": "age"},
    {"kind": "glm", "family": "gamma", "formula": "cost ~ age + bmi", "robust": "HC1"},
    {"kind": "cox", "time": "days30", "event": "died", "formula": "age + arm"},
    {"kind": "cox", **SURVIVAL, "formula": "age", "strata": "none"},
    {"kind": "kaplan_meier", **SURVIVAL, "by": "arm"},
    {"kind": "logrank", **SURVIVAL, "by": "arm"},
    {"kind": "roc", "score": "risk", "outcome": "died"},
    {"kind": "calibration", "score": "risk", "outcome": "died"},
    {"kind": "brier", "score": "risk", "outcome": "died"},
    {"kind": "meta", **MODEL},
]


def people(rows: int, seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"who": np.arange(rows), "age": chance.normal(60, 12, rows), "bmi": chance.normal(25, 4, rows)})
    table["arm"] = pd.Series(chance.choice(["a", "b"], rows), dtype=object)
    table["ward"] = pd.Series(chance.choice(["x", "y", "z"], rows), dtype=object)
    table["cost"], table["visits"] = chance.gamma(2, 100, rows), chance.poisson(2, rows).astype(float)
    table["days30"], table["risk"] = np.ceil(chance.exponential(15, rows)), chance.uniform(0.05, 0.95, rows)
    return table.assign(died=(chance.random(rows) < table["risk"]).astype(float))


SPOILED: dict[str, Any] = {
    "the same for all": lambda values: np.full(len(values), 41.75),
    "nothing": lambda values: np.full(len(values), np.nan),
    "zero": lambda values: np.zeros(len(values)),
    "one": lambda values: np.ones(len(values)),
    "two values": lambda values: np.where(np.arange(len(values)) % 2, 3.0, 7.5),
    "few differ": lambda values: np.where(np.arange(len(values)) < 3, 1.0, 0.0),
    "few missing": lambda values: np.where(np.arange(len(values)) < 2, np.nan, values),
    "one far out": lambda values: np.where(np.arange(len(values)) < 1, 987654.0, values),
    "infinite": lambda values: np.where(np.arange(len(values)) < 1, np.inf, values),
    "huge": lambda values: values * 1e31,
    "tiny": lambda values: values * 1e-200,
    "negative": lambda values: -values,
    "rising": lambda values: np.arange(len(values), dtype=float),
    "another unit": lambda values: np.where(np.arange(len(values)) % 3 == 0, values * 2.2046, values),
}
COPIED = ("age", "bmi", "risk", "died")


@st.composite
def tables(draw: st.DrawFn) -> list[pd.DataFrame]:
    """The rows of one to four hospitals, most of them spoiled in some way."""
    table = people(draw(st.sampled_from([0, 1, 4, 9, 25, 60, 150, 400])), draw(st.integers(0, 99)))
    for name in draw(st.lists(st.sampled_from(NUMBERS), max_size=3, unique=True)):
        table[name] = SPOILED[draw(st.sampled_from(sorted(SPOILED)))](table[name].to_numpy(dtype=float))
    if draw(st.booleans()) and draw(st.booleans()):
        one, other = draw(st.permutations(COPIED))[:2]
        table[one] = table[other] if draw(st.booleans()) else (table[other] > table[other].mean()).astype(float)
    match draw(st.sampled_from(["", "", "marker", "one level", "rows"])):
        case "marker" if len(table):
            table.loc[0, draw(st.sampled_from(["arm", "ward"]))] = "MARKER-77"
        case "one level":
            table["arm"] = "a"
        case "rows":
            table["who"] //= 3
    hospitals = draw(st.integers(1, 4))
    cut = sorted(draw(st.lists(st.integers(0, len(table)), min_size=hospitals - 1, max_size=hospitals - 1)))
    return [table.iloc[low:high] for low, high in zip([0, *cut], [*cut, len(table)], strict=True)]


def words(asked: dict[str, Any]) -> set[str]:
    """What the study wrote: columns, terms, its own options and names."""
    terms = {column["name"] for column in asked.get("design", {}).get("columns", [])}
    family = {asked["family"], OUTCOMES[asked["family"]]} if "family" in asked else set()
    return LEVELS.keys() | terms | family | {asked["name"], asked["kind"]}


def released(asked: dict[str, Any], parts: list[pd.DataFrame], *, smallest_cell: int) -> dict[str, Any]:
    """What a node holds for release after the rounds and the suppression."""
    own = [asked | {"here": here} for here in names(parts)]
    try:
        found = summed(asked, frames(parts, asked, person="who"), smallest_cell=smallest_cell, each=own)
    except Refused as error:
        found = refusal.told(refusal.typed(error))
    head = {key: asked[key] for key in ("name", "kind", "table", "by") if key in asked}
    levels = {("t", name): some for name, some in LEVELS.items()}
    return suppression.protect([head | found], earlier=[], levels=levels, smallest_cell=smallest_cell, repeated_people=False)[0]


def test_all_methods_are_asked() -> None:
    assert {one["kind"] for one in ASKED} == set(methods.KINDS)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(str(value) for value in list(asked.values())[:3]))
@settings(max_examples=25, deadline=None)
@given(parts=tables(), smallest_cell=st.sampled_from([5, 10]))
def test_a_refusal_has_a_reason_and_says_nothing_of_the_data(asked: dict[str, Any], parts: list[pd.DataFrame], smallest_cell: int) -> None:
    fields = {key: value for key, value in asked.items() if key != "kind"}
    plain = question(asked["kind"], parts, levels=LEVELS, **fields)
    found = released(plain, parts, smallest_cell=smallest_cell)
    event("refused" if "refused" in found else "answered")
    if "refused" not in found:
        assert "reasons" not in found
        return
    reasons = refusal.read(found)  # as many codes as sentences, all of the list
    assert reasons
    for reason in reasons:
        event(reason.reason)
        assert says_only(reason, words(plain)), reason
    assert set(found) <= {"name", "kind", "table", "by", "rounds", "refused", "reasons"}


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(str(value) for value in list(asked.values())[:3]))
def test_every_method_refuses_a_few_people_and_does_not_say_how_few(asked: dict[str, Any]) -> None:
    """In the same words whoever and however few they are."""
    fields = {key: value for key, value in asked.items() if key != "kind"}
    told = []
    for rows, seed in ((1, 1), (2, 5), (4, 2), (6, 3)):
        table = people(rows, seed)
        parts = [table.iloc[:1], table.iloc[1:], table.iloc[:0]]
        plain = question(asked["kind"], parts, levels=LEVELS, **fields)
        told.append(released(plain, parts, smallest_cell=10))
    if asked["kind"] in ("describe", "table"):  # they keep their form and lose their counts
        assert all("refused" not in one for one in told)
        return
    assert all(one["refused"] == told[0]["refused"] and one["reasons"] == told[0]["reasons"] for one in told), told


def test_the_criterion_finds_what_comes_from_the_data() -> None:
    """The checks of this file do fail for a number, for a value and for a code that belongs to another sentence."""
    small = REASONS["smallest-cell"]
    assert small.english and small.korean
    sentence = "a group of '{}' has fewer people with a value than the smallest cell allows; merge levels"
    made = refusal.Refusal("smallest-cell", sentence)
    assert says_only(made.about("arm"), {"arm"})
    assert not says_only(made.about("MARKER-77"), {"arm"})
    assert not says_only(refusal.Refusal("smallest-cell", "a group of 'arm' has 7 people"), {"arm"})
    assert not says_only(refusal.Refusal("dominance", made.about("arm")), {"arm"})
