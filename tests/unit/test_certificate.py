"""The certificate of deletion: facts that the verifier has checked, ONE-SIDED until both have signed, readable on screen and paper."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pumasi.cli import app
from pumasi.kernel import event as ev
from pumasi.kernel.certificate import UNPROVABLE
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.ledger import certificate
from tests.casebook import COORDINATOR, play, play_certified

BOOK = play_certified()
FIRST, SECOND, _ = BOOK.hospitals
GOLDEN = Path(__file__).parents[1] / "golden" / "bundle-v1.json"


def found(**changes: Any) -> dict[str, Any]:
    return certificate.facts(BOOK.bundle(**changes), FIRST, policy=BOOK.policy().encode())


def test_it_says_what_both_sides_signed() -> None:
    facts = found()
    assert (facts["status"], facts["witnessed"], facts["pinned"], facts["complete"]) == ("TWO-SIDED", True, True, True)
    assert certificate.remarks(facts) == []
    assert (facts["legal_basis"], facts["objects"], facts["bytes"], facts["released"]) == ("pipa-28-2", 1, 4096, [BOOK.output])
    assert facts["unprovable"] == UNPROVABLE
    hospital, centre = facts["sides"]["hospital"], facts["sides"]["coordinator"]
    assert (hospital["signer"], hospital["attempts"], hospital["failures"]) == (FIRST, 3, 3)
    assert hospital["backups"] == [{"what": "weekly tape", "until": "2026-12-31"}]
    assert [purge["residual"] for purge in hospital["purged"]] == [0, 0]
    assert (centre["signer"], centre["method"]) == (COORDINATOR, "file overwritten and removed")
    assert hospital["entry"] < centre["entry"] < facts["time"]["size"]
    assert len(facts["time"]["cosigners"]) == 5 and all(item["at"].startswith("2026-03-02T") for item in facts["time"]["cosigners"])


def test_it_reads_one_sided_until_the_coordinating_body_has_signed() -> None:
    book = play_certified(until="pending")
    book.say(ev.WorkspaceDestroyed, FIRST, certificate=book.certificate_v2(FIRST))
    facts = certificate.facts(book.bundle(checkpoint=book.checkpoint(cosigners=[])), FIRST)
    assert (facts["status"], facts["sides"]["coordinator"], facts["time"]["cosigners"]) == ("ONE-SIDED", None, [])
    said = certificate.text(facts)
    for words in ("[ONE-SIDED]", "! ONE-SIDED", "! NOT WITNESSED", "! NOT CLOSED", "! KEYS NOT PINNED"):
        assert words in said
    page = certificate.html(facts)
    assert "한쪽만 서명함 · ONE-SIDED" in page and "TWO-SIDED" not in page


def test_without_a_destruction_there_is_no_certificate() -> None:
    with pytest.raises(NotFound, match="has not destroyed its workspace: the permit is 'deletion pending'"):
        certificate.facts(play_certified(until="pending").bundle(), FIRST)
    with pytest.raises(Invalid, match="takes no part in this case; it is one of"):
        certificate.facts(BOOK.bundle(), "river-hospital")


def test_nothing_is_believed_of_a_bundle_that_does_not_verify() -> None:
    data = BOOK.bundle()
    with pytest.raises(Tampered):
        certificate.facts(data.replace(b"pipa-28-2", b"ehds-53\x20\x20"), FIRST)
    with pytest.raises(Tampered, match="not the one that the policy pins"):
        certificate.facts(data, FIRST, policy=play(seed="another consortium").policy().encode())


def test_older_logs_have_a_certificate_too() -> None:
    data = GOLDEN.read_bytes()
    hospital = next(name for name in BOOK.hospitals if name.encode() in data)
    facts = certificate.facts(data, hospital)
    assert facts["status"] == "TWO-SIDED" and facts["unprovable"] == UNPROVABLE
    assert facts["sides"]["coordinator"]["method"] is None
    assert facts["sides"]["hospital"]["purged"] == [{"what": "workspace", "removed": 1, "residual": 0}]
    assert "Failed-decryption test: -" in certificate.text(facts)


class Words(HTMLParser):
    """The text of a page, and whether it asks for anything from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.fetched = "", list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [name for name, _ in attrs if name in ("src", "href")] + ([tag] if tag == "script" else [])

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_fact_in_both_languages_and_fetches_nothing() -> None:
    words = Words()
    words.feed(certificate.html(found()))
    assert words.fetched == []
    for _, korean, english in [*certificate.ROWS, *certificate.SIDE_ROWS]:
        assert korean in words.text and english in words.text
    for fact in (FIRST, BOOK.output, UNPROVABLE, "weekly tape: 2026-12-31", "3 of 3", "양쪽이 서명함 · TWO-SIDED"):
        assert fact in words.text


def test_what_stands_in_a_certificate_cannot_become_markup() -> None:
    facts = found()
    facts["sides"]["hospital"]["method"] = "<script>alert(1)</script>"
    facts["hospital"] = "<b>&"
    page = certificate.html(facts)
    assert "<script>" not in page and "<b>&" not in page and "&lt;script&gt;" in page


def test_an_impossible_instant_of_a_cosigner_is_said() -> None:
    assert certificate._instant(2**62) == "an instant that no calendar knows"


def test_the_command_writes_json_and_page(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes(BOOK.bundle())
    (tmp_path / "policy").write_text(BOOK.policy(), encoding="utf-8")
    more = ["--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html"), "--policy", str(tmp_path / "policy")]
    done = CliRunner().invoke(app, ["certificate", str(tmp_path / "bundle.json"), "--hospital", FIRST, *more])
    assert done.exit_code == 0 and "TWO-SIDED" in done.stdout
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8")) == json.loads(json.dumps(found()))
    assert (tmp_path / "c.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    done = CliRunner().invoke(app, ["certificate", str(tmp_path / "bundle.json"), "--hospital", SECOND])
    assert "KEYS NOT PINNED" in done.stdout
