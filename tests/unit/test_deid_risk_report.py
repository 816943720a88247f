"""Histories, links, utility and the report: what they find in tables where it is known, and that no value gets into a report."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pumasi.cli import app
from pumasi.deid import engine
from pumasi.deid.reading import read
from pumasi.deid.risk.classes import classes
from pumasi.deid.risk.links import links
from pumasi.deid.risk.longitudinal import longitudinal
from pumasi.deid.risk.model import scores
from pumasi.deid.risk.pictures import class_sizes, percent, short
from pumasi.deid.risk.report import Question, as_json, examine, write
from pumasi.deid.risk.utility import cramers_v, kept, relations
from pumasi.kernel.errors import Invalid
from tests.risk_tables import made, words

# --- histories ---


def test_events_that_only_one_person_had_single_out_at_once() -> None:
    rows = words("\n".join(f"p{person} 2020-01-{person + 1:02} c{person} " for person in range(20)))
    with made("person day code", rows) as table:
        by_day, by_month, by_year, by_code = longitudinal(table, person="person", events=["day", "code"])
    assert [one.precision for one in (by_day, by_month, by_year, by_code)] == ["day", "month", "year", "none"]
    assert all(one.singled[0] == 1.0 and one.enough == 1 and one.people == 20 for one in (by_day, by_month, by_year, by_code))
    assert by_day.singled[1] is None  # nobody has two events


def test_coarser_dates_need_more_events() -> None:
    """Pairs of people share their month; the day alone tells them apart."""
    rows = words("\n".join(f"p{one} 2020-{one // 2 + 1:02}-{one % 2 + 1:02}" for one in range(24)))
    with made("person day", rows) as table:
        by_day, by_month, by_year, none = longitudinal(table, person="person", events=["day"])
    assert (by_day.singled[0], by_month.singled[0], by_year.singled[0]) == (1.0, 0.0, 0.0)
    assert none.people == 0  # without dates no event is left


def test_dates_count_however_they_are_written() -> None:
    rows = words("\n".join(f"p{one} 2020{one // 2 + 1:02}{one % 2 + 1:02}" for one in range(24)))
    with made("person day", rows) as table:
        by_day, by_month, *_ = longitudinal(table, person="person", events=["day"])
    assert (by_day.singled[0], by_month.singled[0]) == (1.0, 0.0)


def test_two_common_codes_may_be_one_rare_pair() -> None:
    rows = words("p1 a\np1 b\np2 a\np2 c\np3 b\np3 c")
    with made("person code", rows) as table:
        (found,) = longitudinal(table, person="person", events=["code"])
    assert found.singled[:2] == (0.0, 1.0)
    assert (found.drawn, found.enough) == ((3, 3, 0, 0, 0, 0), 2)


def test_rows_without_a_person_are_passed_over() -> None:
    with made("person code", words("p1 a\n- a\np2 b\n- -\np2 -")) as table:
        (found,) = longitudinal(table, person="person", events=["code"])
        with pytest.raises(Invalid) as caught:
            longitudinal(table, person="person", events=["person", "nix"])
    assert (found.people, found.singled[0]) == (2, 1.0)
    assert len(caught.value.reasons) == 2


# --- links ---


def test_families_and_pointers_are_links_and_wards_and_measurements_are_not() -> None:
    generator = random.Random(7)
    rows = [
        (
            f"p{one}",
            f"h{one // 3}",
            f"p{(one * 7 + 1) % 300}",
            f"w{one % 4}",
            f"{generator.gauss(100, 5):.1f}",
            f"2020-01-{one % 28 + 1:02}",
        )
        for one in range(300)
    ]
    with made("id household mother ward glucose seen", rows) as table:
        found = {one.column: one for one in links(table) or ()}
    assert set(found) == {"household", "mother"}
    assert (found["household"].groups, found["household"].share, found["household"].refers_to) == (100, 1.0, None)
    assert found["mother"].refers_to == "id"


def test_a_table_too_large_is_not_searched_unasked() -> None:
    with made("a b", words("1 x\n2 x")) as table:
        assert links(table, effort=3) is None
        assert links(table, columns=["b"], effort=3) is not None


# --- utility ---


def test_information_left_is_a_ratio_of_entropies() -> None:
    with made("v n", words("a 1\nb 2\nc 3\nd 4")) as before:
        before.connection.execute("CREATE TABLE later AS SELECT CASE WHEN v < 'c' THEN 'ab' ELSE 'cd' END AS v, n FROM given")
        from dataclasses import replace

        v, n = kept(before, replace(before, sql="SELECT * FROM later"))
    assert (v.information, v.levels, v.distance) == (pytest.approx(0.5), (4, 2), 1.0)
    assert (n.information, n.distance, n.quantiles[0]) == (1.0, 0.0, pytest.approx((1.15, 1.75, 2.5, 3.25, 3.85)))


def test_quantiles_are_nobodys_number() -> None:
    ids = [20_000_003 + 70_001 * number for number in range(21)]
    with made("id kept", words("\n".join(f"{one} {one}" for one in ids))) as before:
        before.connection.execute("CREATE TABLE later AS SELECT sha256(CAST(id AS VARCHAR)) AS id, kept FROM given")
        from dataclasses import replace

        hidden, shown = kept(before, replace(before, sql="SELECT * FROM later"))
    assert hidden.quantiles == (None, None)
    assert shown.quantiles[0] is not None and not set(shown.quantiles[0]) & set(map(float, ids))


def test_relations_are_one_for_the_same_and_none_for_the_unrelated() -> None:
    rows = words("\n".join(f"{a} {a * 2} {b}" for a in "abcd" for b in "xyz" for _ in range(10)))
    with made("a twice b", rows) as table:
        joint = classes(table, quasi=["a"], sensitive=["twice", "b"]).joint
    found = relations(joint, joint)
    assert found.before[0, 1] == pytest.approx(1.0)
    assert found.before[0, 2] == found.before[1, 2] == 0.0
    assert found.change == 0.0


def test_cramers_v_is_corrected_for_chance() -> None:
    """30, 10, 10, 30: chi2 = 20 of 80 rows, so (1/4 - 1/79) / (1 - 1/79) under the root."""
    found = cramers_v(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([30, 10, 10, 30]))
    assert found == pytest.approx(((1 / 4 - 1 / 79) / (1 - 1 / 79)) ** 0.5)


def test_the_model_learns_what_there_is_to_learn() -> None:
    generator = random.Random(5)
    rows = [(one := generator.choice("ab"), "ill" if one == "a" else "well", generator.choice("uvw")) for _ in range(2000)]
    with made("q s noise", rows) as table:
        told, guessed = scores(classes(table, quasi=["q"], sensitive=["s", "noise"]))
        again, _ = scores(classes(table, quasi=["q"], sensitive=["s", "noise"]))
    assert told.accuracy == 1.0 and told.gained > 0.95 and told.baseline < 0.6
    assert guessed.gained < 0.01 and guessed.accuracy < 0.45
    assert again == told


# --- the report ---

SECRET = ("Kowalczyk", "Zebulon", "Quixote", "O'Brien")


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """A table with values that cannot be mistaken for words of the report, and column names that must be escaped."""
    generator = random.Random(3)
    path = tmp_path / "patients.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["나이 <b>&", "region $x$", "진단", "visit", "person"])
        for one in range(400):
            row = [
                generator.randint(20, 79),
                generator.choice(SECRET),
                generator.choice(["Xanthoma", "Yaws", ""]),
                f"2021-{one % 12 + 1:02}-11",
            ]
            writer.writerow([*row, f"pid{one // 2}"])
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    from pumasi.kernel.errors import PumasiError

    try:
        done = CliRunner().invoke(app, ["deid", "risk", *map(str, arguments)], catch_exceptions=False)
    except PumasiError as error:
        return error.exit_code, "\n".join(error.reasons)
    return done.exit_code, done.output


def test_the_command_prints_the_fixed_keys(patients: Path) -> None:
    code, out = run(patients, "--quasi", "나이 <b>&,region $x$", "--sensitive", "진단", "--population", 5000)
    found = json.loads(out)
    assert code == 0
    fixed = ["rows", "classes", "k", "uniques", "average_risk", "prosecutor", "journalist", "marketer", "l", "t", "population_uniques"]
    assert set(fixed) <= set(found) and [key for key in found if key in fixed] == fixed
    assert found["rows"] == 400 and found["average_risk"] == found["classes"] / 400 and found["prosecutor"] == 1 / found["k"]
    assert found["journalist"] < found["prosecutor"] and found["marketer"] < found["average_risk"]


def test_without_population_and_sensitive_columns_there_is_null(patients: Path) -> None:
    _, out = run(patients, "--quasi", "region $x$")
    found = json.loads(out)
    assert (found["l"], found["t"], found["population_uniques"]) == (None, None, None)
    assert (found["journalist"], found["marketer"]) == (found["prosecutor"], found["average_risk"])


def test_a_report_is_the_same_when_made_again_and_names_its_figures(patients: Path, tmp_path: Path) -> None:
    asked = ("--quasi", "나이 <b>&,region $x$", "--sensitive", "진단", "--after", patients, "--person", "person", "--events", "visit")
    digests = set()
    for name in ("one", "two"):
        code, out = (
            run(tmp_path / "copy.csv", *asked, "--json", tmp_path / f"{name}.json", "--report", tmp_path / f"{name}.html")
            if ((tmp_path / "copy.csv").write_bytes(patients.read_bytes()))
            else (1, "")
        )
        assert (code, out) == (0, "")
        digests.add(hashlib.sha256((tmp_path / f"{name}.json").read_bytes()).hexdigest())
    (digest,) = digests
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert digest in page
    assert "the 400 rows belong to 200 people" in page
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))["people"] == 200


class Balanced(HTMLParser):
    """Fails on a tag that is closed but not open; collects what the page would load."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href") and not str(value).startswith("#")]
        self.loads += [tag] if tag in ("script", "link", "img", "iframe", "object") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def test_a_report_holds_no_value_and_loads_nothing(patients: Path, tmp_path: Path) -> None:
    question = Question(quasi=("나이 <b>&", "region $x$"), sensitive=("진단",), population=10_000, person="person", events=("visit",))
    with engine.connection() as connection, read(patients, connection) as before, read(patients, connection) as after:
        found = examine(before, after, question)
        write(found, html=tmp_path / "r.html", json_file=tmp_path / "r.json")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert (parser.open, parser.loads) == ([], [])
    assert "<b>" not in page and "나이 &lt;b&gt;&amp;" in page and "region $x$" in page
    both = page + json.dumps(as_json(found), ensure_ascii=False)
    for value in (*SECRET, "Xanthoma", "Yaws", "pid1", "2021-"):
        assert value not in both, value
    korean = re.findall(r'<span lang="ko">(.*?)</span>', page, flags=re.DOTALL)
    english = re.findall(r'<span lang="en">(.*?)</span>', page, flags=re.DOTALL)
    assert len(korean) == len(english) > 60
    assert not [text for text in english if re.search("[가-힣]", text.replace("나이", "").replace("진단", ""))]


def test_the_question_to_decide_comes_first(patients: Path, tmp_path: Path) -> None:
    with read(patients) as table:
        write(examine(table, None, Question(quasi=("나이 <b>&", "region $x$"))), html=tmp_path / "high.html")
        write(examine(table, None, Question(quasi=("region $x$",))), html=tmp_path / "low.html")
    high, low = ((tmp_path / name).read_text(encoding="utf-8") for name in ("high.html", "low.html"))
    for page in (high, low):
        main = page[page.index("<main>") :]
        assert main.index('class="question"') < main.index("<h2>") and main.index("To decide") < main.index("<h2>")
    assert "May they be handed out as they are?" in high and 'class="decide high"' in high
    assert "Is that acceptable for this use?" in low and 'class="decide"' in low
    assert "The one step that helps most" in high and "The one step that helps most" not in low


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quasi", "none"], "there is no column 'none'"),
        (["--quasi", "visit", "--population", "3"], "more rows than that"),
        (["--quasi", "visit", "--population", "0"], "a number of people"),
        (["--quasi", "visit", "--threshold", "0"], "a risk is above 0"),
        (["--quasi", "visit", "--largest", "0"], "at least one column"),
        (["--quasi", "visit", "--person", "person"], "belong together"),
        (["--quasi", "visit", "--distance", "visit"], "write COLUMN=equal"),
        (["--quasi", "visit", "--distance", "visit=no/such.csv"], "no such hierarchy file"),
        (["--quasi", "visit", "--population", "900", "--population-table", "x.csv"], "exclude each other"),
        (["--quasi", "visit", "--json", "no/such/folder/x.json"], "no such folder"),
        (["--quasi", ","], "at least one quasi-identifying column"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(patients: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    before = sorted(tmp_path.iterdir())
    code, out = run(patients, *arguments, "--report", tmp_path / "report.html")
    assert code == 2 and said in out and "Traceback" not in out
    assert sorted(tmp_path.iterdir()) == before


def test_an_input_is_never_written_over(patients: Path) -> None:
    content = patients.read_bytes()
    code, out = run(patients, "--quasi", "visit", "--json", patients)
    assert (code, patients.read_bytes()) == (2, content) and "never written over" in out


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (1, "100%"), (0.00001, "<0.01%"), (0.2, "20%"), (0.12345, "12.3%"), (0.999999, "99.99%")]
)
def test_shares_are_never_rounded_to_nothing_or_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_pictures_are_plain_svg_with_words() -> None:
    svg = class_sizes([(1, 5), (2, 3), (3, 0), (5, 0), (10, 4), (20, 1), (100, 90)], None)
    assert svg.startswith("<svg aria-hidden") and "100+" in svg and "<image" not in svg and "<metadata" not in svg
    assert short("x" * 40) == "x" * 27 + "…"
