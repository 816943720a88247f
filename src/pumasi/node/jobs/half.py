"""A hospital's half of the methods in this very process, without a sandbox around it: for a rehearsal, benchmarks and tests.

No node runs a job so; `desk` puts every job behind the walls of `sandbox`, where `worker` does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pumasi.analysis import audit, filter, memory
from pumasi.analysis.frame import Frame
from pumasi.analysis.methods import KINDS
from pumasi.node.remembered import Earlier


@dataclass
class OpenHalf:
    """The very methods on a hospital's frames. `read` yields these columns of a table; each table is read once, as a job does."""

    read: Callable[[str, set[str]], Frame]
    _frames: dict[str, Frame] = field(default_factory=dict)
    _table: str = ""

    def load(self, table: str, columns: set[str]) -> int:
        if table not in self._frames:
            self._frames[table] = self.read(table, columns)
        self._table = table
        return int(self._frame.persons.max(initial=-1)) + 1

    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
        chosen = filter.seen(self._frame, question)
        return [float(value) for value in KINDS[question["kind"]].local(chosen, question, state)]

    def compare(self, question: dict[str, Any], earlier: Earlier) -> list[float]:
        asked = (question, earlier.question)
        now, before = (memory.Footprint.of(self._frame, one) for one in asked)
        return memory.local(now, before, asked=asked, load=earlier.people)

    def audit(self, question: dict[str, Any], before: list[Earlier], known: list[list[float]]) -> list[float]:
        asked = [question, *(one.question for one in before)]
        return [float(value) for value in audit.local([self._frame] * len(asked), asked, known)]

    @property
    def _frame(self) -> Frame:
        return self._frames[self._table]
