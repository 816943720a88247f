"""Keys that change: a signature counts by the key that was valid at its place, and one that is revoked speaks no more."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel import keys as kernel_keys
from pumasi.kernel import rules
from pumasi.kernel.envelope import b64, possesses, possession
from pumasi.kernel.event import CONSORTIUM
from tests import kernel_world as k
from tests.kernel_world import APPLICANT, COORDINATOR, HERE, OUTSIDE, THERE, Story, keys

STEWARD = f"steward@{HERE}"
UNPROVEN = "the new key has not signed that it replaces the present one"
USED = "a new key is one that nobody has used"
IDENTITY = b64(b"\x01" + bytes(31))  # the neutral point: anybody can sign under it


def change(who: str, new: str, *, cosigner: str | None = None, proven_by: str | None = None, **other: Any) -> dict[str, Any]:
    """The fields of a change of `who`'s key to the test key named `new`."""
    fields = {"key": keys(new).public, "box": keys(new).box_public, "cosigner": cosigner}
    announced = {"author": who, **fields, "replaces": keys(who).public} | other
    return {"case": CONSORTIUM, **fields, "proof": possession(announced, keys(proven_by or new))}


def test_from_the_next_entry_on_the_new_key_speaks_and_the_old_one_no_more() -> None:
    story = k.boards_approved()
    story.do(STEWARD, ev.KeyRotated, **change(STEWARD, "new steward"))
    refused = story.refusals(STEWARD, ev.PermitAuthorised, application=k.APPLICATION)
    assert refused == [f"the signature on PermitAuthorised is not that of '{STEWARD}'"]
    story.do(STEWARD, ev.PermitAuthorised, application=k.APPLICATION, signed_by="new steward")
    again = change(STEWARD, "newest steward", replaces=keys("new steward").public)
    story.do(STEWARD, ev.KeyRotated, signed_by="new steward", **again)
    assert story.world.people[STEWARD].former == [keys(STEWARD).public, keys("new steward").public]


@pytest.mark.parametrize("who", [HERE, COORDINATOR, "company-a", k.UNADMITTED])
def test_members_rotate_too(who: str) -> None:
    story = k.consortium()
    story.do(who, ev.KeyRotated, **change(who, f"new {who}"))
    assert story.world.members[who].key == keys(f"new {who}").public
    assert story.world.members[who].box == keys(f"new {who}").box_public


def test_the_permit_keeps_the_key_that_signed_it() -> None:
    story = k.in_force()
    story.do(HERE, ev.KeyRotated, **change(HERE, "new node"))
    assert story.world.cases[k.CASE].permits[HERE].key == keys(HERE).public


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (change(STEWARD, "n", proven_by=STEWARD), UNPROVEN),
        (change(STEWARD, "n", replaces=keys("other").public), UNPROVEN),
        (change(STEWARD, "n", author=HERE), UNPROVEN),
        (change(STEWARD, "n", box=keys("other").box_public), UNPROVEN),
        (change(STEWARD, THERE), USED),
        (change(STEWARD, STEWARD), USED),
        (change(STEWARD, "log"), USED),
        (change(STEWARD, f"{THERE} cosigner"), USED),
        (change(STEWARD, "n", cosigner=keys("c").public), "only a member cosigns the log"),
        (change(STEWARD, "n") | {"case": k.CASE}, "KeyRotated belongs to the consortium's case"),
        (change(STEWARD, "n") | {"key": IDENTITY}, UNPROVEN),
    ],
)
def test_a_change_that_is_not_proven_or_takes_anothers_key_is_refused(fields: dict[str, Any], reason: str) -> None:
    assert k.opened().refusals(STEWARD, ev.KeyRotated, **fields) == [reason]


def test_nobody_changes_anothers_key() -> None:
    story = k.opened()
    for other in (HERE, APPLICANT, COORDINATOR):
        reasons = story.refusals(STEWARD, ev.KeyRotated, signed_by=other, **change(STEWARD, "n"))
        assert reasons == [f"the signature on KeyRotated is not that of '{STEWARD}'"]
    unknown = story.refusals(k.STRANGER, ev.KeyRotated, **change(k.STRANGER, "n"))
    assert unknown == [f"'{k.STRANGER}' is not a member, nor a person that a member has enrolled", UNPROVEN]


def test_a_cosigner_key_counts_from_the_size_on_that_holds_its_change() -> None:
    story = k.consortium()
    old, new = keys(f"{HERE} cosigner").public, keys("new cosigner").public
    before = story.world.entries
    assert (HERE, old) in story.world.cosigners_at(before)
    story.do(HERE, ev.KeyRotated, **change(HERE, "new node", cosigner=new))
    assert (HERE, old) in story.world.cosigners_at(before) and (HERE, new) not in story.world.cosigners_at(before)
    assert (HERE, new) in story.world.cosigners_at(before + 1) and (HERE, old) not in story.world.cosigners_at(before + 1)
    story.do(HERE, ev.KeyRotated, signed_by="new node", **change(HERE, "newest node", replaces=keys("new node").public))
    assert (HERE, new) in story.world.cosigners_at(story.world.entries)  # the cosigner as before
    both = change(OUTSIDE, "n", cosigner=keys("n").public)
    assert USED in story.refusals(OUTSIDE, ev.KeyRotated, **both)
    assert "anybody can sign under this cosigner key" in story.refusals(OUTSIDE, ev.KeyRotated, **change(OUTSIDE, "n", cosigner=IDENTITY))


def test_a_member_that_did_not_cosign_may_begin_to() -> None:
    story = k.consortium()
    newcomer = change(k.UNADMITTED, "n", cosigner=keys("c").public)
    story.do(k.UNADMITTED, ev.KeyRotated, **newcomer)
    assert k.UNADMITTED not in dict(story.world.cosigners_at(story.world.entries))
    story.do(k.UNADMITTED, ev.KeyRotated, signed_by="n", **change(k.UNADMITTED, "m", cosigner=keys("d").public, replaces=keys("n").public))
    story.do(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=k.UNADMITTED)
    assert (k.UNADMITTED, keys("d").public) in story.world.cosigners_at(story.world.entries)


# --- revoked


def revoke(story: Story, author: str, subject: str) -> Story:
    story.do(author, ev.KeyRevoked, case=CONSORTIUM, subject=subject)
    return story


def test_a_revoked_key_speaks_no_more_until_the_member_vouches_for_a_new_one() -> None:
    story = revoke(k.boards_approved(), HERE, STEWARD)
    assert story.refusals(STEWARD, ev.PermitAuthorised, application=k.APPLICATION) == [f"the key of '{STEWARD}' is revoked"]
    enrolment = {"case": CONSORTIUM, "person": STEWARD, "roles": ["steward"]}
    assert story.refusals(HERE, ev.PersonEnrolled, **enrolment, **k.public(STEWARD)) == ["this key belongs to somebody else"]
    story.do(HERE, ev.PersonEnrolled, **enrolment, **k.public("new steward"))
    story.do(STEWARD, ev.PermitAuthorised, application=k.APPLICATION, signed_by="new steward")


def test_a_revoked_member_neither_speaks_nor_cosigns_and_comes_back_as_what_it_was() -> None:
    story = k.opened()
    size = story.world.entries
    revoke(story, COORDINATOR, HERE)
    assert HERE not in dict(story.world.cosigners_at(size + 1)) and HERE in dict(story.world.cosigners_at(size))
    assert story.refusals(HERE, ev.DatasetDescribed, case=CONSORTIUM, dataset=k.REASON) == [f"the key of '{HERE}' is revoked"]
    another = k.apply_as("new node", "company", cosigner=keys("new cosigner").public)
    assert story.refusals(HERE, ev.MemberApplied, signed_by="new node", **another) == [
        "a member whose key was revoked comes back as what it was"
    ]
    story.do(HERE, ev.MemberApplied, signed_by="new node", **another | {"kind": "tertiary-hospital"})
    assert HERE not in dict(story.world.cosigners_at(story.world.entries))
    story.do(COORDINATOR, ev.MemberAdmitted, case=CONSORTIUM, member=HERE)
    assert (HERE, keys("new cosigner").public) in story.world.cosigners_at(story.world.entries)
    assert HERE in dict(story.world.cosigners_at(size))  # what was cosigned before stays cosigned
    story.do(HERE, ev.PermitEnded, hospital=HERE, reason="expired", signed_by="new node")


@pytest.mark.parametrize(
    ("author", "subject"),
    [
        (HERE, f"steward@{THERE}"), (HERE, THERE), (HERE, HERE), (COORDINATOR, COORDINATOR), (COORDINATOR, STEWARD),
        (COORDINATOR, "nobody"), (HERE, f"nobody@{HERE}"),
    ],
)  # fmt: skip
def test_a_member_revokes_its_own_people_and_the_coordinating_body_other_members(author: str, subject: str) -> None:
    reasons = k.opened().refusals(author, ev.KeyRevoked, case=CONSORTIUM, subject=subject)
    assert reasons == ["a member revokes the keys of its own people, the coordinating body those of other members"]


def test_people_revoke_nothing_and_a_key_is_revoked_once() -> None:
    story = k.opened()
    assert story.refusals(STEWARD, ev.KeyRevoked, case=CONSORTIUM, subject=STEWARD)[0].startswith("KeyRevoked is for the member")
    assert "KeyRevoked belongs to the consortium's case" in story.refusals(HERE, ev.KeyRevoked, case=k.CASE, subject=STEWARD)
    revoke(story, HERE, STEWARD)
    assert story.refusals(HERE, ev.KeyRevoked, case=CONSORTIUM, subject=STEWARD) == [f"the key of '{STEWARD}' is revoked already"]


def test_a_revoked_key_announces_no_other() -> None:
    story = revoke(k.opened(), HERE, STEWARD)
    reasons = rules.refusals(story.world, story.say(STEWARD, ev.KeyRotated, **change(STEWARD, "n")))
    assert reasons[0] == f"the key of '{STEWARD}' is revoked"


def test_a_proof_is_of_one_change() -> None:
    body = {"author": "a", "key": keys("n").public}
    proof = possession(body, keys("n"))
    assert possesses(keys("n").public, body, proof)
    assert not possesses(keys("n").public, body | {"author": "b"}, proof)
    assert not possesses(keys("m").public, body, proof)
    assert not possesses(IDENTITY, body, proof)
    assert kernel_keys.again(None, "x") is None
