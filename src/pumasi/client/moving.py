"""Whether a handover is one, for people, who hold no copy of the log: by the keys in a policy that they trust, or by comparing."""

from __future__ import annotations

from typing import Any

from pumasi.kernel.envelope import b64, possesses
from pumasi.kernel.errors import refuse_if
from pumasi.kernel.handover import statement
from pumasi.ledger.handover import Handover
from pumasi.ledger.note import Policy


def check(handover: Handover, *, policy: bytes | None) -> None:
    """`Refused` when a signature does not hold or those who signed are not the policy's quorum.

    Without a policy their keys are the file's own. Members whose cosigner key has changed since a policy was written count for nothing
    here: take a newer one.
    """
    event: Any = handover.entry().event
    said, reasons = statement(event), []
    for item in event.signatures:
        if not possesses(item.key, said, item.signature, kind="handover"):
            reasons.append(f"the signature of '{item.member}' on the handover does not hold")
    if policy is not None:
        trusted, keys = Policy.parse(policy), {item.key for item in event.signatures}
        signed = {name for name, vkey in trusted.witnesses.items() if b64(vkey.public) in keys}
        reasons += [] if trusted.reached(signed) else ["those who signed the handover are not the quorum of your policy"]
        pinned = event.replaces in {b64(log.public) for log in trusted.logs}
        reasons += [] if pinned else ["the handover is from another log than the one that your policy pins"]
    refuse_if(*reasons)
