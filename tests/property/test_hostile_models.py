"""One hospital that adds anything it likes to the sums of a model: the others get an answer or a sentence, and always an end."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis import methods, secure
from pumasi.analysis.frame import Terms
from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import Refused, Tampered
from pumasi.node.jobs.rounds import meant
from tests.analysis_models import frames, names, question
from tests.analysis_rounds import finished, split

LEVELS = {"arm": ["a", "b"]}
SURVIVAL: dict[str, Any] = {"time": "time", "event": "died"}
GRID = [2.0, 5, 10, 20, 40]
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "cox": ("cox", {**SURVIVAL, "formula": "age + arm"}),
    "cox cv": ("cox", {**SURVIVAL, "formula": "age", "ridge": "cv"}),
    "cox grid": ("cox", {**SURVIVAL, "formula": "age + arm", "strata": "none", "grid": GRID}),
    "curves": ("kaplan_meier", {**SURVIVAL, "grid": GRID, "by": "arm"}),
    "logrank": ("logrank", {**SURVIVAL, "grid": GRID, "by": "arm"}),
    "meta": ("meta", {"analysis": "m", "of": "glm", "family": "binomial", "formula": "died ~ age", "term": "age"}),
    "gamma": ("glm", {"family": "gamma", "formula": "cost ~ age + arm", "robust": "HC1", "compare": "cost ~ age", "offset": "log_time"}),
    "weights": ("glm", {"family": "poisson", "formula": "falls ~ age", "weights": "cost", "offset": "log_time"}),
    "ridge": ("glm", {"family": "gaussian", "formula": "cost ~ age", "ridge": "cv"}),
    "cluster": ("glm", {"family": "binomial", "formula": "died ~ age", "cluster": "hospital"}),
}
GARBAGE = st.one_of(
    st.sampled_from([0.0, -1.0, 1.0, 0.5, 1e15, -1e15, 2.0**59]), st.floats(-(2.0**50), 2.0**50, allow_nan=False), st.integers(-300, 300)
)


def people(rows: int = 400) -> pd.DataFrame:
    chance = np.random.default_rng(61)
    table = pd.DataFrame({"arm": pd.Categorical(chance.choice(["a", "b"], rows)), "age": chance.normal(60, 12, rows)})
    table["time"], table["died"] = np.ceil(chance.exponential(20, rows)), (chance.random(rows) < 0.6).astype(int)
    table["log_time"], table["cost"], table["falls"] = np.log(table["time"]), chance.gamma(2, 100, rows), chance.poisson(2, rows)
    return table


TABLES = split(people(), 4, seed=3)


@pytest.mark.parametrize("name", list(ASKED))
@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 9), lies=st.lists(GARBAGE, min_size=1, max_size=9), whole=st.booleans())
def test_a_hospital_that_lies_stops_nobody(name: str, at: int, lies: list[float], whole: bool) -> None:
    kind, fields = ASKED[name]
    asked = question(kind, TABLES, levels=LEVELS, **fields)
    try:
        found = answer(asked, at=at, lies=lies, whole=whole)
    except (Refused, Tampered) as told:  # what a share cannot carry, and what no people can be
        found = {"refused": told.reasons}
    json.dumps(found, allow_nan=False)
    assert not any(character.isdigit() for reason in found.get("refused", []) for character in reason), "a refusal holds no number"


def answer(asked: dict[str, Any], *, at: int, lies: list[float], whole: bool) -> dict[str, Any]:
    """The rounds of four hospitals, the last of which lies from round `at` on: in everything, or in some places."""
    method, terms = methods.KINDS[asked["kind"]], Terms(smallest_cell=5, hospitals=4)
    state = method.start(asked, terms)
    seen = list(zip(frames(TABLES, asked), names(TABLES), strict=True))
    for number in range(200):
        partials = [method.local(one, asked | {"here": here}, state).tolist() for one, here in seen]
        if number >= at:
            told = partials[-1]
            partials[-1] = [lies[place % len(lies)] if whole or place % 7 == at % 7 else told[place] for place in range(len(told))]
        total = secure.decode(secure.add(secure.encode(partial, hospitals=4) for partial in partials))
        if reasons := meant(partial(method.refusals, total, asked, state, terms)):
            return {"refused": reasons}
        state = parse_canonical(canonical(meant(partial(method.advance, total, asked, state, terms))))
        if state["step"] == "done":
            return finished(asked, state["result"]) if "result" in state else {"refused": state["refused"]}
    raise AssertionError("the rounds do not end")
