"""The kinds of identifier that can stand in a text, with their names for a privacy officer in Korean and English.

A direct identifier points at a person alone; the others do together (a date, a postcode) or name a place of care.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    RRN = "rrn"
    FRN = "frn"
    PASSPORT = "passport"
    LICENCE = "licence"
    INSURANCE = "insurance"
    SSN = "ssn"
    PHONE = "phone"
    EMAIL = "email"
    CARD = "card"
    ACCOUNT = "account"
    PLATE = "plate"
    MRN = "mrn"
    UID = "uid"
    NAME = "name"
    ADDRESS = "address"
    URL = "url"
    IP = "ip"
    DEVICE = "device"
    HANDLE = "handle"
    GENOME = "genome"
    BIOMETRIC = "biometric"
    IMAGE = "image"
    PLACE = "place"
    BUSINESS = "business"
    DATE = "date"
    POSTCODE = "postcode"


KOREAN = {
    Kind.RRN: "주민등록번호",
    Kind.FRN: "외국인등록번호",
    Kind.PASSPORT: "여권번호",
    Kind.LICENCE: "운전면허번호",
    Kind.INSURANCE: "건강보험증번호",
    Kind.SSN: "미국 사회보장번호",
    Kind.PHONE: "전화번호",
    Kind.EMAIL: "이메일",
    Kind.CARD: "카드번호",
    Kind.ACCOUNT: "계좌번호",
    Kind.PLATE: "차량번호",
    Kind.MRN: "등록번호(병록번호)",
    Kind.UID: "고유 식별값",
    Kind.NAME: "성명",
    Kind.ADDRESS: "주소",
    Kind.URL: "웹 주소(URL)",
    Kind.IP: "IP 주소",
    Kind.DEVICE: "기기 식별번호",
    Kind.HANDLE: "메신저·SNS 아이디",
    Kind.GENOME: "유전정보",
    Kind.BIOMETRIC: "생체인식정보",
    Kind.IMAGE: "사진·파일",
    Kind.PLACE: "위치 좌표",
    Kind.BUSINESS: "사업자등록번호",
    Kind.DATE: "날짜",
    Kind.POSTCODE: "우편번호",
}

ENGLISH = {
    Kind.RRN: "resident registration number",
    Kind.FRN: "foreigner registration number",
    Kind.PASSPORT: "passport number",
    Kind.LICENCE: "driver's licence number",
    Kind.INSURANCE: "health insurance number",
    Kind.SSN: "US social security number",
    Kind.PHONE: "telephone number",
    Kind.EMAIL: "e-mail address",
    Kind.CARD: "payment card number",
    Kind.ACCOUNT: "bank account number",
    Kind.PLATE: "vehicle plate",
    Kind.MRN: "patient or record number",
    Kind.UID: "unique code",
    Kind.NAME: "person's name",
    Kind.ADDRESS: "address",
    Kind.URL: "web address",
    Kind.IP: "IP address",
    Kind.DEVICE: "device identifier",
    Kind.HANDLE: "messenger or social media name",
    Kind.GENOME: "genetic data",
    Kind.BIOMETRIC: "biometric data",
    Kind.IMAGE: "picture or file",
    Kind.PLACE: "coordinates of a place",
    Kind.BUSINESS: "business registration number",
    Kind.DATE: "date",
    Kind.POSTCODE: "postcode",
}

# Not direct: a date or a postcode needs others beside it, and a business number is an institution's, though often a small one's.
INDIRECT = frozenset({Kind.DATE, Kind.POSTCODE, Kind.BUSINESS})

SURE = 0.9  # the form alone, or the form and a word beside it, leave no reasonable doubt
LIKELY = 0.6  # more often right than wrong
POSSIBLE = 0.3  # below this a finding is what chance brings


@dataclass(frozen=True)
class Span:
    """Where in a text an identifier stands, of which kind, how sure that is (0 to 1), and why; never what it says."""

    start: int
    end: int
    kind: Kind
    confidence: float
    why: str = ""
