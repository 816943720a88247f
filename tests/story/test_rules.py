"""Data stewards name rule files; from then on studies get their tables as those leave them, coarser if they like, and never more."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.story import harness, studies
from tests.story.harness import Kept

RULES = """\
title = "what this hospital shows"
extends = "kr-pseudonym"
[columns]
patient_no = { do = "pseudonym", of = "person" }
birth_date = { do = "date", to = "year" }
admitted = "shift"
age = [{ do = "limit", low = 50 }, { do = "age", width = 10, top = 80 }]  # so that no band is rare
sex = "keep"
aspirin = "keep"
conscious = { do = "generalise", by = "awake.csv", level = 1 }
death14 = "drop"
"""
AWAKE = "full;awake;*\ndrowsy;not awake;*\nunconscious;not awake;*\n"

STUDY = """\
title = "{title}"
purpose = "statistics"
smallest_cell = 10
[tables.patients]
person = "patient_no"
[tables.patients.columns]
sex = {{ is = "plain" }}
{columns}

[[analysis]]
name = "ages"
kind = "table"
table = "patients"
by = ["age"]
[[analysis]]
name = "rest"
kind = "describe"
table = "patients"
columns = ["sex"{more}]
"""


def bands(age: pd.Series[Any], width: int) -> dict[str, int]:
    """How many people are in each band: what is below 50 counts as 50, from 80 up is one band."""
    known = age.dropna().clip(lower=50)
    low = (known // width * width).astype(int)
    named = low.astype(str) + "-" + (low + width - 1).astype(str)
    return {str(band): int(count) for band, count in named.mask(known >= 80, "80+").value_counts().items()}


@pytest.fixture(scope="module")
def ruled(fragile: Kept) -> Kept:
    """Every hospital's steward has named rules, described the table again and started the node again."""
    for name in fragile.nodes:
        home = fragile.home(name)
        (home / "ours.toml").write_text(RULES, encoding="utf-8")
        (home / "awake.csv").write_text(AWAKE, encoding="utf-8")
        with (home / "node.toml").open("a", encoding="utf-8") as settings:
            settings.write('rules = "ours.toml"\n')
        fragile.end(name)
        described = fragile.command("node", "describe", "--home", str(home))
        assert described.returncode == 0, described.stderr
        fragile.begin(name)
    entries = b'"type":"DatasetDescribed"'
    harness.wait_until(
        lambda: sum(entries in data for data in fragile.entries("hub")) == 2 * len(fragile.nodes), "the new descriptions never came"
    )
    return fragile


def test_a_table_comes_as_the_rules_leave_it_and_the_proof_says_so(ruled: Kept) -> None:
    columns = 'age = { is = "quasi" }\nbirth_date = { is = "quasi" }\nadmitted = { is = "quasi" }\nconscious = { is = "plain" }'
    run = ruled.study(STUDY.format(title="as shown", columns=columns, more=', "birth_date", "admitted", "conscious"'), "shown")
    assert run.end() == 0, run.said
    outcome = run.outcome()
    people = studies.pooled(ruled.folder / "data")
    ages, rest = outcome["analyses"]
    assert {cell["age"]: cell["n"] for cell in ages["cells"]} == bands(people.age, 10)
    year = pd.to_datetime(people.birth_date).dt.year
    assert abs(rest["columns"]["birth_date"]["mean"] / year.mean() - 1) < 1e-12
    assert "mean" not in rest["columns"]["admitted"]
    assert (
        rest["columns"]["conscious"]["levels"]
        == people.conscious.map({"full": "awake", "drowsy": "not awake", "unconscious": "not awake"}).value_counts().to_dict()
    )
    checked = harness.verify(outcome["bundle"], ruled.system["policy"])
    assert checked.returncode == 0
    assert checked.stdout.count("shows the table 'patients' as the rules 'ours' treat it, or less of it") == len(ruled.nodes)


def test_a_study_may_ask_for_less(ruled: Kept) -> None:
    levels = '"40-59", "60-79", "80+"'
    treat = '[{ do = "limit", low = 50 }, { do = "age", width = 20, top = 80 }]'
    columns = f'age = {{ is = "quasi", treat = {treat}, levels = [{levels}] }}'
    run = ruled.study(STUDY.format(title="coarser", columns=columns, more=""), "coarser")
    assert run.end() == 0, run.said
    cells = {cell["age"]: cell["n"] for cell in run.outcome()["analyses"][0]["cells"]}
    assert cells == bands(studies.pooled(ruled.folder / "data").age, 20)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ('age = { is = "quasi", treat = { do = "age", width = 2, top = 80 } }', "which would show more"),
        ('age = { is = "quasi" }\nadmitted = { is = "quasi", keep = "year" }', "which would show more"),
        ('age = { is = "quasi" }\ndeath14 = { is = "sensitive" }', "no column 'death14' in 'patients' that a study may use"),
        ('age = { is = "quasi", treat = { do = "generalise", by = "/etc/ages.csv", level = 1 } }', "cannot name a file at a hospital"),
    ],
)
def test_and_never_for_more(ruled: Kept, columns: str, told: str) -> None:
    before = len(ruled.entries("hub"))
    run = ruled.study(STUDY.format(title="more", columns=columns, more=""), "more")
    assert run.end() in (2, 3)
    assert told in run.said
    assert len(ruled.entries("hub")) == before
