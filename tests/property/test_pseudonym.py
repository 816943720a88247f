"""Pseudonyms: one person, one pseudonym, under one key; and nothing carries over to another key."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumasi.deid.dates import year_of
from pumasi.deid.keys import pseudonyms

KEYS = st.binary(min_size=32, max_size=64)
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.one_of(st.none(), IDS)), KEYS)
def test_they_have_a_fixed_form_and_none_stays_none(ids: list[str | None], key: bytes) -> None:
    made = pseudonyms(ids, key)
    assert [one is None for one in made] == [one is None for one in ids]
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in made if one is not None)


@given(st.lists(IDS), KEYS)
def test_two_rows_share_one_exactly_when_they_are_the_same_person(ids: list[str], key: bytes) -> None:
    people = {unicodedata.normalize("NFC", one) for one in ids}
    assert len(set(pseudonyms(ids, key))) == len(people)
    assert pseudonyms(ids, key) == [pseudonyms([one], key)[0] for one in ids]


@given(IDS, KEYS)
def test_a_composed_and_a_decomposed_spelling_are_one_person(one: str, key: bytes) -> None:
    assert len(set(pseudonyms([unicodedata.normalize(form, one) for form in ("NFC", "NFD")], key))) == 1


@given(IDS, KEYS, KEYS)
def test_they_differ_between_keys(one: str, first: bytes, second: bytes) -> None:
    # HMAC pads a key that is shorter than its block with zeros, so keys that differ only in those are one key.
    same = first.ljust(64, b"\0") == second.ljust(64, b"\0")
    assert (pseudonyms([one], first) == pseudonyms([one], second)) is same


@given(IDS, KEYS)
def test_they_are_the_first_half_of_hmac_sha256(one: str, key: bytes) -> None:
    digest = hmac.new(key, unicodedata.normalize("NFC", one).encode(), hashlib.sha256).hexdigest()
    assert pseudonyms([one], key) == [digest[:32]]


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        pseudonyms(["1"], b"short")


@given(st.dates())
def test_the_year_of_a_date(day: object) -> None:
    assert year_of([str(day), None]) == [int(str(day)[:4]), None]


def test_what_is_no_date_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="not an ISO date") as caught:
        year_of(["Hong Gildong"])
    assert "Hong" not in str(caught.value)
    assert caught.value.__suppress_context__
