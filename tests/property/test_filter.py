"""A condition means what SQL means by it: our plain form, evaluated on a frame, against DuckDB on the same rows."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.analysis import filter
from pumasi.kernel.errors import Invalid
from tests.analysis_rounds import frame

KINDS = {"age": "number", "dose": "number", "sex": "text", "smoker": "boolean", "died": "number"}
LEVELS = {"age": [], "dose": [], "sex": ["F", "M", "it's"], "smoker": ["False", "True"], "died": ["0", "1"]}

numbers = st.one_of(st.integers(-3, 3), st.sampled_from([-0.5, 0.25, 1e9, 2.5]))
comparisons = st.one_of(
    st.builds(
        lambda c, s, v: {"column": c, "is": s, "value": v},
        st.sampled_from(["age", "dose", "died"]), st.sampled_from(["<", "<=", ">", ">="]), numbers,
    ),
    st.builds(lambda s, v: {"column": "sex", "is": s, "value": v}, st.sampled_from(["=", "<>"]), st.sampled_from(LEVELS["sex"])),
    st.builds(lambda s, v: {"column": "smoker", "is": s, "value": v}, st.sampled_from(["=", "<>"]), st.booleans()),
    st.builds(lambda s, v: {"column": "died", "is": s, "value": v}, st.sampled_from(["=", "<>"]), st.sampled_from([0, 1])),
    st.builds(lambda c: {"column": c, "is": "null"}, st.sampled_from(list(KINDS))),
)  # fmt: skip
trees = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(lambda part: {"not": part}, inner),
        st.builds(lambda word, parts: {word: parts}, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)
rows = st.lists(
    st.tuples(
        st.one_of(st.none(), numbers),
        st.one_of(st.none(), numbers),
        st.one_of(st.none(), st.sampled_from(LEVELS["sex"])),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.sampled_from([0, 1])),
    ),
    min_size=1,
    max_size=12,
)


def _table(found: list[Any]) -> pd.DataFrame:
    table = pd.DataFrame(found, columns=list(KINDS))
    for name in ("age", "dose", "died"):
        table[name] = table[name].astype(float)
    table["sex"], table["smoker"] = table["sex"].astype(object), table["smoker"].astype(object)
    table["row"] = np.arange(len(table), dtype=float)
    return table


@settings(max_examples=300, deadline=None)
@given(tree=trees, found=rows)
def test_rows_are_those_that_sql_selects(tree: dict[str, Any], found: list[Any]) -> None:
    if filter.check(tree, KINDS, LEVELS):  # too deep
        return
    table = _table(found)
    chosen = filter.selected(frame(table, LEVELS), tree)
    with duckdb.connect() as db:
        types = "age DOUBLE, dose DOUBLE, sex VARCHAR, smoker BOOLEAN, died DOUBLE, number DOUBLE"
        db.execute(f"CREATE TABLE t ({types})")
        db.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [(*row, float(at)) for at, row in enumerate(found)])
        wanted = [row[0] for row in db.execute(f"SELECT number FROM t WHERE {filter.text(tree)} ORDER BY number").fetchall()]
    assert chosen.columns["row"].numbers is not None
    assert chosen.columns["row"].numbers.tolist() == wanted


@settings(max_examples=200, deadline=None)
@given(tree=trees, found=rows)
def test_what_is_shown_to_people_is_what_is_evaluated(tree: dict[str, Any], found: list[Any]) -> None:
    if filter.check(tree, KINDS, LEVELS):
        return
    again = filter.compile(filter.text(tree), kinds=KINDS, levels=LEVELS)
    table = frame(_table(found), LEVELS)
    assert filter.selected(table, again).persons.tolist() == filter.selected(table, tree).persons.tolist()


@pytest.mark.parametrize(
    "where",
    [
        "age = 57.3",  # a number column without levels: its values single people out
        "age > dose",
        "age + 1 > 3",
        "abs(age) > 3",
        "sex like 'F%'",
        "sex ~ 'F'",
        "sex = 'X'",
        "sex > 'F'",
        "name = 'Kim'",
        "t.age > 3",
        "age > (select 3)",
        "age > 3; drop table t",
        "age > 3 limit 1",
        "age > 3 order by age",
        "age > 3 group by age",
        "age in (select 3)",
        "1 = 1",
        "true",
        "random() > 0.5",
        "age > 3 union select 2",
        "age > current_date",
        "",
        ") or (age > 3",
        "row_number() over () = 1",
        "case when age > 3 then true end",
        "age > cast('3' as int)",
        "age > 1e999",
        " and ".join(["age > 1"] * 51),
    ],
)
def test_whatever_else_sql_knows_is_refused(where: str) -> None:
    with pytest.raises(Invalid):
        filter.compile(where, kinds=KINDS, levels=LEVELS)


ODD: list[Any] = [
    None, [], {}, "age > 3", {"and": []}, {"and": [{}]}, {"not": None}, {"column": "age"}, {"column": "age", "is": ">"},
    {"column": "age", "is": ">", "value": float("nan")}, {"column": "age", "is": "like", "value": 3},
    {"column": "age", "is": ">", "value": "3"},
    {"column": ["age"], "is": ">", "value": 3}, {"column": "age", "is": ">", "value": 3, "sql": "1=1"},
    {"column": "age", "is": "=", "value": 57.3},
    {"and": [{"column": "age", "is": ">", "value": 3}] * 51}, {"column": "age", "is": ">", "value": [3]},
]  # fmt: skip


@pytest.mark.parametrize("tree", ODD, ids=repr)
def test_a_node_refuses_what_no_client_makes(tree: Any) -> None:
    assert filter.check(tree, KINDS, LEVELS)


def test_depth_is_bounded() -> None:
    tree: dict[str, Any] = {"column": "age", "is": ">", "value": 3}
    for _ in range(2_000):
        tree = {"not": tree}
    assert filter.check(tree, KINDS, LEVELS)
