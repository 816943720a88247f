"""A whole study in one go, and its outcome as one object for people and programs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from pumasi.analysis import printed, refusal
from pumasi.client import figures
from pumasi.client import study as studies
from pumasi.client.home import Home
from pumasi.client.results import Released, Result
from pumasi.client.study import Progress, Study
from pumasi.client.studyfile import StudyFile
from pumasi.kernel.errors import PumasiError, Unreachable
from pumasi.ledger import note

FEW = "Between one or two hospitals masks hide nothing, so the limits were applied to each hospital's own numbers, not only to the sum."


def run(home: Home, study: StudyFile, *, bundle: Path, progress: Progress) -> dict[str, Any]:
    """Application to case bundle; the outcome. What ends it early also withdraws the study, so that no workspace is left waiting."""
    started = time.monotonic()
    project = studies.apply(home, study, progress=progress)
    project.seconds["application"] = time.monotonic() - started
    try:
        project.wait_for_permits()
        released = project.ask(study.analyses) if study.analyses else None
    except PumasiError as error:
        if not isinstance(error, Unreachable):
            project.abandon()
        raise
    project.done()
    project.bundle(bundle)
    project.seconds["total"] = time.monotonic() - started
    return describe(project, released, bundle)


def describe(project: Study, released: Released | None, bundle: Path) -> dict[str, Any]:
    """The outcome of a closed study."""
    analyses = [dict(result.values) for result in released.results] if released else []
    view, written = project.view(), json.loads(bundle.read_text(encoding="utf-8"))
    checkpoint = note.parse_checkpoint(written["checkpoint"])
    certificates = [entry["event"]["body"] for entry in written["entries"] if entry["event"]["body"]["type"] == "WorkspaceDestroyed"]
    return {
        "rehearsal": False,
        "case": project.case,
        "title": project.application.title,
        "analyses": analyses,
        "releases": [{"id": released.job, "sha256": released.digest, "reviewers": released.reviewers}] if released else [],
        "permits": [
            {"hospital": hospital, "permit": here["permit"], "smallest_cell": here["smallest_cell"]}
            for hospital, here in view["hospitals"].items()
        ],
        "deletions": [
            {
                "hospital": event["author"],
                "certificate": event["certificate"],
                "at": event["at"],
                "both_keys_destroyed": view["hospitals"][event["author"]]["share_destroyed"],
            }
            for event in certificates
        ],
        "refusals": refusals(analyses),
        "ledger": {"size": checkpoint.size, "root": checkpoint.root.hex(), "cosigners": [line.name for line in checkpoint.lines[1:]]},
        "seconds": {step: round(seconds, 3) for step, seconds in project.seconds.items()},
        "bundle": str(bundle.resolve()),
    }


def refusals(analyses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which analyses were refused, with sentences and codes."""
    return [
        {"analysis": analysis["name"], "reasons": analysis["refused"], "codes": analysis.get("reasons", [])}
        for analysis in analyses
        if "refused" in analysis
    ]


def exit_code(outcome: dict[str, Any]) -> int:
    """0 when every analysis gave a result, 3 when at least one was refused."""
    return 3 if outcome["refusals"] else 0


def write(outcome: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(outcome, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def export(outcome: dict[str, Any], folder: Path) -> list[Path]:
    """Each result that was not refused as tidy CSV, and as a figure where its kind has one; the files, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, analysis in enumerate(outcome["analyses"], 1):
        if "refused" in analysis:
            continue
        result = Result(analysis)
        name = f"{number:02} " + re.sub(r"[^\w .-]+", "_", analysis["name"])
        table = folder / f"{name}.csv"
        table.write_text(result.csv(), encoding="utf-8-sig", newline="")  # with a mark, so that spreadsheets read Korean
        written.append(table)
        if analysis["kind"] in figures.FIGURES:
            written.append(result.plot(folder / f"{name}.svg"))
    return written


def text(outcome: dict[str, Any]) -> str:
    """The results as a person reads them."""
    parts = [_analysis(analysis) for analysis in outcome["analyses"]]
    return "\n\n".join([*parts, FEW] if any(len(analysis["hospitals"]) <= 2 for analysis in outcome["analyses"]) else parts)


def _analysis(analysis: dict[str, Any]) -> str:
    title = f"{analysis['name']}  ({analysis['kind']}, {len(analysis['hospitals'])} hospitals)"
    if "refused" in analysis:
        return "\n".join([title, *(f"  refused: {line}" for line in refusal.lines(analysis))])
    return "\n".join([title, *printed.lines(analysis)])
