"""Lay the UCI Heart Disease data out as a study of its four real hospitals:

python examples/heart_disease.py SOURCE_FOLDER TARGET_FOLDER
./run demo --data TARGET_FOLDER

SOURCE_FOLDER holds the repository's processed.cleveland.data, processed.hungarian.data, processed.switzerland.data and processed.va.data.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NoReturn

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num")
WORDS = {
    "sex": {"0": "female", "1": "male"},
    "cp": {"1": "typical", "2": "atypical", "3": "non-anginal", "4": "asymptomatic"},  # chest pain
}
NOT_ZERO = ("trestbps", "chol")  # a pressure or cholesterol of 0 stands for a missing one (all of Switzerland's chol)

STUDY = """\
title = "Heart disease at four hospitals"
purpose = "scientific-research"
smallest_cell = 10

[tables.patients]
person = "patient_no"                       # the row number: the data name nobody
[tables.patients.columns]
age      = { is = "quasi" }
sex      = { is = "quasi", levels = ["female", "male"] }
cp       = { is = "plain", levels = ["asymptomatic", "typical", "atypical", "non-anginal"] }    # chest pain
trestbps = { is = "plain" }                 # blood pressure at rest, mm Hg
thalach  = { is = "plain" }                 # highest heart rate reached, per minute
exang    = { is = "plain" }                 # chest pain in exercise, 0 or 1
disease  = { is = "sensitive" }             # a coronary artery narrowed by half or more, 0 or 1

# All three leave out who lacks a value of the model: two people would set it apart from the others otherwise.
[[analysis]]
name = "who has the disease"
kind = "table"
table = "patients"
where = "thalach IS NOT NULL AND exang IS NOT NULL"
by = ["sex", "disease"]

[[analysis]]
name = "baseline"
kind = "describe"
table = "patients"
where = "thalach IS NOT NULL AND exang IS NOT NULL"
columns = ["age", "sex", "cp", "trestbps", "thalach"]

[[analysis]]
name = "disease model"
kind = "glm"
family = "binomial"
table = "patients"
where = "thalach IS NOT NULL AND exang IS NOT NULL"
formula = "disease ~ age + sex + cp + thalach + exang"
"""


def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        stop(str(__doc__))
    source, target = Path(arguments[0]), Path(arguments[1])
    missing = [name for hospital in HOSPITALS if not (source / (name := f"processed.{hospital}.data")).is_file()]
    if missing:
        stop(f"{source} has no {', '.join(missing)}; give the folder of the UCI Heart Disease files (repository entry 45)")
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        stop(f"{target} exists and is not an empty folder; name a new one")
    tables = {hospital: patients(source / f"processed.{hospital}.data") for hospital in HOSPITALS}
    for hospital, rows in tables.items():
        home = target / "hospitals" / hospital
        home.mkdir(parents=True)
        with (home / "patients.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["patient_no", *COLUMNS, "disease"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{hospital}: {len(rows)} people")
    (target / "study.toml").write_text(STUDY, encoding="utf-8")
    print(f"Now run: ./run demo --data {target}")


def patients(path: Path) -> list[dict[str, str]]:
    """One file's rows under their names, with `?` empty, numbers written in one way, and the outcome: disease is num > 0."""
    rows = []
    with path.open(encoding="ascii", newline="") as file:
        for number, line in enumerate(csv.reader(file), start=1):
            if len(line) != len(COLUMNS):
                stop(f"{path}, line {number}: {len(line)} columns instead of {len(COLUMNS)}; is this UCI's processed file?")
            try:
                row = {column: value(column, text) for column, text in zip(COLUMNS, line, strict=True)}
                disease = str(int(int(row["num"]) > 0))
            except (KeyError, ValueError):
                stop(f"{path}, line {number}: a value is neither a number nor a code that heart-disease.names explains")
            rows.append({"patient_no": str(number), **row, "disease": disease})
    return rows


def value(column: str, text: str) -> str:
    if text == "?":
        return ""
    number = f"{float(text):g}"
    if column in NOT_ZERO and number == "0":
        return ""
    return WORDS[column][number] if column in WORDS else number


def stop(message: str) -> NoReturn:
    """Input that cannot be used ends as everywhere in Pumasi: a sentence, and exit code 2."""
    print(message, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
