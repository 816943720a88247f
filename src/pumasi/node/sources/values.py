"""What a cell means: what counts as missing, as a number, a date, a boolean. One rule for CSV and Parquet, in SQL and in Python.

A column of eight-digit calendar days (19600501) holds dates: Korean systems write them so, and as numbers they mean nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

# What pandas.read_csv takes for missing, so that a study that was tried out there means the same here.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
BLANKS = " \t\n\v\f\r\u00a0\u3000"  # stripped from both ends of a cell; the last is the ideographic space of Korean input methods

_MIDNIGHT = r"([ T]00:00(:00(\.0{1,9})?)?)?"  # as databases export a day
_DAY = rf"([1-9]\d{{3}}-\d\d-\d\d|[1-9]\d{{3}}/\d\d/\d\d|[1-9]\d{{3}}\.\d\d\.\d\d){_MIDNIGHT}|(18[5-9]\d|19\d\d|20\d\d)\d{{4}}"

_INFINITE = "'inf', '+inf', '-inf', 'infinity', '+infinity', '-infinity'"


def value_of(cell: str, missing: Collection[str] = MISSING) -> str | None:
    """The value of a cell as `trimmed` and `present` compute it in SQL: NFC, stripped, None when missing."""
    text = unicodedata.normalize("NFC", cell).strip(BLANKS)
    return None if text in missing else text


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(column: str) -> str:
    """A column in NFC without blanks at its ends. Most cells are plain ASCII without any: asking first more than halves a whole scan."""
    full = f"trim(nfc_normalize({column}), {literal(BLANKS)})"
    return (
        f"CASE WHEN strlen({column}) <> length({column}) OR ord({column}) <= 32 OR right({column}, 1) <= ' ' THEN {full} ELSE {column} END"
    )


def present(column: str, missing: Collection[str] = MISSING) -> str:
    """A trimmed column with NULL for what is missing."""
    return f"CASE WHEN {column} IN ({', '.join(literal(token) for token in sorted(missing))}) THEN NULL ELSE {column} END"


def number(column: str) -> str:
    """A DOUBLE, perhaps infinite, or NULL where the text is no number. DuckDB itself would take 1_000 for one, and is slow to say no."""
    looks = f"{column} < ':' AND right({column}, 1) < ':' AND NOT contains({column}, '_')"  # ':' follows '9'
    return (
        f"CASE WHEN {looks} THEN try_cast({column} AS DOUBLE) WHEN lower({column}) IN ({_INFINITE}) THEN try_cast({column} AS DOUBLE) END"
    )


def infinite(column: str) -> str:
    return f"coalesce(isinf({number(column)}), false)"


def day(column: str) -> str:
    """An ISO date (1960-05-01), or NULL where the text is no calendar day in one of the four ways it may be written."""
    parsed = f"try_strptime(left({column}, 10), ['%Y-%m-%d', '%Y/%m/%d', '%Y.%m.%d', '%Y%m%d'])"
    shaped = f"length({column}) BETWEEN 8 AND 29 AND regexp_full_match({column}, '{_DAY}')"
    return f"CASE WHEN {shaped} THEN strftime({parsed}, '%Y-%m-%d') END"


def boolean(column: str) -> str:
    """'True' or 'False', or NULL where the text is neither in any case."""
    return f"CASE lower({column}) WHEN 'true' THEN 'True' WHEN 'false' THEN 'False' END"
