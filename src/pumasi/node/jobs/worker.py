"""The program inside the sandbox: it binds itself, then answers the node's frames or runs one script, until it is killed.

Order is the promise: descriptors, user, limits, imports, second filter, and only then the first byte of data or of foreign code.
It knows no key, no file of the node and no network. What it answers is a share, or a closed code with reasons; of a fault it names
the kind and the line of code, never a value.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pumasi.kernel.errors import Invalid, Refused
from pumasi.node.jobs import frames, seccomp

if TYPE_CHECKING:
    from pumasi.analysis.frame import Frame

_OPEN_FILES = 64
_PIECE = 1 << 20


def main() -> None:
    """Entry point inside the sandbox; `sys.argv[1]` is the node's JSON: `kind`, `uid` (or null) and `limits`."""
    order = json.loads(sys.argv[1])
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if order["uid"] is not None:
        _become(order["uid"])
    _limit(order["limits"])
    machine = seccomp.machine()
    serve = _serve_analysis if order["kind"] == "analysis" else _serve_script
    _import_methods()
    os.environ.clear()
    pipe = _Pipe(requests=os.dup(0), replies=os.dup(1))
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    sys.argv[:] = [""]
    seccomp.install(seccomp.second_stage(machine, pid=os.getpid()), machine=machine)
    pipe.send("ready")
    serve(pipe)


class _Pipe:
    """Frames over the two pipes to the node. The end of the requests ends the process."""

    def __init__(self, *, requests: int, replies: int) -> None:
        self.requests, self.replies = requests, replies

    def read(self, count: int) -> bytearray:
        buffer = bytearray(count)
        view, done = memoryview(buffer), 0
        while done < count:
            got = os.readv(self.requests, [view[done : done + _PIECE]])
            if got == 0:
                raise SystemExit(0)
            done += got
        return buffer

    def send(self, kind: str, arrays: frames.Arrays | None = None, **fields: Any) -> None:
        for piece in frames.encode(kind, fields, arrays or {}):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self.replies, rest) :]

    def fail(self, code: str, *reasons: str) -> None:
        self.send("failed", code=code, reasons=[reason[: frames.MAX_REASON] for reason in reasons[: frames.MAX_REASONS]])


def _become(user: int) -> None:
    """Only where the host's root starts the sandbox: limits on processes do not bind uid 0, so be somebody that owns nothing."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    seccomp.drop_capabilities()
    if os.getresuid() != (user, user, user) or os.getresgid() != (user, user, user) or os.getgroups():
        raise SystemExit("the sandbox could not leave the root user")


def _limit(limits: Mapping[str, int]) -> None:
    cpu = limits["cpu_seconds"]
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"], limits["processes"]),
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
        (resource.RLIMIT_CPU, cpu, cpu + 1),  # SIGXCPU first, so that the node can tell this limit from others
    ):
        resource.setrlimit(what, (soft, hard))


def _import_methods() -> None:
    """Everything a round needs, before the second filter: a script gets the same process as an analysis."""
    import pumasi.analysis.audit
    import pumasi.analysis.frame
    import pumasi.analysis.memory
    import pumasi.analysis.methods  # noqa: F401


def _serve_analysis(pipe: _Pipe) -> None:
    tables: dict[str, Frame] = {}
    sys.excepthook = _reporting(pipe)
    while True:
        try:
            header = frames.decode_header(pipe.read, most=frames.MAX_HEADER)
            arrays = frames.decode_arrays(pipe.read, header)
            if header["kind"] == "load":
                tables[header["place"]] = _frame(header, arrays)
                pipe.send("loaded")
            elif not tables:
                pipe.fail("refused", "no table was loaded before the first question")
            elif header["kind"] == "compare":
                _compare(pipe, tables, header)
            elif header["kind"] == "audit":
                _audit(pipe, tables, header, arrays)
            else:
                _answer(pipe, tables["table"], header)
        except Refused as refused:
            pipe.fail("refused", *refused.reasons)
        except Invalid as invalid:
            pipe.fail("invalid", *invalid.reasons)
        except MemoryError:
            pipe.fail("memory")
            raise SystemExit(1) from None  # what is left of the request would be read as the next one


def _frame(header: Mapping[str, Any], arrays: frames.Arrays) -> Frame:
    from pumasi.analysis.frame import Column, Frame

    columns = {
        column["name"]: Column(
            name=column["name"],
            numbers=arrays.get(f"numbers {place}"),
            codes=arrays.get(f"codes {place}"),
            levels=tuple(column["levels"]),
        )
        for place, column in enumerate(header["columns"])
    }
    return Frame(persons=arrays["persons"], columns=columns)


def _answer(pipe: _Pipe, table: Frame, header: Mapping[str, Any]) -> None:
    from pumasi.analysis import filter
    from pumasi.analysis.methods import KINDS

    method = KINDS.get(header["method"])
    if method is None:
        pipe.fail("refused", "this node's sandbox does not know the method that was asked for")
        return
    pipe.send("share", {"share": method.local(filter.seen(table, header["question"]), header["question"], header["state"])})


def _compare(pipe: _Pipe, tables: Mapping[str, Frame], header: Mapping[str, Any]) -> None:
    import numpy as np

    from pumasi.analysis import memory

    asked = (header["now"], header["before"])
    now, before = (memory.Footprint.of(tables[place], question) for place, question in zip(header["places"], asked, strict=True))
    pipe.send("share", {"share": np.array(memory.local(now, before, asked=asked, load=header["load"]))})


def _audit(pipe: _Pipe, tables: Mapping[str, Frame], header: Mapping[str, Any], arrays: frames.Arrays) -> None:
    from pumasi.analysis import audit

    known = [arrays[f"known {number}"].tolist() for number in range(len(arrays))]
    pipe.send("share", {"share": audit.local([tables[place] for place in header["places"]], header["asked"], known)})


def _reporting(pipe: _Pipe) -> Any:
    """What ends an unforeseen error: its kind and its place in pumasi's own code go to the node, its text and values nowhere."""

    def report(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
        place = "its start"
        while trace is not None:
            code = trace.tb_frame.f_code
            if "/pumasi/" in code.co_filename:
                place = f"{code.co_filename.rpartition('/pumasi/')[2]}, line {trace.tb_lineno}"
            trace = trace.tb_next
        pipe.fail("fault", f"{kind.__name__} at {place}")

    return report


def _serve_script(pipe: _Pipe) -> None:
    """Run one script as `python FILE` would, its output and errors on the reply pipe as they come."""
    header = frames.decode_header(pipe.read, most=frames.MAX_HEADER)
    source = frames.decode_arrays(pipe.read, header)["script"].tobytes()
    os.dup2(pipe.replies, 1)
    os.dup2(pipe.replies, 2)
    os.close(pipe.replies)
    os.close(pipe.requests)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file; what it printed counts even if it is killed
    name = header["name"]
    sys.argv[:] = [name]
    script = type(sys)("__main__")
    script.__dict__["__file__"] = name
    sys.modules["__main__"] = script
    exec(compile(source, name, "exec"), script.__dict__)  # noqa: S102 - foreign code, and this is the place built for it
