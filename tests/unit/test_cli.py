"""The command line ends every mistake in sentences and an exit code: 2 for input, 3 for refused, 1 for a fault; never a traceback."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumasi import cli
from pumasi.kernel.envelope import sha256
from pumasi.node.airlock.held import HeldOutput, hold
from tests.casebook import RESEARCHER, Casebook
from tests.live_hub import DescribedBook, LiveHub, Server

# A command ends with its process, and its connections with it; here many commands share one process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

Live = Callable[[Casebook], LiveHub]
Run = Callable[..., tuple[int, str, str]]
FIRST = "바다대학교병원"
DATA = b'{"analyses":[{"name":"who","n":40}]}'


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """One command: its exit code, and what it said to whom."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PUMASI_HOME", raising=False)

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pumasi", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return end.value.code if isinstance(end.value.code, int) else 0, out, err

    yield command
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # or a later test would be blamed for what the commands left open


def test_help_names_every_group_of_commands(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for group in ("hub", "node", "key", "member", "study", "ledger", "inbox", "vote", "sign", "review", "verify", "demo"):
        assert f" {group} " in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nonsense"], 2, "No such command"),
        (["hub", "init"], 2, "Missing option"),
        (["hub", "serve", "--home", "nowhere"], 2, "is no hub: it has no hub.toml; make one with `pumasi hub init"),
        (["node", "serve", "--home", "nowhere"], 2, "is no node: it has no node.toml; make one with `pumasi node init"),
        (["node", "init", "--home", "n", "--name", "x", "--hub", "https://h", "--hub-cert", "none"], 2, "there is no hub certificate"),
        (["node", "init", "--home", "n", "--name", "x", "--hub", "https://h", "--hub-cert", "none", "--kind", "school"], 2, "--kind is"),
        (["inbox", "--home", "nowhere"], 2, "is nobody's folder yet"),
        (["inbox"], 2, "--home"),
        (["vote", "0" * 32, "--home", "nowhere"], 2, "give one decision"),
        (["study", "run", "none.toml", "--hub", "https://h"], 2, "there is no study file"),
        (["review", "c", "j", "--home", "h", "--node", "nowhere"], 2, "is no node's folder"),
        (["key", "new", "--home", "h", "--id", "a@b", "--hub", "https://h", "--hub-cert", "none"], 2, "there is no hub certificate"),
    ],
)  # fmt: skip
def test_a_mistake_ends_in_a_sentence_and_the_code_for_input(run: Run, words: list[str], code: int, told: str) -> None:
    ended, out, err = run(*words)
    assert (ended, told in err) == (code, True), (out, err)
    assert err.strip() and not Path("nowhere").exists()


def test_a_study_is_not_begun_that_could_not_be_written_down(run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'title = "t"\npurpose = "statistics"\nsmallest_cell = 5\n[tables.a]\nperson = "p"\n[tables.a.columns]\nx = { is = "plain" }\n'
        '[[analysis]]\nname = "n"\nkind = "describe"\ntable = "a"\ncolumns = ["x"]\n'
    )
    code, _, err = run("study", "run", "study.toml", "--hub", "https://127.0.0.1:1", "--json", "no/such/o.json")
    assert code == 2 and "there is no folder no/such to write the outcome to" in err
    code, _, err = run("study", "run", "study.toml", "--hub", "https://127.0.0.1:1", "--json", "o.json")
    assert code == 2 and "no folder of yours is known for https://127.0.0.1:1" in err


def test_keys_cards_and_enrolment_from_the_command_line(run: Run, live: Live, tmp_path: Path) -> None:
    book = DescribedBook()
    book.play(until="members")
    hub = live(book)
    member = hub.person("company-3")
    code, out, _ = run("key", "new", "--home", "me", "--id", "dal@company-3", "--hub", hub.server.url, "--hub-cert", hub.home / "hub.crt")
    assert code == 0 and "card.json" in out
    assert json.loads(Path("me/card.json").read_text())["person"] == "dal@company-3"
    enrol = ["member", "enrol", "me/card.json", "--home", member.folder, "--role"]
    assert run(*enrol, "researcher")[:2] == (0, "dal@company-3 is enrolled.\n")
    code, _, err = run(*enrol, "researcher")
    assert (code, "is enrolled already" in err) == (3, True)
    code, _, err = run(*enrol, "king")
    assert (code, "roles" in err) == (2, True)
    wrong = [(b"{", "not JSON"), (b"[]", "must have the texts"), (b'{"person": 5}', "must have the texts"), (b"\xff", "not JSON")]
    for data, told in wrong:
        Path("card.json").write_bytes(data)
        code, _, err = run("member", "enrol", "card.json", "--home", member.folder, "--role", "researcher")
        assert (code, told in err) == (2, True), err
    assert run("member", "enrol", "none.json", "--home", member.folder, "--role", "researcher")[0] == 2


def test_the_log_from_the_command_line(run: Run, live: Live) -> None:
    book = DescribedBook()
    book.play(until="datasets")
    hub = live(book)
    home = hub.person(RESEARCHER).folder
    code, out, _ = run("ledger", "show", "--home", home)
    assert code == 0 and len(out.splitlines()) == len(book.log) and "LogFounded" in out.splitlines()[0]
    code, out, _ = run("ledger", "show", "--home", home, "--case", "0" * 32)
    assert (code, out) == (0, "")


def test_a_checker_reads_an_output_at_the_node_and_votes(run: Run, live: Live) -> None:
    book = DescribedBook()
    book.output = sha256(DATA)
    book.play(until="sealed")
    hub = live(book)
    node, checker = hub.node(FIRST), hub.person(book.checkers_of(FIRST)[0])
    hold(node.site, HeldOutput(book.case, book.job, book.hospitals, DATA, b"part", ["1 of the cells is suppressed"], []))
    words = ["review", book.case, book.job, "--home", checker.folder, "--node", node.home]
    code, out, _ = run(*words)
    assert code == 0 and '"n": 40' in out and "1 of the cells is suppressed" in out and book.output in out
    here = hub.hub.site.world.cases[book.case].jobs[book.job].at[FIRST]
    assert here.airlock is not None and here.airlock.committed == {}
    assert run(*words, "--approve")[0] == 0 and list(here.airlock.committed) == [checker.id]
    code, _, err = run(*words, "--approve")
    assert code == 3 and "nothing waits for" in err
    hold(node.site, HeldOutput(book.case, book.job, book.hospitals, DATA.replace(b"40", b"41"), b"part", ["clear"], []))
    other = hub.person(book.checkers_of(FIRST)[1])
    code, _, err = run("review", book.case, book.job, "--home", other.folder, "--node", node.home, "--approve")
    assert code == 3 and "not the one under review" in err
    code, _, err = run("review", book.case, "0" * 32, "--home", other.folder, "--node", node.home)
    assert code == 2 and "holds no output" in err


def test_decisions_from_the_command_line(run: Run, live: Live) -> None:
    book = DescribedBook()
    book.play(until="submitted")
    hub = live(book)
    member, officer, steward = (hub.person(f"{who}@{FIRST}").folder for who in ("drb-0", "irb", "steward"))
    code, out, err = run("inbox", "--home", member)
    assert (code, err) == (0, "") and {line.split(" ")[0] for line in out.splitlines()} == {"vote", ""}
    assert "        patients: age (" in out and "patient_no" not in out
    assert "뇌졸중 뒤 14일 안의 사망 (scientific-research, smallest cell 10, asked by researcher@company-1)" in out
    assert "its application cannot be read, so it cannot be judged" in out  # another one, whose document nobody gave to the hub
    assert run("inbox", "--home", steward)[1] == "Nothing waits for you.\n"
    assert run("vote", book.case, "--home", member)[0] == 2
    assert run("vote", book.case, "--home", member, "--exempt")[0] == 2
    assert run("vote", book.case, "--home", member, "--approve")[:2][0] == 0
    assert run("vote", book.case, "--home", member, "--approve")[0] == 3
    assert run("vote", book.case, "--home", officer, "--exempt")[0] == 0
    assert hub.hub.site.world.cases[book.case].permits[FIRST].irb == "exempt"
    assert run("sign", book.case, "--home", steward)[0] == 3
    assert run("sign", book.case, "--home", steward, "--revoke")[0] == 3


def test_a_hub_is_made_once(run: Run) -> None:
    assert run("hub", "init", "--home", "h", "--name", "조정기관")[0] == 0
    code, _, err = run("hub", "init", "--home", "h")
    assert (code, "is a hub already" in err) == (2, True)


def test_a_node_is_made_once(run: Run, https: Server) -> None:
    words = ["node", "init", "--home", "n", "--name", "들꽃", "--hub", "https://127.0.0.1:1", "--hub-cert", https.certificate]
    assert run(*words)[0] == 0
    code, _, err = run(*words)
    assert (code, "is a node already" in err) == (2, True)
    code, _, err = run("node", "describe", "--home", "n")
    assert (code, "names no table" in err) == (2, True)
    assert run("node", "join", "--home", "n")[0] == 0
    code, _, err = run("node", "join", "--home", "n")
    assert (code, "has applied already" in err) == (2, True)


def test_a_reader_that_goes_away_is_no_fault(live: Live) -> None:
    process = subprocess.run(
        f"{sys.executable} -m pumasi.cli --help | head -c 1", shell=True, capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert "Traceback" not in process.stderr
