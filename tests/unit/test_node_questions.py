"""What a job may ask of agreed columns, and the question that both halves of a method get: from the permit alone."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.analysis import design
from pumasi.kernel.study import AgreedTable
from pumasi.node.jobs.questions import MOST_CELLS, MOST_COLUMNS, complete, refusals


def column(kind: str, *levels: str, two: bool = False) -> dict[str, Any]:
    return {"is": "plain", "keep": None, "kind": kind, "levels": list(levels), "two_valued": two}


COLUMNS = {
    "age": column("number"),
    "aspirin": column("number", "0", "1", two=True),
    "conscious": column("text", "full", "drowsy", "unconscious"),
    "ward": column("text", *map(str, range(60))),
    "bed": column("text", *map(str, range(60))),
}
TABLE = AgreedTable.model_validate({"person": "no", "columns": COLUMNS})


def table(*by: str, **changes: Any) -> dict[str, Any]:
    return {"name": "who", "kind": "table", "table": "patients", "by": list(by), **changes}


def describe(*columns: str, **changes: Any) -> dict[str, Any]:
    return {"name": "who", "kind": "describe", "table": "patients", "columns": list(columns), **changes}


def glm(formula: str = "aspirin ~ age", **changes: Any) -> dict[str, Any]:
    kinds = {name: one["kind"] for name, one in COLUMNS.items()}
    compiled = design.compile(formula, kinds=kinds, levels={name: one["levels"] for name, one in COLUMNS.items()})
    return {"name": "m", "kind": "glm", "table": "patients", "family": "binomial", "formula": formula, "design": compiled, **changes}


@pytest.mark.parametrize(
    "question",
    [table("aspirin"), table("aspirin", "conscious"), describe("age"), describe(*COLUMNS), glm(), glm("aspirin ~ age + conscious")],
)
def test_a_question_in_its_form_is_answered(question: dict[str, Any]) -> None:
    assert refusals(question, TABLE) == []


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (table("aspirin", name=5), "the name of an analysis is a text"),
        (table("aspirin", "aspirin"), "one or two columns, each once"),
        (table("aspirin", "conscious", "ward"), "one or two columns, each once"),
        (table("age"), "'age' has no agreed levels to count by"),
        (table("ward", "bed"), f"more than {MOST_CELLS} cells"),
        (describe("age", "age"), "each once"),
        (describe(*(f"c{number}" for number in range(MOST_COLUMNS + 1))), f"at most {MOST_COLUMNS} columns"),
        (glm(family="gamma"), "the family of a model is one of"),
        (glm(family=["binomial"]), "the family of a model is one of"),
        ({**glm(), "formula": None}, "the formula of a model is a text"),
        (glm(formula="aspirin ~ age", design={"outcome": "conscious", "columns": [{"name": "Intercept", "factors": []}]}), "'m': "),
    ],
)
def test_what_does_not_fit_is_told(question: dict[str, Any], told: str) -> None:
    assert any(told in reason for reason in refusals(question, TABLE))


def test_a_question_is_completed_from_the_permit_and_nothing_else() -> None:
    asked = complete(table("aspirin", "conscious"), TABLE)
    assert asked["column_kinds"] == {"aspirin": "number", "conscious": "text"}
    assert asked["levels"] == {"aspirin": ["0", "1"], "conscious": ["full", "drowsy", "unconscious"]}
    assert asked["two_valued"] == ["aspirin"]
    forged = complete({**table("aspirin"), "levels": {"aspirin": ["9"]}, "two_valued": ["age"], "column_kinds": {"age": "text"}}, TABLE)
    assert (forged["levels"], forged["two_valued"], forged["column_kinds"]) == ({"aspirin": ["0", "1"]}, ["aspirin"], {"aspirin": "number"})


def test_a_model_reads_the_columns_of_its_design() -> None:
    asked = complete(glm("aspirin ~ age + conscious"), TABLE)
    assert set(asked["column_kinds"]) == {"aspirin", "age", "conscious"}


def test_the_levels_that_a_method_gets_cannot_change_the_permit() -> None:
    complete(table("aspirin"), TABLE)["levels"]["aspirin"].append("2")
    assert TABLE.columns["aspirin"].levels == ["0", "1"]
