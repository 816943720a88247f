"""A study from the researcher's side, in a few calls: apply, wait for permits, ask, read what was released, be done.

study = apply(Home(Path("me")), studyfile.read(Path("study.toml")))
study.wait_for_permits()
print(study.glm("death14 ~ aspirin + age", family="binomial", table="patients").summary())
study.done()
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pumasi.client import waiting
from pumasi.client.asking import Asking
from pumasi.client.home import Home
from pumasi.client.questions import compiled
from pumasi.client.results import Released, Result
from pumasi.client.studyfile import StudyFile
from pumasi.deid.agreement import agree
from pumasi.kernel import event as ev
from pumasi.kernel.codes import ENDINGS, FAILURES, UNTIL_SEALED, AnalysisKind
from pumasi.kernel.envelope import new_id, parse_canonical, sha256, sign, unb64
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused, Tampered
from pumasi.kernel.job import Job
from pumasi.kernel.seal import release_key, unseal
from pumasi.kernel.study import AgreedTable, Application, Dataset
from pumasi.store.code import analysis_digest
from pumasi.store.document import Document

LONG_POLL = 20.0
RERUNS = 2  # a job whose hospital was restarted is asked again this often
Progress = Callable[[str], None]


def described(home: Home) -> dict[str, tuple[str, Dataset]]:
    """The catalogue: each hospital's dataset and its commitment in the log, checked against one another."""
    found = {}
    for hospital, entry in home.channel.get("/catalogue").json().items():
        document = Document(entry["salt"], entry["body"])
        if document.commitment != entry["commitment"]:
            raise Tampered(f"the catalogue's entry of {hospital} is not the one the log commits to")
        dataset = Dataset.read(document.body)
        if dataset.hospital != hospital:
            raise Tampered(f"the catalogue's entry of {hospital} describes the data of another hospital")
        found[hospital] = (entry["commitment"], dataset)
    return found


def apply(home: Home, study: StudyFile, *, hospitals: list[str] | None = None, progress: Progress = lambda _: None) -> Study:
    """Send the application to every hospital that describes all the study's tables (or to those named); boards take it from there.

    `Invalid` before anything is sent when a table, column or formula does not fit what the hospitals describe.
    """
    catalogue = described(home)
    fitting = [name for name, (_, dataset) in sorted(catalogue.items()) if study.tables.keys() <= dataset.tables.keys()]
    chosen = sorted(hospitals) if hospitals is not None else fitting
    unknown = [name for name in chosen if name not in catalogue]
    if unknown or not chosen:
        tables = ", ".join(f"'{name}'" for name in study.tables)
        raise Invalid(
            f"no dataset is described by {', '.join(unknown)}"
            if unknown
            else f"no hospital describes the tables {tables}; `pumasi inbox` lists none"
        )
    application, agreed = applied_for(study, applicant=home.id, catalogue={name: catalogue[name] for name in chosen})
    document = Document.new(application.plain())
    fields = {"application": document.commitment, "hospitals": chosen, "smallest_cell": study.smallest_cell}
    home.record(ev.ApplicationSubmitted, case=application.case, opened=[document], **fields)
    progress(f"applied to {len(chosen)} hospitals: case {application.case[:8]}")
    return Study(home, application, agreed, progress)


def applied_for(
    study: StudyFile, *, applicant: str, catalogue: Mapping[str, tuple[str, Dataset]]
) -> tuple[Application, dict[str, AgreedTable]]:
    """The application to these hospitals, and the tables that it leads to; `Invalid` when a table, column or formula does not fit."""
    chosen = sorted(catalogue)
    application = Application.read(
        {
            "title": study.title,
            "purpose": study.purpose,
            "smallest_cell": study.smallest_cell,
            "applicant": applicant,
            "case": new_id(),
            "tables": {name: table.model_dump(by_alias=True) for name, table in study.tables.items()},
            "kinds": study.kinds or sorted(get_args(AnalysisKind)),
            "hospitals": chosen,
            "datasets": {name: catalogue[name][0] for name in chosen},
        }
    )
    agreed = agree(application, [catalogue[name][1] for name in chosen])
    reasons: list[str] = []
    for analysis in study.analyses:
        try:
            compiled(analysis, agreed, chosen, study.analyses)
        except Invalid as invalid:
            reasons += invalid.reasons
    if reasons:
        raise Invalid(*reasons)
    return application, agreed


@dataclass
class Study(Asking):
    """One project of this researcher at several hospitals."""

    home: Home
    application: Application
    tables: dict[str, AgreedTable]
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    _view: dict[str, Any] = field(default_factory=dict)
    _models: list[dict[str, Any]] = field(default_factory=list)  # that a meta-analysis may refer to; the latest of a name counts

    @property
    def case(self) -> str:
        return self.application.case

    def view(self, *, newer: bool = False) -> dict[str, Any]:
        """The state of the case; with `newer`, after something was added to the log (or the wait is over)."""
        size = self._view.get("size", -1) if newer else -1
        wait = LONG_POLL if newer else 0
        self._view = self.home.channel.get(f"/cases/{self.case}?size={size}&wait={wait}", wait=wait).json()
        return self._view

    def _until(self, ready: Callable[[dict[str, Any]], bool], step: str) -> dict[str, Any]:
        started = time.monotonic()
        view = self.view()
        told = ""
        while not ready(view):
            before = view
            view = self.view(newer=True)
            waiting.check_alive(view)
            sentence = waiting.turn(view).sentence()
            if view["size"] == before["size"] and sentence != told:  # nothing has happened for a whole wait
                told = sentence
                self.progress(sentence)
        self.seconds[step] = self.seconds.get(step, 0) + time.monotonic() - started
        return view

    # --- permits ---

    def wait_for_permits(self) -> None:
        """Until every hospital has signed its permit and opened the workspace; `Refused` when a board says no."""
        told: set[str] = set()

        def ready(view: dict[str, Any]) -> bool:
            for hospital, here in view["hospitals"].items():
                if here["drb"] == "reject" or here["irb"] == "rejected":
                    board = "data review board" if here["drb"] == "reject" else "ethics board"
                    raise Refused(f"the {board} of {hospital} has rejected the study; ask it why, then apply again")
                self._check_ended(hospital, here)
                if here["state"] == "open" and hospital not in told:
                    told.add(hospital)
                    self.progress(f"{hospital}: boards approved, permit signed by its node, workspace open")
            return all(here["state"] == "open" for here in view["hospitals"].values())

        self._until(ready, "permits")

    def _check_ended(self, hospital: str, here: dict[str, Any]) -> None:
        if here["ended"] is not None:
            raise Refused(f"the permit of {hospital} has ended: {ENDINGS[here['ended']]}")

    # --- asking ---

    def ask(self, analyses: list[dict[str, Any]]) -> Released:
        """One job with these analyses: sent, computed, reviewed at every hospital, and read once all have released it."""
        self._check_kinds({analysis["kind"] for analysis in analyses})
        self._models += [analysis for analysis in analyses if analysis["kind"] in ("glm", "cox")]
        questions = [compiled(analysis, self.tables, self.application.hospitals, self._models[::-1]) for analysis in analyses]
        hospitals = sorted(self.view()["hospitals"])
        for attempt in range(RERUNS + 1):
            job = self._submit(questions, hospitals)
            view = self._until(partial(_sealed_or_failed, job), "joint computation")
            failed = _failures(job, view)
            if not failed:
                return self._read(job)
            left = without_the_silent(job, view, hospitals)
            if attempt == RERUNS or not (left or set(failed.values()) <= {"restarted"}):
                break
            if left:
                self.progress(f"no word from {', '.join(sorted(set(hospitals) - set(left)))}; asking the others, as their permits allow")
                hospitals = left
            else:
                self.progress(f"the node of {', '.join(sorted(failed))} was restarted while the job ran; running it again")
        raise self._stopped(job, view)

    def _check_kinds(self, asked: set[str]) -> None:
        allowed: list[str] = sorted(self.application.kinds)
        if beyond := sorted(asked & set(get_args(AnalysisKind)) - set(allowed)):
            raise Invalid(
                f"the permits of this study allow {', '.join(allowed)}, not {', '.join(beyond)}: boards see the kinds of the analyses in "
                "study.toml; apply again with one of that kind in it, or with none, which asks for all kinds"
            )

    def _stopped(self, job: str, view: dict[str, Any]) -> PumasiError:
        """Which hospitals stopped a job, and why."""
        failed, silent = _failures(job, view), _silent(job, view)
        reasons = [f"{hospital} stopped the job: {FAILURES[reason]}" for hospital, reason in sorted(failed.items())]
        return (Refused if set(failed.values()) == {"permit"} else PumasiError)(
            *reasons, *([f"no word came from {', '.join(silent)}; is its node running?"] if silent else [])
        )

    def _submit(self, questions: list[dict[str, Any]], hospitals: list[str]) -> str:
        """Send a job, when no other job of this organisation runs any more: what one is answered counts for the next."""
        told = False
        while True:
            try:
                return self._send(questions, hospitals)
            except Refused as refused:
                if not all(reason.endswith(UNTIL_SEALED) for reason in refused.reasons):
                    raise
                if not told:
                    self.progress(f"{'; '.join(refused.reasons)}: this study goes on by itself then")
                told = True
            self.view(newer=True)

    def _send(self, questions: list[dict[str, Any]], hospitals: list[str]) -> str:
        view = self.view()
        for hospital in hospitals:
            self._check_ended(hospital, view["hospitals"][hospital])
        job = Job(
            job=new_id(),
            case=self.case,
            applicant=self.home.id,
            applicant_box=self.home.keys.box_public,
            permits={hospital: view["hospitals"][hospital]["permit"] for hospital in hospitals},
            lead=hospitals[0],
            smallest_cell=max(view["hospitals"][hospital]["smallest_cell"] for hospital in hospitals),
            code=analysis_digest(),
            questions=questions,
        )
        document = Document.new(parse_canonical(sign("job", job.plain(), self.home.keys)))
        self.home.record(
            ev.JobSubmitted,
            case=self.case,
            opened=[document],
            job=job.job,
            document=document.commitment,
            hospitals=hospitals,
            lead=job.lead,
        )
        self.progress(f"job {job.job[:8]} with {len(questions)} analyses sent to {len(hospitals)} hospitals")
        return job.job

    def _read(self, job: str) -> Released:
        self.progress("one result, sealed at every hospital; two people at each review it now")

        def released(view: dict[str, Any]) -> bool:
            if _failures(job, view):
                raise self._stopped(job, view)
            for hospital, here in view["jobs"][job].items():
                if here["state"] != "released":
                    self._check_ended(hospital, view["hospitals"][hospital])
                if here["decision"] == "reject":
                    raise Refused(f"the output checkers of {hospital} did not let the result out")
            return all(here["state"] == "released" for here in view["jobs"][job].values())

        here = self._until(released, "review and release")["jobs"][job]
        digest = next(iter(here.values()))["output"]
        shares = self._shares(job, digest, set(here))
        lead = min(here)  # as `_submit` chose it
        data = unseal(release_key(shares, digest), self._messages(job, "release-output", {lead})[lead], context=digest.encode())
        if sha256(data) != digest:
            raise Tampered("the released bytes are not the ones that the hospitals reviewed")
        self.progress("released by every hospital")
        results = [Result(analysis) for analysis in json.loads(data)["analyses"]]
        return Released(job, digest, {hospital: there["reviewers"] for hospital, there in here.items()}, results)

    def _shares(self, job: str, digest: str, hospitals: set[str]) -> dict[str, bytes]:
        sealed = self._messages(job, "release", hospitals)
        context = {hospital: f"release|{job}|{digest}|{hospital}".encode() for hospital in sealed}
        return {hospital: self.home.unseal(data, context=context[hospital]) for hospital, data in sealed.items()}

    def _messages(self, job: str, label: str, senders: set[str]) -> dict[str, bytes]:
        only = f"&sender={quote(*senders)}" if len(senders) == 1 else ""
        for _ in range(6):
            found = self.home.channel.get(f"/jobs/{job}/{label}?wait={LONG_POLL}{only}", wait=LONG_POLL).json()
            if senders <= found.keys():
                return {name: unb64(found[name]) for name in senders}
        raise NotFound(
            f"the result was released, but its key has not come from {', '.join(sorted(senders - found.keys()))}; is the node running?"
        )

    # --- being done ---

    def abandon(self) -> None:
        """End the study without a result: permits end, workspaces are destroyed, the case closes when that is done."""
        if self.view()["state"] == "submitted":
            self.home.record(ev.ApplicationWithdrawn, case=self.case)
            self.progress("the study is withdrawn; the hospitals destroy what they had prepared for it")

    def done(self) -> None:
        """End the study: the hospitals destroy workspaces and keys, and the case is closed."""
        self.home.record(ev.StudyDone, case=self.case)
        self._until(lambda view: view["state"] == "closed", "deletion")
        self.progress("workspaces and keys destroyed at every hospital; case closed")

    def bundle(self, path: Path) -> Path:
        """Write the case bundle: everything an auditor needs to check this case offline, with `pumasi verify`."""
        started = time.monotonic()
        size = self.view()["size"]
        self.home.channel.get(f"/checkpoint?covering={size}&wait={LONG_POLL}", wait=LONG_POLL)
        data = self.home.channel.get(f"/cases/{self.case}/bundle?covering={size}").content
        temporary = path.with_name(path.name + ".part")
        temporary.write_bytes(data)
        temporary.replace(path)
        self.seconds["bundle"] = time.monotonic() - started
        return path


def _sealed_or_failed(job: str, view: dict[str, Any]) -> bool:
    states = [here["state"] for here in view["jobs"].get(job, {}).values()]
    return "failed" in states or (bool(states) and "running" not in states)


def _failures(job: str, view: dict[str, Any]) -> dict[str, Any]:
    """Hospital -> the closed code of why its part of a job failed."""
    return {hospital: here["failure"] for hospital, here in view["jobs"][job].items() if here["failure"] is not None}


def without_the_silent(job: str, view: dict[str, Any], hospitals: list[str]) -> list[str]:
    """The hospitals that may go on without those that gave no sign of life; none when a permit asks for more.

    Where a sum over all was opened before somebody fell silent, the nodes refuse: the two sums would tell what that one holds.
    """
    silent = _silent(job, view)
    left = [name for name in hospitals if name not in silent]
    enough = all(view["hospitals"][name]["hospitals_at_least"] <= len(left) for name in left)
    return left if silent and left and enough and set(_failures(job, view).values()) <= {"missing-hospital"} else []


def _silent(job: str, view: dict[str, Any]) -> list[str]:
    """The hospitals that others waited for in vain."""
    return sorted({name for here in view["jobs"][job].values() for name in here["waited_for"]})
