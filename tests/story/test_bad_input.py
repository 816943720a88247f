"""What bad input gets: an exit code, a sentence with what, where and what to do, and nothing left behind.

Every file here holds marked values (a name, a number, a text where a number belongs), and no message may repeat one of them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.story import harness

NAME, WRONG, NUMBER = "Geheim-Kim", "geheim4711", "777123"
MARKS = (NAME, WRONG, NUMBER)
HEADER = "patient_no,name,age,aspirin,death14,ward"
STUDY = """\
title = "Deaths by ward"
purpose = "scientific-research"
smallest_cell = 5
[tables.patients]
person = "patient_no"
[tables.patients.columns]
age = { is = "quasi" }
aspirin = { is = "plain" }
death14 = { is = "sensitive" }
ward = { is = "plain" }

[[analysis]]
name = "deaths"
kind = "table"
table = "patients"
by = ["death14"]
"""


def rows(seed: int, people: int = 40, *, header: str = HEADER) -> str:
    draw = random.Random(seed)
    lines = [header]
    for number in range(people):
        age = f"{draw.randint(40, 90)}.{draw.randint(1, 9)}"
        lines.append(f"S{seed}-{NUMBER}-{number},{NAME},{age},{draw.randint(0, 1)},{draw.randint(0, 1)},{draw.choice('AB')}")
    return "\n".join(lines) + "\n"


def asking(formula: str) -> str:
    return f'{STUDY}\n[[analysis]]\nname = "model"\nkind = "glm"\nfamily = "binomial"\ntable = "patients"\nformula = "{formula}"\n'


def beta(content: str | bytes) -> dict[str, dict[str, bytes | str]]:
    """A good hospital alpha beside a hospital beta with this file."""
    return {"alpha": {"patients.csv": rows(1)}, "beta": {"patients.csv": content}}


def tell(folder: Path, study: str, hospitals: Mapping[str, Mapping[str, bytes | str]]) -> harness.Ended:
    """`pumasi demo --data` on these files; whatever happens, it says no value, shows no traceback and leaves nothing."""
    harness.write_study(folder / "data", study, hospitals)
    ended = harness.run_alone(folder, "demo", "--data", "data", "--json", "outcome.json")
    assert not [mark for mark in MARKS if mark in ended.said], ended.said
    assert "Traceback" not in ended.said
    assert ended.left_processes == [] and ended.left_files == []
    written = [path for path in folder.rglob("*") if path.is_file() and "data" not in path.relative_to(folder).parts]
    assert not [path for path in written if path.suffix == ".part"]
    for path in written:
        assert not [mark for mark in MARKS if mark.encode() in path.read_bytes()], path
    return ended


GOOD = beta(rows(2))
BAD_FILES: dict[str, tuple[str, Mapping[str, Mapping[str, bytes | str]], list[str]]] = {
    "two columns of one name": (STUDY, beta(rows(2, header=HEADER.replace("aspirin", "age"))), ["beta", "columns 3 and 4", "rename"]),
    "an empty file": (STUDY, beta(""), ["beta", "the file is empty", "export"]),
    "only a header": (STUDY, beta(HEADER + "\n"), ["beta", "no rows", "export"]),
    "a torn row": (STUDY, beta(rows(2) + f"S2,{WRONG}\n"), ["beta", "line 42", "2 cells where the header has 6"]),
    "neither UTF-8 nor CP949": (STUDY, beta(rows(2).encode() + b"\xff\xff\xff\n"), ["beta", "UTF-8"]),
    "a person without a number": (STUDY, beta(rows(2).replace(f"S2-{NUMBER}-7,", ",")), ["beta", "'patient_no'", "line 9"]),
    "a hospital without the table": (
        STUDY,
        {"alpha": {"patients.csv": rows(1)}, "beta": {"others.csv": rows(2)}},
        ["beta", "patients.csv"],
    ),
    "no hospital": (STUDY, {}, ["data/hospitals", "one folder for each hospital", "it holds none"]),
    "41 hospitals": (STUDY, {f"h{n:02}": {"patients.csv": rows(n, 1)} for n in range(41)}, ["1 to 40", "it holds 41"]),
    "an unknown key": (STUDY.replace("by = ", "bye = "), GOOD, ["line 16", "unknown key 'bye'"]),
    "an unknown column": (asking("death14 ~ age + weight"), GOOD, ["line 23", "'weight'", "age, aspirin, death14, ward"]),
    "Python in a formula": (asking("death14 ~ np.log(age)"), GOOD, ["line 23", "'np.log'"]),
    "an import in a formula": (asking("death14 ~ __import__('os')"), GOOD, ["line 23", "'__import__'"]),
    "an unknown purpose": (STUDY.replace("scientific-research", "marketing"), GOOD, ["line 2", "purpose", "public-health"]),
    "no smallest cell": (STUDY.replace("cell = 5", "cell = 0"), GOOD, ["line 3", "smallest_cell"]),
    "no TOML": (STUDY.replace('"Deaths by ward"', "Deaths"), GOOD, ["study.toml", "line 1"]),
    "no analysis": (STUDY.partition("[[analysis]]")[0], GOOD, ["study.toml", "[[analysis]]"]),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_input_ends_in_a_sentence(what: str, tmp_path: Path) -> None:
    study, hospitals, words = BAD_FILES[what]
    ended = tell(tmp_path, study, hospitals)
    assert ended.code == 2, ended.said
    assert not [word for word in words if word not in ended.err], ended.err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "outcome.json").exists()
    assert "2  found" not in ended.out, "bad input must end the story before any process starts"


def test_a_process_that_stays_would_be_seen(tmp_path: Path) -> None:
    """What the other tests here rest on: whoever outlives its command is found, also with a session of its own."""
    left = tmp_path / "left.json"
    command = [sys.executable, "-I", "-S", str(harness.ALONE), "0.5", str(left), "sh", "-c", "setsid sleep 77 & exit 3"]
    assert subprocess.run(command, check=False).returncode == 3
    assert json.loads(left.read_text()) == ["sleep 77 "]


def test_no_study_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ended = harness.run_alone(tmp_path, "demo", "--data", "data")
    assert (ended.code, ended.err) == (2, "there is no study file at data/study.toml\n")


def test_hospitals_that_do_not_fit_together(tmp_path: Path) -> None:
    """A column that one hospital lacks, and text where the other has numbers: both are said at once, with the hospital."""
    missing = rows(1, header=HEADER.replace("ward", "station"))
    ended = tell(tmp_path, STUDY, {"alpha": {"patients.csv": missing}, "beta": {"patients.csv": rows(2).replace(".3,", f".3{WRONG},")}})
    assert ended.code == 2, ended.said
    assert not (tmp_path / "runs").exists()
    assert "alpha has no column 'ward'" in ended.err
    assert "patients.age" in ended.err and "alpha holds number values; beta holds text values" in ended.err


REFUSED = """\
title = "What nobody may know"
purpose = "scientific-research"
smallest_cell = 10
[tables.patients]
person = "patient_no"
[tables.patients.columns]
age = { is = "quasi" }
twice = { is = "quasi" }
old = { is = "plain" }
rare = { is = "plain" }
death14 = { is = "sensitive" }
ward = { is = "plain", levels = ["A", "B"] }
unit = { is = "plain", levels = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r"] }
"""


def refused_study() -> str:
    """One good analysis, and one for each reason to refuse."""
    models = {
        "fine": "death14 ~ age",
        "collinear": "death14 ~ age + twice",
        "separated": "old ~ age",
        "too few with it": "death14 ~ age + rare",
        "too many terms": "death14 ~ age + unit",
        "another level": "death14 ~ age + ward",
    }
    form = '\n[[analysis]]\nname = "{}"\nkind = "glm"\nfamily = "binomial"\ntable = "patients"\nformula = "{}"\n'
    return REFUSED + "".join(form.format(name, formula) for name, formula in models.items())


def awkward(seed: int) -> str:
    """40 people: a doubled column, an outcome that a column decides, a rare trait, many units, and one ward nobody agreed on."""
    draw = random.Random(seed)
    lines = ["patient_no,name,age,twice,old,rare,death14,ward,unit"]
    for number in range(40):
        age = draw.randint(40, 90)
        ward = WRONG if number == 0 else draw.choice("AB")
        unit = "abcdefghijklmnopqr"[number % 18]
        lines.append(
            f"S{seed}-{NUMBER}-{number},{NAME},{age},{2 * age},{int(age > 65)},{int(number < 2)},{draw.randint(0, 1)},{ward},{unit}"
        )
    return "\n".join(lines) + "\n"


def test_refused_analyses_stay_in_the_list_and_the_others_finish(tmp_path: Path) -> None:
    """CP949, UTF-16 and UTF-8 files in one study; afterwards every log is searched as well."""
    data = harness.write_study(
        tmp_path / "data",
        refused_study(),
        {
            "alpha": {"patients.csv": awkward(1).replace(NAME, f"{NAME} 가상환자").encode("cp949")},
            "beta": {"patients.csv": awkward(2).encode("utf-16")},
            "gamma": {"patients.csv": awkward(3)},
        },
    )
    system = harness.keep(tmp_path, data)
    try:
        assert system.code == 3, system.said
        logs = b"".join(content for _, content in system.logs()) + system.said.encode()
    finally:
        system.stop()
    assert harness.marked(system.mark) == [] and not list((tmp_path / "tmp").iterdir())
    assert b"Traceback" not in logs and not [mark for mark in MARKS if mark.encode() in logs]
    outcome = read_outcome(tmp_path)
    found = {analysis["name"]: analysis for analysis in outcome["analyses"]}
    assert list(found) == ["fine", "collinear", "separated", "too few with it", "too many terms", "another level"]
    assert "coefficients" in found["fine"] and "refused" not in found["fine"]
    for name, analysis in found.items():
        if name != "fine":
            assert analysis["refused"] and "coefficients" not in analysis and "n" not in analysis, name
            reasons = " ".join(analysis["refused"]).replace("death14", "")
            assert not any(sign.isdigit() for sign in reasons), reasons
    assert [refusal["analysis"] for refusal in outcome["refusals"]] == [name for name in found if name != "fine"]
    words = {
        "collinear": ("collinear", "collinear"),
        "separated": ("separat", "separation"),
        "too few with it": ("rare", "small-side"),
        "too many terms": ("paramet", "too-many-parameters"),
        "another level": ("'ward'", "unknown-level"),
    }
    for name, (word, meant) in words.items():
        told = zip(found[name]["refused"], found[name]["reasons"], strict=True)
        assert [code for sentence, code in told if word in sentence and code == meant], found[name]
    assert harness.verify(outcome["bundle"], system.system["policy"]).returncode == 0


def test_few_people_name_no_level(tmp_path: Path) -> None:
    ended = tell(tmp_path, STUDY.replace("cell = 5", "cell = 10"), {"alpha": {"patients.csv": rows(1, 6)}})
    assert ended.code == 2, ended.said
    assert "'death14'" in ended.err and "levels = [...]" in ended.err


FEW = asking("death14 ~ age").replace("cell = 5", "cell = 10").replace('"sensitive" }', '"sensitive", levels = [0, 1] }')


def test_one_small_hospital(tmp_path: Path) -> None:
    """One hospital's own sum is the whole: too few people, and a table shows no count, a model is refused."""
    ended = tell(tmp_path, FEW, {"alpha": {"patients.csv": rows(1, 6)}})
    assert ended.code == 3, ended.said
    table, model = read_outcome(tmp_path)["analyses"]
    assert table["n"] is None and {cell["n"] for cell in table.get("cells", [])} <= {None}
    assert model["refused"] and "coefficients" not in model
    assert "masks hide nothing" in ended.out


def test_two_hospitals_of_which_one_is_small(tmp_path: Path) -> None:
    """Together they are enough, but each could subtract its own part: what one has too few people for is refused."""
    ended = tell(tmp_path, FEW, beta(rows(2, 6)))
    assert ended.code == 3, ended.said
    table, model = read_outcome(tmp_path)["analyses"]
    assert table["refused"] and "cells" not in table and model["refused"] and "coefficients" not in model
    assert "masks hide nothing" in ended.out


def read_outcome(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    return value
