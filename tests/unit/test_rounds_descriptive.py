"""Every descriptive method as a whole job between three hospitals: questions as a study writes them, results as they are released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.joint_jobs import Joint, dealt, patients, results

P = {"table": "patients"}
QUESTIONS: list[dict[str, Any]] = [
    {"name": "n", "kind": "count", **P},
    {"name": "old", "kind": "count", **P, "where": "age >= 70"},
    {"name": "t", "kind": "table", **P, "by": ["death14", "aspirin", "conscious"]},
    {"name": "t1", "kind": "table1", **P, "by": "aspirin", "columns": ["age", "conscious", "death14"]},
    {"name": "h", "kind": "histogram", **P, "column": "age", "edges": [40, 50, 60.5, 70, 80, 100]},
    {"name": "hb", "kind": "histogram", **P, "column": "age", "bins": 8},
    {"name": "q", "kind": "quantiles", **P, "columns": ["age"], "q": [0.25, 0.5, 0.75]},
    {"name": "tt", "kind": "ttest", **P, "column": "age", "by": "aspirin"},
    {"name": "a", "kind": "anova", **P, "column": "age", "by": "conscious"},
    {"name": "r", "kind": "roc", **P, "score": "age", "outcome": "death14"},
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked["name"])
def test_a_question_alone_is_answered(tmp_path: Path, asked: dict[str, Any]) -> None:
    (found,) = results(Joint(tmp_path, dealt(3), [asked]).sealed()["바다병원"])
    assert "refused" not in found, found["refused"]
    assert not {"said", "repeated_people", "implied_counts"} & set(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    pooled = patients()
    match asked["kind"]:
        case "count":
            assert found["n"] == (900 if asked["name"] == "n" else int((pooled["age"] >= 70).sum()))
        case "table":
            assert found["cells"][0].keys() == {"death14", "aspirin", "conscious", "n"} and found["cells"][0]["aspirin"] == 0
            assert [test["death14"] for test in found["tests"]] == [0, 1]
        case "table1":
            assert found["groups"][1]["columns"]["age"]["mean"] == pytest.approx(pooled["age"][pooled["aspirin"] == 1].mean())
            assert 0 <= found["comparison"]["conscious"]["p"] <= 1
        case "quantiles":
            one = found["columns"]["age"]["quantiles"][1]
            assert one["lower"] <= float(np.quantile(pooled["age"], 0.5)) <= one["upper"]
        case "ttest" | "anova":
            assert 0 <= found["welch"]["p"] <= 1
        case "roc":
            assert found["bounds"]["auroc"][0] < found["estimates"]["auroc"] < found["bounds"]["auroc"][1] and found["curve"]


def test_all_of_them_together_are_answered_or_refused_in_sentences(tmp_path: Path) -> None:
    found = results(Joint(tmp_path, dealt(3), QUESTIONS).sealed()["바다병원"])
    assert len(found) == len(QUESTIONS)
    refused = {one["name"]: one["refused"] for one in found if "refused" in one}
    assert refused.keys() <= {"h", "hb", "q", "r", "tt", "a", "t1"}, refused
    assert all(
        not any(character.isdigit() for character in reason.replace("'t1'", "")) for reasons in refused.values() for reason in reasons
    )


def test_another_unit_at_one_hospital_is_said_to_those_who_review(tmp_path: Path) -> None:
    tables = dealt(3)
    name = next(iter(tables))
    tables[name] = tables[name].assign(age=lambda rows: rows["age"] * 12)
    sealed = Joint(tmp_path, tables, [{"name": "d", "kind": "describe", **P, "columns": ["age"]}]).sealed()
    (found,) = results(sealed["바다병원"])
    assert "may be in another unit" in found["findings"][0]
    assert any("may be in another unit" in told for told in sealed["바다병원"].findings)


def test_a_score_is_judged_in_three_ways_at_once(tmp_path: Path) -> None:
    """Their bins are unions of the same ones, so the memory of releases finds no small difference."""
    tables = {name: one.assign(age=1 / (1 + np.exp((72 - one["age"]) / 15))) for name, one in dealt(3).items()}
    asked = [{"name": kind, "kind": kind, **P, "score": "age", "outcome": "death14"} for kind in ("roc", "calibration", "brier")]
    found = results(Joint(tmp_path, tables, asked).sealed()["바다병원"])
    assert [one.get("refused") for one in found] == [None] * 3
    assert found[1]["estimates"]["slope"] and found[2]["estimates"]["brier"] < 0.25


def test_a_papers_analyses_go_together(tmp_path: Path) -> None:
    """Few people lack a value in one column and not in another; sums of different columns cannot be subtracted."""
    table = patients().copy()
    table.loc[:2, "conscious"] = None
    table.loc[3:40, "age"] = np.nan
    asked: list[dict[str, Any]] = [
        {"name": "d", "kind": "describe", **P, "columns": ["age", "conscious"]},
        {"name": "t1", "kind": "table1", **P, "by": "aspirin", "columns": ["age", "conscious", "death14"]},
        {"name": "t", "kind": "ttest", **P, "column": "age", "by": "aspirin"},
        {"name": "q", "kind": "quantiles", **P, "columns": ["age"], "q": [0.25, 0.5, 0.75]},
        {"name": "m", "kind": "glm", **P, "family": "binomial", "formula": "death14 ~ age + aspirin"},
    ]
    found = results(Joint(tmp_path, dealt(3, table), asked).sealed()["바다병원"])
    assert [one.get("refused") for one in found] == [None] * 5
