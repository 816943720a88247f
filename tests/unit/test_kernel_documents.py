"""Documents are strict: nothing unknown, nothing converted, every name and every day a real one, and no error repeats a value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pumasi.kernel import event as ev
from pumasi.kernel.certificate import LIMITS, Certificate, Manifest
from pumasi.kernel.codes import ENDINGS, FAILURES, EndReason, FailReason, choices
from pumasi.kernel.envelope import sign
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, Tampered, refuse_if
from pumasi.kernel.event import Entry, body_of
from pumasi.kernel.model import Day, Hash, Instant, Line, MemberId, PersonId, PublicKey, RandomId
from tests import kernel_world as k

FORMS: dict[str, tuple[Any, list[str], list[str]]] = {
    "member": (MemberId, ["haneul", "숲병원", "Hospital of the North", "a" * 64, "상급종합병원 1"],
               ["", " a", "a ", "a@b", "a|b", "a/b", "a\\b", "a\x00", "a\nb", "a\n", "a\u200bb", "a\u202eb", "a" * 65]),
    "person": (PersonId, ["ari@haneul", "drb-1@숲병원"],
               ["ari", "@haneul", "ari@", "Ari@haneul", "아리@haneul", "ari@a@b", "ari@a\n", "a" * 33 + "@b"]),
    "id": (RandomId, ["0a" * 16], ["0A" * 16, "0a" * 15, "0a" * 17, "0a" * 16 + "\n", "٠٠" * 16]),
    "hash": (Hash, ["0a" * 32], ["0A" * 32, "0a" * 31, "0a" * 32 + "\n"]),
    "key": (PublicKey, [k.keys("somebody").public], ["A" * 44, "A" * 43, "A" * 42 + "-=", "A" * 43 + "=\n"]),
    "instant": (Instant, ["2026-03-02T00:00:00Z", "2028-02-29T23:59:59Z"],
                ["2026-03-02 00:00:00Z", "2026-03-02T00:00:00", "2026-03-02T00:00:00+09:00", "2026-03-02T00:00:00.5Z",
                 "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-03-02T24:00:00Z", "2026-03-02T00:60:00Z",
                 "2026-03-02T00:00:60Z", "２０２６-03-02T00:00:00Z"]),
    "day": (Day, ["2026-03-02", "2028-02-29"],
            ["2026-3-2", "20260302", "2026-02-29", "2026-00-01", "0000-01-01", "٢٠٢٦-٠٣-٠٢", "2026-W10-1"]),
    "line": (Line, ["x", "나이 (세)", "a" * 300], ["", " x", "x\ty", "x\ny", "x\u2028y", "\ufeffx", "a" * 301]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    form, good, bad = FORMS[name]
    adapter = TypeAdapter(form)
    assert [adapter.validate_python(text) for text in good] == good
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


def body(kind: type[Any] = ev.JobSubmitted, **fields: Any) -> dict[str, Any]:
    common = {"case": k.CASE, "author": k.APPLICANT, "seq": 0, "prev": None, "at": "2026-03-02T00:00:00Z"}
    return body_of(kind(**common, **k.job_fields())) | fields


def test_an_entry_is_a_signed_event() -> None:
    data = sign("event", body(), k.keys(k.APPLICANT))
    entry = Entry(data)
    assert isinstance(entry.event, ev.JobSubmitted) and entry.data == data and entry.key == k.keys(k.APPLICANT).public
    assert body_of(entry.event) == body()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "JobDone"}, {"type": "JobFailed"}, {"type": None}, {"extra": 1}, {"case": "Consortium"}, {"case": k.CASE + "\n"},
        {"author": ""}, {"author": 1}, {"seq": -1}, {"seq": "0"}, {"seq": True}, {"seq": 0.5}, {"prev": ""}, {"prev": "0A" * 32},
        {"at": "yesterday"}, {"job": "x"}, {"hospitals": []}, {"hospitals": k.HERE}, {"hospitals": {k.HERE: 1}}, {"lead": "a@b"},
    ],
    ids=repr,
)  # fmt: skip
def test_an_event_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Tampered, match="does not have the form of any known event"):
        Entry(sign("event", body(**change), k.keys(k.APPLICANT)))


@pytest.mark.parametrize("field", body())
def test_an_event_lacks_no_field(field: str) -> None:
    with pytest.raises(Tampered, match="does not have the form of any known event"):
        Entry(sign("event", {key: value for key, value in body().items() if key != field}, k.keys(k.APPLICANT)))


@pytest.mark.parametrize("value", [None, 1, "event", [], {}])
def test_an_event_is_an_object(value: Any) -> None:
    with pytest.raises(Tampered):
        Entry(sign("event", value, k.keys(k.APPLICANT)))


def test_another_signed_document_is_no_event() -> None:
    with pytest.raises(Tampered):
        Entry(sign("request", body(), k.keys(k.APPLICANT)))


def test_events_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Entry(sign("event", body(), k.keys(k.APPLICANT))).event.seq = 7


CERTIFICATE = {
    "case": k.CASE, "hospital": k.HERE, "permit": "ab" * 32, "legal_basis": "pipa-28-2", "algorithm": "AES-256-GCM", "method": "file",
    "objects": 1, "bytes": 1, "attempts": 1, "failures": 1, "residual": 0, "released": [], "not_covered": LIMITS,
    "at": "2026-03-02T00:00:00Z",
}  # fmt: skip
MANIFEST = {
    "case": k.CASE, "hospital": k.HERE, "permit": "ab" * 32, "tables": {"patients": ["age"]}, "objects": 1, "bytes": 1,
    "ciphertext": "ab" * 32,
}  # fmt: skip


@pytest.mark.parametrize(("model", "fields"), [(Certificate, CERTIFICATE), (Manifest, MANIFEST)])
def test_certificates_and_manifests_are_strict(model: Any, fields: dict[str, Any]) -> None:
    assert model.read(fields).plain() == fields
    for field in fields:
        with pytest.raises(Invalid, match=field):
            model.read({key: value for key, value in fields.items() if key != field})
    for change in ({"objects": -1}, {"bytes": "1"}, {"more": 1}, {"case": "consortium"}):
        with pytest.raises(Invalid):
            model.read({**fields, **change})


def test_an_error_says_where_and_never_what() -> None:
    secret = "a value that nobody should read"
    with pytest.raises(Invalid) as refused:
        Certificate.read({**CERTIFICATE, "case": secret, "objects": secret, "legal_basis": secret, "released": [secret]})
    assert [reason.split(": ")[:2] for reason in refused.value.reasons] == [
        ["Certificate", "case"], ["Certificate", "legal_basis"], ["Certificate", "objects"], ["Certificate", "released.0"],
    ]  # fmt: skip
    assert secret not in str(refused.value)


def test_a_document_that_is_no_object_is_told_in_one_sentence() -> None:
    for value in (None, [], "text"):
        with pytest.raises(Invalid) as refused:
            Manifest.read(value)
        assert len(refused.value.reasons) == 1


def test_errors_carry_all_reasons_and_their_exit_code() -> None:
    refuse_if(None, None)
    with pytest.raises(Refused) as refused:
        refuse_if("one", None, "two")
    assert (refused.value.reasons, str(refused.value)) == (["one", "two"], "one; two")
    assert [error.exit_code for error in (Refused, Invalid, NotFound, Tampered, PumasiError)] == [3, 2, 2, 1, 1]


def test_every_reason_to_stop_has_words() -> None:
    assert ", ".join(FAILURES) == choices(FailReason)
    assert ", ".join(ENDINGS) == choices(EndReason)
