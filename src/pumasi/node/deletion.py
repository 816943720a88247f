"""What a node does when a permit is over: by itself, on its own clock, whether or not it can reach the hub.

Each step is recorded before the next is taken, and everything here is computed from what is recorded, so a node may be stopped at
any step. The log learns of it when the hub can be reached; what the log refuses meanwhile is recorded anew after what it holds.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pumasi.kernel import event as ev
from pumasi.kernel.codes import EndReason
from pumasi.kernel.deletion import moment
from pumasi.kernel.event import Entry
from pumasi.kernel.permit import seoul_day
from pumasi.kernel.states import PERMIT
from pumasi.kernel.world import Case, PermitCase
from pumasi.node.app import Node
from pumasi.node.comeback import Comeback
from pumasi.node.jobs.desk import JobDesk
from pumasi.node.workspace.keeper import Keeper

OWED = timedelta(days=1)  # how long a result that was released may wait for the hub before it is destroyed with the rest

log = logging.getLogger("pumasi.node.deletion")


@dataclass
class Deletion:
    """The ends of all permits of one node."""

    node: Node
    keeper: Keeper
    desk: JobDesk
    comeback: Comeback
    _swept: set[str] = field(default_factory=set)
    _closed: int = -1  # how many cases were closed when this node last looked what a backup brought back of them

    def sweep_closed(self) -> None:
        """Destroy again what a restored backup brought back of closed cases."""
        retired = self.node.site.world.retired
        if len(retired) == self._closed:
            return
        self._closed = len(retired)
        keys, folders = (self.node.home / "keys" / "permits").glob("*.key"), (self.node.home / "workspaces").glob("*")
        for id in sorted({path.stem for path in (*keys, *folders)} & retired):
            self._sweep(id)

    def _sweep(self, id: str) -> None:
        if self.keeper.sweep(id):
            log.error("case %s: a destroyed workspace or its key was brought back, by a backup perhaps; destroyed again", id[:8])

    def step(self, id: str, case: Case, permit: PermitCase, *, ahead: list[Entry]) -> None:
        """Take every step that is due for one permit. `ahead` are this node's own events that its copy of the log lacks."""
        state, until = _ahead(id, permit, ahead)
        if state in ("in force", "open"):
            state = self._end(id, permit, state)
        if state == "ended":
            until = self._pend(id)
            state = "deletion pending"
        if state in ("deletion pending", "reversal asked"):
            assert until is not None  # it is pending until then
            self.keeper.make_unusable(id)
            if self._is_due(id, case, permit, until):
                certificate = self.keeper.destroy(id, case, permit)
                self.node.site.record(ev.WorkspaceDestroyed, case=id, opened=[certificate], certificate=certificate.commitment)
        if state == "destroyed" and id not in self._swept:
            self._swept.add(id)
            self._sweep(id)

    def _end(self, id: str, permit: PermitCase, state: str) -> str:
        """End a permit that is over by its date, or whose workspace this node has destroyed; the state after."""
        reason: EndReason
        if self.comeback.lost(id, permit):
            log.error("case %s: the workspace was lost: this node was restored from a backup, which holds no workspace and no key", id[:8])
            reason = "lost"
        elif seoul_day(self.node.site.now()) > self.keeper.permit(id, permit).valid_until:
            reason = "expired"
        elif self.keeper.is_destroyed(id):
            log.error("case %s: a reversal came after the workspace was destroyed; nothing can be opened again", id[:8])
            reason = "source"
        else:
            self.keeper.make_usable(id)
            return state
        self.node.site.record(ev.PermitEnded, case=id, hospital=permit.hospital, reason=reason)
        return "ended"

    def _pend(self, id: str) -> str:
        self.keeper.make_unusable(id)
        until = self.node.site.now() + timedelta(hours=self.node.settings.deletion_grace_hours)
        instant = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.node.site.record(ev.DeletionPending, case=id, until=instant)
        return instant

    def _is_due(self, id: str, case: Case, permit: PermitCase, until: str) -> bool:
        """Whether to destroy now: the time is over, no job runs, and what was released has been handed over (or waited a day)."""
        now = self.node.site.now()
        if now < moment(until) or self.desk.busy(id):
            return False
        owed = any(self._is_owed(id, job_id, job, permit) for job_id, job in dict(case.jobs).items())
        return not owed or now > moment(until) + OWED

    def _is_owed(self, id: str, job_id: str, job: Any, permit: PermitCase) -> bool:
        here = job.at.get(permit.hospital)
        return here is not None and here.state == "released" and self.node.site.noted(f"sent|{id}|{job_id}") is None


def _ahead(id: str, permit: PermitCase, ahead: list[Entry]) -> tuple[str, str | None]:
    """State and date of a deletion as they are once the log has this node's own latest events."""
    state, until = permit.state, permit.until
    for entry in ahead:
        if entry.event.case == id:
            state = PERMIT.get((state, entry.event.type), state)
            until = entry.event.until if isinstance(entry.event, ev.DeletionPending) else until
    return state, until
