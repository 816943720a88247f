"""What the name of a column lets expect, read from hints.toml. A hint never keeps a column: the values decide."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Hint:
    """The role that a name suggests (person, birth, note …), the kind of identifier if it is one, and words for the reader."""

    role: str
    kind: str | None = None
    korean: str = ""
    english: str = ""


@cache
def _hints() -> list[tuple[Hint, re.Pattern[str]]]:
    written = tomllib.loads((resources.files("pumasi.deid") / "hints.toml").read_text(encoding="utf-8"))
    return [
        (
            Hint(one["role"], one.get("kind"), one.get("ko", ""), one.get("en", "")),
            re.compile("|".join(f"(?:{name})" for name in one["names"])),
        )
        for one in written["hint"]
    ]


def words(column: str) -> str:
    """A column name in small letters, its words joined by "_": birthDate, Birth-Date and birth.date are birth_date."""
    name = unicodedata.normalize("NFC", column)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^0-9a-z가-힣]+", "_", name.casefold()).strip("_")


def hint(column: str) -> Hint | None:
    """The first hint that the name of a column gives, or None."""
    name = words(column)
    return next((found for found, pattern in _hints() if pattern.search(name)), None)
