"""The mailbox keeps the first message under a label, waits until all have come, and survives a restart."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from pumasi.hub.tasks import Mailbox

JOB, OTHER = "ab" * 16, "cd" * 16


def all_of(mailbox: Mailbox, label: str, job: str = JOB) -> dict[str, bytes]:
    return mailbox.get(job, label, expected=set(), seconds=0)


def test_sending_again_changes_nothing(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    mailbox.put(JOB, "q0r1", "들꽃병원", b"one")
    mailbox.put(JOB, "q0r1", "들꽃병원", b"two")
    assert all_of(mailbox, "q0r1") == {"들꽃병원": b"one"}


def test_labels_and_jobs_are_apart(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    mailbox.put(JOB, "q0r1", "a", b"one")
    mailbox.put(JOB, "q0r10", "a", b"two")
    mailbox.put(OTHER, "q0r1", "b", b"three")
    assert all_of(mailbox, "q0r1") == {"a": b"one"}
    assert all_of(mailbox, "q0r1", OTHER) == {"b": b"three"}


def test_get_waits_until_every_expected_message_is_there(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    mailbox.put(JOB, "key", "a", b"one")
    late = threading.Timer(0.2, mailbox.put, (JOB, "key", "b", b"two"))
    started = time.monotonic()
    late.start()
    assert mailbox.get(JOB, "key", expected={"a", "b"}, seconds=60) == {"a": b"one", "b": b"two"}
    assert 0.1 < time.monotonic() - started < 50
    late.join()


def test_get_gives_what_there_is_when_the_time_is_over(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    mailbox.put(JOB, "key", "a", b"one")
    started = time.monotonic()
    assert mailbox.get(JOB, "key", expected={"a", "b"}, seconds=0.2) == {"a": b"one"}
    assert time.monotonic() - started >= 0.15


def test_clear_deletes_one_job_but_what_is_kept(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    for job in (JOB, OTHER):
        for label in ("q0r1", "release", "release-output"):
            mailbox.put(job, label, "a", b"x")
    mailbox.clear(JOB, keep=("release", "release-output"))
    assert [all_of(mailbox, label) for label in ("q0r1", "release", "release-output")] == [{}, {"a": b"x"}, {"a": b"x"}]
    assert all_of(mailbox, "q0r1", OTHER) == {"a": b"x"}


def test_a_restart_keeps_messages(tmp_path: Path) -> None:
    Mailbox(tmp_path / "mail.db").put(JOB, "q0r1", "a", b"one")
    assert all_of(Mailbox(tmp_path / "mail.db"), "q0r1") == {"a": b"one"}


def test_messages_of_many_at_once_all_arrive(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail.db")
    names = {f"hospital-{number}" for number in range(20)}
    threads = [threading.Thread(target=mailbox.put, args=(JOB, "q0r1", name, name.encode())) for name in names]
    for thread in threads:
        thread.start()
    found = mailbox.get(JOB, "q0r1", expected=names, seconds=10)
    for thread in threads:
        thread.join()
    assert found == {name: name.encode() for name in names}
