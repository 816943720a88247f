"""A GLM over hospitals is the fit of all rows together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis.frame import Terms
from pumasi.analysis.methods import KINDS
from tests.analysis_rounds import Pooled, assert_pooled, frame, glm, split

DATA = Path(__file__).parents[3] / "shared" / "data" / "heart-disease-uci"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the UCI Heart Disease files are not at {DATA}")
LEVELS = {"ward": ["x", "y", "z"], "aspirin": ["0", "1"]}


def patients(rows: int = 1500) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": chance.normal(60, 12, rows), "money": chance.lognormal(20, 1.5, rows), "dose": chance.normal(5e-9, 1e-9, rows)}
    )
    table["ward"] = pd.Categorical(chance.choice(["x", "y", "z"], rows), categories=LEVELS["ward"])
    table["aspirin"] = chance.integers(0, 2, rows)
    table["death"] = (chance.random(rows) < 1 / (1 + np.exp(4 - 0.05 * table["age"] - 0.3 * (table["ward"] == "y")))).astype(int)
    table["falls"] = chance.poisson(np.exp(0.03 * table["age"] - 1))
    table["cells"] = np.floor(1e9 * chance.gamma(2, 1, rows))
    table["grains"] = np.floor(1e13 * chance.gamma(2, 1, rows))
    table["income"] = 1e12 * (1 + table["age"] / 10 + chance.normal(0, 1, rows))
    table["year"] = 2000.0 + chance.integers(0, 5, rows)
    table.loc[chance.random(rows) < 0.05, "age"] = np.nan
    table.loc[chance.random(rows) < 0.05, "ward"] = np.nan
    return table


PATIENTS = patients()
FITS = [
    ("death ~ age + ward + aspirin", "binomial"),
    ("death ~ money + dose + ward", "binomial"),
    ("death ~ 0 + ward + age", "binomial"),
    ("death ~ age:ward + dose - 1", "binomial"),
    ("death ~ age*ward*aspirin", "binomial"),
    ("death ~ C(aspirin)*ward", "binomial"),
    ("death ~ aspirin", "binomial"),
    ("death ~ 1", "binomial"),
    ("falls ~ age + ward", "poisson"),
    ("falls ~ age - 1", "poisson"),
    ("falls ~ money", "poisson"),
    ("cells ~ age + ward", "poisson"),
    ("cells ~ age - 1", "poisson"),
    ("grains ~ ward", "poisson"),
    ("income ~ age + ward", "gaussian"),
    ("income ~ money + age", "gaussian"),
    ("income ~ 0 + age", "gaussian"),
    ("dose ~ money + age*ward", "gaussian"),
    ("age ~ dose", "gaussian"),
    ("age ~ year*dose", "gaussian"),
]


@pytest.mark.parametrize(("formula", "family"), FITS)
def test_the_fit_is_the_pooled_one(formula: str, family: str) -> None:
    assert_pooled(glm(formula, family, split(PATIENTS, 5), levels=LEVELS), Pooled(formula, family, PATIENTS))


@pytest.mark.parametrize("hospitals", [1, 2, 3, 4, 6, 7])
def test_the_fit_does_not_depend_on_how_many_hospitals_share_the_people(hospitals: int) -> None:
    tables = split(PATIENTS, hospitals)
    found = glm("death ~ age + ward", "binomial", tables, levels=LEVELS, smallest_cell=5 if hospitals < 3 else 10)
    assert_pooled(found, Pooled("death ~ age + ward", "binomial", PATIENTS))
    assert found["rounds"] <= 9
    assert found["n"] == int(PATIENTS[["age", "ward"]].notna().all(axis=1).sum())


def test_a_column_with_a_huge_offset_keeps_its_digits() -> None:
    table = PATIENTS.assign(stamp=1.7e12 + np.arange(len(PATIENTS)), near=np.arange(len(PATIENTS), dtype=float))
    found = glm("death ~ stamp", "binomial", split(table, 3))
    centred = Pooled("death ~ near", "binomial", table)
    assert found["coefficients"]["stamp"] == pytest.approx(centred.coefficients["near"], rel=1e-9)
    assert found["standard_errors"]["stamp"] == pytest.approx(centred.standard_errors["near"], rel=1e-9)


def test_a_hospital_without_events_and_a_level_at_one_hospital_only_change_nothing() -> None:
    table = PATIENTS.dropna()
    alive, dead = table[table["death"] == 0], table[table["death"] == 1]
    parts = [alive[:200], pd.concat([alive[200:], dead[dead["ward"] == "y"]]), dead[dead["ward"] != "y"]]
    assert_pooled(glm("death ~ age + ward", "binomial", parts, levels=LEVELS), Pooled("death ~ age + ward", "binomial", pd.concat(parts)))
    by_ward = [table[table["ward"] == ward] for ward in LEVELS["ward"]]
    assert_pooled(glm("death ~ age * ward", "binomial", by_ward, levels=LEVELS), Pooled("death ~ age * ward", "binomial", table))


def test_hospitals_with_nothing_to_add_add_nothing() -> None:
    empty, missing = PATIENTS[:0], PATIENTS[:40].assign(age=np.nan)
    found = glm("falls ~ age + ward", "poisson", [empty, *split(PATIENTS, 2), missing], levels=LEVELS)
    assert_pooled(found, Pooled("falls ~ age + ward", "poisson", PATIENTS))


def test_strong_predictors_converge() -> None:
    chance = np.random.default_rng(3)
    table = pd.DataFrame({"a": chance.normal(size=600), "b": chance.normal(size=600)})
    table["q"] = (table["a"] + chance.normal(0, 0.05, 600) > 0).astype(int)
    table["r"] = (table["a"] ** 6 * 3).round()
    assert_pooled(glm("q ~ a + b", "binomial", split(table, 3)), Pooled("q ~ a + b", "binomial", table))
    assert_pooled(glm("r ~ a + b", "poisson", split(table, 3)), Pooled("r ~ a + b", "poisson", table))


@pytest.mark.parametrize(("seed", "family"), [(152, "poisson"), (162, "poisson"), (175, "binomial")])
def test_a_step_too_far_is_halved(seed: int, family: str) -> None:
    """Heavy tails, where Newton from its usual start overshoots: the maximum is known by its score of zero."""
    chance = np.random.default_rng(seed)
    x = chance.standard_t(1.5, 200) if seed % 2 else chance.lognormal(0, 1.5, 200)
    if family == "poisson":
        y = chance.poisson(np.exp(np.clip(chance.normal(0, 1) * x / x.std() * 3, -20, 12)))
    else:
        y = (chance.random(200) < 1 / (1 + np.exp(np.clip(2 * x**2 - 3 * x, -500, 500)))).astype(int)
    found = glm("y ~ x", family, split(pd.DataFrame({"x": x, "y": y}), 3), smallest_cell=3)
    linear = found["coefficients"]["Intercept"] + found["coefficients"]["x"] * x
    fitted = np.exp(linear) if family == "poisson" else 1 / (1 + np.exp(-linear))
    assert abs(np.sum(y - fitted)) < 1e-9 * np.sum(y) and abs(np.sum(x * (y - fitted))) < 1e-9 * np.sum(np.abs(x) * y)
    assert found["iterations"] <= 12


def test_where_nothing_has_an_effect_the_fit_is_as_short() -> None:
    chance = np.random.default_rng(3)
    table = pd.DataFrame({name: chance.normal(size=40_000) for name in "abcd"}).assign(y=(chance.random(40_000) < 0.3).astype(int))
    found = glm("y ~ a + b + c + d", "binomial", split(table, 3))
    assert_pooled(found, Pooled("y ~ a + b + c + d", "binomial", table))
    assert found["iterations"] <= 5


def test_a_boolean_outcome_is_one_for_true() -> None:
    table = PATIENTS.assign(died=PATIENTS["death"] == 1)
    found = glm("died ~ age + aspirin", "binomial", split(table, 3), levels={**LEVELS, "died": ["False", "True"]})
    numeric = glm("death ~ age + aspirin", "binomial", split(table, 3), levels=LEVELS)
    assert found["coefficients"] == numeric["coefficients"]


def test_several_rows_of_one_person_are_one_person() -> None:
    table = PATIENTS.dropna().assign(who=lambda rows: np.arange(len(rows)) // 2)
    parts = [table[:400], table[400:]]
    found = glm("death ~ age", "binomial", parts, person="who")
    assert_pooled(found, Pooled("death ~ age", "binomial", table))
    assert (found["n"], found["rows"]) == ((len(table) + 1) // 2, len(table))
    assert "rows" not in glm("death ~ age", "binomial", parts)


def test_a_model_on_levels_alone_says_which_counts_it_implies() -> None:
    table = PATIENTS.assign(sex=PATIENTS["aspirin"] + 1).dropna()
    found = glm("death ~ sex*ward", "binomial", split(table, 4), levels=LEVELS)
    assert_pooled(found, Pooled("death ~ sex*ward", "binomial", table))
    said = {one["column"]: one for one in found["implied_counts"]}
    assert list(said) == found["terms"]
    assert said["sex:ward[T.y]"]["factors"] == [{"column": "sex", "level": "2"}, {"column": "ward", "level": "y"}]
    for one in said.values():
        rows = table
        for factor in one["factors"]:
            rows = rows[rows[factor["column"]].astype(str) == factor["level"]]
        assert (one["outcome"], one["outcome1"], one["outcome0"]) == ("death", rows["death"].sum(), (rows["death"] == 0).sum())
    assert found["columns"] == ["death", "sex", "ward"]
    assert "implied_counts" not in glm("death ~ ward + age", "binomial", split(table, 4), levels=LEVELS)
    # three values in all, but never more than two at one hospital: no table
    parts = [table.assign(dose=1 + 2.0 * (table["aspirin"] == 0))[:700], table.assign(dose=1 + 3.0 * (table["aspirin"] == 0))[700:]]
    assert "implied_counts" not in glm("death ~ dose", "binomial", parts, levels=LEVELS)


def test_the_length_of_a_partial_says_nothing_about_the_data() -> None:
    plain = {"outcome": "death", "columns": [{"name": "Intercept", "factors": []}, {"name": "aspirin", "factors": [{"column": "aspirin"}]}]}
    question = {"kind": "glm", "family": "binomial", "formula": "death ~ aspirin", "design": plain}
    method, terms, state = KINDS["glm"], Terms(smallest_cell=10, hospitals=3), {"step": "count"}
    full, none = frame(PATIENTS[["death", "aspirin"]], LEVELS), frame(PATIENTS[["death", "aspirin"]][:0], LEVELS)
    while state["step"] != "done":
        one, other = method.local(full, question, state), method.local(none, question, state)
        assert one.shape == other.shape and np.all(other == 0)
        state = method.advance(one.tolist(), question, state, terms)
    with pytest.raises(ValueError, match="no step"):
        method.local(full, question, state)


@needs_data
@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("disease ~ age + sex + thalach + exang + oldpeak", "binomial"),
        ("disease ~ age * sex + C(cp)", "binomial"),
        ("thalach ~ age + sex + C(restecg)", "gaussian"),
        ("num ~ age + sex + exang", "poisson"),
    ],
)
def test_four_real_hospitals(formula: str, family: str) -> None:
    names = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num"]
    sites = ["cleveland", "hungarian", "switzerland", "va"]
    tables = [pd.read_csv(DATA / f"processed.{site}.data", names=names, na_values="?") for site in sites]
    tables = [table.assign(disease=(table["num"] > 0).astype(float)) for table in tables]
    levels = {"cp": ["1", "2", "3", "4"], "restecg": ["0", "1", "2"]}
    whole = pd.concat(tables, ignore_index=True)
    for name, agreed in levels.items():  # the pooled fit must write its levels the same way
        whole[name] = pd.Categorical(whole[name].map(lambda value: None if pd.isna(value) else str(int(value))), categories=agreed)
    assert_pooled(glm(formula, family, tables, levels=levels), Pooled(formula, family, whole))


def test_a_point_that_runs_away_is_flagged_and_no_total_is_infinite() -> None:
    plain = {"outcome": "falls", "columns": [{"name": "Intercept", "factors": []}]}
    question = {"kind": "glm", "family": "poisson", "formula": "falls ~ 1", "design": plain}
    fit = {"status": "running", "columns": [0], "left": -1, "point": [800.0]}
    far = {"step": "fit", "fits": [fit], "centres": [0.0], "scales": [1.0], "centre": 0.0, "scale": 1.0, "unit": 1.0, "null_deviance": 1.0}
    assert KINDS["glm"].local(frame(PATIENTS[["falls"]]), question, far).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
