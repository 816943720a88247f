"""What to propose for one column: the judges below are asked in order, and the first that has an answer decides.

Identifiers come first, whatever the column is called; then what values and name together say; what nobody knows is dropped. Only numbers,
yes-or-no columns and sexes are ever kept as they are, with the request to confirm; texts are kept where ten people share them (`rare`).
"""

from __future__ import annotations

from collections.abc import Callable

from pumasi.deid import facts, identities
from pumasi.deid.case import DROP, KEEP, RARE, Case, Proposal

Judge = Callable[[Case], Proposal | None]
JUDGES: tuple[Judge, ...] = (
    *(facts.empty, identities.identifiers, facts.constant, identities.called),
    *(facts.dates, facts.ages, facts.years, facts.some_dates),
    *(identities.ids, facts.sexes, facts.postcodes, facts.regions, facts.diagnoses, facts.codes),
    *(identities.names, facts.switches, facts.notes, identities.keys, facts.numbers, facts.categories),
)


def propose(case: Case) -> Proposal:
    """The proposal for a column."""
    for judge in JUDGES:
        if (found := judge(case)) is not None:
            shown = found.treatment == KEEP or RARE in found.treatment
            return (facts.stray_dates(case) if shown else None) or found
    return case.says(
        DROP, 0.5, "무엇인지 알 수 없는 열이라 삭제합니다", "nothing tells what this column holds, so it is left out", confirm=True
    )
