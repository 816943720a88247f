"""The loop of a node: follow the log, cosign it, and do what it says is due at this hospital.

What is due is computed from the state, not from messages: after a crash or an outage the same question gives the same answer, so a
node may be stopped and started at any time. Each act is recorded before the next is considered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.envelope import b64
from pumasi.kernel.errors import Invalid, PumasiError, Tampered, Unreachable
from pumasi.kernel.event import Entry
from pumasi.kernel.study import Application, Dataset
from pumasi.kernel.world import Case, PermitCase
from pumasi.ledger import note
from pumasi.node import permits
from pumasi.node.airlock import release
from pumasi.node.app import Node
from pumasi.node.comeback import Comeback
from pumasi.node.courier import News
from pumasi.node.deletion import Deletion
from pumasi.node.gossip import Gossip
from pumasi.node.handover import Crossing
from pumasi.node.jobs.desk import JobDesk
from pumasi.node.outgoing import SignedEvent
from pumasi.node.papers import DOCUMENT, Papers
from pumasi.node.workspace.keeper import Keeper
from pumasi.store.tail import tail_of
from pumasi.store.watch import Watch

PAUSE = 0.2
CLOCK = 2.0  # between two looks at what only time makes due
GOSSIP_PAUSE = 5.0
TROUBLE_PAUSE = 2.0
STUCK_AFTER, STUCK_PAUSE = 5.0, 60.0  # until it is said that the hub holds entries back, and until it is said again

log = logging.getLogger("pumasi.node")


@dataclass
class Agent:
    """One node at work. `run` returns when `stop` is set."""

    node: Node
    stop: threading.Event = field(default_factory=threading.Event)
    _seen: int = 0  # the newest checkpoint that was checked and saved
    _told: int = 0  # the newest one whose cosignature the hub has taken since this node started; it may have missed the last before
    _stuck: tuple[int, float] = (-1, 0.0)  # how long the copy was when the hub held something back, and when that is said (again)
    _awaited: str = ""  # the last own event that the log took, until the own copy holds it

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.node)
        self.comeback = Comeback(self.node)
        self.watch = Watch(self.node.site)
        self.papers = Papers(self.node)
        self.crossing = Crossing(self.node, self._crossed)
        self.desk = JobDesk(self.node, self.keeper, self.stop)
        self.deletion = Deletion(self.node, self.keeper, self.desk, self.comeback)
        newest = self.node.site.checkpoint()
        self._seen = note.parse_checkpoint(newest).size if newest else 0
        self._awaited = self.node.site.last_logged()

    def _crossed(self) -> None:
        """The log goes on elsewhere: what was told to the old hub was told to nobody."""
        newest = self.node.site.checkpoint()
        self._seen = note.parse_checkpoint(newest).size if newest else 0
        self._told, self._awaited = 0, self.node.site.last_logged()

    def run(self) -> None:
        """Follow the log in one thread, act in this one."""
        follower = threading.Thread(target=self._forever, args=(self.follow,), daemon=True, name="follow")
        follower.start()
        keeping = threading.Thread(target=self.node.site.keep_snapshots, args=(self.stop,), daemon=True, name="snapshots")
        keeping.start()
        for name, step in (("gossip", Gossip(self.node).step), ("papers", self.papers.keep)):
            threading.Thread(target=self._forever, args=(self._now_and_then(step),), daemon=True, name=name).start()
        self._forever(self._act_and_rest)
        keeping.join(timeout=5)
        follower.join(timeout=0.5)  # it may be waiting for news for long, and may be cut off anywhere

    def _now_and_then(self, step: Callable[[], None]) -> Callable[[], None]:
        def once() -> None:
            self.stop.wait(GOSSIP_PAUSE)
            if not self.stop.is_set() and not self.comeback.pending:  # what it had shown before its backup is still there to be read
                step()

        return once

    def _act_and_rest(self) -> None:
        moment = self.watch.moment()  # first: what is written while it acts is looked at again
        self.act()
        self.watch.rest(moment, CLOCK, self.stop)

    def _forever(self, step: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                step()
            except Unreachable as error:
                log.warning("%s", error)
                self.stop.wait(PAUSE)
            except PumasiError as error:
                log.error("%s: %s", type(error).__name__, error)
                self.stop.wait(TROUBLE_PAUSE)
            except Exception:
                log.exception("the node's loop failed at one step; it goes on")
                self.stop.wait(TROUBLE_PAUSE)

    # --- following the log ---

    def follow(self) -> None:
        """Fetch what is new, replay it, check the head against the own copy, cosign it."""
        site = self.node.site
        if self.crossing.step():
            return  # between two logs it follows neither
        news = _covered(self.node.courier.news(site.tree.size, seen=self._told), site.tree.size)
        for data, reasons in zip(news.entries, site.extend(news.entries, in_order=True), strict=False):
            if reasons:
                site.note(f"evidence|{site.tree.size}", f"{news.checkpoint or ''}\n{b64(data)}\n".encode())
                raise Tampered("the hub sequenced an event that the rules refuse; this node does not cosign it", *reasons)
        if news.wanted is not None:
            self._give_back(news.wanted)
        if news.checkpoint is not None and (not self.comeback.pending or self._came_back(news)):
            self._cosign(news.checkpoint)

    def _came_back(self, news: News) -> bool:
        """Whether a node that was restored has caught up; it goes on at once while there is more to fetch."""
        assert news.checkpoint is not None  # asked of a checkpoint alone
        done = not news.entries and self.comeback.step(news.checkpoint)
        if done:
            self._awaited = self.node.site.last_logged()
        elif not news.entries:
            self.stop.wait(PAUSE)
        return done

    def _give_back(self, start: int) -> None:
        """A hub that was restored asks for what it had sequenced after its backup."""
        tail = tail_of(self.node.site, start)
        if tail is not None:
            self.node.courier.give_back(tail)
        if tail is None or not tail.entries:
            self.stop.wait(PAUSE)

    def _cosign(self, text: str) -> None:
        site, checkpoint = self.node.site, note.parse_checkpoint(text)
        if checkpoint.size > site.tree.size:
            self._lacks(checkpoint.size)
            return
        self._check_signed(checkpoint, text)
        if checkpoint.root != site.tree.root(checkpoint.size):
            site.note(f"evidence|{checkpoint.size}", text.encode())
            raise Tampered("the hub signed a head that is not the history it sent; the checkpoint is kept as evidence and not cosigned")
        if checkpoint.size <= self._told:
            return
        if checkpoint.size > self._seen:  # saved before the signature goes out: this node never vouches for what it could forget
            site.save_checkpoint(checkpoint.size, text)
            self._seen = checkpoint.size
        if self.crossing.waiting:
            return  # a handover was signed here in between: this node vouches for nothing of the old log any more
        own = (self.node.settings.name, b64(self.node.cosigner.public_key().public_bytes_raw()))
        name = note.cosigner_name(checkpoint.origin, self.node.settings.name)
        if own in site.world.cosigners_at(checkpoint.size) and all(line.name != name for line in checkpoint.lines):
            self.node.courier.cosign(checkpoint.size, note.cosign(text, name, key=self.node.cosigner, time=int(time.time())))
        self._told = checkpoint.size

    def _lacks(self, size: int) -> None:
        """The hub says that there is more than it gives: said once in a while, for a person to ask why."""
        here = self.node.site.tree.size
        if here == self._stuck[0] and time.monotonic() > self._stuck[1]:
            log.warning("the hub's head covers %d entries, but it serves only %d; waiting for the others", size, here)
            self._stuck = here, time.monotonic() + STUCK_PAUSE
        elif here != self._stuck[0]:
            self._stuck = here, time.monotonic() + STUCK_AFTER

    def _check_signed(self, checkpoint: note.Checkpoint, text: str) -> None:
        """That the key signed it whose turn it is at this size; one by a key that was replaced is kept."""
        try:
            note.check(checkpoint, log=note.head_vkey(self.node.site.world, checkpoint.size), cosigners=[])
        except Tampered:
            self.node.site.note(f"evidence|{checkpoint.size}", text.encode())
            raise

    # --- acting on it ---

    def act(self) -> None:
        """Everything that is due here now, each by its own function. Ends of permits come first, for they need no hub; then sending, so
        that nothing is decided twice."""
        if self.comeback.pending:
            return  # it may have signed more than its backup knows
        self.end_permits()
        self.papers.send_again()
        self.send_recorded()
        if self.node.site.tree.size > self._seen:
            return  # nothing rests on entries that no head covers which the log has signed and this copy has led to
        if self._awaited and self.node.site.index_of(self._awaited) is None:
            return  # the own copy lags behind: what is due is about to change
        for id, case, permit in self._mine():
            for due in (self.issue_permit, self.open_workspace, self.run_jobs, self.release_outputs):
                self._attempt(due, id, case, permit)
        self.end_permits()  # what was handed over just now kept a workspace waiting
        self.send_recorded()

    def end_permits(self) -> None:
        """Make unusable, and in time destroy, what is over: on this node's own clock."""
        self.deletion.sweep_closed()
        ahead = self.node.site.ahead()
        for id, case, permit in self._mine():
            self._attempt(self._end_one(ahead), id, case, permit)

    def _end_one(self, ahead: list[Entry]) -> Callable[[str, Case, PermitCase], None]:
        def end_permit(id: str, case: Case, permit: PermitCase) -> None:
            self.deletion.step(id, case, permit, ahead=ahead)

        return end_permit

    def _mine(self) -> list[tuple[str, Case, PermitCase]]:
        world, me = self.node.site.world, self.node.settings.name
        with self.node.site.changed:
            return [(id, case, case.permits[me]) for id, case in world.cases.items() if me in case.permits]

    def _attempt(self, due: Callable[[str, Case, PermitCase], None], id: str, case: Case, permit: PermitCase) -> None:
        """One case's trouble must not hold up another's."""
        try:
            due(id, case, permit)
        except Unreachable:
            raise
        except PumasiError as error:
            log.error("case %s, %s: %s", id[:8], due.__name__, error)

    def send_recorded(self) -> None:
        site = self.node.site
        member = site.world.members.get(self.node.settings.name)
        for id, data in site.unsent():
            entry = Entry(data)
            event: Any = entry.event
            if event.type != "MemberApplied" and not (member and member.admitted):
                return  # until it is admitted a hospital only applies
            refused = self.node.courier.send_event(SignedEvent(data, self._document(event)))
            site.settle(id, refused=refused)
            if not refused:
                self._awaited = entry.digest
            else:
                log.error("the log refused %s: %s", event.type, "; ".join(refused))

    def _document(self, event: Any) -> Any:
        name = DOCUMENT.get(event.type)
        return self.node.site.document(getattr(event, name)) if name else None

    def issue_permit(self, id: str, case: Case, permit: PermitCase) -> None:
        if permit.state != "authorised":
            return
        site, courier = self.node.site, self.node.courier
        application = Application.read(courier.document(case.event.application).body)
        datasets = [Dataset.read(courier.document(application.datasets[hospital]).body) for hospital in sorted(application.datasets)]
        written = permits.write(site.world, id, application=application, datasets=datasets, settings=self.node.settings, now=site.now())
        document = permits.sealed(written, site.keys)
        seen = {"size": self._seen, "root": site.tree.root(self._seen).hex()}
        fields = {key: getattr(written, key) for key in ("smallest_cell", "hospitals_at_least", "release", "valid_from", "valid_until")}
        site.record(ev.PermitIssued, case=id, opened=[document], permit=document.commitment, seen=seen, **fields)

    def open_workspace(self, id: str, case: Case, permit: PermitCase) -> None:
        if permit.state != "in force":
            return
        try:
            manifest = self.keeper.open(id, permit)
        except Invalid as error:
            log.error("case %s: the source does not hold what the permit describes: %s", id[:8], error)
            self.node.site.record(ev.PermitEnded, case=id, hospital=permit.hospital, reason="source")
            return
        self.node.site.record(ev.WorkspaceOpened, case=id, opened=[manifest], manifest=manifest.commitment)

    def run_jobs(self, id: str, case: Case, permit: PermitCase) -> None:
        for job_id, job in dict(case.jobs).items():
            here = job.at.get(permit.hospital)
            if here is not None and here.state == "running":
                self.desk.begin(id, job_id, job)

    def release_outputs(self, id: str, case: Case, permit: PermitCase) -> None:
        for job_id, job in dict(case.jobs).items():
            here = job.at.get(permit.hospital)
            if here is None or job.failed or here.output is None or permit.state == "destroyed":
                continue
            everywhere = job.outputs == {here.output} and permit.state == "open"
            unsent = here.state == "released" and self.node.site.noted(f"sent|{id}|{job_id}") is None
            if unsent and self.comeback.output_lost(id, job_id):
                self.node.site.note(f"sent|{id}|{job_id}", b"lost")  # it went out before, or never will
                continue
            if unsent or (here.state == "under review" and everywhere and release.reviewed(permit, here)):
                box = self.desk.applicant_box(id, job)
                release.release(self.node.site, self.node.courier, case=id, job=job_id, applicant_box=box)
                if unsent:
                    self.node.site.note(f"sent|{id}|{job_id}", b"1")


def _covered(news: News, start: int) -> News:
    """News without the entries that the head beside them does not cover; a hub that was restored has no head to give."""
    size = start if news.checkpoint is None else note.parse_checkpoint(news.checkpoint).size
    return News(news.entries[: max(0, size - start)], news.checkpoint, news.wanted)
