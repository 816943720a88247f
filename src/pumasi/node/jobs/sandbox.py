"""Where every job runs: one process in namespaces of its own, without network, files, environment or host, behind two filters.

No bubblewrap, no run: there is no weaker way to start a worker. The node speaks with it over two pipes, in frames checked
against a declared form; whatever else arrives ends the worker. Limits: the walls are Linux's, so a hole in the kernel is a hole
here; besides `memory_bytes` a worker may fill its 64 MiB of /tmp; and how long an answer takes shows to whoever waits for it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pumasi.kernel.errors import Invalid, PumasiError, Refused
from pumasi.node.jobs import frames, seccomp, walls
from pumasi.node.jobs.limits import Ending, Fault, Limits, Stopped, describe

__all__ = ["ColumnLike", "Ending", "Fault", "Limits", "Sandbox", "Stopped", "Worker", "describe", "start"]

Kind = Literal["analysis", "script"]

_START_SECONDS = 30.0
_PIECE = 1 << 20
_READABLE = "Open Python, numpy and pumasi to all users for reading (chmod -R a+rX)."
_READY = frames.Schema("ready")
_LOADED = frames.Schema("loaded")
_FAILED = frames.Schema("failed", fields=frozenset({"code", "reasons"}))


class Sandbox:
    """One running sandbox and the two pipes to it; `Refused` where it cannot be set up. For one owner at a time.

    A thread of its own starts bubblewrap and waits for it: `--die-with-parent` ends a worker together with the *thread* that
    started it (PR_SET_PDEATHSIG, prctl(2)), and wall time must end a worker that nobody is asking anything.
    """

    def __init__(self, limits: Limits, *, kind: Kind) -> None:
        self.limits = limits
        self._why: Ending | None = None
        self._lock = threading.Lock()
        launch: Future[subprocess.Popen[bytes]] = Future()
        self._keeper = threading.Thread(target=self._keep, args=(kind, launch), name="sandbox", daemon=True)
        self._keeper.start()
        self._process = launch.result()
        self._requests, self._replies, self._errors = _descriptors(self._process)
        self._expect_ready()

    @property
    def pid(self) -> int:
        """Bubblewrap's process on this machine; when it ends, everything inside ends."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False from the moment that anything ended it, even while the kernel is still at it."""
        with self._lock:
            return self._why is None and self._keeper.is_alive()

    def write(self, pieces: Sequence[bytes | memoryview], *, until: float) -> None:
        """All pieces by the monotonic instant `until`; a worker that does not take them in time is ended.

        One that stops reading may have said why, so that is left to the next `read`.
        """
        if not self.running:
            raise self.ended()
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                self._wait(self._requests, select.POLLOUT, until=until)
                try:
                    rest = rest[os.write(self._requests, rest[:_PIECE]) :]
                except BrokenPipeError:
                    return

    def read(self, count: int, *, until: float) -> bytearray:
        """Exactly `count` bytes by the monotonic instant `until`."""
        buffer = bytearray(count)
        view, done = memoryview(buffer), 0
        while done < count:
            got = self.read_some(view[done : done + _PIECE], until=until)
            if got == 0:
                raise self.ended()
            done += got
        return buffer

    def read_some(self, into: memoryview, *, until: float) -> int:
        """What is there by the monotonic instant `until`; 0 at the end of the output."""
        self._wait(self._replies, select.POLLIN, until=until)
        return os.readv(self._replies, [into])

    def stop(self, why: Ending) -> None:
        """End everything inside at once. The first reason given stays."""
        with self._lock:
            self._why = self._why or why
            self._process.kill()

    def ending(self) -> tuple[Ending, int]:
        """How it ended, with the exit status or the signal's number; waits for the end.

        An exit status of 129 to 192 reads as a signal, because that is how bubblewrap passes a signal on.
        """
        self._keeper.join()
        status = self._process.returncode
        number = -status if status < 0 else status - 128
        if self._why is not None:
            return self._why, max(number, 0)
        if number == signal.SIGXCPU:
            return "cpu", number
        return ("signal", number) if 0 < number <= 64 else ("exit", status)

    def ended(self) -> PumasiError:
        """Why nothing more comes from this sandbox, as the error to raise."""
        ending, number = self.ending()
        if ending in ("exit", "signal"):
            return Fault(f"The worker ended before it answered ({ending} {number}).")
        return Stopped(ending, describe(ending, self.limits))

    def close(self) -> None:
        """End the sandbox and give its pipes back; nothing of it remains. May be called again."""
        self.stop("closed")
        self._keeper.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _keep(self, kind: Kind, launch: Future[subprocess.Popen[bytes]]) -> None:
        try:
            process = _launch(self.limits, kind=kind)
        except PumasiError as refused:
            launch.set_exception(refused)
            return
        except OSError as error:
            launch.set_exception(Refused(f"The sandbox cannot be set up on this machine ({error.strerror}). {walls.INSTALL}"))
            return
        end = os.pidfd_open(process.pid)
        launch.set_result(process)
        try:
            if not _readable(end, seconds=self.limits.wall_seconds):
                self.stop("wall")
        finally:
            os.close(end)
            process.wait()

    def _expect_ready(self) -> None:
        until = time.monotonic() + _START_SECONDS
        try:
            frames.matching(frames.decode_header(lambda count: self.read(count, until=until), most=frames.MAX_REPLY_HEADER), [_READY])
        except (frames.Malformed, PumasiError):
            self._process.kill()
            self._keeper.join()
            said = os.read(self._errors, _PIECE).decode(errors="replace").strip().splitlines() or ["it said nothing"]
            self.close()
            if said[-1].startswith("bwrap:"):
                raise Refused(f"The sandbox cannot be set up on this machine ({said[-1]}). {walls.INSTALL}") from None
            if said[-1].startswith("PermissionError: [Errno 13]"):  # host root's worker is another user
                raise Refused(f"A job runs as a user without rights, who cannot read this installation ({said[-1]}). {_READABLE}") from None
            raise Fault(f"The worker did not start inside the sandbox ({said[-1]}); is its memory limit too small?") from None

    def _wait(self, descriptor: int, event: int, *, until: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):  # what is there already is late as well
            self.stop("call")
            raise self.ended()


class ColumnLike(Protocol):
    """A column as `pumasi.analysis.frame.Column` has it: numbers, or codes into levels, or both."""

    @property
    def name(self) -> str: ...
    @property
    def numbers(self) -> NDArray[np.float64] | None: ...
    @property
    def codes(self) -> NDArray[np.int32] | None: ...
    @property
    def levels(self) -> tuple[str, ...]: ...


class Worker:
    """A warm worker that holds one table and answers rounds, each with one share. For one owner thread; close it when the job ends.

    Every method raises `Stopped` when a limit or a deadline ended the worker, `Fault` when its code failed (both end it), and
    `Refused` or `Invalid` with the method's own reasons (the worker lives on).
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @property
    def pid(self) -> int:
        return self._sandbox.pid

    @property
    def running(self) -> bool:
        return self._sandbox.running

    def load(
        self, persons: NDArray[np.int64], columns: Sequence[ColumnLike], *, place: str = "table", seconds: float | None = None
    ) -> None:
        """Stream a table in; it replaces the one in the same place. `persons` and every column have one entry per row."""
        arrays: dict[str, NDArray[Any]] = {"persons": np.asarray(persons, dtype=np.int64)}
        for number, column in enumerate(columns):
            if column.numbers is not None:
                arrays[f"numbers {number}"] = np.asarray(column.numbers, dtype=np.float64)
            if column.codes is not None:
                arrays[f"codes {number}"] = np.asarray(column.codes, dtype=np.int32)
        if any(array.shape != (len(persons),) for array in arrays.values()):
            raise Invalid("The columns of a table to load differ in length.")
        headers = [{"name": column.name, "levels": list(column.levels)} for column in columns]
        self._ask("load", {"columns": headers, "place": place}, arrays, reply=_LOADED, seconds=seconds)

    def local(
        self, method: str, question: Mapping[str, Any], state: Mapping[str, Any], *, seconds: float | None = None
    ) -> NDArray[np.float64]:
        """This hospital's share of one round: one-dimensional float64. Question and state are plain JSON values without NaN."""
        share = frames.Schema("share", (frames.ArraySpec("share", "float64", (None,)),), max_bytes=self._sandbox.limits.output_bytes)
        fields = {"method": method, "question": question, "state": state}
        return self._ask("round", fields, {}, reply=share, seconds=seconds)["share"]

    def compare(
        self, now: Mapping[str, Any], before: Mapping[str, Any], *, places: tuple[str, str], load: int, seconds: float | None = None
    ) -> NDArray[np.float64]:
        """This hospital's share of the comparison of a question with an earlier one (memory.py); `places` are those of their tables."""
        share = frames.Schema("share", (frames.ArraySpec("share", "float64", (None,)),), max_bytes=self._sandbox.limits.output_bytes)
        fields = {"now": now, "before": before, "places": places, "load": load}
        return self._ask("compare", fields, {}, reply=share, seconds=seconds)["share"]

    def audit(
        self, asked: Sequence[Mapping[str, Any]], known: Sequence[Sequence[float]], *, places: Sequence[str], seconds: float | None = None
    ) -> NDArray[np.float64]:
        """This hospital's share of the next round of an audit (audit.py); `places` are those of the questions' tables."""
        share = frames.Schema("share", (frames.ArraySpec("share", "float64", (None,)),), max_bytes=self._sandbox.limits.output_bytes)
        arrays = {f"known {number}": np.asarray(total, dtype=np.float64) for number, total in enumerate(known)}
        return self._ask("audit", {"asked": asked, "places": places}, arrays, reply=share, seconds=seconds)["share"]

    def close(self) -> None:
        """End the worker; the table and everything it computed are gone with its memory."""
        self._sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(
        self, kind: str, given: Mapping[str, Any], arrays: frames.Arrays, *, reply: frames.Schema, seconds: float | None
    ) -> dict[str, NDArray[Any]]:
        try:
            pieces = frames.encode(kind, given, arrays)
        except (TypeError, ValueError):
            raise Invalid("A question to a worker holds something other than plain JSON values.") from None
        until = time.monotonic() + (self._sandbox.limits.wall_seconds if seconds is None else seconds)

        def read(count: int) -> bytearray:
            return self._sandbox.read(count, until=until)

        self._sandbox.write(pieces, until=until)
        try:
            header = frames.decode_header(read, most=frames.MAX_REPLY_HEADER)
            if frames.matching(header, [reply, _FAILED]) is reply:
                return frames.decode_arrays(read, header)
            code, reasons = _failure(header)
        except frames.Malformed as broken:
            self._sandbox.stop("malformed")
            raise Stopped("malformed", f"{describe('malformed', self._sandbox.limits)} ({broken}).") from None
        raise self._failed(code, reasons)

    def _failed(self, code: str, reasons: list[str]) -> PumasiError:
        match code:
            case "refused":
                return Refused(*reasons)
            case "invalid":
                return Invalid(*reasons)
            case "memory":
                self._sandbox.stop("memory")
                return self._sandbox.ended()
            case _:
                self._sandbox.stop("closed")
                return Fault(f"The analysis failed inside the sandbox ({'; '.join(reasons)}).")


def start(limits: Limits | None = None) -> Worker:
    """A warm worker for one job of built-in analyses; `Refused` where this machine has no working sandbox."""
    return Worker(Sandbox(limits or Limits(), kind="analysis"))


def _failure(header: Mapping[str, Any]) -> tuple[str, list[str]]:
    code, reasons = header["code"], header["reasons"]
    if code not in ["fault", "memory", "refused", "invalid"] or not isinstance(reasons, list) or len(reasons) > frames.MAX_REASONS:
        raise frames.Malformed("it sent a failure that was not agreed on")
    if not all(isinstance(reason, str) and len(reason) <= frames.MAX_REASON for reason in reasons):
        raise frames.Malformed("it sent a failure whose reasons are no short sentences")
    return code, reasons


def _launch(limits: Limits, *, kind: Kind) -> subprocess.Popen[bytes]:
    """Start bubblewrap. Options and filter travel in memory, so neither the process list nor a file shows them."""
    program, user = walls.bubblewrap(), walls.unused_user()
    order = json.dumps({"kind": kind, "uid": user, "limits": asdict(limits)})
    held: list[int] = []
    try:
        held.append(_in_memory(seccomp.first_stage(seccomp.machine(), switches_user=user is not None)))
        held.append(_in_memory("\0".join(walls.arguments(user=user, seccomp=held[0])).encode()))
        return subprocess.Popen(
            [program, "--args", str(held[1]), "--", walls.PYTHON, "-I", "-S", "-B", "-c", walls.ENTRY, order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=held,
            env={},
            cwd="/",
            start_new_session=True,  # an interrupt at the terminal is the node's to answer, not the worker's
        )
    finally:
        for descriptor in held:
            os.close(descriptor)


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("pumasi")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _descriptors(process: subprocess.Popen[bytes]) -> tuple[int, int, int]:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # all three are PIPE
    numbers = process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()
    os.set_blocking(numbers[0], False)
    return numbers


def _readable(descriptor: int, *, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
