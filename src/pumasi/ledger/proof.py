"""That one entry stands in a signed log, in one text that travels alone (C2SP tlog-proof, without extra data)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pumasi.kernel.envelope import b64, unb64
from pumasi.kernel.errors import Tampered
from pumasi.ledger.note import NUMBER, Policy
from pumasi.ledger.tree import verify_inclusion

PROOF_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True)
class TlogProof:
    """What such a text says; nothing is proven before `verify`."""

    index: int
    proof: tuple[bytes, ...]
    checkpoint: str

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        head, separator, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        word, _, index = lines[1].partition(" ") if len(lines) > 1 else ("", "", "")
        if not separator or lines[0] != PROOF_HEADER or word != "index" or not NUMBER.fullmatch(index):
            raise Tampered("this is not a c2sp.org/tlog-proof@v1 without extra data")
        return cls(int(index), tuple(unb64(line, 32) for line in lines[2:]), checkpoint)

    def verify(self, leaf_hash: bytes, *, policy: Policy) -> None:
        """That the entry with this leaf hash is in a log, under a head that satisfies the policy; `Tampered` otherwise."""
        head = policy.read(self.checkpoint)
        verify_inclusion(self.index, head.size, leaf_hash, list(self.proof), head.root)


def tlog_proof(index: int, proof: Iterable[bytes], checkpoint: str) -> str:
    return "\n".join([PROOF_HEADER, f"index {index}", *(b64(step) for step in proof), "", checkpoint])


def verify_tlog_proof(text: str, *, leaf_hash: bytes, policy: Policy) -> TlogProof:
    """Read and verify a proof that came alone."""
    proof = TlogProof.parse(text)
    proof.verify(leaf_hash, policy=policy)
    return proof
