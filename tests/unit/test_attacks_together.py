"""Attacks of several allowed questions, none of which tells anything next to one other: only all together single the victim out.

The attacker knows everything about the victim but one value, and sees every answer, every refusal and every sentence of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from pumasi.analysis import audit
from tests.joint_jobs import NAMES
from tests.unit.test_attacks_on_analyses import VICTIM, Attacker, hospitals

BELOW, ABOVE = "band = 'young'", "band = 'old'"
DESCRIBE = {"kind": "describe", "columns": ["cost"]}
TABLE = {"kind": "table", "by": ["hiv"]}
GAUSSIAN = {"kind": "glm", "family": "gaussian"}
BINOMIAL = {"kind": "glm", "family": "binomial"}


def changed(change: Callable[[pd.DataFrame], pd.DataFrame], **victim: Any) -> dict[str, pd.DataFrame]:
    """All tables changed; then the victim's values, who is the first row of the first hospital."""
    tables = {name: change(table.copy()) for name, table in hospitals().items()}
    for column, value in victim.items():
        tables[NAMES[0]].loc[0, column] = value
    return tables


def refused(results: Iterable[dict[str, Any]]) -> list[bool]:
    return ["refused" in one for one in results]


@pytest.mark.parametrize(
    "questions",
    [
        [DESCRIBE, {**DESCRIBE, "where": BELOW}, {**DESCRIBE, "where": ABOVE}],
        [{**DESCRIBE, "where": BELOW}, {**DESCRIBE, "where": ABOVE}, {"kind": "table1", "columns": ["cost"], "by": "sex"}],
        [TABLE, {**TABLE, "where": BELOW}, {**TABLE, "where": ABOVE}],
        [{"kind": "table1", "columns": ["hiv"]}, {**TABLE, "where": BELOW}, {**BINOMIAL, "formula": "hiv ~ sex", "where": ABOVE}],
        [{**GAUSSIAN, "formula": "cost ~ 1", "where": where} for where in ("age > 0", BELOW, ABOVE)],
        [{**DESCRIBE, "where": where} for where in ("sex = 'F'", f"sex = 'F' and {BELOW}", f"sex = 'F' and {ABOVE}")],
        [{"kind": "ttest", "column": "cost", "by": "sex"}, *({**DESCRIBE, "where": f"sex = 'F' and {side}"} for side in (BELOW, ABOVE))],
        [{"kind": "table1", "columns": ["hiv"], "by": "ward"}, *({**TABLE, "where": f"ward = 'a' and {side}"} for side in (BELOW, ABOVE))],
        [{**TABLE, "by": ["hiv", "sex"]}, *({**TABLE, "where": f"sex = 'F' and {side}"} for side in (BELOW, ABOVE))],
        [{**DESCRIBE, "where": BELOW}, {**DESCRIBE, "where": ABOVE}, {"kind": "correlation", "columns": ["cost", "age"]}],
        [{"kind": "histogram", "column": "cost", "edges": [0, 1000, 2000, 9000], "where": where} for where in ("age > 0", BELOW, ABOVE)],
    ],
    ids=lambda questions: " - ".join(str(one["kind"]) for one in questions),
)
@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("jobs", ["one job", "three jobs"])
def test_all_less_those_below_less_those_above(attacker: Attacker, questions: list[dict[str, Any]], first: int, jobs: str) -> None:
    """None of the three differs from another by few; all less the two others is the victim."""
    ordered = questions if first == 0 else questions[::-1]
    found = attacker.ask(*ordered) if jobs == "one job" else [attacker.ask(one)[0] for one in ordered]
    assert refused(found) == [False, False, True]


@pytest.fixture
def attacker(tmp_path: Path) -> Attacker:
    return Attacker(tmp_path)


@pytest.mark.parametrize(
    "kind", [DESCRIBE, TABLE, {"kind": "count"}, {**BINOMIAL, "formula": "hiv ~ sex + ward"}], ids=lambda kind: str(kind["kind"])
)
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_all_less_two_groups_that_leave_out_a_few(attacker: Attacker, kind: dict[str, Any], order: list[int]) -> None:
    """Of three people, none of whom has it, each is told that he has it not."""
    ages = np.sort(pd.concat(attacker.tables.values()).age)
    at = int(np.searchsorted(ages, VICTIM["age"]))
    left_out = int(((ages >= ages[at - 1]) & (ages <= ages[at + 2])).sum())
    for table in attacker.tables.values():
        table["band"] = np.select([table.age < ages[at - 1], table.age > ages[at + 2]], ["young", "old"], "that")
    where = ["age > 0", BELOW, ABOVE]
    assert 3 <= left_out < 10
    assert refused(attacker.ask(*({**kind, "where": where[one]} for one in order))) == [False, False, True]


def test_subgroups_of_those_who_have_an_age_are_answered(tmp_path: Path) -> None:
    """Five people lack an age, so that no group of ages has them: everybody less all groups of ages is these five."""
    tables = hospitals()
    for name in NAMES[:3]:
        tables[name].loc[10:11, "age"] = np.nan
    where = ["age < 55", "age >= 55 and age < 65", "age >= 65"]
    found = Attacker(tmp_path, tables).ask(
        DESCRIBE, *({**DESCRIBE, "where": one} for one in where), *({**TABLE, "where": one} for one in where), TABLE,
        *({**BINOMIAL, "formula": "hiv ~ sex", "where": one} for one in where),
    )  # fmt: skip
    assert not any(refused(found))


def test_four_unions_none_of_which_is_near_another(attacker: Attacker) -> None:
    """Inclusion and exclusion over two columns: the victim is what four groups do not account for."""
    where = ["ward = 'a' or sex = 'F'", "ward = 'a' and not (band = 'that')", "sex = 'F'", "ward = 'a' and sex = 'F'"]
    assert refused(attacker.ask(*({**DESCRIBE, "where": one} for one in where))).count(True) == 1


@pytest.mark.parametrize("hiv", [0, 1])
@pytest.mark.parametrize(
    "where",
    [
        ["hiv = 1", "hiv = 1 and not (band = 'that')"],
        ["hiv = 1", f"hiv = 1 and {BELOW}", f"hiv = 1 and {ABOVE}"],
        ["hiv >= 0.5 or age < 40", "(hiv >= 0.5 and not (band = 'that')) or age < 40"],
        ["not (hiv = 0)", "hiv in (1) and band <> 'that'"],
    ],
    ids=len,
)
def test_a_refusal_does_not_tell_the_value(tmp_path: Path, hiv: int, where: list[str]) -> None:
    """With hiv the victim is the difference of two groups, without it nothing is: it is refused either way, with the same words."""
    found = Attacker(tmp_path, changed(lambda table: table, hiv=hiv)).ask(*({"kind": "count", "where": one} for one in where))
    assert [one.get("reasons") for one in found] == [None] * (len(where) - 1) + [["remembered-together"]]


@pytest.mark.parametrize("cost", [VICTIM["cost"], 900.0])
def test_a_refusal_does_not_tell_a_number(tmp_path: Path, cost: float) -> None:
    """Bisection on the victim's own cost, with the refusal as the answer."""
    asked = [{"kind": "count", "where": f"cost > 5000 or ward = 'b'{more}"} for more in ("", " or band = 'that'")]
    found = Attacker(tmp_path, changed(lambda table: table, cost=cost)).ask(*asked)
    assert found[1]["reasons"] == ["remembered-together"]


@pytest.mark.parametrize("hiv", [0, 1])
def test_the_smallest_cell_does_not_tell_the_value(tmp_path: Path, hiv: int) -> None:
    """Nine people with hiv are refused; would the victim be the tenth? Whatever was refused counts as asked."""
    rest = pd.concat(hospitals().values())
    youngest = rest[(rest.hiv == 1) & (rest.age != VICTIM["age"])].age.sort_values().iloc[8]
    few = f"hiv = 1 and age <= {youngest}"
    found = Attacker(tmp_path, changed(lambda table: table, hiv=hiv)).ask(
        {"kind": "count", "where": few}, {"kind": "count", "where": f"{few} or (hiv = 1 and band = 'that')"}
    )
    assert refused(found) == [True, True] and found[1]["reasons"] == ["remembered-together"]


@pytest.mark.parametrize("jobs", ["one job", "two jobs"])
def test_what_was_refused_tells_nothing_of_those_who_lack_a_value(tmp_path: Path, jobs: str) -> None:
    """Only the victim lacks an age. Had the model been answered, describing all would be the victim's cost; but it was refused."""
    where = f"sex = '{VICTIM['sex']}'"
    model = {**GAUSSIAN, "formula": "cost ~ age + sex", "where": where}
    attacker = Attacker(tmp_path, changed(lambda table: table, age=np.nan))
    everybody = {**DESCRIBE, "where": where}
    found = attacker.ask(model, everybody) if jobs == "one job" else [*attacker.ask(model), *attacker.ask(everybody)]
    assert refused(found) == [True, False] and found[0]["reasons"] == ["small-side"]


@pytest.mark.parametrize(
    "questions",
    [
        [DESCRIBE, {**GAUSSIAN, "formula": "cost ~ 1", "weights": "age"}],
        [DESCRIBE, {**GAUSSIAN, "formula": "cost ~ sex", "weights": "age"}],
        [{**BINOMIAL, "formula": "hiv ~ 1", "weights": "age"}, TABLE],
    ],
    ids=lambda questions: " - ".join(str(one["kind"]) for one in questions),
)
def test_a_weight_of_one_person(tmp_path: Path, questions: list[dict[str, Any]]) -> None:
    """Everybody counts once, the victim fifty times: the weighted mean less the mean is the victim's value."""
    attacker = Attacker(tmp_path, changed(lambda table: table.assign(age=1.0), age=50.0))
    assert refused(attacker.ask(*questions)) == [False, True]


@pytest.mark.parametrize(
    "questions",
    [
        [{**GAUSSIAN, "formula": "cost ~ age"}, {**DESCRIBE, "where": "age > 0.5"}],
        [{"kind": "correlation", "columns": ["cost", "age"]}, {**DESCRIBE, "where": "age > 0.5"}, DESCRIBE],
        [{**DESCRIBE, "where": "age > 0.5"}, {**BINOMIAL, "formula": "hiv ~ sex + age"}, {**TABLE, "where": "age > 0.5"}, TABLE],
    ],
    ids=lambda questions: " - ".join(str(one["kind"]) for one in questions),
)
def test_a_number_between_others_selects_as_well(tmp_path: Path, questions: list[dict[str, Any]]) -> None:
    """Everybody was there never or once, the victim twice: the product with the outcome less the sum of those who were there."""
    attacker = Attacker(tmp_path, changed(lambda table: table.assign(age=(table.index % 2).astype(float)), age=2.0))
    assert any(refused(attacker.ask(*questions)))


def test_the_only_one_who_lacks_both(tmp_path: Path) -> None:
    """Forty lack an age and forty a sex, the victim both: four models by inclusion and exclusion."""
    tables = hospitals()
    first = tables[NAMES[0]].astype({"sex": object})
    first.loc[range(40), "age"] = np.nan
    first.loc[[0, *range(50, 89)], "sex"] = None
    tables[NAMES[0]] = first
    formulas = ("cost ~ ward", "cost ~ ward + sex", "cost ~ ward + age", "cost ~ ward + age + sex")
    found = Attacker(tmp_path, tables).ask(*({**GAUSSIAN, "formula": formula} for formula in formulas))
    assert refused(found) == [False, False, False, True]


def test_many_random_groups_cannot_be_solved_for_anybody(tmp_path: Path) -> None:
    """Dinur and Nissim 2003: each answer an equation, until there are as many as people. Long before, nobody gets another one."""
    random = np.random.default_rng(7)
    tables = {name: table.iloc[:60].reset_index(drop=True) for name, table in hospitals().items()}
    attacker = Attacker(tmp_path, tables)
    people = pd.concat(tables.values(), ignore_index=True)
    equations = [np.ones(len(people))]
    for _ in range(12):
        cuts = np.sort(random.choice(np.arange(46, 76, 4.5), 4, replace=False))  # others are too near each other
        where = f"(age > {cuts[0]} and age <= {cuts[1]}) or (age > {cuts[2]} and age <= {cuts[3]})"
        found = attacker.ask({**GAUSSIAN, "formula": "cost ~ ward + sex + hiv", "where": where})[0]
        if "refused" in found:
            continue
        inside = ((people.age > cuts[0]) & (people.age <= cuts[1])) | ((people.age > cuts[2]) & (people.age <= cuts[3]))
        design = [people.ward == "b", people.ward == "c", people.sex == "M", people.hiv == 1]
        equations += [inside * 1.0, *(inside * column * 1.0 for column in design)]
    found_out = np.linalg.pinv(np.array(equations)) @ np.array(equations)
    assert len(equations) > 10 and np.diag(found_out).max() <= 0.45


@pytest.mark.parametrize("seed", [1, 4])
def test_counts_solved_as_zeros_and_ones_determine_nobody(tmp_path: Path, seed: int) -> None:
    """The strongest reading of released counts: everybody's hiv is 0 or 1, all else is known. The most exposed can still be either."""
    random = np.random.default_rng(seed)
    tables = {name: table.iloc[:150].reset_index(drop=True) for name, table in hospitals().items()}
    people, attacker = pd.concat(tables.values(), ignore_index=True), Attacker(tmp_path, tables)
    equations: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for _ in range(14):
        low, high = np.sort(random.choice(np.arange(46, 76, 4.5), 2, replace=False))
        ward, word = random.choice(["a", "b", "c"]), random.choice(["and", "or"])
        between, there = (people.age > low) & (people.age < high), people.ward == ward
        inside = between & there if word == "and" else between | there
        asked = {"kind": "table", "by": ["hiv", "sex"], "where": f"(age > {low} and age < {high}) {word} ward = '{ward}'"}
        for cell in attacker.ask(asked)[0].get("cells", []):
            if cell["n"] is not None:
                group = (inside & (people.sex == cell["sex"])).to_numpy(dtype=float)
                equations.append(group)
                counts.append(cell["n"] if cell["hiv"] == 1 else int(group.sum()) - cell["n"])
    matrix, told = np.array(equations), np.array(counts, dtype=float)
    assert len(told) > 6 and np.allclose(matrix @ people.hiv, told)
    exposed = np.argsort(-np.diag(np.linalg.pinv(matrix) @ matrix))[:10]
    for who in (0, *exposed):
        ends = [_solved(matrix, told, sign * np.eye(len(people))[who])[who] for sign in (1, -1)]
        assert [round(end) for end in ends] == [0, 1]


def test_what_is_asked_again_costs_nothing_more(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An organisation that asks the same in each of its projects does not run out of questions."""
    monkeypatch.setattr(audit, "MOST_PRODUCTS", 150)
    study = [TABLE, {"kind": "table1", "columns": ["cost"], "by": "sex"}, {**GAUSSIAN, "formula": "cost ~ sex"}]
    assert not any(refused(one for _ in range(4) for one in attacker.ask(*study)))
    more = [{"kind": "table1", "columns": ["cost"], "by": "ward"}, {"kind": "table1", "columns": ["cost", "hiv"], "by": "ward"}]
    assert attacker.ask(*more, {**GAUSSIAN, "formula": "cost ~ sex + ward"})[-1]["reasons"] == ["too-many-cells"]


def _solved(matrix: NDArray[np.float64], told: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    found = milp(costs, constraints=LinearConstraint(matrix, told, told), bounds=Bounds(0, 1), integrality=np.ones(len(costs)))
    assert found.status == 0
    return np.asarray(found.x)
