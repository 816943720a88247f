"""Twenty rounds over six sites beside Flower's deployment and NVFLARE's simulator, on the same data; and an exact fit at 70 hospitals.

Less is better. sklearn's breast cancer data, 569 people, 30 columns, logistic regression. The peers average one model, five gradient steps
a round, in environments of their own in a temporary folder; each side runs alone. Ours sums score and information of one model a round over
real nodes with HTTPS, signatures, receipts, masks and sandboxes; its ridge is so weak that Newton needs 23 rounds. The same with a ridge
chosen by cross-validation fits 54 models in a round. The last row is the node's own `Run` at 70 hospitals of a million people together.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import study
from benchmarks._peers import FLOWER, NVFLARE

SITES, ROUNDS = 6, 20
PATIENCE = 900.0  # seconds that a peer may take
Row = dict[str, Any]

MAKE_SITES = """
import sys
import numpy as np
from sklearn.datasets import load_breast_cancer

x, y = load_breast_cancer(return_X_y=True)
rows = np.column_stack([np.ones(len(y)), (x - x.mean(0)) / x.std(0), y])
for site in range(6):
    np.save(f"{sys.argv[1]}/site{site}.npy", rows[site::6])
"""


def rows() -> list[Row]:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory(prefix="pumasi-bench-") as name:
        folder = Path(name)
        python = _environment(uv, folder / "data-env", "scikit-learn")
        subprocess.run([python, "-c", MAKE_SITES, str(folder)], check=True)
        ours, chosen = _ours(folder / "weak", folder, ridge="0.00001"), _ours(folder / "chosen", folder, ridge='"cv"')
        peers = {
            "Flower": _flower(folder, _environment(uv, folder / "flower-env", "flwr", "numpy")),
            "NVFLARE": _nvflare(folder, _environment(uv, folder / "nvflare-env", "nvflare", "numpy")),
        }
    found = []
    for peer, theirs in peers.items():
        found.append(_row(f"{ROUNDS} rounds over {SITES} sites / {peer}", "s", ours.in_all * ROUNDS, theirs.seconds))
        found.append(_row(f"peak memory of hub, nodes and sandboxes, shared pages once / {peer}", "MB", ours.megabytes, theirs.megabytes))
    found.append(_row(f"{ROUNDS} rounds / 5 s", "s", ours.in_all * ROUNDS, 5.0))
    found.append(_row("one round / 20 ms", "ms", ours.a_round * 1e3, 20.0))
    found.append(_row("one round with its part of the job's start and end / 20 ms", "ms", ours.in_all * 1e3, 20.0))
    found.append(_row("one round of 54 models / 20 ms", "ms", chosen.a_round * 1e3, 20.0))
    found.append(_row("exact glm, signed job to sealed result / 5 s", "s", ours.job, 5.0))
    found.append(_row("peak memory of hub, nodes and sandboxes, shared pages once / 500 MB", "MB", ours.megabytes, 500.0))
    found.append(_row("the same with the process that plays the people and the researcher / 500 MB", "MB", ours.with_people, 500.0))
    found.append(_row("processor time of all idle processes in a second / 1 s", "s", ours.idle, 1.0))
    job, pooled = _seventy()
    return [*found, _row("glm at 70 hospitals, 1 million people / pooled statsmodels", "s", job, pooled)]


def _row(case: str, unit: str, ours: float, peer: float) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer}


def _environment(uv: str, folder: Path, *packages: str) -> str:
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


def _write(root: Path, files: Mapping[str, str], **fields: object) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if name.endswith("steps.py") else text.format(**fields), encoding="utf-8")


# --- processes


@dataclass
class Measured:
    seconds: float
    megabytes: float


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                left += map(int, children.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _megabytes(pids: list[int]) -> dict[int, float]:
    """The proportional set size of each process: what is shared counts once in their sum."""
    sizes = {}
    for pid in pids:
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        sizes[pid] = int(found[1]) / 1024 if found else 0.0
    return sizes


def _peak(seen: list[dict[int, float]], *, but: int = 0) -> float:
    """The most that the processes held together at one moment, leaving out one of them."""
    return max(sum(size for pid, size in sizes.items() if pid != but) for sizes in seen)


@contextmanager
def _watched(roots: list[int]) -> Iterator[list[dict[int, float]]]:
    """The memory of some processes and their descendants, looked at twice a second."""
    seen, over = [dict[int, float]()], threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append(_megabytes([pid for root in roots for pid in _tree(root)]))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


# --- the peers


def _flower(folder: Path, python: str) -> Measured:
    """SuperLink and six SuperNodes as processes of their own; from `flwr run` to the end of the run."""
    home, tools = folder / "flower-home", Path(python).parent
    _write(folder / "flower", FLOWER, rounds=ROUNDS, sites=SITES, columns=31)
    home.mkdir()
    (home / "config.toml").write_text('[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:8000"\ninsecure = true\n')
    environment = {**os.environ, "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "PATH": f"{tools}:{os.environ['PATH']}"}
    node = [tools / "flower-supernode", "--insecure", "--superlink", "127.0.0.1:8000"]
    nodes = [[*node, "--port", str(9400 + site), "--node-config", f'data="{folder}/site{site}.npy"'] for site in range(SITES)]
    commands = [[tools / "flower-superlink", "--insecure"], *nodes]
    running = []
    try:
        for command in commands:
            running.append(
                subprocess.Popen(
                    list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                )
            )
            time.sleep(5 if len(running) == 1 else 1)
        time.sleep(5)
        with _watched([process.pid for process in running]) as seen:
            started = time.perf_counter()
            command = [tools / "flwr", "run", str(folder / "flower"), "bench", "--stream"]
            said = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=PATIENCE).stdout
            seconds = time.perf_counter() - started
        if f"[ROUND {ROUNDS}/{ROUNDS}]" not in said:
            raise RuntimeError(f"Flower did not finish: {said[-2000:]}")
        return Measured(seconds, _peak(seen))
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)


def _nvflare(folder: Path, python: str) -> Measured:
    place = folder / "nvflare"
    _write(place, NVFLARE, rounds=ROUNDS, sites=SITES, columns=31, folder=str(place))
    sites = [f"{folder}/site{site}.npy" for site in range(SITES)]
    started = time.perf_counter()
    process = subprocess.Popen([python, "job.py", *sites], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with _watched([process.pid]) as seen:
        said = process.communicate(timeout=PATIENCE)[0]
    if process.returncode or "End the Simulator run" not in said:
        raise RuntimeError(f"NVFLARE did not finish: {said[-2000:]}")
    return Measured(time.perf_counter() - started, _peak(seen))


# --- ours


@dataclass
class Ours:
    """One study. `a_round` is from one round to the next, as the first node tells it; `in_all` has its part of the job's start and end.

    `megabytes` is what hub, nodes and sandboxes hold, `with_people` also the process that plays their people and the researcher.
    """

    job: float
    a_round: float
    in_all: float
    megabytes: float
    with_people: float
    idle: float


COLUMNS = [f"c{number:02}" for number in range(30)]
STUDY = """\
title = "{title}"
purpose = "scientific-research"
smallest_cell = 5
[tables.patients]
person = "no"
[tables.patients.columns]
{columns}
benign = {{ is = "plain" }}

[[analysis]]
name = "{title}"
kind = "glm"
family = "binomial"
table = "patients"
formula = "benign ~ {formula}"
ridge = {ridge}
"""


def _ours(here: Path, rows: Path, *, ridge: str) -> Ours:
    """The demo's processes with our own data: one study, and then silence."""
    data = here / "data"
    for site in range(SITES):
        _hospital(data / "hospitals" / f"site-{site}", rows / f"site{site}.npy")
    fields = {"columns": "\n".join(f'{name} = {{ is = "quasi" }}' for name in COLUMNS), "formula": " + ".join(COLUMNS)}
    (data / "study.toml").write_text(STUDY.format(title="model", ridge=ridge, **fields), encoding="utf-8")
    pumasi = [sys.executable, "-m", "pumasi.cli"]
    demo = subprocess.Popen([*pumasi, "demo", "--keep", "--data", str(data), "--json", "out.json"], cwd=here, stdout=subprocess.DEVNULL)
    with _watched([demo.pid]) as seen:
        demo.wait(PATIENCE)
    try:
        system = json.loads((here / "system.json").read_text(encoding="utf-8"))
        told_by_first = (Path(system["folder"]) / "nodes" / "01" / "node.log").read_text(encoding="utf-8")
        ours = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_of(path, system["folder"])]
        idle = _processor_seconds(ours, seconds=10.0)
    finally:
        subprocess.run([*pumasi, "demo-stop", "system.json"], cwd=here, check=True, stdout=subprocess.DEVNULL)
    told = json.loads((here / "out.json").read_text(encoding="utf-8"))
    seconds, model = told["seconds"]["joint computation"], told["analyses"][0]
    if "refused" in model:
        raise RuntimeError(f"the model was refused: {model['refused']}")
    a_round = float(re.findall(rf"sealed after .* {model['rounds']} rounds, ([\d.]+) ms each", told_by_first)[-1]) / 1e3
    return Ours(seconds, a_round, seconds / model["rounds"], _peak(seen, but=demo.pid), _peak(seen), idle)


def _hospital(home: Path, rows: Path) -> None:
    import numpy as np

    home.mkdir(parents=True)
    lines = [",".join(["no", *COLUMNS, "benign"])]
    lines += [",".join([str(number), *(repr(float(value)) for value in row[1:])]) for number, row in enumerate(np.load(rows))]
    (home / "patients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_of(process: Path, folder: str) -> bool:
    """Whether a process works in the folder of the kept system."""
    try:
        return folder.encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def _processor_seconds(pids: list[int], *, seconds: float) -> float:
    """Processor seconds that these processes use in one second."""

    def used() -> float:
        total = 0
        for pid in pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    first = used()
    time.sleep(seconds)
    return (used() - first) / seconds


def _seventy() -> tuple[float, float]:
    study.PEOPLE = 1_000_000 // 70
    job, pooled, _, _ = study._measure(70)
    return job / 1e3, pooled / 1e3
