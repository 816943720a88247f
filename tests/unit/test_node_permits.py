"""A node writes the permit that application, boards and its own settings make together, and reads none that it did not sign."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pumasi.kernel.envelope import parse_canonical, sign
from pumasi.kernel.errors import Invalid, Refused, Tampered
from pumasi.kernel.permit import Permit
from pumasi.kernel.study import Application, Dataset
from pumasi.node import permits, settings
from pumasi.node.settings import NodeSettings
from pumasi.store.document import Document
from tests.casebook import RESEARCHER
from tests.live_hub import DescribedBook

NOW = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)  # the third of March in Seoul
HERE = "바다대학교병원"


@pytest.fixture
def book() -> DescribedBook:
    book = DescribedBook()
    book.play(until="authorised")
    return book


def hospital_settings(folder: Path, **changes: str) -> NodeSettings:
    settings.write(folder, name=HERE, kind="hospital", hub="https://127.0.0.1:1", smallest_cell=10)
    text = (folder / "node.toml").read_text(encoding="utf-8")
    for key, value in changes.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{key} =")]
        text = text.replace(line, f"{key} = {value}")
    (folder / "node.toml").write_text(text, encoding="utf-8")
    return settings.load(folder)


def write(book: DescribedBook, folder: Path, *, application: dict[str, Any] | None = None, changes: dict[str, str] | None = None) -> Permit:
    asked = Application.read(book.body(book.applied) | (application or {}))
    datasets = [Dataset.read(book.body(book.world.datasets[name])) for name in book.hospitals]
    found = hospital_settings(folder, **(changes or {}))
    return permits.write(book.world, book.case, application=asked, datasets=datasets, settings=found, now=NOW)


def test_a_permit_says_what_everybody_agreed(book: DescribedBook, tmp_path: Path) -> None:
    permit = write(book, tmp_path)
    assert (permit.case, permit.hospital, permit.applicant) == (book.case, HERE, RESEARCHER)
    assert permit.applicant_key == book.keys_of(RESEARCHER).public and permit.application == book.applied
    assert permit.hospitals == sorted(book.hospitals) and permit.hospitals_at_least == 3
    assert (permit.smallest_cell, permit.release, permit.legal_basis) == (12, "two-people", "pipa-28-2")
    assert (permit.valid_from, permit.valid_until) == ("2026-03-03", "2026-08-30")
    columns = permit.tables["patients"].columns
    assert {name: (column.kind, column.keep) for name, column in columns.items()} == {
        "age": ("number", None), "birth_date": ("number", "year"), "death14": ("number", None),
    }  # fmt: skip
    assert columns["death14"].two_valued and columns["death14"].levels == ["0", "1"]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"smallest_cell": "25"}, "smallest_cell", 25),
        ({"smallest_cell": "1"}, "smallest_cell", 12),  # a board raised it; no setting lowers it
        ({"automatic_release": "true"}, "release", "automatic-if-clear"),
        ({"hospitals_at_least": "2"}, "hospitals_at_least", 2),
        ({"hospitals_at_least": "99"}, "hospitals_at_least", 3),
        ({"permit_days": "1"}, "valid_until", "2026-03-04"),
        ({"legal_basis": '"bioethics-act-16"'}, "legal_basis", "bioethics-act-16"),
    ],
)
def test_a_hospitals_own_settings_bind_its_permits(
    book: DescribedBook, tmp_path: Path, changes: dict[str, str], field: str, value: Any
) -> None:
    assert getattr(write(book, tmp_path, changes=changes), field) == value


def test_every_way_in_which_an_application_is_not_the_one_in_the_log_is_named_at_once(book: DescribedBook, tmp_path: Path) -> None:
    other = {"case": "0" * 32, "applicant": "other@company-2", "hospitals": [HERE], "smallest_cell": 5, "datasets": {}}
    with pytest.raises(Refused) as refused:
        write(book, tmp_path, application=other)
    assert refused.value.reasons == [
        "the application is for another case",
        "the application names another applicant than the one who signed it",
        "the application names other hospitals than its event",
        "the application names another smallest cell than its event",
        "the application does not pin one dataset of each hospital",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"case": "0" * 32}, "another case"),
        ({"applicant": "other@company-2"}, "another applicant"),
        ({"hospitals": [HERE]}, "other hospitals"),
        ({"smallest_cell": 9}, "another smallest cell"),
        ({"datasets": {HERE: "0" * 64}}, "one dataset of each hospital"),
    ],
)
def test_each_difference_alone_is_enough(book: DescribedBook, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        write(book, tmp_path, application=change)


def test_columns_that_the_hospitals_do_not_describe_alike_are_named(book: DescribedBook, tmp_path: Path) -> None:
    tables = book.body(book.applied)["tables"]
    columns = {**tables["patients"]["columns"], "height": {"is": "plain", "keep": None, "levels": None}}
    with pytest.raises(Invalid) as invalid:
        write(book, tmp_path, application={"tables": {"patients": {"person": "patient_no", "columns": columns}}})
    (reason,) = invalid.value.reasons
    assert "have no column 'height'" in reason and len(book.hospitals) == 3 and all(hospital in reason for hospital in book.hospitals)


def test_a_sealed_permit_opens_under_the_hospitals_own_key_alone(book: DescribedBook, tmp_path: Path) -> None:
    permit = write(book, tmp_path)
    document = permits.sealed(permit, book.keys_of(HERE))
    assert permits.opened(document, key=book.keys_of(HERE).public) == permit
    with pytest.raises(Tampered, match="not signed with the hospital's own key"):
        permits.opened(document, key=book.keys_of("river-hospital").public)


def test_a_permit_that_was_changed_or_is_something_else_does_not_open(book: DescribedBook, tmp_path: Path) -> None:
    permit, keys = write(book, tmp_path), book.keys_of(HERE)
    body = permits.sealed(permit, keys).body
    longer = {**body, "body": {**body["body"], "valid_until": "2036-01-01"}}
    with pytest.raises(Tampered, match="does not hold"):
        permits.opened(Document.new(longer), key=keys.public)
    as_a_job = parse_canonical(sign("job", permit.plain(), keys))
    with pytest.raises(Tampered):
        permits.opened(Document.new(as_a_job), key=keys.public)
    with pytest.raises(Tampered):
        permits.opened(Document.new(permit.plain()), key=keys.public)
    with pytest.raises(Invalid, match="extra"):
        permits.opened(Document.new(parse_canonical(sign("permit", {**permit.plain(), "more": 1}, keys))), key=keys.public)
