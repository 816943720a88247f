"""What is in a bundle, what is left out, and what cannot be made into one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import parse_canonical
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger import bundle, verify
from pumasi.ledger.note import parse_checkpoint
from pumasi.ledger.tree import Tree, leaf_hash
from tests.casebook import RESEARCHER, Casebook, play

WHOLE = play()


def built(book: Casebook, **changes: Any) -> dict[str, Any]:
    arguments = {"entries": book.entries(), "checkpoint": book.checkpoint(), "tree": book.tree, "documents": book.documents} | changes
    value: dict[str, Any] = parse_canonical(bundle.build(book.case, **arguments))
    return value


def test_a_bundle_is_one_canonical_document_with_these_fields() -> None:
    value = built(WHOLE)
    assert value.keys() == {"format", "case", "checkpoint", "entries", "heads", "documents"}
    assert value["format"] == "pumasi bundle v1"
    assert value["case"] == WHOLE.case
    assert all(item.keys() == {"index", "event", "proof"} for item in value["entries"])
    assert all(item["event"].keys() == {"body", "key", "sig"} for item in value["entries"])


def test_it_holds_the_consortiums_events_and_the_cases_and_no_others() -> None:
    cases = [item["event"]["body"]["case"] for item in built(WHOLE)["entries"]]
    assert set(cases) == {CONSORTIUM, WHOLE.case}
    assert len(cases) == len(WHOLE.log) - 1  # another case stands in the log


def test_it_opens_the_documents_of_the_case_and_no_others() -> None:
    extra = {"ff" * 32: {"salt": "00" * 32, "body": "somebody else's"}}
    documents = built(WHOLE, documents=WHOLE.documents | extra)["documents"]
    per_hospital = 3  # permit, manifest, certificate
    assert len(documents) == 1 + 1 + per_hospital * len(WHOLE.hospitals)
    assert documents.keys() == WHOLE.documents.keys()
    assert sorted(documents) == sorted(bundle.select(WHOLE.case, enumerate(WHOLE.log))[1])


def test_it_holds_each_head_that_a_hospital_saw_once() -> None:
    heads = built(WHOLE)["heads"]
    assert [head["size"] for head in heads] == sorted({head["size"] for head in heads})
    assert len(heads) == len(WHOLE.hospitals)
    assert built(play(until="authorised"))["heads"] == []


def test_what_follows_the_closing_event_is_left_out_with_its_cosigners() -> None:
    book = play()
    before = len(book.entries())
    book.member("late-hospital", "hospital")
    value = built(book)
    assert len(value["entries"]) == before
    names = [line.name for line in parse_checkpoint(value["checkpoint"]).lines]
    assert len(names) == 6
    assert not any("late-hospital" in name for name in names)
    assert verify.verify(book.bundle(), may_be_open=True)


def test_a_cosigner_that_was_not_admitted_is_left_out() -> None:
    book = play(until="issued")
    book.apply_only("waiting-hospital", "hospital")
    names = [line.name for line in parse_checkpoint(built(book)["checkpoint"]).lines]
    assert len(names) == 6
    assert verify.verify(book.bundle(), may_be_open=True)


def test_a_case_that_is_not_in_the_log_is_not_found() -> None:
    with pytest.raises(NotFound):
        bundle.build("00" * 16, entries=[], checkpoint=WHOLE.checkpoint(), tree=WHOLE.tree, documents={})


def test_a_checkpoint_must_cover_the_case_and_be_a_head_of_the_log() -> None:
    with pytest.raises(Invalid, match="later one"):
        built(WHOLE, checkpoint=WHOLE.checkpoint(len(WHOLE.log) - 1))
    other = Tree()
    for data in WHOLE.log[:-1]:
        other.append(leaf_hash(data))
    with pytest.raises(Tampered, match="not a head"):
        built(WHOLE, tree=other)
    other.append(leaf_hash(b"rewritten"))
    with pytest.raises(Tampered, match="not a head"):
        built(WHOLE, tree=other)


def test_entries_must_be_those_of_the_log() -> None:
    entries = WHOLE.entries()
    (index, _), (_, data) = entries[3], entries[4]
    with pytest.raises(Tampered, match="at its index"):
        built(WHOLE, entries=[*entries[:3], (index, data), *entries[4:]])


def test_a_missing_document_is_said() -> None:
    commitment = next(iter(WHOLE.documents))
    with pytest.raises(Invalid, match=commitment):
        built(WHOLE, documents={name: document for name, document in WHOLE.documents.items() if name != commitment})


@pytest.mark.parametrize("seen", [{"size": 20, "root": "00" * 32}, {"size": 10_000, "root": "00" * 32}])
def test_a_rewritten_log_makes_no_bundle(seen: dict[str, Any]) -> None:
    book = play(until="authorised")
    hospital = book.hospitals[0]
    book.say(ev.PermitIssued, hospital, permit=book.permit(hospital), seen=seen, **book.terms())
    with pytest.raises(Tampered, match="rewritten"):
        book.bundle()


def test_the_casebook_plays_only_what_the_rules_allow() -> None:
    assert WHOLE.world.cases[WHOLE.case].state == "closed"
    assert play().bundle() == WHOLE.bundle()
    book = play()
    assert book.force(ev.StudyDone, RESEARCHER)
    assert json.loads(book.log[-1])["body"]["type"] == "StudyDone"
