"""What looks like personal data is refused at the door, and nothing that a legal case needs is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from pumasi.kernel import door
from pumasi.kernel.envelope import Keys
from pumasi.kernel.event import Event, LogFounded, MemberApplied
from pumasi.store.db import open_db
from pumasi.store.site import Site
from tests import casebook, kernel_world


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("900101-1234567", "a resident registration number"),
        ("9001011234567", "a resident registration number"),
        ("ward 010131-3234567", "a resident registration number"),
        ("991231-8234567", "a resident registration number"),
        ("010-1234-5678", "a telephone number"),
        ("02-123-4567", "a telephone number"),
        ("+82 10 1234 5678".replace(" 1234 ", "-1234-"), "a telephone number"),
        ("01012345678", "a telephone number"),
        ("someone@example.org", "an e-mail address"),
        ("one two three four five six seven eight nine ten eleven", "free text"),
    ],
)
def test_a_member_cannot_be_called_by_something_personal(text: str, what: str) -> None:
    reasons = door.refusals({"type": "MemberAdmitted", "member": text})
    assert any(what in reason for reason in reasons)
    assert not any(text in reason for reason in reasons)


@pytest.mark.parametrize(
    "name",
    [
        "서울대학교병원",
        "Synthetic Hospital No 12",
        "checker-1@가상병원-2",
        "St. Mary's Hospital, Seoul",
        "drb-2@h1",
        "2020-05-01",
        "hospital 20231",
    ],
)
def test_names_of_institutions_and_roles_pass(name: str) -> None:
    assert door.refusals({"author": name}) == []


def test_every_party_asks_the_door_before_its_copy_of_the_log_grows(tmp_path: Path) -> None:
    log = [data for _, data in casebook.play().entries()]
    site = Site(open_db(tmp_path / "site.db"), id="hospital", keys=Keys.new())
    assert site.extend(log) == [[] for _ in log]
    story = kernel_world.Story()
    founded = story.do("coordinator", LogFounded, **kernel_world.founded_fields("coordinator"))
    told = story.say("010-1234-5678", MemberApplied, **kernel_world.apply_as("010-1234-5678", "company"))
    other = Site(open_db(tmp_path / "other.db"), id="hospital", keys=Keys.new())
    reasons = other.extend([founded.data, told.data])
    assert reasons == [[], ["the field 'author' looks like a telephone number, which must not enter the log"]]
    assert other.tree.size == 1


def test_a_number_that_is_not_listed_is_refused() -> None:
    assert door.refusals({"patients": 3}) == ["the field 'patients' holds a number that no event may hold"]
    assert door.refusals({"seen": {"size": 3, "rows": 4}}) == ["the field 'rows' holds a number that no event may hold"]


def test_no_event_has_another_integer_field_than_the_listed_ones() -> None:
    def integers(model: type[BaseModel]) -> set[str]:
        found: set[str] = set()
        for name, field in model.model_fields.items():
            kinds = {field.annotation, *get_args(field.annotation)}
            found |= {name} if int in kinds else set()
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    found |= integers(kind)
        return found

    kinds: tuple[Any, ...] = get_args(get_args(Event)[0])
    assert len(kinds) > 20
    assert set().union(*(integers(kind) for kind in kinds)) == door.NUMBERS
