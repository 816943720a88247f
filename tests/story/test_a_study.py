"""The whole story once, and its numbers against the pooled ones: five hospitals that no test has looked into before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.story import harness, studies
from tests.story.harness import Kept

PARTS = {"analyses", "releases", "permits", "deletions", "refusals", "ledger", "seconds", "bundle", "rehearsal"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "first_study.py"


@pytest.fixture(scope="module")
def outcome(kept: Kept) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((kept.folder / "outcome.json").read_text(encoding="utf-8"))
    return value


def by_name(outcome: dict[str, Any], name: str) -> dict[str, Any]:
    return next(analysis for analysis in outcome["analyses"] if analysis["name"] == name)


def test_the_outcome_has_the_promised_parts(kept: Kept, outcome: dict[str, Any]) -> None:
    assert set(outcome) == PARTS | {"case", "title"}
    hospitals = sorted(kept.nodes)
    assert [analysis["kind"] for analysis in outcome["analyses"]] == ["table", "describe", "glm"]
    for analysis in outcome["analyses"]:
        assert {"name", "kind", "n", "hospitals", "rounds"} <= set(analysis) and analysis["hospitals"] == hospitals
        assert "refused" not in analysis and analysis["rounds"] >= 1
    (release,) = outcome["releases"]
    assert len(release["sha256"]) == 64 and sorted(release["reviewers"]) == hospitals
    for hospital, reviewers in release["reviewers"].items():
        assert reviewers == [f"checker-1@{hospital}", f"checker-2@{hospital}"]
    assert sorted(permit["hospital"] for permit in outcome["permits"]) == hospitals
    assert len({permit["permit"] for permit in outcome["permits"]}) == len(hospitals)
    assert sorted(deletion["hospital"] for deletion in outcome["deletions"]) == hospitals
    assert all(deletion["both_keys_destroyed"] for deletion in outcome["deletions"])
    assert outcome["refusals"] == [] and outcome["rehearsal"] is False
    assert len(outcome["ledger"]["cosigners"]) > len(hospitals) // 2 and outcome["ledger"]["size"] > 100
    assert all(seconds >= 0 for seconds in outcome["seconds"].values())
    assert Path(outcome["bundle"]).is_file()


def test_counts_are_the_pooled_counts(kept: Kept, outcome: dict[str, Any]) -> None:
    studies.check_table(by_name(outcome, "who was treated"), studies.pooled(kept.folder / "data"))


def test_a_description_is_the_pooled_description(kept: Kept, outcome: dict[str, Any]) -> None:
    frame, found = studies.pooled(kept.folder / "data"), by_name(outcome, "baseline")
    age, aspirin = found["columns"]["age"], found["columns"]["aspirin"]
    assert found["n"] == len(frame)
    assert (age["n"], age["missing"]) == (frame["age"].count(), frame["age"].isna().sum())
    assert age["mean"] == pytest.approx(frame["age"].mean(), rel=1e-12) and age["sd"] == pytest.approx(frame["age"].std(), rel=1e-12)
    assert (aspirin["n"], aspirin["missing"]) == (frame["aspirin"].count(), frame["aspirin"].isna().sum())
    assert aspirin["levels"] == {"0": (frame["aspirin"] == 0).sum(), "1": (frame["aspirin"] == 1).sum()}


def test_a_model_is_the_pooled_model(kept: Kept, outcome: dict[str, Any]) -> None:
    studies.check_glm(by_name(outcome, "death14 model"), studies.pooled(kept.folder / "data"))


def test_the_bundle_proves_the_case(kept: Kept, outcome: dict[str, Any], tmp_path: Path) -> None:
    assert harness.verify(outcome["bundle"], kept.system["policy"]).returncode == 0
    data = Path(outcome["bundle"]).read_bytes()
    changed = tmp_path / "changed.json"
    changed.write_bytes(data.replace(b'"smallest_cell":10', b'"smallest_cell":11', 1))
    assert changed.read_bytes() != data
    checked = harness.verify(changed, kept.system["policy"])
    assert checked.returncode != 0 and "Traceback" not in checked.stdout + checked.stderr


def test_certificates_say_what_was_destroyed(outcome: dict[str, Any]) -> None:
    bundle = json.loads(Path(outcome["bundle"]).read_text(encoding="utf-8"))
    found = [document["body"] for document in bundle["documents"].values()]
    signed = [body["body"] for body in found if "attempts" in body.get("body", {})]
    certificates = {body["hospital"]: body for body in signed if "purged" in body}
    shares = {body["hospital"]: body for body in signed if "purged" not in body}
    assert sorted(certificates) == sorted(shares) == sorted(permit["hospital"] for permit in outcome["permits"])
    assert all(certificate["attempts"] == certificate["failures"] > 0 for certificate in signed)
    for certificate in certificates.values():
        assert [purge["what"] for purge in certificate["purged"]] == ["workspace", "scratch", "held-outputs"]
        assert all(purge["residual"] == 0 for purge in certificate["purged"])
        assert certificate["objects"] == 1 and certificate["bytes"] > 0 and certificate["not_covered"]
        assert certificate["released"] == [outcome["releases"][0]["sha256"]]


def test_nothing_is_left_of_a_closed_case(kept: Kept, outcome: dict[str, Any]) -> None:
    case = outcome["case"]
    for hospital in kept.nodes:
        home = kept.home(hospital)
        assert not (home / "workspaces" / case).exists() and not (home / "keys" / "permits" / f"{case}.key").exists()
    assert not list((kept.root / "hub" / "shares").glob(f"{case}-*"))


def test_two_studies_on_one_system(kept: Kept) -> None:
    """One alone by the plain command; then it again, beside another one from the same folder, named by PUMASI_HOME.

    Where their jobs meet, one of the two waits: what an organisation is answered counts for its next question.
    """
    frame = studies.pooled(kept.folder / "data")
    first = kept.study(studies.SECOND, "first")
    assert first.end() == 0, first.said
    both = [kept.study(studies.SECOND, "again"), kept.study(studies.SMALL, "beside", home=kept.researcher)]
    assert [run.end() for run in both] == [0, 0], both[0].said + both[1].said
    again, beside = (run.outcome() for run in both)
    studies.check_table(by_name(again, "sexes"), frame)
    studies.check_glm(by_name(again, "age model"), frame)
    studies.check_table(by_name(beside, "deaths"), frame)
    assert by_name(first.outcome(), "age model")["coefficients"].keys() == by_name(again, "age model")["coefficients"].keys()
    cases = [first.outcome(), again, beside]
    assert len({found["case"] for found in cases}) == 3
    permits = [permit["permit"] for found in cases for permit in found["permits"]]
    assert len(permits) == len(set(permits)) == 3 * len(kept.nodes)
    assert {permit["smallest_cell"] for permit in again["permits"]} == {15}
    policy = kept.folder / "policy.txt"
    shutil.copyfile(kept.system["policy"], policy)
    for found in cases:
        checked = harness.verify(found["bundle"], policy)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_researcher_does_it_in_ten_lines(kept: Kept) -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLE), kept.hub, str(kept.folder / "data" / "study.toml")],
        cwd=kept.folder, env=kept.environment(), capture_output=True, text=True, timeout=harness.PATIENCE,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    pool = studies.fit(studies.pooled(kept.folder / "data"), "death14 ~ aspirin + age + conscious", "binomial")
    assert "Generalized Linear Model Regression Results" in run.stdout
    assert f"{pool.params['aspirin']:.4f}" in run.stdout and f"{pool.bse['age']:.3f}" in run.stdout
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").partition('"""\n\n')[2].splitlines() if line.strip()]
    assert len(lines) <= 13
