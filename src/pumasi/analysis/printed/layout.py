"""Columns of text that line up in any script, and numbers as papers write them. A number that is left out is a dash."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

LEFT_OUT = "—"
NOTE = f"{LEFT_OUT} left out: too few people, or it would tell a number that is."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines with the first `left` columns flush left and the others flush right, a rule under the head."""
    every = [list(head), *(list(row) for row in rows)]
    widths = [max(width(row[place]) for row in every) for place in range(len(head))]
    lines = ["  ".join(_pad(cell, widths[place], left=place < left) for place, cell in enumerate(row)).rstrip() for row in every]
    return [lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def width(text: str) -> int:
    """How many columns of a terminal it takes: Korean and other wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1 for character in text)


def _pad(text: str, wide: int, *, left: bool) -> str:
    space = " " * (wide - width(text))
    return text + space if left else space + text


def whole(value: int | None) -> str:
    return LEFT_OUT if value is None else f"{value:,}"


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits; whole thousands are not written as powers of ten."""
    if value is None:
        return LEFT_OUT
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        text = f"{value:.{digits}g}"
        return f"{float(text):,.15g}" if "e" in text else text
    return f"{value:.{digits - 1}e}"


def measured(value: float | None, digits: int = 4) -> str:
    """The same with zeros at the end, so that the means of a table are told to the same digits."""
    text = "" if value is None else f"{value:#.{digits}g}".rstrip(".")
    return text if text and value and "e" not in text and abs(value) >= 1e-4 else number(value, digits)


def fixed(value: float | None, digits: int = 3) -> str:
    return LEFT_OUT if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    return LEFT_OUT if value is None else f"{value:.1f}"


def p(value: float | None) -> str:
    return LEFT_OUT if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def between(low: float | None, high: float | None, digits: int = 4) -> str:
    return LEFT_OUT if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval of what is told to so many decimals: a correlation, a probability."""
    return LEFT_OUT if low is None or high is None else f"{fixed(low, digits)} to {fixed(high, digits)}"


def people(result: dict[str, Any]) -> str:
    """The first line of every text."""
    told = f"{whole(result.get('n'))} people"
    told += f" at {len(result['hospitals'])} hospitals" if "hospitals" in result else ""
    return told + (f", where {result['where']}" if "where" in result else "")


def notes(result: dict[str, Any], lines: Sequence[str]) -> list[str]:
    """The last lines of every text: what a dash means, if there is one, and what the method found."""
    told = [NOTE] if any(LEFT_OUT in line for line in lines) else []
    if "counted_as_one" in result:
        told.append(f"{result.get('outcome', result.get('event'))}: '{result['counted_as_one']}' counts as one, the other level as zero")
    return [*told, *(f"Note: {finding}" for finding in result.get("findings", []))]
