"""Wiring of the hub and its HTTP face. `open_hub` is the only place where its parts meet."""

# No `from __future__ import annotations`: FastAPI must see the dependencies that the routes below define.

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from pumasi.hub import cases, deletion, governance, papers, rotation, takeover
from pumasi.hub.callers import Caller, Callers
from pumasi.hub.http import Body, Index, Label, Seconds, Signed, asked, explain, text
from pumasi.hub.keyshares import KeyShares
from pumasi.hub.log import Sequencer
from pumasi.hub.publisher import Publisher
from pumasi.hub.readers import Readers
from pumasi.hub.recovery import Recovery
from pumasi.hub.settings import HubSettings, load
from pumasi.hub.tasks import Mailbox
from pumasi.hub.witnesses import Witnesses
from pumasi.kernel import event as ev
from pumasi.kernel.envelope import Keys, b64, unb64
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, refuse_if
from pumasi.kernel.event import CONSORTIUM
from pumasi.kernel.model import RandomId
from pumasi.ledger import note
from pumasi.store import mail
from pumasi.store.db import open_db
from pumasi.store.document import Document
from pumasi.store.keyring import open_keyring
from pumasi.store.rotation import signing_key
from pumasi.store.site import Site
from pumasi.store.snapshot import Snapshots
from pumasi.store.tail import Tail

THREADS = 400  # every waiting node holds one; 70 hospitals with a few jobs each fit
PUBLISH_PAUSE = 1.0  # seconds between two looks for a final checkpoint to put out as files
TIDY_PAUSE, TIDY_CLOCK = 0.1, 2.0  # seconds between two looks at cases: at least, and at most, for some things are due by the clock

log = logging.getLogger("pumasi.hub")


@dataclass
class Hub:
    """Everything the hub is made of."""

    settings: HubSettings
    site: Site
    log: Sequencer
    mailbox: Mailbox
    shares: KeyShares
    publisher: Publisher
    callers: Callers
    readers: Readers
    handover: bytes | None = None  # by which this hub came to its log
    recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self.recovery = Recovery(self.log)


def open_hub(home: Path) -> Hub:
    """Open the hub at `home`; found its log if it is new."""
    settings = load(home)
    rotation.settle(home)
    keys, log_key = Keys.from_text((home / "keys" / "coordinator.key").read_text()), signing_key(home / "keys" / "log.key")
    site = Site(open_db(home / "hub.db"), id=settings.name, keys=keys, snapshots=Snapshots(home / "snapshot", keys))
    if site.mark() is None:
        rotation.log_recorded(site)
    refuse_if(takeover.refusal(home, site, log_key))
    sequencer = Sequencer(site, log_key, origin=settings.origin, batch_seconds=settings.batch_seconds, policy=settings.policy_text(home))
    mailbox, shares = (
        Mailbox(home / "mailbox.db"),
        KeyShares(open_keyring(settings.custody, home=home, folder=home / "shares", owner=settings.name), site),
    )
    shares.sweep()
    callers, readers = Callers(site, home), Readers(home / "papers.db", site)
    hub = Hub(settings, site, sequencer, mailbox, shares, Publisher(home / "tlog", sequencer), callers, readers, takeover.shown(home))
    if site.tree.size == 0:
        log_public = b64(log_key.public_key().public_bytes_raw())
        hub.log.record(ev.LogFounded, case=CONSORTIUM, origin=settings.origin, log_key=log_public, key=keys.public, box=keys.box_public)
    return hub


def make_app(hub: Hub) -> FastAPI:
    """The HTTP interface: a mailbox and a log. Every answer is bytes somebody signed, or computed from the log alone."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        if not hub.recovery.pending:
            hub.log.start()
        stop = threading.Event()
        for step, pause in (
            (_tidying(hub, stop), TIDY_PAUSE),
            (hub.publisher.step, PUBLISH_PAUSE),
            (Witnesses(hub.log).step, PUBLISH_PAUSE),
        ):
            threading.Thread(target=_forever, args=(step, pause, stop), daemon=True).start()
        keeping = threading.Thread(target=hub.site.keep_snapshots, args=(stop,), daemon=True, name="snapshots")
        keeping.start()
        yield
        stop.set()
        keeping.join(timeout=5)
        hub.log.stop()

    async def ready(request: Request) -> None:
        hub.recovery.admit(request.method, request.url.path)

    app = FastAPI(title="Pumasi hub", lifespan=lifespan, docs_url=None, redoc_url=None, dependencies=[Depends(ready)])
    app.state.callers = hub.callers
    for kind in (PumasiError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, explain)
    for add in (_log_routes, _copy_routes, _member_routes, _document_routes, _case_routes, _mailbox_routes):
        add(app, hub)
    app.mount("/tlog", StaticFiles(directory=hub.publisher.folder), name="tlog")
    app.mount("/verify", StaticFiles(packages=[("pumasi.web", "verify")], html=True), name="verify")
    return app


def _tidying(hub: Hub, stop: threading.Event) -> Callable[[], None]:
    """What the coordinating body does by itself, whenever the log has moved on or the clock may have made something due."""

    def step() -> None:
        moves = hub.site.moves  # first: what comes while it looks is looked at again
        if hub.recovery.pending:
            hub.recovery.look()
            return
        governance.tidy(hub.log, hub.shares, hub.settings)
        governance.empty_mailboxes(hub.site.world, hub.mailbox)
        hub.site.wait_for(lambda: hub.site.moves != moves or stop.is_set(), TIDY_CLOCK)

    return step


def _forever(step: Callable[[], object], pause: float, stop: threading.Event) -> None:
    while not stop.wait(pause):
        try:
            step()
        except Exception:
            log.exception("a step of the hub failed; it tries again")


def _log_routes(app: FastAPI, hub: Hub) -> None:
    """The log is public: anybody may read, mirror and check it, and it says nothing about a patient."""

    @app.get("/")
    def about(request: Request, size: int = -1, wait: Seconds = 0) -> dict[str, Any]:
        """Which log this is; with `size`, once it is longer than that."""
        with hub.callers.waiting(asked(request, b""), wait) as seconds:
            hub.site.wait_for(lambda: hub.site.tree.size > size, seconds)
        return {"origin": hub.settings.origin, "name": hub.settings.name, "size": hub.site.tree.size, "cosigners": len(hub.log.cosigners())}

    @app.post("/events")
    def submit(body: Body) -> list[dict[str, Any]]:
        return hub.log.submit([unb64(line) for line in text(body).split()], fits=partial(papers.refusals, hub.site))

    @app.get("/log")
    def read(request: Request, start: Index, seen: Index = 0, wait: Seconds = 0) -> dict[str, Any]:
        """Entries that a signed head covers, and the newest head: what no head covers is nothing yet that anybody could rely on."""
        site = hub.site
        if hub.recovery.pending:
            return {"entries": [b64(data) for data in site.entries(start, start + 2000)], "checkpoint": None, "wanted": site.tree.size}
        with hub.callers.waiting(asked(request, b""), wait) as seconds:
            if site.wait_for(lambda: hub.log.published > min(start, seen), seconds) and seconds:
                time.sleep(hub.log.gather)  # what comes at the same time goes in one answer
        checkpoint = hub.log.newest()
        covered = note.parse_checkpoint(checkpoint).size if checkpoint else 0
        return {"entries": [b64(data) for data in site.entries(start, min(start + 2000, covered))], "checkpoint": checkpoint}

    @app.post("/cosignatures/{size}")
    def cosign(size: int, body: Body) -> dict[str, bool]:
        hub.log.add_cosignature(size, text(body))
        return {"added": True}

    @app.get("/checkpoint")
    def checkpoint(request: Request, covering: Index = 0, wait: Seconds = 0) -> Response:
        """The newest checkpoint that a quorum has cosigned, over at least `covering` entries."""
        with hub.callers.waiting(asked(request, b""), wait) as seconds:
            hub.site.wait_for(lambda: hub.log.final(covering) is not None, seconds)
        final = hub.log.final(covering)
        if final is None:
            raise NotFound("no checkpoint over these entries has a quorum of cosignatures yet; ask again when more hospitals are up")
        return PlainTextResponse(final)

    @app.get("/handover")
    def handover() -> Response:
        """How this hub came to its log, with the signatures of the quorum: for hospitals and people who still know the one before."""
        if hub.handover is None:
            raise NotFound("this hub has founded its log itself")
        return Response(hub.handover, media_type="application/json")

    @app.get("/policy")
    def policy() -> Response:
        return PlainTextResponse(hub.log.policy())


def _copy_routes(app: FastAPI, hub: Hub) -> None:
    """What hospitals tell of their copies of the log."""
    shown: dict[str, str] = {}  # the newest head that each hospital says it was shown; a restart forgets them, they come again

    @app.put("/gossip")
    def show_head(caller: Signed) -> dict[str, bool]:
        member = hub.site.world.members.get(caller.id)
        refuse_if(None if member is not None and member.cosigner else "only hospitals that cosign the log show heads")
        note.parse_checkpoint(text(caller.body))
        shown[caller.id] = text(caller.body)
        return {"kept": True}

    @app.get("/gossip")
    def heads() -> dict[str, str]:
        return dict(shown)

    @app.put("/recovery")
    def give_back(caller: Signed) -> dict[str, int]:
        """A hospital gives back what a hub that was restored from a backup lacks of the log."""
        try:
            tail = Tail.read(json.loads(caller.body))
        except ValueError as error:
            raise Invalid("the body of this request must be JSON") from error
        return {"size": hub.recovery.take(caller.id, tail)}


def _member_routes(app: FastAPI, hub: Hub) -> None:
    """Who belongs here, and what waits for a person."""

    @app.post("/admissions")
    def admit(caller: Signed) -> dict[str, bool]:
        refuse_if(_not_ours(hub, caller, "admits members"))
        hub.log.record(ev.MemberAdmitted, case=CONSORTIUM, member=text(caller.body))
        return {"admitted": True}

    @app.post("/revocations")
    def revoke(caller: Signed) -> dict[str, bool]:
        refuse_if(_not_ours(hub, caller, "revokes the keys of members"))
        hub.log.record(ev.KeyRevoked, case=CONSORTIUM, subject=text(caller.body))
        return {"revoked": True}

    @app.get("/members")
    def members(caller: Signed) -> dict[str, Any]:
        found = list(hub.site.world.members.values())
        return {m.id: {"kind": m.kind, "admitted": m.admitted, "node": m.cosigner is not None} for m in found}

    @app.get("/inbox")
    def inbox(caller: Signed) -> list[dict[str, Any]]:
        person = hub.site.world.people.get(caller.id)
        if person is None:
            raise Refused("people have an inbox; ask with the key of one")
        with hub.site.changed:
            return governance.inbox(hub.site.world, person)


def _not_ours(hub: Hub, caller: Caller, does: str) -> str | None:
    return None if caller.id == hub.settings.name else f"the coordinating body {does}"


def _document_routes(app: FastAPI, hub: Hub) -> None:
    """What stands behind the commitments of the log."""

    @app.put("/documents/{commitment}")
    def keep(commitment: str, caller: Signed) -> dict[str, bool]:
        hub.site.keep(Document.read(caller.body, commitment))
        return {"kept": True}

    @app.get("/documents/{commitment}")
    def show(commitment: str, caller: Signed) -> Response:
        hub.readers.check(commitment, caller.id)
        return Response(hub.site.document(commitment).data, media_type="application/json")

    @app.get("/catalogue")
    def catalogue(caller: Signed) -> dict[str, Any]:
        """Every described dataset, by hospital: the commitment in the log and the document behind it."""
        found: dict[str, Any] = {}
        for hospital, commitment in dict(hub.site.world.datasets).items():
            with suppress(NotFound):  # a hospital that keeps its description to itself; the others are still there
                document = hub.site.document(commitment)
                found[hospital] = {"commitment": commitment, "salt": document.salt, "body": document.body}
        return found


def _case_routes(app: FastAPI, hub: Hub) -> None:
    """One study: where it stands, its proof, and the coordinating body's part in its keys and its deletion."""
    site = hub.site

    @app.get("/chains/{case}")
    def chain(case: str, caller: Signed) -> dict[str, Any]:
        seq, prev = site.world.chain(case, caller.id)
        return {"seq": seq, "prev": prev}

    @app.get("/cases/{case}")
    def view(case: str, caller: Signed, size: int = -1, wait: Seconds = 0) -> dict[str, Any]:
        """The state of a case; with `size`, once the log is longer than that."""
        with hub.callers.seated(caller.id, wait) as seconds:
            site.wait_for(lambda: site.tree.size > size, seconds)
        found = site.case(case)
        silent = {hospital: hub.callers.silent(hospital) for hospital in found.permits}
        with site.changed:
            return {"size": site.tree.size, "silent": silent, **governance.case_view(found)}

    @app.get("/cases/{case}/bundle")
    def case_bundle(case: str, caller: Signed, covering: Index = 0) -> Response:
        hub.readers.check_party(case, caller.id)
        checkpoint = cases.checkpoint(hub.log, case, covering=covering)
        if checkpoint is None:
            raise NotFound("no checkpoint over this case has a quorum of cosignatures yet; ask again in a moment")
        return Response(cases.bundle_of(hub.log, case, checkpoint), media_type="application/json")

    @app.get("/cases/{case}/share")
    def share(case: str, caller: Signed) -> dict[str, str]:
        """The coordinator's half of a workspace key, sealed to the hospital's node, while its permit is in force."""
        return {"sealed": b64(hub.shares.sealed(case, caller.id))}

    @app.post("/cases/{case}/reversals")
    def reverse(case: str, caller: Signed) -> dict[str, bool]:
        refuse_if(_not_ours(hub, caller, "agrees to reversals"))
        deletion.agree(hub.log, case=case, hospital=text(caller.body))
        return {"reversed": True}


def _mailbox_routes(app: FastAPI, hub: Hub) -> None:
    """What the parties of a job leave for each other."""

    def parties(job: RandomId) -> tuple[str, set[str]]:
        """The applicant of a job and its hospitals."""
        if job not in hub.site.world.jobs:
            raise NotFound("there is no such job")
        case = hub.site.case(hub.site.world.jobs[job])
        return case.event.author, set(case.jobs[job].at)

    def for_hospitals(label: str) -> bool:
        return not label.startswith("release")

    @app.put("/jobs/{job}/{label}")
    def put(job: str, label: Label, caller: Signed) -> dict[str, bool]:
        _, hospitals = parties(job)
        refuse_if(None if caller.id in hospitals else "only the hospitals of a job write to its mailbox")
        hub.mailbox.put(job, label, caller.id, caller.body)
        return {"kept": True}

    @app.post("/jobs/{job}/{label}")
    def trade(job: str, label: Label, caller: Signed, wait: Seconds = 0) -> Response:
        """Both at once, for hospitals: a round then takes each of them one request."""
        put(job, label, caller)
        with hub.callers.seated(caller.id, wait) as seconds:
            found = hub.mailbox.get(job, label, expected=parties(job)[1], seconds=seconds)
        return Response(mail.packed(found), media_type="application/octet-stream")

    @app.get("/jobs/{job}/{label}")
    def get(job: str, label: Label, caller: Signed, sender: str | None = None, wait: Seconds = 0) -> dict[str, str]:
        applicant, hospitals = parties(job)
        refuse_if(
            None if caller.id in hospitals | {applicant} else "only the parties of a job read its mailbox",
            "what the hospitals exchange is not for the applicant" if caller.id == applicant and for_hospitals(label) else None,
        )
        expected = {sender} if sender else hospitals
        with hub.callers.seated(caller.id, wait) as seconds:
            found = hub.mailbox.get(job, label, expected=expected, seconds=seconds)
        return {name: b64(data) for name, data in found.items()}


__all__ = ["Hub", "Refused", "make_app", "open_hub"]
