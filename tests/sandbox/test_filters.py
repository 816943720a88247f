"""The two filters, read by a small interpreter of BPF: every call on every architecture, without needing the machine."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from pumasi.kernel.errors import Refused
from pumasi.node.jobs import seccomp

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {"x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "aarch64": Path("/usr/include/asm-generic/unistd.h")}
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
LISTED = {
    name: dict(zip(ARCHITECTURES, numbers, strict=True))
    for listing in (seccomp._CALLS, seccomp._START, seccomp._SWITCH)
    for name, *numbers in (row.split() for row in listing.split(",") if row.strip())
}


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel would answer (Linux, networking/filter.rst); fails on a jump out of the program, as the kernel would."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, ARCHITECTURES[machine], 0, *(word % 2**64 for word in words))
    operations = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        code, yes, no, constant = operations[at]
        at += 1
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        else:
            holds = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}[code]
            at += yes if holds else no


@pytest.fixture(params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number(machine: str, name: str) -> int:
    return int(LISTED[name][machine])


def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed (apt-get install linux-libc-dev)")
    text = HEADERS[machine].read_text()
    known = {name: int(value) for name, value in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    known["newfstatat"] = known.get("newfstatat", known.get("fstatat", -1))  # one call, two names
    assert {name: int(numbers[machine]) for name, numbers in LISTED.items() if numbers[machine] != "-"} == {
        name: known[name] for name, numbers in LISTED.items() if numbers[machine] != "-"
    }
    assert [name for name, numbers in LISTED.items() if numbers[machine] == "-" and name in known] == []


def test_every_number_gets_the_answer_of_the_list(machine: str) -> None:
    judged = {"clone", "ioctl", "fcntl", "tgkill", "prlimit64"}
    always = {row.split()[0] for row in seccomp._CALLS.split(",")} - judged
    start = {row.split()[0] for row in seccomp._START.split(",")}
    switch = {row.split()[0] for row in seccomp._SWITCH.split(",")}
    stages = [
        (seccomp.first_stage(machine, switches_user=False), always | start | {"tgkill", "prlimit64"}),
        (seccomp.first_stage(machine, switches_user=True), always | start | switch | {"tgkill", "prlimit64"}),
        (seccomp.second_stage(machine, pid=2), always),
    ]
    skipped = {number(machine, name) for name in judged} | {435}
    for program, names in stages:
        allowed = {number(machine, name) for name in names if LISTED[name][machine] != "-"}
        got = {one for one in range(600) if one not in skipped and verdict(program, machine, one) == ALLOW}
        assert got == allowed - skipped
        assert {verdict(program, machine, one) for one in range(600) if one not in allowed | skipped} == {EPERM}


@pytest.mark.parametrize("stage", ["first", "second"])
def test_the_rules_on_arguments(machine: str, stage: str) -> None:
    program = seccomp.first_stage(machine, switches_user=True) if stage == "first" else seccomp.second_stage(machine, pid=2)

    def answer(name: str, *arguments: int) -> int:
        return verdict(program, machine, number(machine, name), *arguments)

    threads = 0x003D0F00  # the flags of pthread_create
    assert answer("clone", threads) == ALLOW
    assert [answer("clone", flags) for flags in (17, 0, 0x10000000 | 17, threads | 0x40000000, threads | 0x10000000)] == [EPERM] * 5
    assert verdict(program, machine, 435, threads) == ENOSYS
    assert [answer("ioctl", 1, request) for request in (0x5401, 0x5451, 0x5450, 0x5421)] == [ALLOW] * 4
    assert [answer("ioctl", 0, request) for request in (0x5412, 0x541C, 0x5413, 0, 2**32 - 1)] == [EPERM] * 5  # TIOCSTI, TIOCLINUX, ...
    assert [answer("fcntl", 1, command) for command in (0, 1, 2, 3, 4, 1030)] == [ALLOW] * 6
    assert [answer("fcntl", 1, command) for command in (8, 10, 15, 1026, 1031, 1033)] == [EPERM] * 6


def test_in_the_second_stage_signals_and_limits_are_its_own_only(machine: str) -> None:
    program = seccomp.second_stage(machine, pid=2)
    tgkill, prlimit = number(machine, "tgkill"), number(machine, "prlimit64")
    assert verdict(program, machine, tgkill, 2, 5, 10) == ALLOW
    assert [verdict(program, machine, tgkill, pid, 1, 9) for pid in (0, 1, 3, 2**32 - 1)] == [EPERM] * 4
    assert verdict(program, machine, prlimit, 0, 7, 0, 0x7FFF0000) == ALLOW
    assert [verdict(program, machine, prlimit, *arguments) for arguments in ((1, 7, 0, 1), (0, 7, 1, 0), (0, 7, 1 << 32, 0))] == [EPERM] * 3


def test_another_architecture_or_interface_is_killed(machine: str) -> None:
    other = next(name for name in ARCHITECTURES if name != machine)
    for program in (seccomp.first_stage(machine, switches_user=False), seccomp.second_stage(machine, pid=2)):
        assert {verdict(program, other, one) for one in range(600)} == {KILL}
        x32 = verdict(program, machine, 0x40000000 + 39)
        assert x32 == (KILL if machine == "x86_64" else EPERM)


def test_an_unknown_processor_is_refused() -> None:
    with pytest.raises(Refused, match=r"\(riscv64\) has no list of permitted system calls"):
        seccomp.first_stage("riscv64", switches_user=False)
