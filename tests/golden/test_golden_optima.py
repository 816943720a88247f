"""The optima that ARX publishes for the adult data: the same levels and the same loss, to the digit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pumasi.deid.anonymize import command

ARX = Path(__file__).parents[3] / "shared/data/arx-kanonymity"
PUBLISHED = ARX / "adult_expected_optima_k.json"
COLUMNS = ("sex", "age", "race", "marital-status", "education", "native-country", "workclass", "occupation", "salary-class")


def _cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.is_file() else []
    return list({one["config"]: one for one in found}.values())


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published optima are not beside this checkout (../shared/data)")
def test_there_are_published_optima_to_compare_with() -> None:
    assert len(_cases()) >= 4


@pytest.mark.parametrize("case", _cases(), ids=lambda case: str(case["config"])[24:120])
def test_the_optimum_is_the_published_one(case: dict[str, Any], tmp_path: Path) -> None:
    said = re.fullmatch(
        r"ARXConfiguration\.create\(([\d.]+)d, Metric\.createPrecomputedEntropyMetric\(0\.1d, (true|false)\)\)"
        r"\.addPrivacyModel\(new KAnonymity\((\d+)\)\)",
        case["config"],
    )
    assert said is not None, "a form of configuration that this test cannot read"
    suppression, monotonic, k = said.groups()
    said_here = f'suppression = {suppression}\nmetric = "entropy"\nmonotonic = {monotonic}'
    found = _optimum(tmp_path, said_here, f"k = {k}", columns=COLUMNS)
    assert list(found.transformation.values()) == case["optimal_transformation"]
    assert math.isclose(found.information_loss, case["optimal_information_loss"], rel_tol=1e-12)


# One of each kind of model from ARX's tests at the commit of the data; in the population of all rows the table is the subset.
# The files of 2015 have 390436.40 for the first: in their hierarchy England alone was in "Europa".
_L = 'l = {kind = "recursive", l = 5, c = 4}'
_PRESENCE = 'delta_presence = {min = 0.05, max = 0.15, population = "PEOPLE"}'
_BY_SIZE = 'k_map = {k = 1000, population = 318857056, estimator = "zero-truncated-poisson"}'
FURTHER = {
    "t": ("entropy", True, 0.04, 'k = 100\nt = {distance = "hierarchical", t = 0.2}', 390765.61326019815, "14103121"),
    "ordered t": ("discernibility", True, 0.04, 'k = 5\nt = {distance = "ordered", t = 0.05}', 201413138.0, "14103220"),
    "l and presence": ("entropy", False, 0.05, f"{_L}\n{_PRESENCE}", 28759.669970588497, "10123221"),
    "k-map": ("aecs", False, 0.05, 'k_map = {k = 20, population = "PEOPLE"}', 11.424242424242424, "10113210"),
    "k-map by size": ("entropy", False, 0.05, _BY_SIZE, 151894.1394841501, "00111210"),
    "beta": ("loss", False, 0.0, 'beta = {kind = "enhanced", beta = 2}', 0.759176305345683, "14113220"),
}


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published optima are not beside this checkout (../shared/data)")
@pytest.mark.parametrize(("metric", "monotonic", "suppression", "models", "loss", "levels"), FURTHER.values(), ids=FURTHER)
def test_the_optimum_of_every_kind_of_model_is_the_published_one(
    metric: str, monotonic: bool, suppression: float, models: str, loss: float, levels: str, tmp_path: Path
) -> None:
    said = f'metric = "{metric}"\nmonotonic = {str(monotonic).lower()}\nsuppression = {suppression}'
    table = "adult_subset" if "PEOPLE" in models else "adult"
    columns = [column for column in COLUMNS if column != "occupation"]
    found = _optimum(tmp_path, said, models.replace("PEOPLE", f"{ARX}/data/adult.csv"), columns=columns, table=table)
    assert "".join(map(str, found.transformation.values())) == levels
    assert math.isclose(found.information_loss, loss, rel_tol=1e-12)


def _optimum(place: Path, said: str, models: str, *, columns: Sequence[str], table: str = "adult") -> command.Outcome:
    lines = [said, 'separator = ";"']
    lines += [f'[quasi.{column}]\nhierarchy = "{ARX}/data/adult_hierarchy_{column}.csv"' for column in columns]
    if "occupation" not in columns:
        lines.append(f'[sensitive.occupation]\nhierarchy = "{ARX}/data/adult_hierarchy_occupation.csv"')
    (place / "config.toml").write_text("\n".join([*lines, "[model]", models]), encoding="utf-8")
    found = command.run(f"{ARX}/data/{table}.csv", place / "config.toml", str(place / "out.parquet"))
    assert found.optimal
    return found
