"""An outcome or event of two levels, N and Y or 1 and 2, gives what zeros and ones give, and its counts are those of the same levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import printed
from pumasi.analysis.statements import note_levels, read
from pumasi.kernel.errors import Invalid
from tests.analysis_models import ask, question

WRITTEN = ["alive", "dead"]
ASKED: dict[str, dict[str, Any]] = {
    "glm": {"family": "binomial", "formula": "died ~ ward", "compare": "died ~ 1"},
    "cox": {"time": "days", "event": "died", "formula": "ward"},
    "kaplan_meier": {"time": "days", "event": "died", "by": "ward", "grid": [10, 20, 40]},
    "logrank": {"time": "days", "event": "died", "by": "ward", "grid": [10, 20, 40]},
    "roc": {"score": "score", "outcome": "died"},
    "calibration": {"score": "score", "outcome": "died", "bins": 5},
    "brier": {"score": "score", "outcome": "died", "bins": 5},
}


def hospitals() -> list[pd.DataFrame]:
    draw, tables = np.random.default_rng(3), []
    for _ in range(3):
        score = draw.uniform(0.05, 0.95, 150)
        table = pd.DataFrame({"score": score, "died": (draw.random(150) < score).astype(float), "days": draw.integers(1, 60, 150)})
        tables.append(table.assign(days=table["days"].astype(float), ward=draw.choice(["a", "b"], 150)))
    return tables


def written(tables: list[pd.DataFrame], names: list[str] = WRITTEN) -> list[pd.DataFrame]:
    values = [float(name) if name.isdigit() else name for name in names]
    return [table.assign(died=table["died"].map(dict(enumerate(values)))) for table in tables]


@pytest.mark.parametrize("written_as", [WRITTEN, ["1", "2"], ["1", "0"]])
@pytest.mark.parametrize("kind", ASKED)
def test_two_levels_give_what_zero_and_one_give(kind: str, written_as: list[str]) -> None:
    fields, tables, ward = ASKED[kind], hospitals(), {"ward": ["a", "b"]}
    numbers = ask(kind, tables, levels={**ward, "died": ["0", "1"]}, **fields)
    if written_as == ["1", "0"]:  # zeros and ones are what they are, in whichever order they are listed
        assert ask(kind, tables, levels={**ward, "died": written_as}, **fields) == numbers
        return
    texts = ask(kind, written(tables, written_as), levels={**ward, "died": written_as}, **fields)
    assert texts.pop("counted_as_one") == written_as[1] and "counted_as_one" not in numbers
    unsaid = {"said", "implied_counts"}
    assert {key: value for key, value in texts.items() if key not in unsaid} == {
        key: value for key, value in numbers.items() if key not in unsaid
    }
    told = []
    for result, names in ((numbers, ["0", "1"]), (texts, written_as)):
        levels = {**ward, "died": list(names)}
        note_levels(result | {"kind": kind}, levels)
        assert levels["died"] == names
        told.append(list(read(result | {"kind": kind}, levels)))
    assert told[0] == told[1] and (kind != "glm" or numbers["implied_counts"])


def test_a_value_that_is_neither_level_is_refused() -> None:
    tables = written(hospitals())
    tables[1].loc[4, "died"] = "unknown"
    asked = {"levels": {"ward": ["a", "b"], "died": WRITTEN}}
    assert "zero or one, or one of its two levels" in str(ask("glm", tables, **asked, **ASKED["glm"])["refused"])
    assert "zero or one, or one of its two levels" in str(ask("kaplan_meier", tables, **asked, **ASKED["kaplan_meier"])["refused"])
    tables[1].loc[4, "died"] = None
    assert "refused" not in ask("glm", tables, **asked, **ASKED["glm"])


def test_other_numbers_of_levels_and_other_families_are_no_outcome() -> None:
    tables = written(hospitals())
    with pytest.raises(Invalid, match=r'the outcome .died. holds text values; .* levels = \["no", "yes"\]'):
        question("glm", tables, levels={"ward": ["a", "b"], "died": [*WRITTEN, "lost"]}, **ASKED["glm"])
    with pytest.raises(AssertionError, match="two levels, which is for a binomial model; a poisson model needs numbers"):
        question("glm", tables, levels={"died": WRITTEN}, family="poisson", formula="died ~ score")


def test_the_text_says_which_level_counts() -> None:
    result = ask("roc", written(hospitals()), levels={"died": WRITTEN}, **ASKED["roc"])
    assert "died: 'dead' counts as one, the other level as zero" in printed.text({**result, "kind": "roc", "name": "a"})


def test_a_model_of_numbers_takes_them_as_they_are_and_a_third_value_is_refused() -> None:
    tables, fields = written(hospitals(), ["1", "2"]), {"formula": "died ~ score", "family": "gaussian"}
    assert ask("glm", tables, levels={"died": ["1", "2"]}, **fields)["coefficients"] == ask("glm", tables, **fields)["coefficients"]
    tables[0].loc[7, "died"] = 9.0
    asked = ask("glm", tables, levels={"died": ["1", "2"]}, **fields | {"family": "binomial"})
    assert "zero or one, or one of its two levels" in str(asked["refused"])
