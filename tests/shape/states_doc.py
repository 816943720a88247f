"""Writes docs/reference/states.md from the tables of the kernel: `python -m tests.shape.states_doc`."""

from __future__ import annotations

from pathlib import Path

from pumasi.kernel.actor import MAY, Who
from pumasi.kernel.states import APPLICATION, PERMIT, RELEASE, Table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"

INTRODUCTION = """\
# States and actors · 상태와 주체

Generated from `src/pumasi/kernel/states.py` and `src/pumasi/kernel/actor.py` by `python -m tests.shape.states_doc`; a test compares them.
What is not drawn here cannot happen. Some events also need more than the right state and the right author: those invariants stand in
`src/pumasi/kernel/rules.py`, and `tests/spec/test_states.py` lists who may do what in every state.

이 문서는 커널의 표에서 자동으로 만들어집니다. 그림에 없는 일은 일어날 수 없습니다.
"""

DIAGRAMS: list[tuple[str, str, Table]] = [
    ("Application · 신청", "The whole case. 한 연구 과제 전체의 상태입니다.", APPLICATION),
    ("Permit · 허가", "One hospital's side of a case. 과제에 참여하는 병원마다 하나씩 있습니다.", PERMIT),
    ("Release · 반출", "The output of one job at one hospital. 병원마다 작업 결과 하나의 상태입니다.", RELEASE),
]

WHO: dict[Who, tuple[str, str]] = {
    "founder": ("whoever holds the key in the event; only as the first event of a log", "로그를 처음 여는 조정기관"),
    "self": ("whoever holds the key in the event", "가입을 신청하거나 원장을 인계받는 기관 자신"),
    "coordinator": ("the coordinating body", "조정기관"),
    "member": ("any admitted member, for its own people", "가입이 승인된 기관"),
    "hospital": ("the hospital's own node", "해당 병원의 노드"),
    "researcher": ("any enrolled researcher", "등록된 연구자"),
    "applicant": ("the researcher who submitted the application", "신청한 연구자"),
    "drb": ("a member of the hospital's data review board", "해당 병원 데이터심의위원"),
    "irb": ("the hospital's ethics board", "해당 병원 기관생명윤리위원"),
    "steward": ("the hospital's data steward", "해당 병원 데이터 책임자"),
    "checker": ("an output checker of the hospital", "해당 병원 반출 심사자"),
    "board member": (
        "for the board `drb` a member of the hospital's data review board, for `airlock` one of its output checkers",
        "데이터심의위원(`drb`) 또는 반출 심사자(`airlock`)",
    ),
    "key holder": ("any member or person, for their own key", "키의 보유자 자신"),
    "steward or hospital": (
        "the hospital's data steward (to revoke), or its node (when it is over)",
        "해당 병원 데이터 책임자(철회) 또는 노드",
    ),
}


def page() -> str:
    diagrams = [f"## {title}\n\n{words}\n\n{diagram(table)}" for title, words, table in DIAGRAMS]
    return "\n".join([INTRODUCTION, *diagrams, actors()])


def diagram(table: Table) -> str:
    """A Mermaid state diagram: one arrow for each pair of states, labelled with its events; "-" is the beginning."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in table.items():
        arrows.setdefault((state, after), []).append(event)
    states = dict.fromkeys(state for pair in arrows for state in pair if state != "-")
    begins = [state for state in states if not any(after == state != before for before, after in arrows)]
    ends = [state for state in states if not any(before == state != after for before, after in arrows)]
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state}" as {_id(state)}' for state in states]
    lines += [f"    [*] --> {_id(state)}" for state in begins]
    lines += [f"    {_id(before)} --> {_id(after)}: {', '.join(events)}" for (before, after), events in arrows.items()]
    lines += [f"    {_id(state)} --> [*]" for state in ends]
    return "\n".join([*lines, "```", ""])


def _id(state: str) -> str:
    return "[*]" if state == "-" else state.replace(" ", "_")


def actors() -> str:
    rows = [f"| `{event}` | {WHO[who][0]} | {WHO[who][1]} |" for event, who in MAY.items()]
    return "\n".join(["## Who may say what · 누가 무엇을 할 수 있나", "", "| event · 사건 | who | 주체 |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
