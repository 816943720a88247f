"""kill -9 at every stage of a study, processes that stay away, and a hub that lies: the study goes on, or ends in a sentence."""

from __future__ import annotations

import base64
import signal
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pumasi.client.home import Home
from pumasi.hub import cli as hub_cli
from pumasi.kernel import event as ev
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.ledger import note
from pumasi.node.app import open_node
from pumasi.node.jobs.desk import JobDesk
from pumasi.node.workspace.keeper import Keeper
from tests.story import harness, studies
from tests.story.harness import Kept

USUAL, PATIENCE = 60, 8  # seconds that a job waits for a hospital: as nodes are set up, and here
STAGES = {"permits": "applied to", "job": "analyses sent to", "review": "two people at each review it now"}


@pytest.fixture(scope="module")
def system(fragile: Kept) -> Iterator[Kept]:
    """Three hospitals of which every process was stopped and started, as an upgrade does."""
    fragile.end_all()
    for name in ("hub", *fragile.nodes, "people"):
        fragile.begin(name)
    yield fragile


@pytest.fixture(scope="module")
def impatient(system: Kept) -> Kept:
    """Its nodes lose patience soon. Only who waits for that uses it: on a busy machine that is soon for those too who are there."""
    set_up(system, f"patience_seconds = {USUAL}", f"patience_seconds = {PATIENCE}")
    return system


def set_up(system: Kept, line: str, new: str) -> None:
    """Change a setting of every node and start them again."""
    for name in system.nodes:
        file = system.home(name) / "node.toml"
        text = file.read_text(encoding="utf-8")
        assert line in text
        system.end(name, signal.SIGTERM)
        file.write_text(text.replace(line, new), encoding="utf-8")
        system.begin(name)


def finish(system: Kept, run: harness.StudyRun) -> None:
    """The study ends well: right counts, a bundle that verifies, and a log that replays."""
    assert run.end() == 0, run.said + "\n".join(content.decode()[-2000:] for _, content in system.logs())
    outcome = run.outcome()
    studies.check_table(outcome["analyses"][0], studies.pooled(system.folder / "data"))
    checked = harness.verify(outcome["bundle"], system.system["policy"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    sound(system)


def sound(system: Kept) -> None:
    """Every rule holds over the whole log; nothing half-written lies about; no process told a traceback."""
    checked = system.command("ledger", "check", "--home", str(system.researcher))
    assert checked.returncode == 0 and "every signature holds" in checked.stdout, checked.stderr
    assert not list(system.folder.glob("*.part")) and not list(system.root.rglob(".new-*"))
    for path, content in system.logs():
        assert b"Traceback" not in content, path


def test_every_process_was_stopped_and_started(system: Kept) -> None:
    finish(system, system.study(studies.SMALL, "after-restart"))


def test_the_hub_is_killed_at_every_stage(system: Kept) -> None:
    run = system.study(studies.SMALL, "hub-killed")
    for words in STAGES.values():
        run.until(words)
        time.sleep(0.3)  # into the middle of it
        system.end("hub")
        system.begin("hub")
    finish(system, run)


def jobs_begun(system: Kept, name: str) -> int:
    """How many jobs a node has noted that it began: from then on a restart fails the job."""
    with closing(sqlite3.connect(f"file:{system.database(name)}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM notes WHERE key LIKE 'begun|%'").fetchone()[0])


def test_a_node_is_killed_at_every_stage(system: Kept) -> None:
    """Its permit and its review go on after it; the job is run again, and the researcher is told so."""
    victim = system.nodes[-1]
    run = system.study(studies.SMALL, "node-killed")
    before = jobs_begun(system, victim)
    for stage, words in STAGES.items():
        run.until(words)
        deadline = time.monotonic() + (10 if stage == "job" else 0.3)
        while time.monotonic() < deadline and (stage != "job" or jobs_begun(system, victim) == before):
            time.sleep(0.005)
        system.end(victim)
        system.begin(victim)
    finish(system, run)
    assert f"the node of {victim} was restarted while the job ran; running it again" in run.said


def test_a_node_stays_away(impatient: Kept) -> None:
    """The others lose patience, the job stops and names it; the next study waits for nothing of this one."""
    system, victim = impatient, impatient.nodes[0]
    run = system.study(studies.SMALL, "away")
    run.until("workspace open")
    while run.said.count("workspace open") < len(system.nodes):
        run.until("workspace open")
    system.end(victim)
    begun = time.monotonic()
    assert run.end() == 1, run.said
    assert time.monotonic() - begun < USUAL, "it waited as long as nodes do that are told nothing else"
    assert f"no word came from {victim}; is its node running?" in run.said and "Traceback" not in run.said
    assert not run.outcome_file.exists() and not run.outcome_file.with_suffix(".bundle.json").exists()
    system.begin(victim)
    finish(system, system.study(studies.SMALL, "after-away"))


def test_a_study_goes_on_without_a_hospital_that_falls_silent(impatient: Kept) -> None:
    """Nothing was opened when it fell silent, so the others are asked anew; but the same of all three is refused from then on."""
    system, victim = impatient, impatient.nodes[0]
    set_up(system, "hospitals_at_least = 0", "hospitals_at_least = 2")  # every permit is content with two from now on
    sexes = studies.SMALL.replace("death14", "sex").replace("sensitive", "plain")
    run = system.study(sexes, "without-one")
    while run.said.count("workspace open") < len(system.nodes):
        run.until("workspace open")
    system.end(victim)
    run.until("released by every hospital")
    system.begin(victim)  # it has a workspace to destroy
    assert run.end() == 0, run.said
    assert f"no word from {victim}; asking the others, as their permits allow" in run.said
    (found,) = run.outcome()["analyses"]
    people = studies.pooled(system.folder / "data")
    assert sorted(found["hospitals"]) == sorted(set(system.nodes) - {victim})
    studies.check_table(found, people[people.hospital != victim])
    again = system.study(sexes, "with-all")
    assert again.end() == 3, again.said
    assert again.outcome()["refusals"][0]["codes"] == ["remembered-hospitals"]


def test_a_job_that_has_just_ended_is_not_called_restarted(system: Kept) -> None:
    """A node whose copy of the log lags behind its own last word must not say another."""
    name = system.nodes[1]
    system.end(name, signal.SIGTERM)
    try:
        log = system.entries(name)
        index, sealed = next(
            (i, entry) for i, data in enumerate(log) if (entry := Entry(data).event).type == "OutputSealed" and entry.author == name
        )
        with closing(sqlite3.connect(system.database(name))) as db, db:
            kept = db.execute('SELECT "index", digest, data FROM entries WHERE "index" >= ?', (index,)).fetchall()
            heads = db.execute("SELECT size, note FROM checkpoints WHERE size > ?", (index,)).fetchall()
            db.execute('DELETE FROM entries WHERE "index" >= ?', (index,))
            db.execute("DELETE FROM checkpoints WHERE size > ?", (index,))
        node = open_node(system.home(name))
        job = node.site.world.cases[sealed.case].jobs[sealed.job]
        assert job.at[name].state == "running"
        JobDesk(node, Keeper(node), node.courier._channel.closing).begin(sealed.case, sealed.job, job)
        assert node.site.unsent() == []
        node.close()
        with closing(sqlite3.connect(system.database(name))) as db, db:
            db.executemany("INSERT INTO entries VALUES (?, ?, ?)", kept)
            db.executemany("INSERT INTO checkpoints VALUES (?, ?)", heads)
    finally:
        system.begin(name)
    sound(system)


# --- a hub that lies; each test puts the true log back ----------------------------------------------------------------


@dataclass
class HubLog:
    """The hub's database under its own feet. `true` is what it held when it was last remembered."""

    system: Kept
    db: sqlite3.Connection
    true: list[bytes] = field(default_factory=list)

    def remember(self) -> list[bytes]:
        self.true = self.system.entries("hub")
        return self.true

    def swap(self, one: int, other: int) -> None:
        self.db.execute('DELETE FROM entries WHERE "index" IN (?, ?)', (one, other))
        for index, data in ((one, self.true[other]), (other, self.true[one])):
            self.write(index, data)

    def write(self, index: int, data: bytes) -> None:
        digest = Entry(self.true[index]).digest if data not in self.true else Entry(data).digest
        self.db.execute('INSERT OR REPLACE INTO entries ("index", digest, data) VALUES (?, ?, ?)', (index, digest, data))

    def restore(self) -> None:
        self.db.execute("DELETE FROM entries")
        for index, data in enumerate(self.true):
            self.write(index, data)


@pytest.fixture
def log(system: Kept) -> Iterator[HubLog]:
    with closing(sqlite3.connect(system.database("hub"), timeout=10, isolation_level=None)) as db:
        found = HubLog(system, db)
        found.remember()
        yield found
        found.restore()


def evidence(system: Kept, name: str) -> dict[str, bytes]:
    with closing(sqlite3.connect(f"file:{system.database(name)}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT key, value FROM notes WHERE key LIKE 'evidence|%'").fetchall())


def two_of_one_author(entries: list[bytes], start: int) -> tuple[int, int]:
    """The places of two events of one author in one case, one after the other."""
    seen: dict[tuple[str, str], int] = {}
    for index in range(start, len(entries)):
        event = Entry(entries[index]).event
        if (event.case, event.author) in seen:
            return seen[(event.case, event.author)], index
        seen[(event.case, event.author)] = index
    raise AssertionError("no author speaks twice")


def enrol_two(system: Kept, name: str) -> None:
    """Four events: a new member applies, is admitted, and enrols two people."""
    there: dict[str, Any] = {"hub": system.hub, "certificate": Path(system.system["certificate"])}
    member = Home.new(system.folder / name, id=name, **there)
    keys: dict[str, Any] = {"key": member.keys.public, "box": member.keys.box_public}
    member.record(ev.MemberApplied, case=CONSORTIUM, kind="company", cosigner=None, **keys)
    hub_cli.admit(home=system.root / "hub", member=name)
    for person in ("one", "two"):
        card = Home.new(system.folder / f"{name}-{person}", id=f"{person}@{name}", **there)
        member.record(
            ev.PersonEnrolled, case=CONSORTIUM, roles=["researcher"], key=card.keys.public, box=card.keys.box_public, person=card.id
        )
        card.close()
    member.close()


@pytest.mark.parametrize("lie", ["changed", "omitted", "reordered"])
def test_a_node_refuses_a_history_that_was_tampered_with(system: Kept, log: HubLog, lie: str) -> None:
    """While a node is away the hub's database is changed under it; when it is back it takes none of it and keeps what it was sent."""
    victim = system.nodes[2]
    before = len(log.true)
    system.end(victim)
    enrol_two(system, f"company-{lie}")
    entries = log.remember()
    assert [Entry(data).event.type for data in entries[before:]] == ["MemberApplied", "MemberAdmitted", "PersonEnrolled", "PersonEnrolled"]
    match lie:
        case "changed":
            changed = entries[before + 2].replace(b'"researcher"', b'"steward"')
            assert changed != entries[before + 2]
            log.write(before + 2, changed)
        case "omitted":
            log.db.execute('DELETE FROM entries WHERE "index" = ?', (before + 2,))
        case "reordered":
            log.swap(before + 2, before + 3)
    known = evidence(system, victim)
    system.begin(victim)
    harness.wait_until(lambda: evidence(system, victim).keys() - known.keys(), "the node kept no evidence")
    assert b"does not cosign" in (system.home(victim) / "node.log").read_bytes()
    assert system.entries(victim) == entries[: before + 2], "the node took a history that is not the one that was signed"
    log.restore()
    harness.wait_until(lambda: system.entries(victim) == entries, "the node does not go on with the true history")


def test_a_hub_does_not_start_on_a_history_that_was_tampered_with(system: Kept, log: HubLog) -> None:
    system.end("hub")
    log.swap(*two_of_one_author(log.true, 5))
    served = system.command("hub", "serve", "--home", str(system.root / "hub"))
    assert served.returncode not in (0, None) and "Traceback" not in served.stderr
    assert "left out, repeated or reordered" in served.stderr
    log.restore()
    system.begin("hub")


def test_a_hub_does_not_start_on_a_head_that_is_not_its_own(system: Kept) -> None:
    system.end("hub")
    with closing(sqlite3.connect(system.database("hub"))) as db, db:
        size, text = db.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode((system.root / "hub" / "keys" / "log.key").read_text().strip()))
        forged = note.sign_checkpoint(note.parse_checkpoint(text).origin, size=size, root=bytes(32), key=key)
        db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (forged, size))
    served = system.command("hub", "serve", "--home", str(system.root / "hub"))
    assert served.returncode not in (0, None) and "Traceback" not in served.stderr and "checkpoint" in served.stderr
    with closing(sqlite3.connect(system.database("hub"))) as db, db:
        db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (text, size))
    system.begin("hub")


def test_no_node_follows_a_fork(system: Kept) -> None:
    """The hub forgets what everybody has copied and signs another history in its place: every node keeps its head as evidence.

    The last test of this page: the nodes never make peace with this hub again.
    """
    enrol_two(system, "company-true")
    true = system.entries("hub")
    for name in system.nodes:
        harness.wait_until(partial(holds, system, name, true), f"{name} does not follow")
    known = {name: evidence(system, name).keys() for name in system.nodes}
    system.end("hub")
    with closing(sqlite3.connect(system.database("hub"))) as db, db:
        db.execute('DELETE FROM entries WHERE "index" >= ?', (len(true) - 2,))
        db.execute("DELETE FROM checkpoints WHERE size > ?", (len(true) - 2,))
    system.begin("hub")
    enrol_two(system, "company-forked")
    for name in system.nodes:
        harness.wait_until(partial(has_new_evidence, system, name, known[name]), f"{name} kept no evidence")
        (found,) = (value.decode() for key, value in evidence(system, name).items() if key not in known[name])
        head = note.parse_checkpoint(found.partition("\n\n")[0] + "\n\n" + found.partition("\n\n")[2].partition("\n")[0] + "\n")
        assert head.size > len(true) - 2 and head.origin in found
        assert system.entries(name) == true, "a node gave up the history that it had cosigned"


def holds(system: Kept, name: str, entries: list[bytes]) -> bool:
    return system.entries(name) == entries


def has_new_evidence(system: Kept, name: str, known: Collection[str]) -> bool:
    return bool(evidence(system, name).keys() - set(known))
