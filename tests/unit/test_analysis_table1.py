"""count, table, table1, ttest and anova against pandas, scipy and statsmodels, and what is left out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.oneway import anova_oneway

from pumasi.analysis.suppression import protect
from tests.analysis_rounds import answered, glm, split

LEVELS = {"arm": ["a", "b"], "ward": ["x", "y", "z"], "died": ["0", "1"]}


def people(rows: int = 500, *, seed: int = 3) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"arm": chance.choice(["a", "b"], rows), "ward": chance.choice(["x", "y", "z"], rows, p=[0.5, 0.3, 0.2])})
    table["age"] = chance.normal(60, 12, rows) + 4 * (table["arm"] == "b") + 3 * (table["ward"] == "z")
    table["crp"] = chance.lognormal(1, 1, rows)
    table["died"] = (chance.random(rows) < 0.3).astype(float)
    for name in ("arm", "age", "ward", "died"):
        table.loc[chance.random(rows) < 0.08, name] = np.nan
    return table


PEOPLE = people()


def near(mine: float | None, theirs: float) -> None:
    assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("hospitals", [1, 2, 5])
def test_a_count_is_of_people(hospitals: int) -> None:
    tables = split(PEOPLE.assign(who=PEOPLE.index % 300), hospitals, seed=4)
    alone = answered({"kind": "count"}, tables[:1], LEVELS, person="who")
    assert alone["n"] == tables[0]["who"].nunique()
    assert answered({"kind": "count"}, split(PEOPLE, hospitals), LEVELS)["n"] == 500


def test_a_small_count_is_not_the_others_to_see() -> None:
    assert "with two hospitals" in answered({"kind": "count"}, [PEOPLE, PEOPLE[:9]], LEVELS)["refused"][0]
    assert protected({"kind": "count"}, [PEOPLE[:3], PEOPLE[3:7], PEOPLE[:0]]).keys() >= {"refused"}


def protected(question: dict[str, Any], tables: list[pd.DataFrame], *, smallest: int = 10) -> dict[str, Any]:
    """The answer as it is published, beside nothing else."""
    found = answered(question, tables, LEVELS, smallest_cell=smallest, finish=False)
    levels = {("t", name): names for name, names in LEVELS.items()}
    whole = {"kind": question["kind"], "table": "t", "name": "it", **({"by": question["by"]} if "by" in question else {}), **found}
    return protect([whole], earlier=[], levels=levels, smallest_cell=smallest, repeated_people=False)[0]


def test_per_cents_and_chi_square_of_a_table_in_strata() -> None:
    found = answered({"kind": "table", "by": ["died", "arm", "ward"]}, split(PEOPLE, 4), LEVELS)
    rows = PEOPLE.dropna(subset=["died", "arm", "ward"])
    assert found["n"] == len(rows) and len(found["cells"]) == 12
    for stratum, test in zip((0.0, 1.0), found["tests"], strict=True):
        cross = pd.crosstab(rows["arm"][rows["died"] == stratum], rows["ward"][rows["died"] == stratum])
        chi = stats.chi2_contingency(cross, correction=False)
        assert test["died"] == str(int(stratum)) and test["df"] == 2
        near(test["chi_square"], chi.statistic)
        near(test["p"], chi.pvalue)
        near(test["smallest_expected"], chi.expected_freq.min())
        near(test["cramers_v"], stats.contingency.association(cross, method="cramer"))
        for kind, normal in (("total", "all"), ("row", "index"), ("column", "columns")):
            theirs = pd.crosstab(rows["arm"][rows["died"] == stratum], rows["ward"][rows["died"] == stratum], normalize=normal)
            mine = [share for cell, share in zip(found["cells"], found["percent"][kind], strict=True) if cell["died"] == test["died"]]
            assert mine == pytest.approx((100 * theirs.to_numpy()).ravel())


def test_a_table_of_one_column_has_per_cents_of_the_whole_alone() -> None:
    found = answered({"kind": "table", "by": ["ward"]}, split(PEOPLE, 3), LEVELS)
    assert found["percent"] == {"total": pytest.approx([100 * share for share in PEOPLE["ward"].value_counts(normalize=True).sort_index()])}
    assert "tests" not in found


def test_nothing_follows_from_counts_that_are_left_out() -> None:
    few = PEOPLE[(PEOPLE["ward"] != "z") | (PEOPLE.index < 60)]
    left = protected({"kind": "table", "by": ["arm", "ward"]}, split(few, 3))
    finished = answered({"kind": "table", "by": ["arm", "ward"]}, split(few, 3), LEVELS, instead=left)
    gone = [place for place, cell in enumerate(left["cells"]) if cell["n"] is None]
    assert gone and all(finished["percent"]["total"][place] is None for place in range(6))
    assert finished["tests"][0]["p"] is None and finished["tests"][0]["chi_square"] is None


def test_people_in_several_cells_are_not_tested() -> None:
    twice = pd.concat([PEOPLE, PEOPLE.assign(ward="x")], ignore_index=True).assign(who=lambda rows: rows.index % 500)
    found = answered({"kind": "table", "by": ["arm", "ward"]}, [twice], LEVELS, person="who")
    assert found["tests"][0]["p"] is None and sum(found["percent"]["total"]) == pytest.approx(100)


# --- table1 ---


def table1(tables: list[pd.DataFrame], **more: Any) -> dict[str, Any]:
    return answered({"kind": "table1", "by": "arm", "columns": ["age", "crp", "ward", "died"]} | more, tables, LEVELS)


@pytest.mark.parametrize("hospitals", [1, 3, 6])
def test_table1_says_what_pandas_and_scipy_say(hospitals: int) -> None:
    found = table1(split(PEOPLE, hospitals))
    rows = PEOPLE.dropna(subset=["arm"])
    assert found["n"] == len(rows) and [group["level"] for group in found["groups"]] == ["a", "b"]
    for group, inside in [(found, rows), *((one, rows[rows["arm"] == one["level"]]) for one in found["groups"])]:
        assert group["n"] == len(inside)
        for name in ("age", "crp"):
            column = group["columns"][name]
            near(column["mean"], inside[name].mean())
            near(column["sd"], inside[name].std())
            assert (column["n"], column["missing"]) == (inside[name].count(), inside[name].isna().sum())
        assert group["columns"]["ward"]["levels"] == {level: int((inside["ward"] == level).sum()) for level in LEVELS["ward"]}
    one, other = (rows[rows["arm"] == arm] for arm in "ab")
    age = found["comparison"]["age"]
    near(age["p"], stats.ttest_ind(one["age"].dropna(), other["age"].dropna()).pvalue)
    smd = (other["age"].mean() - one["age"].mean()) / np.sqrt((one["age"].var() + other["age"].var()) / 2)
    near(age["differences"][0]["smd"], smd)
    near(age["largest"], abs(smd))
    near(found["comparison"]["ward"]["p"], stats.chi2_contingency(pd.crosstab(rows["arm"], rows["ward"]), correction=False).pvalue)
    p, q = (side["died"].mean() for side in (one, other))
    near(found["comparison"]["died"]["largest"], abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2))


def test_without_groups_it_is_a_description() -> None:
    found = answered({"kind": "table1", "columns": ["age", "ward"]}, split(PEOPLE, 3), LEVELS)
    assert "groups" not in found and "comparison" not in found
    near(found["columns"]["age"]["mean"], PEOPLE["age"].mean())
    assert found["columns"]["age"]["missing"] == PEOPLE["age"].isna().sum()


def test_a_small_group_takes_another_groups_mean_along() -> None:
    """Everybody's mean and those of all groups but one would give the mean of that one."""
    few = PEOPLE[(PEOPLE["ward"] != "z") | (PEOPLE.index < 25)]
    assert 0 < (few["ward"] == "z").sum() < 10
    found = answered({"kind": "table1", "by": "ward", "columns": ["age"]}, split(few, 4), LEVELS)
    assert [group["columns"]["age"]["mean"] is None for group in found["groups"]] == [False, True, True]
    assert found["columns"]["age"]["mean"] is not None
    assert found["comparison"]["age"]["p"] is None and found["comparison"]["age"]["largest"] is None


def test_a_few_who_lack_a_value_do_not_cost_the_test() -> None:
    rows = PEOPLE.dropna(subset=["arm", "age"]).reset_index(drop=True)
    rows.loc[:2, "age"] = np.nan
    found = answered({"kind": "table1", "by": "arm", "columns": ["age"]}, split(rows, 3), LEVELS)
    assert found["columns"]["age"]["n"] is None and found["columns"]["age"]["missing"] is None
    sides = [rows["age"][rows["arm"] == arm].dropna() for arm in "ab"]
    near(found["comparison"]["age"]["p"], stats.f_oneway(*sides).pvalue)


def test_a_row_without_a_group_is_in_no_part_of_the_table() -> None:
    rows = PEOPLE.copy()
    rows.loc[rows.index[0], ["arm", "age"]] = [None, 1e6]
    found = answered({"kind": "table1", "by": "arm", "columns": ["age"]}, split(rows, 3), LEVELS)
    near(found["columns"]["age"]["mean"], rows.dropna(subset=["arm"])["age"].mean())


def test_what_stands_for_a_small_count_or_one_person_is_left_out_everywhere() -> None:
    rows = PEOPLE.dropna(subset=["arm"]).reset_index(drop=True)
    rows["flag"] = np.where(rows.index < 3, 7.0, 2.0)  # nobody said that it has two values
    rows["cost"] = np.where(rows.index == 0, 1e9, rows["crp"])
    rows["size"] = np.where(rows.index == 0, 300.0, 100 + rows["crp"] / 100)
    found = answered({"kind": "table1", "by": "arm", "columns": ["flag", "cost", "size"]}, split(rows, 3), LEVELS)
    for group in (found, *found["groups"]):
        assert group["columns"]["flag"]["mean"] is None and group["columns"]["cost"]["mean"] is None
        assert group["columns"]["size"]["mean"] is not None and group["columns"]["size"]["sd"] is None
    assert [reason.split("'")[1] for reason in found["findings"]] == ["flag", "cost", "size"]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ({"kind": "table1", "by": "age", "columns": ["crp"]}, "'age' has no agreed levels"),
        ({"kind": "table1", "by": "arm", "columns": ["arm"]}, "cannot be a row of the table as well"),
        ({"kind": "table", "by": ["age"]}, "'age' has no agreed levels"),
        ({"kind": "ttest", "by": "ward", "column": "age"}, "a t test compares two"),
        ({"kind": "ttest", "by": "arm", "column": "ward"}, "'ward' holds text values"),
        ({"kind": "anova", "by": "age", "column": "age"}, "'age' is named twice"),
    ],
)
def test_questions_that_cannot_be_asked(question: dict[str, Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        answered(question, split(PEOPLE, 3), LEVELS)


# --- ttest and anova ---


@pytest.mark.parametrize("hospitals", [1, 3, 6])
def test_ttest_says_what_scipy_says(hospitals: int) -> None:
    found = answered({"kind": "ttest", "column": "age", "by": "arm"}, split(PEOPLE, hospitals), LEVELS)
    one, other = (PEOPLE["age"][PEOPLE["arm"] == arm].dropna() for arm in "ab")
    assert found["n"] == len(one) + len(other)
    for key, equal in (("welch", False), ("student", True)):
        theirs = stats.ttest_ind(other, one, equal_var=equal)
        interval = theirs.confidence_interval()
        for mine, value in (("statistic", theirs.statistic), ("p", theirs.pvalue), ("df", theirs.df), ("low", interval.low)):
            near(found[key][mine], value)
        near(found[key]["high"], interval.high)
        near(found[key]["difference"], other.mean() - one.mean())


@pytest.mark.parametrize("hospitals", [2, 5])
def test_anova_says_what_scipy_and_statsmodels_say(hospitals: int) -> None:
    found = answered({"kind": "anova", "column": "age", "by": "ward"}, split(PEOPLE, hospitals, seed=2), LEVELS)
    sides = [PEOPLE["age"][PEOPLE["ward"] == ward].dropna() for ward in "xyz"]
    theirs = stats.f_oneway(*sides)
    near(found["anova"]["statistic"], theirs.statistic)
    near(found["anova"]["p"], theirs.pvalue)
    welch = anova_oneway(sides, use_var="unequal")
    near(found["welch"]["statistic"], welch.statistic)
    near(found["welch"]["p"], welch.pvalue)
    near(found["welch"]["df_residual"], welch.df_denom)


def test_a_comparison_that_would_single_out_is_refused() -> None:
    few = PEOPLE[(PEOPLE["ward"] != "z") | (PEOPLE.index < 25)]
    why = answered({"kind": "anova", "column": "age", "by": "ward"}, split(few, 4), LEVELS)["refused"]
    assert why == ["a group of 'ward' has fewer people with a value than the smallest cell allows; merge levels"]
    two = PEOPLE.assign(flag=np.where(PEOPLE.index < 40, 1.0, 0.0))
    assert "at most two values" in answered({"kind": "ttest", "column": "flag", "by": "arm"}, split(two, 3), LEVELS)["refused"][0]
    rich = PEOPLE.assign(cost=np.where(PEOPLE.index == 2, 1e7, PEOPLE["crp"]), arm=np.where(PEOPLE.index < 250, "a", "b"))
    assert (
        "one person has so large a part" in answered({"kind": "ttest", "column": "cost", "by": "arm"}, split(rich, 3), LEVELS)["refused"][0]
    )


def test_rows_of_one_person_are_not_independent() -> None:
    twice = pd.concat([PEOPLE, PEOPLE], ignore_index=True).assign(who=lambda rows: rows.index % 500)
    found = answered({"kind": "ttest", "column": "age", "by": "arm"}, [twice], LEVELS, person="who")
    assert found["welch"] is None and found["n"] == PEOPLE.dropna(subset=["age", "arm"]).shape[0]


# --- another unit at one hospital ---


@pytest.mark.parametrize(("factor", "flagged"), [(18.0, True), (1 / 18.0, True), (2.2, True), (1.2, False), (1.0, False)])
def test_another_unit_at_one_hospital_is_a_finding(factor: float, flagged: bool) -> None:
    chance = np.random.default_rng(1)
    table = pd.DataFrame({"weight": chance.normal(70, 12, 400)})
    tables = [table[:100] * factor, table[100:180], table[180:300], table[300:]]
    found = answered({"kind": "describe", "columns": ["weight"]}, tables, {})
    assert any("may be in another unit" in told for told in found.get("findings", [])) is flagged
    assert found["columns"]["weight"]["mean"] is not None


def test_a_model_finds_another_unit_too() -> None:
    chance = np.random.default_rng(2)
    table = pd.DataFrame({"glucose": chance.normal(100, 20, 300), "weight": chance.normal(70, 12, 300)})
    table["died"] = (chance.random(300) < 0.3).astype(int)
    tables = [table[:60].assign(glucose=table["glucose"] / 18), table[60:180], table[180:]]
    found = glm("died ~ glucose + weight", "binomial", tables)
    assert [finding.split("'")[1] for finding in found["findings"]] == ["glucose"]
    assert "findings" not in glm("died ~ glucose + weight", "binomial", [table[:100], table[100:]])
    assert [finding.split("'")[1] for finding in glm("glucose ~ weight", "gaussian", tables)["findings"]] == ["glucose"]
