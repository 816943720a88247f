"""What a study may ask of a column: any treatment that shows no more than the rules of each hospital, in one spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumasi.deid import asked, treatments
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import Application, Dataset

MONTH, YEAR, SHIFT = '{ do = "date", to = "month" }', '{ do = "date", to = "year" }', '"shift"'

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
numbers = st.integers(1, 10**6) | st.floats(1e-9, 1e9, allow_nan=False)
STEPS = st.one_of(
    st.builds(lambda to: {"do": "date", "to": to}, st.sampled_from(["month", "quarter", "year"])),
    st.builds(lambda width: {"do": "age", "width": width, "top": 90}, st.sampled_from([1, 2, 5, 10])),
    st.builds(lambda codes: {"do": "withhold", "codes": codes}, st.lists(texts, min_size=1, max_size=3)),
    st.builds(lambda shown, stands: {"do": "only", "values": shown, "as": stands}, st.lists(texts, min_size=1, max_size=3), texts),
    st.builds(lambda to: {"do": "round", "to": to}, numbers),
    st.builds(lambda edges: {"do": "bucket", "edges": sorted(edges)}, st.lists(numbers, min_size=2, max_size=4, unique_by=float)),
    st.builds(lambda level: {"do": "generalise", "by": "kcd", "level": level}, st.sampled_from(["category", "chapter"])),
    st.just({"do": "shift", "time": True}),
)


@given(st.lists(STEPS, min_size=1, max_size=3))
def test_every_treatment_has_one_spelling_that_is_read_back(given_steps: list[dict[str, Any]]) -> None:
    steps = asked.parse(given_steps, "x")
    assert asked.steps(treatments.told(steps)) == steps


@pytest.mark.parametrize(
    "text", ["", "shift", ' "shift"', '"shift"\nother = 1', '{do = "shift"}', '{ do = "date", to = "month", at = "x" }', "1", '"keep" #']
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        asked.steps(text)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("keep", "needs no 'treat'"),
        ("drop", "left out of the study"),
        ({"do": "generalise", "by": "/etc/passwd.csv", "level": 1}, "cannot name a file at a hospital"),
        ({"do": "date", "to": "day"}, 'is "month" or'),
        ([], "the list of steps is empty"),
    ],
)
def test_what_a_study_cannot_ask(given: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        asked.parse(given, "treat")


def study(rule: dict[str, Any]) -> Application:
    return Application.read(
        {
            "title": "t", "purpose": "statistics", "smallest_cell": 5, "applicant": "ari@company-a", "case": "ca" * 16,
            "tables": {"p": {"person": "no", "columns": {"x": {"is": "plain", **rule}}}},
            "kinds": ["table"], "hospitals": ["H"], "datasets": {},
        }
    )  # fmt: skip


def hospital(treat: str) -> Dataset:
    column = {"kind": "text", "spread": "many", "levels": [], "treat": treat}
    table = {"person": "no", "rules": {"name": "ours", "sha256": "0" * 64}, "columns": {"x": column}}
    return Dataset.read({"hospital": "H", "smallest_cell": 5, "tables": {"p": table}})


UNTREATED = "a column that is not treated needs no 'treat', and one that is to be dropped is left out of the study"
LOOSER = "p.x: the rules 'ours' of H say {}, and the study asks for {}, which would show more; "
WAY_OUT = "ask for a form that hides at least as much, or leave 'treat' and 'keep' out to take the hospital's"


@pytest.mark.parametrize(
    ("rule", "shown", "reasons"),
    [
        ({"keep": None}, MONTH, []),  # it comes as the hospital shows it
        ({"keep": "year"}, MONTH, []),
        ({"keep": "year"}, SHIFT, [LOOSER.format(SHIFT, YEAR) + WAY_OUT]),
        ({"treat": YEAR, "kind": "number"}, MONTH, []),
        ({"treat": MONTH, "kind": "text"}, YEAR, [LOOSER.format(YEAR, MONTH) + WAY_OUT]),
        ({"treat": MONTH, "kind": "text"}, '"keep"', []),
        ({"treat": MONTH, "kind": "number"}, MONTH, ["p.x: the study names another kind of value than its treatment leaves"]),
        ({"treat": '"keep"', "kind": "text"}, MONTH, [f"p.x: {UNTREATED}"]),
    ],
)  # fmt: skip
def test_no_form_shows_more_than_the_rules_of_a_hospital(rule: dict[str, Any], shown: str, reasons: list[str]) -> None:
    assert asked.refusals(study(rule), [hospital(shown)]) == reasons


def test_a_file_at_a_hospital_is_refused_also_when_it_travels() -> None:
    told = asked.refusals(study({"treat": '{ do = "generalise", by = "/etc/x.csv", level = 1 }', "kind": "text"}), [hospital(MONTH)])
    assert len(told) == 1 and "cannot name a file at a hospital" in told[0]


CLIMBS = '{{ do = "generalise", by = "sha256-{}.csv", level = {} }}'


@pytest.mark.parametrize(
    ("level", "shown", "told"),
    [
        (2, CLIMBS.format("a" * 64, 1), None),
        (1, CLIMBS.format("a" * 64, 1), None),
        (1, CLIMBS.format("a" * 64, 2), "which would show more"),
        (2, CLIMBS.format("b" * 64, 1), "H has no such hierarchy for it"),
        (2, '"keep"', "H has no such hierarchy for it"),
    ],
)
def test_a_hospitals_own_hierarchy_is_asked_for_by_what_it_holds(level: int, shown: str, told: str | None) -> None:
    reasons = asked.refusals(study({"treat": CLIMBS.format("a" * 64, level), "kind": "text"}), [hospital(shown)])
    assert (told is None and not reasons) or (len(reasons) == 1 and told in reasons[0])
