"""Survival curves and the log-rank test over hospitals: those of lifelines and of R's survival for times on the grid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

from pumasi.analysis import memory
from pumasi.analysis.frame import Terms
from pumasi.analysis.methods import KINDS
from tests.analysis_models import ask, frames, near, question
from tests.analysis_rounds import frame, split

DATA = Path(__file__).parents[3] / "shared" / "data"
COLON = DATA / "r-clinical" / "survival_colon.csv"
BRCA = DATA / "fed-tcga-brca"
LEVELS = {"ward": ["x", "y", "z"]}
GRID = [1.0, 2, 5, 10, 15, 20, 30, 40, 60, 90]
ASKED: dict[str, Any] = {"time": "time", "event": "dead"}


def patients(rows: int = 800, *, seed: int = 2) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    table = pd.DataFrame({"ward": pd.Categorical(chance.choice(["x", "y", "z"], rows, p=[0.5, 0.3, 0.2]), categories=LEVELS["ward"])})
    died = chance.exponential(30 + 10 * (table["ward"] == "y"))
    left = chance.exponential(60, rows)
    table["time"], table["dead"] = np.minimum(died, left), (died <= left).astype(int)
    table.loc[chance.random(rows) < 0.03, "time"] = np.nan
    return table


PATIENTS = patients()
TABLES = split(PATIENTS, 5)


def on_grid(table: pd.DataFrame, grid: list[float]) -> tuple[Any, Any]:
    """Times moved up to the grid; after its last one nobody is seen to die."""
    place = np.searchsorted(grid, table["time"])
    return np.append(grid, grid[-1] + 1)[place], np.where(place == len(grid), 0, table["dead"])


def assert_curve(found: dict[str, Any], table: pd.DataFrame, *, smallest_cell: int) -> None:
    """To four decimals that of the whole grid, and the counts of each interval."""
    time, event = on_grid(table, GRID)
    wanted = KaplanMeierFitter().fit(time, event)
    bands, before = wanted.confidence_interval_, 0.0
    for point in found["points"]:
        at = point["time"]
        assert point["survival"] == pytest.approx(wanted.survival_function_.loc[at].iloc[0], abs=6e-5)
        assert point["lower"] == pytest.approx(bands.loc[at].iloc[0], abs=6e-5)
        assert point["upper"] == pytest.approx(bands.loc[at].iloc[1], abs=6e-5)
        inside = (time > before) & (time <= at)
        assert (point["events"], point["censored"]) == (np.sum(inside & (event == 1)), np.sum(inside & (event == 0)))
        assert point["at_risk"] == np.sum(time > before)
        assert all(count == 0 or count >= smallest_cell for count in (point["events"], point["censored"]))
        before = at
    assert found["n"] == len(table)
    below = [point["time"] for point in found["points"] if point["survival"] <= 0.5]
    assert found["median"] == (below[0] if below else None)


@pytest.mark.parametrize("smallest_cell", [1, 5, 12])
def test_curves_are_those_of_lifelines(smallest_cell: int) -> None:
    table = PATIENTS.dropna()
    whole = ask("kaplan_meier", TABLES, levels=LEVELS, grid=GRID, smallest_cell=smallest_cell, **ASKED)
    assert whole["rounds"] == 1 and len(whole["curve"]) == 1 and whole["dropped"] == len(PATIENTS) - len(table)
    assert_curve(whole["curve"][0], table, smallest_cell=smallest_cell)
    found = ask("kaplan_meier", TABLES, levels=LEVELS, grid=GRID, by="ward", smallest_cell=smallest_cell, **ASKED)
    assert [curve["ward"] for curve in found["curve"]] == LEVELS["ward"]
    for curve in found["curve"]:
        assert_curve(curve, table[table["ward"] == curve["ward"]], smallest_cell=smallest_cell)
    assert smallest_cell > 1 or [point["time"] for point in found["curve"][0]["points"]] == GRID


# R 4.2.2, survival 3.5-3: d <- the deaths (etype == 2) of survival_colon.csv without missing nodes; time moved up to the grid, nobody dying
# after it; summary(survfit(Surv(t2, s2) ~ rx, d, conf.type = "log-log")) of rx = "Obs"; survdiff(Surv(t2, s2) ~ rx, d)
COLON_GRID = [180.0, 365, 545, 730, 1095, 1460, 1825, 2190, 2555]
R_OBSERVED = [
    (312, 5, 0.98397435897, 0.0071092256456, 0.96192931589, 0.99329827792),
    (307, 18, 0.92628205128, 0.0147938410559, 0.89114670318, 0.95039079030),
    (289, 27, 0.83974358974, 0.0207684342913, 0.79411519215, 0.87605165612),
    (261, 24, 0.76252578839, 0.0241090510682, 0.71124257785, 0.80595933234),
    (237, 34, 0.65313390313, 0.0269796993357, 0.59741635936, 0.70311158655),
    (203, 28, 0.56304646822, 0.0281215291977, 0.50604968056, 0.61607331399),
    (175, 12, 0.52443756754, 0.0283158281070, 0.46746894883, 0.57820598275),
    (158, 11, 0.48792609132, 0.0284039398753, 0.43116732567, 0.54220930879),
    (101, 7, 0.45410943153, 0.0291697090880, 0.39617063161, 0.51015277678),
]
R_EXPECTED = {"Lev": (152, 141.56419151), "Lev+5FU": (117, 148.19155011), "Obs": (166, 145.24425838)}
R_LOGRANK_P = 0.00360404518


@pytest.mark.skipif(not COLON.is_file(), reason=f"the colon cancer trial is not at {COLON}")
def test_the_colon_trial_is_that_of_r() -> None:
    table = pd.read_csv(COLON)
    table = table[table["etype"] == 2].dropna(subset=["nodes"]).rename(columns={"status": "dead"})
    tables = [part[["time", "dead", "rx"]] for _, part in table.groupby(table["id"] % 6)]
    asked = {**ASKED, "levels": {"rx": ["Lev", "Lev+5FU", "Obs"]}, "by": "rx", "grid": COLON_GRID, "smallest_cell": 1}
    found = ask("kaplan_meier", tables, **asked)
    for point, wanted in zip(found["curve"][2]["points"], R_OBSERVED, strict=True):
        assert (point["at_risk"], point["events"]) == wanted[:2]
        for key, value in zip(("survival", "standard_error", "lower", "upper"), wanted[2:], strict=True):
            assert point[key] == pytest.approx(value, abs=5.1e-5)
    assert [curve["median"] for curve in found["curve"]] == [2555, None, 2190]
    assert [curve["median_lower"] for curve in found["curve"]] == [1825, None, 1825]
    test = ask("logrank", tables, **asked)
    for group in test["groups"]:
        assert group["observed"] == R_EXPECTED[group["rx"]][0]
        assert group["expected"] == pytest.approx(R_EXPECTED[group["rx"]][1], abs=0.0051)
    assert test["p"] == pytest.approx(R_LOGRANK_P, rel=1e-4)


@pytest.mark.parametrize("smallest_cell", [1, 5])
def test_the_logrank_test_is_that_of_lifelines(smallest_cell: int) -> None:
    found = ask("logrank", TABLES, levels=LEVELS, grid=GRID, by="ward", smallest_cell=smallest_cell, **ASKED)
    table = PATIENTS.dropna()
    time, event = on_grid(table, found["grid"])
    wanted = multivariate_logrank_test(time, table["ward"].astype(str), event)
    assert found["statistic"] == pytest.approx(wanted.test_statistic, abs=5.1e-5)
    near(found["p"], wanted.p_value, within=1e-4)
    assert found["df"] == 2 and found["n"] == len(table)
    assert sum(group["observed"] for group in found["groups"]) == event.sum()
    assert sum(group["expected"] for group in found["groups"]) == pytest.approx(event.sum(), abs=0.02)


@pytest.mark.skipif(not BRCA.is_dir(), reason=f"Fed-TCGA-BRCA is not at {BRCA}")
def test_a_grid_of_real_times_is_close_to_exact_times() -> None:
    table = pd.read_csv(BRCA / "brca.csv").merge(pd.read_csv(BRCA / "train_test_split.csv"), on="pid")
    table = table.rename(columns={"T": "time", "E": "dead"})
    tables = [part[["time", "dead"]] for _, part in table.groupby(table["fold2"].str[-1])]
    found = ask("kaplan_meier", tables, grid=[float(day) for day in range(30, 3651, 30)], smallest_cell=5, **ASKED)["curve"][0]
    exact = KaplanMeierFitter().fit(table["time"], table["dead"])
    assert len(found["points"]) >= 20
    for point in found["points"]:
        assert abs(point["survival"] - exact.predict(point["time"])) < 0.004


def why(kind: str, table: pd.DataFrame, **fields: Any) -> str:
    found = ask(kind, split(table, 3), levels=LEVELS, **{**ASKED, "grid": GRID, "by": "ward", **fields})
    assert "refused" in found, found
    told = "; ".join(found["refused"])
    assert not re.search(r"\d", told), told
    return told


@pytest.mark.parametrize("kind", ["kaplan_meier", "logrank"])
def test_what_is_not_answered(kind: str) -> None:
    table = PATIENTS.dropna().reset_index(drop=True)
    first = table.index == 3
    assert "below zero" in why(kind, table.assign(time=table["time"].mask(first, -1.0)))
    assert "must be zero or one" in why(kind, table.assign(dead=table["dead"].mask(first, 2)))
    assert "beyond anything" in why(kind, table.assign(time=table["time"].mask(first, np.inf)))
    assert "too few people leave between" in why(kind, table, grid=[0.01])
    assert "fewer people than the smallest cell" in why(kind, table.assign(time=np.nan))
    rare = table.assign(ward=table["ward"].where((table["ward"] != "z") | (table.groupby("ward", observed=True).cumcount() < 4), "x"))
    assert "a group of 'ward' is of fewer people" in why(kind, rare)
    assert "nobody of a group had 'dead'" in why(kind, table.assign(dead=table["dead"].where(table["ward"] != "y", 0)))
    everybody = table.assign(dead=table["dead"].where(table["ward"] != "y", 1), time=table["time"].where(table["ward"] != "y", 3.0))
    assert "everybody" in why(kind, everybody)
    strange = table.astype({"ward": object})
    strange.loc[4, "ward"] = "secret"
    assert "does not name" in why(kind, strange) or "do not name as a level" in why(kind, strange)
    twice = table.assign(who=table.index // 2)
    found = ask(kind, [twice], levels=LEVELS, person="who", grid=GRID, by="ward", **ASKED)
    assert "several rows" in found["refused"][0]


def test_groups_never_together_are_not_compared() -> None:
    table = PATIENTS.dropna()
    early = table.assign(time=np.where(table["ward"] == "x", 3.0, 50.0), ward=table["ward"].astype(str).replace("z", "y"))
    levels = {"ward": ["x", "y"]}
    found = ask("logrank", split(early, 3), levels=levels, grid=[5.0, 60.0], by="ward", **ASKED)
    assert "refused" in found or found["statistic"] >= 0


def test_what_a_node_does_not_count_whatever_the_client_says() -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("increasing times above zero", {"grid": [2.0, 1.0]}),
        ("numbers are needed", {"time": "ward", "by": None}),
        ("column of numbers or of two levels", {"event": "ward", "by": None}),
        ("no agreed levels", {"by": "dead", "event": "time", "time": "dead"}),
        ("named twice", {"event": "time"}),
        ("named twice", {"by": "time"}),
        ("too much to count", {"grid": [float(one) for one in range(1, 5000)]}),
    ]
    for sentence, fields in cases:
        given = {key: value for key, value in {**ASKED, "grid": GRID, "by": "ward", **fields}.items() if value is not None}
        with pytest.raises(AssertionError, match=sentence):
            ask("kaplan_meier", TABLES, levels=LEVELS, **given)
    with pytest.raises(AssertionError, match="nothing to compare"):
        ask("logrank", TABLES, levels={"ward": ["x"]}, grid=GRID, by="ward", **ASKED)


@pytest.mark.parametrize("kind", ["kaplan_meier", "logrank"])
def test_whom_an_answer_is_about_is_in_groups_that_are_nobody_or_many(kind: str) -> None:
    asked = question(kind, TABLES, levels=LEVELS, grid=GRID, by="ward", **ASKED)
    found = ask(kind, TABLES, levels=LEVELS, grid=GRID, by="ward", smallest_cell=5, **ASKED)
    before = [KINDS[kind].groups(one, asked)[0] for one in frames(TABLES, asked)]
    assert np.unique(np.concatenate(before)).tolist() == [-1, 0, 1, 2] and KINDS[kind].group_counts(asked) == [3]
    told = asked | {"edges": found["edges"]}
    cells = np.concatenate([KINDS[kind].groups(one, told)[0] for one in frames(TABLES, told)])
    (size,) = KINDS[kind].group_counts(told)
    counts = np.bincount(cells[cells >= 0], minlength=size)
    assert len(counts) == size and all(count == 0 or count >= 5 for count in counts)
    assert counts.sum() == found["n"]


@pytest.mark.parametrize("kind", ["kaplan_meier", "logrank"])
def test_the_length_of_a_partial_says_nothing_about_the_data(kind: str) -> None:
    asked = question(kind, TABLES, levels=LEVELS, grid=GRID, by="ward", **ASKED)
    full, none = frames([PATIENTS, PATIENTS[:0], *[PATIENTS[:0]] * 3], asked)[:2]
    state = KINDS[kind].start(asked, Terms(smallest_cell=5, hospitals=5))
    one, other = KINDS[kind].local(full, asked, state), KINDS[kind].local(none, asked, state)
    assert one.shape == other.shape and np.all(other == 0)


def test_a_second_grid_that_tells_who_left_between_two_times_is_refused() -> None:
    table = PATIENTS.dropna().assign(time=lambda rows: np.ceil(rows["time"])).reset_index(drop=True)
    table.loc[:1, "time"] = 6.0  # two people between the two grids below
    table = table[(table["time"] != 6) | (table.index < 2)]
    tables = split(table, 4)

    def told(grid: list[float], kind: str = "kaplan_meier") -> dict[str, Any]:
        fields = {**ASKED, "grid": grid, **({"by": "ward"} if kind == "logrank" else {})}
        asked = question(kind, tables, levels=LEVELS, **fields)
        reads = sorted({"time", "dead", *(["ward"] if "by" in fields else [])})
        found = ask(kind, tables, levels=LEVELS, **fields)
        return asked | {"reads": reads, "edges": found["edges"], "column_kinds": {name: asked["column_kinds"][name] for name in reads}}

    def compared(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
        total = np.zeros(memory.length(now, before))
        for part in tables:
            both = [memory.Footprint.of(frame(part, LEVELS), one | {"here": "h0"}) for one in (now, before)]
            total += np.array(memory.local(both[0], both[1], asked=(now, before), load=len(part)))
        return memory.refusals(total.tolist(), now, before, Terms(smallest_cell=5, hospitals=4))

    first, shifted, coarse = told([5.0, 20, 60]), told([6.0, 20, 60]), told([5.0, 60])
    assert "almost the same people" in compared(shifted, first)[0]
    assert compared(first, first) == [] and compared(coarse, first) == []
    assert "almost the same people" in compared(told([6.0], "logrank"), first)[0]
    assert compared(told([5.0], "logrank"), told([60.0], "logrank")) == []
