"""kill -9 of a hub and its nodes at random moments, also in the middle of cosigning; `./run bench torture` kills five hundred."""

from __future__ import annotations

from pathlib import Path

from tests.torture.siege import lay_siege


def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path: Path) -> None:
    outcome = lay_siege(tmp_path, kills=16, acknowledged=11, seed=20260302)
    assert outcome.kills.total() >= 16
    assert outcome.acknowledged > 10 and outcome.recorded > 3 and outcome.finals >= 1
