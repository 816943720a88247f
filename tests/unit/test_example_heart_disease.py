"""The heart disease example lays four real hospitals out as a study."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest

from examples import heart_disease

DATA = Path(__file__).parents[3] / "shared" / "data" / "heart-disease-uci"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the UCI Heart Disease files are not at {DATA}")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@needs_data
def test_every_patient_arrives_with_the_published_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heart_disease.main([str(DATA), str(tmp_path / "study")])
    found = {path.parent.name: read(path) for path in sorted((tmp_path / "study" / "hospitals").glob("*/patients.csv"))}
    people = {hospital: (len(rows), sum(row["disease"] == "0" for row in rows)) for hospital, rows in found.items()}
    assert people == {"cleveland": (303, 164), "hungarian": (294, 188), "switzerland": (123, 8), "va": (200, 51)}  # heart-disease.names
    assert f"./run demo --data {tmp_path / 'study'}" in capsys.readouterr().out


@needs_data
def test_the_study_fits_the_files(tmp_path: Path) -> None:
    heart_disease.main([str(DATA), str(tmp_path)])
    study = tomllib.loads((tmp_path / "study.toml").read_text(encoding="utf-8"))
    columns = study["tables"]["patients"]["columns"]
    for path in (tmp_path / "hospitals").glob("*/patients.csv"):
        rows = read(path)
        assert {"patient_no", *columns} <= set(rows[0])
        for column, rule in columns.items():
            values = {row[column] for row in rows} - {""}
            assert values <= set(rule["levels"]) if "levels" in rule else all(float(value) >= 0 for value in values)


def test_a_row_is_named_and_written_in_one_way(tmp_path: Path) -> None:
    path = tmp_path / "processed.va.data"
    path.write_text("63.0,1.0,4.0,0,0,?,2.0,150.0,0.0,.7,3.0,?,6.0,2\n", encoding="ascii")
    assert ",".join(heart_disease.patients(path)[0].values()) == "1,63,male,asymptomatic,,,,2,150,0,0.7,3,,6,2,1"


@pytest.mark.parametrize("line", ["1,2,3", "63,1,9,145,233,1,2,150,0,2.3,3,0,6,0", "63,1,1,secret,233,1,2,150,0,2.3,3,0,6,0"])
def test_another_file_is_refused_without_its_values(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    path = tmp_path / "processed.va.data"
    path.write_text(line + "\n", encoding="ascii")
    with pytest.raises(SystemExit) as stopped:
        heart_disease.patients(path)
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and "processed.va.data, line 1" in told and "secret" not in told


def test_wrong_arguments_end_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for hospital in heart_disease.HOSPITALS:
        (tmp_path / f"processed.{hospital}.data").touch()
    for arguments, sentence in [
        ([], "SOURCE_FOLDER"),
        ([str(tmp_path / "full"), str(tmp_path / "new")], "has no processed.cleveland.data, processed.hungarian.data"),
        ([str(tmp_path), str(tmp_path / "full")], "is not an empty folder"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            heart_disease.main(arguments)
        assert stopped.value.code == 2 and sentence in capsys.readouterr().err
