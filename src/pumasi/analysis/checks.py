"""Why a question cannot be answered from these columns: the sentences that several methods share. Nothing is taken on the asker's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_CELLS = 2_500

# What only the data can tell, so that it refuses an answer rather than the question.
OUTSIDE = Refusal(
    "unknown-level",
    "'{}' holds a value that the permits do not name as a level; hospitals name only values that enough of their own people have, "
    "so give levels = [...] in study.toml",
)
TOO_LARGE = Refusal("beyond-measure", "'{}' holds values beyond anything that is measured; correct the file")


def numbers(names: Iterable[str], kinds: Mapping[str, str]) -> list[str]:
    """Each must hold numbers."""
    return [f"'{name}' holds {kinds[name]} values, but numbers are needed" for name in names if kinds[name] != "number"]


def levels(names: Iterable[str], agreed: Mapping[str, Sequence[str]]) -> list[str]:
    """Each must have levels."""
    return [f"'{name}' has no agreed levels to count by; give levels = [...] in study.toml" for name in names if not agreed.get(name)]


def apart(one: str, other: str) -> list[str]:
    """Two keys must name different columns."""
    return [f"'{one}' is named twice; the two columns must differ"] if one == other else []


def cells(count: int) -> list[str]:
    """So many groups at once, at most."""
    return [f"it would have more than {MOST_CELLS} cells; group the levels"] if count > MOST_CELLS else []
