"""Check a case bundle alone: `python verify.py FILE [--policy POLICY] [--open] [--erased]`. Needs Python 3.11 and `cryptography`.

A bundle is the record of one request for data ("case"): signed events, where each stands in the shared log, and the documents that
they commit to. Proven is that every event is genuine, in its place and allowed by the rules, that the documents say what their events
say, and that a closed case is complete. The numbered list below says how; what is not proven is printed with every verdict.

Exit code 0: everything holds. 1: something was changed, is missing or breaks a rule. 2: a file cannot be read.
"""

# What is checked, in the order of the code:
#
#  1. Bytes. The file is canonical JSON (RFC 8785) to the byte; no number is a float. Base64, hexadecimal and signatures (Ed25519) strict.
#  2. Shapes. Every object has exactly the fields listed here. A field that this file does not know is refused, not skipped.
#  3. Tree. Merkle proofs (RFC 9162) tie every event to one place in the log, and every head a hospital had seen to the same log.
#  4. Notes. The signed head (C2SP tlog-checkpoint), its cosignatures (tlog-cosignature), the reader's own conditions (tlog-policy).
#  5. History. The events are replayed: each is signed with a key that the log introduced before, by somebody whose role allows it, in
#     an unbroken chain per author and case; votes were committed blind, opened at the quorum and sufficed; permits followed approvals,
#     jobs permits, outputs jobs, releases two checkers; at the end keys and workspaces were destroyed and the closing event's counts fit.
#  6. Documents. Each is the one committed to, is signed by the right party, and says what its event says; a permit covers no more than
#     the application, a workspace and an answered job no more than the permit; a certificate of deletion, of the hospital or of the
#     coordinating body, reports no failure and nothing left. Deletions of older logs have no second certificate; both forms are checked.
#  7. The verdict, in sentences: what is proven, what is not.
#
# The rules are those that the hub, the nodes and the cosigners replay (pumasi.kernel.rules); what they refuse is refused here, with two
# exceptions: that a job's number was used in another case, which a bundle of one case cannot show, and the search for personal data at
# the log's door (pumasi.kernel.door), which says what should not be written, not what is true. They do not see documents; this file
# does, so it refuses more. It does not check what they do not bind either: that instants and days are true (they are what their authors
# wrote), and that a vote's reason, an output or a dataset's description exists behind its digest.
#
# A case that still runs has no closing event, so nothing shows whether an author's latest events were left out: it is accepted only
# with --open, as complete up to its last entry.
#
# A document may have been erased, with its salt; the commitment in the log says nothing any more. A bundle without it is accepted only with
# --erased, for whoever made the bundle may also have left the document out. The verdict names it; what depends on it is not checked.

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Broken(Exception):
    """Something does not hold; the reasons are sentences."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons


def need(*rules: tuple[bool, str]) -> None:
    """Each rule is whether it holds, and what to say when it does not. All that fail are told."""
    reasons = [sentence for holds, sentence in rules if not holds]
    if reasons:
        raise Broken(*reasons)


# --- 1. bytes --------------------------------------------------------------------------------------------------------

DEEPEST = 60  # levels of nesting; no document needs ten


def canonical(value: Any) -> bytes:
    """RFC 8785: keys in the order of their UTF-16 code units, no spaces, the shortest escapes."""
    return json.dumps(_ordered(value, 0), ensure_ascii=False, separators=(",", ":")).encode()


def _ordered(value: Any, depth: int) -> Any:
    if depth < DEEPEST and isinstance(value, dict):
        return {key: _ordered(value[key], depth + 1) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if depth < DEEPEST and isinstance(value, list):
        return [_ordered(item, depth + 1) for item in value]
    if value is None or isinstance(value, (str, bool)) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    raise ValueError("a float, a number beyond 2^53, or too deep")


def read_canonical(data: bytes) -> Any:
    try:
        value = json.loads(data)
        need((canonical(value) == data, "the file is not in canonical form (RFC 8785): its bytes were changed"))
    except (ValueError, RecursionError) as error:  # a wrong encoding is a ValueError too
        raise Broken("the file is not JSON as Pumasi writes it") from error
    return value


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unbase64(text: Any, size: int | None = None) -> bytes:
    """The bytes behind base64 that no encoder would have written differently."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise Broken("a value is not base64") from error
    need((base64.b64encode(data).decode() == text and size in (None, len(data)), "a base64 value has the wrong form or length"))
    return data


# The y of the points of small order on edwards25519, also as encoded above the prime: RFC 8032 lets anybody sign under them.
_PRIME, _ORDER_8 = 2**255 - 19, 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
WEAK = {0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1}


def signature_holds(key: bytes, signature: bytes, message: bytes) -> bool:
    """Ed25519 as OpenSSL checks it (RFC 8032 5.1.7, without the cofactor); a key or an R of small order signs nothing."""
    if any(int.from_bytes(point, "little") % 2**255 in WEAK for point in (key, signature[:32])):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def check_signed(value: Any, kind: str) -> None:
    """A signed document is {body, key, sig}; the signature is over its kind and its canonical body."""
    need((record(SIGNED)(value), f"a signed {kind} has exactly the fields body, key and sig"))
    message = f"pumasi/{kind}/v1\n".encode() + canonical(value["body"])
    holds = signature_holds(unbase64(value["key"], 32), unbase64(value["sig"], 64), message)
    need((holds, f"the signature on the {kind} does not hold"))


def fingerprint(key: str) -> str:
    digits = sha256(base64.b64decode(key))[:16]
    return "-".join(digits[i : i + 4] for i in range(0, 16, 4))


# --- 2. shapes -------------------------------------------------------------------------------------------------------

Shape = Callable[[Any], bool]
Fields = dict[str, Shape]


def text(pattern: str) -> Shape:
    whole = re.compile(pattern)
    return lambda value: isinstance(value, str) and bool(whole.fullmatch(value))


def line(pattern: str) -> Shape:
    """One printable line without spaces at its ends."""
    return lambda value: text(pattern)(value) and value == value.strip() and value.isprintable()


def name(pattern: str) -> Shape:
    """A line in Unicode normal form C: what looks the same is the same."""
    return lambda value: line(pattern)(value) and normalize("NFC", value) == value


def moment(pattern: str) -> Shape:
    """A day or an instant that the calendar knows."""

    def holds(value: Any) -> bool:
        try:
            return text(pattern)(value) and bool(datetime.fromisoformat(value))
        except ValueError:
            return False

    return holds


def one_of(*choices: str) -> Shape:
    return lambda value: isinstance(value, str) and value in choices


def number(least: int) -> Shape:
    return lambda value: type(value) is int and value >= least


def optional(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def either(one: Shape, other: Shape) -> Shape:
    return lambda value: one(value) or other(value)


def many(shape: Shape, *, least: int = 0) -> Shape:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(shape, value))


def mapping(key: Shape, item: Shape, *, least: int = 0) -> Shape:
    return lambda value: isinstance(value, dict) and len(value) >= least and all(key(name) and item(value[name]) for name in value)


def record(fields: Fields) -> Shape:
    return lambda value: isinstance(value, dict) and value.keys() == fields.keys() and all(fields[name](value[name]) for name in fields)


def anything(value: Any) -> bool:
    return True


TEXT: Shape = text("(?s:.*)")

CONSORTIUM = "consortium"
MEMBER, PERSON = name(r"[^@|/\\\x00-\x1f]{1,64}"), name(r"[a-z0-9-]{1,32}@[^@|/\\\x00-\x1f]{1,64}")
LINE, TREATMENT = line(r"(?s:.{1,300})"), text(r"(?s:.{1,20000})")
ORIGIN = text(r"[A-Za-z0-9._:/-]{1,200}")
VKEY = text(r"[A-Za-z0-9._~:/@%-]{1,200}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")  # of a witness outside the membership
ID, HASH, KEY = text(r"[0-9a-f]{32}"), text(r"[0-9a-f]{64}"), text(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
DAY, INSTANT = moment(r"[0-9]{4}(-[0-9]{2}){2}"), moment(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z")
SIGNATURE = text(r"[A-Za-z0-9+/]{85}[AQgw]==")
COUNT, ONE_UP, FLAG = number(0), number(1), (lambda value: isinstance(value, bool))
MEDICAL = ("hospital", "tertiary-hospital")
MEMBER_KIND = one_of("coordinator", "platform", *MEDICAL, "company", "public-agency", "research-institute")
ROLE = one_of("researcher", "drb", "irb", "steward", "checker")
PURPOSE = one_of(
    "scientific-research", "statistics", "public-health", "policy-making", "education", "ai-development", "ai-validation"
)  # fmt: skip
LEGAL_BASIS = one_of("pipa-28-2", "pipa-consent", "bioethics-act-16", "ehds-53")
RELEASE_RULE, ANALYSIS = one_of("two-people", "automatic-if-clear"), one_of(
    "count", "describe", "table", "table1", "histogram", "quantiles", "correlation", "ttest", "anova",
    "glm", "cox", "kaplan_meier", "logrank", "roc", "calibration", "brier", "meta",
)  # fmt: skip
COLUMN_CLASS, KEEP = one_of("identifier", "quasi", "sensitive", "plain"), optional(one_of("year"))
FAILURE = one_of("permit", "missing-hospital", "restarted", "disagreement", "tampered", "sandbox", "source", "fault")

BUNDLE: Fields = {
    "format": one_of("pumasi bundle v1"), "case": ID, "checkpoint": TEXT,
    "entries": many(record({"index": COUNT, "event": anything, "proof": many(TEXT)}), least=1),
    "heads": many(record({"size": ONE_UP, "root": HASH, "proof": many(TEXT)})),
    "documents": mapping(HASH, record({"salt": HASH, "body": anything})),
}  # fmt: skip

BUNDLE_V2: Fields = BUNDLE | {"format": one_of("pumasi bundle v2"), "witnesses": many(VKEY, least=1)}

SIGNED: Fields = {"body": lambda value: isinstance(value, dict), "key": TEXT, "sig": TEXT}
COMMON: Fields = {
    "type": anything, "case": text(r"consortium|[0-9a-f]{32}"), "author": lambda value: MEMBER(value) or PERSON(value),
    "seq": COUNT, "prev": optional(HASH), "at": INSTANT,
}  # fmt: skip
EVENTS: dict[str, Fields] = {
    "LogFounded": {"origin": LINE, "log_key": KEY, "key": KEY, "box": KEY},
    "MemberApplied": {"kind": MEMBER_KIND, "key": KEY, "box": KEY, "cosigner": optional(KEY)},
    "MemberAdmitted": {"member": MEMBER},
    "PersonEnrolled": {"person": PERSON, "key": KEY, "box": KEY, "roles": many(ROLE, least=1)},
    "DatasetDescribed": {"dataset": HASH},
    "ApplicationSubmitted": {"application": HASH, "hospitals": many(MEMBER, least=1), "smallest_cell": ONE_UP},
    "ApplicationWithdrawn": {},
    "VoteCommitted": {"board": one_of("drb", "airlock"), "job": optional(ID), "subject": HASH, "vote": HASH},
    "VoteOpened": {
        "board": one_of("drb", "airlock"), "job": optional(ID), "salt": HASH, "decision": one_of("approve", "reject"),
        "smallest_cell": optional(ONE_UP), "reason": HASH,
    },
    "IrbDecided": {"application": HASH, "decision": one_of("approved", "exempt", "rejected"), "reason": HASH},
    "PermitAuthorised": {"application": HASH},
    "PermitIssued": {
        "permit": HASH, "smallest_cell": ONE_UP, "hospitals_at_least": ONE_UP, "release": RELEASE_RULE,
        "valid_from": DAY, "valid_until": DAY, "seen": record({"size": ONE_UP, "root": HASH}),
    },
    "WorkspaceOpened": {"manifest": HASH},
    "JobSubmitted": {"job": ID, "document": HASH, "hospitals": many(MEMBER, least=1), "lead": MEMBER},
    "OutputSealed": {"job": ID, "output": HASH, "findings": one_of("clear", "flagged")},
    "JobFailed": {"job": ID, "reason": FAILURE, "about": many(MEMBER)},
    "Released": {"job": ID, "output": HASH, "reviewers": many(PERSON)},
    "StudyDone": {},
    "PermitEnded": {"hospital": MEMBER, "reason": one_of("done", "expired", "revoked", "source", "lost")},
    "WorkspaceDestroyed": {"certificate": HASH},
    "KeyShareDestroyed": {"hospital": MEMBER},
    "CaseClosed": {"events": ONE_UP, "consortium": ONE_UP},
    "DeletionPending": {"until": INSTANT},
    "ReversalAsked": {},
    "ReversalAgreed": {"hospital": MEMBER},
    "ShareCertified": {"hospital": MEMBER, "certificate": HASH},
    "KeyRotated": {"key": KEY, "box": KEY, "cosigner": optional(KEY), "proof": SIGNATURE},
    "KeyRevoked": {"subject": lambda value: MEMBER(value) or PERSON(value)},
    "LogHandedOver": {
        "size": ONE_UP, "root": HASH, "replaces": KEY, "origin": ORIGIN, "log_key": KEY, "key": KEY, "box": KEY,
        "place": text(r"https://[A-Za-z0-9.:\[\]-]{1,253}"), "certificate": HASH,
        "signatures": many(record({"member": MEMBER, "key": KEY, "signature": SIGNATURE}), least=1),
    },
    "LogKeyRotated": {"log_key": KEY, "consent": SIGNATURE, "proof": SIGNATURE},
}  # fmt: skip

COLUMN: Fields = {"is": COLUMN_CLASS, "levels": optional(many(LINE))}
# Treated as a rule file of de-identification could say; earlier versions know the year of a date alone, and the value as it is.
TREATED: Fields = {"treat": TREATMENT, "kind": one_of("number", "text", "date", "boolean")}
APPLICATION: Fields = {
    "title": LINE, "purpose": PURPOSE, "smallest_cell": ONE_UP, "applicant": PERSON, "case": ID,
    "tables": mapping(LINE, record({
        "person": LINE, "columns": mapping(LINE, either(record(COLUMN | {"keep": KEEP}), record(COLUMN | TREATED))),
    })),
    "kinds": many(ANALYSIS), "hospitals": many(MEMBER, least=1), "datasets": mapping(MEMBER, HASH),
}  # fmt: skip
AGREED_COLUMN: Fields = {
    "is": one_of("quasi", "sensitive", "plain"), "kind": one_of("number", "text", "date", "boolean"),
    "levels": many(LINE), "two_valued": FLAG,
}  # fmt: skip
PERMIT: Fields = {
    "case": ID, "hospital": MEMBER, "applicant": PERSON, "applicant_key": KEY, "purpose": PURPOSE, "legal_basis": LEGAL_BASIS,
    "application": HASH,
    "tables": mapping(LINE, record({
        "person": LINE,
        "columns": mapping(LINE, either(record(AGREED_COLUMN | {"keep": KEEP}), record(AGREED_COLUMN | {"treat": TREATMENT}))),
    })),
    "kinds": many(ANALYSIS), "smallest_cell": ONE_UP, "hospitals": many(MEMBER), "hospitals_at_least": ONE_UP,
    "release": RELEASE_RULE, "valid_from": DAY, "valid_until": DAY,
}  # fmt: skip
# The second version names the rule files that its hospital's tables are treated by.
PERMIT_V2: Fields = PERMIT | {
    "version": lambda value: value == 2, "rules": mapping(LINE, record({"name": LINE, "sha256": HASH}), least=1),
}  # fmt: skip
MANIFEST: Fields = {
    "case": ID, "hospital": MEMBER, "permit": HASH, "tables": mapping(LINE, many(LINE)),
    "objects": ONE_UP, "bytes": ONE_UP, "ciphertext": HASH,
}  # fmt: skip
JOB: Fields = {
    "job": ID, "case": ID, "applicant": PERSON, "applicant_box": KEY, "permits": mapping(MEMBER, HASH, least=1), "lead": MEMBER,
    "smallest_cell": ONE_UP, "code": HASH, "questions": many(mapping(TEXT, anything), least=1),
}  # fmt: skip
COLUMNS, FACTOR = many(TEXT, least=1), {"column": TEXT}
PRODUCT: Fields = {
    "name": anything,
    "factors": many(lambda value: record(FACTOR)(value) or record(FACTOR | {"level": anything})(value)),
}
DESIGN: Fields = {"outcome": TEXT, "columns": many(record(PRODUCT), least=1)}
# How the first version asked; since then a question says which columns it `reads`, and gets no others.
QUESTIONS: dict[str, Fields] = {
    "table": {"name": anything, "kind": ANALYSIS, "table": TEXT, "by": COLUMNS},
    "describe": {"name": anything, "kind": ANALYSIS, "table": TEXT, "columns": COLUMNS},
    "glm": {"name": anything, "kind": ANALYSIS, "table": TEXT, "family": anything, "formula": anything, "design": record(DESIGN)},
}
CERTIFICATE: Fields = {
    "case": ID, "hospital": MEMBER, "permit": HASH, "legal_basis": LEGAL_BASIS, "algorithm": LINE, "method": LINE, "objects": COUNT,
    "bytes": COUNT, "attempts": ONE_UP, "failures": COUNT, "residual": COUNT, "released": many(HASH), "not_covered": many(LINE),
    "at": INSTANT,
}  # fmt: skip
BACKUPS = many(record({"what": LINE, "until": DAY}))
CERTIFICATE_V2: Fields = {
    "version": lambda value: value == 2, "case": ID, "hospital": MEMBER, "permit": HASH, "legal_basis": LEGAL_BASIS,
    "manifest": optional(HASH), "objects": COUNT, "bytes": COUNT, "algorithm": LINE, "method": LINE, "attempts": ONE_UP,
    "failures": COUNT,
    "purged": many(record({"what": one_of("workspace", "scratch", "held-outputs"), "removed": COUNT, "residual": COUNT}), least=1),
    "backups": BACKUPS, "released": many(HASH), "not_covered": many(LINE), "unprovable": LINE, "at": INSTANT,
}  # fmt: skip
SHARE_CERTIFICATE: Fields = {
    "case": ID, "hospital": MEMBER, "permit": HASH, "method": LINE, "attempts": ONE_UP, "failures": COUNT, "backups": BACKUPS,
    "at": INSTANT,
}  # fmt: skip


# --- 3. tree (RFC 9162) ----------------------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def included(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    """2.1.3.2: hash the leaf upwards with its siblings."""
    if index >= size:
        return False
    fn, sn, node = index, size - 1, leaf
    for step in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = node_hash(step, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == root


def consistent(size1: int, size2: int, proof: list[bytes], root1: bytes, root2: bytes) -> bool:
    """2.1.4.2: rebuild both roots from one proof."""
    if size1 >= size2:
        return size1 == size2 and not proof and root1 == root2
    steps = [root1, *proof] if size1 & (size1 - 1) == 0 else proof
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0] if steps else b""
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == root1 and new == root2


# --- 4. notes (C2SP) -------------------------------------------------------------------------------------------------

LOG, COSIGNER = 0x01, 0x04


class NoteKey(NamedTuple):
    """Whose signatures on notes count: name, type of signature, raw public key."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape") + b"\n" + bytes([self.kind]) + self.public).digest()[:4]


class Checkpoint(NamedTuple):
    body: str
    origin: str
    size: int
    root: bytes
    lines: list[tuple[str, bytes]]  # name, key id and signature


def read_checkpoint(note: str) -> Checkpoint:
    body, _, below = note.rpartition("\n\n")
    match = re.fullmatch(r"([^\x00-\x1f]+)\n(0|[1-9][0-9]{0,18})\n([^\x00-\x1f]+)", body)
    lines = re.findall(r"— ([^\x00-\x1f +]+) ([^\x00-\x1f ]+)\n", below)
    if match is None or "".join(f"— {name} {value}\n" for name, value in lines) != below:
        raise Broken("the checkpoint does not have the form of a signed C2SP tlog-checkpoint")
    signatures = [(name, unbase64(value)) for name, value in lines]
    return Checkpoint(body + "\n", match[1], int(match[2]), unbase64(match[3], 32), signatures)


def check_checkpoint(head: Checkpoint, log: NoteKey, members: list[NoteKey]) -> set[NoteKey]:
    """The keys of those that signed the head. A line by an unknown key, a failing one and a second one by a key are refused."""
    signed: dict[bytes, NoteKey] = {}
    for name, value in head.lines:
        key = next((key for key in (log, *members) if (key.name, key.id) == (name, value[:4])), None)
        if key is None or key.public in signed:
            raise Broken(f"the checkpoint has a signature line of '{name}' that is nobody's whom the log admitted, or a second one")
        message, signature = head.body.encode(), value[4:]
        if key.kind == COSIGNER:  # tlog-cosignature: eight bytes of time come first
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {time}\n{head.body}".encode()
            need((time < 2**63, f"the cosignature of '{name}' has an impossible time"))
        need((signature_holds(key.public, signature, message), f"the signature of '{name}' on the checkpoint does not hold"))
        signed[key.public] = key
    need((log.public in signed and head.origin == log.name, "the checkpoint is not signed with the key of the log"))
    return set(signed.values())


class Policy(NamedTuple):
    """tlog-policy: the logs that count, the witnesses by name, the groups (threshold, members), the quorum."""

    logs: list[NoteKey]
    witnesses: dict[str, NoteKey]
    groups: dict[str, tuple[int, list[str]]]
    quorum: list[str]

    def reached(self, name: str, signed: set[NoteKey]) -> bool:
        if name == "none":
            return True
        if name in self.witnesses:
            return self.witnesses[name] in signed
        threshold, members = self.groups[name]
        return sum(self.reached(member, signed) for member in members) >= threshold


def read_policy(data: bytes) -> Policy:
    policy = Policy([], {}, {}, [])
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    need((lines.pop() == "", "the policy does not end with a newline; it may have been cut off"))
    for at, line in enumerate(lines, start=1):
        try:
            need((not re.search("[\x00-\x08\x0a-\x1f\x7f]", line), "a control character"))
            _read_policy_line([item for item in re.split("[ \t]+", line) if item], policy)
        except Broken as broken:
            raise Broken(*(f"line {at} of the policy: {reason}" for reason in broken.reasons)) from broken
    need((len(policy.quorum) == 1, "a policy has exactly one line 'quorum'"))
    return policy


def _read_policy_line(items: list[str], policy: Policy) -> None:
    defined = policy.witnesses.keys() | policy.groups.keys()
    grouped = {member for _, members in policy.groups.values() for member in members}
    match items:
        case ["log", vkey] | ["log", vkey, _]:
            policy.logs.append(_read_vkey(vkey, LOG, policy.logs))
        case ["witness", name, vkey] | ["witness", name, vkey, _]:
            need((name != "none" and name not in defined, "the name is taken"))
            policy.witnesses[name] = _read_vkey(vkey, COSIGNER, policy.witnesses.values())
        case ["group", name, threshold, *members] if members:
            need((name != "none" and name not in defined, "the name is taken"))
            free = all(member in defined - grouped for member in members) and len(set(members)) == len(members)
            need((free, "a member is not defined above, or stands in a group already"))
            words = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
            fits = re.fullmatch("[1-9][0-9]{0,8}", words) is not None and int(words) <= len(members)
            need((fits, "a group asks for any, all, or a number of its members"))
            policy.groups[name] = (int(words), members)
        case ["quorum", name]:
            need((name == "none" or name in defined, "the quorum is not defined above"))
            policy.quorum.append(name)
        case _:
            need((not items or items[0].startswith("#"), "not a log, witness, group or quorum"))


def _read_vkey(text: str, kind: int, known: Iterable[NoteKey]) -> NoteKey:
    name, _, rest = text.partition("+")
    key_id, _, data = rest.partition("+")
    raw = unbase64(data, 33)
    key = NoteKey(name, raw[0], raw[1:])
    usable = bool(name) and not any(character.isspace() for character in name) and key.kind == kind and key.id.hex() == key_id
    need((usable, "not a verifier key of the right type"), (all(key.public != other.public for other in known), "a key is listed twice"))
    return key


# --- 5. history ------------------------------------------------------------------------------------------------------

MAY = {
    "LogFounded": "founder", "MemberApplied": "self", "MemberAdmitted": "coordinator", "PersonEnrolled": "member",
    "DatasetDescribed": "hospital", "ApplicationSubmitted": "researcher", "ApplicationWithdrawn": "applicant",
    "VoteCommitted": "board member", "VoteOpened": "board member", "IrbDecided": "irb", "PermitAuthorised": "steward",
    "PermitIssued": "hospital", "WorkspaceOpened": "hospital", "JobSubmitted": "applicant", "OutputSealed": "hospital",
    "JobFailed": "hospital", "Released": "hospital", "StudyDone": "applicant", "PermitEnded": "steward or hospital",
    "WorkspaceDestroyed": "hospital", "KeyShareDestroyed": "coordinator", "CaseClosed": "coordinator",
    "DeletionPending": "hospital", "ReversalAsked": "steward", "ReversalAgreed": "coordinator", "ShareCertified": "coordinator",
    "KeyRotated": "key holder", "KeyRevoked": "member", "LogHandedOver": "self", "LogKeyRotated": "coordinator",
}  # fmt: skip
CASE_MOVES = {
    ("submitted", "ApplicationWithdrawn"): "withdrawn", ("submitted", "StudyDone"): "done",
    ("submitted", "ReversalAgreed"): "submitted", ("done", "ReversalAgreed"): "submitted",
    ("withdrawn", "CaseClosed"): "closed", ("done", "CaseClosed"): "closed",
}  # fmt: skip
PERMIT_MOVES = {
    ("in review", "VoteCommitted"): "in review", ("in review", "VoteOpened"): "in review", ("in review", "IrbDecided"): "in review",
    ("in review", "PermitAuthorised"): "authorised", ("authorised", "PermitIssued"): "in force",
    ("in force", "WorkspaceOpened"): "open", ("open", "OutputSealed"): "open", ("open", "Released"): "open",
    ("in force", "PermitEnded"): "ended", ("open", "PermitEnded"): "ended",
    ("ended", "KeyShareDestroyed"): "ended", ("ended", "WorkspaceDestroyed"): "destroyed", ("destroyed", "KeyShareDestroyed"): "destroyed",
    ("ended", "DeletionPending"): "deletion pending", ("deletion pending", "ReversalAsked"): "reversal asked",
    ("reversal asked", "ReversalAgreed"): "open", ("deletion pending", "WorkspaceDestroyed"): "destroyed",
    ("reversal asked", "WorkspaceDestroyed"): "destroyed", ("ended", "ShareCertified"): "ended",
    ("deletion pending", "ShareCertified"): "deletion pending", ("reversal asked", "ShareCertified"): "reversal asked",
    ("destroyed", "ShareCertified"): "destroyed",
}  # fmt: skip
LONGEST_GRACE = timedelta(days=31)  # of a pending deletion
AT_THE_END = {"in review": "lapsed", "authorised": "lapsed", "in force": "ended", "open": "ended"}  # StudyDone, ApplicationWithdrawn
OUTPUT_MOVES = {
    ("running", "OutputSealed"): "under review", ("running", "JobFailed"): "failed", ("under review", "JobFailed"): "failed",
    ("under review", "VoteCommitted"): "under review", ("under review", "VoteOpened"): "under review",
    ("under review", "Released"): "released",
}  # fmt: skip
HANDOVER = ("author", "size", "root", "replaces", "origin", "log_key", "key", "box", "place", "certificate")  # what is signed of it
BOARDS = {
    "drb": ("data review board", 1),
    "irb": ("ethics board", 1),
    "steward": ("data steward", 1),
    "checker": ("two output checkers", 2),
}


@dataclass(frozen=True)
class Entry:
    """A signed event and its place in the log."""

    index: int
    signed: dict[str, Any]
    digest: str

    @property
    def event(self) -> dict[str, Any]:
        body: dict[str, Any] = self.signed["body"]
        return body


@dataclass
class Party:
    """A member, or a person that a member has enrolled."""

    key: str
    kind: str
    member: str
    roles: list[str] = field(default_factory=list)
    cosigner: str | None = None
    admitted: bool = False
    former: list[str] = field(default_factory=list)  # keys that this one replaced in turn
    cosigned: list[str] = field(default_factory=list)  # cosigner keys that the present one replaced in turn


class LogKey(NamedTuple):
    """Under which name and key the log signs its heads over at least `since` entries, and who wanted it so (at a handover)."""

    since: int
    origin: str
    key: str
    by: list[str]


@dataclass
class Board:
    """Votes are committed blind and opened once the quorum has committed. A review board needs more than half, an airlock all."""

    subject: str
    quorum: int
    unanimous: bool
    committed: dict[str, str] = field(default_factory=dict)
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def approvals(self) -> int:
        return sum(vote["decision"] == "approve" for vote in self.opened.values())

    @property
    def approved(self) -> bool:
        votes = len(self.committed)
        return votes >= self.quorum and len(self.opened) == votes and self.approvals >= (votes if self.unanimous else votes // 2 + 1)


@dataclass
class Side:
    """One hospital's side of the case."""

    board: Board
    state: str = "in review"
    irb: str | None = None
    steward: str = ""
    issued: dict[str, Any] = field(default_factory=dict)  # the event
    permit: dict[str, Any] = field(default_factory=dict)  # the document
    manifest: dict[str, Any] = field(default_factory=dict)
    opened: str | None = None  # the manifest's commitment
    released: dict[str, list[str]] = field(default_factory=dict)  # digest -> reviewers
    share_destroyed: bool = False
    expired: bool = False
    until: str = ""  # when a pending deletion becomes final
    certificate: dict[str, Any] = field(default_factory=dict)  # the hospital's
    share_certificate: dict[str, Any] = field(default_factory=dict)  # the coordinating body's; older logs have none


@dataclass
class Output:
    """The output of one job at one hospital."""

    state: str = "running"
    digest: str = ""
    findings: str = ""
    board: Board = field(default_factory=lambda: Board("", 2, unanimous=True))


@dataclass
class Job:
    document: dict[str, Any]
    at: dict[str, Output]

    @property
    def states(self) -> set[str]:
        return {output.state for output in self.at.values()}

    @property
    def is_running(self) -> bool:
        return "running" in self.states and "failed" not in self.states

    def not_failed(self) -> tuple[bool, str]:
        return "failed" not in self.states, "the job failed at one of its hospitals"


class History:
    """What is true after the events so far. `follow` lets the next one follow, or says why it may not."""

    def __init__(self, case: str, documents: dict[str, dict[str, Any]], *, may_be_erased: bool = False) -> None:
        self.case, self.documents, self.used = case, documents, set[str]()
        self.may_be_erased, self.erased = may_be_erased, dict[str, str]()  # commitment -> kind
        self.state, self.submitted, self.application = "-", dict[str, Any](), dict[str, Any]()
        self.founded, self.members, self.people = dict[str, Any](), dict[str, Party](), dict[str, Party]()
        self.described, self.sides, self.jobs, self.votes = set[str](), dict[str, Side](), dict[str, Job](), set[str]()
        self.keys, self.coordinator, self.logs = set[str](), "", list[LogKey]()
        self.handed = set[tuple[int, str]]()  # size and root of the log at each handover
        self.chains, self.counts = dict[tuple[str, str], tuple[int, str | None, str]](), Counter[str]()

    def follow(self, entry: Entry) -> None:
        event, chain = entry.event, (entry.event["case"], entry.event["author"])
        count, digest, last = self.chains.get(chain, (0, None, ""))
        need(
            (event["case"] in (CONSORTIUM, self.case), "the event belongs to another case"),
            (self.state != "closed", "nothing in a bundle follows the closing event"),
            (bool(self.founded) or event["type"] == "LogFounded", "the first event of a log is LogFounded"),
            ((event["seq"], event["prev"]) == (count, digest), "an event of this author was left out, repeated or reordered"),
            (event["at"] >= last, "the event is dated before its author's last one"),
        )
        check_signed(entry.signed, "event")
        self.check_author(entry)
        self.index = entry.index
        getattr(self, f"on_{event['type']}")(event)
        self.chains[chain] = (count + 1, entry.digest, event["at"])
        self.counts[event["case"]] += 1

    # who may speak

    def check_author(self, entry: Entry) -> None:
        event, who = entry.event, MAY[entry.event["type"]]
        if who in ("founder", "self"):
            need((entry.signed["key"] == event["key"], "it is not signed with the key that it announces"))
            return
        author = self.people.get(event["author"]) or self.members.get(event["author"])
        if author is None or author.key != entry.signed["key"]:
            raise Broken(f"the log has not introduced this key as that of '{event['author']}'")
        need((self.may(who, event), f"this is for the {who}, and '{event['author']}' is not"))

    def may(self, who: str, event: dict[str, Any]) -> bool:
        name, member, person = event["author"], self.members.get(event["author"]), self.people.get(event["author"])
        roles, home = (person.roles, person.member) if person else ([], name)
        at_hospital = event["case"] == self.case and home in self.sides
        match who:
            case "coordinator":
                return bool(name == self.coordinator)
            case "member":
                return member is not None and member.admitted
            case "hospital":
                return member is not None and self.is_medical(name) and (event["case"] == CONSORTIUM or at_hospital)
            case "key holder":
                return True  # with whose key it is signed
            case "researcher":
                return "researcher" in roles
            case "applicant":
                return bool(event["case"] == self.case and name == self.submitted.get("author"))
            case "board member":
                return at_hospital and ("drb" if event["board"] == "drb" else "checker") in roles
            case "steward or hospital":
                return at_hospital and (("steward" in roles and home == event["hospital"]) or name == event["hospital"])
            case _:
                return at_hospital and who in roles

    def is_medical(self, name: str) -> bool:
        return name in self.members and self.members[name].admitted and self.members[name].kind in MEDICAL

    def size_of(self, role: str, hospital: str) -> int:
        return sum(person.member == hospital and role in person.roles for person in self.people.values())

    # what an event is about

    def side_of(self, event: dict[str, Any]) -> tuple[str, Side]:
        person = self.people.get(event["author"])
        hospital = event.get("hospital") or (person.member if person else event["author"])
        need((event["case"] == self.case and hospital in self.sides, "it concerns a case or hospital that is not there"))
        return hospital, self.sides[hospital]

    def output_of(self, event: dict[str, Any]) -> tuple[Job, Output]:
        hospital, _ = self.side_of(event)
        job = self.jobs.get(event["job"])
        if job is None or hospital not in job.at:
            raise Broken("there is no such job at this hospital")
        state = job.at[hospital].state
        need(((state, event["type"]) in OUTPUT_MOVES, f"{event['type']} is not possible while the output is '{state}'"))
        return job, job.at[hospital]

    def board_of(self, event: dict[str, Any]) -> Board:
        if event["board"] == "airlock":
            return self.output_of(event)[1].board
        need((event["job"] is None, "a data review board votes on applications, not on jobs"))
        return self.moving(event)[1].board

    def moving(self, event: dict[str, Any]) -> tuple[str, Side]:
        """The hospital's side that the event moves to its next state."""
        hospital, side = self.side_of(event)
        need(((side.state, event["type"]) in PERMIT_MOVES, f"{event['type']} is not possible while the permit is '{side.state}'"))
        return hospital, side

    # membership

    def on_LogFounded(self, event: dict[str, Any]) -> None:
        self.introduce(event, self.is_no_person(event), (not self.founded, "the log was founded before"))
        self.founded, self.coordinator = event, event["author"]
        self.logs.append(LogKey(1, event["origin"], event["log_key"], []))
        self.members[event["author"]] = Party(event["key"], "coordinator", event["author"], admitted=True)

    def on_MemberApplied(self, event: dict[str, Any]) -> None:
        self.introduce(
            event,
            self.is_no_person(event),
            (self.is_new(event["author"]), "the member has applied before"),
            (
                event["author"] not in self.members or self.members[event["author"]].kind == event["kind"],
                "a member whose key was revoked comes back as what it was",
            ),
            (event["kind"] != "coordinator", "a log has one coordinating body"),
        )
        self.members[event["author"]] = Party(event["key"], event["kind"], event["author"], cosigner=event["cosigner"])

    def on_MemberAdmitted(self, event: dict[str, Any]) -> None:
        waiting = event["member"] in self.members and not self.members[event["member"]].admitted
        need(self.in_consortium(event), (waiting, "the member has not applied, or is admitted already"))
        self.members[event["member"]].admitted = True

    def on_PersonEnrolled(self, event: dict[str, Any]) -> None:
        self.introduce(
            event,
            (event["person"].partition("@")[2] == event["author"], "a member enrols its own people only"),
            (self.is_new(event["person"]), "the person is enrolled already"),
            ("researcher" not in event["roles"] or set(event["roles"]) == {"researcher"}, "researcher goes with no other role"),
        )
        self.people[event["person"]] = Party(event["key"], "person", event["author"], roles=event["roles"])

    def on_DatasetDescribed(self, event: dict[str, Any]) -> None:
        need(self.in_consortium(event))
        self.described.add(event["author"])

    def on_KeyRotated(self, event: dict[str, Any]) -> None:
        party = self.people.get(event["author"]) or self.members[event["author"]]
        announced = {name: event[name] for name in ("author", "key", "box", "cosigner")} | {"replaces": party.key}
        message = b"pumasi/key-rotation/v1\n" + canonical(announced)
        self.introduce(
            event,
            (signature_holds(unbase64(event["key"], 32), unbase64(event["proof"], 64), message), "the new key has not signed the change"),
            (event["cosigner"] is None or event["author"] in self.members, "only a member cosigns the log"),
            (event["key"] != event["cosigner"], "a new key is one that nobody has used"),
        )
        party.former.append(party.key)
        party.cosigned += [party.cosigner] if event["cosigner"] and party.cosigner else []
        party.key, party.cosigner = event["key"], event["cosigner"] or party.cosigner

    def on_KeyRevoked(self, event: dict[str, Any]) -> None:
        subject = event["subject"]
        person, member = self.people.get(subject), self.members.get(subject)
        own = person is not None and person.member == event["author"]
        other = member is not None and event["author"] == self.coordinator != subject
        party = person or member or Party("nobody's", "", "")
        need(
            self.in_consortium(event),
            (own or other, "a member revokes the keys of its own people, the coordinating body those of other members"),
            (party.key != "", "the key is revoked already"),
        )
        party.key, party.former, party.cosigner, party.cosigned, party.admitted = "", [], None, [], False

    def on_LogHandedOver(self, event: dict[str, Any]) -> None:
        """The quorum of those that cosign moves the log; the successor is the coordinating body from here on."""
        cosigners = {name: party.cosigner for name, party in self.members.items() if party.admitted and party.cosigner is not None}
        signed = {item["member"]: item["key"] for item in event["signatures"]}
        said = canonical({name: event[name] for name in HANDOVER})
        holds = [
            signature_holds(unbase64(item["key"], 32), unbase64(item["signature"], 64), b"pumasi/handover/v1\n" + said)
            for item in event["signatures"]
        ]
        self.introduce(
            event,
            self.is_no_person(event),
            (event["author"] == self.coordinator or event["author"] not in self.members, "the successor is a member already"),
            (event["size"] == self.index, "the handover is about another length of the log than it has here"),
            (event["replaces"] == self.logs[-1].key, "the handover is from another log key than the present one"),
            (event["origin"] not in [log.origin for log in self.logs], "a log that is handed over gets a new origin"),
            (event["log_key"] != event["key"], "a new key is one that nobody has used"),
            ([item["member"] for item in event["signatures"]] == sorted(signed), "the signatures stand once each, in order"),
            (
                all(cosigners.get(name) == key for name, key in signed.items()),
                "somebody has signed the handover who does not cosign the log",
            ),
            (all(holds), "a signature on the handover does not hold"),
            (len(signed) >= _two_thirds(len(cosigners)), "fewer have signed the handover than it takes"),
        )
        before = self.members[self.coordinator]
        before.key, before.former, before.admitted = "", [], False
        self.coordinator = event["author"]
        self.members[self.coordinator] = Party(event["key"], "coordinator", self.coordinator, admitted=True)
        self.logs.append(LogKey(self.index + 1, event["origin"], event["log_key"], sorted(signed)))
        self.handed.add((event["size"], event["root"]))

    def on_LogKeyRotated(self, event: dict[str, Any]) -> None:
        present = self.logs[-1]
        said = canonical({"author": event["author"], "log_key": event["log_key"], "replaces": present.key})
        agreed = [
            signature_holds(unbase64(key, 32), unbase64(signature, 64), b"pumasi/log-key-rotation/v1\n" + said)
            for key, signature in ((present.key, event["consent"]), (event["log_key"], event["proof"]))
        ]
        self.introduce(event, (all(agreed), "the log's present key and its new one have not both signed the change"))
        self.logs.append(LogKey(self.index + 1, present.origin, event["log_key"], []))

    def log_at(self, size: int) -> LogKey:
        """The key that must have signed a head over `size` entries."""
        return next(log for log in reversed(self.logs) if log.since <= size or log is self.logs[0])

    def is_new(self, name: str) -> bool:
        """Whether this name may be introduced: nobody has it, or its key was revoked."""
        party = self.people.get(name) or self.members.get(name)
        return party is None or party.key == ""

    def in_consortium(self, event: dict[str, Any]) -> tuple[bool, str]:
        return event["case"] == CONSORTIUM, f"{event['type']} belongs to the consortium's case"

    def is_no_person(self, event: dict[str, Any]) -> tuple[bool, str]:
        return "@" not in event["author"], "this is the name of a person, not of a member"

    def introduce(self, event: dict[str, Any], *rules: tuple[bool, str]) -> None:
        """Take in the keys of a party. One key is one party, or one cosignature would count twice."""
        keys = {event[name] for name in ("key", "cosigner", "log_key") if event.get(name) is not None}
        need(self.in_consortium(event), (self.keys.isdisjoint(keys), "the key belongs to somebody else"), *rules)
        self.keys |= keys

    # application and permit

    def on_ApplicationSubmitted(self, event: dict[str, Any]) -> None:
        kinds = Counter(member.kind for member in self.members.values() if member.admitted)
        hospitals = event["hospitals"]
        complete = kinds["platform"] >= 1 and sum(kinds[kind] for kind in MEDICAL) >= 5 and kinds["tertiary-hospital"] >= 2
        need(
            (complete and kinds["company"] >= 3, "the consortium is not complete: platform, 5 medical (2 tertiary), 3 companies"),
            (event["case"] == self.case and self.state == "-", "an application opens a case of its own"),
            (len(set(hospitals)) == len(hospitals), "a hospital is named twice"),
            *((self.is_medical(hospital), f"'{hospital}' is no medical institution of the consortium") for hospital in hospitals),
            *((hospital in self.described, f"'{hospital}' has described no dataset") for hospital in hospitals),
            *(
                (self.size_of(role, hospital) >= least, f"'{hospital}' has enrolled no {words}")
                for hospital in hospitals
                for role, (words, least) in BOARDS.items()
            ),
        )
        self.application = self.open(event["application"], APPLICATION, "application")
        if self.application:
            need(
                (self.application["case"] == self.case, "the application document belongs to another case"),
                (self.application["applicant"] == event["author"], "the application document names another applicant"),
                (sorted(self.application["hospitals"]) == sorted(hospitals), "the application document names other hospitals"),
                (self.application["smallest_cell"] == event["smallest_cell"], "the application document has another smallest cell"),
            )
        self.state, self.submitted = "submitted", event
        for hospital in hospitals:
            quorum = self.size_of("drb", hospital) // 2 + 1
            self.sides[hospital] = Side(Board(event["application"], quorum, unanimous=False))

    def on_VoteCommitted(self, event: dict[str, Any]) -> None:
        board = self.board_of(event)
        need(
            (event["author"] != self.submitted["author"], "nobody reviews their own request"),
            (event["subject"] == board.subject, "the vote is about something else than what is under review"),
            (event["author"] not in board.committed, "this person has voted already"),
            (len(board.committed) < board.quorum, "the quorum has voted; votes are being opened"),
            (event["vote"] not in self.votes, "the vote repeats a commitment that somebody has made"),
        )
        board.committed[event["author"]] = event["vote"]
        self.votes.add(event["vote"])

    def on_VoteOpened(self, event: dict[str, Any]) -> None:
        board, asked = self.board_of(event), self.submitted["smallest_cell"]
        vote = canonical({name: event[name] for name in ("decision", "reason", "smallest_cell")})
        need(
            (len(board.committed) >= board.quorum, "a vote was opened early: the quorum had not voted yet"),
            (event["author"] not in board.opened, "the vote was opened before"),
            (
                board.committed.get(event["author"]) == sha256(bytes.fromhex(event["salt"]) + vote),
                "the opened vote is not one that was committed",
            ),
            ((event["smallest_cell"] or asked) >= asked, "a board may raise the smallest cell, never lower it"),
        )
        board.opened[event["author"]] = event

    def on_IrbDecided(self, event: dict[str, Any]) -> None:
        _, side = self.moving(event)
        need(self.is_their_application(event), (side.irb is None, "the ethics board has decided already"))
        side.irb = event["decision"]

    def on_PermitAuthorised(self, event: dict[str, Any]) -> None:
        hospital, side = self.moving(event)
        need(
            self.is_their_application(event),
            (side.board.approved, f"the data review board of {hospital} has not approved"),
            (side.irb in ("approved", "exempt"), f"the ethics board of {hospital} has not approved"),
        )
        side.state, side.steward = "authorised", event["author"]

    def is_their_application(self, event: dict[str, Any]) -> tuple[bool, str]:
        fits = event["application"] == self.submitted["application"] and event["author"] != self.submitted["author"]
        return fits, "it is about another application, or by the applicant"

    def on_PermitIssued(self, event: dict[str, Any]) -> None:
        hospital, side = self.moving(event)
        decided = [vote["smallest_cell"] for vote in side.board.opened.values() if vote["smallest_cell"] is not None]
        need(
            (event["smallest_cell"] >= max([self.submitted["smallest_cell"], *decided]), "the permit lowers the smallest cell"),
            (event["valid_from"] <= event["valid_until"], "the permit ends before it begins"),
        )
        permit = self.open_signed(event["permit"], "permit", PERMIT, self.members[hospital].key, PERMIT_V2)
        if permit:
            need(*self.about_permit(hospital, permit, event))
        side.state, side.issued, side.permit = "in force", event, permit

    def about_permit(self, hospital: str, permit: dict[str, Any], event: dict[str, Any]) -> Iterable[tuple[bool, str]]:
        """That it says what its event says, and covers no more than the application, if that is shown."""
        asked = self.application
        terms = ("smallest_cell", "hospitals_at_least", "release", "valid_from", "valid_until")
        applicant = self.submitted["author"]
        keys = [self.people[applicant].key, *self.people[applicant].former]  # the node may not have known the newest yet
        return (
            ((permit["case"], permit["hospital"]) == (self.case, hospital), "the permit is for another case or hospital"),
            (permit["application"] == self.submitted["application"], "the permit is about another application"),
            (permit["applicant"] == applicant and permit["applicant_key"] in keys, "the permit is for somebody else"),
            (not asked or permit["purpose"] == asked["purpose"], "the permit is for another purpose than the application"),
            (hospital in permit["hospitals"], "the permit does not name its own hospital"),
            (set(permit["hospitals"]) <= set(self.submitted["hospitals"]), "the permit names hospitals that were not asked"),
            (not asked or set(permit["kinds"]) <= set(asked["kinds"]), "the permit allows analyses that were not asked for"),
            (not asked or _is_covered(permit["tables"], asked["tables"]), "the permit opens columns that were not asked for"),
            (permit.get("rules", {}).keys() <= permit["tables"].keys(), "the permit names rules for a table that it does not open"),
            *((permit[term] == event[term], f"permit and event differ in {term}") for term in terms),
        )

    def on_WorkspaceOpened(self, event: dict[str, Any]) -> None:
        hospital, side = self.moving(event)
        manifest = self.open(event["manifest"], MANIFEST, "manifest")
        allowed = {name: {table["person"], *table["columns"]} for name, table in side.permit.get("tables", {}).items()}
        held = manifest.get("tables", {}).items()
        need(
            self.is_about(manifest, hospital),
            (
                not side.permit or all(table in allowed and set(columns) <= allowed[table] for table, columns in held),
                "the workspace holds columns that the permit does not name",
            ),
        )
        side.state, side.manifest, side.opened = "open", manifest, event["manifest"]

    def is_about(self, document: dict[str, Any], hospital: str) -> tuple[bool, str]:
        wanted = {"case": self.case, "hospital": hospital, "permit": self.sides[hospital].issued["permit"]}
        fits = not document or all(document[name] == value for name, value in wanted.items())
        return fits, "the document is about another case, hospital or permit"

    # jobs and releases

    def on_JobSubmitted(self, event: dict[str, Any]) -> None:
        hospitals = event["hospitals"]
        ready = [hospital for hospital in hospitals if hospital in self.sides and self.sides[hospital].state == "open"]
        need(
            (event["job"] not in self.jobs, "the job was submitted before"),
            (not any(job.is_running for job in self.jobs.values()), "another job of the case is still running"),
            (event["lead"] in hospitals, "the lead node takes part in the job"),
            (len(set(hospitals)) == len(hospitals), "a hospital is named twice"),
            (ready == hospitals, "a hospital of the job has no permit in force with a workspace"),
            (
                all(len(hospitals) >= self.sides[hospital].issued["hospitals_at_least"] for hospital in ready),
                "a permit asks for more hospitals to take part",
            ),
        )
        job = self.open_signed(event["document"], "job", JOB, self.people[event["author"]].key)
        named = {hospital: self.sides[hospital].issued["permit"] for hospital in hospitals}
        if job:
            need(
                ((job["job"], job["case"]) == (event["job"], self.case), "the job document is another job's"),
                ((job["applicant"], job["lead"]) == (event["author"], event["lead"]), "job and event differ in applicant or lead"),
                (job["permits"] == named, "the job does not name the permits of its hospitals"),
            )
        self.jobs[event["job"]] = Job(job, {hospital: Output() for hospital in hospitals})

    def on_OutputSealed(self, event: dict[str, Any]) -> None:
        (hospital, side), (job, output) = self.moving(event), self.output_of(event)
        permit, asked = side.permit, job.document
        wide = not asked or asked["smallest_cell"] >= side.issued["smallest_cell"]
        covered = not (permit and asked) or all(_may_ask(question, permit) for question in asked["questions"])
        need(
            job.not_failed(),
            (all(other.digest in ("", event["output"]) for other in job.at.values()), "the hospitals of one job seal one output"),
            (not permit or set(job.at) <= set(permit["hospitals"]), f"the permit of {hospital} does not foresee all hospitals of the job"),
            (wide, f"the permit of {hospital} asks for larger cells than the job"),
            (covered, f"the permit of {hospital} does not cover a question of the job"),
        )
        output.state, output.digest, output.findings = "under review", event["output"], event["findings"]
        output.board = Board(event["output"], 2, unanimous=True)

    def on_JobFailed(self, event: dict[str, Any]) -> None:
        _, output = self.output_of(event)
        output.state = "failed"

    def on_Released(self, event: dict[str, Any]) -> None:
        (_, side), (job, output) = self.moving(event), self.output_of(event)
        by_people = output.board.approved and event["reviewers"] == sorted(output.board.opened)
        untouched = event["reviewers"] == [] and not output.board.committed  # once one person looks, two decide
        automatic = side.issued["release"] == "automatic-if-clear" and output.findings == "clear" and untouched
        need(
            job.not_failed(),
            (event["output"] == output.digest, "a release names what was reviewed"),
            (by_people or automatic, "two people of the hospital have not both approved this output"),
            (all(other.digest == event["output"] for other in job.at.values()), "not every hospital of the job has sealed this output"),
        )
        output.state = "released"
        side.released[event["output"]] = event["reviewers"]

    # the end

    def on_StudyDone(self, event: dict[str, Any]) -> None:
        need((event["case"] == self.case and (self.state, event["type"]) in CASE_MOVES, f"the application is '{self.state}'"))
        self.state = CASE_MOVES[(self.state, event["type"])]
        for side in self.sides.values():
            side.state = AT_THE_END.get(side.state, side.state)

    on_ApplicationWithdrawn = on_StudyDone

    def on_PermitEnded(self, event: dict[str, Any]) -> None:
        _, side = self.moving(event)
        revoking = event["author"] in self.people
        need((revoking == (event["reason"] == "revoked"), "a steward revokes; a node ends a permit that expired"))
        side.state, side.expired = "ended", event["reason"] == "expired"

    def on_DeletionPending(self, event: dict[str, Any]) -> None:
        _, side = self.moving(event)
        need(
            (event["until"] >= event["at"], "the deletion would be due before it is pending"),
            (_moment(event["until"]) - _moment(event["at"]) <= LONGEST_GRACE, "a deletion waits at most 31 days"),
        )
        side.state, side.until = "deletion pending", event["until"]

    def on_ReversalAsked(self, event: dict[str, Any]) -> None:
        """The steward asks, then the coordinating body agrees: neither side reverses a deletion alone."""
        _, side = self.moving(event)
        in_time = not side.expired and _is_before_the_end_of(side.issued["valid_until"], event["at"])
        need(
            ((self.state, "ReversalAgreed") in CASE_MOVES, f"the application is '{self.state}'"),
            (event["at"] <= side.until, "the time in which the deletion could be reversed is over"),
            (side.opened is not None, "there is no workspace to open again"),
            (not side.share_destroyed, "the coordinating body's key share is destroyed already"),
            (in_time, "the permit is over by its date"),
        )
        side.state = PERMIT_MOVES[(side.state, event["type"])]

    def on_ReversalAgreed(self, event: dict[str, Any]) -> None:
        self.on_ReversalAsked(event)
        self.state = CASE_MOVES[(self.state, event["type"])]

    def on_KeyShareDestroyed(self, event: dict[str, Any]) -> None:
        _, side = self.moving(event)
        need((not side.share_destroyed, "the coordinating body's key share is destroyed already"))
        side.share_destroyed = True

    def on_ShareCertified(self, event: dict[str, Any]) -> None:
        self.on_KeyShareDestroyed(event)
        hospital, side = self.side_of(event)
        key = self.members[event["author"]].key
        certificate = self.open_signed(event["certificate"], "share-certificate", SHARE_CERTIFICATE, key)
        gone = not certificate or certificate["failures"] == certificate["attempts"]
        need(self.is_about(certificate, hospital), (gone, "after the destruction the key share could still be used"))
        side.share_certificate = certificate

    def on_WorkspaceDestroyed(self, event: dict[str, Any]) -> None:
        hospital, side = self.moving(event)
        certificate = self.certificate(event["certificate"], self.members[hospital].key)
        if certificate:
            need(*self.about_certificate(hospital, side, certificate))
        side.state, side.certificate = "destroyed", certificate

    def about_certificate(self, hospital: str, side: Side, certificate: dict[str, Any]) -> Iterable[tuple[bool, str]]:
        """That nothing was left of the workspace that was opened."""
        purged = certificate.get("purged", [{"what": "workspace", "residual": certificate.get("residual")}])
        basis = side.permit.get("legal_basis", certificate["legal_basis"])
        return (
            self.is_about(certificate, hospital),
            (certificate["legal_basis"] == basis, "the certificate names another legal basis than the permit"),
            (certificate["failures"] == certificate["attempts"], "after the destruction the workspace could still be opened"),
            (all(purge["residual"] == 0 for purge in purged), "files were left after the destruction"),
            ("workspace" in [purge["what"] for purge in purged], "the certificate does not say that the workspace was removed"),
            (certificate.get("manifest", side.opened) == side.opened, "the certificate is about another workspace"),
            (
                all(certificate[name] >= side.manifest.get(name, 0) for name in ("objects", "bytes")),
                "the certificate covers less than the workspace held",
            ),
            (set(certificate["released"]) == set(side.released), "the certificate lists other releases than the log"),
        )

    def certificate(self, commitment: str, key: str) -> dict[str, Any]:
        """A certificate of deletion of either version."""
        body = {} if self.is_erased(commitment, "certificate") else self._opened(commitment, "certificate")
        second = record(SIGNED)(body) and "version" in body["body"]
        return self.open_signed(commitment, "certificate", CERTIFICATE_V2 if second else CERTIFICATE, key)

    def on_CaseClosed(self, event: dict[str, Any]) -> None:
        gone = ("destroyed", True)
        left = [name for name, side in self.sides.items() if side.state != "lapsed" and (side.state, side.share_destroyed) != gone]
        need(
            (event["case"] == self.case and (self.state, event["type"]) in CASE_MOVES, f"the application is '{self.state}'"),
            (not left, f"the workspace and both keys are not destroyed at {', '.join(left)}"),
            (event["events"] == self.counts[self.case], "the closing event counts other events of the case than the bundle shows"),
            (event["consortium"] == self.counts[CONSORTIUM], "the closing event counts other consortium events than the bundle shows"),
        )
        self.state = "closed"

    # --- 6. documents ---

    def open(self, commitment: str, fields: Fields, kind: str) -> dict[str, Any]:
        """The document behind a commitment; an empty one if it was erased and that is accepted."""
        return {} if self.is_erased(commitment, kind) else self._shaped(self._opened(commitment, kind), fields, kind)

    def open_signed(self, commitment: str, kind: str, fields: Fields, key: str, later: Fields | None = None) -> dict[str, Any]:
        """The signed document; `later` are the fields of its second version."""
        if self.is_erased(commitment, kind):
            return {}
        value = self._opened(commitment, kind)
        check_signed(value, kind)
        need((value["key"] == key, f"the {kind} is not signed with the key that the log knows"))
        is_second = later is not None and isinstance(value["body"], dict) and "version" in value["body"]
        return self._shaped(value["body"], later if is_second and later else fields, kind)

    def is_erased(self, commitment: str, kind: str) -> bool:
        there = commitment in self.documents
        need((there or self.may_be_erased, f"the {kind} behind its commitment is not in the bundle; with --erased the rest is checked"))
        if not there:
            self.erased[commitment] = kind
        return not there

    def _opened(self, commitment: str, kind: str) -> Any:
        salt, body = self.documents[commitment]["salt"], self.documents[commitment]["body"]
        need((sha256(bytes.fromhex(salt) + canonical(body)) == commitment, f"the {kind} is not the one that was committed to"))
        self.used.add(commitment)
        return body

    def _shaped(self, body: Any, fields: Fields, kind: str) -> dict[str, Any]:
        need((record(fields)(body), f"the {kind} does not have the fields of a {kind}"))
        return dict(body)


def _two_thirds(count: int) -> int:
    """More than two thirds of `count`: two such sets share an honest one, while at most f of 3f + 1 are not."""
    return 2 * count // 3 + 1


def _moment(instant: str) -> datetime:
    return datetime.strptime(instant, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _is_before_the_end_of(day: str, instant: str) -> bool:
    """Whether an instant is before the midnight in Seoul that ends a day."""
    return _moment(instant) - _moment(f"{day}T00:00:00Z") < timedelta(hours=24 - 9)


def _is_covered(permitted: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether each table and column of a permit was asked for, in the same class and in a form that shows no more."""
    return all(
        name in asked
        and table["person"] == asked[name]["person"]
        and all(
            column in asked[name]["columns"] and _is_alike(rule, asked[name]["columns"][column])
            for column, rule in table["columns"].items()
        )
        for name, table in permitted.items()
    )


def _is_alike(rule: dict[str, Any], asked: dict[str, Any]) -> bool:
    """A column that was asked for as it is may come treated, as the hospitals' rules say; one whose form was asked for comes so."""
    form = "treat" if "treat" in asked else "keep"
    return bool(rule["is"] == asked["is"] and rule.get(form) == asked[form])


def _columns_of(question: dict[str, Any]) -> list[str]:
    """Every column that a question reads."""
    if "reads" in question:
        return list(question["reads"])
    design = question.get("design", {"outcome": None, "columns": []})
    factors = [factor["column"] for product in design["columns"] for factor in product["factors"]]
    return [*question.get("by", []), *question.get("columns", []), *factors, *([design["outcome"]] if design["columns"] else [])]


def _may_ask(question: dict[str, Any], permit: dict[str, Any]) -> bool:
    """Whether a permit covers a question: its kind, its table and every column it reads."""
    kind, table = question.get("kind"), question.get("table")
    if "reads" in question:
        known = ANALYSIS(kind) and TEXT(table) and many(TEXT)(question["reads"])
    else:
        known = isinstance(kind, str) and kind in QUESTIONS and record(QUESTIONS[kind])(question)
    return (
        known
        and kind in permit["kinds"]
        and table in permit["tables"]
        and {*_columns_of(question)} <= {*permit["tables"][table]["columns"]}
    )


# --- 7. the verdict --------------------------------------------------------------------------------------------------


@dataclass
class Verified:
    history: History
    head: Checkpoint
    entries: list[Entry]
    cosigners: dict[NoteKey, str]  # those that signed the head, and which member each is; "" for a witness outside the membership
    log: NoteKey


def verify(data: bytes, *, may_be_open: bool = False, may_be_erased: bool = False) -> Verified:
    """Steps 1 to 6; `Broken` with the reasons when something does not hold."""
    bundle = read_canonical(data)
    known = record(BUNDLE)(bundle) or record(BUNDLE_V2)(bundle)
    need((known, "this is not a Pumasi case bundle of version 1 or 2, or it has unknown fields"))
    head = read_checkpoint(bundle["checkpoint"])
    entries = _read_entries(bundle["entries"], head)
    history = History(bundle["case"], bundle["documents"], may_be_erased=may_be_erased)
    for entry in entries:
        try:
            history.follow(entry)
        except Broken as broken:
            raise Broken(*(f"entry {entry.index} ({entry.event['type']}): {reason}" for reason in broken.reasons)) from broken
    need(
        (bool(history.submitted), "the bundle does not show the case's application"),
        (history.used == set(history.documents), "the bundle holds a document that no event of the case commits to"),
        (
            may_be_open or history.state == "closed",
            f"the case is not closed: what is shown holds, but is complete only up to entry {entries[-1].index};"
            " was its end left out? With --open a case that still runs is accepted",
        ),
    )
    _check_heads(bundle["heads"], history, head)
    present = history.log_at(head.size)
    log = NoteKey(present.origin, LOG, base64.b64decode(present.key))
    members = {
        _cosigner(log.name, name, member.cosigner): name
        for name, member in history.members.items()
        if member.admitted and member.cosigner is not None
    }
    outside = _outside(bundle.get("witnesses", []), history)
    signed = check_checkpoint(head, log, [*members, *outside])
    need((signed >= set(outside), "the bundle names a witness that has not cosigned the head"))
    return Verified(history, head, entries, {key: name for key, name in members.items() if key in signed} | dict.fromkeys(outside, ""), log)


def _outside(texts: list[str], history: History) -> list[NoteKey]:
    """The witnesses that a bundle names beside the members: no key of theirs is one that the log knows."""
    found: list[NoteKey] = []
    for text in texts:
        found.append(_read_vkey(text, COSIGNER, found))
    known = {base64.b64decode(key) for key in history.keys}
    need((all(key.public not in known for key in found), "a witness outside the membership has a key of somebody whom the log knows"))
    return found


def _cosigner(origin: str, member: str, key: str) -> NoteKey:
    return NoteKey(f"{origin}/{quote(member, safe='')}", COSIGNER, base64.b64decode(key))


def _read_entries(items: list[dict[str, Any]], head: Checkpoint) -> list[Entry]:
    """Every event has a known shape and its place in the log; all that fail are told."""
    entries: list[Entry] = []
    reasons = []
    for item in items:
        try:
            signed, data = item["event"], canonical(item["event"])
            known = record(SIGNED)(signed) and one_of(*EVENTS)(signed["body"].get("type"))
            need((known and record(COMMON | EVENTS[signed["body"]["type"]])(signed["body"]), "it has the form of no known event"))
            proof = [unbase64(step, 32) for step in item["proof"]]
            there = included(item["index"], head.size, leaf_hash(data), proof, head.root)
            need((there, "it does not stand in the log at this place: it was changed or moved"))
            need((not entries or item["index"] > entries[-1].index, "it is not in ascending order"))
            entries.append(Entry(item["index"], signed, sha256(data)))
        except Broken as broken:
            reasons += [f"entry {item['index']}: {reason}" for reason in broken.reasons]
    if reasons:
        raise Broken(*reasons)
    return entries


def _check_heads(heads: list[dict[str, Any]], history: History, head: Checkpoint) -> None:
    seen = {(side.issued["seen"]["size"], side.issued["seen"]["root"]) for side in history.sides.values() if side.issued}
    seen |= history.handed
    need(
        (
            [(item["size"], item["root"]) for item in heads] == sorted(seen),
            "the heads shown are not those that the permits name" + (", and the handovers" if history.handed else ""),
        )
    )
    for item in heads:
        proof = [unbase64(step, 32) for step in item["proof"]]
        part = consistent(item["size"], head.size, proof, bytes.fromhex(item["root"]), head.root)
        need((part, f"the log was rewritten: the head of size {item['size']} that a hospital saw is not part of it"))


def policy_refusals(policy: Policy, verified: Verified) -> list[str]:
    """Why the reader's own policy does not accept the checkpoint; empty means it does.

    A key that the policy pins stands for those that replaced it in the log: a cosigner's by rotation, the log's by rotation or by a
    handover whose signatures reach the policy's own quorum (those who are no members cannot sign one: their cosignature counts there).
    """
    logs = [log for log in verified.history.logs if log.since <= verified.head.size]
    pins = [at for at, log in enumerate(logs) if NoteKey(log.origin, LOG, base64.b64decode(log.key)) in policy.logs]
    signed = _stood_for(verified, filter(None, verified.cosigners.values()))
    outside = {key for key, name in verified.cosigners.items() if not name}
    wanted = [_stood_for(verified, log.by) for log in logs[(pins or [0])[-1] + 1 :] if log.by]
    return [
        *([] if pins else ["the log's key is not the one that the policy pins"]),
        *([] if policy.reached(policy.quorum[0], signed | outside) else ["the cosignatures do not reach the quorum of the policy"]),
        *(
            "the signatures on a handover of the log do not reach the quorum of the policy"
            for by in wanted
            if not policy.reached(policy.quorum[0], by | outside)
        ),
    ]


def _stood_for(verified: Verified, members: Iterable[str]) -> set[NoteKey]:
    """Every key under which a policy may have named these members: the present and those it replaced, under each of the log's names."""
    found = set()
    for name in members:
        party = verified.history.members.get(name)
        for key in [*party.cosigned, party.cosigner] if party and party.cosigner else []:
            found |= {_cosigner(log.origin, name, key) for log in verified.history.logs}
    return found


def report(verified: Verified, *, pinned: bool) -> list[str]:
    """What is proven and what is not, in plain sentences."""
    history, head, entries = verified.history, verified.head, verified.entries
    counts, closed = history.counts, history.state == "closed"
    lines = [
        f"VERIFIED: case {history.case} of the log {head.origin}",
        "",
        "What is proven:",
        f"- Each of the {len(entries)} events shown is signed with a key that the log introduced before, by somebody whose role allows it,",
        f"  and stands in the log of {head.size} entries whose head the log has signed. Nothing shown was changed or reordered.",
        f"- The case is complete: the closing event counts {counts[history.case] - 1} events of the case and {counts[CONSORTIUM]} of the"
        " consortium, and all are here."
        if closed
        else f"- The case is not closed: it is complete only up to entry {entries[-1].index}. Until a closing event counts them,"
        " the latest events of an author could be left out unseen.",
    ]
    for hospital, side in history.sides.items():
        lines += [f"- {hospital}: {sentence}" for sentence in _of_hospital(side)]
    if any(side.issued for side in history.sides.values()):
        lines.append("- The heads of the log that the hospitals saw when they issued their permits are part of this log.")
    lines += [f"- {sentence}" for sentence in _of_log(history)]
    members = [key.name for key, member in verified.cosigners.items() if member]
    outside = [key.name for key, member in verified.cosigners.items() if not member]
    names = ", ".join(members)
    lines += [
        f"- {len(members)} cosignature{'s' * (len(members) != 1)} on the head" + (f": {names}" if names else ""),
        *([] if names else ["  NOT WITNESSED: only the log itself has signed; a second history of it could exist."]),
        *([f"- Outside the membership the head is cosigned by {', '.join(outside)}; who they are only a policy says."] if outside else []),
        *(["- The log's key is the one that the policy pins, and the cosignatures reach its quorum."] if pinned else []),
        "",
        "What is not proven:",
        *(
            f"- What the {kind} {commitment[:16]}… said: it was erased or left out, and what depends on it is not checked."
            for commitment, kind in history.erased.items()
        ),
        "- That no copy of data, keys or results exists anywhere: no cryptography proves that.",
        "- Who the people and institutions behind the keys are; compare fingerprints with them over another channel.",
        "- That clocks were right: days and instants are what their authors wrote.",
        "- That a result is true or harmless: the log holds its digest and who let it out, not what it says.",
        "- What happened outside the log.",
    ]
    if not pinned:
        lines += ["- That the keys are the right ones: without a policy they are the bundle's own.", "", *_fingerprints(history)]
        lines += ["", "KEYS NOT PINNED (consistent, not authentic)"]
    return lines


def _of_log(history: History) -> Iterable[str]:
    """How the log's key changed."""
    for log in history.logs[1:]:
        if log.by:
            yield (
                f"After entry {log.since - 2} the log was handed over to the name {log.origin} and a new key, by {len(log.by)} of those"
                f" that cosigned it: {', '.join(log.by)}."
            )
        else:
            yield f"From entry {log.since - 1} on the log signs with a new key; the one before consented."


def _of_hospital(side: Side) -> Iterable[str]:
    board = side.board
    if not side.issued:
        yield f"no permit was issued ({side.state})."
        return
    yield (
        f"the data review board approved ({board.approvals} of {len(board.committed)} votes, committed before any was opened), the ethics"
        f" board said '{side.irb}', {side.steward} authorised, then the hospital's own key signed the permit"
        f" ({side.issued['valid_from']} to {side.issued['valid_until']}, smallest cell {side.issued['smallest_cell']})."
    )
    for table, rules in side.permit.get("rules", {}).items():
        yield f"shows the table '{table}' as the rules '{rules['name']}' treat it, or less of it (SHA-256 {rules['sha256'][:16]}…)."
    for digest, reviewers in side.released.items():
        how = (
            f"after {' and '.join(reviewers)} had approved it"
            if reviewers
            else "automatically, as its permit allows when all checks are clear"
        )
        yield f"released the output {digest[:16]}… {how}."
    if side.state == "destroyed":
        share = (
            "so did the coordinating body with its share" if side.share_destroyed else "the coordinating body has not signed yet: ONE-SIDED"
        )
        yield f"declared with its key that the workspace and its key share are destroyed and cannot be opened; {share}."
    elif side.state in ("deletion pending", "reversal asked"):
        yield f"the permit is '{side.state}': its workspace is unusable, and to be destroyed after {side.until}."
    else:
        yield f"the permit is '{side.state}'; its workspace is not destroyed yet."


def _fingerprints(history: History) -> list[str]:
    keys = {"the log": history.logs[-1].key}
    keys |= {name: history.members[name].key for name in (history.coordinator, *history.sides)}
    keys |= {f"{name} (cosigner)": member.cosigner for name, member in history.members.items() if member.admitted and member.cosigner}
    keys[history.submitted["author"]] = history.people[history.submitted["author"]].key
    return ["Key fingerprints:", *(f"  {fingerprint(key)}  {name}" for name, key in keys.items())]


def _say(line: str) -> None:
    """Print what this terminal can show, and nothing that could steer it."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    print(shown.encode(encoding, "backslashreplace").decode(encoding))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="verify", description="Check a Pumasi case bundle offline.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--open", action="store_true", help="accept a case that is not closed, though its latest events may be left out")
    parser.add_argument("--erased", action="store_true", help="accept a bundle without documents that were erased, or only left out")
    parser.add_argument("--policy", type=Path, help="a C2SP tlog-policy that pins the log's key and the quorum of cosigners")
    options = parser.parse_args(argv)
    try:
        data = options.file.read_bytes()
        policy = read_policy(options.policy.read_bytes()) if options.policy else None
    except (OSError, ValueError, Broken) as error:
        for reason in error.reasons if isinstance(error, Broken) else [f"a file cannot be read: {error}"]:
            _say(reason)
        return 2
    try:
        verified = verify(data, may_be_open=options.open, may_be_erased=options.erased)
        if policy is not None:
            need(*((False, reason) for reason in policy_refusals(policy, verified)))
    except Broken as broken:
        for line in ("NOT VERIFIED", *(f"- {reason}" for reason in broken.reasons)):
            _say(line)
        return 1
    for line in report(verified, pinned=policy is not None):
        _say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
