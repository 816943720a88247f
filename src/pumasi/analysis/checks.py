"""Why a question cannot be answered from these columns: the sentences that several methods share. Nothing is taken on the asker's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_CELLS = 2_500

# What only the data can tell, so that it refuses an answer rather than the question.
OUTSIDE = Refusal(
    "unknown-level",
    "'{}' holds a value that the permits do not name as a level; hospitals name only values that enough of their own people have, "
    "so give levels = [...] in study.toml, or leave other rows out with a condition: where = \"column IN ('one', 'another')\"",
)
TOO_LARGE = Refusal("beyond-measure", "'{}' holds values beyond anything that is measured; correct the file")


def numbers(names: Iterable[str], kinds: Mapping[str, str]) -> list[str]:
    """Each must hold numbers."""
    return [f"'{name}' holds {kinds[name]} values, but numbers are needed" for name in names if kinds[name] != "number"]


def levels(names: Iterable[str], agreed: Mapping[str, Sequence[str]]) -> list[str]:
    """Each must have levels."""
    return [f"'{name}' has no agreed levels to count by; give levels = [...] in study.toml" for name in names if not agreed.get(name)]


def zero_and_one(what: str, name: str, kinds: Mapping[str, str], agreed: Mapping[str, Sequence[str]]) -> list[str]:
    """An outcome or event: numbers, which are looked at later, true and false, or texts of two levels (`Frame.numbers`)."""
    if kinds[name] in ("number", "boolean") or (kinds[name] == "text" and len(agreed.get(name, ())) == 2):
        return []
    return [
        f"the {what} '{name}' holds {kinds[name]} values; it must be a column of numbers or of two levels: "
        'give levels = ["no", "yes"] in study.toml, of which the second counts as one'
    ]


def level(question: Mapping[str, Any], name: str, value: str) -> str:
    """What tables call the "0" or "1" of an outcome or event."""
    return (coded(question, name) or ["0", "1"])[int(value)]


def counted_as_one(question: Mapping[str, Any], name: str) -> dict[str, str]:
    """What a result says of an outcome or event that is no zero and one by itself."""
    return {"counted_as_one": level(question, name, "1")} if coded(question, name) else {}


def coded(question: Mapping[str, Any], name: str) -> list[str]:
    """The two levels that are the zero and the one of an outcome or event: N and Y, 1 and 2. None where it is zero and one, or true and
    false, by itself, and of a model of numbers."""
    kind, levels = question.get("column_kinds", {}).get(name), [str(one) for one in question.get("levels", {}).get(name, [])]
    plain = kind not in ("text", "number") or (kind == "number" and set(levels) == {"0", "1"})
    return [] if plain or len(levels) != 2 or question.get("family", "binomial") != "binomial" else levels


def outcome_of(question: Mapping[str, Any]) -> str | None:
    """The column that is zero or one, if a question has any."""
    found = question.get("event", question.get("outcome", question.get("design", {}).get("outcome")))
    return None if found is None else str(found)


def apart(one: str, other: str) -> list[str]:
    """Two keys must name different columns."""
    return [f"'{one}' is named twice; the two columns must differ"] if one == other else []


def cells(count: int) -> list[str]:
    """So many groups at once, at most."""
    return [f"it would have more than {MOST_CELLS} cells; group the levels"] if count > MOST_CELLS else []
