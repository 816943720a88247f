"""All hospitals of a job in one process: each does what only it can do, and what follows from a sum is worked out once, as by the lead.

What a node does alone is done for every hospital by the nodes' own code: its half on its own rows, what it refuses to sum, the limits on
its own numbers where there are one or two, fixed point. What a node does to be sure of others, or to hide from them, is left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pumasi.analysis import refusal, secure
from pumasi.analysis.refusal import Refusal
from pumasi.node.jobs.half import OpenHalf
from pumasi.node.jobs.rounds import Run
from pumasi.node.remembered import Earlier


@dataclass
class Halves:
    """The halves of all hospitals, as that of the one whose turn it is."""

    halves: dict[str, OpenHalf]
    turn: str = ""
    _people: dict[str, int] = field(default_factory=dict)

    def load(self, table: str, columns: set[str]) -> int:
        self._people = {hospital: half.load(table, columns) for hospital, half in self.halves.items()}
        return max(self._people.values())

    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
        return self.halves[self.turn].local(question | {"here": self.turn}, state)

    def compare(self, question: dict[str, Any], earlier: Earlier) -> list[float]:
        return self.halves[self.turn].compare(question | {"here": self.turn}, self._here(earlier))

    def audit(self, question: dict[str, Any], before: list[Earlier], known: list[list[float]]) -> list[float]:
        return self.halves[self.turn].audit(question | {"here": self.turn}, [self._here(one) for one in before], known)

    def _here(self, earlier: Earlier) -> Earlier:
        return replace(earlier, question=earlier.question | {"here": self.turn}, people=self._people[self.turn])


class Nobody:
    """The other end of a job that nobody else takes part in."""

    def send(self, label: str, data: bytes) -> None:
        pass

    def receive(self, label: str, sender: str | None = None) -> dict[str, bytes]:
        raise AssertionError(f"a rehearsal waits for no message, and so not for {label}")

    def trade(self, label: str, data: bytes) -> dict[str, bytes]:
        return self.receive(label)


@dataclass
class Together(Run):
    """A job as its lead runs it, with the shares of all hospitals made here."""

    halves: Halves = field(kw_only=True)
    say: Callable[[str], None] = field(kw_only=True)

    def _shake_hands(self) -> None:
        self._key = secrets.token_bytes(32)

    def _send(self, label: str, value: Any) -> None:
        pass

    def _sum(
        self, label: str, local: Callable[[], list[float]], judge: Callable[[list[float]], list[Refusal]], *, under: str = ""
    ) -> tuple[list[float], list[Refusal]]:
        """Masks vanish from this sum to the last bit, and between the hospitals of one process they hide nothing: there are none."""
        added: secure.Elements | None = None
        reasons: list[list[Refusal]] = []
        for hospital in sorted(self.job.permits):
            self.halves.turn = hospital
            share, refused = self._own_share(local, judge)
            reasons.append(refused)
            if not any(reasons):
                added = share if added is None else added.plus(share)
        if refused := refusal.united(reasons):
            return [], refused
        assert added is not None  # a job has a hospital
        total = secure.decode(added[: -secure.CHECKS])
        return total, judge(total)

    def _answer(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        result = super()._answer(number, asked)
        self.say(f"'{asked['name']}': {'refused' if 'refused' in result else 'answered'} after {result['rounds']} rounds")
        return result
