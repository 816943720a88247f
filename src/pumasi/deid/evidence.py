"""What the cells of one column say together: which identifiers stand in it, in how many rows, how sure, and how much is chance.

One cell of digits proves little: 3 of 100 numbers of 13 digits look like a registration number. So what digits without separators
show is weighed against how often chance would show it among all cells of that length. Counts and reasons are kept, no values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

from pumasi.deid import patterns
from pumasi.deid.patterns import INDIRECT, POSSIBLE, SURE, Kind, Span
from pumasi.deid.patterns.disguise import plain
from pumasi.deid.patterns.names import korean, single

# How often digits without separators have such a form by chance, by the confidence that patterns gives the form (numbers.py).
CHANCE: dict[tuple[Kind, float], float] = {
    (Kind.RRN, 0.9): 0.0035,
    (Kind.FRN, 0.9): 0.0035,
    (Kind.RRN, 0.6): 0.002,
    (Kind.FRN, 0.6): 0.002,
    (Kind.RRN, 0.35): 0.03,
    (Kind.FRN, 0.35): 0.03,
    (Kind.PHONE, 0.85): 0.006,
    (Kind.PHONE, 0.5): 0.03,
    (Kind.PHONE, 0.35): 0.01,
    (Kind.PHONE, 0.2): 0.6,
    (Kind.CARD, 0.65): 0.05,
    (Kind.DEVICE, 0.4): 0.1,
    (Kind.LICENCE, 0.2): 0.18,
}
_FEW = 20  # cells; below, chance says nothing
_LONGEST = 200_000  # characters of a cell that are looked at in one piece


@dataclass
class Found:
    """One kind of identifier in one column: in how many rows, how sure at best and in how many rows that is, and why."""

    kind: Kind
    rows: int = 0
    whole: int = 0  # rows in which the identifier is the whole cell
    likely: int = 0  # rows with a confidence of 0.6 and more
    hidden: int = 0  # rows in which it stood encoded or disguised
    confidence: float = 0.0
    why: str = ""

    def add(self, span: Span, *, times: int, whole: bool, hidden: bool) -> None:
        self.rows += times
        self.whole += times * whole
        self.hidden += times * hidden
        self.likely += times * (span.confidence >= 0.6)
        if span.confidence > self.confidence:
            self.confidence, self.why = span.confidence, span.why


@dataclass
class Tally:
    """Counts over the cells of one column."""

    found: dict[Kind, Found] = field(default_factory=dict)
    cells: int = 0
    names: int = 0  # cells that are, as a whole, built like a name or are a word that is one
    _lengths: Counter[int] = field(default_factory=Counter)
    _bare: dict[tuple[Kind, int, float], Found] = field(default_factory=dict)

    def add(self, value: str, times: int = 1) -> None:
        """Look at one cell that stands in `times` rows."""
        self.cells += times
        text = value.strip()
        bare = text.isascii() and text.isdigit()
        if bare:
            self._lengths[len(text)] += times
        self.names += times * is_name(text)
        best: dict[Kind, Span] = {}
        for span in _spans(value):
            if span.kind not in best or span.confidence > best[span.kind].confidence:
                best[span.kind] = span
        for span in best.values():
            whole = span.end - span.start >= 0.8 * len(text)
            found = self._store(span, len(text)) if bare and (span.kind, span.confidence) in CHANCE else self._of(span.kind)
            found.add(span, times=times, whole=whole, hidden=_disguised(value, span))

    def _of(self, kind: Kind) -> Found:
        return self.found.setdefault(kind, Found(kind))

    def _store(self, span: Span, length: int) -> Found:
        return self._bare.setdefault((span.kind, length, span.confidence), Found(span.kind))

    def weighed(self) -> dict[Kind, Found]:
        """What was found, digits without separators weighed against chance; the surest of each kind counts."""
        found = dict(self.found)
        for (kind, length, confidence), bare in self._bare.items():
            weighed = Found(kind, bare.rows, bare.whole, bare.likely, bare.hidden, *_weigh(bare, self._lengths[length], confidence))
            other = found.get(kind)
            if other is None:
                found[kind] = weighed
            else:
                first = max(weighed, other, key=lambda one: one.confidence)
                rows = (
                    weighed.rows + other.rows,
                    weighed.whole + other.whole,
                    weighed.likely + other.likely,
                    weighed.hidden + other.hidden,
                )
                found[kind] = Found(kind, *rows, first.confidence, first.why)
        return found


def is_name(text: str) -> bool:
    """Whether a cell as a whole may be a name: a Hangul word built like one, or one to three words of which one is a name."""
    if 2 <= len(text) <= 5 and all("가" <= letter <= "힣" for letter in text):
        return korean(text) >= POSSIBLE
    words = text.split()
    return 1 <= len(words) <= 3 and any(single(word.strip(",.")) for word in words)


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


def _weigh(bare: Found, cells: int, confidence: float) -> tuple[float, str]:
    """The confidence after chance: what shows no more often than chance brings is worth a third, what nearly all cells show is sure."""
    chance = CHANCE[(bare.kind, confidence)]
    share = bare.rows / max(cells, 1)
    usual = chance + 4 * math.sqrt(chance / max(cells, 1))
    if cells >= _FEW and share >= 0.9 and chance < 0.3:
        return max(SURE + 0.05, confidence), bare.why + ", in nearly all numbers of this length"
    if cells >= _FEW and share <= usual:
        return round(confidence * 0.35, 2), bare.why + ", no oftener than by chance"
    return confidence, bare.why


_ORDINARY = re.compile(r"[0-9]{1,5}|[-+]?[0-9]{1,5}\.[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}")


def ordinary(value: str) -> bool:
    """A small number or an ISO date as a whole: nothing can hide in it."""
    return _ORDINARY.fullmatch(value) is not None
