"""Moving the log to a new key and place by the word of those that cosign it: the old coordinating body can be dead, or hostile.

Their cosigner keys sign one statement: up to which head the old log counts, and who goes on from there, under which name and keys,
and where. The event that carries the signatures is the next entry of the same log, the first under the new key.
"""

from __future__ import annotations

from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import is_weak, possesses, unb64
from pumasi.kernel.event import CONSORTIUM
from pumasi.kernel.world import World

SIGNED = ("author", "size", "root", "replaces", "origin", "log_key", "key", "box", "place", "certificate")
Reasons = list[str | None]


def two_thirds(count: int) -> int:
    """More than two thirds of `count`, so that two quorums share an honest one while at most f of 3f + 1 are not: 3 of 4, 5 of 7."""
    return 2 * count // 3 + 1 if count else 0


def statement(event: Any) -> dict[str, Any]:
    """What the cosigner keys sign."""
    return {field: getattr(event, field) for field in SIGNED}


def handed_over(world: World, event: ev.LogHandedOver) -> Reasons:
    """That `root` is the root of the log so far is for whoever holds its tree to say (`pumasi.ledger.handover`)."""
    cosigners = dict(world.cosigners_at(world.entries))
    body, signers = statement(event), [item.member for item in event.signatures]
    needed = two_thirds(len(cosigners))
    return [
        *successor_refusals(world, event),
        None if event.case == CONSORTIUM else "LogHandedOver belongs to the consortium's case",
        None if signers == sorted(set(signers)) else "the signatures stand once each, in the order of the members' names",
        *(f"'{item.member}' does not cosign this log with this key" for item in event.signatures if cosigners.get(item.member) != item.key),
        *(
            f"the signature of '{item.member}' on the handover does not hold"
            for item in event.signatures
            if not possesses(item.key, body, item.signature, kind="handover")
        ),
        f"{len(signers)} of {len(cosigners)} that cosign have signed the handover; it takes {needed}" if len(signers) < needed else None,
    ]


def successor_refusals(world: World, said: Any) -> Reasons:
    """Why the log may not go on like this from here, whoever signs it: `said` is the event, or what is to be signed."""
    known = said.author in world.members and said.author != world.coordinator
    fresh = [said.log_key, said.key]
    return [
        None if said.size == world.entries else "the handover is about another length of the log than it has here",
        None if said.replaces == world.logs[-1].key else "the handover is from another log key than the present one",
        "a new key is one that nobody has used" if world.keys & set(fresh) or said.log_key == said.key else None,
        "anybody can sign under this log key" if is_weak(unb64(said.log_key)) else None,
        # or a witness that knows the log by its name alone could take the heads of one for those of the other
        "a log that is handed over gets a new origin" if said.origin in {log.origin for log in world.logs} else None,
        f"'{said.author}' is the name of a person, not of a member" if "@" in said.author else None,
        "the successor is the coordinating body with new keys, or a body that is no member yet" if known else None,
        "nobody cosigns this log, so nobody can hand it over" if not world.cosigners_at(world.entries) else None,
    ]
