"""What a hospital tells the others in one round: a line of canonical JSON, and behind it its masked share as bytes.

`under` is the digest of the step that the share was computed for. Where all are the same, everybody went on from the same step, bit for
bit, and nobody has to send it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pumasi.analysis import refusal
from pumasi.analysis.refusal import Refusal
from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import Tampered


@dataclass(frozen=True)
class Message:
    under: str
    share: bytes
    reasons: list[Refusal] = field(default_factory=list)  # why there is no share

    def written(self) -> bytes:
        return canonical({"under": self.under, **refusal.told(self.reasons)}) + b"\n" + self.share

    @classmethod
    def read(cls, data: bytes) -> Message:
        """`Tampered` for anything that `written` does not write."""
        head, mark, share = data.partition(b"\n")
        match parse_canonical(head):
            case {"under": str(under), "refused": list(), "reasons": list(), **rest} as plain if mark and not rest:
                return cls(under, share, refusal.read(plain))
        raise Tampered("a hospital's message of this round is neither a share nor reasons why there is none")
