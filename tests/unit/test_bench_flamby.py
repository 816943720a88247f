"""The benchmark on FLamby's splits: these are the splits, and what it reports holds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import flamby

needs_data = pytest.mark.skipif(
    not (flamby.DATA / "fed-tcga-brca").is_dir() or not (flamby.DATA / "heart-disease-uci").is_dir(),
    reason=f"FLamby's data sets are not in {flamby.DATA}",
)


# scikit-learn 1.9.1: train_test_split(np.arange(len(y)), test_size=1 - 0.66, train_size=0.66, random_state=43, shuffle=True, stratify=y)[1]
# sorted; stratified where no class has two members or fewer
SPLITS = [
    ([1] * 12 + [0] * 7 + [1] * 5, [0, 2, 3, 7, 12, 13, 16, 21, 22]),
    ([0] * 9 + [1] * 9 + [0] * 4, [0, 1, 4, 5, 9, 12, 16, 20]),
    ([1] * 20 + [0] * 2, [5, 6, 8, 10, 11, 12, 13, 21]),
]


@pytest.mark.parametrize(("labels", "tested"), SPLITS)
def test_rows_are_set_apart_as_scikit_learn_does(labels: list[int], tested: list[int]) -> None:
    assert np.flatnonzero(flamby._tested(np.array(labels))).tolist() == tested


@needs_data
def test_the_splits_have_the_sizes_that_flamby_publishes() -> None:
    parts = [flamby._heart(site) for site in ("cleveland", "hungarian", "switzerland", "va")]
    assert [int((~part["test"]).sum()) for part in parts] == [199, 172, 30, 85]
    assert [int(part["test"].sum()) for part in parts] == [104, 89, 16, 45]


@needs_data
def test_exact_fits_are_better_than_what_flamby_publishes() -> None:
    told = {row["case"]: row["ours"] for row in flamby.rows()}
    of = {(name, on): next(value for case, value in told.items() if case.startswith(f"{name}, {on}"))
          for name in ("Fed-TCGA-BRCA", "Fed-Heart") for on in ("pooled", "mean", "rounds")}  # fmt: skip
    assert of["Fed-TCGA-BRCA", "pooled"] >= 0.844 and of["Fed-TCGA-BRCA", "mean"] >= 0.823 and of["Fed-TCGA-BRCA", "rounds"] <= 8
    assert of["Fed-Heart", "pooled"] >= 0.795 and of["Fed-Heart", "mean"] >= 0.80
