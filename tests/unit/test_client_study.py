"""What a researcher's client refuses before anything is sent, what it makes of a failed study, and how an outcome reads."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumasi.analysis import forms
from pumasi.client import outcome, study, studyfile
from pumasi.client import study as studies
from pumasi.client.asking import Asking
from pumasi.client.cli import folder_for, identities_file, remember
from pumasi.client.home import Home
from pumasi.client.results import Released, Result
from pumasi.client.study import Study
from pumasi.deid.agreement import agree
from pumasi.kernel import event as ev
from pumasi.kernel.codes import UNTIL_SEALED
from pumasi.kernel.errors import Invalid, PumasiError, Refused, Tampered
from pumasi.kernel.study import Application
from tests.casebook import HOSPITALS, RESEARCHER, Casebook
from tests.live_hub import DescribedBook, LiveHub

Live = Callable[[Casebook], LiveHub]
FILE = """\
title = "Death within 14 days"
purpose = "scientific-research"
smallest_cell = 10
[tables.patients]
person = "patient_no"
[tables.patients.columns]
name = { is = "identifier" }
birth_date = { is = "quasi", keep = "year" }
age = { is = "quasi" }
death14 = { is = "sensitive" }
[[analysis]]
name = "model"
kind = "glm"
family = "binomial"
table = "patients"
formula = "death14 ~ age"
"""


def asked(folder: Path, text: str = FILE) -> studyfile.StudyFile:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return studyfile.read(folder / "study.toml")


@pytest.fixture
def hub(live: Live) -> LiveHub:
    book = DescribedBook()
    book.play(until="datasets")
    return live(book)


# --- applying


def test_an_application_goes_to_every_hospital_that_describes_its_tables(hub: LiveHub, tmp_path: Path) -> None:
    told: list[str] = []
    project = study.apply(hub.person(RESEARCHER), asked(tmp_path), progress=told.append)
    case = hub.hub.site.world.cases[project.case]
    assert sorted(case.permits) == sorted(HOSPITALS) and told == [f"applied to 5 hospitals: case {project.case[:8]}"]
    document = Application.read(hub.hub.site.document(case.event.application).body)
    assert document.datasets == hub.hub.site.world.datasets and document.applicant == RESEARCHER
    assert project.view()["state"] == "submitted"


def test_an_application_may_name_its_hospitals(hub: LiveHub, tmp_path: Path) -> None:
    project = study.apply(hub.person(RESEARCHER), asked(tmp_path), hospitals=["들꽃병원", "river-hospital"])
    assert sorted(hub.hub.site.world.cases[project.case].permits) == ["river-hospital", "들꽃병원"]


@pytest.mark.parametrize(
    ("old", "new", "hospitals", "told"),
    [
        ("", "", ["nowhere"], "no dataset is described by nowhere"),
        ("tables.patients", "tables.visits", None, "no hospital describes the tables 'visits'"),
        ('table = "patients"', 'table = "visits"', None, ""),
        ('person = "patient_no"', 'person = "id"', None, "identify people in 'patients' by another column than 'id'"),
        ("death14 = { is", 'height = { is = "plain" }\ndeath14 = { is', None, "have no column 'height'"),
        ('age = { is = "quasi" }', 'age = { is = "quasi", keep = "year" }', None, "needs dates"),
        ('age = { is = "quasi" }', 'age = { is = "quasi", levels = ["old"] }', None, "levels that are not numbers"),
        ('"death14 ~ age"', '"death14 ~ age +"', None, "analysis 'model'"),
        ('"death14 ~ age"', '"death14 ~ (age | birth_date)"', None, "analysis 'model'"),
        ('"death14 ~ age"', '"birth_date ~ age ** 9"', None, "analysis 'model'"),
    ],
)
def test_what_does_not_fit_the_hospitals_is_refused_before_anything_is_sent(
    hub: LiveHub, tmp_path: Path, old: str, new: str, hospitals: list[str] | None, told: str
) -> None:
    text = FILE.replace(old, new) if old else FILE
    if "visits" in new:
        text = text.replace("patients", "visits") if "tables" in new else text
    size = hub.hub.site.tree.size
    with pytest.raises(Invalid) as invalid:
        study.apply(hub.person(RESEARCHER), asked(tmp_path, text), hospitals=hospitals)
    assert any(told in reason for reason in invalid.value.reasons), invalid.value.reasons
    assert hub.hub.site.tree.size == size


def test_a_catalogue_that_the_hub_changed_is_noticed(hub: LiveHub, tmp_path: Path) -> None:
    researcher = hub.person(RESEARCHER)
    assert sorted(study.described(researcher)) == sorted(HOSPITALS)
    hub.hub.site.world.datasets["river-hospital"] = hub.hub.site.world.datasets["들꽃병원"]
    with pytest.raises(Tampered, match="describes the data of another hospital"):
        study.described(researcher)
    with hub.hub.site.database.begin() as db:
        db.execute("UPDATE documents SET data = ? WHERE commitment = ?", (b"{}", hub.hub.site.world.datasets["들꽃병원"]))
    with pytest.raises((Tampered, PumasiError)):
        study.described(researcher)


# --- what comes back


def project_of(live: Live, tmp_path: Path, book: DescribedBook, until: str) -> tuple[LiveHub, Study]:
    book.play(until=until)
    hub = live(book)
    application = Application.read(book.body(book.applied))
    datasets = [hub.hub.site.document(book.world.datasets[name]).body for name in book.hospitals]
    tables = agree(application, [study.Dataset.read(body) for body in datasets])
    return hub, Study(hub.person(RESEARCHER), application, tables, lambda _: None)


def test_every_key_of_study_toml_is_an_argument_of_the_method_of_its_kind() -> None:
    taken = {kind: set(inspect.signature(getattr(Asking, kind)).parameters) for kind in forms.FORMS}
    assert {kind: set(forms.written(kind)) - taken[kind] for kind in forms.FORMS} == {kind: set() for kind in forms.FORMS}


def test_columns_are_given_one_by_one_or_as_a_list(live: Live, tmp_path: Path) -> None:
    class Told(Study):
        def ask(self, analyses: list[dict[str, Any]]) -> Released:
            return Released("", "", {}, [Result(analyses[0])])

    _, project = project_of(live, tmp_path, DescribedBook(), "opened")
    told = Told(project.home, project.application, project.tables, lambda _: None)
    assert [told.describe(*given, table="t")["columns"] for given in (("a", "b"), (["a", "b"],))] == [["a", "b"]] * 2


def test_a_kind_that_no_board_has_seen_is_not_sent(live: Live, tmp_path: Path) -> None:
    _, project = project_of(live, tmp_path, DescribedBook(), "opened")
    other = next(kind for kind in forms.FORMS if kind not in project.application.kinds)
    with pytest.raises(Invalid, match=f"allow .*, not {other}: boards see the kinds"):
        project.ask([{"name": "a", "kind": other, "table": "patients"}])


def test_a_job_waits_for_another_project_of_its_organisation_and_for_nothing_else(live: Live, tmp_path: Path) -> None:
    answers: list[str | None] = [f"another project of your organisation has a job running at H; {UNTIL_SEALED}"] * 2 + [None]
    said: list[str] = []

    class Busy(Study):
        def _send(self, questions: list[dict[str, Any]], hospitals: list[str]) -> str:
            if (reason := answers.pop(0)) is not None:
                raise Refused(reason)
            return "sent"

        def view(self, *, newer: bool = False) -> dict[str, Any]:
            assert newer  # it waits for news rather than asking at once
            return {}

    _, project = project_of(live, tmp_path, DescribedBook(), "opened")
    busy = Busy(project.home, project.application, project.tables, said.append)
    assert busy._submit([], []) == "sent" and answers == []
    assert len(said) == 1 and "goes on by itself" in said[0]
    answers.append("the permit does not cover it")
    with pytest.raises(Refused, match="does not cover"):
        busy._submit([], [])


def test_a_board_that_says_no_ends_the_waiting(live: Live, tmp_path: Path) -> None:
    book = DescribedBook()
    book.play(until="submitted")
    first = book.hospitals[0]
    for voter in book.drb_of(first):
        book.commit_vote(voter, decision="reject")
    for voter in book.drb_of(first):
        book.open_vote(voter)
    hub = live(book)
    project = Study(hub.person(RESEARCHER), Application.read(book.body(book.applied)), {}, lambda _: None)
    with pytest.raises(Refused, match=f"the data review board of {first} has rejected the study"):
        project.wait_for_permits()


def test_an_ethics_board_that_says_no_ends_the_waiting(live: Live, tmp_path: Path) -> None:
    book = DescribedBook()
    book.play(until="submitted")
    first = book.hospitals[0]
    book.say(ev.IrbDecided, f"irb@{first}", application=book.applied, decision="rejected", reason="0" * 64)
    hub = live(book)
    project = Study(hub.person(RESEARCHER), Application.read(book.body(book.applied)), {}, lambda _: None)
    with pytest.raises(Refused, match=f"the ethics board of {first} has rejected the study"):
        project.wait_for_permits()


def test_a_permit_that_has_ended_ends_the_study_with_its_reason(live: Live, tmp_path: Path) -> None:
    book = DescribedBook()
    hub, project = project_of(live, tmp_path, book, "opened")
    first = book.hospitals[0]
    said = len(book.log)
    book.say(ev.PermitEnded, f"steward@{first}", hospital=first, reason="revoked")
    hub.hub.log.submit(book.log[said:])
    with pytest.raises(Refused, match=f"the permit of {first} has ended: the hospital's data steward revoked it"):
        project.table("death14", table="patients")


def result(**values: Any) -> dict[str, Any]:
    return {"name": "who", "kind": "table", "table": "patients", "hospitals": ["a", "b"], "rounds": 1, **values}


def test_a_refused_result_raises_its_reasons_when_it_is_used() -> None:
    refused = Result(result(refused=["too few people"]))
    assert refused.refused == ["too few people"] and refused["name"] == "who"
    with pytest.raises(Refused, match="too few people"):
        _ = refused["cells"]
    with pytest.raises(Refused):
        _ = refused.coefficients
    assert refused.summary() == "who: refused\n  too few people"
    with pytest.raises(KeyError):
        _ = Result(result())["cells"]


def test_results_read_as_text() -> None:
    cells = [{"aspirin": 1, "n": 1234}, {"aspirin": 0, "n": None}]
    columns = {"age": {"n": 12, "missing": 0, "mean": 61.25, "sd": None}}
    table = result(n=None, by=["aspirin"], cells=cells, percent={"total": [None, None]})
    analyses = [table, result(name="base", kind="describe", n=12, columns=columns), result(name="m", refused=["no"])]
    text = outcome.text({"analyses": analyses})
    assert "who  (table, 2 hospitals)" in text and "1,234" in text and "— people" in text
    assert re.search(r"age +12 +0 +61.25 \(—\)", text) and "— left out" in text
    assert "  refused: no" in text
    assert Result(table).csv().splitlines()[1:] == ["who,table,1,1234,", "who,table,0,,"]


def test_the_exit_code_says_whether_anything_was_refused() -> None:
    assert (outcome.exit_code({"refusals": []}), outcome.exit_code({"refusals": [{"analysis": "m"}]})) == (0, 3)


def test_an_outcome_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    outcome.write({"제목": "연구"}, tmp_path / "o.json")
    assert json.loads((tmp_path / "o.json").read_text(encoding="utf-8")) == {"제목": "연구"}
    with pytest.raises(TypeError):
        outcome.write({"x": object()}, tmp_path / "o.json")
    assert json.loads((tmp_path / "o.json").read_text(encoding="utf-8")) == {"제목": "연구"}
    assert [file.name for file in tmp_path.iterdir()] == ["o.json"]


# --- which folder at which hub


def test_a_folder_is_remembered_for_each_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(Invalid, match="no folder of yours is known for https://a:1; give --home FOLDER"):
        folder_for("https://a:1")
    for hub, folder in (("https://a:1", "/home/나"), ("https://b:1", '/home/"b"'), ("https://a:1", "/home/c\\d")):
        remember(hub, Path(folder))
    assert (folder_for("https://a:1"), folder_for("https://b:1")) == (Path("/home/c\\d"), Path('/home/"b"'))
    assert identities_file() == tmp_path / "pumasi" / "identities.toml"


@pytest.mark.parametrize("data", [b"x = ", b"\xff\xfe"])
def test_a_list_of_folders_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    identities_file().parent.mkdir()
    identities_file().write_bytes(data)
    with pytest.raises(Invalid, match=r"identities\.toml"):
        folder_for("https://a:1")


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"x = ", "not valid TOML"), (b"\xff", "UTF-8"), (b'id = "x"\n', "names no hub"), (b'hub = "https://x"\n', "names no id")],
)
def test_an_identity_that_cannot_be_read_says_so(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "identity.toml").write_bytes(data)
    with pytest.raises(Invalid, match=told):
        Home(tmp_path)


def view_of(at_least: int, **failures: tuple[str, list[str]]) -> dict[str, Any]:
    hospitals = ("a", "b", "c", "d")
    job = {name: {"failure": failures.get(name, (None, []))[0], "waited_for": failures.get(name, (None, []))[1]} for name in hospitals}
    return {"hospitals": {name: {"hospitals_at_least": at_least} for name in hospitals}, "jobs": {"job": job}}


@pytest.mark.parametrize(
    ("view", "left"),
    [
        (view_of(3, a=("missing-hospital", ["d"]), b=("missing-hospital", ["d"])), ["a", "b", "c"]),
        (view_of(2, a=("missing-hospital", ["c", "d"])), ["a", "b"]),
        (view_of(4, a=("missing-hospital", ["d"])), []),  # a permit asks for all
        (view_of(3, a=("missing-hospital", [])), []),  # nobody is named
        (view_of(3, a=("missing-hospital", ["d"]), b=("tampered", [])), []),  # and something else happened
        (view_of(1, a=("missing-hospital", ["a", "b", "c", "d"])), []),
    ],
)
def test_who_may_go_on_without_a_silent_hospital(view: dict[str, Any], left: list[str]) -> None:
    assert studies.without_the_silent("job", view, ["a", "b", "c", "d"]) == left
