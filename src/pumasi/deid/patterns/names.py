"""Names of people in a text: Korean (Hangul, Hanja, romanised), English, and of neighbours who often are patients here.

Korean names are a surname and syllables that given names are built of; common and clinical words built alike are set apart by a word
list. A title, a relation or a label beside a name makes it sure. Limits: nicknames, and rare names without a title, are not known from
words; a column of such names is known by its shape (profile), and is never kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources

from pumasi.deid.patterns.kinds import Kind, Span


@cache
def words(name: str) -> frozenset[str]:
    """The words of a list in data/, whose first lines say where it comes from."""
    text = (resources.files("pumasi.deid.patterns") / "data" / f"{name}.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


@cache
def surnames() -> dict[str, int]:
    """Korean surnames with their bearers in thousands."""
    text = (resources.files("pumasi.deid.patterns") / "data" / "korean-surnames.txt").read_text(encoding="utf-8")
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if not line.startswith("#")}


@cache
def syllables(place: str, tier: str) -> frozenset[str]:
    text = (resources.files("pumasi.deid.patterns") / "data" / "korean-given.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return frozenset(one for first, second, *ones in lines if (first, second) == (place, tier) for one in ones)


# --- Korean ---

BUILT = "built like a Korean name"  # the word alone says so

_BEFORE = (
    "환자명|환자성명|환자이름|환자|보호자|수진자|수검자|대상자|성명|이름|성함|피보험자|예금주|담당의사|담당의|주치의|집도의|판독의|의뢰의|의사|교수|"
    "전공의|전문의|간호사|약사|배우자|남편|아내|부인|와이프|큰아들|작은아들|아들|큰딸|작은딸|딸|모친|부친|어머니|아버지|엄마|아빠|(?<![가-힣])[모부형처자](?![가-힣])|누나|오빠|언니|"
    "동생|자녀|며느리|사위|조카|이모|고모|삼촌|할머니|할아버지|친구|작성자|검사자|입력자|서명|신청인|신청자|대리인|방문자|담당자|담당|산모|아기|동거인|간병인|시모"
)
_AFTER = (
    "씨|님|군|양|환자|환아|어르신|할머니|할아버지|교수|선생|의사|간호사|전공의|전문의|과장|원장|부장|팀장|실장|보호자|약사|박사|기사|간병인|산모|여사|"
    "아기|어머니|아버지|배우자|남편|아내|주치의|귀하"
)
_BETWEEN = r"\s{0,2}[:=()\[\]/,-]?\s{0,2}"
_PARTICLES = (
    "은|는|이|가|을|를|의|와|과|도|에게서|에게|"
    "께서|께|한테|으로|로|만|이라고|라고|입니다|임|이다|이며|이고|및|하고|이랑|랑|에|측|연락|통화|내원|방문|본인"
)
_AGE_AND_SEX = r"[0-9]{1,3}\s?(?:세|yo?)?\s?[/,. -]?\s?(?:[MFmf]|남|여)|(?:[MFmf]|남|여)자?\s?[/,. -]?\s?[0-9]{1,3}(?:세)?"
_ENDINGS = ("로", "도", "만", "다", "한", "인")
_HANJA = "金李朴崔鄭姜趙尹張林韓吳徐申權黃安宋柳劉全田洪高文梁孫裵裴白許南沈盧河郭成車朱禹具閔羅陳池嚴蔡元千方孔玄咸卞廉呂秋都"


@cache
def _korean_patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    one = "".join(name for name in surnames() if len(name) == 1)
    surname = rf"(?:{'|'.join(name for name in surnames() if len(name) == 2)}|[{one}])"
    first = "".join(syllables("first", "common") | syllables("first", "rare"))
    second = "".join(syllables("second", "common") | syllables("second", "rare"))
    built = rf"{surname}[{first}][{second}]"
    alone = re.compile(rf"(?<![가-힣])({built})(?:{_PARTICLES})?(?![가-힣])")
    titled = re.compile(
        rf"(?<![가-힣])({surname}[가-힣]{{1,2}})\s?(?:{_AFTER})(?:{_PARTICLES}|께서는|의|들)?(?:생님|님)?(?:{_PARTICLES})?(?![가-힣])"
        rf"|(?:{_BEFORE}){_BETWEEN}({surname}[가-힣]{{1,2}})(?=(?:{_AFTER}|{_PARTICLES})?(?![가-힣]))"
        rf"|(?:{_BEFORE}){_BETWEEN}({built})"
        rf"|({built})\s?(?:{_AFTER})"
        rf"|(?<![가-힣])({surname}[가-힣]{{1,2}})\s?[(\[/,]\s?(?:{_AGE_AND_SEX})(?![0-9A-Za-z가-힣])"
    )
    apart = re.compile(rf"(?<![가-힣])({surname})([ ._*|^-]{{1,2}})([{first}])(?:\2)?([{second}])(?![가-힣])")
    masked = re.compile(rf"(?<![가-힣])({surname})(?:[*○◯●OX×#]{{1,2}}[가-힣]?|[가-힣][*○◯●OX×#])(?![0-9A-Za-z가-힣])")
    return alone, titled, apart, masked


@cache
def _beside() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A relation or label right before a name, and a title right behind it."""
    return re.compile(rf"(?:{_BEFORE}){_BETWEEN}$"), re.compile(rf"\s?(?:{_AFTER})(?![가-힣])")


def korean(token: str) -> float:
    """How sure it is that a Hangul word is somebody's full name, from its syllables alone (0 when it is an ordinary word)."""
    surname = token[:2] if len(token) >= 3 and token[:2] in surnames() else token[:1]
    given = token[len(surname) :]
    if surname not in surnames() or token in words("korean-words") or not 1 <= len(given) <= 2:
        return 0.0
    if len(given) == 1:
        return 0.3 if given in syllables("second", "common") else 0.1
    tiers = [("first", given[0]), ("second", given[1])]
    if any(one not in syllables(place, "common") | syllables(place, "rare") for place, one in tiers):
        return 0.1
    common = sum(one in syllables(place, "common") for place, one in tiers)
    return (0.3, 0.5, 0.72)[common] * (1 if surnames()[surname] >= 20 else 0.6)


def _korean(text: str) -> Iterator[Span]:
    alone, titled, apart, masked = _korean_patterns()
    known = words("korean-words")
    for match in titled.finditer(text):
        group = next(group for group in range(1, 6) if match[group])
        name = match[group]
        if name not in known and name[1:] not in known:
            sure = 0.93 if korean(name) >= 0.5 else 0.75 if korean(name) >= 0.3 else 0.55 if len(name) == 3 else 0.4
            yield Span(match.start(group), match.end(group), Kind.NAME, sure, "a Korean name beside a title or relation")
    whole = text.strip()
    for match in alone.finditer(text):
        found = korean(match[1])
        if match[1] != whole and match[1][:2] in known and match[1][2:] in _ENDINGS:
            found *= 0.6  # a word with its ending: 이유로, 정도만
        # what reads as a name and a particle may be one longer word
        if found and match.group() not in known:
            yield Span(match.start(1), match.end(1), Kind.NAME, found + 0.1 * (match[1] == whole), BUILT)
    beside, behind = _beside()
    for match in apart.finditer(text):
        name, given = match[1] + match[3] + match[4], match[3] + match[4]
        if name not in known and given not in known and korean(name):
            spread = match.end() - match.start() >= len(name) + 2
            sure = korean(name) * (1 if spread or match.group() == whole else 0.6)
            if beside.search(text[max(0, match.start() - 12) : match.start()]) or behind.match(text, match.end()):
                sure = 0.88
            yield Span(match.start(), match.end(), Kind.NAME, round(sure, 2), "a Korean name written apart")
    for match in masked.finditer(text):
        yield Span(match.start(), match.end(), Kind.NAME, 0.7, "a Korean name with a hidden syllable")
    for match in re.finditer(rf"(?<![\u4e00-\u9fff])[{_HANJA}][\u4e00-\u9fff]{{1,2}}(?![\u4e00-\u9fff])", text):
        yield Span(match.start(), match.end(), Kind.NAME, 0.65 if match.group() == whole else 0.45, "built like a Korean name in Hanja")


# --- romanised Korean, and English ---

_L, _U = "a-zà-öø-ÿ'’", "A-ZÀ-ÖØ-Þ"
_WORD = rf"(?:[{_U}][{_L}]*[{_L}](?:[{_U}][{_L}]+)?|[{_U}]{{2,}})(?:-[A-Za-zÀ-ÿ]+)?"
_PAIR = re.compile(rf"(?<![\w@./-])({_WORD})(,\s?|\s)((?:[A-Z]\.?\s)?)({_WORD})(?:[ ,]\s?({_WORD}))?(?![\w@])")
_LOWER_PAIR = re.compile(r"(?<![\w@./-])([a-z]{2,12})([ ,_.-]\s?)([a-z]{2,12})(?:[ -]([a-z]{2,12}))?(?![\w@])")
_TITLED = re.compile(
    rf"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|Professor|Doctor|Nurse|DR|MR|MRS|MS|PROF)\b\.?\s{{0,2}}([{_U}][\w'’-]+(?:\s[{_U}][\w'’.-]*){{0,2}})"
    rf"|\b(?:(?i:patient|pt|name|mother|father|wife|husband|son|daughter|brother|sister|guardian|spouse|contact|nok|physician|attending|nurse))"
    rf"(?:'s)?(?:\s(?i:name|is|was|named))?\s?[:=,]?\s({_WORD}\s(?:[A-Z]\.?\s)?{_WORD})"
    rf"|({_WORD}\s(?:[A-Z]\.?\s)?{_WORD}),?\s(?:MD|M\.D\.|RN|PhD|DO|NP|PA-C)\b"
)
_INITIALS = re.compile(rf"(?<![\w.])(?:(?:[A-Z]\.\s?){{1,2}}([{_U}][{_L}]{{2,}})|([{_U}][{_L}]{{2,}}),\s?(?:[A-Z]\.\s?){{1,2}})(?![\w])")
_CALLED = re.compile(r"(?:Dr|Mr|Mrs|Ms|Miss|Prof|Professor|Doctor)\b\.?\s{0,2}$")
# KIM^MINSU as in DICOM and HL7 (PS3.5 6.2.1), David_Kowalski as in names of files
_JOINED = re.compile(r"(?<![A-Za-z^])([A-Za-zÀ-ÿ'’-]{2,})([_^])([A-Za-zÀ-ÿ'’-]{2,})(?:\2([A-Za-zÀ-ÿ'’-]{2,}))?(?![A-Za-z])")
_CAPITAL = re.compile(rf"[{_U}]")
_SHORT = 60  # characters
_NUMBERED = re.compile(r"\b[A-Z][a-z'’]+\d{1,4}(?:\s[A-Z][a-z'’]+\d{1,4})+\b")
_ONE = re.compile(rf"(?<![\w@./-]){_WORD}(?![\w@])")


@lru_cache(maxsize=65_536)
def bare(word: str) -> str:
    """A word in small letters without accents, as the lists hold it."""
    if word.isascii() and word.isalpha():
        return word.lower()
    return "".join(letter for letter in unicodedata.normalize("NFD", word.lower()) if letter.isalpha() and ord(letter) < 0x250)


@cache
def _roman_given() -> re.Pattern[str]:
    syllable = "|".join(sorted(words("roman-given"), key=len, reverse=True))
    return re.compile(rf"(?:{syllable})[- ]?(?:{syllable})", re.I)


def _romanised(surname: str, given: str) -> float:
    """A Korean surname in Latin letters with two syllables of a given name, which are no ordinary word together."""
    if surname.lower() not in words("roman-surnames") or given.lower() in words("english-words"):
        return 0.0
    return 0.85 if _roman_given().fullmatch(given) else 0.0


def pair(first: str, second: str) -> float:
    """How sure it is that two words are a given name and a surname, in either order."""
    given, family, plain = words("english-given"), words("english-surnames"), words("english-words")
    best = max(_romanised(first, second), _romanised(second, first))
    one, two = bare(first), bare(second)
    ordinary = (one in plain) + (two in plain)
    if ordinary == 2:
        return min(best, 0.3)
    for a, b in ((one, two), (two, one)):
        if a in given and b in family:
            best = max(best, (0.85, 0.62)[ordinary])
        elif a not in plain and ((a in given and b not in plain) or b in words("neighbour-surnames")):
            best = max(best, 0.5)
        elif b in family and b not in plain and a not in plain:
            best = max(best, 0.35)
    return best


def single(word: str) -> float:
    """How sure it is that one word is a given name or a surname; ordinary words are none."""
    one = bare(word)
    if one in words("english-words") or len(one) < 3:
        return 0.0
    return 0.4 if one in words("english-given") else 0.35 if one in words("english-surnames") or one in words("neighbour-surnames") else 0.0


def _english(text: str) -> Iterator[Span]:
    whole = text.strip()
    if len(whole) <= _SHORT:
        yield from _small(text, whole)
    if not _CAPITAL.search(text):
        return
    for match in _TITLED.finditer(text):
        group = next(group for group in (1, 2, 3) if match[group])
        said = [bare(word) for word in re.split(r"[\s.]+", match[group]) if len(word) > 1]
        if not said or (all(word in words("english-words") for word in said) and not _addressed(text[: match.start(group)], said)):
            continue
        sure = 0.9 if group != 2 or pair(*match[group].split()[:: max(1, len(match[group].split()) - 1)][:2]) >= 0.35 else 0.4
        yield Span(match.start(group), match.end(group), Kind.NAME, sure, "a name beside a title or relation")
    for match in _JOINED.finditer(text) if "_" in text or "^" in text else ():
        yield from _joined(match)
    for match in _INITIALS.finditer(text):
        family = bare(match[1] or match[2])
        if family in words("roman-surnames") or (family in words("english-surnames") and family not in words("english-words")):
            yield Span(match.start(), match.end(), Kind.NAME, 0.62, "a surname with initials")
    for match in _NUMBERED.finditer(text):
        yield Span(match.start(), match.end(), Kind.NAME, 0.8, "names with numbers, as simulators make them")
    for match in _PAIR.finditer(text):
        sure = pair(match[1], match[4])
        if match[5]:
            sure = max(
                sure,
                pair(match[1], match[5]),
                _romanised(match[1], f"{match[4]} {match[5]}"),
                _romanised(match[5], f"{match[1]} {match[4]}"),
            )
        if sure >= 0.3:
            yield Span(match.start(), match.end(), Kind.NAME, sure, "a given name and a surname")
    for match in _ONE.finditer(text):
        if sure := single(match.group()):
            yield Span(match.start(), match.end(), Kind.NAME, sure * (1 if match.group() == whole else 0.85), "a word that is a name")


def _addressed(before: str, said: list[str]) -> bool:
    """Dr. Brown: a surname that is an ordinary word too. Not MR head, which is a picture."""
    return _CALLED.search(before) is not None and said[0] in words("english-surnames")


def _joined(match: re.Match[str]) -> Iterator[Span]:
    first, second, third = match[1], match[3], match[4]
    sure = max(pair(first, second), pair(first, third) if third else 0, _romanised(first, f"{second}{third or ''}"))
    if match[2] == "^":
        sure = {0.85: 0.95, 0.5: 0.9, 0.62: 0.9, 0.35: 0.7}.get(sure, 0.4)
    elif sure == 0.5:
        sure = 0.62  # a given name beside a word of no list
    if sure >= 0.3:
        yield Span(match.start(), match.end(), Kind.NAME, sure, "a given name and a surname, joined by a sign")


def _small(text: str, whole: str) -> Iterator[Span]:
    """Two names in small letters, in a short text only: nobody writes a report so."""
    for match in _LOWER_PAIR.finditer(text):
        sure = pair(match[1], match[3]) if match.group() == whole else 0.45 * (pair(match[1], match[3]) >= 0.85)
        if sure >= 0.5 or (sure and match.group() != whole):
            yield Span(match.start(), match.end(), Kind.NAME, round(sure * 0.8, 2), "a given name and a surname in small letters")


def find(text: str) -> Iterator[Span]:
    """Every name in a plain text (see disguise.plain)."""
    if not text.isascii():
        yield from _korean(text)
    yield from _english(text)
