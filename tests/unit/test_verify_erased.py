"""Documents that were erased: every proof stays valid, the verdict says what is missing, and nothing else is checked less."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pumasi.kernel.envelope import parse_canonical
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.ledger import bundle, certificate, verify
from tests.casebook import Casebook, play, play_certified
from tests.unit.test_verify import DOCUMENTS, said

# What a document is compared with in another document: without the other, nobody can tell.
BESIDE_ANOTHER = ("purpose", "analyses", "columns", "does not name", "question", "legal basis", "covers less")


def built_without(book: Casebook, erased: set[str]) -> bytes:
    kept = {commitment: document for commitment, document in book.documents.items() if commitment not in erased}
    return bundle.build(
        book.case, entries=book.entries(), checkpoint=book.checkpoint(), tree=book.tree, documents=kept, erased=erased
    )  # fmt: skip


def without_documents(book: Casebook) -> dict[str, bytes]:
    """The bundle of a case after one document was erased, after some were, after all were."""
    shown, chance = sorted(parse_canonical(book.bundle())["documents"]), random.Random(book.seed)
    lacking = {commitment: {commitment} for commitment in shown} | {"all": set(shown)}
    lacking |= {f"some {number}": set(chance.sample(shown, chance.randrange(2, len(shown)))) for number in range(20)}
    return {name: built_without(book, erased) for name, erased in lacking.items()}


@pytest.mark.parametrize("make", [play, play_certified])
def test_every_proof_stays_valid_and_the_verdict_says_what_is_missing(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    book = make()
    whole = parse_canonical(book.bundle())
    for data in without_documents(book).values():
        missing = set(whole["documents"]) - set(parse_canonical(data)["documents"])
        verified = verify.verify(data, may_be_erased=True)
        assert set(verified.history.erased) == missing
        assert (verified.head, verified.cosigners) == (verify.verify(book.bundle()).head, verify.verify(book.bundle()).cosigners)
        code, out = said(tmp_path, capsys, data, book.policy(), "--erased")
        assert (code, out.startswith("VERIFIED")) == (0, True)
        assert all(f"{commitment[:16]}… said: it was erased or left out" in out for commitment in missing)
        code, out = said(tmp_path, capsys, data, book.policy())
        assert code == 1 and "is not in the bundle; with --erased the rest is checked" in out


def test_of_a_whole_bundle_nothing_is_said_to_be_erased(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--erased"]):
        code, out = said(tmp_path, capsys, play().bundle(), None, *more)
        assert (code, "it was erased" in out) == (0, False)


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"an application with a float"}))
def test_a_document_that_is_there_is_checked_as_before(name: str) -> None:
    make, words = DOCUMENTS[name]
    book = make()
    with pytest.raises(verify.Broken) as refused:
        verify.verify(book.bundle(), may_be_open=True, may_be_erased=True)
    assert any(words in reason for reason in refused.value.reasons)
    if not any(other in words for other in BESIDE_ANOTHER) and "larger cells" not in words:
        last = list(book.documents)[-1]  # the one that does not fit
        with pytest.raises(verify.Broken) as refused:
            verify.verify(built_without(book, set(book.documents) - {last}), may_be_open=True, may_be_erased=True)
        assert any(words in reason for reason in refused.value.reasons)


def test_a_job_that_asks_for_smaller_cells_is_found_without_the_permit() -> None:
    book = DOCUMENTS["a job with smaller cells"][0]()
    erased = set(book.documents) - {list(book.documents)[-1]}
    with pytest.raises(verify.Broken) as refused:
        verify.verify(built_without(book, erased), may_be_open=True, may_be_erased=True)
    assert "larger cells" in refused.value.reasons[0]


def test_a_document_that_is_missing_and_was_not_erased_is_asked_for() -> None:
    book = play()
    commitment = next(iter(book.documents))
    others = {name: document for name, document in book.documents.items() if name != commitment}
    with pytest.raises(Invalid, match=commitment):
        bundle.build(book.case, entries=book.entries(), checkpoint=book.checkpoint(), tree=book.tree, documents=others, erased={"00" * 32})


def test_a_certificate_is_shown_of_a_whole_bundle_only() -> None:
    book = play_certified()
    for data in without_documents(book).values():
        with pytest.raises(Tampered, match="is not in the bundle"):
            certificate.facts(data, book.hospitals[0])
