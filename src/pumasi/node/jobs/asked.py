"""Why a question may not be asked next to those before it: of this job, of the applicant's organisation, of all its projects.

Three looks, two of them at sums over all hospitals: everything together, whatever a column may hold (audit.py); each earlier answer by
itself (memory.py); and the sets of hospitals. What passed the first counts as asked from then on, even if it is refused after all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from pumasi.analysis import audit, memory
from pumasi.analysis.frame import Terms
from pumasi.analysis.refusal import Refusal
from pumasi.kernel.study import AgreedTable
from pumasi.node.remembered import Earlier

Judge = Callable[[list[float]], list[Refusal]]
Sum = Callable[[str, Callable[[], list[float]], Judge], tuple[list[float], list[Refusal]]]


class LocalHalf(Protocol):
    """The sandboxed half: loads a table once and says how many people it has, then answers round after round."""

    def load(self, table: str, columns: set[str]) -> int: ...
    def local(self, question: dict[str, Any], state: dict[str, Any]) -> list[float]: ...
    def compare(self, question: dict[str, Any], earlier: Earlier) -> list[float]: ...
    def audit(self, question: dict[str, Any], before: list[Earlier], known: list[list[float]]) -> list[float]: ...


@dataclass
class Asked:
    """What was asked so far, as one hospital knows it. `sum` is a round over all hospitals: label, own share, judgement of the total."""

    case: str
    hospital: str
    tables: Mapping[str, AgreedTable]
    terms: Terms
    half: LocalHalf
    remembered: list[Earlier]
    hospitals_at_least: int
    sum: Sum
    mine: dict[int, Earlier] = field(default_factory=dict)  # this job's
    answered: set[int] = field(default_factory=set)  # of them

    @property
    def all(self) -> list[Earlier]:
        """This job's, as later jobs are to remember them."""
        return [replace(one, refused=number not in self.answered) for number, one in self.mine.items()]

    def reasons(self, number: int, question: dict[str, Any], people: int) -> list[Refusal]:
        """Why question `number` of the job may not be answered. With `edges` that the data chose it comes here again."""
        label = f"q{number}{'e' if 'edges' in question else 'm'}"
        person = self.tables[question["table"]].person
        others = [replace(one, refused=at not in self.answered) for at, one in self.mine.items() if at != number]
        before = [one for one in (*self.remembered, *others) if one.question["table"] == question["table"] and one.person == person]
        if singled_out := self._audited(f"{label}a", question, before):
            return singled_out
        self.mine[number] = self._definition(question, people)
        return self._compared(label, question, [one for one in before if not one.refused])

    def _definition(self, question: dict[str, Any], people: int) -> Earlier:
        agreed = self.tables[question["table"]]
        columns = {name: agreed.columns[name] for name in question["column_kinds"]}
        plain = {key: value for key, value in question.items() if key != "here"}
        return Earlier(self.case, plain, columns, agreed.person, people, question["hospitals"])

    def _here(self, one: Earlier) -> Earlier:
        """An earlier question as this hospital evaluates it."""
        asked = audit.refused(one.question) if one.refused else one.question
        return replace(one, question=asked | {"here": self.hospital, "case": one.case})

    def _audited(self, label: str, question: dict[str, Any], before: list[Earlier]) -> list[Refusal]:
        """Why it may not be asked together with all of them; three rounds or two, where there is anything to look at."""
        same = [self._here(one) for one in before if one.answered and sorted(one.hospitals) == question["hospitals"]]
        mine = list({_asked(one): one for one in same}.values())
        question = question | {"case": self.case}
        asked = [question, *(one.question for one in mine)]
        if not audit.is_small(asked):
            return [memory.TOO_MANY]
        judges: list[Judge] = [_nothing, partial(audit.too_small, asked=asked, smallest=self.terms.smallest_cell), audit.refusals]
        known = audit.first(asked)
        while len(known) < audit.rounds(asked):
            judge = judges[len(known)]
            total, reasons = self.sum(f"{label}{len(known)}", partial(self.half.audit, question, mine, known), judge)
            if reasons:
                return reasons
            known = [*known, total]
        return []

    def _compared(self, label: str, question: dict[str, Any], before: list[Earlier]) -> list[Refusal]:
        """Why it may not be answered next to one of them; one round over the hospitals, which all remember the same here."""
        same = [self._here(one) for one in before if one.answered and sorted(one.hospitals) == question["hospitals"]]
        if not same:
            return []
        if any(not memory.is_comparable(question, one.question) for one in same):
            return [memory.TOO_MANY]
        about = [(one, memory.length(question, one.question)) for one in same]

        def mine() -> list[float]:
            return [value for one, _ in about for value in self.half.compare(question, one)]

        def judge(total: list[float]) -> list[Refusal]:
            found: list[Refusal] = []
            at = 0
            for one, length in about:
                found += memory.refusals(total[at : at + length], question, one.question, self.terms)
                at += length
            return list(dict.fromkeys(found))

        return self.sum(label, mine, judge)[1]

    def elsewhere(self, question: dict[str, Any]) -> list[Refusal]:
        """Why it may not be asked of these hospitals after it was asked of others. What another hospital of this job remembers may be
        something else, so it is said in place of the first share, and not in a round of its own."""
        table, person = question["table"], self.tables[question["table"]].person
        before = [one for one in self.remembered if (one.question["table"], one.person, one.refused) == (table, person, False)]
        return list(dict.fromkeys(reason for one in before for reason in self._other_hospitals(question, one)))

    def _other_hospitals(self, question: dict[str, Any], one: Earlier) -> list[Refusal]:
        """Of two sets that overlap, the hospitals that are in one of them alone take no part in what is compared: so not at all, where an
        answer was told. A sum that was only opened is known to hospitals, and these may see what the permits ask for and more."""
        mine, theirs = set(question["hospitals"]), set(one.hospitals)
        overlap = mine != theirs and bool(mine & theirs)
        if not overlap or not memory.is_the_same(question, one.question):
            return []
        if not one.answered and len(mine ^ theirs) >= self.hospitals_at_least:
            return []
        return [memory.OTHER_HOSPITALS.about(one.question["name"])]


def _asked(one: Earlier) -> str:
    """What was asked, by whatever name and in whichever project: asked again, it tells nothing more."""
    question = {key: value for key, value in one.question.items() if key not in ("name", "case", "here")}
    return json.dumps([question, {name: column.plain() for name, column in one.columns.items()}], sort_keys=True)


def _nothing(_: list[float]) -> list[Refusal]:
    return []
