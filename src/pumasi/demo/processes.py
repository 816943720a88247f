"""The processes of a demo: each started with a public command, each in its own folder, all ended together."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumasi.kernel.errors import PumasiError


def free_port() -> int:
    """Below the ports that systems give to connections going out: one of those would take it while its process is started again."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Started:
    """One process and how to start it again."""

    name: str
    command: list[str]
    home: Path
    address: str | None
    process: subprocess.Popen[bytes]

    def row(self) -> dict[str, Any]:
        return {"name": self.name, "pid": self.process.pid, "address": self.address, "home": str(self.home), "command": self.command}


@dataclass
class Fleet:
    """What the demo has started."""

    started: list[Started] = field(default_factory=list)

    def start(self, name: str, *arguments: str, home: Path, address: str | None = None) -> None:
        command = [sys.executable, "-m", "pumasi.cli", *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with (home / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self.started.append(Started(name, command, home, address, process))

    def check(self) -> None:
        """`PumasiError` when a process ended by itself, with what it said."""
        for one in self.started:
            if one.process.poll() is not None:
                said = (one.home / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise PumasiError(
                    f"the process of {one.name} ended by itself ({one.process.returncode}): {said[-1] if said else 'it said nothing'}"
                )

    def stop(self) -> None:
        """Ask all to end, then make them."""
        for one in reversed(self.started):
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 4
        for one in self.started:
            try:
                one.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
