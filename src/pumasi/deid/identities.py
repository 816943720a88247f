"""Judges of what points at a person: identifiers anywhere in a column, columns called like one, ids."""

from __future__ import annotations

import math
import re

from pumasi.deid.case import DROP, RARE, Case, Proposal
from pumasi.deid.evidence import Found
from pumasi.deid.patterns import Kind
from pumasi.deid.patterns.kinds import ENGLISH, KOREAN
from pumasi.deid.profile import Column

LONG = 1e5  # numbers from here on have six digits
IDS = ("person", "visit", "provider", "institution", "row")


def identifiers(case: Case) -> Proposal | None:
    likely = case.likely()
    if not likely:
        return None
    first, column = likely[0], case.column
    covers = first.whole >= 0.5 * column.filled
    if case.role in IDS and covers and (first.kind in (Kind.MRN, Kind.UID) or (column.numeric and first.confidence < 0.9)):
        return None  # an id column whose numbers happen to look like something else
    if first.kind is Kind.ADDRESS and len(likely) == 1 and case.korean and covers:
        return _address(case, first)
    if first.kind is Kind.UID and covers and len(likely) == 1:
        return case.says(
            _pseudonym(case), 0.9, f"고유 식별값입니다({_rows(case, first, 'ko')})", f"unique codes ({_rows(case, first, 'en')})"
        )
    korean = "; ".join(f"{KOREAN[one.kind]} {_rows(case, one, 'ko')}" for one in likely)
    english = "; ".join(f"{ENGLISH[one.kind]} in {_rows(case, one, 'en')} ({one.why})" for one in likely)
    if not covers:
        korean = f"직접식별자가 숨어 있습니다: {korean}"
        english = f"direct identifiers hidden in it: {english}"
    return case.says(DROP, first.confidence, korean, english)


def _rows(case: Case, one: Found, language: str) -> str:
    disguised = one.hidden and one.hidden >= 0.5 * one.rows
    if language == "ko":
        return f"{case.column.filled:,}행 중 {one.rows:,}행" + (", 인코딩되거나 변형된 형태" if disguised else "")
    return f"{one.rows:,} of {case.column.filled:,} rows" + (", encoded or disguised" if disguised else "")


def _address(case: Case, found: Found) -> Proposal:
    return case.says(
        f'[{{ do = "generalise", by = "kr-address", level = "district" }}, {RARE}]',
        found.confidence,
        f"주소입니다({_rows(case, found, 'ko')}). 시군구까지만 남깁니다",
        f"addresses ({_rows(case, found, 'en')}), cut to city, county or district",
    )


def names(case: Case) -> Proposal | None:
    """A column of words of which most are names, though each alone could be something else."""
    column = case.column
    share = column.names / max(column.cells, 1)
    if case.role in ("region", "diagnosis", "drug", *IDS) or column.distinct < 3 or column.cells < 0.5 * column.filled or share < 0.5:
        return None
    if case.among_their_like():
        return None
    return case.says(
        DROP, 0.6 + 0.35 * share, f"성명입니다({share:.0%})", f"names of people ({share:.0%} of the rows are words that are names)"
    )


def called(case: Case) -> Proposal | None:
    """The name of the column says it is a direct identifier; that the values do not have the form changes nothing."""
    hint = case.hint
    if hint is None or hint.role not in ("direct", "name", "address", "linked"):
        return None
    if hint.role == "linked":
        return case.says(
            DROP,
            0.75,
            f'{hint.korean}. 연구에 관계가 필요하면 같은 사람 가명(of = "person")으로 바꾸십시오',
            f'it {hint.english}; where a study needs the tie, use {{ do = "pseudonym", of = "person" }}',
            confirm=True,
        )
    kind = Kind(str(hint.kind))
    return case.says(
        DROP, 0.65, f"열 이름이 {KOREAN[kind]}입니다", f"the column is called like a {ENGLISH[kind]}, though its values have not that form"
    )


def ids(case: Case) -> Proposal | None:
    column = case.column
    if case.role not in IDS or (column.distinct <= 20 and column.filled > 200 and case.role != "institution"):
        return None
    if column.words >= 3 or (case.role != "institution" and not _like_a_code(column)):
        return None
    whose = {
        "person": ("환자 식별자입니다", "ids of people"),
        "visit": ("방문·청구 식별자입니다", "ids of visits or claims"),
        "provider": ("의료인 식별자입니다", "ids of staff"),
        "institution": ("기관 식별자입니다", "ids of institutions or wards"),
        "row": ("행·문서·검체 식별자입니다", "ids of rows, documents or specimens"),
    }[case.role]
    return case.says(_pseudonym(case), 0.9, f"{whose[0]}. 키가 있는 가명으로 바꿉니다", f"{whose[1]}, replaced by keyed pseudonyms")


def keys(case: Case) -> Proposal | None:
    """Codes and whole numbers that hardly ever repeat are ids, even when the name does not say so."""
    column = case.column
    if (
        case.role == "date"
        or column.filled < 20
        or column.unique < 0.9
        or not _like_a_code(column)
        or (column.numeric and column.whole < column.filled)
    ):
        return None
    if column.numeric and (stepped(column) or ((column.highest or 0) < 1000 and column.unique < 0.99)):
        return None
    return case.says(
        _pseudonym(case),
        0.6,
        "거의 모든 행에서 값이 달라 식별자로 봅니다",
        "nearly every row has its own value: treated as an id",
        confirm=True,
    )


def repeating(case: Case) -> Proposal | None:
    """Long whole numbers, and numbers that count through a range: ids of people with several rows, whatever the column is called."""
    column = case.column
    if column.whole < column.filled or column.filled < 20 or stepped(column):
        return None
    long = (column.low or 0) >= LONG and (column.distinct > 20 or not case.person)
    if not long and not _counts_through(column):
        return None
    what = ("긴 정수", "long whole numbers") if long else ("차례로 매긴 번호", "numbers that count through a range")
    return case.says(
        _pseudonym(case),
        0.6,
        f"{what[0]}가 반복되어 식별자로 봅니다. 코드나 측정값이면 고치십시오",
        f"{what[1]} that repeat, as ids do; where they are codes or measurements, write rare or round instead",
        confirm=True,
    )


def stepped(column: Column) -> bool:
    """Whether all numbers are multiples of ten or more, as amounts of money and counts of cells are, and ids are not."""
    if not column.levels or len(column.levels) <= 20 or column.whole < column.filled or (column.highest or 0) > 1e15:
        return False
    return math.gcd(*(int(float(value)) for value in column.levels)) >= 10


def _counts_through(column: Column) -> bool:
    """Whether nearly every number of a range occurs, at its ends as often as elsewhere: measurements thin out there."""
    if not column.levels or column.distinct < 100 or column.lowest is None or column.highest is None:
        return False
    width = column.highest - column.lowest + 1
    if width > 1.25 * column.distinct:
        return False
    tenth = width / 10
    rows = [(float(value), count) for value, count in column.levels.items()]
    ends = (
        sum(count for value, count in rows if value < column.lowest + tenth),
        sum(count for value, count in rows if value > column.highest - tenth),
    )
    return all(0.04 * column.filled <= end <= 0.25 * column.filled for end in ends)


def _pseudonym(case: Case) -> str:
    of = case.role if case.role in IDS and case.role != "row" else re.sub(r"[^\w]+", "_", case.column.name).strip("_")[:60] or "code"
    return f'{{ do = "pseudonym", of = "{of}" }}'


def _like_a_code(column: Column) -> bool:
    return column.numeric or (column.words < 1.2 and column.longest <= 128)
