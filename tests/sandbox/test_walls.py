"""What a job may try, and what each attempt gets; every row runs in both ways of launching a sandbox."""

from __future__ import annotations

from typing import Any

import pytest

REFUSED_BY_THE_FILTER = [
    *("tcp", "udp", "unix socket", "abstract unix socket pair", "netlink"),
    *("mount", "umount2", "pivot_root", "chroot", "fsopen", "open_tree", "move_mount", "unshare user", "unshare mount", "setns"),
    *("clone with a new user namespace", "clone of a process", "clone of a thread in a new network", "fork", "execve", "execveat"),
    *("setuid", "setresuid", "setgroups", "capset", "prctl", "seccomp", "personality", "sethostname", "reboot", "init_module", "bpf"),
    *("ptrace of pid 1", "ptrace of itself", "process_vm_readv", "pidfd_open", "pidfd_getfd", "kcmp"),
    *("kill of pid 1", "kill of everything", "kill of the host's process", "tkill", "tgkill of pid 1", "tgkill of the host's process"),
    *("rt_sigqueueinfo", "another process's limits", "a new limit"),
    *("keyctl", "add_key", "userfaultfd", "io_uring_setup", "perf_event_open", "memfd_create", "shmget", "msgget", "inotify_init1"),
    *("open_by_handle_at", "owner of a pipe's signals", "a larger pipe", "TIOCSTI on 0", "TIOCSTI on 1", "TIOCSTI on 2", "TIOCLINUX"),
    *("symbolic link in /tmp", "hard link in /tmp", "device in /tmp", "set-user-id file in /tmp"),
]
OTHER_OUTCOMES: list[tuple[str, object]] = [
    ("clone3", "ENOSYS"),  # so that the C library takes clone, whose flags are checked
    ("raising a limit", "ValueError"),  # Python's word for EPERM here
    ("lowering a limit", "ValueError"),
    ("name lookup", "gaierror"),
    ("list /", ["dev", "lib", "lib64", "opt", "tmp", "usr"]),
    ("list /dev", ["null"]),
    ("list /opt", ["pumasi", "python", "site"]),
    ("list /opt/site", ["numpy", "numpy.libs"]),
    ("packages installed into the interpreter", []),
    ("paths of the host", []),
    ("write /tmp/x", None),
    ("folders to write in", ["/tmp"]),  # there is no output folder, so no link in one either
    ("environment", {}),
    ("environment of the C library", None),
    ("host name", "sandbox"),
    ("own pid", 2),
    ("is root", False),
    ("open descriptors", [0, 1, 2]),
    ("a byte of the node's requests", 0),
    ("signal to itself", "works"),
    *((f"import {name}", "ModuleNotFoundError") for name in ("pydantic", "cryptography", "duckdb", "pip", "pumasi.hub", "pumasi.store")),
    ("import pumasi.node.sources", "ModuleNotFoundError"),
    ("limits", {"AS": 512 << 20, "NPROC": 8, "FSIZE": 4 << 20, "CORE": 0, "CPU": 6}),
]


@pytest.mark.parametrize("name", REFUSED_BY_THE_FILTER)
def test_a_forbidden_call_fails_with_eperm(attempts: dict[str, Any], name: str) -> None:
    assert attempts[name] == "EPERM"


@pytest.mark.parametrize(("name", "expected"), OTHER_OUTCOMES, ids=lambda value: value if isinstance(value, str) else "")
def test_an_attempt_gets_exactly_this(attempts: dict[str, Any], name: str, expected: object) -> None:
    assert attempts[name] == expected


def test_no_file_of_the_host_exists_inside(attempts: dict[str, Any], outside: dict[str, Any]) -> None:
    tried = [f"read {path}" for path in outside["files"]] + [f"list {path}" for path in outside["folders"]]
    assert {name: attempts[name] for name in tried if attempts[name] != "ENOENT"} == {}


def test_nothing_but_scratch_can_be_written(attempts: dict[str, Any]) -> None:
    tried = {name: got for name, got in attempts.items() if name.startswith("write ") and name != "write /tmp/x"}
    assert len(tried) == 7
    assert {name: got for name, got in tried.items() if got not in ("EROFS", "EACCES")} == {}


def test_every_attempt_is_expected_somewhere_here(attempts: dict[str, Any]) -> None:
    named = {*REFUSED_BY_THE_FILTER, *(name for name, _ in OTHER_OUTCOMES)}
    assert [name for name in attempts if name not in named and not name.startswith(("read ", "list ", "write "))] == []
    assert [name for name in named if name not in attempts] == []


def test_the_host_saw_no_connection(attempts: dict[str, Any], outside: dict[str, Any]) -> None:
    assert attempts["tcp"] == "EPERM"
    with pytest.raises(BlockingIOError):
        outside["listener"].accept()


def test_a_fork_bomb_makes_no_process(reports: dict[str, Any]) -> None:
    assert reports["forks"]["output"] == "0\n"


def test_a_thread_bomb_stops_at_the_limit(reports: dict[str, Any]) -> None:
    assert 1 <= int(reports["threads"]["output"]) < 8


def test_a_memory_bomb_stops_at_the_limit(reports: dict[str, Any]) -> None:
    assert reports["memory"]["ending"] == "exit"
    assert 64 <= int(reports["memory"]["output"]) < 512


def test_scratch_space_is_capped_per_file_and_in_all(reports: dict[str, Any]) -> None:
    first, second = (line.split() for line in reports["scratch"]["output"].splitlines())
    assert first == [str(4 << 20), "EFBIG"]
    assert second[1] == "ENOSPC" and int(second[0]) <= 64 << 20


def test_a_flood_of_output_is_cut_and_ended(reports: dict[str, Any]) -> None:
    flood = reports["flood"]
    assert (flood["ending"], len(flood["output"])) == ("output", 1 << 20)
    assert "The script wrote more than its 1 MiB of output and was ended." in flood["text"]


def test_processor_time_ends_a_script(reports: dict[str, Any]) -> None:
    assert reports["burn"]["ending"] == "cpu"
    assert "used up its 1 s of processor time" in reports["burn"]["text"]


def test_a_script_that_ignores_the_warning_is_killed(reports: dict[str, Any]) -> None:
    assert (reports["stubborn"]["ending"], reports["stubborn"]["number"]) == ("signal", 9)


def test_wall_time_ends_a_script_that_waits(reports: dict[str, Any]) -> None:
    idle = reports["idle"]
    assert (idle["ending"], idle["output"]) == ("wall", "waiting\n")
    assert idle["seconds"] < 5


def test_a_call_of_another_interface_kills(reports: dict[str, Any]) -> None:
    assert (reports["other_calls"]["ending"], reports["other_calls"]["number"]) == ("signal", 31)


def test_a_report_reads_as_text(reports: dict[str, Any]) -> None:
    text = reports["forks"]["text"]
    assert text.startswith("What the script printed:\n  0\n\nHow it ended:\n  The script ended by itself with exit status 0.")
    assert "memory: 512 MiB of address space" in text
