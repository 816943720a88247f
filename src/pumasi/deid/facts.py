"""Judges of what tells about a person: dates, ages, places, diagnoses, numbers, categories, free text, and columns that tell nothing."""

from __future__ import annotations

import math
import re

from pumasi.deid import identities
from pumasi.deid.case import DROP, KEEP, RARE, Case, Proposal
from pumasi.deid.patterns import LIKELY, Kind

# Board decision before release (Korean guideline on health data): mental illness, HIV and sexually transmitted disease, abortion, abuse and
# assault, self-harm, and codes that tell of them. ICD-10 / KCD categories; the list is ours, the guideline names the groups.
STIGMA = (
    *("A50", "A51", "A52", "A53", "A54", "A55", "A56", "A57", "A58", "A59", "A60", "A63", "A64", "B20", "B21", "B22", "B23", "B24", "F"),
    *(
        "O04",
        "O05",
        "O06",
        "R75",
        "T74",
        "X6",
        "X7",
        "X80",
        "X81",
        "X82",
        "X83",
        "X84",
        "X85",
        "X9",
        "Y0",
        "Z21",
        "Z61",
        "Z62",
        "Z63",
        "Z65",
    ),
    *("Z70", "Z72", "Z86.5", "Z91.5"),
)
COUNTED = (9_000, 50_000)  # days from the end of 1899, where spreadsheets begin: 1924 to 2036; from 1960 and 1970: 1984 to 2106
ICD = re.compile(r"[A-TV-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
ATC = re.compile(r"[A-DGHJL-NPR-SV]\d{2}[A-Z]{2}\d{2}")


def dates(case: Case) -> Proposal | None:
    column, form = case.column, case.column.form
    if not (column.dated or form) or (column.numeric and column.distinct < 3 and case.role not in ("birth", "death")):
        return None
    given = f', format = "{form}"' if form and not column.dated else ""
    if case.role == "birth":
        return case.says(
            f'{{ do = "date", to = "year"{given} }}', 0.97, "생년월일입니다. 연도만 남깁니다", "dates of birth, cut to the year"
        )
    what = ("사망일입니다", "dates of death") if case.role == "death" else ("날짜입니다", "dates")
    if case.person:
        return case.says(
            f'{{ do = "shift"{given} }}' if given else '"shift"',
            0.95,
            f"{what[0]}. 사람마다 다른 비밀 일수만큼 옮깁니다(간격 유지)",
            f"{what[1]}, moved by a secret number of days for each person, so that intervals stay",
        )
    return case.says(
        f'{{ do = "date", to = "year"{given} }}',
        0.9,
        f"{what[0]}. 사람을 알 수 있는 열이 없어 연도만 남깁니다",
        f"{what[1]}, cut to the year, because no column says whose they are",
    )


def some_dates(case: Case) -> Proposal | None:
    column = case.column
    dates = column.found.get(Kind.DATE.value)
    known = max(column.days, dates.whole if dates else 0)
    if case.role in ("birth", "death") or known >= 0.5 * column.filled:
        if column.numeric and column.length == 6 and column.low and column.low >= 180001:
            return case.says(
                '{ do = "bucket", width = 100 }',
                0.7,
                "연월(YYYYMM)입니다. 연도만 남깁니다",
                "year and month as one number, cut to the year",
            )
        return case.says(
            DROP,
            0.8,
            "날짜이지만 한 가지 방식으로 읽을 수 없습니다. 형식을 통일한 뒤 다시 제안받으십시오",
            "dates that cannot all be read in one way; write them alike and ask again",
            confirm=True,
        )
    return None


def stray_dates(case: Case) -> Proposal | None:
    """Dates among other values: one that many rows share would be shown as it is, beside the moved ones."""
    column, dates = case.column, case.column.found.get(Kind.DATE.value)
    if dates is None or dates.confidence < (LIKELY if dates.whole else 0.85) or (column.numeric and (column.high or 0) >= 1e7):
        return None
    return case.says(
        DROP,
        0.6,
        f"다른 값 사이에 날짜가 있습니다({column.filled:,}행 중 {dates.rows:,}행). 날짜를 다른 열로 옮긴 뒤 다시 제안받으십시오",
        f"dates stand among other values (in {dates.rows:,} of {column.filled:,} rows); move them to a column of their own and ask again",
        confirm=True,
    )


def years(case: Case) -> Proposal | None:
    column = case.column
    if not column.numeric or column.whole < column.filled or column.lowest is None or column.highest is None:
        return None
    if not (column.lowest >= 1850 and column.highest <= 2100):
        return None
    if case.role in ("birth year", "birth"):
        return case.says(
            '{ do = "bucket", width = 5, from = 1900 }',
            0.9,
            "출생연도입니다. 5년 단위로 묶습니다",
            "years of birth, in bands of five years",
        )
    if case.role in ("year", "death") or column.distinct > 2:
        return case.says(KEEP, 0.8, "연도입니다", "years", confirm=True)
    return None


def ages(case: Case) -> Proposal | None:
    column = case.column
    if case.role != "age" or not column.numeric or column.lowest is None or column.highest is None:
        return None
    if column.lowest < 0 or column.highest > 130:
        return None
    return case.says(
        '{ do = "age", width = 5, top = 90 }',
        0.95,
        "나이입니다. 5세 단위로 묶고 90세 이상은 하나로 합칩니다",
        "ages, in bands of five years, 90 and above as one",
    )


def sexes(case: Case) -> Proposal | None:
    if case.role == "sex" and case.column.distinct <= 8 and not case.found:
        return case.says(RARE if case.column.rare else KEEP, 0.95, "성별입니다", "sex")
    return None


def postcodes(case: Case) -> Proposal | None:
    if case.role != "postcode":
        return None
    korean = case.korean and case.matching(re.compile(r"[0-6]\d{4}")) >= 0.9
    by, level = ("kr-postcode", "district") if korean else ("zip", "zip3")
    return case.says(
        f'{{ do = "generalise", by = "{by}", level = "{level}" }}',
        0.9,
        "우편번호입니다. 앞 세 자리만 남깁니다",
        "postcodes, cut to three digits",
    )


def regions(case: Case) -> Proposal | None:
    if case.role != "region":
        return None
    if case.matching(re.compile(r"[1-5]\d{4}(?:\d{3}|\d{5})?")) >= 0.95:
        steps = f'[{{ do = "generalise", by = "kr-code", level = "district" }}, {RARE}]'
        return case.says(steps, 0.85, "행정구역 코드입니다. 시군구까지만 남깁니다", "codes of regions, cut to the district")
    if case.column.levels is not None:
        return case.says(RARE, 0.75, "지역입니다. 드문 값을 숨깁니다", "regions; those with few people are hidden", confirm=True)
    return None


def diagnoses(case: Case) -> Proposal | None:
    column = case.column
    coded = case.matching(ICD)
    letters = {value[0] for value in column.levels or {} if ICD.fullmatch(value)}
    if coded < 0.9 or (case.role != "diagnosis" and (len(letters) < 3 or coded < 0.98 or column.distinct < 5)):
        return None
    by = "kcd" if case.korean else "icd10"
    delicate = any(value.replace(".", "").startswith(code.replace(".", "")) for value in column.levels or {} for code in STIGMA)
    steps = [f'{{ do = "generalise", by = "{by}", level = "category" }}', RARE]
    korean, english = (
        "진단 코드(민감정보)입니다. 3자리로 줄이고 드문 진단을 숨깁니다",
        "codes of diagnoses (sensitive), cut to three characters, rare ones hidden",
    )
    if delicate:
        codes = ", ".join(f'"{code}"' for code in STIGMA)
        steps.insert(0, f'{{ do = "withhold", codes = [{codes}] }}')
        korean += ". 낙인 우려 질환(정신질환, HIV·성매개감염, 임신중절, 학대 등)이 있어 심의위원회가 달리 정할 때까지 숨깁니다"
        english += (
            "; stigmatising ones occur (mental illness, HIV and STI, abortion, abuse) and are withheld until the board decides otherwise"
        )
    return case.says(f"[{', '.join(steps)}]", 0.9, korean, english, confirm=delicate)


def codes(case: Case) -> Proposal | None:
    if case.matching(ATC) >= 0.95 and case.column.distinct >= 3:
        return case.says(RARE, 0.85, "ATC 약물 코드입니다. 드문 값을 숨깁니다", "ATC codes of drugs; rare ones are hidden")
    return None


def empty(case: Case) -> Proposal | None:
    if case.column.filled == 0:
        return case.says(DROP, 1.0, "값이 없습니다", "it is empty")
    return None


def constant(case: Case) -> Proposal | None:
    if case.column.levels is not None and len(case.column.levels) == 1 and case.column.filled == case.column.rows and case.column.rows > 1:
        return case.says(DROP, 0.9, "모든 행이 같은 값이라 정보가 없습니다", "the same in every row, so it tells nothing")
    return None


def switches(case: Case) -> Proposal | None:
    if case.column.type == "BOOLEAN":
        return case.says(KEEP, 0.9, "예/아니오 값입니다", "yes or no")
    return None


def notes(case: Case) -> Proposal | None:
    column = case.column
    long_text = not column.numeric and (column.words >= 4 or column.length > 60) and (column.levels is None or column.unique > 0.05)
    if (case.role == "note" and not column.numeric) or long_text:
        doubt = case.doubt()
        return case.says(
            DROP,
            0.85 if long_text else 0.7,
            f"자유기재 텍스트입니다. 비식별할 방법이 없어 삭제합니다{doubt[0]}",
            f"free text, left out: names and numbers may stand anywhere in it{doubt[1]}",
        )
    return None


def numbers(case: Case) -> Proposal | None:
    column = case.column
    if not column.numeric or column.low is None or column.high is None:
        return None
    if case.role == "body" and column.high > column.low:
        low, high = _outward(column.low, column.high)
        return case.says(
            f'{{ do = "limit", low = {low}, high = {high} }}',
            0.85,
            "신체 계측값입니다. 특이값을 한계값으로 바꿉니다",
            "body measures; extremes become the limit",
        )
    coded = case.role in ("code", "occupation", "nationality", "social", "diagnosis", "drug", "age group", "region")
    if not coded and (found := _days_as_numbers(case) or identities.repeating(case)) is not None:
        return found
    if coded or (column.distinct <= 50 and column.rare):
        return case.says(RARE, 0.75, "코드 값입니다. 드문 값을 숨깁니다", "codes; those of few people are hidden", confirm=True)
    fine = (column.unique > 0.5 and column.filled >= 20) or (column.low >= identities.LONG and identities.stepped(column))
    if fine and column.high > column.low:
        to = 10.0 ** (math.floor(math.log10(column.high - column.low)) - 2)
        return case.says(
            f'{{ do = "round", to = {to:.12g} }}',
            0.65,
            "측정값입니다. 너무 정밀한 값은 사람을 가리키므로 세 자리로 반올림합니다",
            "measurements; digits that single people out are rounded away, three stay",
            confirm=True,
        )
    return case.says(
        KEEP,
        0.7,
        "반복되는 수치(측정값·척도)이며 식별자 형태가 없습니다",
        "numbers that repeat, as measurements or scales; no identifier was found",
        confirm=True,
    )


def _days_as_numbers(case: Case) -> Proposal | None:
    """20240103.0, or days that a spreadsheet or a statistics program counts from 1899, 1960 or 1970: no rule moves them."""
    column = case.column
    low, high = column.low or 0, column.high or 0
    written = low >= 18500101 and high <= 21501231
    counted = low >= COUNTED[0] and high <= COUNTED[1] and column.distinct >= 50
    if case.role not in ("date", "birth", "death") and not written and not counted:
        return None
    return case.says(
        DROP,
        0.7 if case.role or written else 0.5,
        "숫자로 적힌 날짜로 보입니다. 2024-03-05처럼 적은 뒤 다시 제안받으십시오",
        "these seem to be dates written as numbers; write them as 2024-03-05 and ask again",
        confirm=True,
    )


def _outward(low: float, high: float) -> tuple[str, str]:
    """Limits at the 1st and 99th percentile, rounded to a twentieth of the range, so that they are nobody's value."""
    step = 10.0 ** math.floor(math.log10((high - low) / 5))
    return f"{math.floor(low / step) * step:.12g}", f"{math.ceil(high / step) * step:.12g}"


def categories(case: Case) -> Proposal | None:
    column = case.column
    if column.levels is None or column.unique > 0.2 or column.longest > 200:
        return None
    korean, english = {
        "nationality": ("국적·인종·종교입니다", "nationality, ethnicity or religion"),
        "occupation": ("직업입니다", "occupations"),
        "social": ("사회경제 정보입니다", "social or economic facts"),
        "diagnosis": ("진단명(민감정보)입니다", "diagnoses (sensitive)"),
    }.get(case.role, ("값이 반복되는 범주입니다", "categories that repeat"))
    doubt = case.doubt()
    return case.says(
        RARE,
        0.7 if not doubt[0] else 0.5,
        f"{korean}. 열 사람 미만이 가진 값은 숨깁니다{doubt[0]}",
        f"{english}; what fewer than ten people have is hidden{doubt[1]}",
        confirm=True,
    )
