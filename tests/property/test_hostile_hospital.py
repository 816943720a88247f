"""One hospital that adds anything it likes to a sum: the others get an answer or a sentence, and always an end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis import design, methods, secure
from pumasi.analysis.frame import Terms
from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import Refused, Tampered
from tests.analysis_rounds import finished, frame, kind_of, split

LEVELS = {"arm": ["a", "b"], "died": ["0", "1"]}
MOST_ROUNDS = 200

ASKED: list[dict[str, Any]] = [
    {"kind": "count"},
    {"kind": "describe", "columns": ["age", "bmi", "arm"]},
    {"kind": "table", "by": ["arm", "died"]},
    {"kind": "table1", "by": "arm", "columns": ["age", "died"]},
    {"kind": "histogram", "column": "age", "edges": [40, 60, 80, 90]},
    {"kind": "histogram", "column": "age"},
    {"kind": "quantiles", "columns": ["age", "bmi"], "q": [0.25, 0.5]},
    {"kind": "correlation", "columns": ["age", "bmi"]},
    {"kind": "ttest", "column": "age", "by": "arm"},
    {"kind": "anova", "column": "bmi", "by": "arm"},
    {"kind": "roc", "score": "risk", "outcome": "died"},
    {"kind": "calibration", "score": "risk", "outcome": "died"},
    {"kind": "brier", "score": "risk", "outcome": "died"},
    {"kind": "glm", "family": "binomial", "formula": "died ~ age + arm"},
    {"kind": "glm", "family": "gaussian", "formula": "bmi ~ age + arm", "robust": "HC1"},
]


def people(rows: int = 240) -> pd.DataFrame:
    chance = np.random.default_rng(61)
    table = pd.DataFrame({"arm": chance.choice(["a", "b"], rows), "age": chance.normal(60, 12, rows), "bmi": chance.normal(25, 4, rows)})
    table["risk"] = chance.uniform(0.05, 0.95, rows)
    return table.assign(died=(chance.random(rows) < table["risk"]).astype(float))


TABLES = split(people(), 3)
FRAMES = [frame(table, LEVELS) for table in TABLES]
GARBAGE = st.one_of(
    st.just(0.0), st.sampled_from([-1.0, 1.0, 0.5, 1e15, -1e15]), st.floats(-(2.0**50), 2.0**50, allow_nan=False), st.integers(-300, 300)
)


def question(asked: dict[str, Any]) -> dict[str, Any]:
    kinds = {name: kind_of(TABLES[0][name]) for name in TABLES[0].columns}
    levels = {name: LEVELS.get(name, []) for name in kinds}
    plain = {"name": "it", "table": "t", **asked, "column_kinds": kinds, "levels": levels, "two_valued": ["died"]}
    return plain | ({"design": design.compile(asked["formula"], kinds=kinds, levels=levels)} if "formula" in asked else {})


def answer(asked: dict[str, Any], *, at: int, lies: list[float], whole: bool) -> dict[str, Any]:
    """The rounds of three hospitals, the last of which lies in round `at`: in everything, or in some places."""
    plain, method, terms = question(asked), methods.KINDS[asked["kind"]], Terms(smallest_cell=10, hospitals=3)
    state = method.start(plain, terms)
    for number in range(MOST_ROUNDS):
        partials = [method.local(one, plain, state).tolist() for one in FRAMES]
        if number >= at:
            told = partials[-1]
            partials[-1] = [lies[place % len(lies)] if whole or place % 7 == at % 7 else told[place] for place in range(len(told))]
        total = secure.decode(secure.add(secure.encode(partial, hospitals=3) for partial in partials))
        if reasons := method.refusals(total, plain, state, terms):
            return {"refused": reasons}
        state = parse_canonical(canonical(method.advance(total, plain, state, terms)))
        if state["step"] == "done":
            return finished(plain, state["result"]) if "result" in state else {"refused": state["refused"]}
    raise AssertionError("the rounds do not end")


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked['kind']}{len(asked)}")
@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 8), lies=st.lists(GARBAGE, min_size=1, max_size=9), whole=st.booleans())
def test_a_hospital_that_lies_stops_nobody(asked: dict[str, Any], at: int, lies: list[float], whole: bool) -> None:
    try:
        found = answer(asked, at=at, lies=lies, whole=whole)
    except (Refused, Tampered) as told:  # what a share cannot carry, and what no people can be
        found = {"refused": told.reasons}
    json.dumps(found, allow_nan=False)
    for reason in found.get("refused", []):
        assert not any(character.isdigit() for character in reason), "a refusal holds no number"
