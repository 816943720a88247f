"""One study over all its hospitals in one process, from their files to the outcome that `pumasi study run` would write.

1. describe   every hospital's tables from its own files, as `pumasi node describe`   2. agree   levels and kinds; the questions compiled
3. extract    under each hospital's permit, which is asked about the job              4. answer  the questions, round after round
What happens between people and machines is left out: boards, signatures, log, sandbox, HTTPS, review. So nothing here was released.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pumasi.analysis.frame import Frame
from pumasi.client import outcome
from pumasi.client.questions import compiled
from pumasi.client.study import applied_for
from pumasi.client.studyfile import StudyFile
from pumasi.kernel.envelope import Keys, canonical, new_id, sha256
from pumasi.kernel.errors import Invalid, Refused
from pumasi.kernel.job import Job
from pumasi.kernel.permit import Permit, seoul_day
from pumasi.kernel.study import AgreedTable, Application, Dataset
from pumasi.node.app import table_sources
from pumasi.node.describe import describe
from pumasi.node.jobs import questions
from pumasi.node.jobs.half import OpenHalf
from pumasi.node.jobs.rounds import Party, Sealed
from pumasi.node.settings import NodeSettings
from pumasi.node.workspace import vault
from pumasi.node.workspace.extract import extract
from pumasi.rehearsal.together import Halves, Nobody, Together
from pumasi.store.code import analysis_digest
from pumasi.store.document import Document

NOT_RELEASED = "No hospital has released any of this."
REHEARSAL = f"A rehearsal: all hospitals in this one process, without boards, log, sandbox, HTTPS or review. {NOT_RELEASED}"
RESEARCHER = "researcher@rehearsal"
SETTINGS = {
    "kind": "hospital",
    "hub": "none",
    "automatic_release": False,
    "hospitals_at_least": 0,
    "permit_days": 180,
    "legal_basis": "pipa-28-2",
    "patience_seconds": 60.0,
}
TOLD = 100  # hospitals between two lines of progress

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass
class Rehearsal:
    """A study and the folders of its hospitals."""

    study: StudyFile
    files: dict[str, dict[str, Path]]
    workspaces: Path
    say: Say
    keys: Keys = field(default_factory=Keys.new)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """What the study comes to, with the keys that the outcome of a real one has; what needs a log is empty."""
        started = time.monotonic()
        self.say(f"1  describe: {len(self.files)} hospitals")
        datasets = self._step("descriptions", lambda: self._at_each(self._describe, "described"))
        self.say("2  agree on columns, kinds and levels")
        commitments = {name: Document.new(dataset.plain()).commitment for name, dataset in datasets.items()}
        catalogue = {name: (commitments[name], dataset) for name, dataset in datasets.items()}
        application, tables = applied_for(self.study, applicant=RESEARCHER, catalogue=catalogue)
        permits = self._permits(application, tables)
        job = self._job(application, tables, permits)
        self.say("3  extract under each hospital's permit")
        halves = self._step("extracts", lambda: self._at_each(partial(self._extract, permits), "extracted"))
        self.say(f"4  answer {len(job.questions)} analyses")
        sealed = self._step("joint computation", lambda: self._answer(job, tables, halves))
        self.seconds["total"] = time.monotonic() - started
        return self._told(application, permits, json.loads(sealed.data)["analyses"])

    def _step(self, name: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        found = work()
        self.seconds[name] = time.monotonic() - started
        return found

    def _at_each(self, work: Callable[[str], T], done: str) -> dict[str, T]:
        """What each hospital comes to, or `Invalid` with all that is wrong at any. DuckDB works beside Python: a thread per processor."""
        found: dict[str, T] = {}
        reasons: list[str] = []
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            for name, result in zip(self.files, pool.map(partial(_caught, work), self.files), strict=True):
                if isinstance(result, Invalid):
                    reasons += result.reasons
                else:
                    found[name] = result
                if len(found) % TOLD == 0 or len(found) == len(self.files):
                    self.say(f"   {len(found)} of {len(self.files)} hospitals {done}")
        finally:
            pool.shutdown(cancel_futures=True)
        if reasons:
            raise Invalid(*dict.fromkeys(reasons))
        return found

    def _settings(self, name: str) -> NodeSettings:
        """What a hospital's node.toml says, with all that is not about its tables as `pumasi node init` leaves it."""
        tables = {}
        for table, file in self.files[name].items():
            rule = self.study.tables[table]
            hidden = [column for column, treated in rule.columns.items() if treated.is_ == "identifier" and column != rule.person]
            tables[table] = {"file": str(file), "person": rule.person, "identifiers": hidden}
        return NodeSettings.read(SETTINGS | {"name": name, "smallest_cell": self.study.smallest_cell, "tables": tables})

    def _describe(self, name: str) -> Dataset:
        settings = self._settings(name)
        return describe(table_sources(Path(), settings), hospital=name, smallest_cell=settings.smallest_cell)

    def _permits(self, application: Application, tables: Mapping[str, AgreedTable]) -> dict[str, Permit]:
        """A permit of each hospital, as its node writes it once its boards have approved. Nobody has, so nobody signs it."""
        now = datetime.now(UTC)
        commitment = Document.new(application.plain()).commitment
        return {name: self._permit(name, application, commitment, tables, now) for name in application.hospitals}

    def _permit(self, name: str, application: Application, commitment: str, tables: Mapping[str, AgreedTable], now: datetime) -> Permit:
        settings = self._settings(name)
        return Permit.read(
            {
                "case": application.case,
                "hospital": name,
                "applicant": application.applicant,
                "applicant_key": self.keys.public,
                "purpose": application.purpose,
                "legal_basis": settings.legal_basis,
                "application": commitment,
                "tables": {table: agreed.model_dump(by_alias=True) for table, agreed in tables.items()},
                "kinds": application.kinds,
                "smallest_cell": settings.smallest_cell,
                "hospitals": application.hospitals,
                "hospitals_at_least": len(application.hospitals),
                "release": "two-people",
                "valid_from": seoul_day(now),
                "valid_until": seoul_day(now + timedelta(days=settings.permit_days)),
            }
        )

    def _job(self, application: Application, tables: dict[str, AgreedTable], permits: Mapping[str, Permit]) -> Job:
        """The job, after every hospital's permit has allowed it."""
        hospitals = application.hospitals
        asked = [compiled(analysis, tables, hospitals, self.study.analyses) for analysis in self.study.analyses]
        job = Job(
            job=new_id(),
            case=application.case,
            applicant=application.applicant,
            applicant_box=self.keys.box_public,
            permits={name: sha256(canonical(permit.plain())) for name, permit in permits.items()},
            lead=hospitals[0],
            smallest_cell=max(permit.smallest_cell for permit in permits.values()),
            code=analysis_digest(),
            questions=asked,
        )
        now = datetime.now(UTC)
        reasons = [reason for permit in permits.values() for reason in permit.refusals(job, signed_with=self.keys.public, now=now)]
        # every permit names the same tables and hospitals, so the answer to these is the same at all of them
        reasons += [why for question in asked for why in questions.refusals(question, tables[question["table"]], hospitals=hospitals)]
        if reasons:
            raise Refused(*dict.fromkeys(reasons))
        return job

    def _extract(self, permits: Mapping[str, Permit], name: str) -> OpenHalf:
        """A hospital's half over a workspace of its own, which is encrypted and read once for each table."""
        permit, folder, key = permits[name], self.workspaces / secrets.token_hex(8), secrets.token_bytes(32)
        extract(table_sources(Path(), self._settings(name)), permit, folder, key=key, pseudonym_key=secrets.token_bytes(32))

        def read(table: str, columns: set[str]) -> Frame:
            agreed = permit.tables[table].columns
            return vault.frame_parts(folder, key, table=table, columns={column: agreed[column] for column in sorted(columns)})

        return OpenHalf(read)

    def _answer(self, job: Job, tables: dict[str, AgreedTable], halves: dict[str, OpenHalf]) -> Sealed:
        joint = Halves(halves)
        return Together(
            job=job,
            digest=sha256(canonical(job.plain())),
            party=Party(job.lead, self.keys, {}),
            tables=tables,
            exchange=Nobody(),
            half=joint,
            halves=joint,
            still_allowed=lambda: None,
            earlier=[],
            hospitals_at_least=len(job.permits),
            say=lambda line: self.say(f"   {line}"),
        ).run()

    def _told(self, application: Application, permits: Mapping[str, Permit], analyses: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "rehearsal": True,
            "case": application.case,
            "title": application.title,
            "analyses": analyses,
            "releases": [],
            "permits": [{"hospital": name, "permit": None, "smallest_cell": permit.smallest_cell} for name, permit in permits.items()],
            "deletions": [],
            "refusals": outcome.refusals(analyses),
            "ledger": None,
            "seconds": {step: round(seconds, 3) for step, seconds in self.seconds.items()},
            "bundle": None,
        }


def _caught(work: Callable[[str], T], name: str) -> T | Invalid:
    try:
        return work(name)
    except Invalid as error:
        return error


def rehearse(study: StudyFile, files: dict[str, dict[str, Path]], *, say: Say) -> dict[str, Any]:
    """The outcome of the study over these files; extracts lie encrypted in a temporary folder meanwhile."""
    with tempfile.TemporaryDirectory(prefix="pumasi-rehearsal-") as folder:
        return Rehearsal(study, files, Path(folder), say).run()
