"""The fast measures of risk say what the slow definitions say, for tables nobody thought of."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from pumasi.deid.risk.attributes import disclosure, t_hierarchical, t_ordered
from pumasi.deid.risk.classes import Contingency, _counted, _hashed, _joined, _levels, _places, classes, grouped
from pumasi.deid.risk.suda import special_uniques
from pumasi.deid.risk.valuetree import heights
from tests.risk_tables import Row, groups, made, minimal_uniques, slow

few = settings(max_examples=60, deadline=None)
letter = st.sampled_from(["a", "b", "c", None])
tables = st.lists(st.tuples(letter, letter, st.sampled_from(["1", "2", "3", "5", "8"])), min_size=1, max_size=24)
TREE = tuple((leaf, leaf[0], "any") for leaf in ("m1", "m2", "n1", "n2", "n3", "o1"))


@few
@given(tables)
def test_disclosure_is_what_its_definitions_say(rows: list[Row]) -> None:
    with made("a b s", rows) as table:
        found = classes(table, quasi=["a", "b"], sensitive=["s"])
    assert sorted(found.sizes) == sorted(len(one) for one in groups(rows, 2))
    fast = asdict(disclosure(found.sensitive[0]))
    expected = slow(rows, 2)
    assert fast["t"] == pytest.approx(expected.pop("t_ordered"))
    assert {key: fast[key] for key in expected} == pytest.approx(expected)


@few
@given(st.lists(st.tuples(letter, letter, letter, letter), min_size=1, max_size=14), st.integers(1, 4))
def test_every_minimal_unique_is_found_and_no_other(rows: list[Row], largest: int) -> None:
    with made("a b c d", rows) as table:
        found = special_uniques(classes(table, quasi=["a", "b", "c", "d"]), largest=largest)
    expected = minimal_uniques(rows, largest)
    assert dict(found.patterns) == {columns: len(alone) for columns, alone in expected.items()}
    weights = {size: int(np.prod([4 - i for i in range(size, min(largest, 3) + 1)])) for size in range(1, 5)}
    scores = np.zeros(len(rows))
    for columns, alone in expected.items():
        scores[list(alone)] += weights[len(columns)]
    assert sorted(found.score[found.score > 0]) == sorted(scores[scores > 0])


@few
@given(tables)
def test_a_table_is_numbered_the_same_on_every_road(rows: list[Row]) -> None:
    names = ["a", "b", "s"]
    with made("a b s", rows) as table, pytest.MonkeyPatch.context() as patched:
        with _counted(table, names) as found:
            levels = _levels(table.connection, found, names, labelled=1)
            numbered = [_hashed(table, found, levels), _joined(table.connection, found, levels)]
        small = classes(table, quasi=["a"], sensitive=["b", "s"])
        patched.setattr("pumasi.deid.risk.classes.SMALL", 0)
        large = classes(table, quasi=["a"], sensitive=["b", "s"])
    one, other = (Counter(zip(*(code.tolist() for code in coded), strict=True)) for coded, _ in numbered)
    assert one == other and one.total() == len(rows)
    assert repr(small) == repr(large)


@few
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40, unique=True), st.integers(0, 16))
def test_a_hash_is_found_among_the_levels_however_they_begin(levels: list[int], shift: int) -> None:
    known = np.unique(np.array(levels, dtype=np.uint64) >> np.uint64(shift))  # shifted, they share their first bits
    mine = np.tile(known[::-1], 3)
    assert np.array_equal(known[_places(known, mine)], mine)


def transport(found: Contingency, distance: np.ndarray) -> list[float]:
    """The earth mover's distance of each class to the table, as the linear programme that defines it."""
    levels = found.column.levels
    out = []
    for number in np.unique(found.cls):
        mine = found.cls == number
        q = np.zeros(levels)
        q[found.value[mine]] = found.count[mine] / found.count[mine].sum()
        leave = np.kron(np.eye(levels), np.ones(levels))
        arrive = np.kron(np.ones(levels), np.eye(levels))
        done = linprog(distance.ravel(), A_eq=np.vstack([leave, arrive]), b_eq=np.r_[q, found.column.share])
        out.append(float(done.fun))
    return out


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(letter, st.sampled_from([row[0] for row in TREE] + [None])), min_size=2, max_size=20))
def test_hierarchical_t_is_the_cheapest_transport(rows: list[Row]) -> None:
    with made("q s", rows) as table:
        (found,) = classes(table, quasi=["q"], sensitive=["s"]).sensitive
    nodes = heights(TREE, labels=found.labels, column="s")
    apart = np.array([[sum(level[i] != level[j] for level in nodes) for j in range(len(found.labels))] for i in range(len(found.labels))])
    assert t_hierarchical(found, nodes).tolist() == pytest.approx(transport(found, apart / (len(nodes) - 1)), abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(letter, st.sampled_from(["1", "2", "10", "33"])), min_size=2, max_size=20))
def test_ordered_t_is_the_cheapest_transport(rows: list[Row]) -> None:
    with made("q s", rows) as table:
        (found,) = classes(table, quasi=["q"], sensitive=["s"]).sensitive
    rank = found.column.order
    assert rank is not None
    apart = np.abs(rank[:, None] - rank[None, :]) / max(found.column.levels - 1, 1)
    assert t_ordered(found).tolist() == pytest.approx(transport(found, apart), abs=1e-7)


@few
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 3)), min_size=1, max_size=40))
def test_groups_are_told_apart_however_wide_the_codes(rows: list[tuple[int, int, int]]) -> None:
    codes = [np.array(column, dtype=np.uint32) for column in zip(*rows, strict=True)]
    number, count = grouped(codes)
    assert count == len(set(rows)) == len(set(number.tolist()))
    assert len(set(zip(rows, number.tolist(), strict=True))) == count
