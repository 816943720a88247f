"""What one organisation was answered counts in its next project, when the first is long closed and its workspaces destroyed."""

from __future__ import annotations

import re

from tests.story import studies
from tests.story.harness import Kept

STUDY = """\
title = "{title}"
purpose = "statistics"
smallest_cell = 10
[tables.patients]
person = "patient_no"
[tables.patients.columns]
age = {{ is = "quasi" }}
aspirin = {{ is = "plain" }}

[[analysis]]
name = "{title}"
kind = "{kind}"
table = "patients"
columns = ["aspirin"]
{where}
"""


def ask(kept: Kept, title: str, where: str = "", kind: str = "describe") -> list[str]:
    """The reasons why it was refused."""
    condition = f'where = "{where}"' if where else ""
    run = kept.study(STUDY.format(title=title, where=condition, kind=kind), title)
    assert run.end() in (0, 3), run.said
    return [reason for refusal in run.outcome()["refusals"] for reason in refusal["reasons"]]


def test_a_second_project_may_not_leave_out_a_few(kept: Kept) -> None:
    ages = studies.pooled(kept.folder / "data").age.dropna().sort_values()
    age = ages.iloc[3]
    assert 0 < (ages < age).sum() < 10  # so few are younger
    assert ask(kept, "everybody") == []
    reasons = ask(kept, "all-but-a-few", f"age >= {age} or age is null")
    assert any("together with what was asked before" in reason for reason in reasons)
    assert not any(letter.isdigit() for reason in reasons for letter in re.sub(r"\('.*?'\)", "", reason))
    assert ask(kept, "clearly-fewer", "age > 70") == []
    traces = [note for name in kept.nodes for note in kept.home(name).rglob("*.compared*")]
    assert traces == []
