"""What to propose for one column: the judges below are asked in order, and the first that has an answer decides.

Identifiers come first, whatever the column is called; then what values and name together say; what nobody knows is dropped. Only numbers,
yes-or-no columns and sexes are ever kept as they are, with the request to confirm; texts are kept where ten people share them (`rare`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from pumasi.deid.evidence import Found, direct
from pumasi.deid.hints import Hint
from pumasi.deid.patterns import LIKELY, POSSIBLE, Kind
from pumasi.deid.patterns.kinds import ENGLISH, KOREAN
from pumasi.deid.profile import Column

DROP, KEEP = '"drop"', '"keep"'
RARE = '{ do = "rare", fewer_than = 10 }'
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
ICD = re.compile(r"[A-TV-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
ATC = re.compile(r"[A-DGHJL-NPR-SV]\d{2}[A-Z]{2}\d{2}")
IDS = ("person", "visit", "provider", "institution", "row")


@dataclass(frozen=True)
class Proposal:
    """What to do with a column (as TOML), how sure that is, and why, in Korean and English."""

    column: str
    treatment: str
    confidence: float
    korean: str
    english: str
    confirm: bool = False
    found: tuple[Found, ...] = ()

    @property
    def kept(self) -> bool:
        return self.treatment == KEEP


@dataclass(frozen=True)
class Case:
    """A column with its hint and what its table says: whether rows can be tied to a person, and whether it is Korean."""

    column: Column
    hint: Hint | None
    person: bool
    korean: bool

    @property
    def role(self) -> str:
        return self.hint.role if self.hint else ""

    @property
    def found(self) -> list[Found]:
        return direct({Kind(kind): one for kind, one in self.column.found.items()})

    def likely(self) -> list[Found]:
        """The direct identifiers that are more probable than not, in the light of the whole column."""
        return [one for one in map(self._in_column, self.found) if one.confidence >= LIKELY]

    def _in_column(self, one: Found) -> Found:
        """A long number is an identifier where it stands out, and nothing where all numbers are long."""
        column = self.column
        if one.kind is not Kind.MRN or one.confidence > 0.35:
            return one
        usual = one.rows >= 0.5 * column.filled or (column.numeric and (column.high or 0) >= 1e5)
        return Found(one.kind, one.rows, one.whole, one.likely, one.hidden, 0.2 if usual else 0.6, "a long number among other values")

    def says(self, treatment: str, confidence: float, korean: str, english: str, *, confirm: bool = False) -> Proposal:
        return Proposal(self.column.name, treatment, round(confidence, 2), korean, english, confirm, tuple(self.found))

    def matching(self, pattern: re.Pattern[str]) -> float:
        """The share of rows whose value has this form, where levels were counted."""
        levels = self.column.levels or {}
        return sum(count for value, count in levels.items() if pattern.fullmatch(value)) / max(self.column.filled, 1) if levels else 0.0


def propose(case: Case) -> Proposal:
    """The proposal for a column."""
    for judge in JUDGES:
        if (found := judge(case)) is not None:
            return found
    return case.says(
        DROP, 0.5, "무엇인지 알 수 없는 열이라 삭제합니다", "nothing tells what this column holds, so it is left out", confirm=True
    )


# --- nothing in it ---


def _empty(case: Case) -> Proposal | None:
    if case.column.filled == 0:
        return case.says(DROP, 1.0, "값이 없습니다", "it is empty")
    return None


# --- identifiers, whatever the column is called ---


def _identifiers(case: Case) -> Proposal | None:
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


def _names(case: Case) -> Proposal | None:
    """A column of words of which most are names, though each alone could be something else."""
    column = case.column
    share = column.names / max(column.cells, 1)
    if case.role in ("region", "diagnosis", "drug", *IDS) or column.distinct < 3 or column.cells < 0.5 * column.filled or share < 0.5:
        return None
    return case.says(
        DROP, 0.6 + 0.35 * share, f"성명입니다({share:.0%})", f"names of people ({share:.0%} of the rows are words that are names)"
    )


def _called(case: Case) -> Proposal | None:
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


# --- dates and ages ---


def _dates(case: Case) -> Proposal | None:
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


def _some_dates(case: Case) -> Proposal | None:
    column = case.column
    dates = column.found.get(Kind.DATE.value)
    known = max(column.days, dates.whole if dates else 0)
    if case.role in ("birth", "death") or known >= 0.5 * column.filled:
        if column.numeric and column.length == 6 and column.low and column.low >= 180001 and column.distinct > 2:
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


def _years(case: Case) -> Proposal | None:
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


def _ages(case: Case) -> Proposal | None:
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


# --- ids ---


def _ids(case: Case) -> Proposal | None:
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


def _keys(case: Case) -> Proposal | None:
    """Codes and whole numbers that hardly ever repeat are ids, even when the name does not say so."""
    column = case.column
    if column.filled < 20 or column.unique < 0.9 or not _like_a_code(column) or (column.numeric and column.whole < column.filled):
        return None
    if column.numeric and (column.highest or 0) < 1000 and column.unique < 0.99:
        return None
    return case.says(
        _pseudonym(case),
        0.6,
        "거의 모든 행에서 값이 달라 식별자로 봅니다",
        "nearly every row has its own value: treated as an id",
        confirm=True,
    )


def _pseudonym(case: Case) -> str:
    of = case.role if case.role in IDS and case.role != "row" else re.sub(r"[^\w]+", "_", case.column.name).strip("_")[:60] or "code"
    return f'{{ do = "pseudonym", of = "{of}" }}'


def _like_a_code(column: Column) -> bool:
    return column.numeric or (column.words < 1.2 and column.longest <= 128)


# --- what is told by levels ---


def _sexes(case: Case) -> Proposal | None:
    if case.role == "sex" and case.column.distinct <= 8 and not case.found:
        return case.says(RARE if case.column.rare else KEEP, 0.95, "성별입니다", "sex")
    return None


def _postcodes(case: Case) -> Proposal | None:
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


def _regions(case: Case) -> Proposal | None:
    if case.role != "region":
        return None
    if case.matching(re.compile(r"[1-5]\d{4}(?:\d{3}|\d{5})?")) >= 0.95:
        steps = f'[{{ do = "generalise", by = "kr-code", level = "district" }}, {RARE}]'
        return case.says(steps, 0.85, "행정구역 코드입니다. 시군구까지만 남깁니다", "codes of regions, cut to the district")
    if case.column.levels is not None:
        return case.says(RARE, 0.75, "지역입니다. 드문 값을 숨깁니다", "regions; those with few people are hidden", confirm=True)
    return None


def _diagnoses(case: Case) -> Proposal | None:
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


def _codes(case: Case) -> Proposal | None:
    if case.matching(ATC) >= 0.95 and case.column.distinct >= 3:
        return case.says(RARE, 0.85, "ATC 약물 코드입니다. 드문 값을 숨깁니다", "ATC codes of drugs; rare ones are hidden")
    return None


def _constant(case: Case) -> Proposal | None:
    if case.column.levels is not None and len(case.column.levels) == 1 and case.column.filled == case.column.rows and case.column.rows > 1:
        return case.says(DROP, 0.9, "모든 행이 같은 값이라 정보가 없습니다", "the same in every row, so it tells nothing")
    return None


# --- numbers and texts ---


def _switches(case: Case) -> Proposal | None:
    if case.column.type == "BOOLEAN":
        return case.says(KEEP, 0.9, "예/아니오 값입니다", "yes or no")
    return None


def _notes(case: Case) -> Proposal | None:
    column = case.column
    long_text = not column.numeric and (column.words >= 4 or column.length > 60) and (column.levels is None or column.unique > 0.05)
    if (case.role == "note" and not column.numeric) or long_text:
        doubt = _doubt(case)
        return case.says(
            DROP,
            0.85 if long_text else 0.7,
            f"자유기재 텍스트입니다. 비식별할 방법이 없어 삭제합니다{doubt[0]}",
            f"free text, left out: names and numbers may stand anywhere in it{doubt[1]}",
        )
    return None


def _numbers(case: Case) -> Proposal | None:
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
    if case.role in ("occupation", "nationality", "social", "diagnosis", "drug", "age group", "region") or (
        column.distinct <= 50 and column.rare
    ):
        return case.says(RARE, 0.75, "코드 값입니다. 드문 값을 숨깁니다", "codes; those of few people are hidden", confirm=True)
    if column.unique > 0.5 and column.filled >= 20 and column.high > column.low:
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


def _outward(low: float, high: float) -> tuple[str, str]:
    """Limits at the 1st and 99th percentile, rounded to a twentieth of the range, so that they are nobody's value."""
    step = 10.0 ** math.floor(math.log10((high - low) / 5))
    return f"{math.floor(low / step) * step:.12g}", f"{math.ceil(high / step) * step:.12g}"


def _categories(case: Case) -> Proposal | None:
    column = case.column
    if column.levels is None or column.unique > 0.2 or column.longest > 200:
        return None
    korean, english = {
        "nationality": ("국적·인종·종교입니다", "nationality, ethnicity or religion"),
        "occupation": ("직업입니다", "occupations"),
        "social": ("사회경제 정보입니다", "social or economic facts"),
        "diagnosis": ("진단명(민감정보)입니다", "diagnoses (sensitive)"),
    }.get(case.role, ("값이 반복되는 범주입니다", "categories that repeat"))
    doubt = _doubt(case)
    return case.says(
        RARE,
        0.7 if not doubt[0] else 0.5,
        f"{korean}. 열 사람 미만이 가진 값은 숨깁니다{doubt[0]}",
        f"{english}; what fewer than ten people have is hidden{doubt[1]}",
        confirm=True,
    )


def _doubt(case: Case) -> tuple[str, str]:
    """What may be an identifier, less probably than not."""
    weak = [one for one in case.found if POSSIBLE <= one.confidence < LIKELY]
    if not weak:
        return "", ""
    korean = ", ".join(KOREAN[one.kind] for one in weak[:3])
    english = ", ".join(f"{ENGLISH[one.kind]} ({one.confidence:.2f})" for one in weak[:3])
    return f". 확인 필요: {korean}일 수 있는 값이 있습니다", f"; perhaps among them: {english}"


Judge = Callable[[Case], Proposal | None]
JUDGES: tuple[Judge, ...] = (
    *(_empty, _identifiers, _called, _dates, _ages, _years, _some_dates, _ids, _sexes, _postcodes, _regions, _diagnoses, _codes),
    *(_names, _constant, _switches, _notes, _keys, _numbers, _categories),
)
