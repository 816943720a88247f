"""A column before the judges: what is known of it, and the proposal that a judge makes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from pumasi.deid.evidence import Found, direct
from pumasi.deid.hints import Hint
from pumasi.deid.patterns import LIKELY, POSSIBLE, Kind, find
from pumasi.deid.patterns.kinds import ENGLISH, KOREAN
from pumasi.deid.patterns.names import BUILT, korean
from pumasi.deid.profile import Column

DROP, KEEP = '"drop"', '"keep"'
_NUMBERS = (Kind.MRN, Kind.PHONE, Kind.RRN, Kind.FRN, Kind.CARD, Kind.LICENCE)  # that one number without a dash may be
_COMPARED = 2_000  # levels at most that are compared with each other
RARE = '{ do = "rare", fewer_than = 10 }'


def _holds_a_name(value: str) -> bool:
    return any(span.kind is Kind.NAME and span.confidence >= LIKELY for span in find(value))


@dataclass(frozen=True)
class Proposal:
    """What to do with a column (as TOML), how sure that is, and why, in Korean and English."""

    column: str
    treatment: str
    confidence: float
    korean: str
    english: str
    confirm: bool = False
    filled: int = 0
    distinct: int = 0
    entropy: float | None = None
    found: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Case:
    """A column with its hint and what its table says: whether rows can be tied to a person, and whether it is Korean."""

    column: Column
    hint: Hint | None
    person: bool
    korean: bool

    @property
    def role(self) -> str:
        return self.hint.role if self.hint else ""

    @property
    def found(self) -> list[Found]:
        return direct({Kind(kind): one for kind, one in self.column.found.items()})

    def likely(self) -> list[Found]:
        """The direct identifiers that are more probable than not, in the light of the whole column."""
        return [one for one in map(self._in_column, self.found) if one.confidence >= LIKELY]

    def _in_column(self, one: Found) -> Found:
        """A long number is an identifier where few rows have one, and a code where many have; a word among its like is no name."""
        column = self.column
        if one.kind is Kind.NAME and one.why == BUILT and one.confidence >= LIKELY and self.among_their_like():
            return replace(one, confidence=0.5, why="built like a Korean name, but other words here end alike")
        if one.kind not in _NUMBERS or one.confidence > 0.35:
            return one
        apart = self._long_numbers_stand_apart()
        usual = not apart and (one.rows > max(5, 0.02 * column.filled) or (column.numeric and (column.high or 0) >= 1e5))
        if one.kind is not Kind.MRN and not apart and (usual or not column.numeric):
            return one
        return Found(one.kind, one.rows, one.whole, one.hidden, 0.2 if usual else 0.6, "a long number among other values")

    def _long_numbers_stand_apart(self) -> bool:
        """Whether few rows have a number of seven digits or more, and none one of five or six: it is no code or value like the others."""
        levels = self.column.levels or {}
        digits = {value: len(value) for value in levels if value.isdecimal()}
        long = sum(levels[value] for value, length in digits.items() if length >= 7)
        return 0 < long <= 0.1 * self.column.filled and not any(length in (5, 6) for length in digits.values())

    def among_their_like(self) -> bool:
        """Whether every level that is built like a name ends as two others do that are none: 유동식 beside 일반식 and 저염식 is a diet."""
        levels = self.column.levels or {}
        if not 3 <= len(levels) <= _COMPARED:
            return False
        built = {value for value in levels if len(value) <= 4 and korean(value) >= 0.5}
        ends = Counter(value[-1:] for value in levels if value not in built)
        return bool(built) and all(ends[value[-1]] >= 2 for value in built) and not any(map(_holds_a_name, levels.keys() - built))

    def doubt(self) -> tuple[str, str]:
        """What may be an identifier, less probably than not, in Korean and English; nothing when there is none."""
        weak = [one for one in map(self._in_column, self.found) if POSSIBLE <= one.confidence < LIKELY]
        if not weak:
            return "", ""
        korean = ", ".join(KOREAN[one.kind] for one in weak[:3])
        english = ", ".join(f"{ENGLISH[one.kind]} ({one.confidence:.2f})" for one in weak[:3])
        return f". 확인 필요: {korean}일 수 있는 값이 있습니다", f"; perhaps among them: {english}"

    def says(self, treatment: str, confidence: float, korean: str, english: str, *, confirm: bool = False) -> Proposal:
        column = self.column
        known = (column.filled, column.distinct, column.entropy, tuple(self.found))
        return Proposal(column.name, treatment, round(confidence, 2), korean, english, confirm, *known)

    def matching(self, pattern: re.Pattern[str]) -> float:
        """The share of rows whose value has this form, where levels were counted."""
        levels = self.column.levels or {}
        return sum(count for value, count in levels.items() if pattern.fullmatch(value)) / max(self.column.filled, 1) if levels else 0.0
