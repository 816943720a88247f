"""The risk report as a board reads it: in a real Chromium, in both languages, on a narrow screen and on paper."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pumasi.deid.risk.report import Question, examine, write
from tests.risk_tables import Row, made

CONTRAST = Path(__file__).with_name("contrast.js")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part: before and after, a population, histories, links, relations, numbers."""
    generator = random.Random(11)
    rows: list[Row] = [
        (
            str(generator.randint(20, 89)),
            generator.choice("남여"),
            f"시군구{generator.randint(1, 9)}",
            generator.choice(["A", "B", "C"]),
            f"가구{one // 3}",
            f"2020-{generator.randint(1, 12):02}-{generator.randint(1, 28):02}",
            f"환자{one % 150}",
        )
        for one in range(450)
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    with made("나이 성별 지역 진단 가구 방문일 환자", rows) as before:
        before.connection.execute("CREATE TABLE after AS SELECT * REPLACE (나이[1] || '0대' AS 나이, '*' AS 지역) FROM given")
        from dataclasses import replace

        after = replace(before, name="after", where="after", sql="SELECT * FROM after")
        question = Question(
            quasi=("나이", "성별", "지역"), sensitive=("진단",), population=60_000, person="환자", events=("방문일",), links=("가구",)
        )
        write(examine(before, after, question), html=path)
    return path


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 1400})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(report.as_uri())
    yield page
    page.close()
    assert complaints == []


def test_it_opens_in_korean_and_switches_to_english_by_keyboard(opened: Page) -> None:
    assert opened.locator("h1").inner_text() == "재식별 위험 보고서"
    assert opened.locator(".question").is_visible() and "결정할 것" in opened.locator(".question").inner_text()
    opened.locator("#ko").focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("h1").inner_text() == "Re-identification risk report"
    assert "To decide" in opened.locator(".question").inner_text()
    assert "결정할 것" not in opened.locator("main").inner_text()


def test_what_to_decide_is_seen_without_scrolling(opened: Page) -> None:
    box = opened.locator(".decide").bounding_box()
    assert box is not None and box["y"] + box["height"] < 900


def test_every_picture_has_its_words_and_numbers_and_korean_names_are_drawn(opened: Page) -> None:
    assert opened.locator("figure").count() >= 5
    for figure in opened.locator("figure").all():
        assert len(figure.locator("figcaption").inner_text()) > 15
        svg = figure.locator("svg").bounding_box()
        assert svg is not None and svg["width"] > 500 and svg["height"] > 60
    assert opened.locator("svg text", has_text="나이").first.is_visible()
    wide = opened.evaluate(
        "[...document.querySelectorAll('svg text')].filter(t => /[가-힣]/.test(t.textContent)).map(t => t.getBBox().width)"
    )
    assert wide and min(wide) > 8  # a missing glyph or an empty box would be narrower than two syllables


def test_words_of_pictures_stay_inside_them_and_apart(opened: Page) -> None:
    outside = opened.evaluate(
        """[...document.querySelectorAll('figure svg')].flatMap(svg => {
            const all = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(t => {
                const b = t.getBoundingClientRect();
                return b.left < all.left - 2 || b.right > all.right + 2 || b.top < all.top - 2 || b.bottom > all.bottom + 2;
            }).map(t => t.textContent);
        })"""
    )
    assert outside == []


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_nothing_makes_the_page_scroll_sideways(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_text_stands_out_from_its_ground_in_both_languages(opened: Page) -> None:
    for language in ("ko", "en"):
        opened.locator(f"label[for={language}]").click()
        seen, found = opened.evaluate(CONTRAST.read_text(encoding="utf-8"))
        assert seen > 100 and found == []


def test_on_paper_the_hidden_numbers_and_the_signatures_are_there(opened: Page) -> None:
    opened.emulate_media(media="print")
    assert opened.locator(".sign").is_visible()
    assert not opened.locator("nav").is_visible()
