"""What bubblewrap is told: which few files of the host a worker sees, read-only, and that it sees nothing else.

Everything lies at neutral places (/opt/python, /opt/site, /opt/pumasi), so a worker learns neither where its node lives nor who runs it.
There is no /proc: opened by the host's root it would hand out /proc/sys/kernel/core_pattern, a way out, and it leaks the host's paths.
Two modes: an ordinary user gets a user namespace; the host's root gets none and names an unused user for the worker to become,
because RLIMIT_NPROC does not bind uid 0.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

import pumasi
from pumasi.kernel.errors import Refused

SCRATCH_BYTES = 64 << 20  # the worker's /tmp, in memory
PYTHON = "/opt/python/bin/python3"
ENTRY = "import sys; sys.path[:0] = ['/opt/pumasi', '/opt/site']; from pumasi.node.jobs.worker import main; main()"
INSTALL = (
    "Install bubblewrap 0.8 or newer (apt-get install bubblewrap) on a system that permits it to make namespaces; without it no job runs."
)
# What of pumasi a worker sees; all of it needs the standard library and numpy alone.
_OURS = (
    "__init__.py",
    "kernel/__init__.py",
    "kernel/errors.py",
    "node/__init__.py",
    "node/jobs/__init__.py",
    "node/jobs/frames.py",
    "node/jobs/seccomp.py",
    "node/jobs/worker.py",
    "analysis",
)
_LOADERS = ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")

_Bind = tuple[Path, str]  # what on the host, where in the sandbox


def bubblewrap() -> str:
    """The program's path. `Refused` where there is none: no weaker sandbox takes its place."""
    found = shutil.which("bwrap")
    if found is None:
        raise Refused(f"This machine has no bubblewrap (bwrap), so it has no sandbox. {INSTALL}")
    return found


def unused_user() -> int | None:
    """For the host's root: a uid, also used as gid, that nobody has and that differs from sandbox to sandbox. None for everybody else."""
    if os.geteuid() != 0:
        return None
    ranges = [tuple(int(number) for number in line.split()) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    first, _, count = max(ranges, key=lambda mapped: mapped[2])
    if count < 1 << 16:  # root of a small user namespace only, which can nest another as an ordinary user does
        return None
    low, high = first + count // 4, min(first + count // 4 * 3, 1 << 31)
    while True:
        user = low + secrets.randbelow(high - low)
        try:
            pwd.getpwuid(user)
        except KeyError:
            return user


def arguments(*, user: int | None, seccomp: int) -> list[str]:
    """Bubblewrap's options; `user` as from `unused_user`, `seccomp` the descriptor that holds the first filter."""
    binds = [*_system(), *_interpreter(), *_packages()]
    folders = sorted({str(parent) for _, where in [*binds, (Path(), "/dev/null")] for parent in PurePosixPath(where).parents} - {"/"})
    if user is None:
        namespaces = ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]
        scratch = "0700"
    else:  # a user namespace would be --unshare-all's choice, so the others are named; the two capabilities go with the switch
        namespaces = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        namespaces += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        scratch = "1777"
    return [
        *namespaces,
        *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
        *(word for folder in folders for word in ("--perms", "0755", "--dir", folder)),  # implicit parents would be closed to the worker
        *(word for name in ("lib", "lib64") if Path("/", name).is_symlink() for word in ("--symlink", f"usr/{name}", f"/{name}")),
        *(word for source, where in binds for word in ("--ro-bind", str(source), where)),
        *(word for folder in _masked() for word in ("--perms", "0755", "--size", "4096", "--tmpfs", folder, "--remount-ro", folder)),
        *("--perms", scratch, "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"),
        *("--dev-bind", "/dev/null", "/dev/null", "--remount-ro", "/", "--chdir", "/tmp"),
        *(word for name, value in _environment().items() for word in ("--setenv", name, value)),
        *("--seccomp", str(seccomp)),
    ]


def _system() -> Iterator[_Bind]:
    """The C library and its like: Debian's folder for this architecture, elsewhere the library folders as a whole."""
    ours = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "-")
    if not ours.is_dir():
        yield from ((folder, str(folder)) for folder in (Path("/usr/lib"), Path("/usr/lib64")) if folder.is_dir())
        return
    yield ours, str(ours)
    yield from ((path, str(path)) for name in _LOADERS for path in (Path("/usr/lib", name), Path("/usr/lib64", name)) if path.exists())
    if not _numpy_libraries().is_dir() and Path("/etc/alternatives").is_dir():
        yield Path("/etc/alternatives"), "/etc/alternatives"  # Debian's own numpy finds its BLAS through it


def _interpreter() -> Iterator[_Bind]:
    """The real interpreter behind a virtual environment, with its standard library; `_masked` hides the packages installed into it."""
    yield Path(os.path.realpath(sys.executable)), PYTHON
    yield Path(sysconfig.get_path("stdlib")), _standard_library()
    library = _shared_interpreter()
    if library is not None:
        yield library, f"/opt/python/lib/{library.name}"


def _packages() -> Iterator[_Bind]:
    yield Path(np.__file__).parent, "/opt/site/numpy"
    if _numpy_libraries().is_dir():
        yield _numpy_libraries(), "/opt/site/numpy.libs"
    root = Path(pumasi.__file__).parent
    for part in _OURS:
        source, where = root / part, PurePosixPath("/opt/pumasi/pumasi", part)
        yield source, str(where)
        if source.suffix == ".py" and (cached := Path(importlib.util.cache_from_source(str(source)))).exists():
            yield cached, str(where.parent / "__pycache__" / cached.name)


def _standard_library() -> str:
    return str(PurePosixPath("/opt/python", Path(sysconfig.get_path("stdlib")).relative_to(sys.base_prefix)))


def _shared_interpreter() -> Path | None:
    """libpython, where the interpreter is only a shell around it."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    folders = (Path(sys.base_prefix, "lib"), Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib"))
    return next((path for folder in folders if (path := folder / sysconfig.get_config_var("INSTSONAME")).exists()), None)


def _numpy_libraries() -> Path:
    return Path(np.__file__).parent.with_name("numpy.libs")


def _masked() -> list[str]:
    host = Path(sysconfig.get_path("stdlib"))
    return [f"{_standard_library()}/{name}" for name in ("site-packages", "dist-packages") if (host / name).is_dir()]


def _environment() -> dict[str, str]:
    """What the interpreter's start needs; the worker clears it before it serves. One thread, as several workers share the processors."""
    threads = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return threads if _shared_interpreter() is None else {**threads, "LD_LIBRARY_PATH": "/opt/python/lib"}
