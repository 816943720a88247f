"""What never enters the log, asked at the hub's door and again by every cosigner: personal data, free text, counts of people.

Events are typed, so there is little room: names of members and people, and a few numbers that are limits or sizes of the log. This
looks at that little room. It cannot recognise a person's name; ids are roles (`checker-1@hospital`), which the glossary asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Numbers an event may hold; none is about patients. A new integer field must be added here, or every event with it is refused.
NUMBERS = frozenset({"seq", "smallest_cell", "hospitals_at_least", "size", "events", "consortium"})
MOST_WORDS = 10  # of a member's name

PATTERNS = {
    # 주민등록번호 and 외국인등록번호: six digits of birth, a digit 1 to 8, six more.
    "a resident registration number": re.compile(r"(?<!\d)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[- ]?[1-8]\d{6}(?!\d)"),
    "a telephone number": re.compile(r"(?<!\d)(\+82[- ]?|0)(1[016789]|2|[3-6][1-5]|70|50\d?)[- .)]?\d{3,4}[- .]?\d{4}(?!\d)"),
    "an e-mail address": re.compile(r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,}"),
}
# What no pattern can match: digests, keys, instants, and words of the closed lists, which have neither digits nor spaces.
_OPAQUE = re.compile(
    r"[0-9a-f]{64}|[A-Za-z-]+|[0-9a-f]{32}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{8}Z)?"
)


def refusals(event: dict[str, Any]) -> list[str]:
    """Why this event may not enter the log; each reason names the field and the kind of thing, never the thing."""
    reasons = []
    for field, value in _leaves("", event):
        if isinstance(value, int) and not isinstance(value, bool) and field not in NUMBERS:
            reasons.append(f"the field '{field}' holds a number that no event may hold")
        if isinstance(value, str) and not _OPAQUE.fullmatch(value):
            reasons += [f"the field '{field}' looks like {what}, which must not enter the log" for what in _seen(value)]
    return reasons


def _seen(text: str) -> list[str]:
    found = [what for what, pattern in PATTERNS.items() if pattern.search(text)]
    return [*found, "free text"] if len(text.split()) > MOST_WORDS else found


def _leaves(field: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(field, inner)
    else:
        yield field, value
