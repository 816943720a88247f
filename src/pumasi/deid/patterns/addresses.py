"""Addresses: Korean by road or by lot, romanised Korean, and English ones; and postcodes where they are called so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pumasi.deid.patterns.kinds import Kind, Span

_SIDO = (
    r"(?:(?:서울|부산|대구|인천|광주|대전|울산)(?:특별시|광역시|시)?|세종(?:특별자치시|시)?|제주(?:특별자치도|도)?"
    r"|(?:경기|강원|충청북|충청남|전라북|전라남|경상북|경상남|충북|충남|전북|전남|경북|경남)(?:특별자치도|도)?)"
)
_SGG = r"[가-힣]{1,4}(?:시|군|구)"
_TOWN = r"(?:[가-힣]{1,5}[읍면]\s{0,2})?"
_DONG = r"[가-힣]{1,5}\d{0,2}(?:읍|면|동|리|가)"
_ROAD = r"[가-힣][가-힣0-9.]{0,14}?(?:대로|로|길)(?:\s?\d{1,4}(?:번?[가-힣]?길))?"
_NUMBER = r"(?:지하\s?)?\d{1,4}(?:\s?-\s?\d{1,4})?"
_LOT = r"(?:산\s?)?\d{1,4}(?:\s?-\s?\d{1,4})?(?:\s?번지)?"
_UNIT = r"(?:(?:\d{1,4}|[가-하A-Za-z])\s?동\s?\d{1,4}\s?호|\d{1,4}\s?호|\d{1,4}\s?-\s?\d{1,4}\s?호|\d{1,2}층)"
_HOUSE = (
    r"[가-힣A-Za-z0-9]{2,12}(?:아파트|빌라|빌딩|맨션|오피스텔|타워|주공|래미안|자이|푸르지오|힐스테이트|아이파크|캐슬|더샵|"
    r"e편한세상|센트럴|파크|하우스|타운|연립|주택|APT)"
)
_COUNTED = r"(?!\s?(?:회|일|주|년|개|정|번|차|배|명|시|분|%|mg|cm|mm|ml|kg))"
# Words before "로 3" that are no road: "하루로 3", "경구로 2정", "좌로 1".
_NO_ROAD = re.compile(
    r"(?:으|하|바|따|새|별|대체|주|경구|정맥|단독|추가|최대|최소|평균|이유|결과|기준|단위|간격|순서|정도|용량|목적|치료|회|일|번|째)로$"
)
_STREET = (
    r"(?:St(?:reet|r)?|Ave(?:nue)?|R(?:oa)?d|Dr(?:ive)?|L(?:a)?ne?|Blvd|Boulevard|Court|Ct|Way|Pl(?:ace)?|Terr?(?:ace)?|Hwy|Highway|Parkway|Pkwy"
    r"|Cir(?:cle)?|Sq(?:uare)?|Row|Crescent|Close|Trail|Loop|Alley|Bypass|Manor|Extension|Mall|Common|Gate|Park|View|Plaza|Track|Mews)"
)
_STATE = r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
_UNITS = r"(?:,?\s(?:Apt|Apartment|Unit|Suite|Ste|#)\.?\s?\w{1,6})?"
_PART = r"(?:-(?:gu|si|dong|gun|do|eup|myeon|ri))"

_KOREAN: list[tuple[float, str, str]] = [
    (0.97, "region, road and number", rf"{_SIDO}\s{{0,2}}(?:{_SGG}\s{{0,2}}){{0,2}}{_TOWN}{_ROAD}\s?{_NUMBER}"),
    (0.93, "district, road and number", rf"(?<![가-힣]){_SGG}\s{{0,2}}(?:{_SGG}\s{{0,2}})?{_TOWN}{_ROAD}\s?{_NUMBER}{_COUNTED}"),
    (
        *(0.93, "region and neighbourhood"),
        rf"{_SIDO}\s{{0,2}}(?:{_SGG}\s{{0,2}}){{1,2}}{_DONG}(?:\s?{_DONG})?(?:\s?{_LOT})?(?:\s?{_UNIT})?",
    ),
    (0.85, "district, neighbourhood and lot", rf"(?<![가-힣]){_SGG}\s{{1,2}}(?:{_SGG}\s)?{_DONG}(?:\s{_DONG})?\s?{_LOT}"),
    (0.7, "region and district", rf"(?<![가-힣]){_SIDO}\s{{1,2}}{_SGG}(?![가-힣])"),
    (0.75, "house and flat", rf"(?<![0-9가-힣])(?:{_HOUSE}\s?)?\d{{1,4}}\s?동\s?\d{{1,4}}\s?호"),
    (0.75, "house and flat", rf"(?<![가-힣]){_HOUSE}\s?(?:{_UNIT}|\d{{1,4}}\s?-\s?\d{{1,4}})"),
    (
        *(0.7, "neighbourhood and lot"),
        r"(?<![가-힣])[가-힣]{1,5}(?:동|리|읍|면)\s?\d{0,2}가?\s{1,2}(?:산\s?)?\d{1,4}\s?-\s?\d{1,4}(?:\s?번지)?(?![0-9-])",
    ),
    (0.75, "neighbourhood and lot", r"(?<![가-힣])[가-힣]{1,5}(?:동|리|가)\s?(?:산\s?)?\d{1,4}(?:\s?-\s?\d{1,4})?\s?번지"),
    (0.8, "road, number and what is beside it", rf"(?<![가-힣]){_ROAD}\s?{_NUMBER}\s?(?:,\s?{_UNIT}|\({_DONG}|번지|\s{_UNIT})"),
    (0.5, "a road and a number", rf"(?<![가-힣])(?P<road>{_ROAD})\s?{_NUMBER}(?![0-9가-힣%./]){_COUNTED}"),
    (0.85, "a post box", r"사서함\s?(?:제\s?)?\d{1,5}\s?호?"),
]
_LATIN: list[tuple[float, str, str, re.RegexFlag]] = [
    (
        *(0.93, "romanised road and district"),
        r"\b\d{1,4}(?:-\d{1,4})?(?:beon-gil)?,?\s?[A-Z][A-Za-z0-9]+-?(?:daero|ro|gil|dong)(?:\s?\d{1,4}(?:beon)?-?gil)?"
        rf"(?:[ ,]+[A-Z][a-z]+{_PART}?){{1,5}}",
        re.I,
    ),
    (0.8, "romanised district", rf"\b[A-Z][a-z]+-(?:gu|gun|dong|eup|myeon|ri)\b,?\s(?:[A-Z][a-z]+{_PART}?)", re.I),
    (
        *(0.9, "street and number"),
        rf"(?<![\w.])\d{{1,6}}[A-Za-z]?(?:\s(?:[NSEW]|North|South|East|West)\.?)?(?:\s[A-Z0-9][\w'’.-]*){{1,4}},?\s{_STREET}\b\.?{_UNITS}",
        re.NOFLAG,
    ),
    (0.85, "town, state and postcode", rf"\b[A-Z][a-z]+(?:\s[A-Z][a-z]+){{0,2}},?\s{_STATE},?\s\d{{5}}(?:-\d{{4}})?\b", re.NOFLAG),
    (0.85, "a post box", r"\bP\.?\s?O\.?\s?Box\s\d{1,6}", re.I),
]
_COMPILED = [(sure, why, re.compile(form)) for sure, why, form in _KOREAN]
_COMPILED_LATIN = [(sure, why, re.compile(form, flags)) for sure, why, form, flags in _LATIN]
_POSTCODE = re.compile(
    r"(?:우편번호|우편|\(우\)|우\)|zip(?:\s?code)?|post(?:al\s?)?code)\s?[:：]?\s?(\d{5}(?:-\d{4})?|\d{3}-\d{3})(?!\d)", re.I
)
_HANGUL = re.compile(r"[시군구읍면동리로길가호함]\s?\d|\d\s?[동호]|[시군구]\s")
_LETTER = re.compile(r"[A-Za-z]")


def find(text: str) -> Iterator[Span]:
    """Every address in a plain text (see disguise.plain)."""
    patterns = _COMPILED if _HANGUL.search(text) or _BEGINS.search(text) else []
    if _LETTER.search(text) and ("-" in text or re.search(r"\d", text)):
        patterns = patterns + _COMPILED_LATIN
    for confidence, why, pattern in patterns:
        for match in pattern.finditer(text):
            road = match.groupdict().get("road")
            if not (road and _NO_ROAD.search(road)):
                yield Span(match.start(), match.end(), Kind.ADDRESS, confidence, why)
    for match in _POSTCODE.finditer(text):
        yield Span(match.start(1), match.end(1), Kind.POSTCODE, 0.9, "a postcode beside its label")


_BEGINS = re.compile(rf"{_SIDO}\s?{_SGG}")
