"""The sequencer: puts signed events in order, signs checkpoints over them, and gathers the hospitals' cosignatures.

It can stall or leave an event waiting, never lie unseen: every node keeps a full copy, replays the rules and cosigns.
"""

from __future__ import annotations

import threading
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.kernel.envelope import b64, sha256
from pumasi.kernel.errors import NotFound, Refused
from pumasi.kernel.handover import two_thirds
from pumasi.ledger import note
from pumasi.store.document import Document
from pumasi.store.reading import Fits, anything_fits
from pumasi.store.site import Receipt, Site

# Every node asks for every batch and cosigns every checkpoint, so batches grow with their number and the load stays the same.
GATHER_SHARE = 0.005  # seconds per node
CHECKPOINT_SHARE = 0.02  # seconds per cosigner

FEW = 200  # checkpoints that are looked at for one that is final
KEPT = 64  # recent checkpoints that may still gather cosignatures


class Sequencer:
    """The one writer of the shared log."""

    def __init__(self, site: Site, log_key: Ed25519PrivateKey, *, origin: str, batch_seconds: float, policy: str | None = None) -> None:
        self.site, self.origin = site, origin
        self._policy_text, self._policy = policy, note.Policy.parse(policy) if policy is not None else None
        self._key, self._batch = log_key, batch_seconds
        self.vkey = note.VKey(origin, note.LOG, log_key.public_key().public_bytes_raw())
        self._notes: dict[int, str] = {}
        self._final: set[int] = set()  # sizes whose checkpoint has reached the quorum
        newest = site.checkpoint()
        self.published = note.parse_checkpoint(newest).size if newest else 0
        if newest:
            self._notes[self.published] = newest
            self._judge(self.published)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish_forever, name="checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout=5)

    def submit(self, data: list[bytes], *, fits: Fits = anything_fits) -> list[dict[str, Any]]:
        """Sequence events that the rules allow and that `fits` has nothing against; per event its index, or the reasons why not.

        Durable when this returns.
        """
        outcome = self.site.extend(data, fits=fits)
        digests = [sha256(item) for item in data]
        there = self.site.indexes(digests)
        return [{"index": None if reasons else there[digest], "reasons": reasons} for digest, reasons in zip(digests, outcome, strict=True)]

    def record(self, kind: type[Any], /, *, case: str, opened: tuple[Document, ...] = (), **fields: Any) -> Receipt:
        """An act of the coordinating body itself; `Refused` when the rules say no."""
        with self.site.changed:  # one act after the other: the next is chained to this one
            self._log_recorded()  # what a crash kept from being logged
            receipt = self.site.record(kind, case=case, opened=opened, **fields)
            reasons = self._log_recorded()
        if reasons:
            raise Refused(*reasons)
        return receipt

    def _log_recorded(self) -> list[str]:
        """Sequence the coordinating body's own events that are not logged yet; the reasons against the last of them."""
        reasons: list[str] = []
        for id, data in self.site.unsent():
            reasons = self.site.extend([data])[0]
            self.site.settle(id, refused=reasons)
        return reasons

    def _publish_forever(self) -> None:
        while not self._stop.is_set():
            if self.site.wait_for(lambda: self.site.tree.size > self.published, 0.5):
                self._stop.wait(max(self._batch, CHECKPOINT_SHARE * len(self.cosigners())))
                self.publish()

    def publish(self) -> None:
        """Sign a checkpoint over everything sequenced so far."""
        with self.site.changed:
            size, root = self.site.tree.size, self.site.tree.root()
        text = note.sign_checkpoint(self.origin, size=size, root=root, key=self._key)
        with self.site.changed:
            self._notes[size] = text
            for old in sorted(self._notes)[:-KEPT]:
                del self._notes[old]
            self.published = size
        self.site.save_checkpoint(size, text)

    @property
    def gather(self) -> float:
        """How long an answer with news waits for more."""
        return GATHER_SHARE * len(self.cosigners())

    def newest(self) -> str | None:
        return self._notes.get(self.published)

    def add_cosignature(self, size: int, line: str) -> None:
        """Add a member's cosignature to the checkpoint of this size; `Refused` when it is not a valid one of a known cosigner."""
        with self.site.changed:
            text = self._notes.get(size)
            if text is None:
                raise NotFound("there is no recent checkpoint of this size; cosign the newest")
            signature = note.SignatureLine.parse(line)
            vkey = next((vkey for vkey in (*self.cosigners(size), *self.outside().values()) if signature.is_by(vkey)), None)
            if vkey is None or not signature.holds(vkey, note.parse_checkpoint(text).body):
                raise Refused("this is not the cosignature of a member that cosigns this log")
            if any((present.name, present.key_id) == (signature.name, signature.key_id) for present in note.parse_checkpoint(text).lines):
                return  # every request may be sent twice, and one cosignature of a member is enough
            text = note.add_cosignature(text, line)
            self._notes[size] = text
            self._judge(size)
            self.site.save_checkpoint(size, text)

    def _judge(self, size: int) -> None:
        """Note it when the cosignatures of this checkpoint, each verified when it came, are the quorum."""
        if self._reaches_quorum(size, self._notes[size]):
            self._final.add(size)

    def _reaches_quorum(self, size: int, text: str) -> bool:
        lines, cosigners = note.parse_checkpoint(text).lines, self.cosigners(size)
        if self._policy:
            return self._policy.reached(self._signed(self._policy, size, lines)) and self._pins(self._policy, size)
        return bool(cosigners) and sum(any(line.is_by(vkey) for line in lines) for vkey in cosigners) >= two_thirds(len(cosigners))

    def _signed(self, policy: note.Policy, size: int, lines: tuple[note.SignatureLine, ...]) -> set[str]:
        """The policy's names of whoever has signed: a member's key that it pins stands for those that replaced it in the log."""
        world, keys = self.site.world, set[str]()
        for member, key in world.cosigners_at(size):
            if any(line.is_by(note.cosigner_vkey(world.log_at(size).origin, member, key)) for line in lines):
                keys |= {*world.stands_for(member, key)}
        outside = self.outside()
        return {
            name
            for name, vkey in policy.witnesses.items()
            if b64(vkey.public) in keys or (name in outside and any(line.is_by(vkey) for line in lines))
        }

    def _pins(self, policy: note.Policy, size: int) -> bool:
        """Whether the policy names this log: by its key, or by one that the log had before."""
        keys = {log.key for log in self.site.world.logs if log.since <= max(size, 1)}
        return any(b64(log.public) in keys for log in policy.logs)

    def outside(self) -> dict[str, note.VKey]:
        """The policy's witnesses that are no members, by the policy's names of them."""
        if self._policy is None:
            return {}
        world = self.site.world
        members = {key for member, now in world.cosigners_at(world.entries) for key in world.stands_for(member, now)}
        return {name: vkey for name, vkey in self._policy.witnesses.items() if b64(vkey.public) not in members | world.keys}

    def places(self) -> dict[str, str]:
        """Where those witnesses are asked, as far as the policy says."""
        return {name: self._policy.urls[name] for name in self.outside() if name in self._policy.urls} if self._policy else {}

    def cosigners(self, size: int | None = None) -> list[note.VKey]:
        """The key of every member that cosigns, as it counts under a head of this size (None: of the whole log)."""
        world = self.site.world
        size = world.entries if size is None else size
        origin = world.log_at(size).origin if world.logs else self.origin
        return [note.cosigner_vkey(origin, *known) for known in world.cosigners_at(size)]

    def quorum(self) -> int:
        """More than two thirds of the cosigners; 0 while there is none, and then nothing is witnessed."""
        return two_thirds(len(self.cosigners()))

    def final(self, covering: int) -> str | None:
        """The newest checkpoint over at least `covering` entries that is final; before there are cosigners, the newest: NOT WITNESSED."""
        witnessed = bool(self._policy or self.cosigners())
        for size in sorted(self._notes, reverse=True):
            if size >= covering and (size in self._final or not witnessed):
                return self._notes[size]
        return None

    def first_final(self, covering: int) -> str | None:
        """The oldest checkpoint over at least `covering` entries that is final: a closed case is shown under keys that it knows itself."""
        for size in self.site.checkpoint_sizes(covering, FEW):
            text = self.site.checkpoint(size)
            if text is not None and self._reaches_quorum(size, text):
                return text
        return self.final(covering)

    def policy(self) -> str:
        """The C2SP tlog-policy that a verifier can pin: the hub's own file, or this log with more than two thirds of its cosigners."""
        if self._policy_text is not None:
            return self._policy_text
        return note.policy_text(self.vkey, self.cosigners(), quorum=self.quorum())
