"""What the cells of one column say together: which identifiers stand in it, in how many rows, how sure, and how much is chance.

One cell of digits proves little: 3 of 100 numbers of 13 digits look like a registration number. So what a
number alone in a cell shows is weighed against all numbers of its shape in the column. Counts and reasons are kept, no values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

from pumasi.deid import patterns
from pumasi.deid.patterns import INDIRECT, POSSIBLE, Kind, Span
from pumasi.deid.patterns.disguise import plain
from pumasi.deid.patterns.names import korean, single

# How often digits that stand alone in a cell have such a form by chance, by the confidence that patterns gives the form (numbers.py).
CHANCE: dict[tuple[Kind, float], float] = {
    (Kind.PHONE, 0.85): 0.006,
    (Kind.PHONE, 0.5): 0.03,
    (Kind.PHONE, 0.35): 0.01,
    (Kind.PHONE, 0.2): 0.65,
    (Kind.CARD, 0.65): 0.1,
    (Kind.DEVICE, 0.4): 0.1,
    (Kind.LICENCE, 0.2): 0.18,
}
# What it is worth when nearly all cells of the shape have the form; a beginning that all share may be a counter as well.
ALL = {0.9: 0.97, 0.85: 0.97, 0.65: 0.97, 0.6: 0.95, 0.5: 0.9, 0.4: 0.9, 0.35: 0.65}
_FEW = 20  # cells; below, chance says nothing
_DIGIT = re.compile(r"[0-9]")
_NUMBER = re.compile(r"[A-Za-z_-]{0,8}([0-9][0-9 ./-]{5,24})[A-Za-z_-]{0,4}")
_LETTER = re.compile(r"[A-Za-z]")
_LONGEST = 200_000  # characters of a cell that are looked at in one piece


@dataclass
class Found:
    """One kind of identifier in one column: in how many rows, how sure at best and in how many rows that is, and why."""

    kind: Kind
    rows: int = 0
    whole: int = 0  # rows in which the identifier is the whole cell
    hidden: int = 0  # rows in which it stood encoded or disguised
    confidence: float = 0.0
    why: str = ""

    def add(self, span: Span, *, times: int, whole: bool, hidden: bool) -> None:
        self.rows += times
        self.whole += times * whole
        self.hidden += times * hidden
        if span.confidence > self.confidence:
            self.confidence, self.why = span.confidence, span.why

    def merge(self, other: Found) -> None:
        self.rows += other.rows
        self.whole += other.whole
        self.hidden += other.hidden
        if other.confidence > self.confidence:
            self.confidence, self.why = other.confidence, other.why


@dataclass
class Tally:
    """Counts over the cells of one column."""

    found: dict[Kind, Found] = field(default_factory=dict)
    cells: int = 0
    names: int = 0  # cells that are, as a whole, built like a name or are a word that is one
    _shapes: Counter[str] = field(default_factory=Counter)
    _bare: dict[tuple[Kind, str, float], Found] = field(default_factory=dict)

    def add(self, value: str, times: int = 1) -> None:
        """Look at one cell that stands in `times` rows."""
        self.cells += times
        text = value.strip()
        number = _NUMBER.fullmatch(text)
        shape = _LETTER.sub("a", _DIGIT.sub("9", text)) if number else None
        if shape is not None:
            self._shapes[shape] += times
        self.names += times * is_name(text)
        best: dict[Kind, Span] = {}
        for span in _spans(value):
            if span.kind not in best or span.confidence > best[span.kind].confidence:
                best[span.kind] = span
        for span in best.values():
            whole = span.end - span.start >= 0.8 * len(number[1] if number else text)
            found = self._of(span.kind) if shape is None or not whole else self._in_shape(span, shape)
            found.add(span, times=times, whole=whole, hidden=_disguised(value, span))

    def _of(self, kind: Kind) -> Found:
        return self.found.setdefault(kind, Found(kind))

    def _in_shape(self, span: Span, shape: str) -> Found:
        return self._bare.setdefault((span.kind, shape, span.confidence), Found(span.kind))

    def weighed(self) -> dict[Kind, Found]:
        """What was found, with numbers weighed against all numbers of their shape; the surest of each kind counts."""
        found = dict(self.found)
        for (kind, shape, confidence), bare in self._bare.items():
            sure, why = self._weigh(bare, shape, confidence)
            other = found.get(kind, Found(kind))
            found[kind] = Found(
                kind,
                bare.rows + other.rows,
                bare.whole + other.whole,
                bare.hidden + other.hidden,
                max(sure, other.confidence),
                why if sure > other.confidence else other.why,
            )
        return found

    def merge(self, other: Tally) -> None:
        """Add what was counted over other cells of the same column."""
        self.cells += other.cells
        self.names += other.names
        self._shapes.update(other._shapes)
        for kind, found in other.found.items():
            self._of(kind).merge(found)
        for key, bare in other._bare.items():
            self._bare.setdefault(key, Found(bare.kind)).merge(bare)

    def _weigh(self, bare: Found, shape: str, confidence: float) -> tuple[float, str]:
        """The confidence in the light of all cells of the shape: what most of them show is sure, what few show may be chance."""
        cells = self._shapes[shape]
        alike = sum(one.rows for (kind, where, _), one in self._bare.items() if where == shape and _same(kind, bare.kind))
        share = alike / cells
        if cells < _FEW or bare.kind in (Kind.MRN, Kind.ACCOUNT):
            return confidence, bare.why
        if share >= 0.9:
            return max(confidence, ALL.get(confidence, confidence)), bare.why + ", as nearly all numbers of this shape"
        if share >= 0.5:
            return confidence, bare.why
        checked = confidence >= (0.7 if _same(bare.kind, Kind.RRN) else 0.85)
        chance = CHANCE.get((bare.kind, confidence), 0.12 * share if checked else share)
        if bare.rows / cells <= chance + 4 * math.sqrt(chance / cells):
            return round(confidence * 0.3, 2), bare.why + ", no oftener than by chance"
        return min(confidence, 0.5), bare.why + ", but most numbers of this shape have it not"


def _same(one: Kind, other: Kind) -> bool:
    return one == other or {one, other} == {Kind.RRN, Kind.FRN}


def is_name(text: str) -> bool:
    """Whether a cell as a whole may be a name: a Hangul word built like one, or one to three words of which one is a name."""
    if 2 <= len(text) <= 5 and all("가" <= letter <= "힣" for letter in text):
        return korean(text) >= POSSIBLE
    words = text.split()
    return 1 <= len(words) <= 3 and not _DIGIT.search(text) and any(single(word.strip(",.")) for word in words)


def direct(found: dict[Kind, Found]) -> list[Found]:
    """The direct identifiers among what was found, surest first; of equally sure ones that in more rows."""
    ones = [one for kind, one in found.items() if kind not in INDIRECT]
    return sorted(ones, key=lambda one: (-one.confidence, -one.rows))


def _spans(value: str) -> list[Span]:
    if len(value) <= _LONGEST:
        return patterns.find(value)
    step = _LONGEST - 1000  # pieces overlap, so that nothing is cut in two
    return [span for start in range(0, len(value), step) for span in patterns.find(value[start : start + _LONGEST])]


def _disguised(value: str, span: Span) -> bool:
    said = value[span.start : span.end]
    return "inside" in span.why or plain(said).text != said


# What a short cell must hold to be worth a look: three letters together, six digits, or a sign that is neither letter, digit nor mark.
HOLDS = r"[A-Za-z]{3}|[^ -~]|[@%&=\\]|(?:[0-9][^0-9]*){6}"
SHORT = 11  # characters
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
_HOLDS, _ISO = re.compile(HOLDS), re.compile(ISO)


def ordinary(value: str) -> bool:
    """A short code, a number of five digits, an ISO date or time: nothing can hide in it."""
    return (len(value) <= SHORT and _HOLDS.search(value) is None) or _ISO.fullmatch(value) is not None
