"""A word that nobody knows, and the known one that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_ALIKE = 0.7  # by difflib's ratio: agee and age, titel and title, kaplan-meier and kaplan_meier


def told(word: object, known: Iterable[str], *, lead: str) -> str:
    """The end of a sentence about `word`: "did you mean 'title'? Known here are title, purpose", or without the question."""
    names = list(known)
    folded = {name.casefold(): name for name in reversed(names)}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=_ALIKE) if isinstance(word, str) else []
    all_of_them = f"{lead} {', '.join(names) or 'none'}"
    return f"did you mean '{folded[close[0]]}'? {all_of_them[0].upper()}{all_of_them[1:]}" if close else all_of_them
