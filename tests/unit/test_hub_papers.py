"""An application or a job whose document says something else than its event is not sequenced."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pumasi.hub import papers
from pumasi.kernel.envelope import Keys
from pumasi.kernel.event import Entry
from pumasi.store.db import open_db
from pumasi.store.document import Document
from pumasi.store.site import Site
from tests import casebook


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(open_db(tmp_path / "hub.db"), id="coordinator", keys=Keys.new())


def keep_all(site: Site, book: casebook.Casebook) -> None:
    for document in book.documents.values():
        site.keep(Document(document["salt"], document["body"]))


def events(book: casebook.Casebook, kind: str) -> list[Entry]:
    """Of the case that the casebook is about; its log holds another one too."""
    return [Entry(data) for _, data in book.entries() if json.loads(data)["body"]["type"] == kind]


def test_every_event_of_a_legal_case_fits_its_document(site: Site) -> None:
    book = casebook.play()
    keep_all(site, book)
    assert [papers.refusals(site, Entry(data)) for _, data in book.entries()] == [[] for _ in book.entries()]


@pytest.mark.parametrize("kind", ["ApplicationSubmitted", "JobSubmitted"])
def test_the_document_comes_first(site: Site, kind: str) -> None:
    (entry,) = events(casebook.play(), kind)
    assert papers.refusals(site, entry) == ["send the document before the event that commits to it"]


def test_an_event_without_its_document_does_not_enter_the_log(site: Site) -> None:
    book = casebook.play()
    outcome = site.extend(book.log, fits=partial(papers.refusals, site), in_order=True)
    assert outcome[-1] == ["send the document before the event that commits to it"]
    assert site.tree.size == len(outcome) - 1 < len(book.log)
    assert site.extend(book.log[: len(outcome) - 1], fits=lambda entry: ["never asked of what the log has"]) == [[]] * site.tree.size


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("ApplicationSubmitted", {"smallest_cell": 99}, ["the application and its event name another smallest_cell"]),
        ("ApplicationSubmitted", {"hospitals": ["elsewhere"]}, ["another hospitals", "another datasets"]),
        ("JobSubmitted", {"lead": "elsewhere"}, ["the job and its event name another lead"]),
        ("JobSubmitted", {"job": "ab" * 16}, ["the job and its event name another job"]),
        ("JobSubmitted", {"hospitals": ["elsewhere"]}, ["the job and its event name another hospitals"]),
    ],
)
def test_a_difference_is_named(site: Site, kind: str, change: dict[str, Any], told: list[str]) -> None:
    book = casebook.play()
    keep_all(site, book)
    (said,) = events(book, kind)
    body = json.loads(said.data)["body"] | change
    fields = {key: value for key, value in body.items() if key not in ("type", "author", "seq", "prev", "at")}
    entry = book.entry(getattr(casebook.ev, kind), body["author"], **fields)
    reasons = papers.refusals(site, entry)
    assert len(reasons) == len(told)
    assert all(any(part in reason for reason in reasons) for part in told)
