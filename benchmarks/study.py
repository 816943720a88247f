"""A whole joint logistic regression over the rounds that hospitals really run, beside the same fit by statsmodels on all rows at once.

Less is better. Every hospital of 400 people runs the node's own `Run` in a thread: handshakes, job key, masks, encryption, the lead's
steps recomputed by all. Messages pass through memory, and the local half runs without its sandbox. The last row is the demo's, with
processes, HTTPS and sandboxes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pumasi.client.questions import compiled
from pumasi.kernel.envelope import Keys, canonical, sha256
from pumasi.kernel.job import Job
from pumasi.kernel.study import AgreedTable
from pumasi.node.jobs.half import OpenHalf
from pumasi.node.jobs.rounds import Failed, Party, Run
from tests.analysis_rounds import Pooled, assert_pooled, frame

HOSPITALS = (5, 20, 40)
PEOPLE = 400
FORMULA = "death14 ~ aspirin + age + conscious"
LEVELS = {"aspirin": ["0", "1"], "death14": ["0", "1"], "conscious": ["drowsy", "full", "unconscious"]}
QUESTION = {"name": "model", "kind": "glm", "family": "binomial", "table": "patients", "formula": FORMULA}
SILENCE = 60.0

Row = dict[str, Any]


def rows() -> list[Row]:
    measured = {hospitals: _measure(hospitals) for hospitals in HOSPITALS}
    found = []
    for hospitals, (job, pooled, _, count) in measured.items():
        found.append(_row(f"glm over {hospitals} hospitals, {count} rounds / pooled fit", "ms", job, pooled))
    first = measured[HOSPITALS[0]]
    for hospitals, (job, _, processor, count) in measured.items():
        found.append(_row(f"one round of {hospitals} hospitals, all in this process / 5 hospitals", "ms", job / count, first[0] / first[3]))
        here = f"processor time of one round at each of {hospitals} hospitals / of 5"
        found.append(_row(here, "ms", processor / count / hospitals, first[2] / first[3] / HOSPITALS[0]))
    return [*found, *_demo(measured[5][1])]


def _row(case: str, unit: str, ours: float, peer: float) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer}


def _patients(people: int) -> pd.DataFrame:
    draw = np.random.default_rng(14)
    table = pd.DataFrame(
        {
            "age": draw.normal(68.25, 11, people).round(3),
            "aspirin": draw.integers(0, 2, people),
            "conscious": draw.choice(LEVELS["conscious"], people, p=[0.3, 0.5, 0.2]),
        }
    )
    risk = 0.04 * (table.age - 68) - 0.3 * table.aspirin + 0.9 * (table.conscious == "unconscious") - 0.8
    return table.assign(death14=(draw.random(people) < 1 / (1 + np.exp(-risk))).astype(int))


def _agreed() -> AgreedTable:
    columns = {
        "age": {"kind": "number", "levels": [], "two_valued": False},
        "aspirin": {"kind": "number", "levels": LEVELS["aspirin"], "two_valued": True},
        "death14": {"kind": "number", "levels": LEVELS["death14"], "two_valued": True},
        "conscious": {"kind": "text", "levels": LEVELS["conscious"], "two_valued": False},
    }
    plain = {"is": "plain", "keep": None}
    return AgreedTable.model_validate({"person": "no", "columns": {name: plain | column for name, column in columns.items()}})


@dataclass
class Post:
    """The hub between the hospitals of one job, in memory."""

    messages: dict[str, dict[str, bytes]] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)


@dataclass(frozen=True)
class Mail:
    """One hospital's end of it."""

    post: Post
    everybody: frozenset[str]
    me: str

    def send(self, label: str, data: bytes) -> None:
        with self.post.arrived:
            self.post.messages.setdefault(label, {})[self.me] = data
            self.post.arrived.notify_all()

    def trade(self, label: str, data: bytes) -> dict[str, bytes]:
        self.send(label, data)
        return self.receive(label)

    def receive(self, label: str, sender: str | None = None) -> dict[str, bytes]:
        wanted = {sender} if sender else self.everybody
        with self.post.arrived:
            if not self.post.arrived.wait_for(lambda: wanted <= self.post.messages.get(label, {}).keys(), SILENCE):
                raise Failed("missing-hospital", "another hospital has stopped")
            found = self.post.messages[label]
            return {name: found[name] for name in sorted(wanted)}


def _measure(hospitals: int) -> tuple[float, float, float, int]:
    """Milliseconds of the whole job, of the pooled fit, and of all hospitals' processor time; the number of rounds."""
    table, agreed = _patients(PEOPLE * hospitals), _agreed()
    names = [f"hospital-{number:02}" for number in range(hospitals)]
    keys = {name: Keys.new() for name in names}
    members = {name: own.public for name, own in keys.items()}
    job = Job(
        job="ab" * 16, case="ca" * 16, applicant="ari@company", applicant_box=Keys.new().box_public,
        permits={name: sha256(name.encode()) for name in names}, lead=names[0], smallest_cell=10, code=sha256(b"code"),
        questions=[compiled(dict(QUESTION), {"patients": agreed}, names)],
    )  # fmt: skip
    digest, post = sha256(canonical(job.plain())), Post()
    frames = {name: frame(table.iloc[at::hospitals].reset_index(drop=True), LEVELS) for at, name in enumerate(names)}

    def work(name: str) -> bytes:
        run = Run(
            job=job, digest=digest, party=Party(name, keys[name], members), tables={"patients": agreed},
            exchange=Mail(post, frozenset(names), name), half=OpenHalf(lambda _, columns: frames[name].having(columns)),
            still_allowed=lambda: None, earlier=[],
        )  # fmt: skip
        return run.run().data

    with ThreadPoolExecutor(hospitals) as threads:
        started, burnt = time.perf_counter(), time.process_time()
        outcomes = list(threads.map(work, names))
        taken, burnt = time.perf_counter() - started, time.process_time() - burnt
    assert len(set(outcomes)) == 1
    model = json.loads(outcomes[0])["analyses"][0]
    pooled = _best(lambda: Pooled(FORMULA, "binomial", table))
    assert_pooled(model, Pooled(FORMULA, "binomial", table))
    return taken * 1e3, pooled * 1e3, burnt * 1e3, model["rounds"]


def _best(work: Callable[[], object], *, repeat: int = 5) -> float:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _demo(pooled: float) -> list[Row]:
    """The demo's three analyses as its researcher waits for them: from the signed job to the sealed results at five hospitals."""
    if shutil.which("bwrap") is None:
        return []  # without the sandbox no job runs
    with tempfile.TemporaryDirectory(prefix="pumasi-bench-") as folder:
        command = [sys.executable, "-m", "pumasi.cli", "demo", "--json", "out.json"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=170)
        seconds = json.loads((Path(folder) / "out.json").read_text(encoding="utf-8"))["seconds"]
    return [
        _row("the demo's joint computation, 5 node processes, 3 analyses / pooled glm", "ms", seconds["joint computation"] * 1e3, pooled)
    ]
