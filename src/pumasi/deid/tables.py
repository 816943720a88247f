"""Treatments of table columns: pseudonyms for people, years for dates. Pure: values in, values out, in the same order."""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Sequence
from datetime import date

PSEUDONYM_BYTES = 16  # 128 bits: no two of 10^12 people share one but with probability 2^-49


def pseudonyms(ids: Sequence[str | None], key: bytes) -> list[str | None]:
    """The pseudonym of each id: HMAC-SHA-256 under `key`, cut to 128 bits, as 32 hexadecimal digits; None stays None.

    Ids are compared in Unicode normal form C, so that a name typed on another system stays the same person. Without the key
    nobody can test a guessed id; whoever holds the key can, so it is random per permit and destroyed with it.
    """
    if len(key) < 32:
        raise ValueError("a pseudonym key has at least 32 bytes")
    return [None if one is None else _pseudonym(one, key) for one in ids]


def _pseudonym(one: str, key: bytes) -> str:
    return hmac.digest(key, unicodedata.normalize("NFC", one).encode(), "sha256")[:PSEUDONYM_BYTES].hex()


def year_of(dates: Sequence[str | None]) -> list[int | None]:
    """The year of each ISO date (1960-05-01); None stays None. `ValueError` without the value for anything else."""
    return [None if one is None else _year(one) for one in dates]


def _year(one: str) -> int:
    try:
        return date.fromisoformat(one).year
    except ValueError:
        raise ValueError("a value is not an ISO date (YYYY-MM-DD)") from None  # the original error quotes the value
