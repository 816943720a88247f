"""Signed heads of the log in the formats of C2SP, so that other people's tools can read and witness them.

signed-note (vkeys, signature lines), tlog-checkpoint (no extension lines), tlog-cosignature (Ed25519, type 0x04) and tlog-policy.
Reading is strict: what this module would not have written, to the byte, raises `Tampered` (policies: `Invalid`).
A signature by an unknown key proves nothing; it is neither counted nor hidden: `check` names it.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.envelope import b64, unb64
from pumasi.kernel.errors import Invalid, Tampered
from pumasi.kernel.world import World
from pumasi.ledger.verify import signature_holds  # one acceptance rule for signatures on notes, the reader's

LOG, COSIGNER = 0x01, 0x04  # signature types: Ed25519, timestamped Ed25519 cosignature
KINDS = {LOG: "log", COSIGNER: "cosigner"}
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_NAME = re.compile(r"[^\s+\x00-\x1f]+")
_CONTROL = re.compile(r"[\x00-\x1f]")


def cosigner_name(origin: str, member: str) -> str:
    """The key name under which a member cosigns the log `origin`."""
    return f"{origin}/{urllib.parse.quote(member, safe='')}"


@dataclass(frozen=True)
class VKey:
    """A verifier key: who (`name`), what it signs (`kind`: LOG or COSIGNER) and the raw Ed25519 key."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name) or self.kind not in KINDS or len(self.public) != 32:
            raise Invalid("a verifier key has a name without spaces and plus signs, the type 01 or 04, and an Ed25519 key")

    @classmethod
    def parse(cls, text: str) -> VKey:
        """Read `<name>+<key id in hexadecimal>+<base64 of type and key>`."""
        name, _, rest = text.partition("+")
        key_id, _, data = rest.partition("+")
        try:
            raw = unb64(data, 33)
        except Tampered as error:
            raise Invalid("a verifier key is written <name>+<8 hexadecimal digits>+<base64 of 33 bytes>") from error
        vkey = cls(name, raw[0], raw[1:])
        if vkey.key_id.hex() != key_id:
            raise Invalid("the key id in a verifier key does not belong to its name and key")
        return vkey

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(_octets(self.name) + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.kind]) + self.public)}"


def log_vkey(origin: str, public: str) -> VKey:
    """The verifier key of a log, from the base64 key that founded it."""
    return VKey(origin, LOG, unb64(public, 32))


def head_vkey(world: World, size: int) -> VKey:
    """The key that must have signed a head over `size` entries of the log that `world` comes from."""
    log = world.log_at(size)
    return log_vkey(log.origin, log.key)


def cosigner_vkey(origin: str, member: str, public: str) -> VKey:
    """The verifier key of a member that cosigns the log `origin`, from its base64 cosigner key."""
    return VKey(cosigner_name(origin, member), COSIGNER, unb64(public, 32))


def _is_key_name(name: str) -> bool:
    return _KEY_NAME.fullmatch(name) is not None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # names in policies are opaque octets


# --- checkpoints -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignatureLine:
    """One line below a note: by whom, and the bytes after the key id. Whether it holds is for `check` to say."""

    name: str
    key_id: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> SignatureLine:
        dash, _, rest = _line(text).partition(" ")
        name, _, data = rest.partition(" ")
        raw = unb64(data)
        if dash != "—" or not _is_key_name(name) or len(raw) <= 4:
            raise Tampered("a signature line of a note has the wrong form")
        return cls(name, raw[:4], raw[4:])

    def __str__(self) -> str:
        return f"— {self.name} {b64(self.key_id + self.signature)}"

    @property
    def time(self) -> int:
        """When a cosigner says it signed, in POSIX seconds."""
        return int.from_bytes(self.signature[:8], "big")

    def is_by(self, vkey: VKey) -> bool:
        return self.name == vkey.name and self.key_id == vkey.key_id

    def holds(self, vkey: VKey, body: str) -> bool:
        """Whether this is a signature of `vkey` on the text of a note (tlog-cosignature: with a header and a time before it)."""
        message, signature = body.encode(), self.signature
        if vkey.kind == COSIGNER:
            if self.time >= 1 << 63:
                return False
            message, signature = f"cosignature/v1\ntime {self.time}\n{body}".encode(), signature[8:]
        return signature_holds(vkey.public, signature, message)


@dataclass(frozen=True)
class Checkpoint:
    """What a log says it is: `size` entries under `root`. Nothing is proven before `check`."""

    origin: str
    size: int
    root: bytes
    lines: tuple[SignatureLine, ...]

    @property
    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"

    def __str__(self) -> str:
        return f"{self.body}\n" + "".join(f"{line}\n" for line in self.lines)


@dataclass(frozen=True)
class Witnessed:
    """Who signed a checkpoint: verified cosigners with the second they signed in, and names nobody vouches for."""

    cosigners: dict[VKey, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a signed checkpoint; `Tampered` unless it is written exactly as this module writes one."""
    body, separator, below = text.rpartition("\n\n")
    lines = [_line(line) for line in body.split("\n")]
    if not separator or not below.endswith("\n") or len(lines) != 3:
        raise Tampered("a checkpoint is an origin, a size and a root, an empty line, and at least one signature line")
    if not NUMBER.fullmatch(lines[1]):
        raise Tampered("the size in a checkpoint is not a plain number")
    signatures = tuple(SignatureLine.parse(line) for line in below[:-1].split("\n"))
    return Checkpoint(lines[0], int(lines[1]), unb64(lines[2], 32), signatures)


def _line(text: str) -> str:
    """One line of a note: UTF-8, not empty, no control characters."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Tampered("a note is not UTF-8") from error
    if not text or _CONTROL.search(text):
        raise Tampered("a note has an empty line or a control character where neither may be")
    return text


def sign_checkpoint(origin: str, *, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """The log's own statement. A log signs only what it has stored durably and what extends all it signed before."""
    unsigned = Checkpoint(origin, size, root, ())
    vkey = VKey(origin, LOG, key.public_key().public_bytes_raw())
    line = SignatureLine(origin, vkey.key_id, key.sign(unsigned.body.encode()))
    return str(parse_checkpoint(str(Checkpoint(origin, size, root, (line,)))))


def cosign(note: str, name: str, *, key: Ed25519PrivateKey, time: int) -> str:
    """The line with which the cosigner `name` says: at this second, this is the largest consistent head I have seen.

    Whoever calls it has verified the log's signature and the consistency with the last head it cosigned.
    """
    if not 0 <= time < 1 << 63:
        raise Invalid("the time of a cosignature is a POSIX second")
    vkey = VKey(name, COSIGNER, key.public_key().public_bytes_raw())
    signature = key.sign(f"cosignature/v1\ntime {time}\n{parse_checkpoint(note).body}".encode())
    return str(SignatureLine(name, vkey.key_id, time.to_bytes(8, "big") + signature))


def add_cosignature(note: str, line: str) -> str:
    """The note with one more signature line below; `Tampered` when that key has a line already."""
    checkpoint, added = parse_checkpoint(note), SignatureLine.parse(line)
    if any((present.name, present.key_id) == (added.name, added.key_id) for present in checkpoint.lines):
        raise Tampered("this cosigner has signed the checkpoint already")
    return str(Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, (*checkpoint.lines, added)))


def check(checkpoint: Checkpoint, *, log: VKey, cosigners: Iterable[VKey]) -> Witnessed:
    """Verify the log's signature and every known cosigner's; `Tampered` when one fails, stands twice, or the log's is missing."""
    cosigners = list(cosigners)
    seen: set[bytes] = set()
    witnessed = Witnessed()
    for line in checkpoint.lines:
        vkey = next((vkey for vkey in (log, *cosigners) if line.is_by(vkey)), None)
        if vkey is None:
            witnessed.unknown.append(line.name)
            continue
        if vkey.public in seen:
            raise Tampered(f"the key of '{vkey.name}' has signed the checkpoint twice")
        if not line.holds(vkey, checkpoint.body):
            raise Tampered(f"the signature of '{vkey.name}' on the checkpoint does not hold")
        seen.add(vkey.public)
        if vkey.kind == COSIGNER:
            witnessed.cosigners[vkey] = line.time
    if checkpoint.origin != log.name or log.public not in seen:
        raise Tampered("the checkpoint is not signed by the log")
    return witnessed


# --- policies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Policy:
    """Which logs count, and whose cosignatures make one of their heads final (C2SP tlog-policy)."""

    logs: tuple[VKey, ...]
    witnesses: dict[str, VKey]
    groups: dict[str, tuple[int, tuple[str, ...]]]
    quorum: str | None  # None: no cosignature is needed
    urls: dict[str, str] = field(default_factory=dict)  # where witnesses are asked, as far as the policy says

    @classmethod
    def parse(cls, text: str | bytes) -> Policy:
        """Read a policy; `Invalid` names the first line that the specification does not allow."""
        text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        reader = _PolicyReader()
        if not text.endswith("\n"):
            raise Invalid("a policy ends with a newline; this one may have been cut off")
        for number, line in enumerate(text[:-1].split("\n"), start=1):
            try:
                reader.line(line)
            except (Invalid, Tampered) as error:
                raise Invalid(*(f"line {number} of the policy: {reason}" for reason in error.reasons)) from error
        if not reader.quorum:
            raise Invalid("a policy has a line 'quorum'")
        quorum = None if reader.quorum == "none" else reader.quorum
        return cls(tuple(reader.logs), reader.witnesses, reader.groups, quorum, reader.urls)

    def satisfied(self, note: str) -> list[str]:
        """Every reason why this checkpoint does not count; empty means it does."""
        try:
            self.read(note)
        except Tampered as error:
            return error.reasons
        return []

    def read(self, note: str) -> Checkpoint:
        """The checkpoint in a note that counts; `Tampered` with every reason when it does not."""
        checkpoint = parse_checkpoint(note)
        log = next((log for log in self.logs if any(line.is_by(log) for line in checkpoint.lines)), None)
        if log is None:
            raise Tampered("the checkpoint is not signed by a log that the policy names")
        if not self._reached(set(check(checkpoint, log=log, cosigners=self.witnesses.values()).cosigners)):
            raise Tampered("the cosignatures do not reach the quorum of the policy")
        return checkpoint

    def shortest(self, note: str) -> str:
        """A note that counts, with no more cosignatures than the quorum asks for, those with the longest names left out first."""
        checkpoint = self.read(note)
        kept = {vkey for vkey in self.witnesses.values() if any(line.is_by(vkey) for line in checkpoint.lines)}
        for vkey in sorted(kept, key=lambda vkey: (-len(vkey.name), vkey.name)):
            if self._reached(kept - {vkey}):
                kept.remove(vkey)
        lines = [line for line in checkpoint.lines if any(line.is_by(vkey) for vkey in (*self.logs, *kept))]
        return str(Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, tuple(lines)))

    def _reached(self, signed: set[VKey]) -> bool:
        return self.reached({name for name, vkey in self.witnesses.items() if vkey in signed})

    def reached(self, signed: set[str]) -> bool:
        """Whether the witnesses with these names are the quorum."""
        return self.quorum is None or self._has(self.quorum, signed)

    def _has(self, name: str, signed: set[str]) -> bool:
        if name in self.witnesses:
            return name in signed
        needed, members = self.groups[name]
        return sum(self._has(member, signed) for member in members) >= needed


class _PolicyReader:
    """The lines of a policy read so far; each may only speak of names defined above it."""

    def __init__(self) -> None:
        self.logs: list[VKey] = []
        self.witnesses: dict[str, VKey] = {}
        self.urls: dict[str, str] = {}
        self.groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.grouped: set[str] = set()
        self.quorum = ""

    def line(self, line: str) -> None:
        if any((character < " " and character != "\t") or character == "\x7f" for character in line):
            raise Invalid("control characters other than the tab are not allowed")
        items = [item for item in re.split("[ \t]+", line) if item]
        match items:
            case []:
                pass
            case [comment, *_] if comment.startswith("#"):
                pass
            case ["log", vkey] | ["log", vkey, _]:
                self.logs.append(self._new_key(vkey, kind=LOG, known=self.logs))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._new_name(name)
                self.witnesses[name] = self._new_key(vkey, kind=COSIGNER, known=self.witnesses.values())
                self.urls.update(zip([name], url, strict=False))
            case ["group", name, threshold, *members] if members:
                self._new_name(name)
                self.groups[name] = (self._threshold(threshold, len(members)), tuple(self._member(member) for member in members))
            case ["quorum", name]:
                if self.quorum or not (name == "none" or self._defined(name)):
                    raise Invalid("there is one quorum, and it names a witness or group defined above, or none")
                self.quorum = name
            case _:
                raise Invalid("not a log, witness, group or quorum as C2SP tlog-policy writes them")

    def _new_key(self, text: str, *, kind: int, known: Iterable[VKey]) -> VKey:
        vkey = VKey.parse(text)
        if vkey.kind != kind:
            raise Invalid(f"this is not the key of a {KINDS[kind]}")
        if any(vkey.public == other.public for other in known):
            raise Invalid("this key is listed twice")
        return vkey

    def _defined(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _new_name(self, name: str) -> None:
        if name == "none" or self._defined(name):
            raise Invalid("the name is taken")

    def _member(self, name: str) -> str:
        if not self._defined(name) or name in self.grouped:
            raise Invalid("a member of the group is not defined above, or stands in a group already")
        self.grouped.add(name)
        return name

    def _threshold(self, text: str, members: int) -> int:
        if text in ("any", "all"):
            return 1 if text == "any" else members
        if not NUMBER.fullmatch(text) or not 1 <= int(text) <= members:
            raise Invalid("a group asks for any, all, or a number of its members")
        return int(text)


def policy_text(log: VKey, witnesses: Iterable[VKey], *, quorum: int) -> str:
    """The policy that asks for the cosignatures of `quorum` of these witnesses (0: of none)."""
    witnesses = list(witnesses)
    lines = [f"log {log}", *(f"witness {vkey.name} {vkey}" for vkey in witnesses)]
    if quorum:
        lines.append(f"group cosigners {quorum} {' '.join(vkey.name for vkey in witnesses)}")
    text = "\n".join([*lines, f"quorum {'cosigners' if quorum else 'none'}", ""])
    Policy.parse(text)
    return text
