"""The proof of a whole case in one file: its events, where they stand in the log, and the documents they commit to.

A bundle is one RFC 8785 document ("pumasi bundle v1"). It holds what a stranger needs to check the case offline and nothing else:
no vote's words, no dataset's description, no result. `verify.py` beside this file reads it; what it refuses is not a bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pumasi.kernel.envelope import b64, canonical
from pumasi.kernel.errors import Invalid, NotFound, Tampered
from pumasi.kernel.event import CONSORTIUM
from pumasi.ledger.note import Checkpoint, VKey, cosigner_vkey, log_vkey, parse_checkpoint
from pumasi.ledger.tree import Tree, leaf_hash

FORMAT = "pumasi bundle v1"
WITNESSED = "pumasi bundle v2"  # with cosignatures of witnesses that are no members
_NAME = re.compile("[A-Za-z0-9._~:/@%-]{1,200}")  # of a witness that a bundle can name
# The documents that a bundle opens: in which event, and under which field, each is committed to.
OPENED = {
    "ApplicationSubmitted": "application",
    "PermitIssued": "permit",
    "WorkspaceOpened": "manifest",
    "JobSubmitted": "document",
    "WorkspaceDestroyed": "certificate",
    "ShareCertified": "certificate",
}


def select(case: str, entries: Iterable[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], list[str]]:
    """Of entries with their indexes, in order: those that belong in the bundle of `case`, and the commitments that it opens."""
    shown = _until_closed(case, entries)
    return [(index, data) for index, data, _ in shown], _commitments(event for _, _, event in shown)


def build(
    case: str,
    *,
    entries: Sequence[tuple[int, bytes]],
    checkpoint: str,
    tree: Tree,
    documents: Mapping[str, Mapping[str, Any]],
    erased: Collection[str] = (),
    witnesses: Iterable[VKey] = (),
) -> bytes:
    """The bundle of `case` under `checkpoint`, from entries of the consortium and of the case in ascending order.

    What follows the closing event is left out, and so are cosignatures by members that it does not show. `documents` maps
    commitments to `{"salt", "body"}` and may hold more than is opened; `Invalid` when it holds less and the rest is not `erased`.
    Witnesses outside the membership are named in it when they have cosigned: the log does not know their keys ("pumasi bundle v2").
    """
    head = parse_checkpoint(checkpoint)
    shown = _until_closed(case, entries)
    if not any(event["case"] == case for _, _, event in shown):
        raise NotFound("the log has no such case")
    if head.size > tree.size or tree.root(head.size) != head.root:
        raise Tampered("the checkpoint is not a head of this log")
    if shown[-1][0] >= head.size:
        raise Invalid("the checkpoint does not cover the whole case yet; take a later one")
    if any(tree.leaf(index) != leaf_hash(data) for index, data, _ in shown):
        raise Tampered("an entry is not the one that stands in the log at its index")
    events = [event for _, _, event in shown]
    outside = [vkey for vkey in witnesses if _NAME.fullmatch(vkey.name) and any(line.is_by(vkey) for line in head.lines)]
    return canonical(
        {
            **({"format": WITNESSED, "witnesses": [str(vkey) for vkey in outside]} if outside else {"format": FORMAT}),
            "case": case,
            "checkpoint": str(_with_known_lines(head, events, outside)),
            "entries": [
                {"index": index, "event": json.loads(data), "proof": [b64(step) for step in tree.inclusion_proof(index, head.size)]}
                for index, data, _ in shown
            ],
            "heads": _heads(events, tree, head.size),
            "documents": _documents(events, documents, erased),
        }
    )


def _until_closed(case: str, entries: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes, dict[str, Any]]]:
    found = []
    for index, data in entries:
        event = json.loads(data)["body"]
        if event["case"] in (CONSORTIUM, case):
            found.append((index, data, event))
        if event["case"] == case and event["type"] == "CaseClosed":
            break
    return found


def _commitments(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event[OPENED[event["type"]]] for event in events if event["type"] in OPENED]


def _documents(events: list[dict[str, Any]], documents: Mapping[str, Mapping[str, Any]], erased: Collection[str]) -> dict[str, Any]:
    wanted = [commitment for commitment in _commitments(events) if commitment not in erased]
    missing = [commitment for commitment in wanted if commitment not in documents]
    if missing:
        raise Invalid(*(f"the document behind the commitment {commitment} is not here; was it erased?" for commitment in missing))
    return {commitment: {"salt": documents[commitment]["salt"], "body": documents[commitment]["body"]} for commitment in wanted}


def _heads(events: list[dict[str, Any]], tree: Tree, size: int) -> list[dict[str, Any]]:
    """Every head that a hospital had seen when it issued its permit or the log was handed over, and the proof that it only grew since."""
    seen = {(event["seen"]["size"], event["seen"]["root"]) for event in events if event["type"] == "PermitIssued"}
    seen |= {(event["size"], event["root"]) for event in events if event["type"] == "LogHandedOver"}
    if any(at > size or tree.root(at).hex() != root for at, root in seen):
        raise Tampered("a head that a hospital had seen is not part of this log: it was rewritten")
    return [{"size": at, "root": root, "proof": [b64(step) for step in tree.consistency_proof(at, size)]} for at, root in sorted(seen)]


def _with_known_lines(head: Checkpoint, events: list[dict[str, Any]], outside: list[VKey]) -> Checkpoint:
    """The checkpoint with the signatures whose keys the bundle itself introduces or names; others prove nothing to its reader."""
    origin, key = events[0]["origin"], events[0]["log_key"]
    admitted = {event["member"] for event in events if event["type"] == "MemberAdmitted"}
    cosigners: dict[str, str] = {}
    for event in events:
        if event.get("cosigner") is not None and event["author"] in admitted:
            cosigners[event["author"]] = event["cosigner"]
        if event["type"] == "KeyRevoked":
            cosigners.pop(event["subject"], None)
        if event["type"] in ("LogHandedOver", "LogKeyRotated"):
            origin, key = event.get("origin", origin), event["log_key"]
    known = [log_vkey(origin, key), *(cosigner_vkey(origin, member, key) for member, key in cosigners.items()), *outside]
    lines = tuple(line for line in head.lines if any(line.is_by(vkey) for vkey in known))
    return Checkpoint(head.origin, head.size, head.root, lines)
