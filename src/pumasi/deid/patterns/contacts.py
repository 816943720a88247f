"""Identifiers that a form gives away: mail and web addresses, network and device addresses, plates, passports, codes, sequences."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pumasi.deid.patterns.kinds import Kind, Span

_TLD = r"(?:com|net|org|kr|edu|gov|mil|info|biz|io|me|int|jp|cn|us|uk|de|fr|ca|au|tv|cc|co|dev|app|ai)"
_AT = r"(?:@|\s?[(\[{<]\s?(?:at|앳|골뱅이)\s?[)\]}>]\s?|\s골뱅이\s?|골뱅이)"
_DOT = r"(?:\.|\s?[(\[{<]\s?(?:dot|닷|점)\s?[)\]}>]\s?|\s(?:dot|닷|점)\s)"
_PLATE = "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주바사아자하허호배"
_REGIONS = "서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주"
_COUNTED = r"(?!\s?(?:원|명|건|년|개|회|mg|ml))"
_FILES = r"(?:dcm|dicom|nii|jpe?g|png|gif|bmp|tiff?|pdf|hwpx?|docx?|xlsx?|pptx?|txt|csv|xml|json|zip|mp[34]|avi|wav|edf|svs)"
_BEGIN, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_LOCUS = r"(?:D\d{1,2}S\d{2,4}|TH01|TPOX|CSF1PO|vWA|FGA|amelogenin)"
_REPEAT = r"\d{1,2}(?:\.\d)?"
_NETWORKS = (
    r"(?:카카오톡|카톡|kakao(?:talk)?|인스타(?:그램)?|instagram|insta|텔레그램|telegram|라인|위챗|wechat|facebook|페이스북|twitter|트위터)"
)
_BIOMETRIC = (
    r"(?:지문|홍채|정맥|안면|얼굴|음성|망막)\s?(?:인식|특징점|템플릿|템플레이트|벡터)"
    r"|(?:fingerprint|iris|retina|face|voice)[ _-]?(?:template|vector|print|scan id|encoding)"
)


@dataclass(frozen=True)
class Clue:
    """What is cheap to know of a text, so that a form is only looked for where it can be: small letters, and how many digits."""

    low: str
    digits: int

    def has(self, *words: str) -> bool:
        return any(word in self.low for word in words)


def _mail(clue: Clue) -> bool:
    return "@" in clue.low


def _at(clue: Clue) -> bool:
    return clue.has("@", " at ", "(at", "[at", "{at", "<at", "( at", "[ at", "골뱅이", "앳")


def _valid_ip(said: str) -> bool:
    try:
        ipaddress.ip_address(said)
    except ValueError:
        return False
    return True


def _ip6(said: str) -> bool:
    return (said.count(":") >= 4 or "::" in said) and _valid_ip(said)


def _varied(said: str) -> bool:
    """Not 00000000-0000-…, ff:ff:ff:ff:ff:ff: what stands for nothing."""
    return len(set(re.sub(r"[^0-9a-f]", "", said.lower()))) > 1


def _bases(said: str) -> bool:
    return len(set(said.upper())) >= 3


_Form = tuple[Kind, float, str, str, Callable[[str], bool] | None, Callable[[Clue], bool]]
_FORMS: list[_Form] = [
    (
        Kind.EMAIL,
        0.98,
        "form of a mail address",
        r"[A-Za-z0-9._%+'\-가-힣]{1,64}@(?:[A-Za-z0-9가-힣-]{1,63}\.)+[A-Za-z가-힣]{2,24}",
        None,
        _mail,
    ),
    (
        *(Kind.EMAIL, 0.85, "a mail address written apart"),
        rf"(?<![A-Za-z0-9._+-])[A-Za-z0-9._+-]{{2,64}}\s{{0,2}}{_AT}\s{{0,2}}[A-Za-z0-9-]{{1,63}}(?:\s?{_DOT}\s?[A-Za-z0-9-]{{2,63}}){{1,4}}",
        None,
        _at,
    ),
    (
        *(Kind.EMAIL, 0.8, "a mail address written apart"),
        rf"(?<![A-Za-z0-9._+-])[A-Za-z0-9._+-]{{2,64}}\s(?:at|@)\s[A-Za-z0-9-]{{2,63}}(?:(?:\s(?:dot|\.)\s|\.){_TLD}){{1,2}}\b",
        None,
        _at,
    ),
    (Kind.EMAIL, 0.8, "the beginning of a mail address", r"(?<![A-Za-z0-9._+-])[A-Za-z0-9._+-]{3,64}@(?=$|\s|[,;])", None, _mail),
    (
        *(Kind.EMAIL, 0.9, "a mail address of a well-known provider"),
        r"[A-Za-z0-9._%+-]{2,64}\s?@\s?(?:naver|daum|hanmail|gmail|nate|kakao|yahoo|hotmail|outlook|icloud)(?![A-Za-z])",
        None,
        _mail,
    ),
    (
        *(Kind.MRN, 0.95, "the patient segment of an HL7 message"),
        r"(?<![A-Za-z])PID\|[^\r\n]{4,2000}",
        None,
        lambda clue: "pid|" in clue.low,
    ),
    (
        *(Kind.IP, 0.85, "form of a network address"),
        r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{3,4}::(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4}(?![0-9A-Za-z:])",
        _ip6,
        lambda clue: "::" in clue.low,
    ),
    (Kind.URL, 0.95, "form of a web address", r"\b(?:https?|ftp|sftp|ssh|file)://[^\s<>\"']{3,2000}", None, lambda clue: "://" in clue.low),
    (
        Kind.URL,
        0.9,
        "form of a web address",
        r"\bwww\d?\.[A-Za-z0-9-]+\.[A-Za-z.]{2,}[^\s<>\"']{0,2000}",
        None,
        lambda clue: "www" in clue.low,
    ),
    (
        *(Kind.URL, 0.6, "form of a web address"),
        r"(?<![@\w.-])(?:[a-z0-9-]{2,63}\.){1,4}(?:com|net|org|kr|io|me|tv)(?:/[^\s<>\"']{0,2000})?(?![\w.-]*@)(?!\w)",
        None,
        lambda clue: clue.has(".com", ".net", ".org", ".kr", ".io", ".me", ".tv"),
    ),
    (
        *(Kind.URL, 0.7, "where a file lies"),
        rf"(?<![\w.])(?:[a-z]:[\\/]|\\\\|~?/)(?:[^\s/\\<>:\"|?*]{{1,100}}[/\\]){{1,20}}[^/\\<>:\"|?*]{{1,150}}?\.{_FILES}(?![A-Za-z0-9])",
        None,
        lambda clue: "." in clue.low and ("\\" in clue.low or "/" in clue.low),
    ),
    (
        Kind.IP,
        0.9,
        "form of a network address",
        r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)",
        _valid_ip,
        lambda clue: clue.digits >= 4 and clue.low.count(".") >= 3,
    ),
    (
        *(Kind.IP, 0.9, "form of a network address"),
        r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){2,7}:?(?:[0-9A-Fa-f]{1,4}:?){1,6}(?![0-9A-Za-z:])",
        _ip6,
        lambda clue: clue.low.count(":") >= 2,
    ),
    (
        *(Kind.DEVICE, 0.92, "form of a network card's address"),
        r"(?<![0-9A-Za-z:-])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?![0-9A-Za-z:-])",
        _varied,
        lambda clue: clue.low.count(":") >= 5 or clue.low.count("-") >= 5,
    ),
    (
        Kind.DEVICE,
        0.9,
        "a unique device identification (UDI)",
        r"\(01\)\s?\d{14}(?:\s?\(\d{2}\)\s?[0-9A-Za-z/+-]{2,20})+",
        None,
        lambda clue: "(01)" in clue.low,
    ),
    (
        Kind.UID,
        0.99,  # its digits may look like a telephone
        "version and variant of a UUID (RFC 9562)",
        rf"{_BEGIN}[0-9a-f]{{8}}-[0-9a-f]{{4}}-[1-8][0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}{_END}",
        _varied,
        lambda clue: clue.low.count("-") >= 4 and len(clue.low) >= 36,
    ),
    (
        Kind.UID,
        0.85,
        "form of a UUID",
        rf"{_BEGIN}[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}{_END}",
        _varied,
        lambda clue: clue.low.count("-") >= 4 and len(clue.low) >= 36,
    ),
    (
        Kind.UID,
        0.85,
        "form of a DICOM or OID identifier",
        r"(?<![\d.])[012](?:\.(?:0|[1-9]\d*)){6,}(?![\d.])",
        None,
        lambda clue: clue.low.count(".") >= 6,
    ),
    (
        *(Kind.UID, 0.6, "a long hexadecimal code, perhaps a hash"),
        r"(?<![0-9A-Za-z+/])(?=[0-9a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{32,128}(?![0-9A-Za-z+/])",
        None,
        lambda clue: len(clue.low) >= 32,
    ),
    (
        Kind.PLATE,
        0.85,
        "form of a vehicle plate with its region",
        rf"(?:{_REGIONS})\s?\d{{1,2}}\s?[{_PLATE}]\s?\d{{4}}(?!\d)",
        None,
        lambda clue: clue.digits >= 6 and not clue.low.isascii(),
    ),
    (
        Kind.PLATE,
        0.75,
        "form of a vehicle plate",
        rf"(?<![0-9가-힣.])\d{{2,3}}[ -]?[{_PLATE}][ -]?\d{{4}}(?!\d){_COUNTED}",
        None,
        lambda clue: clue.digits >= 6 and not clue.low.isascii(),
    ),
    (
        Kind.LICENCE,
        0.95,
        "region, year and grouping",
        rf"(?:{_REGIONS})[\s-]{{0,2}}\d{{2}}[\s-]\d{{6}}[\s-]\d{{2}}(?!\d)",
        None,
        lambda clue: clue.digits >= 10 and not clue.low.isascii(),
    ),
    (
        Kind.PASSPORT,
        0.85,
        "form of a Korean passport since 2021",
        rf"{_BEGIN}[MSRODGTP][ -]?\d{{3}}[A-Z]\d{{4}}{_END}",
        None,
        lambda clue: clue.digits >= 7,
    ),
    (
        Kind.PASSPORT,
        0.6,
        "form of a Korean passport before 2021",
        rf"{_BEGIN}(?:[MSRODG]|P[MSRODT])[ -]?\d{{8}}{_END}(?!-)",
        None,
        lambda clue: clue.digits >= 7,
    ),
    (Kind.PASSPORT, 0.55, "form of an old Korean passport", rf"{_BEGIN}[A-Z]{{2}}\d{{7}}{_END}(?!-)", None, lambda clue: clue.digits >= 7),
    (Kind.GENOME, 0.8, "a sequence of bases", r"(?<![A-Za-z])[ACGTUN]{30,}(?![A-Za-z])", _bases, lambda clue: len(clue.low) >= 30),
    (
        Kind.GENOME,
        0.75,
        "a numbered variant (rs)",
        rf"{_BEGIN}rs\d{{3,12}}\s?[(:]?\s?[ACGT][/;|>]?[ACGT]\b",
        None,
        lambda clue: "rs" in clue.low,
    ),
    (
        Kind.GENOME,
        0.7,
        "a variant at its place on a chromosome",
        r"\bchr(?:\d{1,2}|[XYM])[:\-]\d{3,9}[:\s_-]*[ACGT]+\s?[>/:]\s?[ACGT]+",
        None,
        lambda clue: "chr" in clue.low,
    ),
    (
        Kind.GENOME,
        0.8,
        "repeat lengths of forensic loci",
        rf"\b{_LOCUS}\s?[:=]?\s?{_REPEAT}\s?[,/;-]\s?{_REPEAT}",
        None,
        lambda clue: clue.digits >= 2,
    ),
    (
        Kind.GENOME,
        0.6,
        "alleles of tissue types (HLA)",
        r"\bHLA-?[A-Z0-9]{1,4}\*\d{2}:\d{2}(?::\d{2})*",
        None,
        lambda clue: "hla" in clue.low,
    ),
    (
        *(Kind.PLACE, 0.75, "latitude and longitude"),
        r"(?<![\d.])[-+]?[0-8]?\d\.\d{4,}\s?[,/ ]\s?[-+]?(?:1[0-8]\d|\d{1,2})\.\d{4,}(?![\d.])",
        None,
        lambda clue: clue.digits >= 10 and clue.low.count(".") >= 2,
    ),
    (
        Kind.HANDLE,
        0.8,
        "a name in a messenger or social network",
        rf"{_NETWORKS}(?:\s?(?:id|아이디|계정)(?:은|는|이)?\s?[:=@]?|\s?[:=@])\s?@?[A-Za-z0-9._]{{3,40}}(?![가-힣])",
        None,
        lambda clue: clue.has("톡", "kakao", "insta", "인스타", "gram", "그램", "라인", "위챗", "wechat", "book", "북", "twit", "트위터"),
    ),
    (Kind.HANDLE, 0.6, "a name in a social network", r"(?<![\w@.])@[A-Za-z][A-Za-z0-9._]{2,30}(?![\w@])", None, _mail),
    (
        Kind.BIOMETRIC,
        0.6,
        "words of biometric records",
        _BIOMETRIC,
        None,
        lambda clue: clue.has("인식", "특징점", "템플", "벡터", "template", "vector", "print", "scan", "encoding"),
    ),
]
# Letters of passports and plates are capitals; everything else is read in either case.
_EXACT = (Kind.PASSPORT, Kind.PLATE)
_PATTERNS = [
    (kind, sure, why, re.compile(form, 0 if kind in _EXACT else re.I), valid, needs) for kind, sure, why, form, valid, needs in _FORMS
]


def find(text: str) -> Iterator[Span]:
    """Every span of a plain text (see disguise.plain) that has one of these forms."""
    clue = Clue(text.lower(), sum(map(text.count, "0123456789")))
    for kind, confidence, why, pattern, valid, needs in _PATTERNS:
        if needs(clue):
            for match in pattern.finditer(text):
                if valid is None or valid(match.group()):
                    yield Span(match.start(), match.end(), kind, confidence, why)
