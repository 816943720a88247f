"""A ministry that is no member runs a witness: with it in the policy a study ends in a bundle that the policy accepts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx

from pumasi.demo.processes import free_port
from pumasi.ledger import verify
from tests.story import harness, studies
from tests.story.harness import Kept


def test_a_ministry_cosigns_and_the_policy_counts_it(fragile: Kept) -> None:
    port, home = free_port(), fragile.folder / "ministry"
    done = fragile.command("witness", "init", "--home", str(home), "--name", "witness.ministry.example/pumasi", "--port", str(port))
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[0].replace("NAME", "ministry", 1)
    policy = Path(fragile.system["policy"]).read_text(encoding="utf-8").splitlines()
    log = policy[0].split()[1]
    settings = (home / "witness.toml").read_text(encoding="utf-8")
    (home / "witness.toml").write_text(settings.replace("logs = []", f'logs = ["{log}"]'), encoding="utf-8")

    hub = fragile.home("hub")
    asked = "\n".join([*policy[:-1], line, "group both all cosigners ministry", "quorum both", ""])
    (hub / "policy.txt").write_text(asked, encoding="utf-8")
    settings = (hub / "hub.toml").read_text(encoding="utf-8")
    (hub / "hub.toml").write_text(settings.replace('policy = "two-thirds"', 'policy = "policy.txt"'), encoding="utf-8")
    fragile.end("hub")
    fragile.begin("hub")
    serving = [serve(fragile, home, port)]
    try:
        run = fragile.study(studies.SMALL, "witnessed")
        run.until("permit signed")
        end(serving.pop())  # it may be killed at any time; nothing is final until it is back
        serving.append(serve(fragile, home, port))
        assert run.end() == 0, run.said
    finally:
        end(serving.pop())
    bundle = run.outcome()["bundle"]
    checked = harness.verify(bundle, hub / "policy.txt")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Outside the membership the head is cosigned by witness.ministry.example/pumasi" in checked.stdout
    assert list(verify.verify(Path(bundle).read_bytes()).cosigners.values()).count("") == 1


def serve(kept: Kept, home: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(harness.pumasi("witness", "serve", "--home", str(home)), cwd=kept.folder, env=kept.environment())

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    harness.wait_until(answers, "the witness does not come up")
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
