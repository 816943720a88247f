"""Run a set of probes in sandboxes, four at a time: JSON in (name -> script and limits), JSON out (name -> report).

Called in this process, or as a program by another user, so that both ways of launching a sandbox are tested with the same probes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pumasi.node.jobs.probe import probe
from pumasi.node.jobs.sandbox import Limits


def run(cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:

        def one(name: str) -> dict[str, Any]:
            script = Path(folder, f"{name}.py")
            script.write_text(cases[name]["script"], encoding="utf-8")
            report = probe(script, Limits(**cases[name]["limits"]))
            return {
                "output": report.output,
                "ending": report.ending,
                "number": report.number,
                "text": report.text,
                "seconds": report.seconds,
            }

        return dict(zip(cases, pool.map(one, cases), strict=True))


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
