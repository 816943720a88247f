"""A researcher who wants one patient's value, through whatever a study may ask: every way that the literature and we know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import AgreedTable
from pumasi.node.jobs.rounds import Sealed
from pumasi.node.remembered import Earlier
from tests.analysis_rounds import frame
from tests.joint_jobs import NAMES, Joint, Local, column, results

AGREED = AgreedTable.model_validate(
    {
        "person": "no",
        "columns": {
            "age": column("number", []),
            "cost": column("number", []),
            "sex": column("text", ["F", "M"]),
            "ward": column("text", ["a", "b", "c"]),
            "band": column("text", ["young", "that", "old"]),
            "hiv": column("number", ["0", "1"], two=True),
        },
    }
)
VICTIM = {"age": 57.3, "cost": 9_876.5, "sex": "F", "ward": "a", "hiv": 1}


def hospitals(count: int = 3) -> dict[str, pd.DataFrame]:
    """600 people; the victim is the only one of 57.3 years and of that `band`, and the attacker knows everything but `hiv` and `cost`."""
    random = np.random.default_rng(57)
    table = pd.DataFrame(
        {
            "age": np.round(random.normal(60, 12, 600), 1),
            "cost": np.round(random.lognormal(7, 0.5, 600), 2),
            "sex": random.choice(["F", "M"], 600),
            "ward": random.choice(["a", "b", "c"], 600),
            "hiv": (random.random(600) < 0.3).astype(int),
        }
    )
    table.loc[table.age == VICTIM["age"], "age"] = 57.4
    table.loc[0] = VICTIM
    table["band"] = np.select([table.age < VICTIM["age"], table.age > VICTIM["age"]], ["young", "old"], "that")
    return {name: table.iloc[at::count].reset_index(drop=True) for at, name in enumerate(NAMES[:count])}


@dataclass
class Attacker:
    """Asks job after job of one organisation; the nodes remember, as they do."""

    folder: Path
    tables: dict[str, pd.DataFrame] = field(default_factory=hospitals)
    remembered: list[Earlier] = field(default_factory=list)
    known: list[dict[str, Any]] = field(default_factory=list)
    jobs: int = 0

    def ask(self, *questions: dict[str, Any], change: Callable[[Joint], None] = lambda _: None) -> list[dict[str, Any]]:
        self.jobs += 1
        named = [{"name": f"{self.jobs}.{at}", "table": "patients", **question} for at, question in enumerate(questions)]
        joint = Joint(
            self.folder, self.tables, named, agreed=AGREED, remembered=self.remembered, earlier=self.known, number=str(self.jobs)
        )  # fmt: skip
        change(joint)
        outcome = joint.run()
        assert all(isinstance(one, Sealed) for one in outcome.values()), outcome
        sealed = outcome[joint.lead]
        assert isinstance(sealed, Sealed)
        self.remembered += sealed.asked
        self.known += sealed.known
        return results(sealed)


@pytest.fixture
def attacker(tmp_path: Path) -> Attacker:
    return Attacker(tmp_path)


ALL_BUT_THE_VICTIM = "band in ('young', 'old')"


@pytest.mark.parametrize(
    "question",
    [
        {"kind": "count"},
        {"kind": "describe", "columns": ["cost"]},
        {"kind": "table", "by": ["hiv"]},
        {"kind": "table1", "columns": ["cost", "hiv"], "by": "sex"},
        {"kind": "ttest", "column": "cost", "by": "sex"},
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ 1"},
        {"kind": "glm", "family": "binomial", "formula": "hiv ~ sex"},
    ],
    ids=lambda question: str(question["kind"]),
)
@pytest.mark.parametrize("first_all", [True, False])
def test_with_and_without_the_victim(attacker: Attacker, question: dict[str, Any], first_all: bool) -> None:
    pair = [question, {**question, "where": ALL_BUT_THE_VICTIM}]
    one, two = attacker.ask(*(pair if first_all else pair[::-1]))
    assert "refused" not in one and "refused" in two
    again = attacker.ask(pair[1 if first_all else 0])[0]  # in a job of its own
    assert "refused" in again


@pytest.mark.parametrize(
    "kind",
    [{"kind": "count"}, {"kind": "table", "by": ["hiv"]}, {"kind": "describe", "columns": ["cost"]}],
    ids=lambda kind: str(kind["kind"]),
)
def test_across_kinds_of_analysis(attacker: Attacker, kind: dict[str, Any]) -> None:
    attacker.ask({"kind": "describe", "columns": ["cost", "hiv"]}, {"kind": "table", "by": ["hiv", "sex"]})
    assert "refused" in attacker.ask({**kind, "where": ALL_BUT_THE_VICTIM})[0]


def test_the_victim_alone_is_never_an_answer(attacker: Attacker) -> None:
    alone = "band = 'that'"
    found = attacker.ask(
        {"kind": "count", "where": alone},
        {"kind": "table", "by": ["hiv"], "where": alone},
        {"kind": "describe", "columns": ["cost", "hiv"], "where": alone},
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ 1", "where": alone},
    )
    for one in found:
        assert "refused" in one or not any(_numbers(one)), one


def _numbers(result: Any) -> list[float]:
    """Every number in a result that is neither its bookkeeping nor a level."""
    if isinstance(result, dict):
        aside = ("rounds", "hospitals", *AGREED.columns) if "n" in result and "kind" not in result else ("rounds", "hospitals")
        return [number for key, value in result.items() if key not in aside for number in _numbers(value)]
    if isinstance(result, list):
        return [number for value in result for number in _numbers(value)]
    return [result] if isinstance(result, int | float) and not isinstance(result, bool) else []


def test_a_tracker(attacker: Attacker) -> None:
    """Denning, Denning and Schwartz 1979: a large group T, asked with and without the victim added."""
    tracker, with_victim = "ward = 'b'", "ward = 'b' or band = 'that'"
    one, two = attacker.ask({"kind": "table", "by": ["hiv"], "where": tracker}, {"kind": "table", "by": ["hiv"], "where": with_victim})
    assert "refused" not in one and "refused" in two


def test_a_cell_of_a_table_is_a_tracker_too(attacker: Attacker) -> None:
    attacker.ask({"kind": "table", "by": ["ward", "sex"]})
    refused = attacker.ask({"kind": "describe", "columns": ["cost"], "where": "ward = 'a' and sex = 'F' and not (band = 'that')"})
    assert "refused" in refused[0]


def test_repeated_bisection_stops_before_one_person(attacker: Attacker) -> None:
    """Thresholds that close in on the victim: two answers never differ by fewer people than the smallest cell allows."""
    ages = pd.concat(attacker.tables.values()).age
    low, high, answered = 40.0, 80.0, [float(ages.min())]
    for _ in range(12):
        middle = (low + high) / 2
        found = attacker.ask({"kind": "count", "where": f"age >= {middle}"})[0]
        if "refused" not in found:
            answered.append(middle)
        low, high = (middle, high) if middle < VICTIM["age"] else (low, middle)
    counts = sorted(int((ages >= threshold).sum()) for threshold in answered)
    assert len(answered) > 2
    assert min(np.diff(counts)) >= 10


def test_conditions_that_mean_the_same_are_the_same_people(attacker: Attacker) -> None:
    one, two = attacker.ask(
        {"kind": "count", "where": "age >= 60"}, {"kind": "describe", "columns": ["cost"], "where": "not (age < 60) and cost > -5"}
    )
    assert "refused" not in one and "refused" not in two


def test_a_rare_flag_in_a_regression(tmp_path: Path) -> None:
    tables = hospitals()
    for table in tables.values():
        table["ward"] = np.where(np.arange(len(table)) < 2, "c", np.where(table.ward == "c", "a", table.ward))
    found = Attacker(tmp_path, tables).ask({"kind": "glm", "family": "gaussian", "formula": "cost ~ ward"})[0]
    assert "refused" in found


def test_a_saturated_model(tmp_path: Path) -> None:
    tables = {name: table.iloc[:12].reset_index(drop=True) for name, table in hospitals().items()}
    found = Attacker(tmp_path, tables).ask({"kind": "glm", "family": "gaussian", "formula": "cost ~ age * sex * ward"})[0]
    assert "refused" in found


@pytest.mark.parametrize(
    "formula",
    ["cost ~ I(age == 57.3)", "cost ~ age == 57.3", "cost ~ (age > 57.2)", "cost ~ C(age)", "cost ~ poly(age, 40)", "cost ~ age:age"],
)
def test_no_formula_invents_a_column(attacker: Attacker, formula: str) -> None:
    try:
        found = attacker.ask({"kind": "glm", "family": "gaussian", "formula": formula})[0]
    except Invalid:
        return
    assert "refused" in found or set(found["terms"]) <= {"Intercept", "age"}


def test_another_set_of_hospitals(tmp_path: Path) -> None:
    """What three hospitals say less what two say is what one of them holds."""
    first = Attacker(tmp_path)
    first.ask({"kind": "describe", "columns": ["cost"]})
    fewer = dict(list(first.tables.items())[:2])
    joint = Joint(
        tmp_path, fewer, [{"name": "less", "kind": "describe", "table": "patients", "columns": ["cost", "age"]}], agreed=AGREED,
        remembered=first.remembered, hospitals_at_least=2, number="9",
    )  # fmt: skip
    assert all("refused" in results(one)[0] for one in joint.sealed().values())
    other = Joint(
        tmp_path, fewer, [{"name": "else", "kind": "describe", "table": "patients", "columns": ["age"]}], agreed=AGREED,
        remembered=first.remembered, hospitals_at_least=2, number="10",
    )  # fmt: skip
    assert all("refused" not in results(one)[0] for one in other.sealed().values())


def test_what_a_stopped_job_had_opened_is_not_opened_again_without_one_hospital(tmp_path: Path) -> None:
    """A hospital that drops out after the first sum: the others asked alone would give away what it had sent."""
    question = {"name": "q", "kind": "describe", "table": "patients", "columns": ["cost"]}
    joint = Joint(tmp_path, hospitals(), [question], agreed=AGREED)
    joint.changes[(NAMES[0], "q0r2")] = lambda _: None
    joint.run()
    opened = joint.runs[NAMES[1]].opened
    assert opened
    fewer = {name: table for name, table in hospitals().items() if name != NAMES[0]}
    again = Joint(tmp_path, fewer, [question], agreed=AGREED, remembered=opened, hospitals_at_least=2, number="2")
    assert all("refused" in results(one)[0] for one in again.sealed().values())


def test_a_share_that_no_people_can_give_is_found(tmp_path: Path) -> None:
    """A hospital that lies: negative or broken counts stop the job; a believable lie is beyond detection, and is bounded by its size."""

    class Lying(Local):
        def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
            share = super().local(question, state)
            share[0] = -1_000.0
            return share

    tables = hospitals()
    levels = {name: one.levels for name, one in AGREED.columns.items() if one.levels}
    halves: dict[str, Local] = {NAMES[1]: Lying({"patients": frame(tables[NAMES[1]], levels)})}
    joint = Joint(tmp_path, tables, [{"name": "q", "kind": "count", "table": "patients"}], agreed=AGREED, halves=halves)
    assert {error.reason for error in joint.failed().values()} == {"tampered"}


def with_one_missing(column: str) -> dict[str, pd.DataFrame]:
    """The victim is the only one without a value in this column."""
    tables = hospitals()
    first = tables[NAMES[0]]
    tables[NAMES[0]] = first.assign(**{column: first[column].astype(object if first[column].dtype == object else float)})
    tables[NAMES[0]].loc[0, column] = None
    return tables


@pytest.mark.parametrize(
    ("lacks", "questions"),
    [
        # mean cost of the complete cases = intercept + slope * mean age; its sum less that of everybody is one cost
        ("age", [{"kind": "describe", "columns": ["cost", "age"]}, {"kind": "glm", "family": "gaussian", "formula": "cost ~ age"}]),
        ("age", [{"kind": "describe", "columns": ["cost"]}, {"kind": "glm", "family": "gaussian", "formula": "cost ~ 1", "offset": "age"}]),
        (
            "age",
            [{"kind": "describe", "columns": ["cost"]}, {"kind": "glm", "family": "gaussian", "formula": "cost ~ sex", "weights": "age"}],
        ),
        ("age", [{"kind": "glm", "family": "gaussian", "formula": formula} for formula in ("cost ~ sex", "cost ~ sex + age")]),
        ("age", [{"kind": "glm", "family": "binomial", "formula": formula} for formula in ("hiv ~ sex", "hiv ~ sex + age")]),
        ("sex", [{"kind": "table", "by": ["hiv"]}, {"kind": "table", "by": ["hiv", "sex"]}]),
        ("sex", [{"kind": "describe", "columns": ["hiv"]}, {"kind": "table", "by": ["hiv", "sex"]}]),
        ("hiv", [{"kind": "describe", "columns": ["sex", "ward"]}, {"kind": "table", "by": ["hiv", "sex", "ward"]}]),
        ("age", [{"kind": "table", "by": ["hiv"]}, {"kind": "roc", "score": "age", "outcome": "hiv"}]),
    ],
    ids=lambda value: value if isinstance(value, str) else " then ".join(str(one["kind"]) for one in value),
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_missing_value_that_takes_the_victim_out(tmp_path: Path, lacks: str, questions: list[dict[str, Any]], first: int) -> None:
    """One condition, two analyses, and all that sets them apart is who lacks a value."""
    attacker = Attacker(tmp_path, with_one_missing(lacks))
    one, two = attacker.ask(questions[first], questions[1 - first])
    assert "refused" not in one and "refused" in two
    assert "refused" in attacker.ask(questions[1 - first])[0]


def test_a_condition_cannot_hide_which_column_is_shared(tmp_path: Path) -> None:
    """`age` stands in a condition that holds for everybody, and in the analysis."""
    always = "age is null or age > -5"
    one, two = Attacker(tmp_path, with_one_missing("cost")).ask(
        {"kind": "describe", "columns": ["age"], "where": always},
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ age", "where": always},
    )
    assert "refused" not in one and "refused" in two


def test_a_study_with_a_few_incomplete_cases_is_answered(tmp_path: Path) -> None:
    tables = hospitals()
    for name in NAMES[:2]:
        tables[name].loc[10:11, ["age", "sex"]] = [np.nan, None]
    found = Attacker(tmp_path, tables).ask(
        {"kind": "describe", "columns": ["age", "cost", "hiv"]},
        {"kind": "table", "by": ["sex", "hiv"]},
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ age + sex"},
        {"kind": "glm", "family": "binomial", "formula": "hiv ~ age + sex"},
    )
    assert all("refused" not in one for one in found)


def test_the_one_with_a_condition_for_complete_rows_is_answered(tmp_path: Path) -> None:
    """The way out that the refusal names."""
    complete = {"where": "age is not null"}
    found = Attacker(tmp_path, with_one_missing("age")).ask(
        {"kind": "describe", "columns": ["age", "cost"], **complete},
        {"kind": "table", "by": ["sex", "hiv"], **complete},
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ age + sex", **complete},
    )
    assert all("refused" not in one for one in found)


def test_one_visit_of_a_person(attacker: Attacker) -> None:
    """The victim stays in the answer, but one of two visits does not: people are the same, rows are not."""
    people = pd.concat(hospitals().values(), ignore_index=True)
    people["no"] = np.arange(len(people))
    later = people.assign(age=(people.age + 1.05).round(2), cost=people.cost * 1.1)
    visits = pd.concat([people, later])
    attacker.tables = {name: visits[visits.no % 3 == at].reset_index(drop=True) for at, name in enumerate(NAMES[:3])}
    levels = {name: one.levels for name, one in AGREED.columns.items() if one.levels}

    def by_person(joint: Joint) -> None:
        for name, table in attacker.tables.items():
            joint.halves[name] = Local({"patients": frame(table, levels, person="no")})

    one, two = attacker.ask(
        {"kind": "describe", "columns": ["cost"]}, {"kind": "describe", "columns": ["cost"], "where": ALL_BUT_THE_VICTIM}, change=by_person
    )
    assert "refused" not in one and "refused" in two


@pytest.mark.parametrize(
    "less",
    [
        {"kind": "glm", "family": "gaussian", "formula": "cost ~ 1"},
        {"kind": "describe", "columns": ["cost"], "where": "age > -5"},
        {"kind": "table1", "columns": ["age", "cost"], "by": "sex"},
    ],
    ids=lambda question: str(question["kind"]),
)
def test_without_the_hospital_of_one_patient(tmp_path: Path, less: dict[str, Any]) -> None:
    """Neither another kind nor a condition that leaves nobody out makes it another question."""
    tables = hospitals(4)
    tables[NAMES[0]] = tables[NAMES[0]].iloc[:1]
    first = Attacker(tmp_path, tables)
    assert "refused" not in first.ask({"kind": "describe", "columns": ["cost"]})[0]
    fewer = {name: table for name, table in tables.items() if name != NAMES[0]}
    joint = Joint(
        tmp_path, fewer, [{"name": "less", "table": "patients", **less}], agreed=AGREED, remembered=first.remembered,
        hospitals_at_least=2, number="2",
    )  # fmt: skip
    assert all("refused" in results(one)[0] for one in joint.sealed().values())


def test_the_only_woman_among_those_who_lack_a_value(tmp_path: Path) -> None:
    """Enough people lack an age, but means by sex tell of the one woman: cost by sex, age by sex, and cost less age by sex."""
    tables = with_one_missing("age")
    for name in NAMES[1:3]:
        men = tables[name].index[tables[name].sex == "M"][:2]
        tables[name].loc[men, "age"] = np.nan
    by_sex = {"kind": "glm", "family": "gaussian"}
    found = Attacker(tmp_path, tables).ask(
        {"kind": "describe", "columns": ["cost"]}, {**by_sex, "formula": "cost ~ sex"}, {**by_sex, "formula": "cost ~ sex", "offset": "age"}
    )
    assert ["refused" in one for one in found] == [False, False, True]


def test_a_hospital_too_small_for_a_meta_analysis(tmp_path: Path) -> None:
    """The pooled mean less the means of all other hospitals is the patient of the smallest, so another is left out with it."""
    tables = hospitals(4)
    tables[NAMES[0]] = tables[NAMES[0]].iloc[:1]
    model = {"name": "model", "kind": "glm", "family": "gaussian", "formula": "cost ~ 1"}
    found = Attacker(tmp_path, tables).ask(
        model, {"kind": "meta", "analysis": "model", "term": "Intercept"}, {"kind": "describe", "columns": ["cost"]}
    )
    assert all("refused" not in one for one in found)
    assert found[1]["left_out"][0]["hospital"] == NAMES[0] and len(found[1]["left_out"]) == 2


def test_means_of_a_model_are_groups_of_a_tracker(attacker: Attacker) -> None:
    """Coefficients of levels are means: those of ward a, and of all of ward a but the victim with other wards beside."""
    by_ward = {"kind": "glm", "family": "gaussian", "formula": "cost ~ ward"}
    young = "band = 'old' or (ward = 'a' and band = 'young') or (ward = 'b' and age < 50)"
    assert "refused" not in attacker.ask(by_ward)[0]
    assert "refused" in attacker.ask({**by_ward, "where": young})[0]
