"""Attacks that swap what is asked for what is known, and attacks that read the refusals: each found one patient's value or a sum of few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.joint_jobs import NAMES
from tests.unit.test_attacks_on_analyses import ALL_BUT_THE_VICTIM, VICTIM, Attacker, hospitals
from tests.unit.test_attacks_together import ABOVE, BELOW, DESCRIBE, GAUSSIAN, TABLE, changed, refused


@pytest.mark.parametrize(
    "questions",
    [
        [{**GAUSSIAN, "formula": "age ~ cost"}, {**DESCRIBE, "where": "age > 0.5"}],
        [{**GAUSSIAN, "formula": "hiv ~ cost + age"}, {**DESCRIBE, "where": "age > 0.5"}],
        [{**GAUSSIAN, "formula": "age ~ hiv"}, {**TABLE, "where": "age > 0.5"}],
        [{**GAUSSIAN, "formula": "age ~ 1", "weights": "cost"}, {**DESCRIBE, "where": "age > 0.5"}],
        [{**GAUSSIAN, "formula": "hiv ~ age", "offset": "cost"}, {**DESCRIBE, "where": "age > 0.5"}],
        [{"kind": "glm", "family": "poisson", "formula": "age ~ sex"}, {**TABLE, "by": ["sex"], "where": "age > 0.5"}],
        [{"kind": "table1", "columns": ["age"], "by": "hiv"}, {**TABLE, "where": "age > 0.5"}],
        [{"kind": "describe", "columns": ["age"], "where": "hiv = 1"}, {**TABLE, "where": "age > 0.5"}],
        [
            {**GAUSSIAN, "formula": "cost ~ age"},
            {"kind": "meta", "analysis": "1.0", "term": "age"},
            {"kind": "meta", "analysis": "1.0", "term": "Intercept"},
            {**DESCRIBE, "where": "age > 0.5"},
        ],
    ],
    ids=lambda questions: " - ".join(str(one["kind"]) for one in questions),
)
def test_a_sum_is_one_over_either_column(tmp_path: Path, questions: list[dict[str, Any]]) -> None:
    """Everybody was there never or once, the victim twice. The mean age of those with hiv is a sum over hiv, weighted by age."""
    attacker = Attacker(tmp_path, changed(lambda table: table.assign(age=(table.index % 2).astype(float)), age=2.0))
    assert any(refused(attacker.ask(*questions)))


def test_mean_and_sd_of_three_values_are_counts(tmp_path: Path) -> None:
    """In one question: of zeros, ones and one two, the sum and the squares by hiv tell who has the two."""
    tables = changed(lambda table: table.assign(age=(table.index % 2).astype(float)), age=2.0)
    found = Attacker(tmp_path, tables).ask({"kind": "table1", "columns": ["age", "cost"], "by": "hiv"})[0]
    assert found["reasons"] == ["remembered-together"]


def test_means_of_a_skewed_column_are_answered(tmp_path: Path) -> None:
    """What stays possible: costs of which a few are far larger than the others."""
    found = Attacker(tmp_path, hospitals()).ask(
        {"kind": "table1", "columns": ["age", "cost", "hiv"], "by": "sex"}, {**GAUSSIAN, "formula": "cost ~ age + sex + ward"},
        {**DESCRIBE, "where": "sex = 'F'"}, {"kind": "ttest", "column": "cost", "by": "sex"},
    )  # fmt: skip
    assert not any(refused(found))


@pytest.mark.parametrize("largest", [9_876.5, 9_876.4, 7_000.0])
def test_the_largest_value_is_not_found_by_bisection(tmp_path: Path, largest: float) -> None:
    """Nobody above a bound is an answer, and few above it a refusal: closing in on the two, whoever asks would have the largest cost."""
    attacker = Attacker(tmp_path, changed(lambda table: table, cost=largest))
    attacker.ask({"kind": "count"})
    bounds = [12_000, *np.linspace(9_876.35, 9_876.55, 5)]
    found = [attacker.ask({"kind": "count", "where": f"cost <= {bound}"})[0] for bound in bounds]
    assert refused(found) == [False] + [True] * 5


def test_the_tenth_largest_is_not_found_by_bisection(tmp_path: Path) -> None:
    """Nine people are left out, ten are answered: between the two bounds lies somebody's exact cost."""
    tables = hospitals()
    costs = np.sort(pd.concat(tables.values()).cost)
    attacker = Attacker(tmp_path, tables)
    above, tenth = costs[-9:].min() - 1e-6, costs[-10]
    found = [attacker.ask({"kind": "count", "where": f"cost >= {bound}"})[0] for bound in (above, tenth + 1e-6, tenth - 1e-6)]
    assert found[0]["reasons"] == ["smallest-cell"] and all("remembered" in one["reasons"][0] for one in found[1:])


@pytest.mark.parametrize(
    "asked",
    [
        lambda time: {"kind": "kaplan_meier", "time": "cost", "event": "hiv", "grid": [time, 1500, 2500]},
        lambda time: {"kind": "cox", "time": "cost", "event": "hiv", "formula": "sex", "strata": "none", "grid": [time, 1500, 2500]},
        lambda time: {"kind": "histogram", "column": "cost", "edges": [0, 800, 1200, 9_870 if time > 471 else 9_900, 20_000]},
    ],
    ids=["kaplan_meier", "cox", "histogram"],
)
def test_no_exact_time_is_found_by_moving_one_of_a_grid(tmp_path: Path, asked: Any) -> None:
    """Where the tenth event lies before the time, the time is kept, and otherwise it is put together with the next."""
    tables = hospitals()
    people = pd.concat(tables.values())
    tenth = float(people[people.hiv == 1].cost.sort_values().iloc[9])
    attacker = Attacker(tmp_path, tables)
    found = [attacker.ask(asked(tenth + step))[0] for step in (5, -5, 1e-3, -1e-3)]
    assert refused(found)[:2] == [False, True] and (refused(found) == [False, True, True, True] or "histogram" in found[0]["kind"])


def test_the_same_grid_is_asked_of_groups(tmp_path: Path) -> None:
    """What stays possible: one grid with few people between its times, in several analyses."""
    curve = {"kind": "kaplan_meier", "time": "cost", "event": "hiv", "grid": [700, 1_000, 1_400, 1_800]}
    found = Attacker(tmp_path, hospitals()).ask(
        curve, {**curve, "by": "sex"}, {**curve, "kind": "logrank", "by": "sex"}, {"kind": "histogram", "column": "age"},
        {**curve, "where": "sex = 'F'"}, {"kind": "histogram", "column": "age", "where": "sex = 'F'"},
    )  # fmt: skip
    assert not any(refused(found))


def test_bands_of_whole_years_are_answered(tmp_path: Path) -> None:
    """What stays possible: nobody lies between 59 and 60."""
    tables = changed(lambda table: table.assign(age=table.age.round()))
    where = ["age < 50", "age BETWEEN 50 AND 59", "age BETWEEN 60 AND 69", "age >= 70", "age > 59"]
    assert not any(refused(Attacker(tmp_path, tables).ask(*({**DESCRIBE, "where": one} for one in where))))


@pytest.mark.parametrize(
    "kind",
    [{**TABLE, "by": ["hiv", "ward"]}, {"kind": "table1", "columns": ["cost"], "by": "ward"}, {**GAUSSIAN, "formula": "cost ~ ward"}],
    ids=lambda kind: str(kind["kind"]),
)
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0]])
def test_a_few_of_one_level_are_left_over(tmp_path: Path, kind: dict[str, Any], order: list[int]) -> None:
    """Thirty people are in neither group, but three of ward a: all less the two groups is a sum of three, which may be 0 or 3."""
    tables = hospitals()
    for table in tables.values():
        table.loc[:9, "band"] = "that"
        table.loc[:9, "ward"] = ["a", *"bbbbccccc"]
    found = Attacker(tmp_path, tables).ask(*({**kind, "where": ("age > 0", BELOW, ABOVE)[one]} for one in order))
    assert refused(found) == [False, False, True]


@pytest.mark.parametrize("hiv", [0, 1])
@pytest.mark.parametrize("cost", [500.0, VICTIM["cost"]])
def test_a_refusal_tells_neither_of_two_values(tmp_path: Path, hiv: int, cost: float) -> None:
    """Two columns that the attacker does not know: as if everybody had the same in one of them, the other alone would decide."""
    both = "hiv = 1 and cost > 1200"
    found = Attacker(tmp_path, changed(lambda table: table, hiv=hiv, cost=cost)).ask(
        {"kind": "count", "where": both}, {"kind": "count", "where": f"{both} and {ALL_BUT_THE_VICTIM}"}
    )
    assert [one.get("reasons") for one in found] == [None, ["remembered-together"]]
    assert NAMES[0] in found[0]["hospitals"]


@pytest.mark.parametrize("formula", ["cost ~ age", "cost ~ sex + age"])
def test_a_model_that_one_person_leads(tmp_path: Path, formula: str) -> None:
    """The line passes where the victim is, whose age lies far out: the fitted value is the cost."""
    tables = changed(lambda table: table, age=900.0)
    assert Attacker(tmp_path, tables).ask({**GAUSSIAN, "formula": formula})[0]["reasons"] == ["dominance"]


def test_a_model_with_somebody_far_out_is_answered(tmp_path: Path) -> None:
    """What stays possible: an outlier that leads nothing."""
    tables = changed(lambda table: table, age=200.0)
    assert "refused" not in Attacker(tmp_path, tables).ask({**GAUSSIAN, "formula": "cost ~ age"})[0]
