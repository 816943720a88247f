"""Torture: ten thousand lies in twelve classes, five hundred kill -9, torn tails and Byzantine cosigners; nothing may be believed or lost.

Of lies `ours` are those that were found out and `peer` those that were told: the ratio must be 1. Of kills and attacks `ours` is what
was lost or in conflict and `peer` what was at stake: the ratio must be 0. Anything else ends the benchmark with what happened.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pumasi.demo import hospitals as generated
from tests.story import harness, studies
from tests.torture.mutations import CLASSES, Tally, attempts
from tests.torture.parties import CONTEXT
from tests.torture.scene import Scene
from tests.torture.siege import lay_siege
from tests.torture.test_byzantine import Attack, AttackOnSeven, attack

EACH = 860  # lies of a class: 10,320 in all
PARTS = 2  # processes that tell them
KILLS = 500
REAL_KILLS = 12
SEED = 20260302
EXAMPLES = {Attack: 100, AttackOnSeven: 30}

Row = dict[str, Any]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="pumasi-torture-") as name:
        folder = Path(name)
        return [*_lies(folder), _kills(folder / "siege"), *_real_kills(folder / "real"), *map(_attacks, EXAMPLES)]


def _row(case: str, unit: str, ours: float, peer: float) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer}


# --- lies ------------------------------------------------------------------------------------------------------------


def _part(folder: str, part: int) -> dict[str, Tally]:
    scene, count = Scene(Path(folder) / f"scene {part}"), EACH // PARTS
    return {name: attempts(scene, name, count=count, seed=part * count) for name in CLASSES}


def _lies(folder: Path) -> list[Row]:
    with CONTEXT.Pool(PARTS) as pool:
        parts = pool.starmap(_part, [(str(folder), part) for part in range(PARTS)])
    believed = [f"{name}: {lie}" for part in parts for name in CLASSES for lie in part[name].believed]
    assert not believed, believed
    found = []
    for name in CLASSES:
        tried, detected = sum(part[name].tried for part in parts), sum(part[name].detected for part in parts)
        reasons = sum((part[name].reasons for part in parts), Counter[str]())
        found.append(_row(f"{name}: “{reasons.most_common(1)[0][0]}”", "found of told", detected, tried))
    return found


# --- kills -----------------------------------------------------------------------------------------------------------


def _kills(folder: Path) -> Row:
    outcome = lay_siege(folder, kills=KILLS, seed=SEED)
    how = ", ".join(f"{name} {count}" for name, count in sorted(outcome.kills.items()))
    promised = outcome.acknowledged + outcome.recorded
    return _row(f"acknowledged entries lost or changed in {outcome.kills.total()} kill -9 ({how})", "entries", 0, promised)


def _real_kills(folder: Path) -> list[Row]:
    """Kept demo processes, killed while they serve a study and while members join; every log stays the beginning of the next."""
    if shutil.which("bwrap") is None:
        return []  # without the sandbox no study runs; the kills above need none
    data = folder / "data"
    generated.write(data, hospitals=3, people=300, seed=SEED)
    system = harness.keep(folder, data)
    try:
        assert system.code == 0, system.said
        entries = _strike(system)
    finally:
        system.stop()
    return [_row(f"entries lost or changed in {REAL_KILLS} kill -9 of `pumasi hub serve` and `node serve`", "entries", 0, entries)]


def _strike(system: harness.Kept) -> int:
    chance = np.random.default_rng(SEED)
    run = system.study(studies.SMALL, "under-fire")
    ended = threading.Thread(target=run.end, daemon=True)
    ended.start()
    for number in range(REAL_KILLS):
        name = "hub" if number < REAL_KILLS // 2 else system.nodes[number % len(system.nodes)]
        if number == REAL_KILLS // 2:
            ended.join(timeout=harness.PATIENCE)  # a job is run again when its node dies, but not for ever
            assert run.process.returncode == 0, run.said
        else:
            _join(system, number)
        before = system.entries(name)
        ended.join(timeout=chance.uniform(0.1, 1.0))
        system.end(name)
        assert system.entries(name)[: len(before)] == before, f"{name} lost or changed an entry"
        system.begin(name)
    log = system.entries("hub")
    for name in system.nodes:
        harness.wait_until(partial(_holds, system, name, log), f"{name} did not catch up")
    checked = system.command("ledger", "check", "--home", str(system.researcher))
    assert checked.returncode == 0 and "every signature holds" in checked.stdout, checked.stderr
    return len(log)


def _holds(system: harness.Kept, name: str, log: list[bytes]) -> bool:
    return system.entries(name) == log


def _join(system: harness.Kept, number: int) -> None:
    """A company makes a key and applies: a new entry to lose."""
    home = f"company-{number}"
    card = ("--hub", system.hub, "--hub-cert", system.system["certificate"])
    for command in (("key", "new", "--home", home, "--id", home, *card), ("member", "join", "--home", home, "--kind", "company")):
        done = system.command(*command)
        assert done.returncode == 0, done.stderr


# --- Byzantine cosigners ---------------------------------------------------------------------------------------------


def _attacks(machine: type[Attack]) -> Row:
    attack(machine, examples=EXAMPLES[machine])
    case = f"conflicting final heads with {machine.liars} Byzantine of {machine.count} cosigners"
    return _row(case, "random attacks", 0, EXAMPLES[machine])
