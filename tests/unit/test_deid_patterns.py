"""What is found in a text and what is not, one line each; and that a span is where the identifier stands."""

from __future__ import annotations

import pytest

from pumasi.deid.patterns import INDIRECT, Kind, find

FOUND = [
    ("900101-1234568", Kind.RRN),
    ("9001011234568 확인", Kind.RRN),
    ("900101-1******", Kind.RRN),
    ("231225-4999999 신생아", Kind.RRN),
    ("900101-5234566", Kind.FRN),
    ("보호자 010 1234 5678", Kind.PHONE),
    ("공일공 일이삼사 오육칠팔", Kind.PHONE),
    ("O1O-1234-5678", Kind.PHONE),
    ("+82 (0)10-1234-5678", Kind.PHONE),
    ("(031) 789-1234", Kind.PHONE),
    ("call 617-555-0199", Kind.PHONE),
    ("hong (at) naver (dot) com", Kind.EMAIL),
    ("4111-1111-1111-1111", Kind.CARD),
    ("국민은행 123456-01-234567", Kind.ACCOUNT),
    ("여권 M12345678", Kind.PASSPORT),
    ("M123A4567", Kind.PASSPORT),
    ("서울 12-345678-90", Kind.LICENCE),
    ("서울 12가 3456", Kind.PLATE),
    ("차트번호 : 00123456", Kind.MRN),
    ("MRN#1234567", Kind.MRN),
    ("건강보험증 5-1234567890", Kind.INSURANCE),
    ("김민수 님 내원", Kind.NAME),
    ("딸 최수진이 동의함", Kind.NAME),
    ("홍 길 동", Kind.NAME),
    ("박*수", Kind.NAME),
    ("환자명: 뷁쀍", Kind.NAME),
    ("Seen by Dr. Ogrady", Kind.NAME),
    ("Johnson, Michael R.", Kind.NAME),
    ("Hong Gil-dong", Kind.NAME),
    ("서울시 강남구 테헤란로 152", Kind.ADDRESS),
    ("경기도 성남시 분당구 정자동 178-1", Kind.ADDRESS),
    ("래미안아파트 101동 1203호", Kind.ADDRESS),
    ("152, Teheran-ro, Gangnam-gu, Seoul", Kind.ADDRESS),
    ("12 Maple Street", Kind.ADDRESS),
    ("https://example.com/p/1", Kind.URL),
    ("10.20.30.40", Kind.IP),
    ("2001:db8::ff00:42:8329", Kind.IP),
    ("00:1a:2b:3c:4d:5e", Kind.DEVICE),
    ("S/N: AX9923-7", Kind.DEVICE),
    ("9f1c2d3e-4b5a-6789-abcd-ef0123456789", Kind.UID),
    ("1.2.840.113619.2.55.3.604688119", Kind.UID),
    ("rs429358 (C;T)", Kind.GENOME),
    ("37.5665, 126.9780", Kind.PLACE),
    ("카톡 id: hong_gd77", Kind.HANDLE),
    ("iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4", Kind.IMAGE),
    ("ì „í™” 010-1234-5678", Kind.PHONE),
    ("80년 1월 1일-1234567", Kind.RRN),
    ("800101-1-234567", Kind.RRN),
    ("<b>010</b>-1234<br>5678", Kind.PHONE),
    ("MDEwLTEy\nMzQtNTY3\nOA==", Kind.PHONE),
    ("hong@naver", Kind.EMAIL),
    ("192[.]168[.]0[.]1", Kind.IP),
    ("PID|1||12345678^^^HOSP||KIM^MINSU", Kind.MRN),
    ("환자 홍 길동", Kind.NAME),
    ("J. Thompson", Kind.NAME),
    ("DAVID^KOWALSKI", Kind.NAME),
    ("David_Kowalski_ct", Kind.NAME),
    ("Seen by Dr. Brown", Kind.NAME),
    ("김판석(M/71)", Kind.NAME),
    ("모) 김말순", Kind.NAME),
    ("카톡아이디 minji523", Kind.HANDLE),
    ("D:\\scan\\유분이_MRI.dcm", Kind.URL),
    ("2024년 3월 5일", Kind.DATE),
    ("05-MAR-2024", Kind.DATE),
]

NOTHING = [
    *("처방일련", "자동차보험", "부가가치세", "Left_Ventricle", "MR head", "정상(50/M)", "mg/kg/day", "GLU^Glucose^L"),
    *("정상", "이상소견", "음성", "고혈압", "유방암", "산부인과", "정형외과", "신장내과 외래", "전신마취", "임신성 당뇨"),
    *("E11.9", "S12.3", "C50.911", "A10BA02", "2345-7", "120/80", "5.3", "36.5", "1.234567890123", "-0.0012345678", "1,234,567"),
    *("Acetaminophen 325 MG Oral Tablet", "Normal sinus rhythm", "Crohn disease", "Left ventricular hypertrophy", "White", "Never smoker"),
    *("경구로 2정 하루 3회", "좌로 3 cm", "약 2주 후 재방문", "혈압 120/80 mmHg, 맥박 72", "Hb 13.2 / Hct 39.1 / Plt 250"),
    *("TP53 p.R175H", "c.35delG", "10^3/uL", "mg/dL", "NYHA II", "T2N0M0", "G2P1", "1.5 1.2 0.9 0.4 12.3 11.8 10.1 9.9", "0 0 1 0 1", "Y"),
]


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_an_identifier_is_found(text: str, kind: Kind) -> None:
    assert kind in {span.kind for span in find(text) if span.confidence >= 0.6}


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_identifier_is_not_called_one(text: str) -> None:
    assert [span for span in find(text) if span.confidence >= 0.5 and span.kind not in INDIRECT] == []


def test_a_span_is_where_the_identifier_stands_in_the_original() -> None:
    text = "연락처\u200b: ０１０\u200b-１２３４-５６７８ (보호자)"
    (span,) = [span for span in find(text) if span.kind is Kind.PHONE]
    assert text[span.start : span.end].startswith("０１０") and text[span.start : span.end].endswith("８")


def test_what_stands_in_a_code_is_the_whole_code() -> None:
    text = "첨부 eyJ0ZWwiOiIwMTAtMTIzNC01Njc4In0= 끝"
    (span,) = [span for span in find(text) if span.kind is Kind.PHONE]
    assert text[span.start : span.end] == "eyJ0ZWwiOiIwMTAtMTIzNC01Njc4In0=" and "base64" in span.why


def test_a_reason_never_quotes_the_text() -> None:
    for text, _ in FOUND:
        assert all(
            piece not in span.why for span in find(text) for piece in text.split() if len(piece) > 4 and any(map(str.isdigit, piece))
        )
