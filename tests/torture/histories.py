"""Long legal histories, signed by everybody they name. Signing alone is fast: whoever reads them checks every signature and rule.

`Stream` plays one case after the other in one consortium of five hospitals, of which `COSIGNERS` cosign.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel import event as ev
from pumasi.kernel.effects import EFFECTS
from pumasi.kernel.envelope import Keys, sha256, sign
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.ledger.tree import leaf_hash
from tests.casebook import HOSPITALS, RESEARCHER, Casebook

COSIGNERS, UNWITNESSING = tuple(HOSPITALS)[:4], tuple(HOSPITALS)[4]
PREPARED = "datasets"  # the step before the first case


class Stream(Casebook):
    """A casebook that goes on: `case_number(n)` is the n-th case, from its application to its closing."""

    def say(self, kind: type[Any], author: str, /, **fields: Any) -> Entry:
        if kind is ev.MemberApplied and author == UNWITNESSING:
            fields["cosigner"] = None
            self.cosigners.pop(author, None)
        entry = self.entry(kind, author, **fields)
        event = entry.event
        count, _ = self.world.chain(event.case, event.author)
        self.world.chains.setdefault(event.case, {})[event.author] = (count + 1, entry.digest, event.at)
        EFFECTS[event.type](self.world, event)
        if event.case == CONSORTIUM:
            self.world.consortium_events += 1
        else:
            self.world.cases[event.case].events += 1
        self.tree.append(leaf_hash(entry.data))
        self.log.append(entry.data)
        return entry

    def entry(self, kind: type[Any], author: str, /, *, case: str | None = None, keys: Keys | None = None, **fields: Any) -> Entry:
        """As in a casebook, without checking the signature that was just made."""
        self._ticks += 1
        case = case or self.case
        seq, prev = self.world.chain(case, author)
        common = {"type": kind.__name__, "case": case, "author": author, "seq": seq, "prev": prev, "at": self.now()}
        keys = keys or self.keys_of(author)
        made = Entry.__new__(Entry)
        made.event = kind.model_validate(common | fields)
        made.data = sign("event", ev.body_of(made.event), keys)
        made.key, made.digest = keys.public, sha256(made.data)
        return made

    def submitted(self) -> None:
        self.say(ev.ApplicationSubmitted, RESEARCHER, application=self.application(), hospitals=self.hospitals, smallest_cell=10)

    def cosigner_key(self, member: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._bytes(f"cosigner {member}"))

    def case_number(self, number: int, *, until: str = "closed") -> str:
        """Play one more case; its id."""
        self.case, self.job, self.output = (self._bytes(f"{what} {number}").hex() for what in ("case", "job", "output"))
        self.case, self.job = self.case[:32], self.job[:32]
        self.play(until=until, after=PREPARED)
        return self.case

    def grow(self, size: int, *, until: str = "closed") -> None:
        """Play cases until the log has at least `size` entries. Only the documents of the first are kept."""
        number, kept = len(self.world.cases), self.documents
        while len(self.log) < size:
            self.documents = {} if number else kept
            self.case_number(number, until=until)
            number += 1
        self.documents = kept

    def newcomer(self, name: str) -> bytes:
        """The application of a company that nobody has heard of: an entry that anybody can make, legal at any place."""
        keys = self.keys_of(name)
        event = ev.MemberApplied(
            case=CONSORTIUM,
            author=name,
            seq=0,
            prev=None,
            at=self.now(),
            kind="company",
            key=keys.public,
            box=keys.box_public,
            cosigner=None,
        )
        return sign("event", ev.body_of(event), keys)


def prepared(seed: str = "torture", *, hospitals: int = 3, drb: int = 3) -> Stream:
    """A consortium with people and datasets, before its first case."""
    stream = Stream(seed, hospitals=hospitals, drb=drb)
    stream.play(until=PREPARED)
    return stream
