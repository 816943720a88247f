"""Whose turn it is in a case, read off its state: people may take weeks, a node that is up takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pumasi.kernel.errors import PumasiError

SILENT = 60  # seconds after which a node that says nothing counts as down


@dataclass(frozen=True)
class Turn:
    """The nodes and the people that a case waits for, in words for the researcher."""

    nodes: dict[str, str]  # hospital -> what its node is to do
    people: list[str]

    def sentence(self) -> str:
        waited = [*self.people, *(f"the node of {hospital} ({what})" for hospital, what in self.nodes.items())]
        return f"waiting for {'; '.join(waited)}" if waited else "waiting for the hub"


NODE = {"authorised": "to sign the permit", "in force": "to open the workspace", "ended": "to destroy the workspace"}


def turn(view: dict[str, Any]) -> Turn:
    """Whom the case in this state waits for."""
    nodes: dict[str, str] = {}
    people: list[str] = []
    for hospital, here in view["hospitals"].items():
        if here["state"] in NODE:
            nodes[hospital] = NODE[here["state"]]
        elif here["state"] == "in review":
            people += _boards(hospital, here)
    for job in view["jobs"].values():
        if any(here["state"] == "failed" for here in job.values()):
            continue
        for hospital, here in job.items():
            if here["state"] == "running":
                nodes[hospital] = "to compute"
            elif here["state"] == "under review" and here["decision"] is None:
                people.append(f"the output checkers of {hospital}")
            elif here["state"] == "under review" and here["decision"] == "approve":
                nodes[hospital] = "to release"
    return Turn(nodes, people)


def _boards(hospital: str, here: dict[str, Any]) -> list[str]:
    if here["drb"] == "approve" and here["irb"] in ("approved", "exempt"):
        return [f"the data steward of {hospital}"]
    boards = [("data review board", here["drb"]), ("ethics board", here["irb"])]
    return [f"the {board} of {hospital}" for board, decision in boards if decision is None]


def check_alive(view: dict[str, Any]) -> None:
    """`PumasiError` that names every node which is to do something and has been silent for a minute."""
    silent = [hospital for hospital in turn(view).nodes if view["silent"].get(hospital, 0) > SILENT]
    if silent:
        raise PumasiError(
            *(
                f"the node of {hospital} has not been heard of for over {SILENT} s; start it, then run the study again"
                for hospital in silent
            )
        )
