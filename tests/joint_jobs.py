"""Whole jobs between hospitals, each in a thread of its own, over the hub's own mailbox and with the real methods on real frames."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pumasi.analysis import secure
from pumasi.analysis.frame import Frame
from pumasi.client.questions import compiled
from pumasi.hub.tasks import Mailbox
from pumasi.kernel.envelope import Keys, canonical, sha256
from pumasi.kernel.errors import PumasiError, Refused
from pumasi.kernel.job import Job
from pumasi.kernel.study import AgreedTable
from pumasi.node.jobs.half import OpenHalf
from pumasi.node.jobs.rounds import Failed, Party, Run, Sealed
from pumasi.node.remembered import Earlier
from tests.analysis_rounds import frame

NAMES = ("바다병원", "Mountain Hospital", "들꽃", "river-hospital", "한밭 병원")
LEVELS = {"aspirin": ["0", "1"], "death14": ["0", "1"], "conscious": ["drowsy", "full", "unconscious"]}
SILENCE = 20.0  # longer than any of these jobs takes, so that a job that hangs fails its test


def column(kind: str, levels: list[str], *, two: bool = False) -> dict[str, Any]:
    return {"is": "plain", "keep": None, "kind": kind, "levels": levels, "two_valued": two}


AGREED = AgreedTable.model_validate(
    {
        "person": "no",
        "columns": {
            "age": column("number", []),
            "aspirin": column("number", LEVELS["aspirin"], two=True),
            "death14": column("number", LEVELS["death14"], two=True),
            "conscious": column("text", LEVELS["conscious"]),
        },
    }
)


@cache
def patients(rows: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(14)
    table = pd.DataFrame(
        {
            "age": rng.normal(68.25, 11, rows).round(3),
            "aspirin": rng.integers(0, 2, rows),
            "conscious": rng.choice(LEVELS["conscious"], rows, p=[0.3, 0.5, 0.2]),
        }
    )
    risk = 0.04 * (table.age - 68) - 0.3 * table.aspirin + 0.9 * (table.conscious == "unconscious") - 0.8
    return table.assign(death14=(rng.random(rows) < 1 / (1 + np.exp(-risk))).astype(int))


def dealt(hospitals: int, table: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """The rows of a table, dealt to so many hospitals."""
    table = patients() if table is None else table
    return {name: table.iloc[number::hospitals].reset_index(drop=True) for number, name in enumerate(NAMES[:hospitals])}


class Local(OpenHalf):
    """A hospital's half without its sandbox, which keeps what it has shared."""

    def __init__(self, tables: dict[str, Frame]) -> None:
        super().__init__(lambda table, columns: tables[table].having(columns))
        self.tables = tables
        self.seen: list[list[float]] = []

    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
        self.seen.append(super().local(question, state))
        return self.seen[-1]


class Refusing(Local):
    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
        raise Refused(secure.TOO_LARGE)


Change = Callable[[bytes], bytes | None]  # what becomes of a message on its way; None: it is lost


@dataclass
class Relay:
    """The hub between the hospitals of one job. `changes` is what a dishonest one does to (sender, label)."""

    mailbox: Mailbox
    changes: dict[tuple[str, str], Change] = field(default_factory=dict)
    passed: dict[tuple[str, str], bytes] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)


@dataclass
class Exchange:
    relay: Relay
    job: Job
    me: str

    def send(self, label: str, data: bytes) -> None:
        self.relay.passed[(self.me, label)] = data
        changed = self.relay.changes.get((self.me, label), lambda same: same)(data)
        if changed is not None:
            self.relay.mailbox.put(self.job.job, label, self.me, changed)

    def trade(self, label: str, data: bytes) -> dict[str, bytes]:
        self.send(label, data)
        return self.receive(label)

    def receive(self, label: str, sender: str | None = None) -> dict[str, bytes]:
        wanted = {sender} if sender else set(self.job.permits)
        waited = 0.0
        while waited < SILENCE:
            found = self.relay.mailbox.get(self.job.job, label, expected=wanted, seconds=0.2)
            if wanted <= found.keys():
                return {name: found[name] for name in sorted(wanted)}
            if self.relay.over.is_set():
                break
            waited += 0.2
        raise Failed("missing-hospital", "another hospital has stopped", about=tuple(sorted(wanted - found.keys())))


@dataclass
class Joint:
    """One job between hospitals that hold these tables."""

    folder: Path
    tables: dict[str, pd.DataFrame]
    questions: list[dict[str, Any]]
    smallest_cell: int = 10
    earlier: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[tuple[str, str], Change] = field(default_factory=dict)
    agreed: AgreedTable = AGREED
    remembered: list[Earlier] = field(default_factory=list)
    memories: dict[str, list[Earlier]] = field(default_factory=dict)  # where hospitals remember something else each
    hospitals_at_least: int = 1
    halves: dict[str, Local] = field(default_factory=dict)
    still_allowed: dict[str, Callable[[], None]] = field(default_factory=dict)
    number: str = "1"
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {name: Keys.new() for name in self.tables}
        asked = [compiled(question, {"patients": self.agreed}, list(self.tables), self.questions) for question in self.questions]
        self.job = Job(
            job=sha256(self.number.encode())[:32], case="ca" * 16, applicant="ari@company", applicant_box=Keys.new().box_public,
            permits={name: sha256(name.encode()) for name in self.tables}, lead=min(self.tables), smallest_cell=self.smallest_cell,
            code=sha256(b"code"), questions=asked,
        )  # fmt: skip
        self.digest = sha256(canonical(self.job.plain()))
        self.relay = Relay(Mailbox(self.folder / f"mailbox{self.number}.db"), self.changes)
        for name, table in self.tables.items():
            levels = {column: one.levels for column, one in self.agreed.columns.items() if one.levels}
            self.halves.setdefault(name, Local({"patients": frame(table, levels)}))

    @property
    def lead(self) -> str:
        return self.job.lead

    @property
    def others(self) -> list[str]:
        return [name for name in self.tables if name != self.lead]

    def run(self) -> dict[str, Sealed | PumasiError]:
        """What each hospital comes to: a sealed result, or the error that stopped it."""
        with ThreadPoolExecutor(len(self.tables)) as threads:
            return dict(zip(self.tables, threads.map(self._one, self.tables), strict=True))

    def _one(self, me: str) -> Sealed | PumasiError:
        self.runs[me] = Run(
            job=self.job, digest=self.digest, party=Party(me, self.keys[me], {name: keys.public for name, keys in self.keys.items()}),
            tables={"patients": self.agreed}, exchange=self.exchange(me), half=self.halves[me],
            still_allowed=self.still_allowed.get(me, lambda: None), earlier=self.earlier,
            remembered=self.memories.get(me, self.remembered),
            hospitals_at_least=self.hospitals_at_least,
        )  # fmt: skip
        try:
            return self.runs[me].run()
        except PumasiError as error:
            self.relay.over.set()
            return error

    def exchange(self, me: str) -> Exchange:
        return Exchange(self.relay, self.job, me)

    def sealed(self) -> dict[str, Sealed]:
        outcome = self.run()
        assert all(isinstance(one, Sealed) for one in outcome.values()), outcome
        return outcome  # type: ignore[return-value]

    def failed(self) -> dict[str, Failed]:
        """The hospitals that stopped for a reason of their own, not because another one did. Only the lead may not have noticed."""
        outcome = self.run()
        assert all(isinstance(outcome[name], Failed) for name in self.others), outcome
        stopped = {name: one for name, one in outcome.items() if isinstance(one, Failed) and one.reason != "missing-hospital"}
        assert stopped
        return stopped


def results(sealed: Sealed) -> list[dict[str, Any]]:
    analyses: list[dict[str, Any]] = json.loads(sealed.data)["analyses"]
    return analyses
