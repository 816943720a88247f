"""What a job may ask of agreed columns, and the question that both halves of a method get: from the permit alone."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.analysis import forms
from pumasi.client.questions import compiled
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import AgreedTable
from pumasi.node.jobs.questions import complete, refusals

HOSPITALS = ["bada", "haneul", "숲병원"]


def column(kind: str, *levels: str, two: bool = False) -> dict[str, Any]:
    return {"is": "plain", "keep": None, "kind": kind, "levels": list(levels), "two_valued": two}


COLUMNS = {
    "age": column("number"),
    "days": column("number"),
    "aspirin": column("number", "0", "1", two=True),
    "conscious": column("text", "full", "drowsy", "unconscious"),
    "ward": column("text", *map(str, range(60))),
    "bed": column("text", *map(str, range(60))),
}
TABLE = AgreedTable.model_validate({"person": "no", "columns": COLUMNS})


def asked(kind: str, **keys: Any) -> dict[str, Any]:
    return compiled({"name": "who", "kind": kind, "table": "patients", **keys}, {"patients": TABLE}, HOSPITALS)


def told(question: dict[str, Any]) -> list[str]:
    return refusals(question, TABLE, hospitals=HOSPITALS)


def glm(formula: str = "aspirin ~ age", **keys: Any) -> dict[str, Any]:
    return asked("glm", family="binomial", formula=formula, **keys)


GOOD: list[dict[str, Any]] = [
    asked("count"),
    asked("count", where="age >= 64.5 and conscious <> 'full'"),
    asked("table", by=["aspirin"]),
    asked("table", by=["aspirin", "conscious"]),
    asked("describe", columns=["age"]),
    asked("describe", columns=list(COLUMNS)),
    glm(),
    glm("aspirin ~ age + conscious"),
    glm("aspirin ~ age + C(hospital)"),
]


@pytest.mark.parametrize("question", GOOD, ids=lambda question: str(question["kind"]))
def test_a_question_in_its_form_is_answered(question: dict[str, Any]) -> None:
    assert told(question) == []


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({**asked("table", by=["aspirin"]), "name": 5}, "the name of an analysis is a text"),
        ({**asked("table", by=["aspirin"]), "by": ["aspirin", "aspirin"]}, "a list of columns, each once"),
        ({**asked("table", by=["aspirin"]), "by": ["age"], "reads": ["age"]}, "'age' has no agreed levels to count by"),
        (asked("table", by=["ward", "bed"]), "cells; group the levels"),
        ({**asked("describe", columns=["age"]), "columns": ["age", "age"]}, "a list of columns, each once"),
        ({**glm(), "family": "weibull"}, "'family' of an analysis of kind 'glm' is one of"),
        ({**glm(), "family": ["binomial"]}, "'family' of an analysis of kind 'glm' is one of"),
        ({**glm(), "formula": None}, "'formula' of an analysis of kind 'glm' is a formula"),
        ({**glm(), "design": {"outcome": "conscious", "columns": [{"name": "Intercept", "factors": []}]}}, "'who': "),
        ({**glm(), "coefficients": [1.0]}, "knows no key 'coefficients'"),
        ({**glm(), "state": {"step": "fit"}}, "knows no key 'state'"),
        ({**glm(), "here": "bada"}, "knows no key 'here'"),
        ({**glm(), "filter": {"column": "age", "is": ">", "value": 3}}, "a condition goes with its plain form"),
        ({**asked("count", where="age > 3"), "filter": {"column": "age", "is": "=", "value": 57}}, "no agreed levels to be equal to"),
        ({**asked("count", where="age > 3"), "filter": {"sql": "1=1"}}, "another form than its client makes"),
        ({**asked("count", where="age > 3"), "filter": {"column": "hospital", "is": "=", "value": "bada"}}, "is no column of this table"),
    ],
)
def test_what_does_not_fit_is_told(question: dict[str, Any], sentence: str) -> None:
    assert any(sentence in reason for reason in told(question)), told(question)


@pytest.mark.parametrize("kind", sorted(forms.FORMS))
@pytest.mark.parametrize("odd", [None, 5, -1, [], {}, ["x", 5], "x" * 3000, float("nan")], ids=repr)
def test_odd_values_under_every_key_are_refused_in_a_sentence(kind: Any, odd: Any) -> None:
    """Fail closed: no value under any key makes the node crash, and none that is no value of the key passes."""
    for name, key in forms.keys_of(kind).items():
        if name in ("reads", "where", "filter") or forms.fits(key.what, odd, key.choices):
            continue
        question = {"name": "who", "kind": kind, "table": "patients", "reads": ["age"], name: odd}
        assert any(f"'{name}'" in reason for reason in told(question)), name


def test_a_question_is_completed_from_the_permit_and_nothing_else() -> None:
    question = complete(asked("table", by=["aspirin", "conscious"]), TABLE, hospitals=HOSPITALS[::-1], here="bada")
    assert question["column_kinds"] == {"aspirin": "number", "conscious": "text"}
    assert question["levels"] == {"aspirin": ["0", "1"], "conscious": ["full", "drowsy", "unconscious"]}
    assert (question["two_valued"], question["hospitals"], question["here"]) == (["aspirin"], HOSPITALS, "bada")
    forged = {**asked("table", by=["aspirin"]), "levels": {"aspirin": ["9"]}, "two_valued": ["age"], "hospitals": ["x"], "here": "x"}
    completed = complete(forged, TABLE, hospitals=HOSPITALS, here="bada")
    assert (completed["levels"], completed["two_valued"]) == ({"aspirin": ["0", "1"]}, ["aspirin"])
    assert (completed["hospitals"], completed["here"]) == (HOSPITALS, "bada")


def test_what_is_read_is_what_the_question_names() -> None:
    assert glm("aspirin ~ age + conscious", where="days < 14")["reads"] == ["age", "aspirin", "conscious", "days"]
    assert asked("count")["reads"] == []


def test_the_levels_that_a_method_gets_cannot_change_the_permit() -> None:
    complete(asked("table", by=["aspirin"]), TABLE, hospitals=HOSPITALS, here="bada")["levels"]["aspirin"].append("2")
    assert TABLE.columns["aspirin"].levels == ["0", "1"]


def test_fractions_travel_as_text_and_arrive_as_numbers() -> None:
    question = asked("count", where="age >= 64.5 and days < 1e3 and aspirin = 1")
    sizes = [one["value"] for one in question["filter"]["and"]]
    assert sizes == ["64.5", 1000, 1]
    assert [one["value"] for one in forms.arrived(question)["filter"]["and"]] == [64.5, 1000, 1]
    quantiles = asked("quantiles", columns=["age"], q=[0.25, 0.5, 1e-7])
    assert quantiles["q"] == ["0.25", "0.5", "1e-07"]
    assert forms.arrived(quantiles)["q"] == [0.25, 0.5, 1e-7]


@pytest.mark.parametrize(
    ("kind", "keys", "sentence"),
    [
        ("table", {}, "the key 'by' is missing"),
        ("table", {"by": ["name"]}, "'name' is no column of 'patients'"),
        ("table", {"by": ["aspirin"], "where": "name = 'Kim'"}, "'name' in where is no column"),
        ("glm", {"family": "binomial", "formula": "aspirin ~ I(age == 57.3)"}, "is a call"),
        ("glm", {"family": "binomial", "formula": "aspirin ~ bs(age)"}, "is a call"),
        ("meta", {"analysis": "nothing", "term": "age"}, "there is no glm or cox analysis called 'nothing'"),
        ("sum", {}, "there is no kind of analysis 'sum'"),
        ("count", {"columns": ["age"]}, "unknown key 'columns'"),
    ],
)
def test_a_client_says_what_is_wrong_before_anything_is_sent(kind: str, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid, match="analysis 'who': ") as caught:
        asked(kind, **keys)
    assert any(sentence in reason for reason in caught.value.reasons), caught.value.reasons


@pytest.mark.parametrize(
    "question",
    [
        asked("describe", columns=["age", "days"]),
        asked("cox", time="days", event="aspirin", formula="age"),
        asked("cox", time="days", event="aspirin", formula="age", strata="conscious"),
        asked("kaplan_meier", time="days", event="aspirin", grid=[1, 2]),
        asked("glm", family="poisson", formula="aspirin ~ age", offset="days"),
    ],
    ids=lambda question: str(question["kind"]),
)
def test_a_column_that_a_question_does_not_say_it_reads_is_refused(question: dict[str, Any]) -> None:
    assert told(question) == []
    for name in question["reads"]:
        assert told({**question, "reads": [one for one in question["reads"] if one != name]}) != []
