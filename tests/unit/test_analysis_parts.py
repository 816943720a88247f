"""The small parts under the methods: sums of any size, the solver, the families, people, agreement between nodes, and what is imported."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from pumasi.analysis import family, linear, secure, sums
from pumasi.analysis.frame import Column, Frame
from pumasi.analysis.methods import agree
from pumasi.kernel.errors import Invalid


def test_people_are_counted_once_however_their_codes_look() -> None:
    frame = Frame(persons=np.array([7, 7, 900, -3]), columns={})
    assert frame.people(np.array([True, True, False, True])) == 2
    assert frame.people_per(np.array([1, 1, 0, -1]), count=3).tolist() == [1, 1, 0]
    empty = Frame(persons=np.array([], dtype=np.int64), columns={})
    assert (empty.people(np.array([], dtype=bool)), empty.rows) == (0, 0)


def test_a_frame_says_which_column_it_cannot_use() -> None:
    text = Column("ward", None, np.array([0], dtype=np.int32), ("x",))
    frame = Frame(persons=np.array([0]), columns={"ward": text, "void": Column("void", None, None, ())})
    for broken in (
        lambda: frame.column("age"),
        lambda: frame.numbers("ward"),
        lambda: frame.present("void"),
        lambda: frame.numbers("void"),
    ):
        with pytest.raises(Invalid):
            broken()


@pytest.mark.parametrize("scale", [1e-28, 1e-9, 1.0, 1e12, 1e30])
def test_a_wide_sum_crosses_the_fixed_point_without_loss(scale: float) -> None:
    parts = [np.random.default_rng(seed).normal(0.1, 1, 500) * scale for seed in range(3)]
    shares = [secure.encode(sums.wide(part) + sums.wide(part**2), hospitals=3) for part in parts]
    total = sums.Reader(secure.decode(secure.add(shares)))
    whole = np.concatenate(parts)
    assert total.wide() == pytest.approx(math.fsum(whole), rel=1e-13)
    assert total.wide() == pytest.approx(math.fsum(whole**2), rel=1e-13)
    total.end()
    assert sums.fold(sums.wide(np.array([]))) == 0


def test_a_total_of_the_wrong_length_is_noticed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        sums.Reader([1.0]).many(2)
    with pytest.raises(ValueError, match="longer"):
        sums.Reader([1.0]).end()


def test_the_solver_solves_and_finds_what_depends_on_what() -> None:
    chance = np.random.default_rng(4)
    columns = chance.normal(size=(100, 6)) * [1, 1e-6, 1e6, 1, 1, 1]
    matrix = columns.T @ columns
    right = chance.normal(size=6)
    solver = linear.factor(matrix.tolist())
    assert solver.dependent == []
    np.testing.assert_allclose(solver.solve(right.tolist()), np.linalg.solve(matrix, right), rtol=1e-6)
    assert solver.quadratic(right.tolist()) == pytest.approx(right @ np.linalg.solve(matrix, right), rel=1e-6)
    columns[:, 5] = columns[:, 0] - 2 * columns[:, 3]
    assert linear.factor((columns.T @ columns).tolist()).dependent == [[0, 3, 5]]
    columns[:, 1] = 0
    assert linear.factor((columns.T @ columns).tolist()).dependent == [[1], [0, 3, 5]]


def step_by_step(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The steps of `linear.solve` in Python's own arithmetic, one rounding after the other."""
    size = len(right)
    scale = [math.sqrt(matrix[i][i]) for i in range(size)]
    left = [[matrix[i][j] / (scale[i] * scale[j]) for j in range(size)] for i in range(size)]
    right, waiting, steps = [value / by for value, by in zip(right, scale, strict=True)], list(range(size)), []
    for _ in range(size):
        pivot = max(waiting, key=lambda i: left[i][i])
        root = math.sqrt(left[pivot][pivot])
        column = [left[i][pivot] / root if i in waiting else 0.0 for i in range(size)]
        column[pivot] = root
        half = right[pivot] / root
        right = [value - by * half for value, by in zip(right, column, strict=True)]
        left = [[left[i][j] - column[i] * column[j] for j in range(size)] for i in range(size)]
        waiting.remove(pivot)
        steps.append([pivot, column, half])
    solved = [0.0] * size
    for step in reversed(range(size)):
        pivot, column, half = steps[step]
        solved[pivot] = half / column[pivot]
        for earlier in steps[:step]:
            earlier[2] -= earlier[1][pivot] * solved[pivot]
    return [value / by for value, by in zip(solved, scale, strict=True)]


@pytest.mark.parametrize("size", [1, 2, 7, 31])
def test_many_systems_are_solved_to_the_same_bits_on_every_machine(size: int) -> None:
    """Python's floats round every operation as IEEE 754 says; numpy's elements must not differ from them in one bit."""
    draw = np.random.default_rng(size)
    columns = draw.normal(size=(20, size + 5, size)) * 10.0 ** draw.integers(-4, 4, (20, 1, size))
    matrices, rights = columns.transpose(0, 2, 1) @ columns, draw.normal(size=(20, size))
    solved, dependent = linear.solve(matrices, rights)
    assert not dependent.any()
    assert solved.tolist() == [step_by_step(matrix.tolist(), right.tolist()) for matrix, right in zip(matrices, rights, strict=True)]
    slow = [linear.factor(matrix.tolist()).solve(right.tolist()) for matrix, right in zip(matrices, rights, strict=True)]
    assert solved == pytest.approx(np.array(slow), rel=1e-6)


def test_systems_of_several_sizes_keep_their_places_and_open_directions_have_no_solution() -> None:
    same = np.ones((2, 2))
    found = linear.solutions([np.eye(3) * 4, same, np.eye(2), np.zeros((3, 3))], [[4.0, 8.0, 12.0], [1.0, 1.0], [5.0, 7.0], [1.0] * 3])
    assert found == [[1.0, 2.0, 3.0], None, [5.0, 7.0], None]


def test_numbers_that_no_information_can_have_end_the_step() -> None:
    assert linear.solutions([np.array([[1.0, 2.0**60], [2.0**60, 1.0]])], [[1.0, 1.0]]) == [None]
    with pytest.raises(ArithmeticError):  # the node says then that a share is wrong
        linear.solutions([np.array([[1.0, 1e200], [1e200, 1.0]])], [[1.0, 1.0]])


def test_unit_deviances_and_saturated_likelihoods() -> None:
    counts = np.array([0.0, 1, 5, 99, 100, 1e6, 1e12])
    np.testing.assert_allclose(
        family.saturated("poisson", counts, np.ones(7))[1:5], stats.poisson.logpmf(counts[1:5], counts[1:5]), rtol=1e-9
    )
    assert family.saturated("poisson", np.array([0.0]), np.ones(1))[0] == 0
    assert family.saturated("poisson", counts, np.ones(7))[6] == pytest.approx(-0.5 * math.log(2 * math.pi * 1e12), rel=1e-12)
    linear_predictor = np.array([-800.0, -30, 0, 30, 800])
    ones, zeros = np.ones(5), np.zeros(5)
    np.testing.assert_allclose(
        family.deviance("binomial", ones, linear=linear_predictor), [1600, 60, 2 * math.log(2), 2 * math.exp(-30), 0]
    )
    np.testing.assert_allclose(
        family.deviance("binomial", zeros, linear=-linear_predictor), [1600, 60, 2 * math.log(2), 2 * math.exp(-30), 0]
    )
    slope, curvature = family.slope("binomial", ones, linear=linear_predictor)
    assert slope[2] == 0.5 and curvature[2] == 0.25 and slope[0] == 1 and slope[4] == 0
    gammas = np.array([0.5, 1.0, 4.0])
    np.testing.assert_allclose(
        family.gamma_likelihood(gammas, np.array([1.0, 2.0, 3.0]), linear=np.log([1.0, 2.0, 3.0]), dispersion=0.5),
        stats.gamma.logpdf(gammas, [2, 4, 6], scale=np.array([1.0, 2.0, 3.0]) / [2, 4, 6]),
    )


def test_nodes_agree_to_a_relative_1e_9_and_on_nothing_less() -> None:
    mine = {"step": "fit", "point": [1.0, 1e-12], "n": 12, "last": None, "flag": True}
    assert agree(mine, {"step": "fit", "point": [1, 1e-12 * (1 + 1e-10)], "n": 12.0, "last": None, "flag": True})
    for change in ({"point": [1.0, 1.1e-12]}, {"point": [1.0]}, {"n": 13}, {"last": 0}, {"flag": 1}, {"step": "done"}, {"more": 1}):
        assert not agree(mine, {**mine, **change})
    assert not agree({"a": 1}, {"b": 1})
    assert not agree([1.0], {"0": 1.0})
    assert not agree(float("nan"), 1.0)
    assert not agree("1", 1)


def test_what_runs_beside_the_data_imports_little() -> None:
    """The sandbox offers the standard library and numpy; a node checks designs without pandas."""
    code = "import sys, pumasi.analysis.methods, pumasi.analysis.design as d; d.check({}, {}, {}); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded and "pumasi.analysis.glm" in loaded
    assert not {name.split(".")[0] for name in loaded} & {"scipy", "pandas", "formulaic", "pydantic", "statsmodels"}
