"""roc, calibration and brier of a score column against scipy and statsmodels on the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from pumasi.analysis.suppression import protect
from tests.analysis_rounds import answered, split

LEVELS = {"died": ["0", "1"]}


def people(rows: int = 900, *, seed: int = 41) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    linear = chance.normal(-1, 1.2, rows)
    table = pd.DataFrame({"risk": 1 / (1 + np.exp(-1.4 * linear - 0.2))})
    table["died"] = (chance.random(rows) < 1 / (1 + np.exp(-linear))).astype(float)
    table["points"] = np.clip(np.round(5 + 2 * linear), 0, 10)
    table.loc[chance.random(rows) < 0.05, "risk"] = np.nan
    table.loc[chance.random(rows) < 0.05, "died"] = np.nan
    return table


PEOPLE = people()


def ask(kind: str, tables: list[pd.DataFrame], score: str = "risk", **more: Any) -> dict[str, Any]:
    keys = {key: more.pop(key) for key in ("bins",) if key in more}
    return answered({"kind": kind, "score": score, "outcome": "died", **keys}, tables, LEVELS, **more)


def both(score: str = "risk", table: pd.DataFrame = PEOPLE) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rows = table[[score, "died"]].dropna()
    return rows[score].to_numpy(), rows["died"].to_numpy()


def auroc(score: np.ndarray[Any, Any], outcome: np.ndarray[Any, Any]) -> float:
    ones, zeros = score[outcome == 1], score[outcome == 0]
    return float(stats.mannwhitneyu(ones, zeros).statistic / (len(ones) * len(zeros)))


def delong(score: np.ndarray[Any, Any], outcome: np.ndarray[Any, Any]) -> float:
    ones, zeros = score[outcome == 1], score[outcome == 0]
    wins = (ones[:, None] > zeros).astype(float) + (ones[:, None] == zeros) / 2
    return float(np.sqrt(wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(zeros)))


@pytest.mark.parametrize("hospitals", [1, 3, 7])
def test_the_area_lies_between_its_bounds_and_near_the_exact_one(hospitals: int) -> None:
    found = ask("roc", split(PEOPLE, hospitals))
    exact = auroc(*both())
    least, most = found["bounds"]["auroc"]
    assert least <= exact <= most and most - least < 0.03
    assert found["estimates"]["auroc"] == pytest.approx(exact, abs=0.004)
    assert found["standard_errors"]["auroc"] == pytest.approx(delong(*both()), rel=0.05)
    score, outcome = both()
    assert (found["n"], found["events"]) == (len(score), outcome.sum())
    assert found["dropped"] == len(PEOPLE) - len(score) and found["rounds"] < 90


def test_a_score_of_few_values_has_its_exact_area() -> None:
    """Each value is a bin; what is measured here is the same whatever the hospitals."""
    rows = PEOPLE[PEOPLE.groupby("points")["died"].transform("count") >= 40]
    found = ask("roc", split(rows, 4), "points")
    least, most = found["bounds"]["auroc"]
    assert least == most == found["estimates"]["auroc"] == pytest.approx(auroc(*both("points", rows)), rel=1e-12)
    assert found["standard_errors"]["auroc"] == pytest.approx(delong(*both("points", rows)), rel=1e-9)


def test_the_curve_has_enough_people_on_either_side_of_every_bin() -> None:
    found = ask("roc", split(PEOPLE, 3))
    score, outcome = both()
    assert len(found["bins"]) > 10
    for one in found["bins"]:
        low, high = one["from"] if one["from"] is not None else -1, one["to"] if one["to"] is not None else 2
        inside = (score > low) & (score <= high)
        assert (one["events"], one["others"]) == ((inside & (outcome == 1)).sum(), (inside & (outcome == 0)).sum())
        assert min(one["events"], one["others"]) >= 10
    for point in found["curve"]:
        above = score > point["threshold"]
        assert point["sensitivity"] == pytest.approx(above[outcome == 1].mean())
        assert point["specificity"] == pytest.approx((~above)[outcome == 0].mean())
        assert point["ppv"] == pytest.approx(outcome[above].mean()) and point["npv"] == pytest.approx(1 - outcome[~above].mean())


def test_nothing_is_left_to_suppress_and_nothing_follows_where_it_was() -> None:
    raw = ask("roc", split(PEOPLE, 3), finish=False)
    whole = {"kind": "roc", "name": "r", "table": "t", **raw}
    levels = {("t", "died"): LEVELS["died"]}
    assert protect([whole], earlier=[], levels=levels, smallest_cell=10, repeated_people=False) == [whole]
    raw["bins"][3]["events"] = None
    curve = ask("roc", split(PEOPLE, 3), instead=raw)["curve"]
    assert all(point["sensitivity"] is None for point in curve)


@pytest.mark.parametrize("hospitals", [1, 5])
def test_calibration_is_the_pooled_fit(hospitals: int) -> None:
    found = ask("calibration", split(PEOPLE, hospitals))
    score, outcome = both()
    logit = np.log(score / (1 - score))
    slope = sm.GLM(outcome, sm.add_constant(logit), family=sm.families.Binomial()).fit(tol=1e-14)
    large = sm.GLM(outcome, np.ones_like(outcome), family=sm.families.Binomial(), offset=logit).fit(tol=1e-14)
    for name, value, error in (
        ("intercept", slope.params[0], slope.bse[0]),
        ("slope", slope.params[1], slope.bse[1]),
        ("in_the_large", large.params[0], large.bse[0]),
    ):
        assert found["estimates"][name] == pytest.approx(value, rel=1e-9, abs=1e-10)
        assert found["standard_errors"][name] == pytest.approx(error, rel=1e-6)
        assert found["intervals"][name][0] < value < found["intervals"][name][1]
    assert found["estimates"]["ratio"] == pytest.approx(outcome.sum() / score.sum())
    assert len(found["curve"]) >= 6
    for one, bin in zip(found["curve"], found["bins"], strict=True):
        inside = (score > (bin["from"] or -1)) & (score <= (2 if bin["to"] is None else bin["to"]))
        assert one["predicted"] == pytest.approx(score[inside].mean()) and one["observed"] == pytest.approx(outcome[inside].mean())
        assert one["low"] < one["observed"] < one["high"]


@pytest.mark.parametrize("hospitals", [1, 4])
def test_brier_is_exact_and_falls_into_parts(hospitals: int) -> None:
    found = ask("brier", split(PEOPLE, hospitals))["estimates"]
    score, outcome = both()
    assert found["brier"] == pytest.approx(((score - outcome) ** 2).mean(), rel=1e-12)
    rate = outcome.mean()
    assert found["scaled"] == pytest.approx(1 - found["brier"] / (rate * (1 - rate)))
    assert found["brier"] == pytest.approx(found["reliability"] - found["resolution"] + found["uncertainty"] + found["within"])
    assert abs(found["within"]) < 0.005


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("roc", {"died": lambda rows: (rows["risk"] > 0.5).astype(float)}, "foretells 'died' with hardly an error"),
        ("roc", {"died": lambda rows: (rows.index < 9).astype(float)}, "have the outcome 'died', or have it not"),
        ("roc", {"died": lambda rows: rows["died"] + 1}, "must be zero or one"),
        ("roc", {"risk": 0.3}, "same value for everybody"),
        ("brier", {"risk": lambda rows: rows["risk"] * 2}, "is no probability"),
        ("brier", {"risk": lambda rows: np.where(rows.index == 0, 1 - rows["died"], rows["died"])}, "one person has so large a part"),
        ("calibration", {"risk": lambda rows: rows["died"] * 0.8 + 0.1 * rows["risk"] + 0.01}, "no finite estimate exists"),
        ("calibration", {"risk": lambda rows: np.where(rows.index % 2, 0.3, 0.4)}, "at most two values"),
    ],
)
def test_what_is_refused(kind: str, change: dict[str, Any], told: str) -> None:
    rows = PEOPLE.dropna().reset_index(drop=True)
    refused = ask(kind, split(rows.assign(**change), 3))["refused"]
    assert any(told in reason for reason in refused), refused
    assert not any(character.isdigit() for character in "".join(refused))


def test_two_hospitals_would_see_each_others_bins() -> None:
    assert "between two hospitals" in ask("roc", split(PEOPLE, 2))["refused"][0]


def test_rows_of_one_person_have_no_standard_error() -> None:
    twice = pd.concat([PEOPLE, PEOPLE], ignore_index=True).assign(who=lambda rows: rows.index % 900)
    found = ask("roc", split(twice, 3), person="who")
    assert found["standard_errors"]["auroc"] is None and found["intervals"]["auroc"] is None
    assert found["estimates"]["auroc"] == pytest.approx(auroc(*both()), abs=0.004)
    calibrated = ask("calibration", split(twice, 3), person="who")
    assert calibrated["standard_errors"]["slope"] is None and calibrated["curve"][0]["low"] is None


def test_certain_predictions_do_not_stop_a_calibration() -> None:
    rows = PEOPLE.dropna().reset_index(drop=True)
    rows.loc[rows.index[:40], "risk"] = rows["died"]
    score, outcome = both(table=rows)
    clipped = np.clip(score, 1e-8, 1 - 1e-8)
    slope = sm.GLM(outcome, sm.add_constant(np.log(clipped / (1 - clipped))), family=sm.families.Binomial()).fit(tol=1e-14)
    assert ask("calibration", split(rows, 3))["estimates"]["slope"] == pytest.approx(slope.params[1], rel=1e-8)


def test_the_bins_of_all_kinds_are_unions_of_the_same_ones() -> None:
    """Otherwise the difference of two bins would be a few people."""
    tables = split(PEOPLE, 3)
    finest = set(ask("roc", tables)["edges"])
    for kind in ("roc", "calibration", "brier"):
        for bins in (2, 5, 10, 30):
            found = ask(kind, tables, bins=bins)
            assert set(found["edges"]) <= finest and 1 < len(found["bins"]) <= bins
    assert len(finest) > 10
