"""The one question a permit is asked: every reason to say no, the edges of a day in Seoul, and questions that are not quite questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pumasi.kernel.errors import Invalid
from pumasi.kernel.job import Handshake, Job
from pumasi.kernel.permit import Permit, columns_of, seoul_day

HASH, KEY, BOX = "ab" * 32, "A" * 43 + "=", "B" * 42 + "A="
NOON = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)


def permit(**fields: Any) -> Permit:
    column = {"is": "plain", "keep": None, "kind": "number", "levels": [], "two_valued": False}
    return Permit.read(
        {
            "case": "ca" * 16,
            "hospital": "haneul",
            "applicant": "ari@company-a",
            "applicant_key": KEY,
            "purpose": "scientific-research",
            "legal_basis": "pipa-28-2",
            "application": HASH,
            "tables": {
                "patients": {"person": "patient_no", "columns": {"age": column, "aspirin": column, "death14": column}},
                "visits": {"person": "patient_no", "columns": {"cost": column}},
            },
            "kinds": ["table", "describe", "glm"],
            "smallest_cell": 10,
            "hospitals": ["haneul", "bada", "숲병원"],
            "hospitals_at_least": 2,
            "release": "two-people",
            "valid_from": "2026-03-02",
            "valid_until": "2026-12-31",
            **fields,
        }
    )


def glm(*factors: Any, outcome: Any = "death14") -> dict[str, Any]:
    design = {"outcome": outcome, "columns": [{"name": "Intercept", "factors": []}, {"name": "x", "factors": list(factors)}]}
    read = [outcome, *(factor["column"] for factor in factors)]
    return {
        "name": "m",
        "kind": "glm",
        "table": "patients",
        "reads": read,
        "family": "binomial",
        "formula": "death14 ~ x",
        "design": design,
    }


TABLE = {"name": "t", "kind": "table", "table": "patients", "reads": ["aspirin", "death14"], "by": ["aspirin", "death14"]}
DESCRIBE = {"name": "d", "kind": "describe", "table": "patients", "reads": ["age"], "columns": ["age"]}
GLM = glm({"column": "age"}, {"column": "aspirin", "level": "1"})


def job(*questions: dict[str, Any], **fields: Any) -> Job:
    return Job.read(
        {
            "job": "0b" * 16,
            "case": "ca" * 16,
            "applicant": "ari@company-a",
            "applicant_box": BOX,
            "permits": {"haneul": HASH, "bada": HASH},
            "lead": "haneul",
            "smallest_cell": 10,
            "code": HASH,
            "questions": list(questions) or [TABLE, DESCRIBE, GLM],
            **fields,
        }
    )


def refusals(asked: Job, *, under: Permit | None = None, signed_with: str = KEY, now: datetime = NOON) -> list[str]:
    return (under or permit()).refusals(asked, signed_with=signed_with, now=now)


def test_what_the_permit_covers_may_run() -> None:
    assert refusals(job()) == []
    assert refusals(job(permits={"haneul": HASH, "bada": HASH, "숲병원": HASH}, smallest_cell=11)) == []


REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "another case": ({"case": "cb" * 16}, "the job belongs to another case than the permit"),
    "another applicant": ({"applicant": "bom@company-a"}, "the permit names ari@company-a, the job bom@company-a"),
    "not this hospital": ({"permits": {"bada": HASH, "숲병원": HASH}}, "the job does not name haneul"),
    "smaller cells": ({"smallest_cell": 9}, "the permit of haneul asks for larger cells than the job"),
    "strange hospitals": ({"permits": dict.fromkeys(("haneul", "x", "gang"), HASH)}, "the permit does not foresee gang, x in this study"),
    "too few hospitals": ({"permits": {"haneul": HASH}}, "the permit of haneul asks for more hospitals to take part"),
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_each_reason(name: str) -> None:
    fields, sentence = REASONS[name]
    assert refusals(job(**fields)) == [sentence]


def test_the_key_is_the_applicants() -> None:
    assert refusals(job(), signed_with=BOX) == ["the job is not signed with the key of ari@company-a"]


def test_a_permit_for_all_its_hospitals_says_so() -> None:
    assert refusals(job(), under=permit(hospitals_at_least=3)) == ["the permit of haneul asks for all the hospitals it names to take part"]


def test_all_reasons_come_at_once_and_none_holds_a_number() -> None:
    asked = job({**TABLE, "reads": ["name"]}, case="cb" * 16, applicant="x@y", permits={"x": HASH}, smallest_cell=1)
    reasons = refusals(asked, signed_with=BOX)
    assert len(reasons) == 8
    assert not any(letter.isdigit() for reason in reasons for letter in reason)


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        ("2026-03-01T14:59:59", "2026-03-01"),
        ("2026-03-01T15:00:00", "2026-03-02"),
        ("2026-03-02T14:59:59", "2026-03-02"),
        ("2026-12-31T15:00:00", "2027-01-01"),
        ("2028-02-28T15:00:00", "2028-02-29"),
    ],
)
def test_a_day_in_seoul_begins_at_15_utc(utc: str, day: str) -> None:
    assert seoul_day(datetime.fromisoformat(utc).replace(tzinfo=UTC)) == day


def test_the_day_is_that_of_the_instant_wherever_the_clock_hangs() -> None:
    new_york = timezone(timedelta(hours=-5))
    assert seoul_day(datetime(2026, 3, 1, 9, 59, 59, tzinfo=new_york)) == "2026-03-01"
    assert seoul_day(datetime(2026, 3, 1, 10, 0, tzinfo=new_york)) == "2026-03-02"


@pytest.mark.parametrize(
    ("utc", "refusal"),
    [
        ("2026-03-01T14:59:59", "the permit of haneul is in force from 2026-03-02 (Seoul)"),
        ("2026-03-01T15:00:00", None),
        ("2026-12-31T14:59:59", None),
        ("2026-12-31T15:00:00", "the permit of haneul ended on 2026-12-31 (Seoul)"),
    ],
)
def test_a_permit_holds_whole_days_in_seoul(utc: str, refusal: str | None) -> None:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert permit().dates_refusal(now) == refusal
    assert refusals(job(), now=now) == ([refusal] if refusal else [])


# --- questions -------------------------------------------------------------------------------------------------------


def test_a_question_says_what_it_reads() -> None:
    assert columns_of(TABLE) == {"aspirin", "death14"}
    assert columns_of({**TABLE, "reads": []}) == set()


UNCOVERED: list[tuple[dict[str, Any], list[str]]] = [
    ({**TABLE, "reads": ["age", "name"]}, ["name"]),
    ({**TABLE, "reads": ["age", "patient_no"]}, ["patient_no"]),
    ({**DESCRIBE, "reads": ["name", "age", "birth_date"]}, ["birth_date", "name"]),
    ({**DESCRIBE, "reads": ["cost"]}, ["cost"]),
    (glm({"column": "age"}, {"column": "name"}), ["name"]),
    (glm({"column": "age"}, outcome="name"), ["name"]),
]


@pytest.mark.parametrize(("question", "names"), UNCOVERED)
def test_columns_that_the_permit_does_not_name(question: dict[str, Any], names: list[str]) -> None:
    assert refusals(job(question)) == [f"the permit of haneul does not cover the column '{name}' of 'patients'" for name in names]


def test_kinds_and_tables_that_the_permit_does_not_name() -> None:
    assert refusals(job(GLM), under=permit(kinds=["table"])) == ["the permit of haneul does not cover analyses of kind 'glm'"]
    assert refusals(job({**TABLE, "kind": "survival"})) == ["the permit of haneul does not cover analyses of kind 'survival'"]
    assert refusals(job({**TABLE, "table": "genomes"})) == ["the permit of haneul does not cover the table 'genomes'"]
    assert refusals(job({"reads": ["age"]})) == ["the permit of haneul does not cover analyses of kind 'None'"]


ODD: list[Any] = [None, True, 0, 1.5, "age", "", {}, [None], [1], [["age"]], [{}], {"age": 1}, ["age", None]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("key", ["kind", "table", "reads"])
def test_anything_else_in_any_place_is_refused_in_a_sentence(odd: Any, key: str) -> None:
    """Fail closed: whatever stands where columns are named, the answer is a sentence, never a yes and never a crash."""
    reasons = refusals(job({**TABLE, key: odd}))
    assert reasons and all(" " in reason for reason in reasons)


@pytest.mark.parametrize("field", ["kind", "table", "reads"])
@pytest.mark.parametrize("question", [TABLE, DESCRIBE, GLM], ids=lambda question: str(question["kind"]))
def test_a_missing_field_is_refused(question: dict[str, Any], field: str) -> None:
    assert len(refusals(job({key: value for key, value in question.items() if key != field}))) == 1


def test_one_bad_question_does_not_hide_another() -> None:
    assert len(refusals(job({**TABLE, "reads": ["name"]}, TABLE, {**DESCRIBE, "reads": None}))) == 2


def test_a_permit_travels_as_it_was_written() -> None:
    assert Permit.read(permit().plain()) == permit()
    assert "is" in permit().plain()["tables"]["patients"]["columns"]["age"]
    assert Job.read(job().plain()) == job()


@pytest.mark.parametrize("field", ["smallest_cell", "hospitals_at_least"])
@pytest.mark.parametrize("value", [0, -1, "10", 10.0, True, None])
def test_limits_are_whole_numbers_from_one_upwards(field: str, value: Any) -> None:
    with pytest.raises(Invalid):
        permit(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", "insurance"),
        ("legal_basis", "because"),
        ("kinds", ["survival"]),
        ("release", "automatic"),
        ("valid_until", "2026-02-30"),
        ("valid_until", "٢٠٢٦-١٢-٣١"),
        ("hospital", "a/b"),
        ("price", 0),
    ],
)
def test_unknown_terms_are_no_terms(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        permit(**{field: value})
    assert all(reason.startswith(f"Permit: {field}") for reason in refused.value.reasons)


def test_a_handshake_is_strict() -> None:
    fields = {"job": "0b" * 16, "hospital": "haneul", "document": HASH, "box": BOX}
    assert Handshake.read(fields).plain() == fields
    with pytest.raises(Invalid):
        Handshake.read({**fields, "box": "short"})
