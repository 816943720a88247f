"""The jobs of one node: each is checked against this hospital's own permit, run once in a thread of its own, and ends in the log."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from pumasi.analysis import suppression
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import canonical, open_signed
from pumasi.kernel.errors import Invalid, PumasiError, Refused, Tampered
from pumasi.kernel.job import Job
from pumasi.kernel.permit import Permit
from pumasi.kernel.study import Agreed
from pumasi.kernel.world import JobCase
from pumasi.node import permits, remembered
from pumasi.node.airlock.held import HeldOutput, held, hold
from pumasi.node.app import Node
from pumasi.node.jobs import questions, sandbox
from pumasi.node.jobs.rounds import Failed, Party, Run
from pumasi.node.outgoing import SealedShare
from pumasi.node.remembered import Earlier
from pumasi.node.workspace.keeper import Keeper
from pumasi.store.code import analysis_digest

POLL = 5.0  # seconds of one wait for messages; between two, the log may say that another hospital has failed

log = logging.getLogger("pumasi.node.jobs")


class JobDesk:
    """Begins each job once. A job that was running when the node stopped is not begun again: it failed, and the log says so."""

    def __init__(self, node: Node, keeper: Keeper, stop: threading.Event) -> None:
        self._node, self._keeper, self._stop = node, keeper, stop
        self._running: dict[str, str] = {}  # job -> case
        self._boxes: dict[str, str] = {}

    def busy(self, case: str) -> bool:
        return case in self._running.values()

    def begin(self, case: str, id: str, job: JobCase) -> None:
        site = self._node.site
        if id in self._running or job.failed:
            return
        if any(getattr(entry.event, "job", None) == id for entry in site.own(case)):
            return  # it has ended here, and this copy of the log is about to say so
        if site.noted(f"begun|{case}|{id}") is not None:
            site.record(ev.JobFailed, case=case, job=id, reason="restarted", about=[])
            return
        site.note(f"begun|{case}|{id}", b"1")
        self._running[id] = case
        threading.Thread(target=self._run, args=(case, id, job), daemon=True, name=f"job {id[:8]}").start()

    def applicant_box(self, case: str, job: JobCase) -> str:
        """The X25519 key that a job's results are sealed to."""
        if job.event.job not in self._boxes:
            self._boxes[job.event.job] = self._document(job)[0].applicant_box
        return self._boxes[job.event.job]

    def _document(self, job: JobCase) -> tuple[Job, str, str]:
        """The signed job that the log commits to: the job, the key it is signed with, the digest of the signed bytes."""
        signed = open_signed("job", canonical(self._node.courier.document(job.event.document).body))
        found = Job.read(signed.body)
        if (found.job, found.lead, sorted(found.permits)) != (job.event.job, job.event.lead, sorted(job.event.hospitals)):
            raise Tampered("the job is not the one that its event announces")
        return found, signed.key, signed.digest

    def _run(self, case: str, id: str, job: JobCase) -> None:
        started = time.monotonic()
        ended: Failed | None = Failed("fault", "the code of this node failed")
        try:
            pace = self._compute(case, id, job)
            ended = None
            log.info("job %s sealed after %.2f s, %s", id[:8], time.monotonic() - started, pace)
        except PumasiError as error:
            ended = error if isinstance(error, Failed) else Failed(_reason(error), *error.reasons)
        finally:  # also when an error that nobody foresaw ends this thread: the other hospitals must not wait for it
            if ended is not None:
                log.error("job %s: %s: %s", id[:8], ended.reason, ended)
            if ended is not None and not job.failed:
                self._node.site.record(ev.JobFailed, case=case, job=id, reason=ended.reason, about=list(ended.about))
            del self._running[id]
            self._node.site.stir()  # what waited for the end of this job is due now

    def _compute(self, case: str, id: str, job: JobCase) -> str:
        """Run the job, hold its output and record it; how many rounds it took and how long they were."""
        document, signed_with, digest = self._document(job)
        permit = self._checked_permit(case, document, signed_with)
        hospital, world = permit.hospital, self._node.site.world
        party = Party(hospital, self._node.site.keys, {peer: world.members[peer].key for peer in document.permits})
        exchange = _Exchange(self._node, document, job, self._stop, _Patience(self._node.settings.patience_seconds))
        with sandbox.start() as worker:
            run = Run(
                job=document,
                digest=digest,
                party=party,
                tables=permit.tables,
                exchange=exchange,
                half=_Sandboxed(worker, self._keeper, case, permit),
                still_allowed=lambda: self._still_allowed(case, permit),
                earlier=self._earlier(case, document),
                remembered=remembered.before(self._node.site, document),
                hospitals_at_least=permit.hospitals_at_least,
            )
            sealed = None
            try:
                sealed = run.run()
            finally:  # whatever stops it: what it had opened was seen here
                if sealed is None:
                    remembered.keep(self._node.site, document, run.opened)
        hold(
            self._node.site,
            HeldOutput(case, id, sorted(document.permits), sealed.data, sealed.release_share, sealed.findings, sealed.known),
        )
        remembered.keep(self._node.site, document, sealed.asked)
        findings = "clear" if sealed.findings == [suppression.CLEAR] else "flagged"
        self._node.site.record(ev.OutputSealed, case=case, job=id, output=sealed.digest, findings=findings)
        return exchange.pace

    def _checked_permit(self, case: str, job: Job, signed_with: str) -> Permit:
        """This hospital's own permit, after it has allowed the job; `Failed` with every reason when it does not."""
        found = self._node.site.world.cases[case]
        permit = self._keeper.permit(case, found.permits[self._node.settings.name])
        signer = permits.signer(self._node.site.world, permit, signed_with)
        reasons = permit.refusals(job, signed_with=signer, now=self._node.site.now())
        if not reasons:
            hospitals = sorted(job.permits)
            reasons = [
                reason
                for question in job.questions
                for reason in questions.refusals(question, permit.tables[question["table"]], hospitals=hospitals)
            ]
        for hospital, named in job.permits.items():
            theirs = found.permits[hospital].event
            if theirs is None or theirs.permit != named:
                reasons.append(f"the job names another permit of {hospital} than the one in the log")
            elif theirs.smallest_cell > job.smallest_cell:
                reasons.append(f"the permit of {hospital} asks for larger cells than the job")
        if job.code != analysis_digest():
            reasons.append("the job was made for another version of the analysis code than this node runs; update one of the two")
        if reasons:
            raise Failed("permit", *reasons)
        return permit

    def _still_allowed(self, case: str, permit: Permit) -> None:
        ended = permit.dates_refusal(self._node.site.now())
        state = self._node.site.world.cases[case].permits[permit.hospital].state
        if ended or state != "open":
            raise Failed("permit", ended or "the permit ended while the job ran")

    def _earlier(self, case: str, job: Job) -> list[dict[str, Any]]:
        """What this project has learnt before about the same hospitals together: sealed counts as published."""
        jobs = self._node.site.world.cases[case].jobs
        before = [id for id, other in dict(jobs).items() if id != job.job and not other.failed and sorted(other.at) == sorted(job.permits)]
        return [result for id in before for result in held(self._node.site.database, case, id).known]


def _reason(error: PumasiError) -> Any:
    if isinstance(error, sandbox.Fault):
        return "fault"
    if isinstance(error, Tampered):
        return "tampered"
    if isinstance(error, Invalid):
        return "source"
    return "sandbox" if isinstance(error, Refused) else "fault"


@dataclass
class _Patience:
    """How long this node still waits for the others; every message that arrives renews it."""

    seconds: float
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._until = time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self._until


@dataclass
class _Exchange:
    """The mailbox of one job, through the courier."""

    node: Node
    job: Job
    case: JobCase
    stop: threading.Event
    patience: _Patience
    _traded: list[float] = field(default_factory=list)  # when each round had everybody's share

    @property
    def pace(self) -> str:
        """How many rounds there were, and the mean time from one to the next."""
        rounds = len(self._traded)
        each = (self._traded[-1] - self._traded[0]) / (rounds - 1) if rounds > 1 else 0.0
        return f"{rounds} rounds, {each * 1e3:.1f} ms each"

    def send(self, label: str, data: bytes) -> None:
        self.node.courier.send_share(SealedShare(self.job.job, label, data))

    def trade(self, label: str, data: bytes) -> dict[str, bytes]:
        found = self.node.courier.trade_share(SealedShare(self.job.job, label, data), wait=POLL)
        found = found if set(self.job.permits) <= found.keys() else self.receive(label)
        self._traded.append(time.monotonic())
        return found

    def receive(self, label: str, sender: str | None = None) -> dict[str, bytes]:
        wanted = {sender} if sender else set(self.job.permits)
        arrived = 0
        self.patience.renew()
        while True:
            found = self.node.courier.messages(self.job.job, label, sender=sender, wait=POLL)
            if wanted <= found.keys():
                return {name: found[name] for name in sorted(wanted)}
            if len(found) > arrived:
                arrived = len(found)
                self.patience.renew()
            missing = tuple(sorted(wanted - found.keys()))
            if self.case.failed:
                raise Failed("missing-hospital", f"the job failed at {', '.join(self.case.failed)}")
            if self.stop.is_set():
                raise Failed("restarted", "this node is being stopped")
            if self.patience.over:
                raise Failed("missing-hospital", f"no word from {', '.join(missing)} for {self.patience.seconds:.0f} s", about=missing)


@dataclass
class _Sandboxed:
    """This hospital's half of the methods: columns streamed from the workspace into the sandboxed worker, never a key."""

    worker: sandbox.Worker
    keeper: Keeper
    case: str
    permit: Permit
    _loaded: tuple[str, frozenset[str]] | None = None
    _people: int = 0
    _sourced: tuple[str, list[dict[str, Agreed]]] = ("", [])  # what the worker holds of the source, each in its place

    def load(self, table: str, columns: set[str]) -> int:
        wanted = (table, frozenset(columns))
        if wanted != self._loaded:
            frame = self.keeper.frame(self.case, self.permit, table=table, columns=columns)
            self.worker.load(frame.persons, list(frame.columns.values()))
            self._loaded, self._people = wanted, int(frame.persons.max(initial=-1)) + 1
        return self._people

    def compare(self, question: dict[str, Any], earlier: Earlier) -> list[float]:
        """In the workspace; what another project was answered is evaluated anew at the source, next to the question."""
        now, then = ("table", "table") if earlier.case == self.case else self._at_source(question, [earlier])
        share = self.worker.compare(question, earlier.question, places=(now, then), load=earlier.people)
        return [float(value) for value in share]

    def audit(self, question: dict[str, Any], before: list[Earlier], known: list[list[float]]) -> list[float]:
        """In the workspace; at the source, all of them, where another project was asked one."""
        elsewhere = any(earlier.case != self.case for earlier in before)
        places = self._at_source(question, before) if elsewhere else ["table"] * (1 + len(before))
        share = self.worker.audit([question, *(earlier.question for earlier in before)], known, places=places)
        return [float(value) for value in share]

    def _at_source(self, question: dict[str, Any], before: list[Earlier]) -> list[str]:
        """Where the worker holds the table as the source holds it: with the columns of this question, and with those of each earlier one.

        It is read once for each set of columns, unless the worker still has them all from the round before this one.
        """
        table, agreed = question["table"], self.permit.tables[question["table"]].columns
        wanted = [{name: agreed[name] for name in question["column_kinds"]}, *(earlier.columns for earlier in before)]
        if self._sourced[0] != table or any(columns not in self._sourced[1] for columns in wanted):
            different = [columns for place, columns in enumerate(wanted) if columns not in wanted[:place]]
            for number, frame in enumerate(self.keeper.source_frames(self.case, self.permit, table, different)):
                self.worker.load(frame.persons, list(frame.columns.values()), place=f"asked {number}")
            self._sourced = (table, different)
        return [f"asked {self._sourced[1].index(columns)}" for columns in wanted]

    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
        return [float(value) for value in self.worker.local(question["kind"], question, state)]
