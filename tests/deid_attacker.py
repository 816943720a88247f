"""Somebody who hides identifiers in a table: seeded values of every kind, many disguises, and honest columns to hide them in.

Written from the public descriptions of the numbers, not from the patterns that look for them: nothing of `pumasi` is imported here.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import random
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

Disguise = Callable[[str, random.Random], str]

SURNAMES = "김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류나진지엄채원천방공현"
GIVEN = ["민준", "서연", "하윤", "도윤", "지우", "예준", "시우", "주원", "서준", "지호", "하준", "은우", "수아", "지안", "서현", "다은"]
OLDER = ["영수", "영희", "순자", "정숙", "말순", "춘자", "미경", "은주", "성호", "정훈", "상철", "동현", "경숙", "명자", "병철", "용식"]
ENGLISH = ["James", "Mary", "Robert", "Patricia", "Michael", "Jennifer", "William", "Linda", "David", "Elizabeth", "Richard", "Karen"]
FAMILY = ["Smith", "Johnson", "Williams", "Jones", "Garcia", "Miller", "Davis", "Rodriguez", "Martinez", "Lopez", "Thompson", "Moore"]
ROMAN = ["Kim Minsu", "Lee Ji-won", "PARK SEO JUN", "Choi Young-hee", "Jung Ho Seok", "Hong Gil-dong", "Soo-jin Kang", "Yoon Seoyeon"]
DISTRICTS = [
    "서울특별시 강남구",
    "서울시 마포구",
    "부산광역시 해운대구",
    "경기도 성남시 분당구",
    "대전 유성구",
    "전라북도 전주시 완산구",
    "제주시",
]
ROADS = ["테헤란로 152", "백범로31길 21", "센텀중앙로 97", "불정로 6", "대학로 291", "효자로 225", "연북로 33"]


def rrn(r: random.Random, *, century: int = 1900, foreigner: bool = False, after_2020: bool = False) -> str:
    """A registration number: birth date, sex and century, place, serial, check digit (weights 2..9, 2..5, modulo 11); random since 2020."""
    year = r.randint(21, 24) if after_2020 else r.randint(30, 99) if century == 1900 else r.randint(0, 19)
    sex = r.choice("34" if after_2020 or century == 2000 else "12")
    if foreigner:
        sex = str(int(sex) + 4)
    digits = f"{year:02d}{r.randint(1, 12):02d}{r.randint(1, 28):02d}{sex}" + f"{r.randint(0, 99999):05d}"
    if after_2020:
        return digits[:6] + "-" + digits[6:] + str(r.randint(0, 9))
    total = 0
    for place, digit in enumerate(digits):
        total += int(digit) * (place % 8 + 2)
    check = (11 - total % 11) % 10
    if foreigner:
        check = (13 - total % 11) % 10
    return f"{digits[:6]}-{digits[6:]}{check}"


def card(r: random.Random) -> str:
    digits = r.choice(["4", "51", "55", "9410", "356"])
    digits += "".join(str(r.randint(0, 9)) for _ in range(15 - len(digits)))
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    digits += str((10 - total % 10) % 10)
    return "-".join(digits[start : start + 4] for start in range(0, 16, 4))


def mobile(r: random.Random) -> str:
    return f"010-{r.randint(2000, 9999)}-{r.randint(0, 9999):04d}"


def korean_name(r: random.Random) -> str:
    return r.choice(SURNAMES) + r.choice([*GIVEN, *OLDER])


def english_name(r: random.Random) -> str:
    return f"{r.choice(ENGLISH)} {r.choice(FAMILY)}"


KINDS: dict[str, Callable[[random.Random], str]] = {
    "rrn": rrn,
    "rrn 2000s": lambda r: rrn(r, century=2000),
    "rrn random": lambda r: rrn(r, after_2020=True),
    "frn": lambda r: rrn(r, foreigner=True),
    "phone": mobile,
    "phone seoul": lambda r: f"02-{r.randint(300, 999)}-{r.randint(1000, 9999)}",
    "phone area": lambda r: f"{r.choice(['031', '051', '064', '042'])}-{r.randint(200, 999)}-{r.randint(1000, 9999)}",
    "phone voip": lambda r: f"070-{r.randint(4000, 8999)}-{r.randint(1000, 9999)}",
    "phone abroad": lambda r: f"+82-10-{r.randint(2000, 9999)}-{r.randint(1000, 9999)}",
    "email": lambda r: (
        f"{r.choice(['hong', 'kim', 'lee.js', 'park_'])}{r.randint(1, 999)}@{r.choice(['naver.com', 'hanmail.net', 'snu.ac.kr'])}"
    ),
    "card": card,
    "passport old": lambda r: f"M{r.randint(10**7, 10**8 - 1)}",
    "passport new": lambda r: f"M{r.randint(100, 999)}{r.choice('ABCDEFG')}{r.randint(1000, 9999)}",
    "licence": lambda r: f"{r.randint(11, 26)}-{r.randint(0, 23):02d}-{r.randint(100000, 999999)}-{r.randint(10, 99)}",
    "plate": lambda r: f"{r.randint(10, 399)}{r.choice('가나다라마거너더러머버서어저')}{r.randint(1000, 9999)}",
    "account": lambda r: f"{r.randint(100, 999)}-{r.randint(100, 999)}-{r.randint(100000, 999999)}",
    "name": korean_name,
    "name english": english_name,
    "name roman": lambda r: r.choice(ROMAN),
    "address": lambda r: f"{r.choice(DISTRICTS)} {r.choice(ROADS)}",
    "address lot": lambda r: (
        f"{r.choice(DISTRICTS[:5])} {r.choice(['역삼동', '정자동', '봉명동', '우동'])} {r.randint(10, 900)}-{r.randint(1, 40)}"
    ),
    "address english": lambda r: (
        f"{r.randint(10, 9999)} {r.choice(['Maple', 'Oak Hill', 'Washington'])} {r.choice(['Street', 'Ave', 'Road'])}"
    ),
    "mrn labelled": lambda r: f"{r.choice(['등록번호', '병록번호', '차트번호:', 'MRN', 'Chart No.'])} {r.randint(10**6, 10**8)}",
    "url": lambda r: f"https://blog.example.com/{r.choice(['hong', 'kim'])}{r.randint(1, 99)}",
    "ip": lambda r: f"{r.randint(11, 220)}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}",
    "mac": lambda r: ":".join(f"{r.randint(0, 255):02x}" for _ in range(6)),
    "ssn": lambda r: f"{r.randint(100, 665)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}",
}

DIGITS = ("rrn", "rrn 2000s", "rrn random", "frn", "phone", "phone abroad", "card")  # with a form that survives rough treatment


def _separated(said: str, r: random.Random) -> str:
    separator = r.choice([" ", ".", "/", "_", "–", "·", " - ", "~", "—"])
    return said.replace("-", separator)


def _spaced(said: str, r: random.Random) -> str:
    return " ".join(said)


def _full_width(said: str, r: random.Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in said)


def _zero_width(said: str, r: random.Random) -> str:
    return "".join(letter + r.choice(["\u200b", "\u200c", "\u2060", ""]) for letter in said)


def _halves(said: str, r: random.Random) -> str:
    digits = [letter for letter in said if letter.isdigit()]
    return f"{''.join(digits[: len(digits) // 2])} {''.join(digits[len(digits) // 2 :])}"


def _circled(said: str, r: random.Random) -> str:
    return "".join(chr(0x245F + int(letter)) if letter in "123456789" else "⓪" if letter == "0" else letter for letter in said)


# Disguises for every kind, and those for which only digits keep their form.
DISGUISES: dict[str, Disguise] = {
    "plain": lambda said, r: said,
    "in words": lambda said, r: r.choice(["재방문 예정 {} 확인", "pt called, {} given", "연락 바람 ({})", "see {} for details"]).format(
        said
    ),
    "full width": _full_width,
    "zero width": _zero_width,
    "decomposed": lambda said, r: unicodedata.normalize("NFD", said),
    "base64": lambda said, r: base64.b64encode(said.encode()).decode(),
    "base64 url": lambda said, r: base64.urlsafe_b64encode(f"p={said}".encode()).decode().rstrip("="),
    "base64 json": lambda said, r: base64.b64encode(json.dumps({"v": said, "n": 1}).encode()).decode(),
    "base64 cp949": lambda said, r: base64.b64encode(f"{said} 확인".encode("cp949")).decode(),
    "gzip": lambda said, r: base64.b64encode(gzip.compress(said.encode(), mtime=0)).decode(),
    "hex": lambda said, r: said.encode().hex(),
    "url": lambda said, r: quote(said, safe=""),
    "url all": lambda said, r: "".join(f"%{octet:02X}" for octet in said.encode()),
    "html": lambda said, r: "".join(f"&#{ord(letter)};" for letter in said),
    "html hex": lambda said, r: "".join(f"&#x{ord(letter):x};" for letter in said),
    "html twice": lambda said, r: html.escape("".join(f"&#{ord(letter)};" for letter in said)),
    "json": lambda said, r: json.dumps({"order": 3, "memo": said}),
    "json text": lambda said, r: json.dumps({"memo": f"확인 {said}"}, ensure_ascii=False),
    "tabs": lambda said, r: f"\t{said}\t",
    "bracketed": lambda said, r: f"[{said}]",
    "glued": lambda said, r: f"*{said}*",
}
DIGIT_DISGUISES: dict[str, Disguise] = {
    "separated": _separated,
    "spaced": _spaced,
    "circled": _circled,
    "in a row": lambda said, r: said.replace("-", ""),
}

# Columns that hold no identifier, as hospitals have them.
HONEST: dict[str, Callable[[random.Random], str]] = {
    "icd": lambda r: f"{r.choice('ABCDEGHIJKLMN')}{r.randint(0, 99):02d}.{r.randint(0, 9)}",
    "loinc": lambda r: f"{r.randint(1000, 99999)}-{r.randint(0, 9)}",
    "edi": lambda r: f"{r.randint(640000000, 690000000)}",
    "snomed": lambda r: f"{r.randint(10**6, 9 * 10**8)}",
    "ndc": lambda r: f"{r.randint(0, 99999):05d}-{r.randint(0, 9999):04d}-{r.randint(0, 99):02d}",
    "hemoglobin": lambda r: f"{r.gauss(13, 2):.1f}",
    "platelets": lambda r: str(r.randint(90_000, 450_000)),
    "troponin": lambda r: f"{r.random():.9f}",
    "pressure": lambda r: f"{r.randint(90, 180)}/{r.randint(50, 110)}",
    "cost": lambda r: str(r.randint(1_000, 12_000_000)),
    "result": lambda r: r.choice(["정상", "이상소견", "양성", "음성", "판독불가", "재검"]),
    "department": lambda r: r.choice(["정형외과", "신경외과", "소아청소년과", "심장내과", "이비인후과", "산부인과", "안과", "응급의학과"]),
    "diagnosis name": lambda r: r.choice(
        ["고혈압", "제2형 당뇨병", "위암", "전립선 비대증", "상세불명의 폐렴", "천식", "우울증", "이상지질혈증"]
    ),
    "drug": lambda r: r.choice(["Acetaminophen 325 MG Oral Tablet", "Amlodipine 5mg", "metformin", "Warfarin 2.5 MG", "세파졸린주 1g"]),
    "condition": lambda r: r.choice(
        ["Viral sinusitis (disorder)", "Crohn disease", "Parkinson disease", "Left ventricular hypertrophy", "Anemia"]
    ),
    "race": lambda r: r.choice(["White", "Black or African American", "Asian", "Other"]),
    "timestamp": lambda r: (
        f"20{r.randint(10, 24)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d} {r.randint(0, 23):02d}:{r.randint(0, 59):02d}:00"
    ),
    "epoch": lambda r: str(r.randint(1_400_000_000_000, 1_700_000_000_000)),
    "barcode": lambda r: f"880{r.randint(10**9, 10**10 - 1)}",
    "range": lambda r: f"{r.randint(1, 9)}.{r.randint(0, 9)}-{r.randint(10, 20)}.{r.randint(0, 9)}",
    "gene": lambda r: r.choice(["BRCA1", "TP53 p.R175H", "EGFR L858R", "KRAS G12D", "c.35delG"]),
    "unit": lambda r: r.choice(["mg/dL", "10^3/uL", "mmol/L", "%", "U/L"]),
    "list": lambda r: ", ".join(str(r.randint(50, 200)) for _ in range(6)),
    "waveform": lambda r: " ".join(f"{r.gauss(0, 1):.3f}" for _ in range(12)),
    "flag": lambda r: r.choice(["Y", "N"]),
    "score": lambda r: str(r.randint(0, 15)),
}
