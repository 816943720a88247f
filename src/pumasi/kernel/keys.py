"""Keys that change: the holder announces the next one, or somebody who answers for the holder revokes it.

A signature counts by the key that was its author's at its place in the log, so nothing that was signed before loses its meaning. A
revoked party is introduced again with a new key, by whoever introduced it first.
"""

from __future__ import annotations

from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import is_weak, possesses, unb64
from pumasi.kernel.event import CONSORTIUM
from pumasi.kernel.world import Member, Person, World

Reasons = list[str | None]


def announced(event: ev.KeyRotated, *, replaces: str) -> dict[str, Any]:
    """What the new key signs to prove that its announcer holds it: this change and no other."""
    return {"author": event.author, "key": event.key, "box": event.box, "cosigner": event.cosigner, "replaces": replaces}


def rotated(world: World, event: ev.KeyRotated) -> Reasons:
    member = world.members.get(event.author)
    present: Any = world.people.get(event.author) or member
    fresh = [key for key in (event.key, event.cosigner) if key is not None]
    proven = present is not None and possesses(event.key, announced(event, replaces=present.key), event.proof)
    return [
        None if event.case == CONSORTIUM else "KeyRotated belongs to the consortium's case",
        "a new key is one that nobody has used" if world.keys & set(fresh) or event.key == event.cosigner else None,
        None if proven else "the new key has not signed that it replaces the present one",
        "only a member cosigns the log" if event.cosigner is not None and member is None else None,
        "anybody can sign under this cosigner key" if event.cosigner is not None and is_weak(unb64(event.cosigner)) else None,
    ]


def log_change(*, author: str, log_key: str, replaces: str) -> dict[str, Any]:
    """What both keys of the log sign when one replaces the other."""
    return {"author": author, "log_key": log_key, "replaces": replaces}


def log_key_rotated(world: World, event: ev.LogKeyRotated) -> Reasons:
    present = world.logs[-1].key
    said = log_change(author=event.author, log_key=event.log_key, replaces=present)
    return [
        None if event.case == CONSORTIUM else "LogKeyRotated belongs to the consortium's case",
        "a new key is one that nobody has used" if event.log_key in world.keys else None,
        None if possesses(present, said, event.consent, kind="log-key-rotation") else "the log's present key has not signed the change",
        None if possesses(event.log_key, said, event.proof, kind="log-key-rotation") else "the log's new key has not signed the change",
    ]


def revoked(world: World, event: ev.KeyRevoked) -> Reasons:
    person, member = world.people.get(event.subject), world.members.get(event.subject)
    coordinator = event.author == world.coordinator
    own = person is not None and person.member == event.author
    other = member is not None and coordinator and event.subject != event.author
    party: Any = person or member
    return [
        None if event.case == CONSORTIUM else "KeyRevoked belongs to the consortium's case",
        None if own or other else "a member revokes the keys of its own people, the coordinating body those of other members",
        f"the key of '{event.subject}' is revoked already" if party is not None and not party.key else None,
    ]


def again(known: Member | Person | None, sentence: str) -> str | None:
    """Whoever is known already is not introduced a second time, unless the key was revoked."""
    return sentence if known is not None and known.key else None


def same_kind(world: World, event: ev.MemberApplied) -> str | None:
    before = world.members.get(event.author)
    changed = before is not None and not before.key and before.kind != event.kind
    return "a member whose key was revoked comes back as what it was" if changed else None
