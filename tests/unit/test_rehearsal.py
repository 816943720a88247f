"""A study over many hospitals in one process: pooled numbers, small cells gone, every fault at once, and the nodes' own masks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from formulaic import model_matrix
from typer.testing import CliRunner

from pumasi.cli import app
from pumasi.client import studyfile
from pumasi.kernel.errors import Invalid
from pumasi.node.jobs.rounds import Party
from pumasi.rehearsal import story
from pumasi.rehearsal.folder import find_hospitals
from pumasi.rehearsal.together import Halves, Nobody, Together
from tests import joint_jobs, stroke_trial
from tests.analysis_rounds import Pooled, assert_pooled

HOSPITALS, PEOPLE, EMPTY = 60, 2_400, (3, 8)
FORMULA = "death14 ~ aspirin + age + conscious + sex + pressure"
ANALYSES = f"""
[[analysis]]
name = "everybody"
kind = "count"
table = "patients"

[[analysis]]
name = "who was treated"
kind = "table"
table = "patients"
by = ["heparin", "sex"]

[[analysis]]
name = "deaths of the unconscious"
kind = "table"
table = "patients"
by = ["death14", "conscious", "fibrillation"]

[[analysis]]
name = "death14 model"
kind = "glm"
family = "binomial"
table = "patients"
formula = "{FORMULA}"

[[analysis]]
name = "survival"
kind = "cox"
table = "patients"
time = "days"
event = "dead"
formula = "aspirin + sex"
"""


def rehearse(folder: Path) -> tuple[dict[str, Any], list[str]]:
    study, said = studyfile.read_to_run(folder / "study.toml"), list[str]()
    return story.rehearse(study, find_hospitals(folder, study), say=said.append), said


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, Any], list[str]]:
    folder = tmp_path_factory.mktemp("trial")
    pooled = stroke_trial.write(folder, ANALYSES, hospitals=HOSPITALS, people=PEOPLE, empty=EMPTY)
    return pooled, *rehearse(folder)


def analysis(outcome: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in outcome["analyses"] if one["name"] == name]
    return found


def test_the_trial_is_one_of_small_hospitals(trial: tuple[pd.DataFrame, dict[str, Any], list[str]]) -> None:
    sizes = trial[0].hospital.value_counts()
    assert len(sizes) == HOSPITALS and (sizes < 5).sum() >= 10 and sizes.max() >= 200


def test_counts_are_those_of_all_rows_and_small_cells_are_gone(trial: tuple[pd.DataFrame, dict[str, Any], list[str]]) -> None:
    pooled, outcome, _ = trial
    assert analysis(outcome, "everybody")["n"] == PEOPLE
    treated = analysis(outcome, "who was treated")
    assert [cell["n"] for cell in treated["cells"]] == [
        int(((pooled.heparin == cell["heparin"]) & (pooled.sex == cell["sex"])).sum()) for cell in treated["cells"]
    ]
    gone = shown = 0
    dying = analysis(outcome, "deaths of the unconscious")
    for cell in dying["cells"]:
        there = (
            (pooled.death14 == cell["death14"]) & (pooled.conscious == cell["conscious"]) & (pooled.fibrillation == cell["fibrillation"])
        )
        gone += cell["n"] is None
        shown += cell["n"] is not None
        assert cell["n"] in (None, int(there.sum()))
        assert cell["n"] is None or cell["n"] >= 5
    assert gone >= 2 and shown >= 4


def test_models_are_the_pooled_ones(trial: tuple[pd.DataFrame, dict[str, Any], list[str]]) -> None:
    pooled, outcome, _ = trial
    levels = pooled.assign(conscious=pd.Categorical(pooled.conscious), sex=pd.Categorical(pooled.sex))
    assert_pooled(analysis(outcome, "death14 model"), Pooled(FORMULA, "binomial", levels.drop(columns="fibrillation").dropna()))
    found, matrix = analysis(outcome, "survival"), pd.DataFrame(model_matrix("aspirin + sex", pooled)).iloc[:, 1:]
    fit = sm.PHReg(pooled.days.to_numpy(), matrix.to_numpy(), status=pooled.dead.to_numpy(), strata=pooled.hospital, ties="efron").fit()
    np.testing.assert_allclose([found["coefficients"][name] for name in matrix.columns], fit.params, rtol=1e-9)
    np.testing.assert_allclose([found["standard_errors"][name] for name in matrix.columns], fit.bse, rtol=1e-6)


def test_an_outcome_has_the_keys_of_a_real_one_and_says_what_it_is(trial: tuple[pd.DataFrame, dict[str, Any], list[str]]) -> None:
    _, outcome, said = trial
    page = (Path(__file__).parents[2] / "docs" / "reference" / "outcome-json.md").read_text(encoding="utf-8")
    keys = {line.split("`")[1] for line in page.split("## An analysis")[0].splitlines() if line.startswith("| `")}
    assert outcome.keys() == keys and outcome["rehearsal"] is True
    assert (outcome["releases"], outcome["deletions"], outcome["ledger"], outcome["bundle"]) == ([], [], None, None)
    assert outcome["permits"][0] == {"hospital": "hospital-001", "permit": None, "smallest_cell": 5}
    assert len(outcome["permits"]) == len(analysis(outcome, "everybody")["hospitals"]) == HOSPITALS
    assert f"   {HOSPITALS} of {HOSPITALS} hospitals described" in said


def test_one_hospital_can_rehearse_and_is_judged_alone(tmp_path: Path) -> None:
    pooled = stroke_trial.write(tmp_path, ANALYSES.partition('[[analysis]]\nname = "death14 model"')[0], hospitals=1, people=400)
    ended = CliRunner().invoke(app, ["rehearse", str(tmp_path), "--json", str(tmp_path / "o.json"), "--export", str(tmp_path / "out")])
    assert ended.exit_code in (0, 3), ended.output
    assert "No hospital has released any of this" in ended.output.splitlines()[0]
    outcome = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert outcome["rehearsal"] is True and analysis(outcome, "everybody")["n"] == len(pooled)
    assert (tmp_path / "out" / "01 everybody.csv").is_file()
    assert "Between one or two hospitals masks hide nothing" in ended.output


def test_faults_of_many_hospitals_are_told_at_once(tmp_path: Path) -> None:
    stroke_trial.write(tmp_path, ANALYSES, hospitals=8, people=100)
    for name, text in (("hospital-001", "patient_no;age\n1;2\n"), ("hospital-002", "patient_no,patient_no\n1,2\n")):
        (tmp_path / "hospitals" / name / "patients.csv").write_text(text, encoding="utf-8")
    with pytest.raises(Invalid) as caught:
        rehearse(tmp_path)
    assert {reason.partition(":")[0] for reason in caught.value.reasons} == {"hospital-001", "hospital-002"}
    (tmp_path / "hospitals" / "hospital-003" / "patients.csv").unlink()
    (tmp_path / "hospitals" / "hospital-004" / "patients.parquet").write_bytes(b"")
    with pytest.raises(Invalid) as caught:
        find_hospitals(tmp_path, studyfile.read_to_run(tmp_path / "study.toml"))
    assert [reason.split(" has ")[0] for reason in caught.value.reasons] == ["hospital-003", "hospital-004"]


WARDS = """\
title = "Wards"
purpose = "scientific-research"
smallest_cell = 5
[tables.stays]
person = "no"
[tables.stays.columns]
ward = { is = "plain", levels = ["12", "12A", "13"] }
[[analysis]]
name = "wards"
kind = "table"
table = "stays"
by = ["ward"]
"""


def test_a_small_hospital_may_by_chance_hold_only_codes_that_look_like_numbers(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(WARDS, encoding="utf-8")
    for place, wards in enumerate((["12"] * 7 + ["12A"] * 9, ["13"] * 6 + ["12A"], ["12", "13"], ["NA"])):
        folder = tmp_path / "hospitals" / f"hospital-{place}"
        folder.mkdir(parents=True)
        rows = "".join(f"{serial},{ward}\n" for serial, ward in enumerate(wards))
        (folder / "stays.csv").write_text("no,ward\n" + rows, encoding="utf-8")
    cells = analysis(rehearse(tmp_path)[0], "wards")["cells"]
    assert {cell["ward"]: cell["n"] for cell in cells} == {"12": 8, "12A": 10, "13": 7}


def test_an_interrupted_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    data, rest = tmp_path / "data", tmp_path / "tmp"
    stroke_trial.write(data, ANALYSES, hospitals=30, people=300)
    rest.mkdir()
    command = [sys.executable, "-u", "-m", "pumasi.cli", "rehearse", str(data), "--json", str(tmp_path / "o.json")]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(rest)}, start_new_session=True
    )
    assert running.stdout is not None
    while not (line := running.stdout.readline()).startswith("3  extract"):
        assert line, running.communicate()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in said) == (130, False), said
    assert list(rest.iterdir()) == [] and not (tmp_path / "o.json").exists()


def test_folders_that_are_no_hospitals(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(WARDS, encoding="utf-8")
    study = studyfile.read_to_run(tmp_path / "study.toml")
    with pytest.raises(Invalid, match="must hold one folder for each hospital; it holds none"):
        find_hospitals(tmp_path, study)
    for name in (unicodedata.normalize("NFC", "서울병원"), unicodedata.normalize("NFD", "서울병원"), "a@b", ".hidden"):
        (tmp_path / "hospitals" / name).mkdir(parents=True)
        (tmp_path / "hospitals" / name / "stays.csv").write_text("no,ward\n1,12A\n", encoding="utf-8")
    with pytest.raises(Invalid) as caught:
        find_hospitals(tmp_path, study)
    told = " ".join(caught.value.reasons)
    assert (
        len(caught.value.reasons) == 2 and "are called '서울병원', written in two ways" in told and "'a@b' cannot be a hospital's" in told
    )


def test_the_demo_names_the_rehearsal_where_it_has_too_many_hospitals(tmp_path: Path) -> None:
    stroke_trial.write(tmp_path, ANALYSES, hospitals=41, people=200)
    with pytest.raises(Invalid, match="must hold 1 to 40 folders, one per hospital; it holds 41; `pumasi rehearse` tries a study"):
        CliRunner().invoke(app, ["demo", "--data", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize("hospitals", [1, 2, 5])
def test_a_rehearsal_comes_to_what_the_nodes_come_to_over_the_channel(tmp_path: Path, hospitals: int) -> None:
    asked: list[dict[str, Any]] = [
        {"name": "cells", "kind": "table", "table": "patients", "by": ["aspirin", "conscious"]},
        {"name": "ages", "kind": "describe", "table": "patients", "columns": ["age", "aspirin"]},
        {"name": "model", "kind": "glm", "table": "patients", "family": "binomial", "formula": "death14 ~ aspirin + age"},
        {"name": "forest", "kind": "meta", "table": "patients", "analysis": "model", "term": "aspirin"},
        {"name": "old", "kind": "count", "table": "patients", "where": "age >= 105"},
    ]
    joint = joint_jobs.Joint(tmp_path, joint_jobs.dealt(hospitals), asked)
    halves = Halves({name: joint_jobs.Local(half.tables) for name, half in joint.halves.items()})
    together = Together(
        job=joint.job, digest=joint.digest, party=Party(joint.lead, joint.keys[joint.lead], {}), tables={"patients": joint.agreed},
        exchange=Nobody(), half=halves, halves=halves, still_allowed=lambda: None, earlier=[], say=lambda _: None,
    )  # fmt: skip
    theirs = joint_jobs.results(joint.sealed()[joint.lead])
    assert joint_jobs.results(together.run()) == theirs
    assert [one["name"] for one in theirs if "refused" in one] == (["forest", "old"] if hospitals == 1 else ["old"])
