"""The warm worker: what it answers, how it fails, and that nothing of it outlives its owner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pumasi
from pumasi.analysis.frame import Column, Frame
from pumasi.analysis.methods import KINDS
from pumasi.kernel.errors import Invalid, Refused
from pumasi.node.jobs.probe import probe
from pumasi.node.jobs.sandbox import Fault, Limits, Stopped, Worker, start
from tests.handles import handles

from .conftest import HERE, skip_without_sandbox

TABLE = {"by": ["sex"], "levels": {"sex": ["f", "m"]}, "column_kinds": {"sex": "text"}}
MODEL = {
    "family": "gaussian",
    "column_kinds": {"sex": "text", "age": "number"},
    "levels": {"sex": ["f", "m"]},
    "hospitals": ["a", "b"],
    "here": "a",
}
COUNT = {"step": "count"}
SEX = Column(name="sex", numbers=None, codes=np.array([0, 1, 1, -1, 1], dtype=np.int32), levels=("f", "m"))
AGE = Column(name="age", numbers=np.array([51.5, 60.25, np.nan, 70.0, 8.0]), codes=None, levels=())
PERSONS = np.array([1, 2, 2, 3, 4])


@pytest.fixture
def worker() -> Iterator[Worker]:
    skip_without_sandbox("root" if os.geteuid() == 0 else "ordinary user")
    with start() as warm:
        yield warm


@pytest.fixture
def loaded(worker: Worker) -> Worker:
    worker.load(PERSONS, [SEX, AGE])
    return worker


def test_a_share_from_the_sandbox_equals_one_computed_here(loaded: Worker) -> None:
    frame = Frame(persons=PERSONS, columns={"sex": SEX, "age": AGE})
    design = {"outcome": "age", "columns": [{"factors": []}, {"factors": [{"column": "sex", "level": "m"}]}]}
    for method, question in (("table", TABLE), ("glm", {**MODEL, "design": design})):
        np.testing.assert_array_equal(loaded.local(method, question, COUNT), KINDS[method].local(frame, question, COUNT))


def test_a_worker_stays_warm_and_a_second_table_replaces_the_first(loaded: Worker) -> None:
    before = [loaded.local("table", TABLE, COUNT).tolist() for _ in range(50)]
    loaded.load(PERSONS[:1], [Column(name="sex", numbers=None, codes=SEX.codes[:1] if SEX.codes is not None else None, levels=("f", "m"))])
    assert {tuple(share) for share in before} == {(3.0, 1.0, 0.0, 1.0, 2.0)}
    assert loaded.local("table", TABLE, COUNT).tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_refusals_come_with_their_reasons_and_leave_the_worker_alive(worker: Worker) -> None:
    with pytest.raises(Refused, match="no table was loaded"):
        worker.local("table", TABLE, COUNT)
    worker.load(PERSONS, [SEX])
    with pytest.raises(Refused, match="does not know the method"):
        worker.local("os.system", TABLE, COUNT)
    with pytest.raises(Invalid, match="'weight' is not in this workspace"):
        worker.local("table", {"by": ["weight"], "levels": {"weight": ["1"]}, "column_kinds": {"weight": "text"}}, COUNT)
    assert worker.local("table", TABLE, COUNT)[0] == 3


def test_a_fault_names_kind_and_place_but_no_value(loaded: Worker) -> None:
    with pytest.raises(Fault) as fault:
        loaded.local("glm", {**MODEL, "design": {"outcome": "age", "columns": []}}, {"step": "secret 8675309"})
    assert "ValueError at analysis/glm.py, line" in str(fault.value)
    assert "8675309" not in str(fault.value)
    with pytest.raises(Stopped):
        loaded.local("table", TABLE, COUNT)
    assert not loaded.running


def test_too_large_a_table_for_the_memory_limit_is_a_sentence(worker: Worker) -> None:
    worker.close()
    with start(Limits(memory_bytes=300 << 20)) as small, pytest.raises(Stopped, match="needs more than its 300 MiB of memory") as stopped:
        small.load(np.arange(60 << 20), [])
    assert stopped.value.ending == "memory"


def test_too_large_an_answer_is_refused_before_it_is_read(worker: Worker) -> None:
    worker.close()
    with start(Limits(output_bytes=16)) as small:
        small.load(PERSONS, [SEX])
        with pytest.raises(Stopped, match="sent more bytes than its output limit allows") as stopped:
            small.local("table", TABLE, COUNT)
        assert stopped.value.ending == "malformed"
        assert not small.running


def test_a_late_answer_ends_the_worker(loaded: Worker) -> None:
    with pytest.raises(Stopped, match="longer over one answer") as stopped:
        loaded.local("table", TABLE, COUNT, seconds=0)
    assert stopped.value.ending == "call"


def test_wall_time_ends_a_worker_that_nobody_asks(worker: Worker) -> None:
    worker.close()
    with start(Limits(wall_seconds=1)) as idle:
        deadline = time.monotonic() + 30
        while idle.running:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(Stopped, match="reached its 1 s of wall time"):
            idle.load(PERSONS, [])


def test_a_worker_outlives_the_thread_that_started_it(worker: Worker) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(start).result()
    with other:
        time.sleep(0.1)  # a death signal would have arrived by now
        other.load(PERSONS, [SEX])
        assert other.local("table", TABLE, COUNT)[0] == 3


def test_closing_leaves_no_process_thread_or_descriptor(worker: Worker) -> None:
    worker.close()

    before = handles() | set(threading.enumerate())
    with start() as other:
        pid = other.pid
        assert Path(f"/proc/{pid}").exists()
    other.close()
    assert not Path(f"/proc/{pid}").exists()
    assert (handles() | set(threading.enumerate())) - before == set()


@pytest.mark.parametrize(
    ("question", "columns", "words"),
    [({"by": {1, 2}}, [SEX], "plain JSON"), ({"by": float("nan")}, [SEX], "plain JSON"), (TABLE, [SEX, AGE, SEX], "differ in length")],
)
def test_what_cannot_be_sent_is_named(worker: Worker, question: dict[str, Any], columns: list[Column], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        if words == "plain JSON":
            worker.local("table", question, COUNT)
        else:
            worker.load(PERSONS[:2], columns)


@pytest.mark.parametrize("name", ["cpu_seconds", "memory_bytes", "wall_seconds", "processes", "file_bytes", "output_bytes"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_limit_is_a_whole_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=f"The limit {name}"):
        Limits(**{name: value})


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    script = tmp_path / "script.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for run in (start, lambda: probe(script)):
        with pytest.raises(Refused, match=r"no bubblewrap \(bwrap\).*apt-get install bubblewrap"):
            run()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("says", ["bwrap: No permissions to create new namespace", "bwrap: Unknown option --disable-userns"])
def test_a_bubblewrap_that_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as refused:
        start()
    assert says in str(refused.value) and "apt-get install bubblewrap" in str(refused.value)


def test_a_bubblewrap_that_cannot_be_executed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("not a program")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="cannot be set up on this machine"):
        start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only the worker of the host's root is another user than its node")
def test_an_installation_that_the_worker_cannot_read_is_refused(worker: Worker, tmp_path: Path) -> None:
    shutil.copytree(Path(pumasi.__file__).parent, tmp_path / "pumasi", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pumasi/analysis/methods.py").chmod(0o600)
    code = "from pumasi.node.jobs.sandbox import start\ntry: start()\nexcept Exception as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (
        done.stdout.startswith("Refused A job runs as a user without rights, who cannot read this installation")
        and "chmod -R a+rX" in done.stdout
    )


def test_a_memory_limit_too_small_to_start_is_a_sentence(worker: Worker) -> None:
    with pytest.raises(Fault, match="is its memory limit too small"):
        start(Limits(memory_bytes=24 << 20))


def test_descriptors_that_the_node_left_inheritable_stay_outside(worker: Worker, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("patient_no")
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    script = tmp_path / "script.py"
    script.write_text(f"import os\nos.fstat({descriptor})")
    try:
        assert "OSError: [Errno 9]" in probe(script).output
    finally:
        os.close(descriptor)


def test_kill_9_of_the_owner_ends_its_workers(mode: str, command: list[str]) -> None:
    owner = subprocess.Popen(
        [*command, sys.executable, str(HERE / "owner.py"), "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    assert owner.stdout is not None
    with owner:
        seen = json.loads(owner.stdout.readline())
        _check_what_the_host_sees(seen, mode=mode)
        for processes in seen["processes"]:
            os.kill(processes[-1], signal.SIGSTOP)  # so that it cannot end itself when its requests end
        parent = int(Path(f"/proc/{seen['processes'][0][0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while left := [pid for one in seen["processes"] for pid in one if _alive(pid)]:
            assert time.monotonic() < deadline, f"still alive: {left}"
            time.sleep(0.01)


def _check_what_the_host_sees(seen: dict[str, Any], *, mode: str) -> None:
    """Two workers at once, each right, in own namespaces, without capabilities, behind two filters; as root, under uids that differ."""
    assert seen["shares"] == [[3.0, 0.0, 0.0, 1.0, 2.0]] * 2
    users = set()
    for inside, processes in zip(seen["inside"], seen["processes"], strict=True):
        assert len(processes) == 3  # bubblewrap outside, its first process inside, the worker
        assert {inside[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert (inside["NoNewPrivs"], inside["Seccomp"], inside["Seccomp_filters"], inside["Threads"]) == ("1", "2", "2", "1")
        users.add(inside["Uid"].split()[0])
        own = ["net", "pid", "ipc", "uts", "mnt", "cgroup"] + (["user"] if mode == "ordinary user" else [])
        shared = [name for name in own if Path(f"/proc/{processes[-1]}/ns/{name}").readlink() == Path(f"/proc/self/ns/{name}").readlink()]
        assert shared == []
    assert "0" not in users
    assert len(users) == (2 if mode == "root" else 1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
