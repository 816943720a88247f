"""Attacks by asking one thing of several sets of hospitals, large and far from each other; nodes remember what they took part in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pumasi.node.remembered import Earlier
from tests.joint_jobs import Joint, results
from tests.unit.test_attacks_on_analyses import AGREED, ALL_BUT_THE_VICTIM, hospitals

SIX = [f"병원 {number}" for number in range(6)]
COST = {"kind": "describe", "columns": ["cost"]}


@dataclass
class Organisation:
    """Asks jobs of any of six hospitals, whose permits are content with three."""

    folder: Path
    tables: dict[str, pd.DataFrame]
    memories: dict[str, list[Earlier]] = field(default_factory=lambda: {name: [] for name in SIX})
    jobs: int = 0

    def ask(self, names: list[str], **question: Any) -> dict[str, Any]:
        self.jobs += 1
        joint = Joint(
            self.folder, {name: self.tables[name] for name in names}, [{"name": f"q{self.jobs}", "table": "patients", **question}],
            agreed=AGREED, hospitals_at_least=3, number=str(self.jobs), memories={name: list(self.memories[name]) for name in names},
        )  # fmt: skip
        sealed = joint.sealed()
        for name, one in sealed.items():
            self.memories[name] += one.asked
        return results(sealed[joint.lead])[0]


@pytest.fixture
def organisation(tmp_path: Path) -> Organisation:
    people = pd.concat(hospitals().values(), ignore_index=True)
    return Organisation(tmp_path, {name: people.iloc[at :: len(SIX)].reset_index(drop=True) for at, name in enumerate(SIX)})


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1]])
def test_all_hospitals_less_one_half_less_the_other_without_the_victim(organisation: Organisation, order: list[int]) -> None:
    """Each two sets differ by three hospitals, and no two groups at the same hospitals by few: together they are the victim's cost."""
    asked = [(SIX, {}), (SIX[:3], {"where": ALL_BUT_THE_VICTIM}), (SIX[3:], {})]
    found = [organisation.ask(asked[one][0], **COST, **asked[one][1]) for one in order]
    assert any("remembered-hospitals" in one.get("reasons", []) for one in found)


def test_sets_that_can_be_solved_for_one_hospital(organisation: Organisation) -> None:
    """The words of a code of distance three: seven equations for six hospitals, of which one has a single patient."""
    organisation.tables[SIX[0]] = organisation.tables[SIX[0]].iloc[:1]
    words = [(2, 4, 5), (1, 3, 5), (1, 2, 3, 4), (0, 3, 4), (0, 2, 3, 5), (0, 1, 4, 5), (0, 1, 2)]
    found = [organisation.ask([SIX[place] for place in word], **COST) for word in words]
    assert [one.get("reasons") for one in found] == [None] + [["remembered-hospitals"]] * 6


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3]])
def test_two_groups_of_all_hospitals_and_of_one_half(organisation: Organisation, order: list[int]) -> None:
    """All less all but ward c are the victim and twelve people of another hospital, and these are what the half without the victim tells.
    No hospital of that half would refuse by itself, and the victim's is not asked again: it could only have refused the first two."""
    for table in organisation.tables.values():
        table["ward"] = table.ward.replace("c", "b")
    organisation.tables[SIX[0]].loc[0, "ward"] = "c"
    organisation.tables[SIX[3]].loc[:11, "ward"] = "c"
    less = {"where": "ward in ('a', 'b')"}
    asked = [(SIX, {}), (SIX, less), (SIX[3:], {}), (SIX[3:], less)]
    found = [organisation.ask(asked[one][0], **COST, **asked[one][1]) for one in order]
    assert any("refused" in one for one in found)


def test_hospitals_that_have_none_in_common_and_other_columns_are_answered(organisation: Organisation) -> None:
    """What stays possible: two studies of different hospitals, and another column of some of them."""
    found = [organisation.ask(SIX[:3], **COST), organisation.ask(SIX[3:], **COST), organisation.ask(SIX, kind="describe", columns=["age"])]
    assert not any("refused" in one for one in found)
