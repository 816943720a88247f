"""The node does what the log says is due here, once: after a crash, twice in a row, with a hub that is away or lies."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pumasi.kernel import event as ev
from pumasi.kernel.certificate import CertificateV2
from pumasi.kernel.envelope import canonical, open_signed, sha256
from pumasi.kernel.errors import NotFound, Tampered, Unreachable
from pumasi.kernel.event import CONSORTIUM, Entry
from pumasi.kernel.seal import unseal_from
from pumasi.ledger import note
from pumasi.ledger.tree import leaf_hash
from pumasi.node import permits
from pumasi.node.agent import Agent, _covered
from pumasi.node.airlock.held import HeldOutput, hold
from pumasi.node.app import Node
from pumasi.node.courier import Courier, News
from pumasi.node.workspace import cipher
from pumasi.store.site import Site
from tests.casebook import ORIGIN, RESEARCHER, Casebook
from tests.live_hub import CSV, DescribedBook, LiveHub

Live = Callable[[Casebook], LiveHub]
FIRST = "바다대학교병원"
DATA = b'{"analyses":[]}'


@dataclass
class Hospital:
    """One hospital's node at work, its hub, and the book in which everybody else speaks."""

    hub: LiveHub
    node: Node
    agent: Agent

    @classmethod
    def of(
        cls, live: Live, book: Casebook, *, csv: str | None = CSV, settings: dict[str, str] | None = None, follow: bool = True
    ) -> Hospital:
        hub = live(book)
        table = '[tables.patients]\nfile = "patients.csv"\nperson = "patient_no"\nidentifiers = ["name"]\n'
        node = hub.node(book.hospitals[0], tables=table, settings=settings)
        if csv is not None:
            (node.home / "patients.csv").write_text(csv)
        hospital = cls(hub, node, Agent(node))
        if follow:
            hospital.follow()
        return hospital

    @property
    def book(self) -> Any:
        return self.hub.book

    @property
    def permit(self) -> Any:
        """This hospital's permit as the shared log has it."""
        return self.hub.hub.site.world.cases[self.book.case].permits[self.node.site.id]

    @property
    def here(self) -> Any:
        return self.hub.hub.site.world.cases[self.book.case].jobs[self.book.job].at[self.node.site.id]

    def follow(self) -> None:
        """Bring the node's own copy and the book up to what the hub has."""
        self.hub.hub.log.publish()
        if self.hub.hub.log.published > self.agent._told:  # or it would wait for news
            self.agent.follow()
        self.book.hear(self.hub.hub.site.entries(len(self.book.log)))

    def turn(self) -> None:
        """Act, and learn what came of it."""
        self.agent.act()
        self.follow()

    def say(self, kind: type[Any], author: str, /, **fields: Any) -> None:
        """Somebody else speaks."""
        entry = self.book.say(kind, author, **fields)
        assert self.hub.hub.log.submit([entry.data])[0]["reasons"] == []

    def told(self, speak: Callable[[], None]) -> None:
        """Send to the hub what the book says in `speak`."""
        said = len(self.book.log)
        speak()
        assert not any(answer["reasons"] for answer in self.hub.hub.log.submit(self.book.log[said:]))
        self.follow()

    def killed(self) -> None:
        """kill -9, and the node again."""
        self.node = self.hub.reopen_node(self.node)
        self.agent = Agent(self.node)

    def events(self, kind: str) -> list[Any]:
        return [
            entry.event for entry in map(Entry, self.hub.hub.site.entries(0)) if entry.event.type == kind and entry.event.author == FIRST
        ]

    def refused(self) -> int:
        """How many of its own events the log has refused."""
        with self.node.site.database.reading() as db:
            return int(db.execute("SELECT count(*) FROM outbox WHERE state = 'refused'").fetchone()[0])


def book_until(step: str, *, hospitals: int = 1, release: str = "two-people") -> DescribedBook:
    book = DescribedBook(hospitals=hospitals, release=release)
    book.output = sha256(DATA)
    book.play(until=step)
    return book


def opened(live: Live, **options: Any) -> Hospital:
    """A hospital whose node has issued the permit and opened the workspace."""
    hospital = Hospital.of(live, book_until("authorised"), **options)
    hospital.turn()
    hospital.turn()
    assert hospital.permit.state == "open"
    return hospital


def sealed(live: Live, **options: Any) -> Hospital:
    """A hospital that has sealed the output of a job."""
    hospital = opened(live, **options)
    hospital.book.job_document()
    hospital.told(hospital.book.submit_job)
    site, book = hospital.node.site, hospital.book
    hold(site, HeldOutput(book.case, book.job, book.hospitals, DATA, b"this hospital's part of the key.", ["clear"], []))
    site.record(ev.OutputSealed, case=book.case, job=book.job, output=book.output, findings="clear")
    hospital.agent.send_recorded()
    hospital.follow()
    keep_documents(hospital)
    return hospital


def keep_documents(hospital: Hospital) -> None:
    from pumasi.store.document import Document

    for document in hospital.book.documents.values():
        hospital.hub.hub.site.keep(Document(document["salt"], document["body"]))


def approve(hospital: Hospital) -> None:
    """Both checkers look and approve."""
    book = hospital.book
    for act in (book.commit_vote, book.open_vote):
        for checker in book.checkers_of(FIRST):
            hospital.told(lambda act=act, checker=checker: act(checker, job=book.job))


# --- permits and workspaces


def test_an_authorised_permit_is_issued_once_and_signed_by_the_hospital(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    hospital.turn()
    assert hospital.permit.state == "in force"
    (issued,) = hospital.events("PermitIssued")
    document = hospital.hub.channel(RESEARCHER).get(f"/documents/{issued.permit}").content
    permit = permits.opened(hospital.node.site.document(issued.permit), key=hospital.node.site.keys.public)
    assert (
        sha256(canonical(hospital.node.site.document(issued.permit).body)) and document == hospital.node.site.document(issued.permit).data
    )
    assert (permit.applicant, permit.smallest_cell, permit.hospital, permit.hospitals) == (RESEARCHER, 12, FIRST, [FIRST])
    assert set(permit.tables["patients"].columns) == {"age", "birth_date", "death14"}
    assert issued.seen.root == hospital.hub.hub.site.tree.root(issued.seen.size).hex()


def test_the_same_state_twice_does_nothing_twice(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    for state in ("in force", "open", "open"):
        hospital.turn()
        size = hospital.hub.hub.site.tree.size
        hospital.agent.act()  # nothing new was heard of
        hospital.agent.act()
        if state == "open":
            assert hospital.hub.hub.site.tree.size == size
        hospital.follow()
    assert [len(hospital.events(kind)) for kind in ("PermitIssued", "WorkspaceOpened")] == [1, 1]
    assert hospital.refused() == 0


def test_nothing_is_decided_on_a_copy_that_lags_behind_ones_own_acts(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    for _ in range(3):
        hospital.agent.act()
    assert len(hospital.events("PermitIssued")) == 1 and hospital.refused() == 0


def test_a_node_that_is_killed_before_its_copy_caught_up_decides_nothing_twice(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    hospital.turn()
    hospital.agent.act()  # opens the workspace; the log takes it; kill -9 before the copy has it
    file = hospital.node.workspace(hospital.book.case) / cipher.FILE
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    hospital.killed()
    hospital.agent.act()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before  # what the manifest in the log names
    hospital.follow()
    hospital.turn()
    assert len(hospital.events("WorkspaceOpened")) == 1 and hospital.refused() == 0


@pytest.mark.parametrize("step", ["issue_permit", "open_workspace"])
def test_a_node_that_is_killed_between_recording_and_sending_goes_on(live: Live, step: str) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    if step == "open_workspace":
        hospital.turn()
    case = hospital.node.site.world.cases[hospital.book.case]
    getattr(hospital.agent, step)(hospital.book.case, case, case.permits[FIRST])  # recorded, not sent
    assert len(hospital.node.site.unsent()) == 1
    hospital.killed()
    for _ in range(3):
        hospital.turn()
    assert hospital.permit.state == "open" and hospital.refused() == 0
    assert [len(hospital.events(kind)) for kind in ("PermitIssued", "WorkspaceOpened")] == [1, 1]


def test_a_hub_that_is_away_loses_nothing(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"))
    reachable = hospital.node.courier
    hospital.node.courier = Courier("https://127.0.0.1:1", hospital.node.home / "hub.crt", hospital=FIRST, keys=hospital.node.site.keys)
    hospital.node.courier._channel._patience = 0
    case = hospital.node.site.world.cases[hospital.book.case]
    with pytest.raises(Unreachable, match="does not answer"):
        hospital.agent.act()
    hospital.node.courier = reachable
    hospital.agent.issue_permit(hospital.book.case, case, case.permits[FIRST])
    with pytest.raises(Unreachable):
        hospital.node.courier = Courier("https://127.0.0.1:1", hospital.node.home / "hub.crt", hospital=FIRST, keys=hospital.node.site.keys)
        hospital.node.courier._channel._patience = 0
        hospital.agent.act()
    assert len(hospital.node.site.unsent()) == 1
    hospital.node.courier = reachable
    for _ in range(3):
        hospital.turn()
    assert hospital.permit.state == "open" and len(hospital.events("PermitIssued")) == 1


def test_a_source_that_no_longer_reads_as_described_ends_the_permit_with_that_reason(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    hospital = Hospital.of(live, book_until("authorised"), csv=CSV.replace("age,", "years,"))
    hospital.turn()
    hospital.turn()
    assert hospital.permit.ended == "source"
    assert "'age'" in caplog.text and "MARKER" not in caplog.text
    hospital.turn()
    assert hospital.permit.state == "destroyed" and hospital.refused() == 0


def test_a_source_that_is_not_there_ends_the_permit_too(live: Live) -> None:
    hospital = Hospital.of(live, book_until("authorised"), csv=None)
    for _ in range(3):
        hospital.turn()
    assert (hospital.permit.state, hospital.permit.ended) == ("destroyed", "source")


def test_trouble_in_one_case_does_not_hold_up_another(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    book = book_until("reviewed")
    real, other = book.case, next(case for case in book.world.cases if case != book.case)
    book.case = other
    book.committed()
    book.reviewed()
    book.authorised()  # its application was never given to the hub
    book.case = real
    book.authorised()
    assert list(book.world.cases) == [other, real]
    hospital = Hospital.of(live, book)
    hospital.turn()
    assert hospital.permit.state == "in force"
    assert f"case {other[:8]}, issue_permit" in caplog.text


# --- ends


def test_a_permit_ends_by_itself_when_its_last_day_in_seoul_is_over(live: Live) -> None:
    hospital = opened(live, settings={"permit_days = 180": "permit_days = 10"})
    until = hospital.permit.event.valid_until
    assert until == "2026-03-12"
    hospital.hub.clock.time = hospital.hub.clock.time.replace(month=3, day=12, hour=14, minute=59)  # 23:59 in Seoul
    hospital.turn()
    assert hospital.permit.state == "open"
    hospital.hub.clock.time += timedelta(minutes=1)
    hospital.turn()
    assert (hospital.permit.state, hospital.permit.ended) == ("destroyed", "expired")
    assert [len(hospital.events(kind)) for kind in ("PermitEnded", "DeletionPending", "WorkspaceDestroyed")] == [1, 1, 1]


def test_a_clock_that_was_set_back_ends_no_permit(live: Live) -> None:
    hospital = opened(live)
    hospital.hub.clock.time -= timedelta(days=3)
    hospital.turn()
    assert hospital.permit.state == "open" and hospital.refused() == 0


def test_after_a_revocation_the_workspace_is_destroyed_and_the_certificate_says_so(live: Live) -> None:
    hospital = opened(live)
    folder, case = hospital.node.workspace(hospital.book.case), hospital.book.case
    hospital.told(lambda: hospital.book.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked"))
    hospital.agent.act()
    assert not folder.exists() and not hospital.node.custody.holds(case)
    (destroyed,) = hospital.events("WorkspaceDestroyed")
    signed = open_signed("certificate", canonical(hospital.node.site.document(destroyed.certificate).body))
    certificate = CertificateV2.read(signed.body)
    assert signed.key == hospital.node.site.keys.public
    assert (certificate.case, sum(purge.residual for purge in certificate.purged), certificate.released, certificate.attempts) == (
        case,
        0,
        [],
        certificate.failures,
    )
    assert (certificate.objects, certificate.bytes > 0) == (1, True)
    hospital.killed()
    hospital.turn()
    hospital.turn()
    assert len(hospital.events("WorkspaceDestroyed")) == 1


def test_a_destruction_that_was_interrupted_is_finished(live: Live) -> None:
    hospital = opened(live)
    hospital.told(lambda: hospital.book.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked"))
    hospital.node.custody.custodian(hospital.book.case).destroy()  # and then kill -9
    hospital.killed()
    hospital.turn()
    assert hospital.permit.state == "destroyed" and not hospital.node.workspace(hospital.book.case).exists()


# --- jobs and releases


def test_a_job_that_the_permit_does_not_allow_fails_with_that_reason(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    hospital = opened(live)
    hospital.told(hospital.book.submit_job)  # made for other analysis code than this node runs
    keep_documents(hospital)
    hospital.agent.act()
    deadline = time.monotonic() + 60
    while not hospital.node.site.unsent() and time.monotonic() < deadline:
        time.sleep(0.01)
    hospital.turn()
    assert (hospital.here.state, hospital.here.failure) == ("failed", "permit")
    assert "another version of the analysis code" in caplog.text
    hospital.turn()
    assert len(hospital.events("JobFailed")) == 1


def test_a_job_that_ran_when_the_node_was_killed_is_reported_once_as_restarted(live: Live) -> None:
    hospital = opened(live)
    hospital.told(hospital.book.submit_job)
    hospital.node.site.note(f"begun|{hospital.book.case}|{hospital.book.job}", b"1")
    hospital.killed()
    hospital.agent.act()
    hospital.killed()
    hospital.agent.act()
    hospital.follow()
    hospital.turn()
    assert (hospital.here.state, hospital.here.failure) == ("failed", "restarted")
    assert len(hospital.events("JobFailed")) == 1 and hospital.refused() == 0


def test_a_sealed_output_is_not_called_restarted_before_the_copy_knows_it(live: Live) -> None:
    hospital = opened(live)
    hospital.told(hospital.book.submit_job)
    site, book = hospital.node.site, hospital.book
    site.note(f"begun|{book.case}|{book.job}", b"1")
    site.record(ev.OutputSealed, case=book.case, job=book.job, output=book.output, findings="clear")
    hospital.agent.run_jobs(book.case, site.world.cases[book.case], site.world.cases[book.case].permits[FIRST])
    assert [Entry(data).event.type for _, data in site.unsent()] == ["OutputSealed"]


def test_an_approved_output_is_released_and_the_key_part_sent_once(live: Live) -> None:
    hospital = sealed(live)
    hospital.turn()
    assert hospital.here.state == "under review" and hospital.events("Released") == []
    approve(hospital)
    hospital.turn()
    assert hospital.here.state == "released"
    hospital.turn()
    book = hospital.book
    sent = hospital.hub.hub.mailbox.get(book.job, "release", expected=set(), seconds=0)
    context = f"release|{book.job}|{book.output}|{FIRST}".encode()
    assert unseal_from(book.keys_of(RESEARCHER).box, sent[FIRST], context=context) == b"this hospital's part of the key."
    hospital.killed()
    hospital.turn()
    assert len(hospital.events("Released")) == 1 and hospital.refused() == 0


def test_an_output_that_was_approved_too_late_never_leaves_and_holds_nothing_up(live: Live) -> None:
    """Recording a release that the log must refuse would break the chain of everything after it, the destruction included."""
    hospital = sealed(live)
    approve(hospital)
    hospital.told(lambda: hospital.book.say(ev.PermitEnded, f"steward@{FIRST}", hospital=FIRST, reason="revoked"))
    for _ in range(3):
        hospital.turn()
    assert hospital.permit.state == "destroyed"
    assert hospital.events("Released") == [] and hospital.refused() == 0
    assert hospital.hub.hub.mailbox.get(hospital.book.job, "release", expected=set(), seconds=0) == {}


def test_an_automatic_release_waits_for_two_people_once_one_has_looked(live: Live) -> None:
    hospital = sealed(live, settings={"automatic_release = false": "automatic_release = true"})
    first = hospital.book.checkers_of(FIRST)[0]
    hospital.told(lambda: hospital.book.commit_vote(first, job=hospital.book.job))
    for _ in range(3):
        hospital.turn()
    assert hospital.here.state == "under review" and hospital.refused() == 0


def test_a_clear_output_leaves_by_itself_where_the_hospital_wants_that(live: Live) -> None:
    hospital = sealed(live, settings={"automatic_release = false": "automatic_release = true"})
    hospital.turn()
    hospital.turn()
    (released,) = hospital.events("Released")
    assert released.reviewers == [] and hospital.hub.hub.mailbox.get(hospital.book.job, "release", expected=set(), seconds=0)


def test_what_was_released_is_handed_over_before_everything_is_destroyed(live: Live) -> None:
    hospital = sealed(live)
    approve(hospital)
    hospital.turn()  # released, not yet handed over
    hospital.told(lambda: hospital.book.say(ev.StudyDone, RESEARCHER))
    hospital.killed()
    hospital.turn()
    assert hospital.permit.state == "deletion pending"  # unusable at once, and waiting for the hand-over
    hospital.turn()
    assert hospital.hub.hub.mailbox.get(hospital.book.job, "release", expected=set(), seconds=0)
    assert hospital.permit.state == "destroyed"
    (destroyed,) = hospital.events("WorkspaceDestroyed")
    body = open_signed("certificate", canonical(hospital.node.site.document(destroyed.certificate).body)).body
    assert body["released"] == [hospital.book.output]


# --- sending and following


def test_before_it_is_admitted_a_hospital_only_applies(live: Live) -> None:
    book = DescribedBook().play(until="people")
    hub = live(book)
    keys = book.keys_of("새 병원")
    node = hub.node("새 병원")
    node.site.record(ev.MemberApplied, case=CONSORTIUM, kind="hospital", key=keys.public, box=keys.box_public, cosigner=None)
    node.site.record(
        ev.PersonEnrolled, case=CONSORTIUM, person="irb@새 병원", key=book.keys_of("x").public, box=keys.box_public, roles=["irb"]
    )
    agent = Agent(node)
    agent.send_recorded()
    assert hub.hub.site.world.members["새 병원"].admitted is False and len(node.site.unsent()) == 1
    hub.hub.log.record(ev.MemberAdmitted, case=CONSORTIUM, member="새 병원")
    node.site.extend(hub.hub.site.entries(node.site.tree.size))
    agent.send_recorded()
    assert "irb@새 병원" in hub.hub.site.world.people and node.site.unsent() == []


def test_an_event_that_the_log_refuses_is_kept_as_evidence_and_the_next_one_follows(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    hospital = Hospital.of(live, book_until("datasets"))
    site, keys = hospital.node.site, hospital.book.keys_of("x")
    fields = {"person": f"irb@{FIRST}", "key": keys.public, "box": keys.box_public, "roles": ["irb"]}
    site.record(ev.PersonEnrolled, case=CONSORTIUM, **fields)
    hospital.agent.send_recorded()
    assert "is enrolled already" in caplog.text and hospital.refused() == 1
    site.record(ev.PersonEnrolled, case=CONSORTIUM, **fields | {"person": f"irb-2@{FIRST}"})
    hospital.agent.send_recorded()
    assert f"irb-2@{FIRST}" in hospital.hub.hub.site.world.people


def test_a_checked_head_is_cosigned_once(live: Live) -> None:
    hospital = Hospital.of(live, book_until("submitted"), follow=False)
    hospital.follow()
    text = hospital.hub.hub.log.newest() or ""
    assert [line.name for line in note.parse_checkpoint(text).lines] == [ORIGIN, note.cosigner_name(ORIGIN, FIRST)]
    hospital.killed()
    hospital.agent.follow()
    assert hospital.hub.hub.log.newest() == text


def test_a_head_that_is_not_the_history_is_kept_as_evidence_and_not_cosigned(live: Live) -> None:
    hospital = Hospital.of(live, book_until("submitted"), follow=False)
    log, size = hospital.hub.hub.log, hospital.node.site.tree.size
    forged = note.sign_checkpoint(ORIGIN, size=size, root=bytes(32), key=hospital.book.log_key)
    log._notes[size] = forged
    with pytest.raises(Tampered, match="not the history it sent"):
        hospital.agent.follow()
    assert hospital.node.site.noted(f"evidence|{size}") is not None
    assert len(note.parse_checkpoint(log._notes[size]).lines) == 1 and hospital.node.site.checkpoint() is None


def test_a_head_signed_by_somebody_else_is_not_cosigned(live: Live) -> None:
    hospital = Hospital.of(live, book_until("submitted"), follow=False)
    log, site = hospital.hub.hub.log, hospital.node.site
    log._notes[site.tree.size] = note.sign_checkpoint(
        ORIGIN, size=site.tree.size, root=site.tree.root(), key=hospital.book.cosigners[FIRST]
    )
    with pytest.raises(Tampered, match="not signed by the log"):
        hospital.agent.follow()
    assert site.checkpoint() is None


def test_an_event_that_the_rules_refuse_is_not_followed_even_if_the_hub_sequenced_it(live: Live) -> None:
    hospital = Hospital.of(live, book_until("submitted"), follow=False)
    illegal = hospital.book.entry(ev.MemberAdmitted, "company-1", case=CONSORTIUM, member="company-2")
    force_into_the_log(hospital.hub.hub.site, illegal)
    before = hospital.node.site.tree.root()
    with pytest.raises(Tampered, match="the rules refuse"):
        hospital.follow()
    assert hospital.node.site.tree.root() == before and hospital.node.site.checkpoint() is None
    log = hospital.hub.hub.log
    assert len(note.parse_checkpoint(log.newest() or "").lines) == 1


def test_a_node_acts_on_nothing_that_no_signed_head_covers(live: Live) -> None:
    hospital = Hospital.of(live, book_until("reviewed"))
    hub, size = hospital.hub.hub, hospital.node.site.tree.size
    for name in hospital.book.hospitals:
        hospital.say(ev.PermitAuthorised, f"steward@{name}", application=hospital.book.applied)
    assert hub.site.tree.size > size
    # What an older hub, or one that lies, serves without a head: it stays out of the copy, and where it is in it, it moves nothing.
    news = News(hub.site.entries(size), hub.log.newest())
    assert _covered(news, size).entries == []
    assert not any(hospital.node.site.extend(hub.site.entries(size)))
    hospital.agent.act()
    assert hospital.node.site.unsent() == [] and hospital.events("PermitIssued") == []
    hospital.follow()
    hospital.turn()
    assert len(hospital.events("PermitIssued")) == 1


def test_a_node_says_when_the_hub_holds_back_what_its_head_covers(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    hospital = Hospital.of(live, book_until("submitted"))
    agent, size = hospital.agent, hospital.node.site.tree.size
    with caplog.at_level(logging.WARNING):
        agent._lacks(size + 3)
        assert not caplog.records, "the rest may be on its way"
        agent._stuck = size, 0.0
        agent._lacks(size + 3)
        agent._lacks(size + 3)
    assert [record.getMessage() for record in caplog.records] == [
        f"the hub's head covers {size + 3} entries, but it serves only {size}; waiting for the others"
    ]


def force_into_the_log(site: Site, entry: Entry) -> None:
    """What a hub does that does not keep the rules."""
    with site.database.begin() as db:
        db.execute("INSERT INTO entries VALUES (?, ?, ?)", (site.tree.size, entry.digest, entry.data))
    site.tree.append(leaf_hash(entry.data))


def test_the_running_node_follows_and_acts_until_it_is_stopped(live: Live) -> None:
    import threading

    hospital = Hospital.of(live, book_until("authorised"))
    hospital.hub.hub.log.start()
    thread = threading.Thread(target=hospital.agent.run, daemon=True)
    thread.start()
    site = hospital.hub.hub.site
    assert site.wait_for(lambda: hospital.permit.state == "open", 60)
    hospital.agent.stop.set()
    hospital.hub.hub.log.stop()
    with site.changed:
        site.changed.notify_all()
    thread.join(timeout=60)
    assert not thread.is_alive()
    with pytest.raises(NotFound):
        hospital.node.courier.document("0" * 64)
