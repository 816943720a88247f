"""Whose turn it is follows from the state alone, and only a node can be down."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.client import waiting
from pumasi.kernel.errors import PumasiError


def hospital(state: str, *, drb: str | None = None, irb: str | None = None) -> dict[str, Any]:
    return {"state": state, "drb": drb, "irb": irb}


def job(state: str, decision: str | None = None) -> dict[str, Any]:
    return {"state": state, "decision": decision}


def view(hospitals: dict[str, Any], jobs: dict[str, Any] | None = None, **silent: int) -> dict[str, Any]:
    return {"hospitals": hospitals, "jobs": jobs or {}, "silent": silent}


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (hospital("in review"), "waiting for the data review board of h; the ethics board of h"),
        (hospital("in review", drb="approve"), "waiting for the ethics board of h"),
        (hospital("in review", irb="exempt"), "waiting for the data review board of h"),
        (hospital("in review", drb="approve", irb="approved"), "waiting for the data steward of h"),
        (hospital("authorised"), "waiting for the node of h (to sign the permit)"),
        (hospital("in force"), "waiting for the node of h (to open the workspace)"),
        (hospital("ended"), "waiting for the node of h (to destroy the workspace)"),
        (hospital("open"), "waiting for the hub"),
    ],
)
def test_before_and_after_the_jobs(here: dict[str, Any], expected: str) -> None:
    assert waiting.turn(view({"h": here})).sentence() == expected


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (job("running"), "waiting for the node of h (to compute)"),
        (job("under review"), "waiting for the output checkers of h"),
        (job("under review", "approve"), "waiting for the node of h (to release)"),
        (job("under review", "reject"), "waiting for the hub"),
        (job("released", "approve"), "waiting for the hub"),
    ],
)
def test_during_a_job(there: dict[str, Any], expected: str) -> None:
    assert waiting.turn(view({"h": hospital("open")}, {"j": {"h": there}})).sentence() == expected


def test_a_failed_job_waits_for_nobody() -> None:
    jobs = {"j": {"h": job("running"), "i": job("failed")}}
    assert waiting.turn(view({"h": hospital("open"), "i": hospital("open")}, jobs)).nodes == {}


def test_a_silent_node_counts_as_down_only_when_it_is_its_turn() -> None:
    hospitals = {"h": hospital("in force"), "i": hospital("open"), "k": hospital("in review")}
    waiting.check_alive(view(hospitals, h=5, i=900, k=900))
    with pytest.raises(PumasiError, match="the node of h has not been heard of"):
        waiting.check_alive(view(hospitals, h=61, i=900, k=900))
