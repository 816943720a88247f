"""correlation against scipy, pair by pair, and the pairs that are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis_rounds import answered, split


def people(rows: int = 400) -> pd.DataFrame:
    chance = np.random.default_rng(31)
    table = pd.DataFrame({"age": chance.normal(60, 12, rows)})
    table["pressure"] = 80 + 0.8 * table["age"] + chance.normal(0, 15, rows)
    table["money"] = chance.lognormal(12, 0.8, rows)
    table["stamp"] = 1.7e12 + chance.integers(0, 1000, rows)
    for name in ("age", "money"):
        table.loc[chance.random(rows) < 0.1, name] = np.nan
    return table


PEOPLE = people()


def correlation(tables: list[pd.DataFrame], columns: list[str], **more: Any) -> dict[str, Any]:
    return answered({"kind": "correlation", "columns": columns}, tables, {}, **more)


@pytest.mark.parametrize("hospitals", [1, 2, 6])
def test_every_pair_is_what_scipy_says(hospitals: int) -> None:
    found = correlation(split(PEOPLE, hospitals), list(PEOPLE))
    assert len(found["pairs"]) == 6 and found["n"] == 400 and found["rounds"] == 4
    for pair in found["pairs"]:
        both = PEOPLE[[pair["one"], pair["other"]]].dropna()
        centred = both - both.mean()  # scipy itself loses digits of the time stamps
        theirs = stats.pearsonr(centred[pair["one"]], centred[pair["other"]])
        interval = theirs.confidence_interval()
        assert pair["n"] == len(both)
        for mine, value in ((pair["r"], theirs.statistic), (pair["low"], interval.low), (pair["high"], interval.high)):
            assert mine == pytest.approx(value, rel=1e-9)
        assert pair["p"] == pytest.approx(theirs.pvalue, rel=1e-8)


def test_pairs_that_would_tell_too_much_are_left_out_alone() -> None:
    rows = PEOPLE.assign(flag=np.where(PEOPLE.index < 200, 3.0, 1.0), pounds=PEOPLE["pressure"] * 2.2 + 1)
    rows["rare"] = PEOPLE["pressure"].where(PEOPLE.index < 11)
    rows["spike"] = np.where(PEOPLE.index == PEOPLE["age"].first_valid_index(), 1e6, PEOPLE["pressure"])
    found = correlation(split(rows, 3), ["age", "pressure", "flag", "pounds", "rare", "spike"])
    told = {(pair["one"], pair["other"]): pair["r"] for pair in found["pairs"]}
    assert told["age", "pressure"] is not None and told["age", "pounds"] is not None
    assert told["pressure", "pounds"] is None
    assert [r for pair, r in told.items() if {"flag", "rare", "spike"} & set(pair)] == [None] * 12
    assert {finding.split("'")[1] for finding in found["findings"]} >= {"flag", "pressure"}
    assert not any(character.isdigit() for character in "".join(found["findings"]))


def test_rows_of_one_person_are_not_tested() -> None:
    twice = pd.concat([PEOPLE, PEOPLE], ignore_index=True).assign(who=lambda rows: rows.index % 400)
    pair = correlation([twice], ["age", "pressure"], person="who")["pairs"][0]
    assert pair["r"] is not None and pair["p"] is None and pair["low"] is None


def test_what_is_refused() -> None:
    assert "with two hospitals" in correlation([PEOPLE, PEOPLE[:5]], ["age", "pressure"])["refused"][0]
    for columns in (["age"], [f"c{number}" for number in range(31)]):
        with pytest.raises(AssertionError):
            correlation([PEOPLE.assign(**dict.fromkeys(columns, 1.0))], columns)
