"""Run any Python script in the very sandbox a job gets, and tell what it printed, how it ended and which limits held it.

The script gets the same launch, limits and filters as an analysis but no table. What it prints and its traceback come back, since
there is no data in there to protect; a probe of a node's walls is exactly what this is for.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pumasi.node.jobs import frames
from pumasi.node.jobs.limits import Ending, Limits, describe
from pumasi.node.jobs.sandbox import Sandbox

_SHOWN = 64 << 10  # characters of output in the text of a report
_PIECE = 1 << 16


@dataclass(frozen=True)
class ProbeReport:
    """`output` is what the script printed (standard output and errors together), cut at the limit; `number` an exit status or a signal."""

    output: str
    ending: Ending
    number: int
    seconds: float
    limits: Limits

    @property
    def verdict(self) -> str:
        """How it ended, in a sentence."""
        if self.ending == "exit":
            return f"The script ended by itself with exit status {self.number}."
        if self.ending == "signal":
            return f"The script was ended by signal {self.number} ({_name(self.number)})."
        return describe(self.ending, self.limits).replace("The job", "The script")

    @property
    def text(self) -> str:
        """The whole report for a terminal."""
        shown = self.output[:_SHOWN] + ("\n[cut]" if len(self.output) > _SHOWN else "")
        lines = ["What the script printed:", *(f"  {line}" for line in shown.splitlines() or ["(nothing)"])]
        lines += ["", "How it ended:", f"  {self.verdict}", f"  It ran for {self.seconds:.1f} s.", "", "Limits in force:"]
        return "\n".join([*lines, *(f"  {sentence}" for sentence in self.limits.sentences())])


def probe(script: Path, limits: Limits | None = None) -> ProbeReport:
    """Run `script` in a sandbox of its own until it ends or a limit ends it. `Refused` where there is no working sandbox."""
    limits = limits or Limits()
    source = np.frombuffer(script.read_bytes(), dtype=np.uint8)
    began = time.monotonic()
    with Sandbox(limits, kind="script") as sandbox:
        until = began + limits.wall_seconds + 60  # the sandbox's own wall time ends it first
        sandbox.write(frames.encode("run", {"name": script.name}, {"script": source}), until=until)
        output = _collect(sandbox, until=until)
        ending, number = sandbox.ending()
        return ProbeReport(
            output=output.decode(errors="replace"), ending=ending, number=number, seconds=time.monotonic() - began, limits=limits
        )


def _collect(sandbox: Sandbox, *, until: float) -> bytearray:
    """The output up to its limit; one byte more ends the script."""
    output, piece = bytearray(), memoryview(bytearray(_PIECE))
    while got := sandbox.read_some(piece, until=until):
        output += piece[:got]
        if len(output) > sandbox.limits.output_bytes:
            sandbox.stop("output")
            return output[: sandbox.limits.output_bytes]
    return output


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unnamed"
