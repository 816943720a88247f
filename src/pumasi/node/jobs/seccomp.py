"""Which system calls a sandbox may make: two allow-lists, compiled to BPF with the standard library alone.

The first filter goes to bubblewrap and already binds the interpreter's start; the worker installs the second, tighter one
itself, on all of its threads, before it sees any data or foreign code. Whatever is not listed fails with EPERM, so a new call of a
future kernel is refused until somebody lists it. A process of another architecture, or of the x32 calls, is killed. Limits: a
filter sees numbers and pointers, never the text behind a pointer, so files are the mount namespace's business, not this file's.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from pumasi.kernel.errors import Refused

# Name, number on x86-64, number on aarch64 ("-": the call does not exist there). Linux asm/unistd_64.h and asm-generic/unistd.h.
_CALLS = """
    read 0 63, write 1 64, open 2 -, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, poll 7 -, lseek 8 62, mmap 9 222, mprotect 10 226,
    munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, ioctl 16 29, pread64 17 67,
    pwrite64 18 68, readv 19 65, writev 20 66, access 21 -, select 23 -, sched_yield 24 124, mremap 25 216, msync 26 227,
    mincore 27 232, madvise 28 233, dup 32 23, dup2 33 -, nanosleep 35 101, getpid 39 172, clone 56 220, exit 60 93, wait4 61 260,
    uname 63 160, fcntl 72 25, flock 73 32, fsync 74 82, fdatasync 75 83, truncate 76 45, ftruncate 77 46, getdents 78 -,
    getcwd 79 17, chdir 80 49, rename 82 -, mkdir 83 -, rmdir 84 -, unlink 87 -, readlink 89 -, umask 95 166, gettimeofday 96 169,
    getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174, getgid 104 176, geteuid 107 175,
    getegid 108 177, getppid 110 173, sigaltstack 131 132, statfs 137 43, fstatfs 138 44, mlock 149 228, munlock 150 229,
    gettid 186 178, time 201 -, futex 202 98, sched_getaffinity 204 123, getdents64 217 61, restart_syscall 219 128,
    fadvise64 221 223, clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, epoll_wait 232 -,
    epoll_ctl 233 21, tgkill 234 131, mbind 237 235, get_mempolicy 239 236, openat 257 56, mkdirat 258 34, newfstatat 262 79,
    unlinkat 263 35, renameat 264 38, readlinkat 267 78, faccessat 269 48, pselect6 270 72, ppoll 271 73, set_robust_list 273 99,
    epoll_pwait 281 22, fallocate 285 47, eventfd2 290 19, epoll_create1 291 20, dup3 292 24, pipe2 293 59, prlimit64 302 261,
    getcpu 309 168, renameat2 316 276, getrandom 318 278, membarrier 324 283, statx 332 291, rseq 334 293, faccessat2 439 439
"""
# Only until the second filter: the interpreter's own start, its limits, and the second filter itself.
_START = "execve 59 221, arch_prctl 158 -, set_tid_address 218 96, prctl 157 167, setrlimit 160 164, seccomp 317 277, close_range 436 436"
# Only until then, and only where the host's root starts the sandbox: the switch to an unused user.
_SWITCH = "setgroups 116 159, getgroups 115 158, setresuid 117 147, getresuid 118 148, setresgid 119 149, getresgid 120 150, capset 126 91"

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column in the tables, AUDIT_ARCH_*
_CLONE3 = 435  # the same on every architecture
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000  # every CLONE_NEW* flag
_IOCTLS = (0x5401, 0x5450, 0x5451, 0x5421)  # TCGETS, FIONCLEX, FIOCLEX, FIONBIO
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)  # F_DUPFD .. F_SETLKW, F_OFD_*, F_DUPFD_CLOEXEC; no F_SETOWN, F_SETSIG, F_SETPIPE_SZ

_ALLOW, _EPERM, _ENOSYS, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1

_Op = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def first_stage(machine: str, *, switches_user: bool) -> bytes:
    """The filter for `bwrap --seccomp`: what the worker's start needs, and `execve`, once, for the interpreter."""
    calls = _table(machine, _CALLS, _START, _SWITCH if switches_user else "")
    rules = {"clone": _clone(), "ioctl": _one_of(1, _IOCTLS), "fcntl": _one_of(1, _FCNTLS)}
    return _compile(machine, calls, rules)


def second_stage(machine: str, *, pid: int) -> bytes:
    """The filter under which data and foreign code run: no new program, no changed limit or user, signals to its own process `pid` only."""
    calls = _table(machine, _CALLS)
    rules = {
        "clone": _clone(),
        "ioctl": _one_of(1, _IOCTLS),
        "fcntl": _one_of(1, _FCNTLS),
        "tgkill": _one_of(0, (pid,)),
        "prlimit64": _own_limits_read(),
    }
    return _compile(machine, calls, rules)


def install(program: bytes, *, machine: str) -> None:
    """Bind every thread of this process to `program`, for good. `OSError` if the kernel does not; then nothing may go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)))  # struct sock_fprog
    number = _table(machine, _START)["seccomp"]
    result = libc.syscall(
        ctypes.c_long(number), ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC), header
    )
    if result != 0:
        raise OSError(ctypes.get_errno(), "the second system call filter could not be installed")


def drop_capabilities() -> None:
    """Give up every capability, the inheritable ones included, which a switch of user leaves behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    version_3, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # capset(2)
    if libc.capset(version_3, nothing) != 0:
        raise OSError(ctypes.get_errno(), "the sandbox could not give up its capabilities")


def _table(machine: str, *listings: str) -> dict[str, int]:
    if machine not in _ARCHITECTURES:
        raise Refused(f"This processor ({machine}) has no list of permitted system calls, so no job runs here; use x86-64 or aarch64.")
    column = _ARCHITECTURES[machine][0]
    rows = [row.split() for listing in listings for row in listing.split(",") if row.strip()]
    return {name: int(numbers[column]) for name, *numbers in rows if numbers[column] != "-"}


def _compile(machine: str, calls: dict[str, int], rules: dict[str, list[_Op]]) -> bytes:
    """Check the architecture, answer clone3, then one block per call; the last word is EPERM. A rule decides its call alone."""
    program: list[_Op] = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine][1]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":
        program += [(_JUMP_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    # ENOSYS, so that the C library falls back to clone, whose flags a filter can read.
    program += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    for name, number in calls.items():
        block = rules.get(name, [(_RETURN, 0, 0, _ALLOW)])
        program += [(_JUMP_EQUAL, 0, len(block), number), *block]
    program.append((_RETURN, 0, 0, _EPERM))
    return b"".join(struct.pack("=HBBI", *op) for op in program)


def _low(argument: int) -> _Op:
    return (_LOAD, 0, 0, 16 + 8 * argument)


def _high(argument: int) -> _Op:
    return (_LOAD, 0, 0, 20 + 8 * argument)


def _one_of(argument: int, values: Iterable[int]) -> list[_Op]:
    """Allow the call if the argument's 32 bits equal one of the values; for arguments that the kernel itself reads as 32 bits."""
    wanted = tuple(values)
    tests = [(_JUMP_EQUAL, len(wanted) - place, 0, value) for place, value in enumerate(wanted)]
    return [_low(argument), *tests, (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _clone() -> list[_Op]:
    """A thread of the same process, in no new namespace."""
    return [
        _low(0),
        (_JUMP_ANY_BIT, 2, 0, _CLONE_NEW),
        (_JUMP_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _own_limits_read() -> list[_Op]:
    """prlimit64(0, resource, NULL, old): reading one's own limit; a new limit or another process is refused."""
    return [
        _low(0),
        (_JUMP_EQUAL, 0, 5, 0),
        _low(2),
        (_JUMP_EQUAL, 0, 3, 0),
        _high(2),
        (_JUMP_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def machine() -> str:
    """The processor whose calls this process makes, as the kernel names it."""
    return os.uname().machine
