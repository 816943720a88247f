"""A trial like the International Stroke Trial: hundreds of hospitals, many with fewer than five people, each with its own way of writing.

Everybody in it is made up. What a pooled analysis would read is returned beside the files, so that a test can compare the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["age", "sex", "conscious", "fibrillation", "pressure", "aspirin", "heparin", "death14", "days", "dead"]
MISSING = ("", "NA", "N/A", "null", "#N/A")  # one hospital writes one of them
CONSCIOUS = ("full", "drowsy", "unconscious")

STUDY = """\
title = "A stroke trial at {hospitals} hospitals"
purpose = "scientific-research"
smallest_cell = {smallest_cell}

[tables.patients]
person = "patient_no"
[tables.patients.columns]
name = {{ is = "identifier" }}
age = {{ is = "quasi" }}
sex = {{ is = "quasi" }}
conscious = {{ is = "plain" }}
fibrillation = {{ is = "plain" }}
pressure = {{ is = "plain" }}
aspirin = {{ is = "plain" }}
heparin = {{ is = "plain" }}
death14 = {{ is = "sensitive" }}
days = {{ is = "sensitive" }}
dead = {{ is = "sensitive" }}
"""


def sizes(hospitals: int, people: int, draw: np.random.Generator) -> list[int]:
    """Some hundreds at a few, fewer than five at many, somebody everywhere."""
    weights = draw.lognormal(0.0, 1.6, hospitals)
    found = 1 + np.floor(weights / weights.sum() * (people - hospitals)).astype(int)
    found[int(np.argmax(found))] += people - int(found.sum())
    return [int(size) for size in found]


def patients(count: int, draw: np.random.Generator, *, effect: float) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "age": np.clip(np.round(draw.normal(72, 11, count)), 16, 99),
            "sex": draw.choice(["M", "F"], count, p=[0.54, 0.46]),
            "conscious": draw.choice(CONSCIOUS, count, p=[0.77, 0.21, 0.02]),
            "fibrillation": draw.choice(["Y", "N"], count, p=[0.17, 0.83]),
            "pressure": np.round(draw.normal(160, 27, count)),
            "aspirin": draw.integers(0, 2, count),
            "heparin": draw.choice(["none", "low", "medium"], count, p=[0.5, 0.25, 0.25]),
        }
    )
    depth = table.conscious.map(dict(zip(CONSCIOUS, (0.0, 1.2, 2.5), strict=True)))
    risk = -2.9 + effect + 0.05 * (table.age - 72) - 0.15 * table.aspirin + depth + 0.3 * (table.fibrillation == "Y")
    table["death14"] = (draw.random(count) < 1 / (1 + np.exp(-risk))).astype(int)
    time = draw.exponential(300 * np.exp(-0.5 * (risk + 2.9)))
    table["dead"] = (time <= 182).astype(int)
    table["days"] = np.where(table.dead == 1, np.maximum(1, np.ceil(time)), 183.0)
    for column, share in (("age", 0.002), ("pressure", 0.01), ("fibrillation", 0.05), ("conscious", 0.003)):
        table[column] = table[column].astype(object).mask(draw.random(count) < share, None)
    return table


def write(
    folder: Path, analyses: str, *, hospitals: int, people: int, smallest_cell: int = 5, seed: int = 1997, empty: tuple[int, ...] = ()
) -> pd.DataFrame:
    """The study with its hospitals; what all of them together hold, with the hospital of each row. Those of `empty` lack `pressure`."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    study = STUDY.format(hospitals=hospitals, smallest_cell=smallest_cell) + analyses
    (folder / "study.toml").write_text(study, encoding="utf-8")
    tables = []
    for number, size in enumerate(sizes(hospitals, people, draw), 1):
        table = patients(size, draw, effect=float(draw.normal(0, 0.2)))
        if number in empty:
            table["pressure"] = None
        korean = number % 5 == 0
        name = f"가상 병원 {number:03}" if korean else f"hospital-{number:03}"
        _save(folder / "hospitals" / name / "patients.csv", table, number, korean=korean)
        tables.append(table.assign(hospital=name))
    pooled = pd.concat(tables, ignore_index=True)
    return pooled.astype({column: float for column in ("age", "pressure", "days")})


def _save(path: Path, table: pd.DataFrame, number: int, *, korean: bool) -> None:
    path.parent.mkdir(parents=True)
    written: dict[str, list[Any]] = {
        "patient_no": [f"{number:03}-{serial:05}" for serial in range(len(table))],
        "name": [f"{'가상환자' if korean else 'Nobody'} {serial}" for serial in range(len(table))],
    }
    missing = MISSING[number % len(MISSING)]
    for column in COLUMNS:
        whole = number % 3 == 0  # writes 72.0 for 72
        written[column] = [missing if value is None or value != value else _cell(value, whole=whole) for value in table[column]]
    text = pd.DataFrame(written).to_csv(index=False, lineterminator="\r\n" if korean else "\n")
    path.write_bytes(text.encode("cp949" if korean and number % 10 == 0 else "utf-8"))


def _cell(value: Any, *, whole: bool) -> str:
    if isinstance(value, str):
        return value
    return f"{float(value):.1f}" if whole else str(int(value))
