"""A handover counts by the signatures of those that cosign, and by nothing that the old coordinating body says or holds back."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import b64, detached, sha256
from pumasi.kernel.event import CONSORTIUM, HandoverSignature
from pumasi.kernel.handover import SIGNED, two_thirds
from tests import kernel_world as k
from tests.kernel_world import COORDINATOR, HERE, PLATFORM, THERE, UNADMITTED, Story, keys

SUCCESSOR = "second-centre"
IDENTITY = b64(b"\x01" + bytes(31))  # the neutral point: anybody can sign under it
TOO_FEW = "{} of 9 that cosign have signed the handover; it takes 7"


def fields(story: Story, who: str = SUCCESSOR, *, signers: list[str] | None = None, **other: Any) -> dict[str, Any]:
    """The fields of a handover to `who`, signed by these members (a quorum of them)."""
    said = {
        "author": who, "size": story.world.entries, "root": sha256(b"root"), "replaces": story.world.logs[-1].key,
        "origin": "pumasi.example/second", "log_key": keys(f"log of {who}").public, "key": keys(f"new {who}").public,
        "box": keys(f"new {who}").box_public, "place": "https://[::1]:8443", "certificate": sha256(b"certificate"),
    } | other  # fmt: skip
    members = [name for name, _ in story.world.cosigners_at(story.world.entries)]
    signers = sorted(members)[: two_thirds(len(members))] if signers is None else signers
    assert tuple(said) == SIGNED
    signed = [
        HandoverSignature(
            member=name, key=keys(f"{name} cosigner").public, signature=detached("handover", said, keys(f"{name} cosigner").signing)
        )
        for name in signers
    ]
    return {"case": CONSORTIUM, "signatures": signed, **{name: value for name, value in said.items() if name != "author"}}


def hand_over(story: Story, who: str = SUCCESSOR, **other: Any) -> None:
    story.do(who, ev.LogHandedOver, signed_by=f"new {who}", **fields(story, who, **other))


def refused(story: Story, who: str = SUCCESSOR, *, signed_by: str | None = None, **other: Any) -> list[str]:
    return story.refusals(who, ev.LogHandedOver, signed_by=signed_by or f"new {who}", **fields(story, who) | other)


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (70, 47)])
def test_two_quorums_share_more_than_may_lie(count: int, needed: int) -> None:
    assert two_thirds(count) == needed
    assert 2 * needed - count > (count - 1) // 3
    assert needed <= count - (count - 1) // 3, "honest ones alone are enough"


@pytest.mark.parametrize("who", [SUCCESSOR, COORDINATOR])
def test_the_log_goes_on_under_the_successors_keys(who: str) -> None:
    story = k.opened()
    size, before = story.world.entries, story.world.logs[-1]
    hand_over(story, who)
    assert story.world.log_at(size) == before
    assert story.world.log_at(size + 1).key == keys(f"log of {who}").public
    assert story.world.log_at(10**9).origin == "pumasi.example/second"
    story.do(who, ev.MemberAdmitted, case=CONSORTIUM, member=UNADMITTED, signed_by=f"new {who}")
    assert story.world.consortium_refusals() == []


def test_the_old_coordinating_body_speaks_no_more() -> None:
    story = k.opened()
    hand_over(story)
    assert story.refusals(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=UNADMITTED) == [f"the key of '{COORDINATOR}' is revoked"]
    again = k.apply_as("old", "coordinator", author=COORDINATOR)
    assert "a log has one coordinating body" in story.refusals(COORDINATOR, ev.MemberApplied, signed_by="old", **again)
    same = k.opened()
    hand_over(same, COORDINATOR)
    assert same.refusals(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=UNADMITTED) == [
        f"the signature on MemberAdmitted is not that of '{COORDINATOR}'"
    ]


def test_it_takes_the_quorum_and_needs_no_word_of_the_old_log() -> None:
    story = k.opened()
    nine = sorted(name for name, _ in story.world.cosigners_at(story.world.entries))
    assert story.refusals(SUCCESSOR, ev.LogHandedOver, signed_by=f"new {SUCCESSOR}", **fields(story, signers=nine[:6])) == [
        TOO_FEW.format(6)
    ]
    assert story.refusals(SUCCESSOR, ev.LogHandedOver, signed_by=f"new {SUCCESSOR}", **fields(story, signers=nine[2:])) == []


def test_one_member_counts_once() -> None:
    story = k.opened()
    whole = fields(story)
    twice = whole["signatures"][:1] * 7
    assert refused(story, signatures=twice) == ["the signatures stand once each, in the order of the members' names"]
    assert refused(story, signatures=whole["signatures"][::-1]) == ["the signatures stand once each, in the order of the members' names"]


def test_only_the_keys_that_cosign_count() -> None:
    story = k.opened()
    whole = fields(story)
    first = whole["signatures"][0]
    other = HandoverSignature(member=first.member, key=keys(first.member).public, signature=first.signature)
    reasons = refused(story, signatures=[other, *whole["signatures"][1:]])
    assert f"'{first.member}' does not cosign this log with this key" in reasons
    story.do(COORDINATOR, ev.KeyRevoked, case=CONSORTIUM, subject=first.member)
    assert f"'{first.member}' does not cosign this log with this key" in refused(
        story, signatures=fields(story, signers=[first.member])["signatures"]
    )


def test_a_signature_is_for_one_handover() -> None:
    story = k.opened()
    whole, elsewhere = fields(story), fields(story, place="https://elsewhere.example")
    for name in ("place", "certificate", "log_key", "key", "box", "origin", "root"):
        changed = {**elsewhere, "signatures": whole["signatures"], name: elsewhere[name]} if name == "place" else {name: sha256(b"other")}
        if name in ("log_key", "key", "box"):
            changed = {name: keys("other").public}
        reasons = story.refusals(SUCCESSOR, ev.LogHandedOver, signed_by="other" if name == "key" else f"new {SUCCESSOR}", **whole | changed)
        assert f"the signature of '{whole['signatures'][0].member}' on the handover does not hold" in reasons, name


@pytest.mark.parametrize(
    ("who", "other", "reason"),
    [
        (SUCCESSOR, {"size": 3}, "the handover is about another length of the log than it has here"),
        (SUCCESSOR, {"replaces": keys("other").public}, "the handover is from another log key than the present one"),
        (SUCCESSOR, {"log_key": keys("log").public}, "a new key is one that nobody has used"),
        (SUCCESSOR, {"log_key": keys(HERE).public}, "a new key is one that nobody has used"),
        (SUCCESSOR, {"log_key": IDENTITY}, "anybody can sign under this log key"),
        (PLATFORM, {}, "the successor is the coordinating body with new keys, or a body that is no member yet"),
        (f"somebody@{HERE}", {}, f"'somebody@{HERE}' is the name of a person, not of a member"),
    ],
)
def test_a_successor_that_cannot_be(who: str, other: dict[str, Any], reason: str) -> None:
    story = k.opened()
    reasons = story.refusals(who, ev.LogHandedOver, signed_by=f"new {who}", **fields(story, who, **other))
    assert reasons == [reason]


def test_a_new_name_each_time_and_a_second_handover_from_the_second_key() -> None:
    story = k.opened()
    origin = story.world.logs[0].origin
    assert refused(story, **fields(story, origin="pumasi.example/second")) == []
    old_name = story.refusals(SUCCESSOR, ev.LogHandedOver, signed_by=f"new {SUCCESSOR}", **fields(story, origin=origin))
    assert old_name == ["a log that is handed over gets a new origin"]
    replayed = fields(story)
    hand_over(story)
    assert "the handover is about another length of the log than it has here" in story.refusals(
        SUCCESSOR, ev.LogHandedOver, signed_by=f"new {SUCCESSOR}", **replayed
    )
    hand_over(story, "third-centre", origin="pumasi.example/third")
    assert [log.origin for log in story.world.logs] == [origin, "pumasi.example/second", "pumasi.example/third"]


def test_a_log_that_nobody_cosigns_cannot_be_handed_over() -> None:
    story = k.founded()
    reasons = story.refusals(SUCCESSOR, ev.LogHandedOver, signed_by=f"new {SUCCESSOR}", **fields(story, signers=[THERE]))
    assert "nobody cosigns this log, so nobody can hand it over" in reasons


# --- the log's own key ---


def rotation(story: Story, *, consent: str = "log", proof: str = "next log", by: str = COORDINATOR) -> dict[str, Any]:
    said = {"author": by, "log_key": keys("next log").public, "replaces": story.world.logs[-1].key}
    signed = {name: detached("log-key-rotation", said, keys(who).signing) for name, who in (("consent", consent), ("proof", proof))}
    return {"case": CONSORTIUM, "log_key": keys("next log").public, **signed}


def test_the_logs_key_changes_when_both_have_signed() -> None:
    story = k.opened()
    assert story.world.logs[-1].key == keys("log").public
    size = story.world.entries
    story.do(COORDINATOR, ev.LogKeyRotated, **rotation(story))
    assert (story.world.log_at(size).key, story.world.log_at(size + 1).key) == (keys("log").public, keys("next log").public)
    assert story.world.log_at(size + 1).origin == story.world.log_at(size).origin


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"consent": COORDINATOR}, "the log's present key has not signed the change"),
        ({"proof": COORDINATOR}, "the log's new key has not signed the change"),
    ],
)
def test_the_logs_key_does_not_change_by_the_coordinating_bodys_word_alone(other: dict[str, str], reason: str) -> None:
    story = k.opened()
    assert story.refusals(COORDINATOR, ev.LogKeyRotated, **rotation(story, **other)) == [reason]


def test_nobody_else_changes_the_logs_key() -> None:
    story = k.opened()
    assert story.refusals(HERE, ev.LogKeyRotated, **rotation(story, by=HERE)) == [
        f"LogKeyRotated is for the coordinator, and '{HERE}' is not"
    ]
