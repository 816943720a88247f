"""The verifier: legal cases pass and are reported; whatever the rules or the documents do not allow is refused, with the reason."""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import rules
from pumasi.kernel.envelope import canonical, commit, detached, parse_canonical, sign
from pumasi.kernel.errors import Tampered
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.ledger import bundle, note, verify
from pumasi.ledger.tree import leaf_hash
from tests.casebook import BANDS, COORDINATOR, MONTHS, ORIGIN, PLATFORM, RESEARCHER, STEPS, Casebook, play, play_certified, play_ruled

WHOLE = play()
FIRST, SECOND, THIRD = WHOLE.hospitals


def reasons(data: bytes) -> list[str]:
    """Why the verifier refuses these bytes; empty when it does not."""
    try:
        verify.verify(data, may_be_open=True)
    except verify.Broken as broken:
        return list(broken.reasons)
    return []


def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, policy: str | None = None, *more: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    (tmp_path / "bundle.json").write_bytes(data)
    arguments = [str(tmp_path / "bundle.json"), *more]
    if policy is not None:
        (tmp_path / "policy").write_text(policy, encoding="utf-8")
        arguments += ["--policy", str(tmp_path / "policy")]
    code = verify.main(arguments)
    return code, capsys.readouterr().out


# --- what passes, and what is said -----------------------------------------------------------------------------------


def test_a_whole_case_is_verified_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, WHOLE.bundle())
    assert code == 0
    assert f"VERIFIED: case {WHOLE.case}" in out
    assert "The case is complete: the closing event counts 51 events of the case and 61 of the consortium" in out
    assert f"{FIRST}: the data review board approved (2 of 2 votes" in out
    assert f"after checker-0@{FIRST} and checker-1@{FIRST} had approved it" in out
    assert "5 cosignatures on the head" in out
    assert "no cryptography proves that" in out
    assert "Who the people" in out
    assert "without a policy they are the bundle's own" in out
    assert out.rstrip().endswith("KEYS NOT PINNED (consistent, not authentic)")
    assert "NOT WITNESSED" not in out


def test_a_case_under_rules_is_verified_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, play_ruled().bundle())
    assert code == 0
    assert f"{FIRST}: shows the table 'patients' as the rules 'kr-pseudonym' treat it, or less of it (SHA-256 " in out


def test_fingerprints_are_those_that_the_kernel_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pumasi.kernel.envelope import fingerprint

    _, out = said(tmp_path, capsys, WHOLE.bundle())
    for party in (COORDINATOR, *WHOLE.hospitals, RESEARCHER):
        assert f"{fingerprint(WHOLE.keys_of(party).public)}  {party}" in out


def test_a_policy_pins_the_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, WHOLE.bundle(), WHOLE.policy(quorum=3))
    assert code == 0
    assert "the one that the policy pins, and the cosignatures reach its quorum" in out
    assert "NOT PINNED" not in out


def test_a_policy_of_another_log_or_a_missed_quorum_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = WHOLE.bundle(checkpoint=WHOLE.checkpoint(cosigners=[FIRST, SECOND]))
    assert said(tmp_path, capsys, few, WHOLE.policy(quorum=2))[0] == 0
    code, out = said(tmp_path, capsys, few, WHOLE.policy(quorum=3))
    assert (code, "do not reach the quorum" in out, "VERIFIED:" in out) == (1, True, False)
    other = play(seed="another consortium")
    code, out = said(tmp_path, capsys, WHOLE.bundle(), other.policy(quorum=1))
    assert (code, "not the one that the policy pins" in out, "quorum" in out) == (1, True, True)


def test_without_cosignatures_it_is_not_witnessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, WHOLE.bundle(checkpoint=WHOLE.checkpoint(cosigners=[])))
    assert (code, "0 cosignatures" in out, "NOT WITNESSED" in out) == (0, True, True)
    code, out = said(tmp_path, capsys, WHOLE.bundle(checkpoint=WHOLE.checkpoint(cosigners=[FIRST])), WHOLE.policy(quorum=0))
    assert (code, "1 cosignature on the head" in out) == (0, True)


@pytest.mark.parametrize("step", STEPS[STEPS.index("submitted") :])
def test_every_stage_of_a_case_is_verified(step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = play(until=step)
    code, out = said(tmp_path, capsys, book.bundle(), None, "--open")
    assert (code, out.startswith("VERIFIED")) == (0, True), out
    last = book.entries()[-1][0]
    assert ("The case is complete" in out) is (step == "closed")
    assert (f"complete only up to entry {last}" in out) is (step != "closed")
    code, out = said(tmp_path, capsys, book.bundle())
    assert code == (0 if step == "closed" else 1)
    assert (f"complete only up to entry {last}" in out) is (step != "closed")
    assert "NOT VERIFIED" in out or step == "closed"


@pytest.mark.parametrize("step", ["submitted", "issued", "closed"])
def test_a_hospital_without_permit_is_said(step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = said(tmp_path, capsys, play(until=step).bundle(), None, "--open")
    assert ("no permit was issued" in out) is (STEPS.index(step) < STEPS.index("issued"))


def test_automatic_release_one_hospital_and_a_board_of_one_are_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, play(release="automatic-if-clear").bundle())
    assert (code, "automatically, as its permit allows" in out) == (0, True)
    for book in (play(hospitals=1), play(hospitals=5), play(drb=1), play(drb=6)):
        assert said(tmp_path, capsys, book.bundle())[0] == 0


def test_a_one_sided_deletion_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = play(until="done")
    book.say(ev.WorkspaceDestroyed, FIRST, certificate=book.certificate(FIRST))
    code, out = said(tmp_path, capsys, book.bundle(), None, "--open")
    assert (code, "ONE-SIDED" in out) == (0, True)


def test_a_deletion_in_two_steps_is_verified_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for until, words in (
        ("pending", "its workspace is unusable, and to be destroyed after 2026-03-09T"),
        ("certified", "so did the coordinating body with its share"),
        ("closed", "The case is complete"),
    ):
        code, out = said(tmp_path, capsys, play_certified(until=until).bundle(), None, "--open")
        assert (code, words in out) == (0, True), out
    assert said(tmp_path, capsys, play_certified().bundle(), play_certified().policy())[0] == 0


def test_a_reversed_deletion_is_verified_and_can_end_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = at_stage("reversed", "two-people")
    book.say(ev.StudyDone, RESEARCHER)
    book.say(ev.DeletionPending, FIRST, until=book.until(0.01))
    book.certified()
    book.closed()
    assert said(tmp_path, capsys, book.bundle())[0] == 0


def withdrawn_and_pending() -> Casebook:
    book = play(until="released")
    book.say(ev.ApplicationWithdrawn, RESEARCHER)
    book.pending()
    return book


def expired_and_pending() -> Casebook:
    book = play(until="released")
    book.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    book.say(ev.DeletionPending, FIRST, until=book.until())
    return book


def never_opened() -> Casebook:
    book = play(until="issued")
    book.say(ev.StudyDone, RESEARCHER)
    book.pending()
    return book


def certified_and_pending() -> Casebook:
    book = play_certified(until="pending")
    book.say(ev.ShareCertified, COORDINATOR, hospital=FIRST, certificate=book.share_certificate(FIRST))
    return book


@pytest.mark.parametrize(
    ("make", "kind", "fields", "words"),
    [
        (lambda: play(until="done"), ev.DeletionPending, {"until": "2026-03-01T00:00:00Z"}, "due before"),
        (lambda: play(until="done"), ev.DeletionPending, {"until": "2026-06-01T00:00:00Z"}, "at most 31 days"),
        (lambda: play_certified(until="pending"), ev.ReversalAsked, {"at": "2026-04-01T00:00:00Z"}, "is over"),
        (withdrawn_and_pending, ev.ReversalAsked, {}, "the application is 'withdrawn'"),
        (expired_and_pending, ev.ReversalAsked, {}, "over by its date"),
        (never_opened, ev.ReversalAsked, {}, "no workspace"),
        (certified_and_pending, ev.ReversalAsked, {}, "destroyed already"),
        (lambda: play_certified(until="pending"), ev.ReversalAgreed, {"hospital": FIRST}, "not possible"),
        (lambda: play_certified(until="certified"), ev.ReversalAsked, {}, "not possible"),
    ],
)
def test_a_deletion_or_reversal_that_the_rules_refuse_is_refused(
    make: Callable[[], Casebook], kind: type[Any], fields: dict[str, Any], words: str
) -> None:
    book = make()
    author = {ev.DeletionPending: FIRST, ev.ReversalAsked: f"steward@{FIRST}", ev.ReversalAgreed: COORDINATOR}[kind]
    assert book.force(kind, author, **fields)
    assert any(words in reason for reason in reasons(book.bundle())), reasons(book.bundle())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"purged": [{"what": "workspace", "removed": 1, "residual": 1}]}, "files were left"),
        ({"purged": [{"what": "scratch", "removed": 0, "residual": 0}]}, "does not say that the workspace was removed"),
        ({"purged": []}, "fields of a certificate"),
        ({"manifest": "00" * 32}, "another workspace"),
        ({"manifest": None}, "another workspace"),
        ({"failures": 2}, "could still be opened"),
        ({"version": 3}, "fields of a certificate"),
        ({"backups": [{"what": "tape"}]}, "fields of a certificate"),
        ({"signer": SECOND}, "key that the log knows"),
        ({"permit": "00" * 32}, "another case, hospital or permit"),
    ],
)
def test_a_certificate_of_the_second_version_that_reports_less_is_refused(changes: dict[str, Any], words: str) -> None:
    book = play_certified(until="pending")
    book.say(ev.WorkspaceDestroyed, FIRST, certificate=book.certificate_v2(FIRST, **changes))
    assert words in reasons(book.bundle())[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"failures": 2}, "could still be used"),
        ({"signer": FIRST}, "key that the log knows"),
        ({"hospital": SECOND}, "another case, hospital or permit"),
        ({"x": 1}, "fields of a share-certificate"),
    ],
)
def test_a_share_certificate_that_reports_less_is_refused(changes: dict[str, Any], words: str) -> None:
    book = play_certified(until="pending")
    book.say(ev.ShareCertified, COORDINATOR, hospital=FIRST, certificate=book.share_certificate(FIRST, **changes))
    assert words in reasons(book.bundle())[0]


def test_a_certificate_never_passes_for_the_other_sides() -> None:
    book = play_certified(until="pending")
    body = book.body(book.share_certificate(FIRST))
    book.say(ev.ShareCertified, COORDINATOR, hospital=FIRST, certificate=book.keep_signed("certificate", body, COORDINATOR))
    assert "signature on the share-certificate" in reasons(book.bundle())[0]


# --- keys that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS[STEPS.index("submitted") : STEPS.index("closed")])
def test_keys_may_change_at_every_stage(step: str) -> None:
    """Whatever was signed before counts by the key of its place, whatever comes later by the new one, the cosignatures too."""
    book = play(until=step)
    for who in (FIRST, f"steward@{FIRST}", RESEARCHER, COORDINATOR, f"checker-0@{FIRST}", f"drb-1@{FIRST}"):
        book.rotate(who)
    assert reasons(book.bundle()) == []
    book.play(after=step)
    verified = verify.verify(book.bundle())
    assert len(verified.cosigners) == 5
    assert verify.policy_refusals(verify.read_policy(book.policy(quorum=5).encode()), verified) == []
    old = play(until=step).cosigners
    forged = book.checkpoint(cosigners=[])
    forged = note.add_cosignature(forged, note.cosign(forged, note.cosigner_name(ORIGIN, FIRST), key=old[FIRST], time=1))
    value = json.loads(book.bundle()) | {"checkpoint": forged}
    assert "nobody's whom the log admitted" in reasons(verify.canonical(value))[0]
    assert forged.count("—") == 2 and json.loads(book.bundle(checkpoint=forged))["checkpoint"].count("—") == 1


def test_a_permit_written_before_its_node_heard_of_a_new_key_of_the_applicant_is_theirs() -> None:
    book = play(until="authorised")
    permits = [book.permit(hospital) for hospital in book.hospitals]
    book.rotate(RESEARCHER)
    for hospital, permit in zip(book.hospitals, permits, strict=True):
        book.say(ev.PermitIssued, hospital, permit=permit, seen=book.head(), **book.terms())
    book.play(after="issued")
    assert reasons(book.bundle()) == []


def test_after_a_revocation_the_same_person_signs_with_another_key() -> None:
    book = play(until="reviewed")
    book.revoke(f"steward@{FIRST}", by=FIRST)
    book.keys[f"steward@{FIRST}"] = book.new_keys("steward")
    book.person(f"steward@{FIRST}", "steward")
    book.revoke("river-hospital", by=COORDINATOR)
    new, cosigner = book.new_keys("river-hospital"), book.new_keys("its cosigner")
    fields = {"kind": "hospital", "key": new.public, "box": new.box_public, "cosigner": cosigner.public}
    book.say(ev.MemberApplied, "river-hospital", case=CONSORTIUM, keys=new, **fields)
    assert reasons(book.bundle()) == []
    book.say(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member="river-hospital")
    book.cosigners["river-hospital"] = cosigner.signing
    book.play(after="reviewed")
    assert len(verify.verify(book.bundle()).cosigners) == 5


# --- the log itself changes hands ------------------------------------------------------------------------------------

STAYED, GONE = verify.read_policy(WHOLE.policy(quorum=4).encode()), "the log's key is not the one that the policy pins"


@pytest.mark.parametrize("step", STEPS[STEPS.index("members") : STEPS.index("closed")])
def test_the_log_may_be_handed_over_at_every_stage(step: str) -> None:
    """What was before counts by the old key, what comes later by the new one; a policy that pins the old key goes with the quorum."""
    book = play(until=step)
    book.hand_over(signers=list(book.cosigners)[1:])
    book.play(after=step)
    verified = verify.verify(book.bundle())
    assert (verified.head.origin, len(verified.cosigners)) == ("log.pumasi.example/2", 5)
    assert verify.policy_refusals(STAYED, verified) == []
    assert verify.policy_refusals(verify.read_policy(book.policy(quorum=5).encode()), verified) == []
    told = "\n".join(verify.report(verified, pinned=True))
    assert f"After entry {book.world.logs[1].since - 2} the log was handed over to the name log.pumasi.example/2" in told


def test_a_successor_of_another_name_goes_on() -> None:
    book = play(until="opened")
    book.hand_over("another body")
    assert reasons(book.bundle()) == []
    assert book.force(ev.KeyRevoked, COORDINATOR, case=CONSORTIUM, subject=SECOND)
    assert "this key as that of" in reasons(book.bundle())[0]


def test_the_logs_key_may_change_and_a_policy_stands_for_the_next() -> None:
    book = play(until="opened")
    book.rotate_log()
    book.rotate(FIRST)
    book.play(after="opened")
    verified = verify.verify(book.bundle())
    assert verify.policy_refusals(verify.read_policy(WHOLE.policy(quorum=5).encode()), verified) == []
    assert "From entry" in "\n".join(verify.report(verified, pinned=True))


def test_a_policy_does_not_follow_a_key_that_was_revoked() -> None:
    book = play(until="opened")
    book.revoke(THIRD, by=COORDINATOR)
    new, cosigner = book.new_keys(THIRD), book.new_keys("its cosigner")
    fields = {"kind": "hospital", "key": new.public, "box": new.box_public, "cosigner": cosigner.public}
    book.say(ev.MemberApplied, THIRD, case=CONSORTIUM, keys=new, **fields)
    book.say(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member=THIRD)
    book.cosigners[THIRD] = cosigner.signing
    verified = verify.verify(book.bundle(), may_be_open=True)
    assert len(verified.cosigners) == 5
    assert verify.policy_refusals(STAYED, verified) == []
    five = verify.read_policy(WHOLE.policy(quorum=5).encode())
    assert verify.policy_refusals(five, verified) == ["the cosignatures do not reach the quorum of the policy"]


def test_a_policy_asks_its_own_quorum_of_a_handover() -> None:
    book = play(until="opened")
    book.hand_over(signers=list(book.cosigners)[:4])
    book.play(after="opened")
    verified = verify.verify(book.bundle())
    five = verify.read_policy(WHOLE.policy(quorum=5).encode())
    assert verify.policy_refusals(five, verified) == ["the signatures on a handover of the log do not reach the quorum of the policy"]
    new = verify.read_policy(book.policy(quorum=5).encode())
    assert verify.policy_refusals(new, verified) == []
    assert verify.policy_refusals(STAYED, verified) == []


def test_the_old_log_is_not_the_new_one() -> None:
    """After the handover the old key signs nothing, and before it the new one did not."""
    book = play(until="opened")
    old_name, old_key = book.origin, book.log_key
    book.hand_over()
    book.play(after="opened")
    new_name, new_key = book.origin, book.log_key
    for book.origin, book.log_key in ((old_name, old_key), (new_name, old_key), (old_name, new_key)):
        value = json.loads(handed_over().bundle()) | {"checkpoint": book.checkpoint()}
        assert reasons(verify.canonical(value))


def handed_over() -> Casebook:
    book = play(until="opened")
    book.hand_over()
    book.play(after="opened")
    return book


def moved(book: Casebook, who: str = COORDINATOR, *, replaced: dict[str, Any] | None = None, **changes: Any) -> Casebook:
    """A handover that the rules refuse."""
    new, fields = book.handover(who, **changes)
    assert book.force(ev.LogHandedOver, who, keys=new, **(fields | (replaced or {})))
    book.origin, book.log_key = fields["origin"], book.new_keys(f"log {who}").signing
    return book


def relogged(book: Casebook, *, consent: str = "log", proof: str = "new") -> Casebook:
    new = book.new_keys("log").signing
    said = {"author": COORDINATOR, "log_key": book.public(new), "replaces": book.world.logs[-1].key}
    keys = {"log": book.log_key, "new": new, "other": book.keys_of(COORDINATOR).signing}
    signed = {name: detached("log-key-rotation", said, keys[key]) for name, key in (("consent", consent), ("proof", proof))}
    assert book.force(ev.LogKeyRotated, COORDINATOR, case=CONSORTIUM, log_key=said["log_key"], **signed)
    return book


HANDOVERS: dict[str, tuple[Callable[[Casebook], Casebook], str]] = {
    "by too few": (lambda book: moved(book, signers=list(book.cosigners)[:3]), "fewer have signed"),
    "to a member": (lambda book: moved(book, PLATFORM), "the successor is a member already"),
    "of another length": (lambda book: moved(book, size=7, root=book.tree.root(7).hex()), "another length"),
    "from another key": (lambda book: moved(book, replaces=book.keys_of(FIRST).public), "another log key"),
    "under the old name": (lambda book: moved(book, origin=ORIGIN), "a new origin"),
    "to a key in use": (lambda book: moved(book, log_key=book.keys_of(FIRST).public), "belongs to somebody else"),
    "with one signature twice": (
        lambda book: moved(book, replaced={"signatures": book.handover()[1]["signatures"][:1] * 4}), "stand once each"
    ),
    "with a signature on another place": (
        lambda book: moved(book, replaced={"place": "https://elsewhere.example"}), "a signature on the handover does not hold"
    ),
    "with a log key that does not consent": (lambda book: relogged(book, consent="other"), "have not both signed"),
    "with a log key that nobody holds": (lambda book: relogged(book, proof="other"), "have not both signed"),
}  # fmt: skip


@pytest.mark.parametrize("what", HANDOVERS)
def test_a_handover_that_is_none_is_refused(what: str) -> None:
    make, words = HANDOVERS[what]
    assert words in " ".join(reasons(make(play(until="opened")).bundle()))


def test_a_handover_of_another_history_is_refused() -> None:
    """The rules do not know the tree; the verifier asks for a proof from the head that was handed over."""
    book = play(until="opened")
    book.hand_over(root="ab" * 32)
    value = json.loads(handed_over().bundle())
    with pytest.raises(Tampered, match="rewritten"):
        book.bundle()
    value["heads"] = [head for head in value["heads"] if head["size"] != handed_over().world.logs[1].since - 1]
    assert "the heads shown are not those that the permits name, and the handovers" in reasons(verify.canonical(value))[0]


def rotated(book: Casebook, who: str, **changes: Any) -> Casebook:
    fields = book.change(who, changes.pop("new", book.new_keys(who)), **changes.pop("change", {}))
    assert book.force(ev.KeyRotated, who, **(fields | changes))
    return book


def revoked(book: Casebook, who: str, by: str, **changes: Any) -> Casebook:
    assert book.force(ev.KeyRevoked, by, **({"case": CONSORTIUM, "subject": who} | changes))
    return book


def spoken(book: Casebook) -> Casebook:
    book.revoke(RESEARCHER, by="company-1")
    assert book.force(ev.StudyDone, RESEARCHER)
    return book


def twice_revoked(book: Casebook) -> Casebook:
    book.revoke(RESEARCHER, by="company-1")
    return revoked(book, RESEARCHER, "company-1")


def back_as_another(book: Casebook) -> Casebook:
    book.revoke("company-1", by=COORDINATOR)
    new = book.new_keys("company-1")
    fields = {"kind": "platform", "key": new.public, "box": new.box_public, "cosigner": None, "case": CONSORTIUM}
    assert book.force(ev.MemberApplied, "company-1", keys=new, **fields)
    return book


def old_key(book: Casebook) -> Casebook:
    old = book.keys_of(RESEARCHER)
    book.rotate(RESEARCHER)
    assert book.force(ev.StudyDone, RESEARCHER, keys=old)
    return book


KEY_CHANGES: dict[str, tuple[Callable[[Casebook], Casebook], str]] = {
    "unproven": (lambda book: rotated(book, FIRST, change={"prover": book.keys_of(FIRST)}), "has not signed the change"),
    "another's key": (lambda book: rotated(book, FIRST, new=book.keys_of(SECOND)), "belongs to somebody else"),
    "a person that cosigns": (
        lambda book: rotated(book, RESEARCHER, change={"cosigner": book.new_keys("x").public}), "only a member cosigns",
    ),
    "one key for both": (
        lambda book: rotated(book, FIRST, change={"cosigner": book.new_keys(FIRST).public}), "nobody has used",
    ),
    "in a case": (lambda book: rotated(book, FIRST, case=book.case), "consortium's case"),
    "revoked in a case": (lambda book: revoked(book, RESEARCHER, "company-1", case=book.case), "consortium's case"),
    "another's people": (lambda book: revoked(book, RESEARCHER, FIRST), "its own people"),
    "nobody": (lambda book: revoked(book, "nobody", COORDINATOR), "its own people"),
    "the coordinating body": (lambda book: revoked(book, COORDINATOR, COORDINATOR), "its own people"),
    "a member by a member": (lambda book: revoked(book, SECOND, FIRST), "its own people"),
    "revoked by a person": (lambda book: revoked(book, RESEARCHER, RESEARCHER), "this is for the member"),
    "revoked twice": (twice_revoked, "revoked already"),
    "spoken after a revocation": (spoken, "has not introduced this key"),
    "the old key": (old_key, "has not introduced this key"),
    "back as something else": (back_as_another, "comes back as what it was"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEY_CHANGES)
def test_a_change_of_keys_that_the_rules_refuse_is_refused(name: str) -> None:
    make, words = KEY_CHANGES[name]
    found = reasons(make(play(until="released")).bundle())
    assert any(words in reason for reason in found), found


def test_withdrawal_revocation_failure_and_rejection_are_legal_ends() -> None:
    withdrawn = play(until="committed")
    withdrawn.say(ev.ApplicationWithdrawn, RESEARCHER)
    withdrawn.closed()
    revoked = play(until="sealed")
    revoked.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked")
    revoked.say(ev.PermitEnded, SECOND, hospital=SECOND, reason="expired")
    revoked.say(ev.JobFailed, FIRST, job=revoked.job, reason="permit", about=[])
    failed = play(until="job")
    failed.say(ev.JobFailed, FIRST, job=failed.job, reason="missing-hospital", about=[SECOND])
    rejected = play(until="submitted")
    for voter in rejected.drb_of(FIRST):
        rejected.commit_vote(voter, decision="reject")
    for voter in rejected.drb_of(FIRST):
        rejected.open_vote(voter)
    rejected.say(ev.StudyDone, RESEARCHER)
    rejected.closed()
    for book in (withdrawn, revoked, failed, rejected):
        assert reasons(book.bundle()) == []


def test_it_runs_alone_with_no_pumasi_in_reach(tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_text(Path(verify.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "case.json").write_bytes(WHOLE.bundle())
    (tmp_path / "policy").write_text(WHOLE.policy(), encoding="utf-8")
    block = "import runpy, sys; sys.modules['pumasi'] = None; runpy.run_path('verify.py', run_name='__main__')"
    command = [sys.executable, "-c", block, "case.json", "--policy", "policy"]
    environment = {"PYTHONIOENCODING": "ascii"}  # names that the terminal cannot show do not stop it
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "VERIFIED" in done.stdout


def test_the_file_is_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["verify.py", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(verify.__file__, run_name="__main__")
    assert ended.value.code == 2


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_ends_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(tmp_path / "nothing")]) == 2
    assert verify.main([str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().out
    code, out = said(tmp_path, capsys, WHOLE.bundle(), "quorum\n")
    assert (code, "line 1 of the policy" in out) == (2, True)
    assert verify.main([str(tmp_path / "bundle.json"), "--policy", str(tmp_path / "none")]) == 2


VALUE = parse_canonical(WHOLE.bundle())
BYTES = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "another encoding": WHOLE.bundle().decode().encode("utf-16"),
    "a mark before": b"\xef\xbb\xbf" + WHOLE.bundle(),
    "a newline behind": WHOLE.bundle() + b"\n",
    "pretty printed": json.dumps(VALUE, ensure_ascii=False, indent=1, sort_keys=True).encode(),
    "escaped": json.dumps(VALUE, separators=(",", ":"), sort_keys=True).encode(),
    "not sorted": json.dumps(dict(reversed(VALUE.items())), ensure_ascii=False, separators=(",", ":")).encode(),
    "a key twice": b'{"case":1,"case":1}',
    "a float": b'{"a":1.5}',
    "a whole float": b'{"a":1.0}',
    "an exponent": b'{"a":1e3}',
    "a large integer": b'{"a":9007199254740992}',
    "an endless integer": b"9" * 5000,
    "minus zero": b"-0",
    "not a number": b"NaN",
    "half a character": b'"\\ud800"',
    "half a character as a key": b'{"\\ud800":1}',
    "nested too deep": b"[" * 100 + b"]" * 100,
    "nested without end": b"[" * 200_000,
    "objects nested too deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    "true": b"true",
    "a list": b"[]",
    "an object": b"{}",
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_bundle_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = said(tmp_path, capsys, BYTES[name])
    assert (code, out.startswith("NOT VERIFIED\n- ")) == (1, True)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**53) + 1,
        2**53 - 1,
        "",
        '\x00\x1f"\\/\b\f\n\r\té\u2028\U0001f600',
        [],
        {},
        [{"\ue000": 1, "\U0001f600": 2, "é": []}],
    ],
)
def test_canonical_bytes_are_those_of_the_kernel(value: Any) -> None:
    assert verify.canonical(value) == canonical(value)
    assert verify.read_canonical(canonical(value)) == value


# --- changed shapes --------------------------------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], object], value: dict[str, Any] = VALUE) -> bytes:
    """The bundle after a change to its value, canonical again."""
    other = copy.deepcopy(value)
    change(other)
    return verify.canonical(other)


def of_type(value: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(item for item in value["entries"] if item["event"]["body"]["type"] == kind)


SHAPES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an unknown field": lambda value: value.update(note="x"),
    "a missing field": lambda value: value.pop("heads"),
    "another format": lambda value: value.update(format="pumasi bundle v2"),
    "another case": lambda value: value.update(case="00" * 16),
    "a case that is no id": lambda value: value.update(case="x"),
    "no entries": lambda value: value.update(entries=[]),
    "entries as an object": lambda value: value.update(entries={}),
    "an unknown field in an entry": lambda value: value["entries"][0].update(x=1),
    "an unknown field beside a signature": lambda value: value["entries"][0]["event"].update(x=1),
    "an unknown field in an event": lambda value: value["entries"][0]["event"]["body"].update(x=1),
    "an index as a text": lambda value: value["entries"][0].update(index="0"),
    "an index as a boolean": lambda value: value["entries"][0].update(index=False),
    "an event that is a text": lambda value: value["entries"][0].update(event="x"),
    "a key that is a number": lambda value: value["entries"][0]["event"].update(key=1),
    "a key that is no base64": lambda value: value["entries"][0]["event"].update(key="?"),
    "a key in half a character": lambda value: value["entries"][0]["event"].update(key="é"),
    "a short signature": lambda value: value["entries"][0]["event"].update(sig="AAAA"),
    "a proof step that is no hash": lambda value: value["entries"][0]["proof"].append("AAAA"),
    "a proof step that is no base64": lambda value: value["entries"][0]["proof"].append("?"),
    "a proof step too many": lambda value: value["entries"][0]["proof"].append(value["entries"][0]["proof"][0]),
    "a proof step too few": lambda value: value["entries"][0]["proof"].pop(),
    "an index beyond the log": lambda value: value["entries"][-1].update(index=len(WHOLE.log)),
    "swapped proofs": lambda value: value["entries"][0].update(proof=value["entries"][1]["proof"]),
    "an unknown field in a document": lambda value: next(iter(value["documents"].values())).update(x=1),
    "a salt in capitals": lambda value: next(iter(value["documents"].values())).update(salt="AA" * 32),
    "an invented document": lambda value: value["documents"].update({"00" * 32: {"body": 1, "salt": "00" * 32}}),
    "a missing document": lambda value: value["documents"].popitem(),
    "another salt": lambda value: next(iter(value["documents"].values())).update(salt="00" * 32),
    "swapped documents": lambda value: value["documents"].update(
        zip(value["documents"], list(value["documents"].values())[::-1], strict=True)
    ),
    "a head left out": lambda value: value["heads"].pop(),
    "heads in another order": lambda value: value["heads"].reverse(),
    "a head twice": lambda value: value["heads"].append(value["heads"][-1]),
    "an unknown field in a head": lambda value: value["heads"][0].update(x=1),
    "another head": lambda value: value["heads"][0].update(size=1),
    "a head with another proof": lambda value: value["heads"][0].update(proof=value["heads"][1]["proof"]),
    "a head without proof": lambda value: value["heads"][0].update(proof=[]),
    "a head with a long proof": lambda value: value["heads"][0]["proof"].extend(value["heads"][0]["proof"]),
    "no signature on the checkpoint": lambda value: value.update(checkpoint=value["checkpoint"].partition("—")[0]),
    "a checkpoint that is no note": lambda value: value.update(checkpoint="x"),
    "a checkpoint of another size": lambda value: value.update(checkpoint=value["checkpoint"].replace("\n114\n", "\n115\n")),
    "a line twice": lambda value: value.update(checkpoint=value["checkpoint"] + value["checkpoint"].splitlines(keepends=True)[-1]),
    "an unknown line": lambda value: value.update(checkpoint=value["checkpoint"] + "— somebody AAAAAAAA\n"),
    "a renamed line": lambda value: value.update(checkpoint=value["checkpoint"].replace("/river-hospital ", "/lake-hospital ")),
    "a line without the log's": lambda value: value.update(
        checkpoint="".join(line for at, line in enumerate(value["checkpoint"].splitlines(keepends=True)) if at != 4)
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_changed_bundle_is_refused(name: str) -> None:
    data = changed(SHAPES[name])
    assert data != WHOLE.bundle()
    assert reasons(data)


def test_all_failing_entries_are_told() -> None:
    def flip(value: dict[str, Any]) -> None:
        for at in (3, 40):
            value["entries"][at]["event"]["sig"] = value["entries"][0]["event"]["sig"]

    assert [reason.partition(":")[0] for reason in reasons(changed(flip))] == ["entry 3", "entry 40"]


def test_a_signature_that_the_log_took_in_without_looking_is_refused() -> None:
    book = play(until="submitted")
    signed = json.loads(book.entry(ev.ApplicationWithdrawn, RESEARCHER).data)
    book.append_raw(canonical(signed | {"sig": json.loads(book.log[0])["sig"]}))
    assert reasons(book.bundle()) == [f"entry {len(book.log) - 1} (ApplicationWithdrawn): the signature on the event does not hold"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "CaseForgotten"},
        {"x": 1},
        {"at": "2026-02-30T00:00:00Z"},
        {"at": "now"},
        {"seq": -1},
        {"seq": True},
        {"author": " x"},
        {"author": "ᄀ\u1161"},
    ],
)
def test_an_event_of_no_known_form_is_refused_wherever_it_stands(change: dict[str, Any]) -> None:
    book = play(until="submitted")
    body = json.loads(book.entry(ev.ApplicationWithdrawn, RESEARCHER).data)["body"]
    data = sign("event", body | change, book.keys_of(RESEARCHER))
    with pytest.raises(Tampered):
        Entry(data)
    book.append_raw(data)
    assert reasons(book.bundle()) == [f"entry {len(book.log) - 1}: it has the form of no known event"]


def test_a_small_index_more_is_not_ascending() -> None:
    def repeat(value: dict[str, Any]) -> None:
        value["entries"].insert(5, value["entries"][5])

    assert reasons(changed(repeat)) == ["entry 5: it is not in ascending order"]


def test_a_cosignature_with_an_impossible_time_or_of_another_head_is_refused() -> None:
    checkpoint = note.parse_checkpoint(WHOLE.checkpoint())
    line = checkpoint.lines[-1]
    beyond = note.SignatureLine(line.name, line.key_id, b"\xff" * 8 + line.signature[8:])
    later = note.SignatureLine(line.name, line.key_id, bytes(8) + line.signature[8:])
    for forged, words in ((beyond, "impossible time"), (later, "does not hold")):
        text = str(note.Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, (*checkpoint.lines[:-1], forged)))
        found = reasons(changed(lambda value, text=text: value.update(checkpoint=text)))  # type: ignore[misc]
        assert len(found) == 1
        assert words in found[0]


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    text = note.sign_checkpoint("other.example", size=WHOLE.tree.size, root=WHOLE.tree.root(), key=WHOLE.log_key)
    assert "unknown" in reasons(changed(lambda value: value.update(checkpoint=text)))[0] or reasons(
        changed(lambda v: v.update(checkpoint=text))
    )
    body = note.parse_checkpoint(text).body.encode()
    line = note.SignatureLine(ORIGIN, note.parse_checkpoint(WHOLE.checkpoint()).lines[0].key_id, WHOLE.log_key.sign(body))
    renamed = str(note.Checkpoint("other.example", WHOLE.tree.size, WHOLE.tree.root(), (line,)))
    assert reasons(changed(lambda value: value.update(checkpoint=renamed))) == ["the checkpoint is not signed with the key of the log"]


def test_no_name_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = changed(lambda value: value.update(checkpoint=value["checkpoint"] + "— \x9b2J\u202e AAAAAAAA\n"))
    code, out = said(tmp_path, capsys, data)
    assert (code, "\\x9b2J\\u202e" in out, "\x9b" in out, "\u202e" in out) == (1, True, False, False)


def test_a_weak_key_signs_nothing() -> None:
    neutral = (1).to_bytes(32, "little")
    assert not verify.signature_holds(neutral, neutral + bytes(32), b"anything")


# --- steps that the rules refuse ---------------------------------------------------------------------------------------

Force = Callable[[Casebook], list[str]]
STRANGER = {"board": "drb", "job": None, "subject": "00" * 32, "vote": "00" * 32}
PEOPLE = {"key": "A" * 43 + "=", "box": "A" * 43 + "="}


def member(book: Casebook, name: str = "newcomer", **changes: Any) -> list[str]:
    keys = book.keys_of("newcomer")
    fields = {"case": CONSORTIUM, "kind": "company", "key": keys.public, "box": keys.box_public, "cosigner": None}
    return book.force(ev.MemberApplied, name, **(fields | changes))


def person(book: Casebook, name: str, author: str = FIRST, **changes: Any) -> list[str]:
    keys = book.keys_of(name)
    fields = {"case": CONSORTIUM, "person": name, "key": keys.public, "box": keys.box_public, "roles": ["drb"]}
    return book.force(ev.PersonEnrolled, author, **(fields | changes))


def vote(book: Casebook, voter: str, **changes: Any) -> list[str]:
    return book.force(ev.VoteCommitted, voter, **({"board": "drb", "job": None, "subject": book.applied, "vote": "aa" * 32} | changes))


def opening(book: Casebook, voter: str, **changes: Any) -> list[str]:
    return book.force(ev.VoteOpened, voter, **(book.vote_opened(voter) | changes))


def applying(book: Casebook, **changes: Any) -> list[str]:
    fields = {"hospitals": [FIRST], "smallest_cell": 10} | changes
    return book.force(ev.ApplicationSubmitted, RESEARCHER, application=book.application(hospitals=fields["hospitals"]), **fields)


def unstaffed(book: Casebook) -> list[str]:
    book.member("newly-joined", "hospital")
    book.say(ev.DatasetDescribed, "newly-joined", case=CONSORTIUM, dataset="00" * 32)
    return applying(book, hospitals=["newly-joined"])


def incomplete(absent: str) -> Force:
    def apply(book: Casebook) -> list[str]:
        book.absent, book.staffed = absent, [FIRST]
        book.play(until="datasets", after="founded")
        return applying(book)

    return apply


def job(book: Casebook, **changes: Any) -> list[str]:
    fields = {"job": "01" * 16, "hospitals": book.hospitals, "lead": FIRST} | changes
    known = book.world.cases[book.case].permits
    permits = {name: known[name].event.permit if name in known and known[name].event else "00" * 32 for name in fields["hospitals"]}  # type: ignore[union-attr]
    document = book.job_document(job=fields["job"], lead=fields["lead"], permits=permits)
    return book.force(ev.JobSubmitted, RESEARCHER, document=document, **fields)


def releasing(book: Casebook, **changes: Any) -> list[str]:
    fields = {"job": book.job, "output": book.output, "reviewers": book.checkers_of(FIRST)}
    return book.force(ev.Released, FIRST, **(fields | changes))


def failed(book: Casebook) -> list[str]:
    book.say(ev.JobFailed, SECOND, job=book.job, reason="fault", about=[])
    return releasing(book)


def reviewing(book: Casebook, *, against: str = "nobody") -> list[str]:
    for checker in book.checkers_of(FIRST):
        book.commit_vote(checker, job=book.job, decision="reject" if against in checker else "approve")
    for checker in book.checkers_of(FIRST):
        book.open_vote(checker, job=book.job)
    return releasing(book)


def not_sealed_by_all(book: Casebook) -> list[str]:
    for hospital in (FIRST, SECOND):
        book.say(ev.OutputSealed, hospital, job=book.job, output=book.output, findings="clear")
    return reviewing(book)


def looked_at(book: Casebook) -> list[str]:
    book.commit_vote(book.checkers_of(FIRST)[0], job=book.job)
    return releasing(book, reviewers=[])


def after_the_end(book: Casebook) -> list[str]:
    book.say(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired")
    return releasing(book)


def another_output(book: Casebook) -> list[str]:
    book.say(ev.OutputSealed, FIRST, job=book.job, output=book.output, findings="clear")
    return book.force(ev.OutputSealed, SECOND, job=book.job, output="00" * 32, findings="clear")


def second_founding(book: Casebook) -> list[str]:
    keys, log_key = book.keys_of("usurper"), book.keys_of("another log").public
    return book.force(ev.LogFounded, "usurper", case=CONSORTIUM, origin="x", log_key=log_key, key=keys.public, box=keys.box_public)


def authorising(book: Casebook, *, drb: str = "approve", irb: str | None = "approved") -> list[str]:
    for voter in book.drb_of(FIRST):
        book.commit_vote(voter, decision=drb)
    for voter in book.drb_of(FIRST):
        book.open_vote(voter)
    if irb is not None:
        book.say(ev.IrbDecided, f"irb@{FIRST}", application=book.applied, decision=irb, reason="00" * 32)
    return book.force(ev.PermitAuthorised, f"steward@{FIRST}", application=book.applied)


def closing_before_it_is_done(book: Casebook) -> list[str]:
    for hospital in book.hospitals:
        book.say(ev.PermitEnded, hospital, hospital=hospital, reason="expired")
    book.destroyed()
    return book.force(ev.CaseClosed, COORDINATOR, **book.counts())


def first(say: Callable[[str], None], who: str) -> list[str]:
    """Something legal that comes before."""
    say(who)
    return []


def copied(book: Casebook) -> list[str]:
    book.commit_vote(f"drb-0@{FIRST}")
    return vote(book, f"drb-1@{FIRST}", vote=book.committed_vote(f"drb-0@{FIRST}"))


def lowered(book: Casebook) -> list[str]:
    book.commit_vote(f"drb-0@{FIRST}", smallest_cell=5)
    book.commit_vote(f"drb-1@{FIRST}")
    return opening(book, f"drb-0@{FIRST}")


def by_anothers_steward(book: Casebook) -> list[str]:
    return book.force(ev.PermitEnded, f"steward@{SECOND}", hospital=FIRST, reason="revoked")


# after this step -> what is forced into the log
ILLEGAL: dict[str, tuple[str, Force]] = {
    "founded twice": ("datasets", second_founding),
    "a member in a case": ("submitted", lambda book: member(book, case=book.case)),
    "a member called like a person": ("datasets", lambda book: member(book, "new@comer", keys=book.keys_of("newcomer"))),
    "a member twice": ("datasets", lambda book: member(book, PLATFORM, keys=book.keys_of("newcomer"))),
    "a member with another's key": ("datasets", lambda book: member(book, key=book.keys_of(FIRST).public, keys=book.keys_of(FIRST))),
    "a member with another's cosigner": (
        "datasets",
        lambda book: member(book, cosigner=note.b64(book.cosigners[FIRST].public_key().public_bytes_raw())),
    ),
    "a second coordinating body": ("datasets", lambda book: member(book, kind="coordinator")),
    "a member signed by another key": ("datasets", lambda book: member(book, keys=book.keys_of(FIRST))),
    "admitted by a hospital": ("datasets", lambda book: book.force(ev.MemberAdmitted, FIRST, case=CONSORTIUM, member=SECOND)),
    "admitted without applying": ("datasets", lambda book: book.force(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member="x")),
    "admitted twice": ("datasets", lambda book: book.force(ev.MemberAdmitted, COORDINATOR, case=CONSORTIUM, member=FIRST)),
    "another's people": ("datasets", lambda book: person(book, f"new@{SECOND}")),
    "a person twice": ("datasets", lambda book: person(book, f"irb@{FIRST}", key=book.keys_of("newcomer").public)),
    "a person with another's key": ("datasets", lambda book: person(book, f"new@{FIRST}", key=book.keys_of(RESEARCHER).public)),
    "a researcher who reviews": ("datasets", lambda book: person(book, f"new@{FIRST}", roles=["researcher", "drb"])),
    "a person enrolled by a person": ("datasets", lambda book: person(book, f"new@{FIRST}", author=f"irb@{FIRST}")),
    "a person in a case": ("submitted", lambda book: person(book, f"new@{FIRST}", case=book.case)),
    "a company's dataset": ("datasets", lambda book: book.force(ev.DatasetDescribed, "company-1", case=CONSORTIUM, dataset="00" * 32)),
    "a dataset in a case": ("submitted", lambda book: book.force(ev.DatasetDescribed, FIRST, dataset="00" * 32)),
    "applied by a hospital": (
        "datasets",
        lambda book: book.force(ev.ApplicationSubmitted, FIRST, application=book.keep({}), hospitals=[FIRST], smallest_cell=1),
    ),
    "applied to a company": ("datasets", lambda book: applying(book, hospitals=["company-1"])),
    "applied to nobody known": ("datasets", lambda book: applying(book, hospitals=["nobody"])),
    "applied twice to one": ("datasets", lambda book: applying(book, hospitals=[FIRST, FIRST])),
    "applied without datasets": ("people", applying),
    "applied without staff": ("datasets", unstaffed),
    "applied without a platform": ("founded", incomplete(PLATFORM)),
    "applied with four hospitals": ("founded", incomplete("river-hospital")),
    "applied with one tertiary hospital": ("founded", incomplete(SECOND)),
    "applied with two companies": ("founded", incomplete("company-3")),
    "applied twice": ("submitted", applying),
    "applied in the consortium's case": ("datasets", lambda book: applying(book, case=CONSORTIUM)),
    "an unknown author": ("submitted", lambda book: vote(book, f"nobody@{FIRST}")),
    "a vote by another board": ("submitted", lambda book: vote(book, f"irb@{FIRST}")),
    "a vote of another hospital": ("submitted", lambda book: vote(book, "drb-0@river-hospital")),
    "a vote signed by another": ("submitted", lambda book: vote(book, f"drb-0@{FIRST}", keys=book.keys_of(f"drb-1@{FIRST}"))),
    "a vote on a job": ("submitted", lambda book: vote(book, f"drb-0@{FIRST}", job="01" * 16)),
    "an airlock vote on nothing": ("submitted", lambda book: vote(book, f"checker-0@{FIRST}", board="airlock")),
    "an airlock vote on another job": ("sealed", lambda book: vote(book, f"checker-0@{FIRST}", board="airlock", job="01" * 16)),
    "an airlock vote too early": ("job", lambda book: vote(book, f"checker-0@{FIRST}", board="airlock", job=book.job)),
    "an airlock vote on another output": ("sealed", lambda book: vote(book, f"checker-0@{FIRST}", board="airlock", job=book.job)),
    "a vote on something else": ("submitted", lambda book: vote(book, f"drb-0@{FIRST}", subject="00" * 32)),
    "a vote in another's words": ("submitted", copied),
    "a vote twice": ("submitted", lambda book: first(book.commit_vote, f"drb-0@{FIRST}") or vote(book, f"drb-0@{FIRST}")),
    "a vote after the quorum": ("committed", lambda book: vote(book, f"drb-2@{FIRST}")),
    "a vote in the consortium's case": ("submitted", lambda book: vote(book, f"drb-0@{FIRST}", case=CONSORTIUM)),
    "opened early": ("submitted", lambda book: first(book.commit_vote, f"drb-0@{FIRST}") or opening(book, f"drb-0@{FIRST}")),
    "opened otherwise": ("committed", lambda book: opening(book, f"drb-0@{FIRST}", decision="reject")),
    "opened with another salt": ("committed", lambda book: opening(book, f"drb-0@{FIRST}", salt="00" * 32)),
    "opened by another": ("committed", lambda book: book.force(ev.VoteOpened, f"drb-2@{FIRST}", **book.vote_opened(f"drb-0@{FIRST}"))),
    "opened twice": ("committed", lambda book: first(book.open_vote, f"drb-0@{FIRST}") or opening(book, f"drb-0@{FIRST}")),
    "the cell lowered": ("submitted", lowered),
    "the ethics board twice": (
        "reviewed",
        lambda book: book.force(ev.IrbDecided, f"irb@{FIRST}", application=book.applied, decision="approved", reason="00" * 32),
    ),
    "the ethics board on another": (
        "submitted",
        lambda book: book.force(ev.IrbDecided, f"irb@{FIRST}", application="00" * 32, decision="approved", reason="00" * 32),
    ),
    "authorised unreviewed": ("committed", lambda book: book.force(ev.PermitAuthorised, f"steward@{FIRST}", application=book.applied)),
    "authorised against the review board": ("submitted", lambda book: authorising(book, drb="reject")),
    "authorised without the ethics board": ("submitted", lambda book: authorising(book, irb=None)),
    "authorised against the ethics board": ("submitted", lambda book: authorising(book, irb="rejected")),
    "authorised by the ethics board": ("reviewed", lambda book: book.force(ev.PermitAuthorised, f"irb@{FIRST}", application=book.applied)),
    "authorised for another": ("reviewed", lambda book: book.force(ev.PermitAuthorised, f"steward@{FIRST}", application="00" * 32)),
    "issued unauthorised": (
        "reviewed",
        lambda book: book.force(ev.PermitIssued, FIRST, permit=book.permit(FIRST), seen=book.head(), **book.terms()),
    ),
    "issued with smaller cells": (
        "authorised",
        lambda book: book.force(
            ev.PermitIssued, FIRST, permit=book.permit(FIRST, smallest_cell=11), seen=book.head(), **(book.terms() | {"smallest_cell": 11})
        ),
    ),
    "issued backwards": (
        "authorised",
        lambda book: book.force(
            ev.PermitIssued, FIRST, permit=book.permit(FIRST, valid_from="2027-01-01"), seen=book.head(),
            **(book.terms() | {"valid_from": "2027-01-01"}),
        ),
    ),
    "issued by a hospital outside": (
        "authorised",
        lambda book: book.force(ev.PermitIssued, "river-hospital", permit=book.permit(FIRST), seen=book.head(), **book.terms()),
    ),
    "opened without permit": ("authorised", lambda book: book.force(ev.WorkspaceOpened, FIRST, manifest=book.keep({}))),
    "a job without workspace": ("issued", job),
    "a job twice": ("sealed", lambda book: job(book, job=book.job)),
    "a job beside another": ("job", job),
    "a job led from outside": ("opened", lambda book: job(book, lead="river-hospital")),
    "a job at one hospital twice": ("opened", lambda book: job(book, hospitals=[FIRST, FIRST, SECOND])),
    "a job at too few hospitals": ("opened", lambda book: job(book, hospitals=[FIRST])),
    "a job at a hospital outside": ("opened", lambda book: job(book, hospitals=[*book.hospitals, "river-hospital"])),
    "a job by another": (
        "opened",
        lambda book: book.force(ev.JobSubmitted, "other@company-2", job="01" * 16, document=book.keep({}), hospitals=[FIRST], lead=FIRST),
    ),
    "sealed without job": ("opened", lambda book: book.force(ev.OutputSealed, FIRST, job="01" * 16, output="00" * 32, findings="clear")),
    "sealed twice": ("sealed", lambda book: book.force(ev.OutputSealed, FIRST, job=book.job, output=book.output, findings="clear")),
    "sealed otherwise": ("job", another_output),
    "released unreviewed": ("sealed", releasing),
    "released with one against": ("sealed", lambda book: reviewing(book, against="checker-0")),
    "released before all have sealed": ("job", not_sealed_by_all),
    "released after a failure": ("voted", failed),
    "released after the permit": ("voted", after_the_end),
    "released without reviewers": ("voted", lambda book: releasing(book, reviewers=[])),
    "released unseen after one has looked": ("automatic", looked_at),
    "released under other names": ("voted", lambda book: releasing(book, reviewers=book.checkers_of(SECOND))),
    "another output released": ("voted", lambda book: releasing(book, output="00" * 32)),
    "released twice": ("released", releasing),
    "done twice": ("done", lambda book: book.force(ev.StudyDone, RESEARCHER)),
    "done by another": ("released", lambda book: book.force(ev.StudyDone, "other@company-2")),
    "withdrawn after the end": ("done", lambda book: book.force(ev.ApplicationWithdrawn, RESEARCHER)),
    "revoked by the node": ("opened", lambda book: book.force(ev.PermitEnded, FIRST, hospital=FIRST, reason="revoked")),
    "ended by another hospital": ("opened", lambda book: book.force(ev.PermitEnded, SECOND, hospital=FIRST, reason="expired")),
    "revoked by another's steward": ("opened", by_anothers_steward),
    "destroyed before the end": ("released", lambda book: book.force(ev.WorkspaceDestroyed, FIRST, certificate=book.certificate(FIRST))),
    "the share destroyed before the end": ("released", lambda book: book.force(ev.KeyShareDestroyed, COORDINATOR, hospital=FIRST)),
    "the share destroyed twice": ("destroyed", lambda book: book.force(ev.KeyShareDestroyed, COORDINATOR, hospital=FIRST)),
    "the share destroyed by a hospital": ("done", lambda book: book.force(ev.KeyShareDestroyed, FIRST, hospital=FIRST)),
    "closed with data left": ("done", lambda book: book.force(ev.CaseClosed, COORDINATOR, **book.counts())),
    "closed before it is done": ("released", lambda book: book.force(ev.CaseClosed, COORDINATOR, **book.counts())),
    "closed though destroyed before it is done": ("released", closing_before_it_is_done),
    "the share of a hospital outside": ("done", lambda book: book.force(ev.KeyShareDestroyed, COORDINATOR, hospital="river-hospital")),
    "closed by a hospital": ("destroyed", lambda book: book.force(ev.CaseClosed, FIRST, **book.counts())),
    "closed with a wrong count": ("destroyed", lambda book: book.force(ev.CaseClosed, COORDINATOR, **(book.counts() | {"events": 1}))),
    "closed with a wrong count of others": (
        "destroyed", lambda book: book.force(ev.CaseClosed, COORDINATOR, **(book.counts() | {"consortium": 1})),
    ),
    "an event left out": ("opened", lambda book: book.force(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired", seq=9)),
    "another past": ("opened", lambda book: book.force(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired", prev="00" * 32)),
    "back-dated": ("opened", lambda book: book.force(ev.PermitEnded, FIRST, hospital=FIRST, reason="expired", at="2026-01-01T00:00:00Z")),
}  # fmt: skip


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_the_rules_refuse_the_verifier_refuses(name: str) -> None:
    step, force = ILLEGAL[name]
    book = play(until="sealed", release="automatic-if-clear") if step == "automatic" else play(until=step)
    refused = force(book)
    assert refused, "the rules allow this step"
    case = book.case if any(json.loads(data)["body"]["case"] == book.case for data in book.log) else CONSORTIUM
    found = follow(book) if case == CONSORTIUM else reasons(book.bundle())
    assert found
    assert all(f"entry {len(book.log) - 1} " in reason or case == CONSORTIUM for reason in found)


def follow(book: Casebook) -> list[str]:
    """What the verifier says to a log that holds no application yet."""
    history = verify.History(book.case, book.documents)
    try:
        for index, data in enumerate(book.log):
            entry = Entry(data)
            history.follow(verify.Entry(index, json.loads(data), entry.digest))
    except verify.Broken as broken:
        assert index == len(book.log) - 1
        return list(broken.reasons)
    return []


def test_a_log_begins_with_its_founding() -> None:
    book = Casebook()
    assert member(book) == ["the first event of a log is LogFounded"]
    assert follow(book) == ["the first event of a log is LogFounded"]


def test_a_bundle_without_application_is_no_case() -> None:
    book = play(until="datasets")
    value = {
        "format": bundle.FORMAT, "case": book.case, "checkpoint": book.checkpoint(), "heads": [], "documents": {},
        "entries": [
            {"index": index, "event": json.loads(data), "proof": [note.b64(step) for step in book.tree.inclusion_proof(index)]}
            for index, data in enumerate(book.log)
        ],
    }  # fmt: skip
    assert reasons(verify.canonical(value)) == ["the bundle does not show the case's application"]


def test_another_cases_event_does_not_belong_in_a_bundle() -> None:
    book = play(until="submitted")
    index = next(at for at, data in enumerate(book.log) if json.loads(data)["body"]["case"] not in (CONSORTIUM, book.case))
    value = parse_canonical(book.bundle())
    proof = [note.b64(step) for step in book.tree.inclusion_proof(index)]
    value["entries"].insert(-1, {"index": index, "event": json.loads(book.log[index]), "proof": proof})
    assert "belongs to another case" in reasons(verify.canonical(value))[0]


def test_nothing_follows_the_closing_event() -> None:
    book = play()
    book.member("late", "company")
    value = parse_canonical(book.bundle())
    index = len(book.log) - 1
    proof = [note.b64(step) for step in book.tree.inclusion_proof(index)]
    value["entries"].append({"index": index, "event": json.loads(book.log[index]), "proof": proof})
    assert "nothing in a bundle follows" in reasons(verify.canonical(value))[0]


# --- documents that say something else than their events --------------------------------------------------------------


def apply_with(**changes: Any) -> Casebook:
    book = play(until="datasets")
    book.say(ev.ApplicationSubmitted, RESEARCHER, application=book.application(**changes), hospitals=book.hospitals, smallest_cell=10)
    return book


def issue_with(*, signer: str | None = None, **changes: Any) -> Casebook:
    book = play(until="authorised")
    book.say(ev.PermitIssued, FIRST, permit=book.permit(FIRST, signer=signer, **changes), seen=book.head(), **book.terms())
    return book


def ruled_with(columns: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Casebook:
    """A permit of a hospital with rules of de-identification, after a change of columns or fields."""
    book = play_ruled(until="authorised")
    value = copy.deepcopy(parse_canonical(canonical(book.documents[book.permit(FIRST)]["body"]["body"]["tables"])))
    for name, change in (columns or {}).items():
        value["patients"]["columns"][name] = {"is": "quasi", "levels": [], "two_valued": False, **change}
    book.say(ev.PermitIssued, FIRST, permit=book.permit(FIRST, **({"tables": value} | changes)), seen=book.head(), **book.terms())
    return book


def open_with(**changes: Any) -> Casebook:
    book = play(until="issued")
    book.say(ev.WorkspaceOpened, FIRST, manifest=book.manifest(FIRST, **changes))
    return book


def job_with(*, signer: str = RESEARCHER, sealed: bool = False, **changes: Any) -> Casebook:
    book = play(until="opened")
    document = book.job_document(signer=signer, **changes)
    book.say(ev.JobSubmitted, RESEARCHER, job=book.job, document=document, hospitals=book.hospitals, lead=FIRST)
    if sealed:
        assert reasons(book.bundle()) == []  # a job may ask too much; it must not get an answer
        book.say(ev.OutputSealed, FIRST, job=book.job, output=book.output, findings="clear")
    return book


def destroy_with(*, signer: str | None = None, **changes: Any) -> Casebook:
    book = play(until="done")
    book.say(ev.WorkspaceDestroyed, FIRST, certificate=book.certificate(FIRST, signer=signer, **changes))
    return book


def tables(**changes: Any) -> dict[str, Any]:
    """The permit's tables after a change to the column `age`, or to the table."""
    value = copy.deepcopy(WHOLE.body(WHOLE.permit_digest(FIRST))["tables"])
    for name, change in changes.items():
        if name == "person":
            value["patients"]["person"] = change
        elif name == "table":
            value[change] = value.pop("patients")
        elif name == "birth":
            value["patients"]["columns"]["birth_date"] = {"is": "quasi", "levels": [], "two_valued": False, **change}
        elif name == "column":
            value["patients"]["columns"][change] = value["patients"]["columns"].pop("age")
        else:
            value["patients"]["columns"]["age"][{"is_": "is"}.get(name, name)] = change
    return value


QUESTION = {"name": "n", "kind": "table", "table": "patients", "by": ["age"]}
DESIGN = {"outcome": "death14", "columns": [{"name": "age", "factors": [{"column": "age", "level": "1"}]}]}


def of(factor: dict[str, Any]) -> dict[str, Any]:
    return DESIGN | {"columns": [{"name": "n", "factors": [factor]}]}


GLM = {"name": "n", "kind": "glm", "table": "patients", "family": "binomial", "formula": "x", "design": DESIGN}
READING = {"name": "n", "kind": "table", "table": "patients", "reads": ["age", "death14"], "whatever": {"it": "asks"}}
DOCUMENTS: dict[str, tuple[Callable[[], Casebook], str]] = {
    "an application with another field": (lambda: apply_with(x=1), "fields"),
    "an application for another case": (lambda: apply_with(case="00" * 16), "another case"),
    "an application by another": (lambda: apply_with(applicant="other@company-2"), "another applicant"),
    "an application to others": (lambda: apply_with(hospitals=[FIRST]), "other hospitals"),
    "an application with other cells": (lambda: apply_with(smallest_cell=5), "smallest cell"),
    "an application with a float": (lambda: apply_with(smallest_cell=10.5), "form"),
    "a permit signed by another": (lambda: issue_with(signer=SECOND), "key that the log knows"),
    "a permit with another field": (lambda: issue_with(x=1), "fields"),
    "a permit for another case": (lambda: issue_with(case="00" * 16), "another case"),
    "a permit of another hospital": (lambda: issue_with(hospital=SECOND), "case or hospital"),
    "a permit about another application": (lambda: issue_with(application="00" * 32), "another application"),
    "a permit for somebody else": (lambda: issue_with(applicant="other@company-2"), "somebody else"),
    "a permit for another key": (lambda: issue_with(applicant_key=WHOLE.keys_of(FIRST).public), "somebody else"),
    "a permit for another purpose": (lambda: issue_with(purpose="ai-development"), "purpose"),
    "a permit without its hospital": (lambda: issue_with(hospitals=[SECOND]), "its own hospital"),
    "a permit with more hospitals": (lambda: issue_with(hospitals=[FIRST, "river-hospital"]), "not asked"),
    "a permit for more kinds": (lambda: issue_with(kinds=["describe"]), "analyses"),
    "a permit for another table": (lambda: issue_with(tables=tables(table="births")), "columns"),
    "a permit for another person column": (lambda: issue_with(tables=tables(person="name")), "columns"),
    "a permit for another column": (lambda: issue_with(tables=tables(column="income")), "columns"),
    "a permit with another treatment than was asked for": (lambda: ruled_with({"birth_date": BANDS}), "columns"),
    "a permit without the treatment that was asked for": (lambda: ruled_with({"birth_date": {"keep": None, "kind": "date"}}), "columns"),
    "a permit with both ways of treating": (lambda: ruled_with({"age": {**BANDS, "keep": None}}), "fields"),
    "a permit with an empty treatment": (lambda: ruled_with({"age": BANDS | {"treat": ""}}), "fields"),
    "a permit with a treatment where the year was asked for": (lambda: issue_with(tables=tables(birth=MONTHS)), "columns"),
    "a permit with rules for another table": (
        lambda: ruled_with(rules={"births": {"name": "kr-pseudonym", "sha256": "00" * 32}}), "a table that it does not open"
    ),
    "a permit with rules that have no digest": (lambda: ruled_with(rules={"patients": {"name": "kr-pseudonym"}}), "fields"),
    "a permit of the second version without rules": (lambda: ruled_with(rules={}), "fields"),
    "a permit of a third version": (lambda: ruled_with(version=3), "fields"),
    "a permit with another class": (lambda: issue_with(tables=tables(is_="plain")), "columns"),
    "a permit without the year rule": (lambda: issue_with(tables=tables(keep="year")), "columns"),
    "a permit with other cells": (lambda: issue_with(smallest_cell=20), "smallest_cell"),
    "a permit with fewer hospitals": (lambda: issue_with(hospitals_at_least=1), "hospitals_at_least"),
    "a permit with another release": (lambda: issue_with(release="automatic-if-clear"), "release"),
    "a permit with another day": (lambda: issue_with(valid_until="2027-01-01"), "valid_until"),
    "a permit with no day": (lambda: issue_with(valid_until="2027-02-30"), "fields"),
    "a manifest for another permit": (lambda: open_with(permit="00" * 32), "another case, hospital or permit"),
    "a manifest of another hospital": (lambda: open_with(hospital=SECOND), "another case, hospital or permit"),
    "a manifest with another column": (lambda: open_with(tables={"patients": ["name"]}), "does not name"),
    "a manifest with another table": (lambda: open_with(tables={"births": []}), "does not name"),
    "a manifest with another field": (lambda: open_with(rows=1), "fields"),
    "a job signed by another": (lambda: job_with(signer="other@company-2"), "key that the log knows"),
    "another job": (lambda: job_with(job="01" * 16), "another job's"),
    "a job of another case": (lambda: job_with(case="00" * 16), "another job's"),
    "a job of another applicant": (lambda: job_with(applicant="other@company-2"), "applicant or lead"),
    "a job with another lead": (lambda: job_with(lead=SECOND), "applicant or lead"),
    "a job with fewer permits": (lambda: job_with(permits={FIRST: WHOLE.permit_digest(FIRST)}), "permits"),
    "a job with other permits": (lambda: job_with(permits=dict.fromkeys(WHOLE.hospitals, "00" * 32)), "permits"),
    "a job with smaller cells": (lambda: job_with(sealed=True, smallest_cell=11), "larger cells"),
    "a question of no kind": (lambda: job_with(sealed=True, questions=[{}]), "question"),
    "a question of a strange kind": (lambda: job_with(sealed=True, questions=[QUESTION | {"kind": []}]), "question"),
    "a question of another kind": (
        lambda: job_with(sealed=True, questions=[{"name": "n", "kind": "describe", "table": "patients", "columns": ["age"]}]), "question",
    ),
    "a question with another field": (lambda: job_with(sealed=True, questions=[QUESTION | {"also": "name"}]), "question"),
    "a question about another table": (lambda: job_with(sealed=True, questions=[QUESTION | {"table": "births"}]), "question"),
    "a question about another column": (lambda: job_with(sealed=True, questions=[QUESTION | {"by": ["name"]}]), "question"),
    "a question about no column": (lambda: job_with(sealed=True, questions=[QUESTION | {"by": []}]), "question"),
    "a question about lists": (lambda: job_with(sealed=True, questions=[QUESTION | {"by": [[]]}]), "question"),
    "a question that reads another column": (lambda: job_with(sealed=True, questions=[READING | {"reads": ["age", "name"]}]), "question"),
    "a question that reads no list": (lambda: job_with(sealed=True, questions=[READING | {"reads": "age"}]), "question"),
    "a question of another kind that says what it reads": (
        lambda: job_with(sealed=True, questions=[READING | {"kind": "describe"}]), "question",
    ),
    "a model of another outcome": (lambda: job_with(sealed=True, questions=[GLM | {"design": DESIGN | {"outcome": "name"}}]), "question"),
    "a model of another column": (
        lambda: job_with(sealed=True, questions=[GLM | {"design": of({"column": "name"})}]), "question",
    ),
    "a model of no form": (lambda: job_with(sealed=True, questions=[GLM | {"design": DESIGN | {"columns": [{}]}}]), "question"),
    "a model with another factor": (
        lambda: job_with(sealed=True, questions=[GLM | {"design": of({"column": "age", "x": 1})}]),
        "question",
    ),
    "a certificate signed by another": (lambda: destroy_with(signer=SECOND), "key that the log knows"),
    "a certificate for another permit": (lambda: destroy_with(permit="00" * 32), "another case, hospital or permit"),
    "a certificate on another ground": (lambda: destroy_with(legal_basis="ehds-53"), "legal basis"),
    "a certificate after a success": (lambda: destroy_with(failures=2), "still be opened"),
    "a certificate with files left": (lambda: destroy_with(residual=1), "files were left"),
    "a certificate for fewer objects": (lambda: destroy_with(objects=0), "covers less"),
    "a certificate for fewer bytes": (lambda: destroy_with(bytes=1), "covers less"),
    "a certificate without the releases": (lambda: destroy_with(released=[]), "other releases"),
    "a certificate with another field": (lambda: destroy_with(x=1), "fields"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_does_not_fit_its_event_is_refused(name: str) -> None:
    make, words = DOCUMENTS[name]
    book = make()
    if name == "an application with a float":
        assert reasons(book.bundle()) == ["the file is not JSON as Pumasi writes it"]
        return
    (reason, *_) = found = reasons(book.bundle())
    assert any(words in reason for reason in found), reason
    assert reason.startswith(f"entry {len(book.log) - 1} ")


def test_a_permit_that_names_fewer_hospitals_answers_no_larger_job() -> None:
    book = play(until="authorised")
    for hospital in book.hospitals:
        few = book.hospitals if hospital != FIRST else [FIRST, SECOND]
        book.say(ev.PermitIssued, hospital, permit=book.permit(hospital, hospitals=few), seen=book.head(), **book.terms())
    book.play(until="job", after="issued")
    assert reasons(book.bundle()) == []
    book.say(ev.OutputSealed, FIRST, job=book.job, output=book.output, findings="clear")
    assert "does not foresee all hospitals" in reasons(book.bundle())[0]


def test_a_question_that_the_permit_covers_gets_its_answer() -> None:
    assert reasons(job_with(sealed=True, questions=[QUESTION, GLM, READING]).bundle()) == []


def test_a_document_that_is_not_signed_at_all_is_refused() -> None:
    book = play(until="authorised")
    plain = book.keep({"case": book.case})
    book.say(ev.PermitIssued, FIRST, permit=plain, seen=book.head(), **book.terms())
    assert "exactly the fields body, key and sig" in reasons(book.bundle())[0]


def test_two_permits_may_share_a_seen_head_and_a_head_may_be_the_last() -> None:
    book = play(until="authorised")
    head = book.head()
    for hospital in book.hospitals:
        book.say(ev.PermitIssued, hospital, permit=book.permit(hospital), seen=head, **book.terms())
    assert len(parse_canonical(book.bundle())["heads"]) == 1
    assert reasons(book.bundle()) == []


def test_an_invented_head_that_a_hospital_claims_to_have_seen_is_refused() -> None:
    book = play(until="authorised")
    seen = {"size": 5, "root": "00" * 32}
    book.say(ev.PermitIssued, FIRST, permit=book.permit(FIRST), seen=seen, **book.terms())
    value = json.loads(play(until="authorised").bundle())
    shown = [
        {"index": index, "event": json.loads(data), "proof": [note.b64(step) for step in book.tree.inclusion_proof(index)]}
        for index, data in book.entries()
    ]
    heads = [seen | {"proof": [note.b64(step) for step in book.tree.consistency_proof(5)]}]
    documents = {name: book.documents[name] for name in bundle.select(book.case, enumerate(book.log))[1]}
    value |= {"entries": shown, "heads": heads, "documents": documents, "checkpoint": book.checkpoint()}
    assert "was rewritten" in reasons(verify.canonical(value))[0]
    for size, words in ((len(book.log), "was rewritten"), (len(book.log) + 1, "was rewritten")):
        assert not verify.consistent(size, len(book.log), [leaf_hash(b"")], bytes(32), book.tree.root()), words


# --- the whole table: the verifier and the rules agree ------------------------------------------------------------------


def attempts(book: Casebook) -> list[tuple[type[Any], dict[str, Any]]]:
    """One flawless event of every kind at this stage, whoever may say it."""
    case, known = book.world.cases.get(book.case), book.world.members.get(COORDINATOR)
    found: list[tuple[type[Any], dict[str, Any]]] = [(ev.StudyDone, {}), (ev.ApplicationWithdrawn, {})]
    if known is None or book.world.datasets.keys() != set(book.world.members) & set(book.world.datasets) or not book.world.datasets:
        return found
    hospitals = {"hospitals": book.hospitals, "smallest_cell": 10}
    found.append((ev.ApplicationSubmitted, {"application": book.applied if case else book.application(), **hospitals}))
    found += [(ev.PermitEnded, {"hospital": FIRST, "reason": reason}) for reason in ("revoked", "expired")]
    found += [(ev.DeletionPending, {"until": book.until()}), (ev.ReversalAsked, {}), (ev.ReversalAgreed, {"hospital": FIRST})]
    found.append((ev.KeyShareDestroyed, {"hospital": FIRST}))
    found.append((ev.CaseClosed, book.counts() if case else {"events": 1, "consortium": 1}))
    if case is None:
        return found
    salt, reason = "ab" * 32, "cd" * 32
    for board, job, subject in (("drb", None, book.applied), ("airlock", book.job, book.output)):
        found.append((ev.VoteCommitted, {"board": board, "job": job, "subject": subject, "vote": commit(salt, {"of": board})}))
        for voter in (f"drb-0@{FIRST}", f"checker-0@{FIRST}"):
            if (voter, job) in book._votes:
                found.append((ev.VoteOpened, book.vote_opened(voter, job=job)))
    found.append((ev.IrbDecided, {"application": book.applied, "decision": "approved", "reason": reason}))
    found.append((ev.PermitAuthorised, {"application": book.applied}))
    found.append((ev.PermitIssued, {"permit": book.permit(FIRST), "seen": book.head(), **book.terms()}))
    if case.permits[FIRST].event is not None and case.permits[THIRD].event is not None:
        found.append((ev.WorkspaceOpened, {"manifest": book.manifest(FIRST)}))
        for id in (book.job, "01" * 16):
            document = book.job_document(job=id)
            found.append((ev.JobSubmitted, {"job": id, "document": document, "hospitals": book.hospitals, "lead": FIRST}))
        released = [book.output] if any(here.state == "released" for job in case.jobs.values() for here in job.at.values()) else []
        found.append((ev.WorkspaceDestroyed, {"certificate": book.certificate(FIRST, released=released)}))
        found.append((ev.ShareCertified, {"hospital": FIRST, "certificate": book.share_certificate(FIRST)}))
    found.append((ev.OutputSealed, {"job": book.job, "output": book.output, "findings": "clear"}))
    found.append((ev.JobFailed, {"job": book.job, "reason": "fault", "about": []}))
    for reviewers in (book.checkers_of(FIRST), []):
        found.append((ev.Released, {"job": book.job, "output": book.output, "reviewers": reviewers}))
    return found


ACTORS = [
    COORDINATOR, PLATFORM, "company-1", FIRST, SECOND, "river-hospital", "nobody", RESEARCHER, "other@company-2",
    f"drb-0@{FIRST}", f"drb-2@{FIRST}", f"irb@{FIRST}", f"steward@{FIRST}", f"checker-0@{FIRST}", f"steward@{SECOND}",
    "steward@river-hospital",
]  # fmt: skip
STAGES = [(step, "two-people") for step in STEPS[3:]] + [("sealed", "automatic-if-clear"), ("released", "automatic-if-clear")]
STAGES += [(step, "two-people") for step in ("pending", "asked", "reversed", "certified")]
# Kinds whose documents name their author: said by somebody else, the rules may not mind and the verifier must.
WITH_DOCUMENTS = (ev.ApplicationSubmitted, ev.PermitIssued, ev.WorkspaceOpened, ev.WorkspaceDestroyed)


def at_stage(step: str, release: str) -> Casebook:
    if step in STEPS:
        return play(until=step, release=release)
    book = play_certified(until="certified" if step == "certified" else "pending")
    if step in ("asked", "reversed"):
        book.say(ev.ReversalAsked, f"steward@{FIRST}")
    if step == "reversed":
        book.say(ev.ReversalAgreed, COORDINATOR, hospital=FIRST)
    return book


@pytest.mark.parametrize(("step", "release"), STAGES)
def test_at_every_stage_everybody_may_say_to_the_verifier_what_the_rules_let_them(step: str, release: str) -> None:
    """Stage x verb x actor. What concerns the first hospital's documents is only said by those whose documents would fit."""
    book = at_stage(step, release)
    history = verify.History(book.case, book.documents)
    for index, data in enumerate(book.log):
        entry = Entry(data)
        if entry.event.case in (CONSORTIUM, book.case):
            history.follow(verify.Entry(index, json.loads(data), entry.digest))
    allowed = 0
    for kind, fields in attempts(book):
        for author in ACTORS:
            entry = book.entry(kind, author, **fields)
            refused = rules.refusals(book.world, entry)
            trial = copy.deepcopy(history) if not refused else history
            try:
                trial.follow(verify.Entry(len(book.log), json.loads(entry.data), entry.digest))
            except verify.Broken as broken:
                documents = author not in (FIRST, RESEARCHER) and kind in WITH_DOCUMENTS
                assert refused or documents, (kind.__name__, author, broken.reasons)
            else:
                assert not refused, (kind.__name__, author, refused)
                allowed += 1
    assert allowed > 0 or step == "closed"
