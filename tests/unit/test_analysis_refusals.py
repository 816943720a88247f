"""What no method answers, in sentences without a number from the data, and never with a crash."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import checks
from pumasi.analysis.frame import Terms
from pumasi.analysis.methods import KINDS
from tests.analysis_rounds import frame, glm, run, split

LEVELS = {"ward": ["x", "y", "z"], "site": ["p", "q"]}


def people(rows: int = 600) -> pd.DataFrame:
    chance = np.random.default_rng(5)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "dose": chance.normal(0, 1, rows)})
    table["ward"] = pd.Categorical(chance.choice(["x", "y", "z"], rows), categories=LEVELS["ward"])
    table["site"] = pd.Categorical(chance.choice(["p", "q"], rows), categories=LEVELS["site"])
    table["death"] = (chance.random(rows) < 0.4).astype(int)
    table["falls"] = chance.poisson(2, rows)
    return table


PEOPLE = people()


def why(formula: str, family: str = "binomial", table: pd.DataFrame = PEOPLE, *, hospitals: int = 4, smallest_cell: int = 10) -> str:
    """The reasons in one text; fails when the model is fitted, or when a reason holds any digit (no column here has one)."""
    found = glm(formula, family, split(table, hospitals), levels=LEVELS, smallest_cell=smallest_cell)
    assert "refused" in found, found
    told = "; ".join(found["refused"])
    assert not re.search(r"\d", told), told
    return told


def rare(column: str, value: Any, count: int) -> pd.DataFrame:
    """Exactly `count` people have the value."""
    table = PEOPLE.copy()
    other = {"ward": "x", "death": 0, "site": "q"}[column]
    table.loc[table[column] == value, column] = other
    table.loc[table.index[:count], column] = value
    return table


def test_parameters_are_at_most_a_tenth_of_the_people() -> None:
    assert "more than one parameter for every ten people" in why("death ~ age + dose", table=PEOPLE[:29])
    assert "refused" not in glm("falls ~ age + dose", "poisson", split(PEOPLE[:30], 3), smallest_cell=5)


@pytest.mark.parametrize("count", [1, 9])
def test_a_level_of_few_people_is_refused_whichever_way_it_enters(count: int) -> None:
    table = rare("ward", "z", count)
    for formula in ("death ~ age + ward", "death ~ age:ward", "death ~ age*ward", "death ~ 0 + ward + age"):
        assert "on one side of" in why(formula, table=table)
        # before anything but people is summed: the sum of an age over one person is that age
        assert glm(formula, "binomial", split(table, 4), levels=LEVELS)["rounds"] == 1


def test_one_person_cannot_be_told_apart_by_a_product_of_levels() -> None:
    table = PEOPLE.copy()
    table.loc[(table["ward"] == "z") & (table["site"] == "q"), "site"] = "p"
    table.loc[table.index[table["ward"] == "z"][0], "site"] = "q"
    assert "on one side of 'ward[T.z]:site[T.q]'" in why("death ~ age + ward*site", table=table)
    assert "on one side of 'ward[z]:site[q]:dose'" in why("death ~ age + ward:site:dose + ward*site", table=table)


def test_one_person_far_out_is_alone_on_a_side() -> None:
    table = PEOPLE.assign(money=1e3)
    table.loc[7, "money"] = 1e12
    assert "on one side of 'money'" in why("death ~ money", table=table)
    table.loc[7, "money"] = -1e12
    assert "on one side of 'money'" in why("death ~ money", table=table)


def test_few_events_are_refused() -> None:
    assert "on one side of 'death'" in why("death ~ age", table=rare("death", 1, 9))


def test_exactly_the_smallest_cell_is_enough() -> None:
    assert "refused" not in glm("death ~ age", "binomial", split(rare("death", 1, 10), 3))


def test_many_rows_of_few_people_are_few_people() -> None:
    table = PEOPLE.assign(who=np.where(PEOPLE["ward"] == "z", PEOPLE.index % 9, PEOPLE.index + 100))
    found = glm("death ~ age + ward", "binomial", [table], levels=LEVELS, person="who")
    assert found["refused"] == ["fewer people than the smallest cell allows are on one side of 'ward[T.z]'; merge levels, or leave it out"]


def test_a_table_in_disguise_needs_every_cell() -> None:
    table = PEOPLE.copy()
    y = table.index[table["ward"] == "y"]
    table.loc[y, "death"] = 0
    assert "table in disguise" in why("death ~ ward", table=table)
    table.loc[y[:9], "death"] = 1
    assert "table in disguise" in why("death ~ ward", table=table)
    assert "table of 'ward' by" in why("death ~ site + ward", "gaussian", table=table)
    assert "refused" not in glm("death ~ ward + age", "binomial", split(table, 4), levels=LEVELS)
    table.loc[y[9], "death"] = 1
    assert "refused" not in glm("death ~ ward", "binomial", split(table, 4), levels=LEVELS)


def test_the_reference_is_a_cell_as_well() -> None:
    table = PEOPLE.copy()
    table.loc[table["ward"] == "x", "death"] = 1
    assert "table in disguise" in why("death ~ ward", table=table)
    # nine deaths of the reference of both: no column of the design stands for it
    table = PEOPLE.copy()
    corner = table.index[(table["ward"] == "x") & (table["site"] == "p")]
    table.loc[corner, "death"] = 0
    table.loc[corner[:9], "death"] = 1
    assert "table of 'ward' and 'site' by" in why("death ~ ward*site", table=table)
    assert "refused" not in glm("death ~ ward + site", "binomial", split(table, 4), levels=LEVELS)


def test_a_number_of_two_values_is_a_category_too() -> None:
    table = PEOPLE.assign(sex=1 + (PEOPLE["site"] == "p"))
    table.loc[table["sex"] == 1, "death"] = 0
    table.loc[table.index[table["sex"] == 1][:9], "death"] = 1
    assert "table in disguise" in why("death ~ sex", table=table)
    assert "table in disguise" in why("death ~ sex:ward", table=table)
    assert "code the outcome zero and one" in why("coded ~ ward", "gaussian", table=PEOPLE.assign(coded=PEOPLE["death"] + 1))


def test_with_two_hospitals_each_share_is_judged_by_itself() -> None:
    table = PEOPLE.assign(site=pd.Categorical(np.where(PEOPLE.index < 9, "q", "p"), categories=LEVELS["site"]))
    more = PEOPLE.assign(site=pd.Categorical(np.where(PEOPLE.index < 300, "q", "p"), categories=LEVELS["site"]))
    assert "on one side of 'site[T.q]'" in "".join(glm("death ~ age + site", "binomial", [table, more], levels=LEVELS)["refused"])
    assert "refused" not in glm("death ~ age + site", "binomial", [table, more, PEOPLE], levels=LEVELS)
    table = PEOPLE.copy()
    table.loc[table["ward"] == "y", "death"] = 1
    both = glm("death ~ ward", "binomial", [table, PEOPLE], levels=LEVELS)
    assert "table in disguise" in "".join(both["refused"])
    assert "refused" not in glm("death ~ ward", "binomial", [table, PEOPLE, PEOPLE], levels=LEVELS)


def test_separation_has_no_finite_estimate() -> None:
    complete = PEOPLE.assign(death=(PEOPLE["age"] > 60).astype(int))
    quasi = PEOPLE.copy()
    quasi.loc[quasi["ward"] == "y", ["death", "falls"]] = 0
    for told in (
        why("death ~ age", table=complete),
        why("death ~ age + dose + ward", table=complete),
        why("death ~ age + ward", table=quasi),
        why("falls ~ age + ward", "poisson", table=quasi),
    ):
        assert "separation" in told and "'" not in told


def test_collinear_columns_are_named() -> None:
    table = PEOPLE.assign(total=2 * PEOPLE["age"] - 3 * PEOPLE["dose"] + 1, other=np.random.default_rng(1).normal(size=len(PEOPLE)))
    assert "leave one of them out: 'age', 'dose', 'total'" in why("death ~ other + age + dose + total + ward", table=table)


def test_a_constant_column_is_on_one_side() -> None:
    assert "on one side of 'same'" in why("death ~ same + age", table=PEOPLE.assign(same=3.7))
    assert "on one side of 'death'" in why("death ~ age", table=PEOPLE.assign(death=0))
    assert "on one side of 'death'" in why("death ~ age", table=PEOPLE.assign(death=1))
    faint = PEOPLE.assign(faint=PEOPLE["dose"] * 1e-200)  # its squares are zero, even in floating point
    assert "'faint' has the same value for everybody" in why("death ~ age + faint", table=faint)
    assert "'faint' has the same value for everybody" in why("faint ~ age", "gaussian", table=faint)
    assert "on one side of 'none'" in why("death ~ none + age", table=PEOPLE.assign(none=0.0))
    assert "on one side of 'age'" in why("age ~ dose", "gaussian", table=PEOPLE.assign(age=61.3))


def test_an_outcome_that_is_no_outcome_of_the_family() -> None:
    assert "'age' of a binomial model must be zero or one" in why("age ~ dose")
    assert "must be counts" in why("age ~ dose", "poisson")
    assert "must be counts" in why("age ~ dose", "poisson", table=PEOPLE.assign(age=-PEOPLE["falls"]))
    assert "exactly" in why("total ~ age + dose", "gaussian", table=PEOPLE.assign(total=PEOPLE["age"] * 2 + PEOPLE["dose"]))


def test_missing_everywhere_and_infinite_values() -> None:
    assert "nobody has a value in every column" in why("death ~ age", table=PEOPLE.assign(age=np.nan))
    assert "nobody has a value in every column" in why("death ~ age", table=PEOPLE[:0])
    some = PEOPLE.copy()
    some.loc[9:, "age"] = np.nan
    assert "fewer people than the smallest cell allows have a value" in why("death ~ age", table=some)
    assert "beyond anything that is measured" in why(
        "death ~ age", table=PEOPLE.assign(age=np.where(PEOPLE.index == 3, np.inf, PEOPLE["age"]))
    )
    assert "beyond anything" in why("death ~ age:money", table=PEOPLE.assign(money=PEOPLE["age"] * 1e29))


def test_a_value_outside_the_agreed_levels_is_not_named() -> None:
    table = PEOPLE.astype({"ward": object})
    table.loc[4, "ward"] = "secret"
    levels = {"ward": LEVELS["ward"], "site": LEVELS["site"]}
    description = {"kind": "describe", "name": "b", "table": "t", "columns": ["ward", "age"], "two_valued": []}
    description |= {"column_kinds": {"ward": "text", "age": "number"}, "levels": levels}
    tabled = {"kind": "table", "name": "t", "table": "t", "by": ["site", "ward"], "levels": levels}
    frames = [frame(part, levels) for part in split(table, 3)]
    sentence = checks.OUTSIDE.about("ward")
    assert sentence.startswith("'ward' holds a value that the permits do not name as a level; ")
    assert run(description, frames)["refused"] == run(tabled, frames)["refused"] == [sentence]
    assert why("death ~ age + ward", table=table) == sentence


def test_what_cannot_be_fitted_in_time_is_refused_not_endless() -> None:
    """A point that always runs away, as no honest data gives it: the state still ends."""
    design = {"outcome": "falls", "columns": [{"name": "Intercept", "factors": []}]}
    question = {"kind": "glm", "family": "poisson", "formula": "falls ~ one", "design": design}
    method, terms = KINDS["glm"], Terms(smallest_cell=10, hospitals=3)
    state: dict[str, Any] = {"step": "count"}
    while state["step"] not in ("fit", "done"):
        if state["step"] == "start":
            assert "did not converge" in method.advance([0.0, 1.0, 0.0, 0.0], question, state, terms)["refused"][0]
        state = method.advance(method.local(frame(PEOPLE[["falls"]]), question, state).tolist(), question, state, terms)
    assert "separation" in method.advance([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], question, state, terms)["refused"][0]
    # runs away; gets worse with every step; is always as far from the end
    for deviance, score, flag in ((0.0, 0.0, 1.0), (10.0, 1e3, 0.0), (1.0, 1e3, 0.0)):
        at, steps = state, 0
        while at["step"] == "fit":
            at = method.advance([flag, deviance**steps, 0.0, 0.0, score, 1.0], question, at, terms)
            steps += 1
        assert steps <= 60 and "did not converge" in at["refused"][0]
