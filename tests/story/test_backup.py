"""A hub and a node are lost with their disks and come back from a backup: the log goes on, no key does, and nobody tells two stories."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pumasi.client import study as studies_of
from pumasi.client import studyfile
from pumasi.client.home import Home
from pumasi.client.study import Study
from pumasi.kernel.event import Entry
from pumasi.ledger import note
from pumasi.store.backup import read_manifest
from tests.story import harness, studies
from tests.story.harness import Kept

PASSPHRASE = "seven whole harvests"


def secret(kept: Kept) -> Path:
    path = kept.folder / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return path


def back_up(kept: Kept, name: str, file: str) -> Path:
    kind = "hub" if name == "hub" else "node"
    keys = ("--with-keys", "--passphrase-file", str(secret(kept)))
    done = kept.command(kind, "backup", "--home", str(kept.home(name)), "--to", file, *keys)
    assert done.returncode == 0, done.stderr
    assert "not in it: the keys of permits" in done.stdout
    return kept.folder / file


def lose(kept: Kept, name: str) -> Path:
    """The machine is gone: killed, and its folder out of the way."""
    kept.end(name)
    home = kept.home(name)
    return home.rename(home.with_name(f"{home.name}.gone"))


def bring_back(kept: Kept, name: str, backup: Path) -> None:
    kind = "hub" if name == "hub" else "node"
    keys = ("--with-keys", "--passphrase-file", str(secret(kept)))
    done = kept.command(kind, "restore", "--home", str(kept.home(name)), "--from", str(backup), *keys)
    assert done.returncode == 0, done.stderr
    assert "Still missing" not in done.stdout
    gone = kept.home(name).with_name(f"{kept.home(name).name}.gone")
    if (gone / "people").exists():  # in a demo the people's own folders happen to lie inside
        shutil.copytree(gone / "people", kept.home(name) / "people")
    kept.begin(name)


def run(kept: Kept, name: str) -> dict[str, Any]:
    """A whole study that ends well and verifies."""
    study = kept.study(studies.SMALL, name)
    assert study.end() == 0, study.said + "\n".join(content.decode()[-2000:] for _, content in kept.logs())
    outcome = study.outcome()
    checked = harness.verify(outcome["bundle"], kept.system["policy"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return outcome


@pytest.fixture
def researcher(fragile: Kept) -> Iterator[Home]:
    home = Home(fragile.researcher)
    yield home
    home.close()


def applied(kept: Kept, researcher: Home) -> Study:
    """A study with permits in force and workspaces open."""
    (kept.folder / "open.toml").write_text(studies.SMALL, encoding="utf-8")
    study = studies_of.apply(researcher, studyfile.read(kept.folder / "open.toml"))
    study.wait_for_permits()
    return study


def contents(backup: Path) -> bytes:
    """Every byte of every file in a backup, and the archive itself."""
    with tarfile.open(backup) as tar:
        return backup.read_bytes() + b"".join(content.read() for member in tar if (content := tar.extractfile(member)))


def test_a_node_comes_back_without_its_workspaces_and_signs_again(fragile: Kept, researcher: Home) -> None:
    name = fragile.nodes[0]
    home = fragile.home(name)
    study = applied(fragile, researcher)
    key = (home / "keys" / "permits" / f"{study.case}.key").read_bytes()
    backup = back_up(fragile, name, "node.tar")
    held = contents(backup)
    assert key not in held and key.hex().encode() not in held
    assert not [path for path in read_manifest(backup).files if path.startswith(("workspaces", "keys/"))]

    later = fragile.command("ledger", "show", "--home", str(fragile.researcher)).stdout.count("\n")
    gone = lose(fragile, name)
    assert (gone / "workspaces" / study.case).is_dir()
    refused = fragile.command("node", "restore", "--home", str(gone), "--from", str(backup))
    assert refused.returncode == 2 and "is not empty" in refused.stderr
    bring_back(fragile, name, backup)

    harness.wait_until(lambda: study.view()["hospitals"][name]["ended"] == "lost", lambda: log_of(fragile, name))
    assert "signing again" in log_of(fragile, name)
    study.abandon()
    harness.wait_until(lambda: study.view()["state"] == "closed", "the case does not close")
    certificate = study.home.channel.get(f"/documents/{certificate_of(fragile, study.case, name)}").json()["body"]["body"]
    assert certificate["method"].startswith("this node was restored from a backup")
    run(fragile, "after-node")
    harness.wait_until(lambda: cosigned(fragile, name, beyond=later), f"{name} does not cosign")


def test_a_hub_comes_back_and_is_given_the_log_that_its_backup_lacks(fragile: Kept) -> None:
    backup = back_up(fragile, "hub", "hub.tar")
    run(fragile, "after-backup")
    before = fragile.entries("hub")
    lose(fragile, "hub")
    bring_back(fragile, "hub", backup)
    run(fragile, "after-hub")
    after = fragile.entries("hub")
    assert after[: len(before)] == before
    for name in fragile.nodes:
        harness.wait_until(lambda name=name: fragile.entries(name) == fragile.entries("hub"), f"{name} has another log")  # type: ignore[misc]
        assert not (fragile.home(name) / "evidence").exists()
    checked = fragile.command("hub", "check", "--home", str(fragile.home("hub")))
    assert checked.returncode == 0, checked.stderr


def test_a_node_that_is_stopped_goes_on_from_its_snapshot(fragile: Kept) -> None:
    name = fragile.nodes[1]
    fragile.end(name, signal.SIGTERM)
    checked = fragile.command("node", "check", "--home", str(fragile.home(name)))
    assert checked.returncode == 0 and f"the snapshot over {len(fragile.entries(name))} entries fits" in checked.stdout, checked.stdout
    fragile.begin(name)
    run(fragile, "after-snapshot")
    assert "replaying the whole log" not in log_of(fragile, name)


def cosigned(kept: Kept, name: str, *, beyond: int) -> bool:
    """Whether a hospital has cosigned a head over more than so many entries."""
    with closing(sqlite3.connect(f"file:{kept.database('hub')}?mode=ro", uri=True)) as db:
        notes = [note.parse_checkpoint(text) for (text,) in db.execute("SELECT note FROM checkpoints WHERE size > ?", (beyond,))]
    return any(note.cosigner_name(head.origin, name) in {line.name for line in head.lines} for head in notes)


def log_of(kept: Kept, name: str) -> str:
    return (kept.home(name) / "node.log").read_text(encoding="utf-8")


def certificate_of(kept: Kept, case: str, name: str) -> str:
    events = [Entry(data).event for data in kept.entries("hub")]
    return next(event.certificate for event in events if (event.case, event.author, event.type) == (case, name, "WorkspaceDestroyed"))
