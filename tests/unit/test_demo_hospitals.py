"""The synthetic hospitals: the same bytes for a seed, the study's own columns, and people who could exist."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from pumasi.demo import hospitals

Rows = list[dict[str, str]]


def read(folder: Path) -> dict[str, Rows]:
    found = {}
    for path in sorted((folder / "hospitals").glob("*/patients.csv")):
        data = path.read_bytes()
        text = data.decode("cp949" if path.parent.name == "가상병원-2" else "utf-8")
        found[path.parent.name] = list(csv.DictReader(text.splitlines()))
    return found


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files)).hexdigest()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    hospitals.write(folder, seed=1)
    return folder


def test_the_seed_decides_every_byte(study: Path, tmp_path: Path) -> None:
    hospitals.write(tmp_path / "again", seed=1)
    hospitals.write(tmp_path / "other", seed=2)
    assert digest(tmp_path / "again") == digest(study)
    assert digest(tmp_path / "other") != digest(study)


def test_names_are_plainly_synthetic_in_both_languages(study: Path) -> None:
    assert list(read(study)) == ["synthetic-hospital-1", "synthetic-hospital-3", "synthetic-hospital-5", "가상병원-2", "가상병원-4"]
    for name, rows in read(study).items():
        word = "가상환자 " if name.startswith("가상") else "Synthetic Patient "
        assert all(row["name"].startswith(word) for row in rows)


def test_one_hospital_writes_cp949_with_windows_line_ends(study: Path) -> None:
    data = (study / "hospitals" / "가상병원-2" / "patients.csv").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        data.decode("utf-8")
    assert data.count(b"\r\n") == len(data.splitlines())
    other = (study / "hospitals" / "가상병원-4" / "patients.csv").read_bytes()
    assert "가상환자" in other.decode("utf-8") and b"\r" not in other


def test_sizes_run_from_180_to_900(study: Path) -> None:
    assert sorted(len(rows) for rows in read(study).values()) == [180, 360, 540, 720, 900]


@pytest.mark.parametrize(("count", "sizes"), [(1, [60]), (2, [20, 100]), (3, [20, 60, 100])])
def test_any_number_of_hospitals(tmp_path: Path, count: int, sizes: list[int]) -> None:
    hospitals.write(tmp_path, hospitals=count, people=60, seed=3)
    assert sorted(len(rows) for rows in read(tmp_path).values()) == sizes


def test_the_study_asks_for_columns_that_every_file_has(study: Path) -> None:
    asked = tomllib.loads((study / "study.toml").read_text(encoding="utf-8"))
    table = asked["tables"]["patients"]
    for rows in read(study).values():
        assert {table["person"], *table["columns"]} <= set(rows[0])
        assert {row["conscious"] for row in rows} - {""} == set(table["columns"]["conscious"]["levels"])
    assert [analysis["kind"] for analysis in asked["analysis"]] == ["table", "describe", "glm"]
    assert asked["purpose"] == "scientific-research" and asked["smallest_cell"] == 10


def test_people_are_consistent(study: Path) -> None:
    for rows in read(study).values():
        assert max(Counter(row["patient_no"] for row in rows).values()) == 1
        for row in rows:
            born, admitted = date.fromisoformat(row["birth_date"]), date.fromisoformat(row["admitted"])
            birthday_passed = (admitted.month, admitted.day) >= (born.month, born.day)
            assert row["age"] in ("", str(admitted.year - born.year - (not birthday_passed)))
            assert row["aspirin"] in ("0", "1", "") and row["death14"] in ("0", "1") and row["sex"] in ("F", "M")
        assert [row["admitted"] for row in rows] == sorted(row["admitted"] for row in rows)


def test_a_few_values_are_missing_everywhere(study: Path) -> None:
    everyone = [row for rows in read(study).values() for row in rows]
    for column in ("age", "aspirin", "conscious"):
        assert 0.002 < sum(row[column] == "" for row in everyone) / len(everyone) < 0.03


def test_the_pooled_model_finds_what_was_put_in(tmp_path: Path) -> None:
    hospitals.write(tmp_path, people=8000, seed=5)
    rows = [row for rows in read(tmp_path).values() for row in rows if "" not in row.values()]
    columns = [[1, int(r["aspirin"]), int(r["age"]) - 70, r["conscious"] == "drowsy", r["conscious"] == "unconscious"] for r in rows]
    deaths = np.array([int(row["death14"]) for row in rows])
    fitted = sm.GLM(deaths, np.array(columns, dtype=float), family=sm.families.Binomial()).fit()
    put_in = [hospitals.ASPIRIN, hospitals.PER_YEAR, *hospitals.BY_CONSCIOUSNESS[1:]]
    assert fitted.params[1:] == pytest.approx(put_in, abs=0.12)
    assert 0.06 < deaths.mean() < 0.16
