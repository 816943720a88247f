"""The optima that ARX publishes for the adult data: the same levels and the same loss, to the digit."""

from __future__ import annotations

import json
import math
import re
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
    lines = [f'suppression = {suppression}\nmetric = "entropy"\nmonotonic = {monotonic}\nseparator = ";"']
    lines += [f'[quasi.{column}]\nhierarchy = "{ARX}/data/adult_hierarchy_{column}.csv"' for column in COLUMNS]
    (tmp_path / "config.toml").write_text("\n".join([*lines, f"[model]\nk = {k}"]), encoding="utf-8")
    found = command.run(str(ARX / "data/adult.csv"), tmp_path / "config.toml", str(tmp_path / "out.parquet"))
    assert found.optimal
    assert list(found.transformation.values()) == case["optimal_transformation"]
    assert math.isclose(found.information_loss, case["optimal_information_loss"], rel_tol=1e-12)
