"""What one job may use, and the words for each way in which it ends.

The limits bind one worker over its whole life. Limits of the limits: processor time and memory are the kernel's count of one process;
a machine with many workers needs memory for all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from pumasi.kernel.errors import Invalid, PumasiError, Refused
from pumasi.node.jobs import walls

Ending = Literal["exit", "signal", "cpu", "wall", "call", "memory", "output", "malformed", "closed"]


class Fault(PumasiError):
    """The code inside the sandbox failed or vanished; the sentence names the kind and the line of code, never a value."""


class Stopped(Refused):
    """The node ended a worker that reached a limit or broke the agreed form of answers; `ending` says which."""

    def __init__(self, ending: Ending, *reasons: str) -> None:
        super().__init__(*reasons)
        self.ending = ending


@dataclass(frozen=True)
class Limits:
    """What one worker may use over its whole life. `memory_bytes` is address space; `processes` counts threads: no process can be made."""

    cpu_seconds: int = 300
    memory_bytes: int = 1 << 30
    wall_seconds: int = 900
    processes: int = 16
    file_bytes: int = 32 << 20
    output_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        wrong = [one.name for one in fields(self) if type(getattr(self, one.name)) is not int or getattr(self, one.name) < 1]
        if wrong:
            raise Invalid(*(f"The limit {name} of a job must be a whole number above zero." for name in wrong))

    def sentences(self) -> list[str]:
        """The limits in force, one line each, with those that are the same for every job."""
        return [
            f"processor time: {self.cpu_seconds} s",
            f"wall time: {self.wall_seconds} s",
            f"memory: {_size(self.memory_bytes)} of address space",
            f"threads: {self.processes}; no second process, no new program",
            f"files: only in /tmp, {_size(walls.SCRATCH_BYTES)} in all, {_size(self.file_bytes)} each; gone with the job",
            f"output: {_size(self.output_bytes)}, through one pipe; no output folder",
            "network, environment, /proc, devices, other processes: none",
            "host files: the interpreter, numpy and the analysis code, read-only",
        ]


def describe(ending: Ending, limits: Limits) -> str:
    """The sentence for an ending that a limit or the node caused."""
    return {
        "exit": "The job ended by itself.",
        "signal": "The job was ended by a signal.",
        "cpu": f"The job used up its {limits.cpu_seconds} s of processor time and was ended.",
        "wall": f"The job reached its {limits.wall_seconds} s of wall time and was ended.",
        "call": "The job took longer over one answer than it was given and was ended.",
        "memory": f"The job needs more than its {_size(limits.memory_bytes)} of memory and was ended.",
        "output": f"The job wrote more than its {_size(limits.output_bytes)} of output and was ended.",
        "malformed": "The job broke the agreed form of answers and was ended",
        "closed": "The worker of this job was closed.",
    }[ending]


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"
