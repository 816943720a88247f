"""The descriptive methods over the four hospitals of the UCI heart disease data, against the pooled rows."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from examples import heart_disease
from tests.analysis_rounds import answered

DATA = Path(__file__).parents[3] / "shared" / "data" / "heart-disease-uci"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the UCI Heart Disease files are not at {DATA}")
LEVELS = {"sex": ["female", "male"], "disease": ["0", "1"]}
NUMBERS = ["age", "trestbps", "chol", "thalach"]


@cache
def hospitals() -> list[pd.DataFrame]:
    found = []
    for path in sorted(DATA.glob("processed.*.data")):
        table = pd.DataFrame(heart_disease.patients(path))
        keep = table.columns.intersection([*NUMBERS, *LEVELS])
        found.append(table[keep].apply(lambda column: column if column.name == "sex" else pd.to_numeric(column, errors="coerce")))
    return found


def pooled() -> pd.DataFrame:
    return pd.concat(hospitals(), ignore_index=True)


def ask(**asked: Any) -> dict[str, Any]:
    found = answered(asked, hospitals(), LEVELS)
    assert "refused" not in found, found
    return found


def test_the_columns_are_there() -> None:
    assert len(hospitals()) == 4 and set(pooled().columns) == {*NUMBERS, *LEVELS} and len(pooled()) == 920


def test_table1() -> None:
    rows = pooled().dropna(subset=["disease"])
    found = ask(kind="table1", by="disease", columns=["age", "thalach", "sex"])
    for group in found["groups"]:
        inside = rows[rows["disease"] == float(group["level"])]
        assert group["columns"]["age"]["mean"] == pytest.approx(inside["age"].mean(), rel=1e-12)
        assert group["columns"]["thalach"]["sd"] == pytest.approx(inside["thalach"].std(), rel=1e-12)
        assert group["columns"]["sex"]["levels"] == inside["sex"].value_counts().to_dict()
    cross = pd.crosstab(rows["disease"], rows["sex"])
    assert found["comparison"]["sex"]["p"] == pytest.approx(stats.chi2_contingency(cross, correction=False).pvalue, rel=1e-9)


@pytest.mark.parametrize("column", NUMBERS)
def test_quantiles(column: str) -> None:
    values = pooled()[column].dropna()
    for one in ask(kind="quantiles", columns=[column], q=[0.25, 0.5, 0.75])["columns"][column]["quantiles"]:
        theirs = float(values.quantile(one["q"]))
        assert one["lower"] <= theirs <= one["upper"] and abs(one["value"] - theirs) < 0.06 * values.std()
        assert ((values >= one["lower"]) & (values <= one["upper"])).sum() >= 10


def test_correlation_and_ttest() -> None:
    rows = pooled()
    for pair in ask(kind="correlation", columns=NUMBERS)["pairs"]:
        both = rows[[pair["one"], pair["other"]]].dropna()
        assert pair["r"] == pytest.approx(both.corr().iloc[0, 1], rel=1e-10)
    sides = [rows["thalach"][rows["disease"] == outcome].dropna() for outcome in (1, 0)]
    found = ask(kind="ttest", column="thalach", by="disease")
    assert found["welch"]["p"] == pytest.approx(stats.ttest_ind(*sides, equal_var=False).pvalue, rel=1e-7)


def test_roc() -> None:
    rows = pooled()[["age", "disease"]].dropna()
    found = ask(kind="roc", score="age", outcome="disease")
    ones, zeros = (rows["age"][rows["disease"] == outcome] for outcome in (1, 0))
    exact = stats.mannwhitneyu(ones, zeros).statistic / len(ones) / len(zeros)
    assert found["bounds"]["auroc"][0] <= exact <= found["bounds"]["auroc"][1]
    assert found["estimates"]["auroc"] == pytest.approx(exact, abs=0.003)
