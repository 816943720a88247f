"""The hub is killed for good. A mirror, the hospitals' signatures, a new hub: the study goes on, to a bundle that the old policy takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from pumasi.client import study as studies_of
from pumasi.client import studyfile
from pumasi.client.home import Home
from pumasi.demo.processes import free_port
from pumasi.kernel.event import Entry
from pumasi.ledger.handover import Handover
from pumasi.ledger.note import Policy, parse_checkpoint
from pumasi.ledger.proof import TlogProof, verify_tlog_proof
from pumasi.ledger.tree import leaf_hash
from tests.story import harness, studies
from tests.story.harness import Kept

NEW_ORIGIN = "demo.pumasi.example/log-2"


@pytest.fixture
def researcher(four: Kept) -> Iterator[Home]:
    home = Home(four.researcher)
    yield home
    home.close()


def ran(kept: Kept, *arguments: str | Path, code: int = 0) -> str:
    done = kept.command(*map(str, arguments))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_one_of_four_that_is_away_keeps_no_head_from_being_final(four: Kept) -> None:
    *others, away = four.nodes
    four.end(away)
    size = len(four.entries("hub"))
    ran(four, "node", "describe", "--home", four.home(others[0]))
    file = four.folder / "away.tlog-proof"

    def is_final() -> bool:
        return four.command("ledger", "prove", str(size), "--home", str(four.researcher), "--out", str(file)).returncode == 0

    harness.wait_until(is_final, "no final head covers what was said while a hospital is away")
    policy = Policy.parse(Path(four.system["policy"]).read_bytes())
    verify_tlog_proof(file.read_text(encoding="utf-8"), leaf_hash=leaf_hash(four.entries("hub")[size]), policy=policy)
    names = [line.name for line in parse_checkpoint(TlogProof.parse(file.read_text(encoding="utf-8")).checkpoint).lines]
    assert len(names) == 1 + 3 and not any(name.endswith(quote(away, safe="")) for name in names)
    four.begin(away)
    harness.wait_until(lambda: four.entries(away) == four.entries("hub"), "who was away does not catch up")


def test_a_killed_hub_is_taken_over_and_the_study_goes_on(four: Kept, researcher: Home) -> None:
    (four.folder / "open.toml").write_text(studies.SMALL, encoding="utf-8")
    asked = studyfile.read(four.folder / "open.toml")
    study = studies_of.apply(researcher, asked)
    study.wait_for_permits()
    harness.wait_until(lambda: all(here["state"] == "open" for here in study.view()["hospitals"].values()), "no workspaces")

    old, first, second, third, fourth = four.home("hub"), *four.nodes
    before = [four.entries(name) for name in four.nodes]
    harness.wait_until(lambda: [four.entries(name) for name in four.nodes] == [four.entries("hub")] * 4, "copies differ")
    four.end("people")
    four.end("hub")
    assert max(map(len, before)) > 50

    # The successor's own folder, a copy of the log from a hospital, and what the hospitals are asked to sign.
    new = four.folder / "new hub"
    port = free_port()
    ran(four, "hub", "init", "--home", new, "--name", "second-coordinator", "--origin", NEW_ORIGIN, "--port", port)
    ran(four, "node", "mirror", "--home", four.home(first), "--to", four.folder / "mirror")
    told = ran(four, "hub", "propose", "--home", new, "--mirror", four.folder / "mirror")
    assert "It takes 3 of the 4 that cosign" in told
    assert "signs with another key" in ran(four, "hub", "serve", "--home", new, code=3)

    proposal, signed = new / "handover.json", [four.folder / f"{number}.json" for number in (1, 2, 3)]
    for name, file in zip((first, second), signed, strict=False):
        ran(four, "node", "handover", "sign", "--home", four.home(name), "--to", file, "--yes", proposal)
    assert "2 of 4 that cosign have signed" in ran(four, "hub", "takeover", "--home", new, *signed[:2], code=3)
    assert "not enough hospitals" in ran(four, "node", "handover", "follow", "--home", four.home(fourth), proposal, code=3)
    ran(four, "node", "handover", "sign", "--home", four.home(third), "--to", signed[2], "--yes", proposal)
    ran(four, "hub", "takeover", "--home", new, *signed)

    # Those that signed find the new hub by themselves, the fourth and the people are given the file.
    four.row("hub").update(home=str(new), command=harness.pumasi("hub", "serve", "--home", str(new)))
    four.system["hub"] = f"https://127.0.0.1:{port}"
    four.begin("hub")
    ran(four, "node", "handover", "follow", "--home", four.home(fourth), proposal)
    for person in four.system["people"]:
        ran(four, "key", "move", "--home", person["home"], "--policy", four.system["policy"], proposal)
    four.begin("people")
    ran(four, "key", "move", "--home", four.researcher, "--policy", four.system["policy"], proposal)
    researcher.move(Handover.parse(proposal.read_bytes()))  # a second time, in the process that still has the old hub open

    # The same study, whose workspaces the running nodes still hold open.
    study.ask(asked.analyses)
    study.done()
    bundle = study.bundle(four.folder / "bundle.json")
    value = json.loads(bundle.read_text(encoding="utf-8"))
    assert value["checkpoint"].startswith(f"{NEW_ORIGIN}\n")
    assert "LogHandedOver" in [entry["event"]["body"]["type"] for entry in value["entries"]]
    checked = harness.verify(bundle, four.system["policy"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "handed over to the name demo.pumasi.example/log-2" in checked.stdout

    # Everybody has one log, and it begins with the old one; a second study runs from its application on.
    harness.wait_until(lambda: [four.entries(name) for name in four.nodes] == [four.entries("hub")] * 4, "copies differ")
    handed = [Entry(data).event for data in four.entries("hub")]
    assert [event.author for event in handed if event.type == "LogHandedOver"] == ["second-coordinator"]
    again = four.study(studies.SMALL, "after-handover")
    assert again.end() == 0, again.said
    assert harness.verify(again.outcome()["bundle"], four.system["policy"]).returncode == 0
    old_keys = (old / "keys" / "log.key").read_bytes()
    assert old_keys != (new / "keys" / "log.key").read_bytes()
