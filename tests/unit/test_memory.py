"""No two answers about almost the same people: every way to ask twice, and what stays allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis import filter, memory
from pumasi.analysis.frame import Frame, Terms
from tests.analysis_rounds import frame, split

TERMS = Terms(smallest_cell=10, hospitals=5)
KINDS = {"age": "number", "dose": "number", "sex": "text", "ward": "text"}
LEVELS = {"age": [], "dose": [], "sex": ["F", "M"], "ward": ["a", "b", "c"]}


def people(count: int = 400, *, seed: int = 3) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": np.round(random.normal(60, 12, count), 1),
            "dose": random.normal(5, 1, count),
            "sex": random.choice(["F", "M"], count),
            "ward": random.choice(["a", "b", "c"], count),
        }
    )
    table["who"] = np.arange(count)
    return table


def question(kind: str, *, where: str | None = None, **keys: Any) -> dict[str, Any]:
    found = {"name": f"{kind} {where}", "kind": kind, "table": "patients", **keys}
    read = {name for value in keys.values() for name in ([value] if isinstance(value, str) else value)} & KINDS.keys()
    if where:
        found |= {"where": where, "filter": filter.compile(where, kinds=KINDS, levels=LEVELS)}
        read |= filter.columns(found["filter"])
    names = sorted(read)
    found |= {"reads": names, "column_kinds": {name: KINDS[name] for name in names}, "levels": {name: LEVELS[name] for name in names}}
    return found | {"two_valued": [], "hospitals": ["a", "b"], "here": "a"}


def compared(now: dict[str, Any], before: dict[str, Any], frames: list[Frame], *, load: int | None = None) -> list[str]:
    total = np.zeros(memory.length(now, before))
    for one in frames:
        footprints = [memory.Footprint.of(one, asked) for asked in (now, before)]
        people = footprints[0].people if load is None else load
        total += np.array(memory.local(footprints[0], footprints[1], asked=(now, before), load=people))
    return memory.refusals(total.tolist(), now, before, TERMS)


def hospitals(table: pd.DataFrame) -> list[Frame]:
    return [frame(part, LEVELS, person="who") for part in split(table, 5)]


EVERYBODY = question("describe", columns=["dose"])


def test_the_same_question_may_be_asked_again() -> None:
    frames = hospitals(people())
    for one in (EVERYBODY, question("table", by=["sex", "ward"]), question("describe", columns=["dose"], where="sex = 'F'")):
        assert compared(one, one, frames) == []


@pytest.mark.parametrize("where", ["age < 57.3 or age > 57.3", "age > 25", "not (ward = 'a' and age > 85)", "age is not null and age < 95"])
def test_all_but_a_few_is_refused_after_all(where: str) -> None:
    table = people()
    table.loc[:2, "age"] = [57.3, 20.0, 99.0]
    table.loc[3:5, ["age", "ward"]] = [88.0, "a"]
    frames = hospitals(table)
    few = question("describe", columns=["dose"], where=where)
    kept = filter.selected(frame(table, LEVELS), few["filter"]).rows
    assert 0 < len(table) - kept < 10
    assert compared(few, EVERYBODY, frames) and compared(EVERYBODY, few, frames)
    assert compared(few, question("count"), frames) and compared(question("count"), few, frames)


def test_a_group_against_a_cell_of_an_earlier_table() -> None:
    """A tracker: the people of one cell but one of them, although everybody else is left out as well."""
    table = people()
    table.loc[table.index[table.ward == "a"][0], "age"] = 101.5
    frames = hospitals(table)
    by_ward = question("table", by=["ward"])
    tracker = question("count", where="ward = 'a' and age < 101")
    assert compared(tracker, by_ward, frames)
    assert compared(question("count", where="(ward = 'a' and age < 101) or ward = 'b'"), by_ward, frames)
    assert compared(question("count", where="ward = 'a' or ward = 'b'"), by_ward, frames) == []


def test_clearly_different_people_may_be_asked_about() -> None:
    frames = hospitals(people())
    assert compared(question("describe", columns=["dose"], where="age > 60"), EVERYBODY, frames) == []
    assert compared(question("table", by=["ward"], where="sex = 'F'"), question("table", by=["ward"], where="sex = 'M'"), frames) == []


def test_few_who_lack_a_value_are_a_difference_of_sums_about_one_column() -> None:
    table = people()
    table.loc[:2, ["age", "sex"]] = [np.nan, None]
    frames = hospitals(table)
    by_sex = question("ttest", column="dose", by="sex")
    assert compared(by_sex, EVERYBODY, frames)  # the mean dose of three people would follow
    assert compared(by_sex, question("describe", columns=["age"]), frames) == []
    assert compared(by_sex, question("table1", by="sex", columns=["age", "dose"]), frames) == []
    assert compared(question("correlation", columns=["age", "dose"]), EVERYBODY, frames) == []  # it tells no sum


def test_a_table_that_changed_by_a_few_people() -> None:
    frames = hospitals(people())
    parts = sum(memory.Footprint.of(one, EVERYBODY).people for one in frames)
    assert compared(EVERYBODY, EVERYBODY, frames[:1], load=memory.Footprint.of(frames[0], EVERYBODY).people - 1)
    assert compared(EVERYBODY, EVERYBODY, frames[:1], load=memory.Footprint.of(frames[0], EVERYBODY).people - 50) == []
    assert parts == 400


def test_a_refusal_holds_no_number() -> None:
    table = people()
    reasons = compared(question("count", where="age > 25"), question("count", where="age > 26"), hospitals(table))
    assert all(not any(letter.isdigit() for letter in reason.replace("age > 26", "")) for reason in reasons)


def test_too_many_groups_to_compare() -> None:
    levels = {f"c{number}": [str(level) for level in range(50)] for number in range(2)}
    wide = {
        "kind": "table",
        "by": ["c0", "c1"],
        "levels": levels,
        "reads": ["c0", "c1"],
        "name": "wide",
        "filter": {"column": "c0", "is": "null"},
    }
    assert not memory.is_comparable(wide, {**wide, "filter": {"column": "c1", "is": "null"}})
    assert memory.is_comparable(wide, wide)


@settings(max_examples=60, deadline=None)
@given(
    cut=st.tuples(st.floats(20, 100), st.floats(20, 100)),
    repeated=st.booleans(),
)
def test_two_thresholds_are_compared_by_the_people_between_them(cut: tuple[float, float], repeated: bool) -> None:
    table = people(200)
    if repeated:
        table = pd.concat([table, table.iloc[:50]])
    wheres = [f"age >= {value:.3f}" for value in cut]
    now, before = (question("count", where=where) for where in wheres)
    low, high = sorted(float(f"{value:.3f}") for value in cut)
    parts = split(table, 5)  # whoever is at two hospitals is two people: nobody can know better
    between = sum(part[(part.age >= low) & (part.age < high)].who.nunique() for part in parts)
    above = sum(part[part.age >= high].who.nunique() for part in parts)
    refused = compared(now, before, hospitals(table)) != []
    assert refused == (above > 0 and 0 < between < 10)
