"""Values that a label beside them calls an identifier: 등록번호 12345678, MRN: A-1234, 주민번호, 계좌 국민 ..., S/N, account 99."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pumasi.deid.patterns.kinds import Kind, Span

_NO = r"\s?(?:번호|No\.?|#|번)?\s{0,2}(?:은|는|이|가)?\s{0,2}[:：=#.)\]\"'>|-]{0,4}\s{0,3}[\"'(\[]?"
_CODE = r"[A-Za-z]{0,4}[- ]?[0-9](?:[0-9A-Za-z]|[- ](?=[0-9])){3,24}"
_DIGITS = r"[0-9](?:[^0-9A-Za-z가-힣]{0,3}[0-9]){5,19}"
_ALONE, _ENDS = r"(?<![A-Za-z])", r"(?![A-Za-z])"
_RECORD = (
    r"등록\s?(?:번호|No\.?|\#)|chart(?=[0-9]{5})|병록(?:\s?번호)?|병력\s?번호|[차챠]트(?:\s?번호)?|환자\s?(?:번호|ID|아이디|등록)|진료\s?(?:카드|번호)|접수\s?번호|검체\s?번호|"
    r"병리\s?번호|입원\s?번호|수진자\s?번호|검진\s?번호|연구\s?번호|대상자\s?번호|바코드|"
    rf"{_ALONE}(?:MRN?|chart|hosp(?:ital)?|reg(?:istration)?|pt|patient|unit|record|medical\s?record|specimen|accession|study|subject|case|"
    r"encounter|visit|episode|PID|UHID|EMR)(?:\s?(?:no|id|number|num|nr|record)\b\.?|\s?\#|(?=\s?:\s?[A-Za-z]{0,3}[- ]?[0-9]{4}))"
    rf"|{_ALONE}(?:MRN?|MC)(?=\W{{0,3}}[0-9])"
)
_BANK = (
    r"계좌|통장|은행|뱅크|농협|수협|신협|새마을금고|우체국|"
    r"(?:국민|신한|우리|하나|기업|카카오|토스|SC|씨티|케이뱅크|부산|대구|광주|전북|경남|제주)(?:은행|뱅크)?\s(?=[0-9]{3,6}-)|account|acct|iban|a/c"
)
_TELEPHONE = (
    r"전화|연락처|휴대\s?(?:폰|전화)|핸드폰|폰\s?번호|자택|집전화|팩스|☎|☏|📞|📱|"
    rf"{_ALONE}(?:H\.?P|C\.?P|tel(?:ephone)?|phone|mobile|cell|fax|pager|beeper|contact|call){_ENDS}"
)
_PLAN = (
    r"건강\s?보험(?:증|카드)?|보험증|증번호|의료\s?급여(?:증)?|"
    r"health\s?insurance|insurance\s?(?:id|card)|policy|member\s?id|medicare|medicaid|HICN"
)
_STAFF = (
    r"(?:학번|사번|군번|직원\s?번호|면허번호|회원\s?번호|세대\s?번호|가구\s?번호)|employee\s?(?:no|id)|student\s?(?:no|id)|badge|"
    rf"licen[cs]e\s?(?:no|number)|{_ALONE}(?:NPI|DEA){_ENDS}"
)
_MACHINE = (
    r"일련\s?번호|시리얼|제조\s?번호|기기\s?번호|"
    rf"{_ALONE}(?:S/?N|serial(?:\s?(?:no|number|\#))?|IMEI|IMSI|ICCID|UDI|device\s?(?:id|no|serial)){_ENDS}"
)

_LABELS: list[tuple[Kind, float, str, str]] = [
    (
        Kind.RRN,
        0.95,
        rf"주민\s?(?:등록)?\s?(?:번호|No)|주민등록|주민\s?[앞뒤뒷]\s?(?:자리|번호)|주번|{_ALONE}(?:RRN|jumin){_ENDS}",
        _DIGITS,
    ),
    (Kind.FRN, 0.95, rf"외국인\s?등록|{_ALONE}(?:FRN|ARC){_ENDS}", _DIGITS),
    (Kind.PASSPORT, 0.95, r"여권|passport", r"[A-Za-z]{0,2}[- ]?[0-9][0-9A-Za-z]{5,9}"),
    (
        *(Kind.LICENCE, 0.93),
        rf"운전\s?면허(?:증)?|면허증\s?번호|driver'?s?\s?licen[cs]e|{_ALONE}DL(?=\s?(?:no|\#))",
        r"(?:[가-힣]{2}\s?)?[0-9A-Za-z](?:[- ]?[0-9A-Za-z]){5,15}",
    ),
    (Kind.INSURANCE, 0.93, _PLAN, r"[0-9A-Za-z]?[0-9](?:[- ]?[0-9A-Za-z]){5,15}"),
    (Kind.SSN, 0.93, rf"{_ALONE}SSN{_ENDS}|social\s?security", _DIGITS),
    (Kind.PHONE, 0.93, _TELEPHONE, r"\+?\(?[0-9](?:[^0-9A-Za-z가-힣]{0,3}[0-9]){5,14}"),
    (
        Kind.CARD,
        0.9,
        r"(?:신용|체크)?카드(?:번호)?|(?:credit|debit)\s?card|card\s?(?:no|number)|국민행복카드",
        r"[0-9](?:[- ]{0,2}[0-9]){12,18}",
    ),
    (Kind.ACCOUNT, 0.93, _BANK, r"[0-9](?:[- ]{0,2}[0-9]){7,18}"),
    (Kind.MRN, 0.93, _RECORD, _CODE),
    (Kind.MRN, 0.85, _STAFF, _CODE),
    (Kind.DEVICE, 0.9, _MACHINE, r"[0-9A-Za-z][0-9A-Za-z-]{4,30}"),
    (Kind.EMAIL, 0.6, r"이메일|e-?mail|메일", r"[A-Za-z0-9._%+-]{3,64}"),
    (
        Kind.PLATE,
        0.9,
        r"차량\s?번호|차번호|번호판|license\s?plate|plate\s?(?:no|number)?",
        r"(?:[가-힣]{2}\s?)?[0-9A-Z][0-9A-Z가-힣 -]{4,10}",
    ),
    (Kind.HANDLE, 0.6, r"(?<![A-Za-z가-힣])(?:login|user\s?(?:name|id)|아이디|계정|screen\s?name)", r"[A-Za-z0-9._@-]{4,40}"),
]
_COMPILED = [(kind, sure, re.compile(rf"(?:{label}){_NO}(?P<value>{value})", re.I)) for kind, sure, label, value in _LABELS]
# A word of each label, in small letters and without its blanks: searching for words is cheaper than for forms.
_STEMS: dict[Kind, tuple[str, ...]] = {
    Kind.RRN: ("주민", "주번", "rrn", "jumin"),
    Kind.FRN: ("외국인", "frn", "arc"),
    Kind.PASSPORT: ("여권", "passport"),
    Kind.LICENCE: ("면허", "driver", "dl"),
    Kind.INSURANCE: ("보험", "증번호", "의료", "insurance", "policy", "member", "medicar", "medicaid", "hicn"),
    Kind.SSN: ("ssn", "social"),
    Kind.PHONE: (
        *(
            "전화",
            "연락처",
            "휴대",
            "핸드폰",
            "폰",
            "자택",
            "팩스",
            "hp",
            "h.p",
            "cp",
            "c.p",
            "tel",
            "phone",
            "mobile",
            "cell",
            "fax",
            "pager",
        ),
        *("beeper", "contact", "call", "☎", "☏", "📞", "📱"),
    ),
    Kind.CARD: ("카드", "card"),
    Kind.ACCOUNT: (
        *(
            "계좌",
            "통장",
            "은행",
            "뱅크",
            "농협",
            "수협",
            "신협",
            "금고",
            "우체국",
            "국민",
            "신한",
            "우리",
            "하나",
            "기업",
            "카카오",
            "토스",
            "sc",
        ),
        *("씨티", "부산", "대구", "광주", "전북", "경남", "제주", "account", "acct", "iban", "a/c"),
    ),
    Kind.MRN: (
        *(
            "번호",
            "번 호",
            "병록",
            "차트",
            "챠트",
            "환자",
            "진료",
            "바코드",
            "mr",
            "mc",
            "chart",
            "hosp",
            "reg",
            "pt",
            "patient",
            "unit",
            "record",
        ),
        *(
            "specimen",
            "accession",
            "study",
            "subject",
            "case",
            "encounter",
            "visit",
            "episode",
            "pid",
            "uhid",
            "학번",
            "사번",
            "군번",
            "employee",
        ),
        *("student", "badge", "licen", "npi", "dea"),
    ),
    Kind.DEVICE: ("일련", "시리얼", "제조", "기기", "s/n", "sn", "serial", "imei", "imsi", "iccid", "udi", "device"),
    Kind.EMAIL: ("메일", "mail"),
    Kind.PLATE: ("차량", "차번호", "번호판", "plate"),
    Kind.HANDLE: ("login", "user", "아이디", "계정", "screen"),
}

# "Name: ..." with whatever stands there; the label is enough, the words need not be known.
_STATED = re.compile(r"[:：=]|생|출생|DOB|birth|born", re.I)
_NAMED = re.compile(
    r"(?:(?:환자|보호자|수진자|담당의|주치의|부모|모|부|예금주)?\s?(?:성명|이름|성함)|환자명|보호자명|의사명|"
    rf"{_ALONE}(?:(?:first|last|full|sur|patient|given|family|middle|maiden)[ _]?name|name|surname))"
    r"[\"']?\s{0,2}[:：=]\s{0,2}[\"']?"
    r"(?P<value>[가-힣]{2,5}|(?-i:[A-ZÀ-Þ])[\wÀ-ÿ'’.-]{1,30}(?:[ ,]{1,2}(?-i:[A-ZÀ-Þ])[\wÀ-ÿ'’.-]{0,30}){0,3})",
    re.I,
)
_PLACED = re.compile(
    rf"(?:(?:자택|집|거주지|현)?\s?주소|거주지|{_ALONE}(?:home\s?)?address(?:es)?)[\"']?\s{{0,2}}[:：=]\s{{0,2}}[\"']?(?P<value>[^\s\"'][^\n\"']{{5,80}})",
    re.I,
)
_BORN = re.compile(
    rf"(?:생년월일|생일|출생(?:일)?|{_ALONE}(?:DOB|D\.O\.B\.?|date of birth|birth\s?date|born))"
    r"\s{0,2}[:：=]?\s{0,2}(?:on\s)?(?P<value>[0-9'][0-9년월일.\-/ ]{4,13}[0-9일])",
    re.I,
)


def find(text: str) -> Iterator[Span]:
    """Every value in a plain text (see disguise.plain) that stands beside the label of an identifier."""
    low, digits = text.lower(), sum(map(text.count, "0123456789"))
    for kind, sure, pattern in _COMPILED:
        worded = kind in (Kind.EMAIL, Kind.HANDLE)
        if (digits >= 4 or worded) and any(stem in low for stem in _STEMS[kind]):
            for match in pattern.finditer(text):
                if worded or sum(map(match["value"].count, "0123456789")) >= 4:
                    yield Span(match.start("value"), match.end("value"), kind, sure, "a label beside it")
    if not _STATED.search(text):
        return
    for kind, pattern, sure, why in (
        (Kind.NAME, _NAMED, 0.9, "a label beside it"),
        (Kind.ADDRESS, _PLACED, 0.8, "a label beside it"),
        (Kind.DATE, _BORN, 0.97, "a date of birth beside its label"),
    ):
        for match in pattern.finditer(text):
            yield Span(match.start("value"), match.end("value"), kind, sure, why)
