"""Check digits, disguises and spans: what holds for every number and every text."""

from __future__ import annotations

import itertools
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumasi.deid.evidence import Found, Tally
from pumasi.deid.patterns import Kind, find
from pumasi.deid.patterns.checks import born, foreigner, luhn, rrn_check
from pumasi.deid.patterns.disguise import layers, plain
from tests import deid_attacker as attacker

seeds = st.integers(0, 2**32 - 1).map(random.Random)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
tricky = st.text(st.sampled_from("0123456789-. 가김민수번호로길동@%=&#;\\uAB+/\u200b\u1112\u1161０１①"), max_size=80)


@settings(deadline=None)  # the first example compiles the forms and reads the lists
@given(seeds)
def test_a_registration_number_has_its_check_digit_and_one_wrong_digit_is_seen(r: random.Random) -> None:
    digits = attacker.rrn(r, foreigner=r.random() < 0.5).replace("-", "")
    assert born(digits) is not None and rrn_check(digits)
    wrong = digits[:12] + str((int(digits[12]) + r.randint(1, 9)) % 10)
    assert not rrn_check(wrong)


@settings(deadline=None)
@given(seeds)
def test_foreigners_are_told_by_the_seventh_digit(r: random.Random) -> None:
    digits = attacker.rrn(r, foreigner=True).replace("-", "")
    assert foreigner(digits)
    assert {span.kind for span in find(digits[:6] + "-" + digits[6:])} == {Kind.FRN}


@settings(deadline=None)
@given(st.text("0123456789", min_size=1, max_size=30), st.integers(0, 9))
def test_one_last_digit_of_ten_passes_luhn(digits: str, other: int) -> None:
    passing = [last for last in "0123456789" if luhn(digits + last)]
    assert len(passing) == 1
    if str(other) != passing[0]:
        assert not luhn(digits + str(other))


@settings(deadline=None)
@given(texts | tricky)
def test_spans_lie_in_the_text_in_order_and_apart(text: str) -> None:
    spans = find(text)
    assert all(0 <= span.start < span.end <= len(text) and 0 < span.confidence <= 1 for span in spans)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))


@settings(deadline=None)
@given(texts | tricky)
def test_the_plain_text_knows_where_each_character_came_from(text: str) -> None:
    found = plain(text)
    if found.at is not None:
        assert len(found.at) == len(found.text) + 1 and found.at[-1] == len(text)
        assert all(before <= after for before, after in itertools.pairwise(found.at))


@settings(deadline=None)
@given(st.text(st.sampled_from("가나다김민수0123456789 -"), max_size=40))
def test_hangul_and_digits_are_the_same_in_every_writing(text: str) -> None:
    assert plain(unicodedata.normalize("NFD", text)).text == plain(text).text
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isdigit() else letter for letter in text)
    assert plain("\u200b".join(wide)).text == plain(text).text


@settings(deadline=None)
@given(texts, seeds)
def test_what_was_encoded_is_read_again(text: str, r: random.Random) -> None:
    said = "읽을 수 있는 글: " + "".join(letter for letter in text if letter.isprintable())
    encoded = r.choice(["base64", "hex", "gzip", "base64 url"])
    hidden = attacker.DISGUISES[encoded](said, r)
    assert any(layer.text is not None and said in layer.text for layer in layers(hidden))


@pytest.mark.parametrize("kind", attacker.DIGITS)
@settings(deadline=None)
@given(r=seeds)
def test_numbers_are_found_however_they_are_disguised(kind: str, r: random.Random) -> None:
    name = r.choice([*attacker.DISGUISES, *attacker.DIGIT_DISGUISES])
    said = {**attacker.DISGUISES, **attacker.DIGIT_DISGUISES}[name](attacker.KINDS[kind](r), r)
    best = max((span.confidence for span in find(said) if span.kind is not Kind.DATE), default=0)
    assert best >= (0.35 if kind == "rrn random" else 0.6), name


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["900101-1234568", "010-1234-5678", "정상", "12.5", "8801234567890", "김민수"]), max_size=40),
    st.integers(1, 39),
)
def test_a_column_read_in_pieces_is_the_column(values: list[str], cut: int) -> None:
    whole, first, second = Tally(), Tally(), Tally()
    for place, value in enumerate(values):
        whole.add(value)
        (first if place < cut else second).add(value)
    first.merge(second)
    assert {kind: vars(one) for kind, one in first.weighed().items()} == {kind: vars(one) for kind, one in whole.weighed().items()}
    assert all(isinstance(one, Found) for one in first.weighed().values())
