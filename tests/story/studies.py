"""Studies that the stories run, and the pooled answers to them, worked out by pandas and statsmodels on all rows at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pumasi.demo.hospitals import CONSCIOUS

SECOND = """\
title = "Age and treatment at admission"
purpose = "statistics"
smallest_cell = 15
[tables.patients]
person = "patient_no"
[tables.patients.columns]
age = { is = "quasi" }
sex = { is = "plain" }
aspirin = { is = "plain" }

[[analysis]]
name = "sexes"
kind = "table"
table = "patients"
by = ["sex"]

[[analysis]]
name = "age model"
kind = "glm"
family = "gaussian"
table = "patients"
formula = "age ~ sex + aspirin"
"""

SMALL = """\
title = "Deaths"
purpose = "scientific-research"
smallest_cell = 10
[tables.patients]
person = "patient_no"
[tables.patients.columns]
age = { is = "quasi" }
death14 = { is = "sensitive" }

[[analysis]]
name = "deaths"
kind = "table"
table = "patients"
by = ["death14"]
"""


def pooled(data: Path) -> pd.DataFrame:
    """Every hospital's patients in one frame."""
    frames = []
    for path in sorted((data / "hospitals").glob("*/patients.csv")):
        try:
            frames.append(pd.read_csv(path, encoding="utf-8").assign(hospital=path.parent.name))
        except UnicodeDecodeError:
            frames.append(pd.read_csv(path, encoding="cp949").assign(hospital=path.parent.name))
    return pd.concat(frames, ignore_index=True)


def fit(frame: pd.DataFrame, formula: str, family: str) -> Any:
    """The pooled fit by statsmodels, its columns made by formulaic, iterated to the end."""
    import formulaic
    import statsmodels.api as sm

    ordered = frame.assign(conscious=pd.Categorical(frame["conscious"], categories=list(CONSCIOUS))) if "conscious" in frame else frame
    outcome, matrix = formulaic.model_matrix(formula, ordered, na_action="drop")
    link = {"gaussian": sm.families.Gaussian, "binomial": sm.families.Binomial, "poisson": sm.families.Poisson}[family]()
    return sm.GLM(outcome, matrix, family=link).fit(tol=1e-14, maxiter=200)


def check_glm(found: dict[str, Any], frame: pd.DataFrame) -> None:
    """A released model against the pooled one."""
    pool = fit(frame, found["formula"], found["family"])
    assert found["converged"] is True
    assert found["n"] == int(pool.nobs)
    assert set(found["coefficients"]) == set(found["standard_errors"]) == set(pool.params.index)
    for name in pool.params.index:
        assert abs(found["coefficients"][name] / pool.params[name] - 1) < 1e-9, name
        assert abs(found["standard_errors"][name] / pool.bse[name] - 1) < 1e-6, name
    assert abs(found["log_likelihood"] / pool.llf - 1) < 1e-9


def check_table(found: dict[str, Any], frame: pd.DataFrame) -> None:
    """Released counts against the pooled ones; nothing may be suppressed where every cell is large."""
    complete = frame.dropna(subset=found["by"])
    counts = complete.groupby(found["by"])["patient_no"].nunique()
    cells = {tuple(cell[column] for column in found["by"]): cell["n"] for cell in found["cells"]}
    assert cells == {key if isinstance(key, tuple) else (key,): int(count) for key, count in counts.items()}
    assert found["n"] == int(counts.sum())
