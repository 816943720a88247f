"""Everything that the page says, it says in Korean too."""

from __future__ import annotations

import re
from itertools import count

from playwright.sync_api import Page

from tests.browser.page_files import page_files


def said() -> set[str]:
    """Every English sentence in the code and in the page, with {0}, {1} … for what differs."""
    files = {name: data.decode() for name, data in page_files().items()}
    templates = [template for name, text in files.items() if name.endswith(".js") for template in re.findall(r"say`([^`]*)`", text)]
    sentences = {re.sub(r"\s*\n\s*", " ", numbered(template)) for template in templates}
    return sentences | set(re.findall(r"<[^>]* data-say>([^<]+)<", files["index.html"]))


def numbered(template: str) -> str:
    number = count()
    return re.sub(r"\$\{[^{}]*\}", lambda _: f"{{{next(number)}}}", template)


def places(sentence: str) -> set[str]:
    return set(re.findall(r"\{\d\}", sentence))


def test_every_sentence_has_its_korean_and_no_other_is_there(checker: Page) -> None:
    korean: dict[str, str] = checker.evaluate("KOREAN")
    assert set(korean) == said()
    assert len(korean) > 150


def test_what_differs_stands_in_both_languages(checker: Page) -> None:
    for english, korean in checker.evaluate("KOREAN").items():
        assert places(korean) == places(english), english
        assert re.search("[가-힣]", korean) or english in ("SHA-256", "{0} and {1}"), english


def test_every_word_that_the_tables_insert_is_known(checker: Page) -> None:
    inserted = checker.evaluate(
        "[...Object.values(MAY), ...Object.values(BOARDS).map(([words]) => words), ...Object.values(AT_THE_END),"
        " ...[CASE_MOVES, PERMIT_MOVES, OUTPUT_MOVES].flatMap((moves) =>"
        " Object.entries(moves).flatMap(([state, next]) => [state, ...Object.values(next)]))]"
    )
    known = set(checker.evaluate("[...WORDS.keys()]"))
    assert set(inserted) - known == {"founder", "self"}  # they announce their own key; nobody is told to be one


def test_a_sentence_holds_sentences_and_what_looks_like_a_place(checker: Page) -> None:
    both = "[{}, KOREAN].map((words) => spoken(say`line ${'{1}'} of the policy: ${say`a control character`}`, words))"
    assert checker.evaluate(both) == ["line {1} of the policy: a control character", "정책의 {1}번째 줄: 제어 문자가 있습니다"]
