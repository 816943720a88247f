"""The synthetic people of a demo. Each acts from a folder with a key of its own, through the same functions as `pumasi vote` and the rest.

They approve what a board of a demo would approve. Real boards decide; never run this beside real data.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumasi.client import board
from pumasi.client.home import Home
from pumasi.kernel.errors import NotFound, PumasiError
from pumasi.node.airlock.held import held
from pumasi.store.db import open_db

ROLES = {
    "drb-1": ["drb"],
    "drb-2": ["drb"],
    "drb-3": ["drb"],
    "irb": ["irb"],
    "steward": ["steward"],
    "checker-1": ["checker"],
    "checker-2": ["checker"],
}
PAUSE, WAIT = 0.1, 20.0  # seconds between two looks, and of one wait for the log to grow


@dataclass
class Staff:
    """The people of one hospital, and the folder of its node, where checkers read outputs."""

    people: list[Home]
    node: Path

    def act(self) -> int:
        """Everything that waits for these people; how many decisions it was."""
        return sum(self._decide(person, item) for person in self.people for item in board.inbox(person))

    def _decide(self, person: Home, item: dict[str, Any]) -> int:
        case = item["case"]
        match item["do"], item.get("board"):
            case "vote", "irb":
                board.decide(person, case, decision="approved", reason="no more than minimal risk")
            case "vote", _:
                board.vote(person, case, decision="approve", reason="the columns fit the question")
            case "sign", _:
                board.sign(person, case)
            case "review", _:
                return self._review(person, item)
        return 1

    def _review(self, person: Home, item: dict[str, Any]) -> int:
        try:
            output = held(open_db(self.node / "node.db"), item["case"], item["job"])
        except NotFound:
            return 0  # the node has not stored it yet
        board.review(person, item["case"], item["job"], output=output.digest, decision="approve", reason="no small cell")
        return 1


def work(staffs: list[Staff], stop: threading.Event) -> None:
    """Look after all inboxes until `stop`; every hospital's staff works by itself."""
    size = -1
    watcher = staffs[0].people[0]
    with ThreadPoolExecutor(max_workers=4) as pool:
        while not stop.is_set():
            try:
                now = watcher.channel.get(f"/?size={size}&wait={WAIT}", wait=WAIT).json()["size"]
                done = sum(pool.map(_try, staffs)) if now != size else 0
            except PumasiError:
                done, now = 0, -1  # the hub is away; it comes back
            size = now if done == 0 else -1
            stop.wait(PAUSE)


def _try(staff: Staff) -> int:
    try:
        return staff.act()
    except PumasiError:
        return 1  # somebody else was faster, or the state has moved on: look again
