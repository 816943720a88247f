"""The hub is killed for good. A mirror, the hospitals' signatures, a new hub: the study goes on, to a bundle that the old policy takes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumasi.client import study as studies_of
from pumasi.client import studyfile
from pumasi.client.home import Home
from pumasi.kernel.event import Entry
from pumasi.ledger.handover import Handover
from tests.story import harness, studies
from tests.story.harness import Kept

NEW_ORIGIN = "demo.pumasi.example/log-2"


@pytest.fixture
def researcher(fragile: Kept) -> Iterator[Home]:
    home = Home(fragile.researcher)
    yield home
    home.close()


def ran(kept: Kept, *arguments: str | Path, code: int = 0) -> str:
    done = kept.command(*map(str, arguments))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_killed_hub_is_taken_over_and_the_study_goes_on(fragile: Kept, researcher: Home) -> None:
    (fragile.folder / "open.toml").write_text(studies.SMALL, encoding="utf-8")
    asked = studyfile.read(fragile.folder / "open.toml")
    study = studies_of.apply(researcher, asked)
    study.wait_for_permits()
    harness.wait_until(lambda: all(here["state"] == "open" for here in study.view()["hospitals"].values()), 30, "no workspaces")

    old, first, second, third = fragile.home("hub"), *fragile.nodes
    before = [fragile.entries(name) for name in fragile.nodes]
    harness.wait_until(lambda: [fragile.entries(name) for name in fragile.nodes] == [fragile.entries("hub")] * 3, 20, "copies differ")
    fragile.end("people")
    fragile.end("hub")
    assert max(map(len, before)) > 50

    # The successor's own folder, a copy of the log from a hospital, and what the hospitals are asked to sign.
    new = fragile.folder / "new hub"
    port = free_port()
    ran(fragile, "hub", "init", "--home", new, "--name", "second-coordinator", "--origin", NEW_ORIGIN, "--port", port)
    ran(fragile, "node", "mirror", "--home", fragile.home(first), "--to", fragile.folder / "mirror")
    told = ran(fragile, "hub", "propose", "--home", new, "--mirror", fragile.folder / "mirror")
    assert "It takes 2 of the 3 that cosign" in told
    assert "signs with another key" in ran(fragile, "hub", "serve", "--home", new, code=3)

    proposal, signed = new / "handover.json", [fragile.folder / "one.json", fragile.folder / "two.json"]
    ran(fragile, "node", "handover", "sign", "--home", fragile.home(first), "--to", signed[0], "--yes", proposal)
    assert "1 of 3 that cosign have signed" in ran(fragile, "hub", "takeover", "--home", new, signed[0], code=3)
    assert "not enough hospitals" in ran(fragile, "node", "handover", "follow", "--home", fragile.home(third), proposal, code=3)
    ran(fragile, "node", "handover", "sign", "--home", fragile.home(second), "--to", signed[1], "--yes", proposal)
    ran(fragile, "hub", "takeover", "--home", new, *signed)

    # The two that signed find the new hub by themselves, the third and the people are given the file.
    fragile.row("hub").update(home=str(new), command=harness.pumasi("hub", "serve", "--home", str(new)))
    fragile.system["hub"] = f"https://127.0.0.1:{port}"
    fragile.begin("hub")
    ran(fragile, "node", "handover", "follow", "--home", fragile.home(third), proposal)
    for person in fragile.system["people"]:
        ran(fragile, "key", "move", "--home", person["home"], "--policy", fragile.system["policy"], proposal)
    fragile.begin("people")
    ran(fragile, "key", "move", "--home", fragile.researcher, "--policy", fragile.system["policy"], proposal)
    researcher.move(Handover.parse(proposal.read_bytes()))  # a second time, in the process that still has the old hub open

    # The same study, whose workspaces the running nodes still hold open.
    study.ask(asked.analyses)
    study.done()
    bundle = study.bundle(fragile.folder / "bundle.json")
    value = json.loads(bundle.read_text(encoding="utf-8"))
    assert value["checkpoint"].startswith(f"{NEW_ORIGIN}\n")
    assert "LogHandedOver" in [entry["event"]["body"]["type"] for entry in value["entries"]]
    checked = harness.verify(bundle, fragile.system["policy"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "handed over to the name demo.pumasi.example/log-2" in checked.stdout

    # Everybody has one log, and it begins with the old one; a second study runs from its application on.
    harness.wait_until(lambda: [fragile.entries(name) for name in fragile.nodes] == [fragile.entries("hub")] * 3, 20, "copies differ")
    handed = [Entry(data).event for data in fragile.entries("hub")]
    assert [event.author for event in handed if event.type == "LogHandedOver"] == ["second-coordinator"]
    again = fragile.study(studies.SMALL, "after-handover")
    assert again.end() == 0, again.said
    assert harness.verify(again.outcome()["bundle"], fragile.system["policy"]).returncode == 0
    old_keys = (old / "keys" / "log.key").read_bytes()
    assert old_keys != (new / "keys" / "log.key").read_bytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
