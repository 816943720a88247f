"""Dates as they are written in Korea and abroad: 2024-03-05, 2024년 3월 5일, '24.3.5, 20240305, 05-MAR-2024, 3월 5일, 5/3/24."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pumasi.deid.patterns.checks import real_day
from pumasi.deid.patterns.kinds import Kind, Span

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?P<y>(?:1[89]|2[01])\d{2})"
_M, _D = r"(?P<m>0?[1-9]|1[0-2])", r"(?P<d>0?[1-9]|[12]\d|3[01])"
_NAMED = rf"(?P<name>{_MONTH})"

_FORMS = [
    (0.97, re.compile(rf"(?<!\d){_YEAR}\s?(?P<s>[-./])\s?{_M}\s?(?P=s)\s?{_D}(?!\d)(?!\.\d)")),
    (0.97, re.compile(rf"(?<!\d)(?P<y>\d{{4}}|'?\d{{2}})\s?년\s?{_M}\s?월(?:\s?{_D}\s?일)?")),
    (0.85, re.compile(rf"(?<![\d.]){_M}\s?월\s?{_D}\s?일")),
    (0.9, re.compile(rf"(?<![\d./-]){_M}(?P<s>[-/]){_D}(?P=s){_YEAR}(?![\d])")),
    (0.9, re.compile(rf"(?<![\d./-]){_D}(?P<s>[-/.]){_M}(?P=s){_YEAR}(?![\d])")),
    (0.95, re.compile(rf"(?<![\dA-Za-z]){_D}(?:st|nd|rd|th)?[-\s/.]?{_NAMED}[-\s/.,]{{0,2}}(?P<y>\d{{4}}|\d{{2}})(?!\d)", re.I)),
    (0.95, re.compile(rf"(?<![A-Za-z]){_NAMED}\.?[-\s]{_D}(?:st|nd|rd|th)?,?[-\s]\s?(?P<y>\d{{4}})(?!\d)", re.I)),
    (0.7, re.compile(rf"(?<![A-Za-z]){_NAMED}\.?\s{_D}(?:st|nd|rd|th)?(?![\dA-Za-z/])", re.I)),
    (0.6, re.compile(rf"(?<![A-Za-z]){_NAMED}\.?[-\s,]{{1,2}}{_YEAR}(?!\d)", re.I)),
    (0.85, re.compile(rf"(?<!\d)'(?P<y>\d{{2}})\s?(?P<s>[-./])\s?{_M}\s?(?P=s)\s?{_D}(?!\d)")),
    (0.55, re.compile(rf"(?<![\d./-])(?P<y>\d{{2}})(?P<s>[-./]){_M}(?P=s){_D}(?![\d]|[-./]\d)")),
    (0.5, re.compile(rf"(?<![\d./-]){_M}(?P<s>/){_D}(?P=s)(?P<y>\d{{2}})(?![\d/])")),
    (
        0.6,
        re.compile(
            r"(?<![\dA-Za-z.-])(?P<y>(?:19|20)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?:[T ]?\d{4,6})?(?![\dA-Za-z]|[.-]\d)"
        ),
    ),
    (0.5, re.compile(rf"(?<![\d.]){_YEAR}\s?년(?:도|생)?")),
    (0.6, re.compile(r"(?<!\d)(?P<y>\d{2})\s?년\s?생")),
]
# What a text must hold for a form to be looked for: Korean words, the name of a month, or nothing.
_NEEDS = [
    (sure, form, "name" if "name" in form.groupindex else "korean" if re.search("[년월]", form.pattern) else "") for sure, form in _FORMS
]
_NAMES = re.compile("|".join(_MONTHS), re.I)


def find(text: str) -> Iterator[Span]:
    """Every date in a plain text (see disguise.plain) that is a day of the calendar."""
    if sum(map(text.count, "0123456789")) < 2:
        return
    korean, named = "년" in text or "월" in text, _NAMES.search(text) is not None
    for confidence, pattern, needs in _NEEDS:
        if (needs == "korean" and not korean) or (needs == "name" and not named):
            continue
        for match in pattern.finditer(text):
            if _exists(match.groupdict()):
                yield Span(match.start(), match.end(), Kind.DATE, confidence, "form of a date")


def _exists(parts: dict[str, str | None]) -> bool:
    year = int((parts.get("y") or "2000").strip("'"))
    year += 2000 if year < 100 else 0
    name = parts.get("name")
    month = _MONTHS.index(name[:3].lower()) + 1 if name else int(parts.get("m") or 1)
    return year >= 1 and real_day(year, month, int(parts.get("d") or 1))
