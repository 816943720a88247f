"""Dates as hospitals write them, as DuckDB SQL: a DATE or TIMESTAMP where the writing has one meaning, NULL where it has none or two.

Understood: 2024-03-05, 2024/3/5, 2024.03.05, 2024. 3. 5., 20240305, 2024년 3월 5일, each with a time of day behind it; 5 Mar 2024;
25/12/2024 and 12/25/2024, because there is no 25th month. 03/05/2024 has two meanings, 24-03-05 and 240305 have several: NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pumasi.deid import engine

ZONE = "Asia/Seoul"  # the day of an instant is the day on the ward's wall
_TIME = (
    r"(?:\s*[T ]?\s*(?:오전|오후|AM|PM)?\s*\d{1,2}(?::\d{2}|시(?:\s*\d{1,2}분)?)(?::\d{2})?(?:[.,]\d+)?"
    r"(?:\s*\d{1,2}초)?\s*(?:AM|PM)?\s*(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_SPOKEN = r"(\d{4})\s*[-./년]\s*(\d{1,2})\s*[-./월]\s*(\d{1,2})\s*[.일]?"
_RUN = r"((?:1[89]|2[01])\d{2})(\d{2})(\d{2})(?:\d{4}|\d{6})?"
_SLASHES = r"(\d{1,2})\s*[-./]\s*(\d{1,2})\s*[-./]\s*(\d{4})"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED = r"(?i)(\d{1,2})[-\s]*([a-z]{3})[a-z]*\.?,?[-\s]*(\d{4})"
_PARTIAL = r"((?:1[89]|2[01])\d{2})(?:\s*[-./년]\s*(\d{1,2})\s*[월.]?|(\d{2})|\s*년?)"
_TWO_WAYS = r"(?:19|20)(?:0[1-9]|1[0-2])(?:0[1-9]|1[0-2])"  # 200803 is March 2008, or the third of August 2020


def day(text: str, form: str | None = None) -> str:
    """The DATE of a text that is clean (no blanks around it); `form` says how dates are written where they could be read in two ways."""
    if form is not None:
        return f"CAST(try_strptime({text}, {engine.literal(form)}) AS DATE)"
    plain = f"{text} LIKE '____-__-__'"
    run = f"length({text}) = 8 AND {text} BETWEEN '1000' AND '3' AND regexp_full_match({text}, '[0-9]{{8}}')"
    return (
        f"CASE WHEN {text} IS NULL THEN NULL WHEN {plain} THEN try_cast({text} AS DATE) "
        f"WHEN {run} THEN CAST(try_strptime({text}, '%Y%m%d') AS DATE) ELSE {_written(text)} END"
    )


def moment(text: str, form: str | None = None) -> str:
    """The TIMESTAMP of a text, midnight where it has no time of day. Afternoons said in words (오후 3시, 3 PM) are not understood: NULL."""
    if form is not None:
        return f"try_strptime({text}, {engine.literal(form)})"
    timed = f"regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}([.][0-9]+)?)?')"
    packed = f"regexp_full_match({text}, '[0-9]{{14}}')"
    twelve = f"regexp_matches({text}, '(?i)오전|오후|am|pm|시')"
    return (
        f"CASE WHEN {timed} THEN try_cast({text} AS TIMESTAMP) WHEN {packed} THEN try_strptime({text}, '%Y%m%d%H%M%S') "
        f"WHEN {twelve} THEN NULL WHEN contains({text}, ':') THEN {_timed(text)} ELSE CAST({day(text)} AS TIMESTAMP) END"
    )


def part(text: str, name: str, form: str | None = None) -> str:
    """The first DAY of a text that may name a month or a year only (2024, 202403, 2024-03, 2024년 3월): enough to cut it to `name`."""
    if form is not None:
        return day(text, form)
    clear = f"NOT regexp_full_match({text}, '{_TWO_WAYS}')"
    groups = f"regexp_extract({text}, '^{_PARTIAL}$', ['y', 'm', 'n'])"
    month = "coalesce(nullif(p['m'], ''), nullif(p['n'], ''))"
    least = "'1'" if name == "year" else "NULL"
    partial = f"list_transform([{groups}], lambda p: try_cast(p['y'] || '-' || coalesce({month}, {least}) || '-1' AS DATE))[1]"
    short = f"length({text}) < 10 AND regexp_full_match({text}, '{_PARTIAL}')"
    return f"CASE WHEN {short} THEN CASE WHEN {clear} THEN {partial} END ELSE {day(text)} END"


def _written(text: str) -> str:
    """Everything that is neither 2024-03-05 nor 20240305; only rows that need it come here."""
    spoken = _made(text, f"^{_SPOKEN}{_TIME}$", ("y", "m", "d"), "p.y", "p.m", "p.d")
    run = _made(text, f"^{_RUN}$", ("y", "m", "d"), "p.y", "p.m", "p.d")
    swap = "(CAST(p.a AS INTEGER) > 12 OR p.a = p.b)"  # then the first number is the day
    month = f"CASE WHEN {swap} THEN p.b WHEN CAST(p.b AS INTEGER) > 12 THEN p.a END"
    slashes = _made(text, f"^{_SLASHES}{_TIME}$", ("a", "b", "y"), "p.y", month, f"CASE WHEN {swap} THEN p.a ELSE p.b END")
    listed = ", ".join(f"'{one}'" for one in _MONTHS)
    named = _made(text, f"^{_NAMED}{_TIME}$", ("d", "n", "y"), "p.y", f"CAST(list_position([{listed}], lower(p.n)) AS VARCHAR)", "p.d")
    return f"coalesce({spoken}, {run}, {slashes}, {named})"


def _made(text: str, pattern: str, groups: tuple[str, ...], year: str, month: str, of_month: str) -> str:
    """A DATE out of the groups of a pattern; NULL when it does not match or there is no such day."""
    listed = ", ".join(f"'{group}'" for group in groups)
    built = f"try_cast(({year}) || '-' || ({month}) || '-' || ({of_month}) AS DATE)"
    found = f"list_transform([regexp_extract({text}, {engine.literal(pattern)}, [{listed}])], lambda p: {built})[1]"
    return f"CASE WHEN regexp_matches({text}, {engine.literal(pattern)}) THEN {found} END"


def _timed(text: str) -> str:
    clock = f"regexp_extract({text}, '([0-9]{{1,2}}):([0-9]{{2}})(?::([0-9]{{2}}))?', ['h', 'm', 's'])"
    seconds = "CAST(p['h'] AS INTEGER) * 3600 + CAST(p['m'] AS INTEGER) * 60 + coalesce(try_cast(p['s'] AS INTEGER), 0)"
    return f"CAST({day(text)} AS TIMESTAMP) + to_seconds(list_transform([{clock}], lambda p: {seconds})[1])"


def year_of(dates: Sequence[str | None]) -> list[int | None]:
    """The year of each ISO date (1960-05-01); None stays None. `ValueError` without the value for anything else."""
    return [None if one is None else _year(one) for one in dates]


def _year(one: str) -> int:
    try:
        return date.fromisoformat(one).year
    except ValueError:
        raise ValueError("a value is not an ISO date (YYYY-MM-DD)") from None  # the original error quotes the value
