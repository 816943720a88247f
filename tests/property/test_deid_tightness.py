"""`tightness.looser(b, a) == []` means that whoever has what `a` shows could make what `b` shows out of it: nothing new is told."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from pumasi.deid import rulefile, sql, tightness, treatments
from pumasi.deid.layers import Layers, Value
from pumasi.deid.lookups import put
from pumasi.deid.regions import PROVINCES
from pumasi.deid.treatments import Steps
from pumasi.kernel.errors import Invalid

TODAY = date(2026, 1, 1)
AS = st.sampled_from((None, "other", "C34"))
NUMBER = st.one_of(
    st.integers(-40, 140).map(str), st.decimals(-30, 130, places=2).map(str), st.sampled_from(("0.15", "0.3", "7.5", "-2.5", "1,234.5"))
)
DAY = st.dates(date(1930, 1, 1), date(2030, 12, 31)).map(str)
CODE = st.builds("{}{:02}{}".format, st.sampled_from("ACFZ"), st.integers(30, 39), st.sampled_from(("", ".0", ".1", "12")))
PROVINCE, DISTRICT = st.sampled_from(("서울", "서울특별시", "경기", "세종", "Seoul")), st.sampled_from(("종로구", "수원시", "길동", ""))
ADDRESS = st.builds("{} {}".format, PROVINCE, DISTRICT)
VALUES = {"number": NUMBER, "age": st.integers(0, 120).map(str), "day": DAY, "code": CODE, "address": ADDRESS}


def step(do: str, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"do": st.just(do), **given})


EDGES = st.lists(st.sampled_from((-10, 0, 7.5, 10, 20, 50, 65, 100)), min_size=2, max_size=4, unique=True).map(sorted)
CODES = st.lists(st.sampled_from(("C34", "C341", "C", "F3", "A30", "Z", "1", "서울")), min_size=1, max_size=3)
SHOWN = st.lists(st.sampled_from(("C34", "C34.1", "F30", "서울특별시", "10", "other")), min_size=1, max_size=4)
HIDING = (step("withhold", codes=CODES, **{"as": AS}), step("only", values=SHOWN, **{"as": AS}))
NUMERIC = (
    step("round", to=st.sampled_from((0.1, 0.3, 0.5, 1, 2, 5, 10, 15))),
    step("bucket", width=st.sampled_from((0.1, 0.3, 2.5, 5, 10, 20)), **{"from": st.sampled_from((0, 5, 0.05, 2.5))}),
    step("bucket", edges=EDGES),
    step("limit", low=st.sampled_from((None, -10, 0, 7.6)), high=st.sampled_from((52, 97, 100))),
)
AGES = (
    step("age", width=st.sampled_from((1, 5, 10)), top=st.sampled_from((80, 90))),
    step("generalise", by=st.just("age"), level=st.sampled_from(("5", "10", "20"))),
)
FORM = st.sampled_from((None, "%Y-%m-%d", "%Y-%d-%m"))
DATED = (
    step("date", to=st.sampled_from(("month", "quarter", "year")), format=FORM),
    step("date", to=st.sampled_from(("year", "age")), at=st.sampled_from(("today", "2024-06-30")), top=st.sampled_from((60, 90))),
)
STEPS = {
    "number": (*NUMERIC, *HIDING),
    "age": (*NUMERIC, *AGES),
    "day": (*DATED, *DATED, *NUMERIC),
    "code": (*HIDING, step("generalise", by=st.sampled_from(("kcd", "icd10")), level=st.sampled_from(treatments.LADDERS["kcd"]))),
    "address": (*HIDING, step("generalise", by=st.just("kr-address"), level=st.sampled_from(("district", "province")))),
}


def chain(kind: str) -> st.SearchStrategy[Any]:
    return st.lists(st.one_of(*STEPS[kind]), min_size=1, max_size=3).map(_parsed).filter(lambda steps: steps is not None)


def _parsed(written: list[dict[str, Any]]) -> Steps | None:
    try:
        return treatments.parse([{name: value for name, value in one.items() if value is not None} for one in written], "x")
    except Invalid:
        return None


@st.composite
def pairs(draw: st.DrawFn, kind: str) -> tuple[Steps, Steps, list[str]]:
    """Two chains, often much alike, and values."""
    a = draw(chain(kind))
    b = list(a)
    for _ in range(draw(st.integers(1, 2))):
        (other,), place = draw(chain(kind).filter(lambda steps: len(steps) == 1)), draw(st.integers(0, len(b)))
        b[place : place + draw(st.integers(0, 1))] = [other]
    return a, tuple(b), draw(st.lists(VALUES[kind], min_size=2, max_size=40, unique=True))


@pytest.fixture(scope="module")
def connection() -> Any:
    with duckdb.connect() as opened:
        opened.execute(f"CREATE TABLE {sql.PROVINCES} (written VARCHAR, whole VARCHAR)")
        names = [(written, whole) for whole, ways in PROVINCES.items() for written in ways]
        put(opened, sql.PROVINCES, [written for written, _ in names], [whole for _, whole in names])
        yield opened


def shown(connection: Any, steps: Steps, values: Sequence[str]) -> list[str | None] | None:
    """What becomes of the values, or None if these steps do not understand some of them."""
    connection.execute("CREATE OR REPLACE TABLE given (place INTEGER, c0 VARCHAR)")
    connection.executemany("INSERT INTO given VALUES (?, ?)", list(enumerate(values)))
    layers, value = Layers("SELECT c0, place FROM given"), Value("c0", 0, "VARCHAR")
    for one in steps:
        value = sql.treated(layers, value, one, "x", TODAY)
    query = f"SELECT CAST({value.sql} AS VARCHAR), ({layers.good}) FROM ({layers.select('*')}) ORDER BY place"
    found = connection.execute(query).fetchall()
    return [row[0] for row in found] if all(row[1] for row in found) else None


@pytest.mark.parametrize("kind", sorted(STEPS))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_what_is_tighter_is_made_of_what_it_tightens(kind: str, connection: Any, data: st.DataObject) -> None:
    a, b, values = data.draw(pairs(kind))
    if not treatments.at_least_as_tight(b, a):
        return
    ours, theirs = shown(connection, b, values), shown(connection, a, values)
    if ours is None or theirs is None:
        return
    made: dict[str | None, str | None] = {}
    for tighter, looser in zip(ours, theirs, strict=True):
        assert made.setdefault(looser, tighter) == tighter, (treatments.told(a), treatments.told(b))


PATTERN = st.text("ab*?", max_size=6)


@settings(max_examples=300, deadline=None)
@given(PATTERN, PATTERN)
def test_patterns_meet_and_cover_each_other_as_their_names_do(one: str, other: str) -> None:
    names = ["".join(letters) for length in range(5) for letters in itertools.product("abc", repeat=length)]
    ours, theirs = ({name for name in names if fnmatchcase(name, pattern)} for pattern in (one, other))
    assert not ours & theirs or tightness.overlap(one, other)
    assert not tightness.covers(one, other) or theirs <= ours


NAMES = ("pid", "birth", "birth_date", "visit_date", "sex")
KEYS = (*NAMES, "birth*", "*_date", "*date", "visit_*", "b*", "*")
LINES = st.sampled_from(
    (
        '"drop"',
        '"keep"',
        '"shift"',
        '{ do = "shift", time = true }',
        '{ do = "date", to = "month" }',
        '{ do = "date", to = "year" }',
        '{ do = "date", to = "year", at = "sex" }',
        '[{ do = "withhold", codes = ["1"] }, { do = "date", to = "year" }]',
        '{ do = "rare", fewer_than = 5 }',
        '{ do = "rare", fewer_than = 20 }',
    )
)
SECTION = st.dictionaries(st.sampled_from(KEYS), LINES, max_size=4)
TYPED = st.dictionaries(st.sampled_from(rulefile.TYPES), LINES.filter(lambda line: line != '"keep"'), max_size=2)
FILE = st.fixed_dictionaries({"columns": SECTION, "tables.visits": SECTION, "types": TYPED})


def load(folder: Path, name: str, text: str) -> rulefile.Rules | None:
    (folder / name).write_text(text, encoding="utf-8")
    try:
        return rulefile.load(folder / name)
    except Invalid:
        return None


def written(sections: dict[str, dict[str, str]]) -> str:
    return "".join(f"[{name}]\n" + "".join(f'"{key}" = {line}\n' for key, line in lines.items()) for name, lines in sections.items())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILE, FILE, st.booleans())
def test_no_column_of_any_name_table_or_type_is_shown_more_than_by_what_is_looser(
    of_a: dict[str, dict[str, str]], of_b: dict[str, dict[str, str]], extends: bool
) -> None:
    with TemporaryDirectory() as made:
        a = load(Path(made), "a.toml", written(of_a))
        b = load(Path(made), "b.toml", ('extends = "a.toml"\n' if extends else "") + written(of_b)) if a else None
    if a is None or b is None:
        return
    try:
        if tightness.looser(b, a):
            return
        found = {
            (table, column, kind): (b.rule_of(table, column, kind), a.rule_of(table, column, kind))
            for table in ("visits", "other")
            for column in NAMES
            for kind in rulefile.TYPES
        }
    except Invalid:  # two patterns that disagree are refused
        return
    for place, (ours, theirs) in found.items():
        if ours is not None and ours.steps[0].do != "drop":
            assert theirs is not None and treatments.at_least_as_tight(ours.steps, theirs.steps), place
