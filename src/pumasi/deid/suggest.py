"""Proposes a rule file for a table: each column with a treatment, how sure that is, and the reason in Korean and English.

Every row is read. No column is left out of the file and none is kept without a line that says so; the file is a proposal for a person who
knows the data. It quotes no cell. Run it with `pumasi deid table --rules`.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumasi.deid import decide, engine, rulefile, treatments
from pumasi.deid.case import Case, Proposal
from pumasi.deid.hints import Hint, hint
from pumasi.deid.looking import header
from pumasi.deid.patterns.kinds import LIKELY, SURE
from pumasi.deid.profile import Column, Tell, profile
from pumasi.deid.reading import Table, tables
from pumasi.kernel.errors import Invalid


@dataclass(frozen=True)
class Suggestion:
    """The proposals for the columns of one table, and which column says whose a row is."""

    table: str
    rows: int
    person: str | None
    proposals: tuple[Proposal, ...]


def suggest(spec: str | Path, *, memory_mb: int | None = None, workers: int = 1, tell: Tell | None = None) -> list[Suggestion]:
    """A suggestion for each table that `spec` names (as in reading.read). `Invalid` when the header holds somebody's data."""
    with engine.connection(memory_mb=memory_mb) as connection:
        opened = tables(spec, connection)
        try:
            faults = [fault for table in opened for fault in header(table)]
            if faults:
                raise Invalid(*faults)
            return [_of_table(table, workers, tell) for table in opened]
        finally:
            for table in opened:
                table.close()


def _of_table(table: Table, workers: int, tell: Tell | None) -> Suggestion:
    columns = profile(table, tell, workers=workers)
    person = _person(columns)
    korean = _korean(table, columns)
    cases = [Case(one, Hint("person") if one.name == person else hint(one.name), person is not None, korean) for one in columns]
    proposals = tuple(decide.propose(case) for case in cases)
    return Suggestion(table.name, table.rows, person, proposals)


def _person(columns: list[Column]) -> str | None:
    """The column that says whose a row is: called so (or just `id`), filled in every row, and not one value for all."""
    usable = [one for one in columns if one.filled == one.rows and (one.distinct > 1 or one.rows == 1) and one.words < 3]
    called = [one for one in usable if (found := hint(one.name)) is not None and found.role == "person"]
    called = called or [one for one in usable if one.name.casefold() == "id"]
    return max(called, key=lambda one: one.distinct).name if called else None


def _korean(table: Table, columns: list[Column]) -> bool:
    said = [*table.columns, *(value for one in columns for value in list(one.levels or {})[:200])]
    return any("가" <= letter <= "힣" for one in said for letter in one)


# --- the rule file ---

_HEAD = """\
# 제안된 규칙 파일입니다. 이 데이터를 아는 사람이 열마다 확인한 뒤 사용하십시오. 셀의 값은 인용하지 않습니다.
# A proposed rule file: somebody who knows these data confirms it column by column before it is used. It quotes no cell.
#
# 확신 / confidence: 0.9 이상 확실 (sure), 0.6 이상 유력 (likely), 0.3 이상 가능 (possible).
# [확인] / [confirm]: 값만으로 정할 수 없으니 사람이 결정하십시오. / the values alone do not decide it: a person has to.
# 실행 / run: pumasi deid table IN --rules {name} --out OUT
"""


def toml(suggestions: list[Suggestion], name: str) -> str:
    """The rule file as text."""
    persons = list(dict.fromkeys(one.person for one in suggestions if one.person is not None))
    parts = [
        _HEAD.format(name=name),
        f"title = {_quoted('Proposal · 제안: ' + ', '.join(one.table for one in suggestions))}\n"
        'unknown = "refuse"  # 여기에 없는 열이 있으면 멈춥니다 / a column that is not named here stops the run\n',
    ]
    if persons:
        parts.append(f"# 누구의 행인지 알려 주는 열 / whose row it is\nperson = [{', '.join(map(_quoted, persons))}]\n")
    for one in suggestions:
        section = "columns" if len(suggestions) == 1 else f"tables.{_quoted(one.table)}"
        parts.append(f"[{section}]\n")
        parts.extend(_entry(proposal) for proposal in one.proposals)
    return "\n".join(parts)


def _entry(proposal: Proposal) -> str:
    level, korean = _level(proposal.confidence)
    mark = ("[확인] ", "[confirm] ") if proposal.confirm else ("", "")
    return (
        f"# {mark[0]}{_line(proposal.korean)} (확신 {proposal.confidence:.2f}, {korean})\n"
        f"# {mark[1]}{_line(proposal.english)} (confidence {proposal.confidence:.2f}, {level})\n"
        f"{_quoted(proposal.column)} = {proposal.treatment}\n"
    )


def _level(confidence: float) -> tuple[str, str]:
    if confidence >= SURE:
        return "sure", "확실"
    return ("likely", "유력") if confidence >= LIKELY else ("possible", "가능")


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _quoted(text: str) -> str:
    """A text as a TOML string; JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write(suggestions: list[Suggestion], out: Path) -> None:
    """The rule file at `out`, whole or not at all; read back first, so that what is written is what `deid table` accepts."""
    if not out.parent.is_dir():
        raise Invalid(f"{out}: there is no folder {out.parent}; make it first")
    temporary = out.with_name(f".{out.name}.new")
    try:
        temporary.write_text(toml(suggestions, out.name), encoding="utf-8")
        rulefile.load(temporary)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


# --- what the command says ---


def plain(suggestions: list[Suggestion]) -> dict[str, Any]:
    """The suggestions as plain data, for JSON."""
    return {
        "tables": [
            {
                "table": one.table,
                "rows": one.rows,
                "person": one.person,
                "columns": {proposal.column: _plain(proposal) for proposal in one.proposals},
            }
            for one in suggestions
        ]
    }


def _plain(proposal: Proposal) -> dict[str, Any]:
    return {
        "treatment": tomllib.loads(f"treatment = {proposal.treatment}")["treatment"],
        "confidence": proposal.confidence,
        "confirm": proposal.confirm,
        "filled": proposal.filled,
        "distinct": proposal.distinct,
        "entropy": None if proposal.entropy is None else round(proposal.entropy, 3),
        "ko": proposal.korean,
        "en": proposal.english,
        "identifiers": {found.kind.value: {"rows": found.rows, "confidence": round(found.confidence, 2)} for found in proposal.found},
    }


def told(suggestions: list[Suggestion], out: Path) -> list[str]:
    """A line for each column and one for what to do next; no cell is quoted."""
    lines = []
    for one in suggestions:
        lines.append(f"{one.table}: {one.rows:,} rows, {len(one.proposals)} columns")
        for proposal in one.proposals:
            done = treatments.told(treatments.parse(tomllib.loads(f"x = {proposal.treatment}")["x"], proposal.column))
            mark = "?" if proposal.confirm else " "
            lines.append(f" {mark} {proposal.column}: {_short(done)} ({proposal.confidence:.2f}) {proposal.english}")
    confirm = sum(proposal.confirm for one in suggestions for proposal in one.proposals)
    lines.append(
        f"{out}: written. Read it column by column"
        + (f"; the {confirm} marked ? cannot be decided by their values alone" if confirm else "")
    )
    return lines


def _short(treatment: str) -> str:
    return treatment if len(treatment) <= 60 else treatment[:57] + "..."
