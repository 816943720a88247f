"""Identifiers made of digits, however they are grouped: registration numbers, telephones, cards, accounts, licences.

A row of digits is cut at its separators into groups; every run of whole groups that has the right length is tried. The grouping that
the kind is written in counts for more than digits in a row, and those for more than an unusual grouping, which only counts when the
separators are all the same. What is left to chance carries a low confidence: 3 in 100 rows of 13 digits look like a birth date.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pumasi.deid.patterns.checks import RANDOM_SINCE, born, business_check, card_issuer, ean13, foreigner, luhn, rrn_check, ssn
from pumasi.deid.patterns.kinds import Kind, Span

_RUN = re.compile(r"[0-9](?:[^0-9A-Za-z가-힣]{0,4}[0-9])+")
_GROUP = re.compile(r"[0-9]+")
_SPACING = frozenset({" ", "  ", ".", "-", "_", " .", "*", "'", "|"})
_MASKED_RRN = re.compile(r"(?<![0-9])([0-9]{6})[^0-9A-Za-z가-힣]{0,3}[1-8][0-9]{0,5}[*xX●○#•?]{1,6}")
_WORDED_RRN = re.compile(r"(?:19|20)?([0-9]{2})\s?년\s?([0-9]{1,2})\s?월\s?([0-9]{1,2})\s?일\s?(?:생\s?)?[-/,]\s?([0-9]{7})(?![0-9])")
_LETTERED = re.compile(r"(?<![0-9])(01[016789]|[0-9]{6})([^0-9]{1,3})([0-9]{3,4}|[0-9]{7})(?:([^0-9]{1,3})([0-9]{4}))?(?![0-9])")
_LOOKALIKE = re.compile(r"(?<![0-9A-Za-z])[0-9OoQIl|](?:[-. ]?[0-9OoQIl|]){8,15}(?![0-9A-Za-z])")
_LETTERS = re.compile(r"[A-Za-z|]")
_SPOKEN = re.compile(r"[공영일이삼사오육륙칠팔구0-9](?:[-. ,에]{0,2}[공영일이삼사오육륙칠팔구0-9]){7,18}")
_SPOKEN_DIGITS = str.maketrans("공영일이삼사오육륙칠팔구", "001234566789")
_LOOKALIKE_DIGITS = str.maketrans("OoQIl|", "000111")
_FRACTIONS = re.compile(r"(?<![0-9.])[0-9]+\.[0-9]+(?![0-9.])")
_MEMBER = re.compile(r"[^\s,;]+")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?")

_MOBILE = ("010", "011", "016", "017", "018", "019")
_AREAS = (
    "02",
    "031",
    "032",
    "033",
    "041",
    "042",
    "043",
    "044",
    "051",
    "052",
    "053",
    "054",
    "055",
    "061",
    "062",
    "063",
    "064",
    "070",
    "080",
)
_LINES = tuple(f"050{digit}" for digit in range(10))
_REPRESENTATIVE = re.compile(r"15(?:22|33|44|51|55|66|77|88|99)|16(?:00|11|33|44|60|61|66|68|70|88)|18(?:00|11|33|55|77|99)")
_RRN_APART = frozenset({(6, 1, 6), (2, 2, 2, 7), (2, 2, 2, 1, 6)})
_WRITTEN = frozenset({(6, 7), (3, 4, 4), (4, 4, 4, 4)})
_ACCOUNTS = frozenset(
    {
        *[(3, 2, 6), (3, 3, 6), (3, 2, 7), (3, 4, 6), (4, 3, 6), (6, 2, 6), (3, 6, 5), (3, 2, 4, 3), (3, 6, 2, 3), (4, 2, 6), (4, 2, 7)],
        *[(3, 4, 4, 2), (3, 4, 4, 3), (3, 5, 6), (3, 2, 5, 1), (3, 6, 2), (3, 3, 5), (4, 4, 5), (6, 6), (3, 2, 6, 1), (4, 4, 4, 1)],
        *[(3, 8, 1), (3, 9), (3, 2, 5, 3), (3, 8, 3), (3, 6, 3), (2, 2, 6), (4, 2, 5), (3, 3, 7)],
    }
)


def find(text: str) -> Iterator[Span]:
    """Every span of digits in a plain text (see disguise.plain) that can be an identifier."""
    if sum(map(text.count, "0123456789")) < 6:
        yield from _spelled(text)
        return
    if _FLOAT.fullmatch(text.strip()) and not _dotted_rrn(text.strip()):
        return
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= 6:
            for start, end in _pieces(text, run.start(), run.end()):
                yield from _in_run(text, start, end)
    for masked in _MASKED_RRN.finditer(text):
        if any(born(masked[1] + century) for century in "13"):
            yield Span(masked.start(), masked.end(), Kind.RRN, 0.9, "the visible half of a registration number")
    for said in _WORDED_RRN.finditer(text):
        digits = said[1] + said[2].zfill(2) + said[3].zfill(2) + said[4]
        if born(digits):
            yield Span(said.start(), said.end(), Kind.FRN if foreigner(digits) else Kind.RRN, 0.9, "a birth date and the second half")
    yield from _spelled(text)


def _dotted_rrn(text: str) -> bool:
    digits = text.replace(".", "")
    if text.find(".") != 6 or len(digits) != 13 or not digits.isdigit():
        return False
    birth = born(digits)
    return birth is not None and (rrn_check(digits) or birth >= RANDOM_SINCE.replace(day=1))


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A run as it is; a list of decimal fractions (a curve, a panel of results) as its members that are none."""
    if len(_FRACTIONS.findall(text, start, end)) < 2:
        return [(start, end)]
    members = [(one.start(), one.end()) for one in _MEMBER.finditer(text, start, end)]
    return [(first, last) for first, last in members if not _FLOAT.fullmatch(text[first:last])]


def _in_run(text: str, start: int, end: int) -> Iterator[Span]:
    groups = _groups(text, start, end)
    for first in range(len(groups)):
        digits = ""
        for last in range(first, len(groups)):
            digits += groups[last].digits
            if len(digits) > 19:
                break
            if len(digits) >= 7:
                yield from Shape(text, groups[first : last + 1], digits).spans()


@dataclass(frozen=True)
class Group:
    start: int
    end: int
    digits: str


def _groups(text: str, start: int, end: int) -> list[Group]:
    """The groups of a run; single digits that are set apart all in the same way (0 1 0 - 1 2 3 4) are one group."""
    groups: list[Group] = []
    apart = None  # what stands between the single digits of the last group
    for match in _GROUP.finditer(text, start, end):
        gap = text[groups[-1].end : match.start()] if groups else ""
        if groups and len(match.group()) == 1 and gap in _SPACING and (apart == gap or len(groups[-1].digits) == 1):
            groups[-1] = Group(groups[-1].start, match.end(), groups[-1].digits + match.group())
            apart = gap
        else:
            groups.append(Group(match.start(), match.end(), match.group()))
            apart = None
    return groups


class Shape:
    """A run of digit groups: the digits, the size of each group, and how they are separated."""

    def __init__(self, text: str, groups: list[Group], digits: str) -> None:
        self.text, self.digits = text, digits
        self.start, self.end = groups[0].start, groups[-1].end
        self.sizes = tuple(len(group.digits) for group in groups)
        gaps = [text[before.end : after.start] for before, after in itertools.pairwise(groups)]
        bare = {gap.strip() for gap in gaps}
        self.even = len(bare) <= 1 or (len(bare) == 2 and "" in bare)  # one separator, with blanks around it or in its place
        self.listed = any("," in gap or ";" in gap or "\n" in gap for gap in gaps)  # more likely several numbers than one
        self.dashed = bool(gaps) and all("-" in gap for gap in gaps)
        self.whole = len(groups) == 1
        before, after = text[self.start - 1 : self.start], text[self.end : self.end + 1]
        self.inside = bool(re.match(r"[0-9A-Za-z_]", before)) or bool(re.match(r"[A-Za-z_]", after))
        self.decimal = self.whole and (
            text[self.start - 2 : self.start].endswith(".") or re.match(r"\.[0-9]", text[self.end : self.end + 2])
        )
        self.plus = text[max(0, self.start - 2) : self.start].rstrip("(").endswith("+")

    def spans(self) -> Iterator[Span]:
        if self.decimal:
            return
        for kind, confidence, why in self._kinds():
            listed = (0.65 if self.sizes in _WRITTEN else 0.25) if self.listed else 1
            lowered = confidence * self._inside(kind, confidence) * listed
            if lowered >= 0.1:
                yield Span(self.start, self.end, kind, round(lowered, 2), why)

    def _inside(self, kind: Kind, confidence: float) -> float:
        """Letters around digits (HD9001011234567A) make a code of them, less so of those with a birth date and a check digit or a dash."""
        if not self.inside:
            return 1
        return 0.8 if kind in (Kind.RRN, Kind.FRN) and confidence >= 0.85 else 0.6

    def _kinds(self) -> Iterator[tuple[Kind, float, str]]:
        yield from self._rrn()
        yield from self._phone()
        yield from self._card()
        yield from self._other()

    def _rrn(self) -> Iterator[tuple[Kind, float, str]]:
        digits = self.digits
        if len(digits) != 13 or (birth := born(digits)) is None:
            return
        kind = Kind.FRN if foreigner(digits) else Kind.RRN
        check, random = rrn_check(digits), birth >= RANDOM_SINCE.replace(day=1)
        why = "birth date and check digit" if check else "birth date; random digits as given since October 2020"
        why = why if check or random else "birth date without the old check digit"
        if self.sizes == (6, 7):
            yield kind, 0.99 if check else 0.95 if random else 0.85, why
        elif self.whole:
            confidence = 0.9 if check else 0.6 if random else 0.35
            yield kind, confidence * (0.3 if ean13(digits) and digits.startswith("880") else 1), why
        elif self.sizes in _RRN_APART:
            yield kind, 0.9 if check else 0.8, why
        elif self.even or check:
            yield kind, (0.85 if check else 0.5) * (1 if self.even else 0.6), why + ", in an unusual grouping"

    def _phone(self) -> Iterator[tuple[Kind, float, str]]:
        digits, sizes, abroad = self.digits, self.sizes, False
        for prefix in ("0082", "82"):
            if digits.startswith(prefix) and (self.plus or prefix == "0082" or sizes[0] == 2):
                rest = digits.removeprefix(prefix)
                digits, abroad = rest if rest.startswith("0") else "0" + rest, True
                break
        mobile, usual = digits[:3] in _MOBILE and 10 <= len(digits) <= 11, sizes[-1] == 4 and sizes[0] <= 4 and len(sizes) in (3, 4)
        if digits.startswith("010") and len(digits) != 11:
            mobile = False
        if mobile or _land_line(digits):
            if abroad:
                yield Kind.PHONE, 0.97 if self.plus or usual else 0.6, "number plan of Korea"
            elif usual:
                yield Kind.PHONE, 0.97 if mobile else 0.92, "number plan and grouping of Korea"
            elif self.whole:
                yield Kind.PHONE, 0.85 if mobile and len(digits) == 11 else 0.5, "number plan of Korea, digits in a row"
            elif self.even or mobile:
                yield Kind.PHONE, 0.75 if mobile and self.even else 0.45, "number plan of Korea, in an unusual grouping"
        elif self.digits[:2] == "10" and len(self.digits) == 10:
            yield Kind.PHONE, 0.8 if sizes == (2, 4, 4) else 0.35, "a mobile number without its first zero"
        elif sizes == (4, 4) and _REPRESENTATIVE.match(self.digits):
            yield Kind.PHONE, 0.6, "a representative number of an institution"
        else:
            yield from self._foreign_phone()

    def _foreign_phone(self) -> Iterator[tuple[Kind, float, str]]:
        digits = self.digits.removeprefix("1") if len(self.digits) == 11 else self.digits
        if len(digits) == 10 and digits[0] in "23456789" and digits[3] in "23456789" and not digits.startswith("82"):
            if self.sizes in ((3, 3, 4), (1, 3, 3, 4)):
                yield Kind.PHONE, 0.85, "number plan of North America"
            elif self.whole and len(self.digits) == 10:
                yield Kind.PHONE, 0.2, "ten digits in a row"
        if self.plus and 9 <= len(self.digits) <= 15:
            yield Kind.PHONE, 0.75, "international form"

    def _card(self) -> Iterator[tuple[Kind, float, str]]:
        if len(self.digits) not in (13, 14, 15, 16, 19) or len(set(self.digits)) == 1:
            return
        written = self.sizes in ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4))
        if luhn(self.digits) and card_issuer(self.digits):
            yield (
                Kind.CARD,
                0.97 if written else 0.65 if len(self.digits) > 13 and (self.whole or self.even) else 0.35,
                "issuer and check digit (Luhn)",
            )
        elif written and self.sizes == (4, 4, 4, 4):
            yield Kind.CARD, 0.6, "grouped like a card, but the check digit is wrong"
        elif len(self.digits) == 15 and self.whole and luhn(self.digits):
            yield Kind.DEVICE, 0.4, "fifteen digits with the check digit of an IMEI"

    def _other(self) -> Iterator[tuple[Kind, float, str]]:
        digits, sizes = self.digits, self.sizes
        region = digits[:2] in {f"{number}" for number in range(11, 29)}
        if sizes == (2, 2, 6, 2) and region:
            yield Kind.LICENCE, 0.95, "region, year and grouping"
        elif len(digits) == 12 and region and not self.whole and self.even and sizes[0] == 2:
            yield Kind.LICENCE, 0.6, "region of a licence, in an unusual grouping"
        elif len(digits) == 12 and region and self.whole:
            yield Kind.LICENCE, 0.2, "twelve digits that begin with a region"
        if sizes == (3, 2, 5) and self.dashed:
            check = business_check(digits)
            yield Kind.BUSINESS, 0.9 if check else 0.5, "grouping" + (" and check digit" if check else "")
        elif sizes == (3, 2, 4) and self.dashed and ssn(digits):
            yield Kind.SSN, 0.85, "grouping"
        elif sizes == (1, 10) and self.dashed:
            yield Kind.INSURANCE, 0.7, "grouping"
        elif sizes in _ACCOUNTS and self.dashed and not digits.startswith(_MOBILE):
            yield Kind.ACCOUNT, 0.7 if len(sizes) > 2 else 0.5, "grouping of a bank account"
        elif self.dashed and len(sizes) >= 3 and 10 <= len(digits) <= 14 and not _dated(sizes, digits) and not digits.startswith("0"):
            yield Kind.ACCOUNT, 0.45, "digits in dashed groups"
        elif self.whole and 7 <= len(digits) <= 10 and not _day(digits):
            yield Kind.MRN, 0.35, "a number as long as a patient number"
        elif self.whole and len(digits) >= 11:
            yield Kind.MRN, 0.3, "a long number"


def _land_line(digits: str) -> bool:
    if digits.startswith(_LINES):
        return 11 <= len(digits) <= 12
    area = next((area for area in _AREAS if digits.startswith(area)), None)
    return area is not None and len(digits) - len(area) in (7, 8) and digits[len(area)] not in "01"


def _day(digits: str) -> bool:
    """Eight digits that are a day: 20240305."""
    return len(digits) == 8 and digits[:2] in ("18", "19", "20") and "01" <= digits[4:6] <= "12" and "01" <= digits[6:] <= "31"


def _dated(sizes: tuple[int, ...], digits: str) -> bool:
    return sizes[:3] == (4, 2, 2) and digits[:2] in ("18", "19", "20") and digits[4:6] <= "12"


# --- digits that are written as something else ---


def _spelled(text: str) -> Iterator[Span]:
    """Digits as letters that look like them, as Korean words, or with words between the groups."""
    if text.isascii() and not _LETTERS.search(text):
        return
    for pattern, digits_of in ((_LOOKALIKE, _LOOKALIKE_DIGITS), (_SPOKEN, _SPOKEN_DIGITS)):
        for match in pattern.finditer(text):
            said = match.group()
            digits = re.sub(r"[^0-9]", "", said.translate(digits_of))
            if said.translate(digits_of) == said or sum(character.isdigit() for character in said) < (pattern is _LOOKALIKE) * 6:
                continue
            if (len(digits) == 11 and digits.startswith("010")) or (len(digits) in (9, 10, 11) and _land_line(digits)):
                yield Span(match.start(), match.end(), Kind.PHONE, 0.8, "number plan of Korea, digits written as letters")
            elif len(digits) == 13 and born(digits) and (rrn_check(digits) or "-" in said):
                yield Span(match.start(), match.end(), Kind.FRN if foreigner(digits) else Kind.RRN, 0.8, "digits written as letters")
    for match in _LETTERED.finditer(text):
        gaps = "".join(gap for gap in (match[2], match[4]) if gap)
        if not re.search(r"[A-Za-z가-힣]", gaps):
            continue
        if match[1].startswith("01") and len(match[1]) == 3 and match[5] and len(match[3]) in (3, 4):
            yield Span(match.start(), match.end(), Kind.PHONE, 0.8, "number plan of Korea, with letters between the groups")
        elif len(match[1]) == 6 and len(match[3]) == 7 and not match[5] and born(match[1] + match[3]):
            kind = Kind.FRN if foreigner(match[1] + match[3]) else Kind.RRN
            yield Span(match.start(), match.end(), kind, 0.8, "a registration number with letters between its halves")
