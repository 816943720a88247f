"""An application or a job whose document says something else than its event is not sequenced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pumasi.hub import papers
from pumasi.kernel.envelope import Keys
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


def events(book: casebook.Casebook, kind: str) -> list[bytes]:
    """Of the case that the casebook is about; its log holds another one too."""
    return [data for _, data in book.entries() if json.loads(data)["body"]["type"] == kind]


def test_every_event_of_a_legal_case_fits_its_document(site: Site) -> None:
    book = casebook.play()
    keep_all(site, book)
    assert [papers.refusals(site, data) for _, data in book.entries()] == [[] for _ in book.entries()]


@pytest.mark.parametrize("kind", ["ApplicationSubmitted", "JobSubmitted"])
def test_the_document_comes_first(site: Site, kind: str) -> None:
    (data,) = events(casebook.play(), kind)
    assert papers.refusals(site, data) == ["send the document before the event that commits to it"]


def test_what_is_no_event_is_told_so(site: Site) -> None:
    assert papers.refusals(site, b"{}") != []


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
    (data,) = events(book, kind)
    body = json.loads(data)["body"] | change
    fields = {key: value for key, value in body.items() if key not in ("type", "author", "seq", "prev", "at")}
    entry = book.entry(getattr(casebook.ev, kind), body["author"], **fields).data
    reasons = papers.refusals(site, entry)
    assert len(reasons) == len(told)
    assert all(any(part in reason for reason in reasons) for part in told)
