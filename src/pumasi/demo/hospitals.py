"""Synthetic hospitals with a stroke study, laid out as `pumasi demo --data` expects: study.toml and hospitals/<hospital>/patients.csv.

Nobody in these files exists. Death within 14 days follows a logistic model, so the joint study has an effect to find, and the
hospitals differ in size, age, severity and treatment, so pooling them is not trivial. The same seed always writes the same bytes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

STUDY: Final = """\
title = "Death within 14 days of a stroke"
purpose = "scientific-research"
smallest_cell = 10                          # the boards may raise it, never lower it

[tables.patients]                           # hospitals/<hospital>/patients.csv
person = "patient_no"                       # becomes a random-keyed pseudonym, a new one for each permit
[tables.patients.columns]                   # an allow-list: what is not named here never reaches a workspace
name       = { is = "identifier" }          # identifiers are always dropped, named or not
birth_date = { is = "quasi", keep = "year" }
age        = { is = "quasi" }
aspirin    = { is = "plain" }
conscious  = { is = "plain", levels = ["full", "drowsy", "unconscious"] }
death14    = { is = "sensitive" }

[[analysis]]
name = "who was treated"
kind = "table"
table = "patients"
by = ["aspirin", "conscious"]

[[analysis]]
name = "baseline"
kind = "describe"
table = "patients"
columns = ["age", "aspirin"]

[[analysis]]
name = "death14 model"
kind = "glm"
family = "binomial"
table = "patients"
formula = "death14 ~ aspirin + age + conscious"
"""

COLUMNS: Final = ("patient_no", "name", "birth_date", "admitted", "age", "sex", "aspirin", "conscious", "death14")
CONSCIOUS: Final = ("full", "drowsy", "unconscious")

# Log odds of death within 14 days; they give about 10 % deaths, most of them among the unconscious.
INTERCEPT: Final = -2.9  # aged 70, fully conscious, no aspirin
PER_YEAR: Final = 0.05
ASPIRIN: Final = -0.25
BY_CONSCIOUSNESS: Final = np.array([0.0, 1.1, 2.4])

MISSING: Final = 0.01  # of the values of age, aspirin and consciousness, each on its own

FIRST_DAY: Final = date(2021, 1, 1)
DAYS: Final = 3 * 365


@dataclass(frozen=True)
class Hospital:
    """One hospital's name, the encoding its system exports, its number of patients, and how it differs from the others."""

    number: int
    name: str
    encoding: str
    people: int
    mean_age: float
    aspirin: float
    unconscious: float
    effect: float


def write(folder: Path, *, hospitals: int = 5, people: int = 540, seed: int) -> None:
    """Write the study and its hospitals into `folder`, which is made when it does not exist.

    `people` is the average of a hospital; the smallest has a third of it, the largest five times as many as the smallest
    (180 to 900 by default). The second hospital exports CP949 with Windows line ends, as Korean systems often do; the others UTF-8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8", newline="\n")
    for hospital in _plan(hospitals, people, seed):
        home = folder / "hospitals" / hospital.name
        home.mkdir(parents=True, exist_ok=True)
        _write_patients(home / "patients.csv", hospital, np.random.default_rng([seed, hospital.number]))


def _plan(hospitals: int, people: int, seed: int) -> list[Hospital]:
    draw = np.random.default_rng([seed, 0])
    share = np.linspace(1 / 3, 5 / 3, hospitals) if hospitals > 1 else np.ones(1)
    draw.shuffle(share)
    planned = []
    for number in range(1, hospitals + 1):
        korean = number % 2 == 0
        planned.append(
            Hospital(
                number=number,
                name=f"가상병원-{number}" if korean else f"synthetic-hospital-{number}",
                encoding="cp949" if number == 2 else "utf-8",
                people=round(people * share[number - 1]),
                mean_age=draw.uniform(67, 75),
                aspirin=draw.uniform(0.35, 0.65),
                unconscious=draw.uniform(0.08, 0.15),
                effect=draw.normal(0, 0.25),
            )
        )
    return planned


def _write_patients(path: Path, hospital: Hospital, draw: np.random.Generator) -> None:
    """Draw every column at once, then write row by row in the order of admission."""
    n = hospital.people
    admitted = np.sort(draw.integers(0, DAYS, n))
    age_in_days = np.clip(draw.normal(hospital.mean_age, 11, n), 30, 98) * 365.25
    born = [FIRST_DAY + timedelta(days=int(day) - int(days)) for day, days in zip(admitted, age_in_days, strict=True)]
    age = np.array([_age(birth, FIRST_DAY + timedelta(days=int(day))) for birth, day in zip(born, admitted, strict=True)])
    female = draw.random(n) < 0.46
    aspirin = (draw.random(n) < hospital.aspirin).astype(int)
    drowsy = 2 * hospital.unconscious
    conscious = draw.choice(3, size=n, p=[1 - drowsy - hospital.unconscious, drowsy, hospital.unconscious])
    log_odds = INTERCEPT + hospital.effect + PER_YEAR * (age - 70) + ASPIRIN * aspirin + BY_CONSCIOUSNESS[conscious]
    death14 = (draw.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    serial = draw.permutation(np.arange(1, n + 1))
    no_age, no_aspirin, no_conscious = _missing(draw, n), _missing(draw, n), _missing(draw, n)
    person = "가상환자" if hospital.name.startswith("가상") else "Synthetic Patient"
    with path.open("w", encoding=hospital.encoding, newline="") as file:
        rows = csv.writer(file, lineterminator="\r\n" if hospital.encoding == "cp949" else "\n")
        rows.writerow(COLUMNS)
        for i in range(n):
            rows.writerow(
                (
                    f"P{hospital.number:02d}-{serial[i]:06d}",
                    f"{person} {serial[i]}",
                    born[i].isoformat(),
                    (FIRST_DAY + timedelta(days=int(admitted[i]))).isoformat(),
                    "" if no_age[i] else age[i],
                    "F" if female[i] else "M",
                    "" if no_aspirin[i] else aspirin[i],
                    "" if no_conscious[i] else CONSCIOUS[conscious[i]],
                    death14[i],
                )
            )


def _age(born: date, on: date) -> int:
    """Full years, as a hospital counts them."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def _missing(draw: np.random.Generator, n: int) -> NDArray[np.bool_]:
    return draw.random(n) < MISSING
