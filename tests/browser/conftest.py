"""A real Chromium, headless, and the page `/verify` in it; whatever the page complains about fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import pumasi.web

FOLDER = Path(pumasi.web.__file__).parent / "verify"
QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


class Open(Protocol):
    def __call__(self, url: str = ..., /, **options: Any) -> AbstractContextManager[Page]: ...


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium's own sandbox does not start for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *sandbox])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(browser: Browser) -> Open:
    """Open the page from disk, or from an address, in a browser of its own with these settings."""
    return partial(_opened, browser)


@contextmanager
def _opened(browser: Browser, url: str = (FOLDER / "index.html").as_uri(), /, **options: Any) -> Iterator[Page]:
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.locator("#check:enabled").wait_for()
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Open) -> Iterator[Page]:
    with open_page(locale="en-GB") as page:
        yield page


@pytest.fixture(scope="module")
def checker(open_page: Open) -> Iterator[Page]:
    """A page that many tests may ask: only its functions are used."""
    with open_page() as page:
        yield page
