"""A node's part in miniature, run as a program by either user: start workers, say what the host sees of them, then wait to be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from pumasi.analysis.frame import Column
from pumasi.node.jobs.sandbox import Limits, start

TABLE = {"by": ["sex"], "levels": {"sex": ["f", "m"]}, "column_kinds": {"sex": "text"}}


def descendants(pid: int) -> list[int]:
    below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*below, *(one for child in below for one in descendants(child))]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


if __name__ == "__main__":
    workers = [start(Limits(memory_bytes=512 << 20)) for _ in range(int(sys.argv[1]))]
    sex = Column(name="sex", numbers=None, codes=np.array([0, 1, 1, -1], dtype=np.int32), levels=("f", "m"))
    for worker in workers:
        worker.load(np.arange(4), [sex])
    shares = [worker.local("table", TABLE, {"step": "count"}).tolist() for worker in workers]
    below = [[worker.pid, *descendants(worker.pid)] for worker in workers]
    print(json.dumps({"shares": shares, "processes": below, "inside": [status(one[-1]) for one in below]}), flush=True)
    sys.stdin.read()
