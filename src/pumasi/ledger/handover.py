"""The papers of a handover, each one file that people can send one another: a proposal, a signature on it, and the whole.

A proposal says who goes on from which head; it brings that head as the old log signed it, the successor's TLS certificate, and the
last entries before it. With the event that carries the quorum's signatures it is a handover. What holds is for
`pumasi.store.handover` to say, which knows a copy of the log.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import Field

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import canonical, fingerprint, parse_canonical, sha256, unb64
from pumasi.kernel.errors import Invalid, Refused
from pumasi.kernel.event import Entry
from pumasi.kernel.handover import SIGNED, statement, two_thirds
from pumasi.kernel.model import Hash, MemberId, Model, PublicKey
from pumasi.kernel.model import Signature as Signed
from pumasi.ledger.tree import Tree

TAIL = 2000  # entries that a proposal brings along, for copies that lag behind


class Statement(Model):
    """What the cosigner keys sign; the fields are those of LogHandedOver."""

    author: MemberId
    size: int = Field(ge=1)
    root: Hash
    replaces: PublicKey
    origin: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,200}$")]
    log_key: PublicKey
    key: PublicKey
    box: PublicKey
    place: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.:\[\]-]{1,253}$")]
    certificate: Hash

    @property
    def digest(self) -> str:
        return sha256(canonical(self.plain()))


class Handover(Model):
    """A proposal, and once `event` is there the handover itself."""

    format: Literal["pumasi handover v1"] = "pumasi handover v1"
    statement: Statement
    checkpoint: str  # the old log's own head over `size` entries, with the cosignatures that are known
    certificate: str  # PEM
    start: int = Field(ge=0)
    entries: list[str]  # from `start` up to `size`
    event: str | None = None

    @classmethod
    def parse(cls, data: bytes) -> Handover:
        """`Invalid` or `Tampered` when it is none, or when its parts are not about one handover."""
        found = cls.read(parse_canonical(data))
        if sha256(der(found.certificate)) != found.statement.certificate:
            raise Invalid("the certificate in this file is not the one that the handover names")
        if found.start + len(found.entries) != found.statement.size:
            raise Invalid("the entries in this file do not end where the handover begins")
        if found.event is not None:
            event = found.entry().event
            if not isinstance(event, ev.LogHandedOver) or statement(event) != found.statement.plain():
                raise Invalid("the event in this file is another handover's")
        return found

    @property
    def data(self) -> bytes:
        return canonical(self.plain())

    def entry(self) -> Entry:
        if self.event is None:
            raise Refused("this is a proposal: not enough hospitals have signed it, or nobody has put their signatures together")
        return Entry(unb64(self.event))

    def tail(self) -> list[bytes]:
        return [unb64(entry) for entry in self.entries]


class Signature(Model):
    """One cosigner's yes: its signature on the statement, and its cosignature on the old log's last head."""

    format: Literal["pumasi handover signature v1"] = "pumasi handover signature v1"
    handover: Hash  # the statement's digest
    member: MemberId
    key: PublicKey
    signature: Signed
    cosignature: str

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        return cls.read(parse_canonical(data))

    @property
    def data(self) -> bytes:
        return canonical(self.plain())


def der(pem: str) -> bytes:
    """The bytes of one certificate in PEM."""
    lines = pem.strip().splitlines()
    if len(lines) < 3 or (lines[0], lines[-1]) != ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"):
        raise Invalid("this is not one certificate in PEM")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("this is not one certificate in PEM") from error


def check_root(event: Any, tree: Tree) -> None:
    """`Refused` when a handover is about another history than the one in front of it; the rules alone do not know the tree."""
    if isinstance(event, ev.LogHandedOver) and event.root != tree.root().hex():
        raise Refused("the log was handed over with another history than the one in front of the handover")


def told(handover: Handover, *, cosigners: int | None = None) -> list[str]:
    """What a person must know before they sign or follow."""
    said = handover.statement
    lines = [
        f"The log goes on after {said.size} entries (root {said.root[:16]}…) under the name {said.origin}.",
        f"Coordinating body from then on: {said.author}, key {fingerprint(said.key)}.",
        f"Log key: {fingerprint(said.log_key)}. It replaces {fingerprint(said.replaces)}.",
        f"Place: {said.place}, certificate {said.certificate[:16]}….",
        f"Statement: {said.digest}",
    ]
    if handover.event is not None:
        event: Any = handover.entry().event
        lines.append(f"Signed by {', '.join(item.member for item in event.signatures)}.")
    elif cosigners is not None:
        lines.append(f"It takes {two_thirds(cosigners)} of the {cosigners} that cosign.")
    return lines


__all__ = ["SIGNED", "TAIL", "Handover", "Signature", "Statement", "check_root", "der", "told"]
