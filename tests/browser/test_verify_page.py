"""The page `/verify` as a reader meets it: files in, a verdict out, in two languages, by keyboard, on paper, without a network."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from pumasi.kernel.envelope import fingerprint
from pumasi.ledger import verify
from tests.browser.conftest import FOLDER, Open
from tests.browser.page_files import page_files
from tests.casebook import ORIGIN, RESEARCHER, Casebook, play
from tests.unit.test_verify_erased import built_without

WHOLE = play()
FIRST = WHOLE.hospitals[0]


def with_bundle(page: Page, data: bytes, name: str = "case.json") -> None:
    page.set_input_files("#bundle", {"name": name, "mimeType": "application/json", "buffer": data})


def with_policy(page: Page, policy: str) -> None:
    page.set_input_files("#policy", {"name": "policy", "mimeType": "text/plain", "buffer": policy.encode()})


def drop(page: Page, target: str, name: str, text: str) -> None:
    script = "([name, text]) => { const all = new DataTransfer(); all.items.add(new File([text], name)); return all; }"
    page.dispatch_event(target, "drop", {"dataTransfer": page.evaluate_handle(script, [name, text])})


def check(page: Page, data: bytes | None = None) -> str:
    """The verdict's words."""
    if data is not None:
        with_bundle(page, data)
    page.get_by_role("button", name=re.compile("^(Check|확인하기)$")).click()
    page.locator("#check:enabled").wait_for()
    return page.locator("#verdict").inner_text()


def broken(book: Casebook = WHOLE, *, entries: int = 1) -> bytes:
    value = json.loads(book.bundle())
    for entry in value["entries"][:entries]:
        entry["event"]["body"]["at"] = "2026-03-02T23:59:59Z"
    return verify.canonical(value)


# --- verdicts ---


def test_a_whole_case_is_green_and_told(page: Page) -> None:
    assert check(page, WHOLE.bundle()) == "VERIFIED"
    result = page.locator("#result")
    expect(result).to_have_attribute("data-verdict", "holds")
    text = " ".join(result.inner_text().split())
    assert f"case {WHOLE.case} of the log {ORIGIN}" in text
    assert "the closing event counts 51 events of the case and 61 of the consortium" in text
    assert f"5 cosignatures on the head: {', '.join(WHOLE.cosigners)}" in text
    assert text.count("the data review board approved (2 of 2 votes") == len(WHOLE.hospitals)
    assert "no cryptography proves that" in text
    for party in (FIRST, RESEARCHER):
        assert f"{party} {fingerprint(WHOLE.keys_of(party).public)}" in text
    expect(page.locator(".warnings strong")).to_have_text(["KEYS NOT PINNED"])
    expect(page.locator("#result code").first).to_have_text(verify.sha256(WHOLE.bundle()))


def test_a_changed_case_is_red_with_every_reason(page: Page) -> None:
    assert check(page, broken(entries=20)) == "NOT VERIFIED"
    expect(page.locator("#result")).to_have_attribute("data-verdict", "broken")
    reasons = page.locator(".reasons > li:not(.rest)")
    expect(reasons).to_have_count(12)
    expect(reasons.first).to_have_text("entry 0: it does not stand in the log at this place: it was changed or moved")
    page.get_by_text("and 8 more").click()
    expect(page.get_by_text("entry 19:")).to_be_visible()
    assert "proven" not in page.locator("#result").inner_text()


def test_a_policy_pins_the_keys_or_refuses(page: Page) -> None:
    page.get_by_text("Policy, and cases that still run").click()
    with_policy(page, WHOLE.policy(quorum=3))
    assert check(page, WHOLE.bundle()) == "VERIFIED"
    expect(page.locator(".warnings li")).to_have_count(0)
    expect(page.locator("#result")).to_contain_text("the one that the policy pins, and the cosignatures reach its quorum")
    assert check(page, WHOLE.bundle(checkpoint=WHOLE.checkpoint(cosigners=[FIRST]))) == "NOT VERIFIED"
    expect(page.locator(".reasons")).to_contain_text("do not reach the quorum")
    with_policy(page, "quorum none")
    assert check(page) == "NOT CHECKED"
    expect(page.locator(".reasons")).to_contain_text("does not end with a newline")
    page.get_by_role("button", name="Leave the policy out").click()
    expect(page.get_by_label("Policy (optional)")).to_be_focused()
    assert check(page) == "VERIFIED"


def test_a_running_case_and_a_lonely_log_say_so(page: Page) -> None:
    running = play(until="released")
    data = running.bundle(checkpoint=running.checkpoint(cosigners=[]))
    assert check(page, data) == "NOT VERIFIED"
    expect(page.locator(".reasons")).to_contain_text("With --open a case that still runs is accepted")
    page.get_by_text("Policy, and cases that still run").click()
    page.get_by_label("Accept a case that still runs").check()
    assert check(page) == "VERIFIED"
    expect(page.locator(".warnings strong")).to_have_text(["KEYS NOT PINNED", "NOT WITNESSED", "NOT CLOSED"])


def test_a_case_without_an_erased_document_is_accepted_only_when_asked_for(page: Page) -> None:
    data = built_without(WHOLE, {WHOLE.applied})
    assert check(page, data) == "NOT VERIFIED"
    expect(page.locator(".reasons")).to_contain_text("with --erased the rest is checked")
    page.get_by_text("Policy, and cases that still run").click()
    page.get_by_label("Accept a bundle without documents that were erased").check()
    assert check(page) == "VERIFIED"
    expect(page.locator(".warnings strong")).to_have_text(["KEYS NOT PINNED", "NOT WHOLE"])
    expect(page.locator("#result")).to_contain_text(f"What the application {WHOLE.applied[:16]}… said: it was erased or left out")


def test_names_in_a_file_are_text_and_steer_nothing(page: Page) -> None:
    value = json.loads(WHOLE.bundle())
    value["checkpoint"] += "— <img\u202e/src=x> AAAAAAAA\n"
    with_bundle(page, verify.canonical(value), "<b>\u202enosj.exe")
    assert check(page) == "NOT VERIFIED"
    expect(page.locator("#result")).to_contain_text(r"<img\u{202e}/src=x>")
    expect(page.locator("#result dd").first).to_have_text(r"<b>\u{202e}nosj.exe")
    assert page.locator("#result img, #result b").count() == 0


def test_files_are_dropped_where_they_belong(page: Page) -> None:
    page.get_by_text("Policy, and cases that still run").click()
    drop(page, "#bundle-drop", "dropped.json", WHOLE.bundle().decode())
    drop(page, "#policy-drop", "dropped.policy", WHOLE.policy(quorum=5))
    expect(page.locator("#bundle-drop .chosen")).to_have_text("dropped.json")
    assert check(page) == "VERIFIED"
    expect(page.locator(".warnings li")).to_have_count(0)
    drop(page, "footer", "missed", "a missed drop opens nothing")
    expect(page.locator("#verdict")).to_be_visible()


def test_a_verdict_never_stands_beside_another_file(page: Page) -> None:
    page.get_by_text("Policy, and cases that still run").click()
    for change in (
        lambda: with_bundle(page, broken()),
        lambda: with_policy(page, WHOLE.policy(quorum=5)),
        lambda: page.get_by_role("button", name="Leave the policy out").click(),
        lambda: page.get_by_label("Accept a case that still runs").check(),
        lambda: drop(page, "#bundle-drop", "other.json", "{}"),
    ):
        check(page, WHOLE.bundle())
        expect(page.locator("#result")).to_be_visible()
        change()
        expect(page.locator("#result")).to_be_hidden()


def test_what_changes_during_a_check_gets_no_verdict(page: Page) -> None:
    with_bundle(page, WHOLE.bundle())
    page.evaluate("() => { document.getElementById('check').click(); document.getElementById('open').click(); }")
    page.locator("#check:enabled").wait_for()
    expect(page.locator("#result")).to_be_hidden()


def test_nothing_is_checked_without_a_file(page: Page) -> None:
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#result")).to_be_hidden()


# --- browsers that cannot ---

UNSOUND = {
    "takes every signature": "crypto.subtle.verify = async () => true",
    "takes no signature": "crypto.subtle.verify = async () => false",
    "does not know Ed25519": "crypto.subtle.importKey = async () => { throw new DOMException('unknown', 'NotSupportedError') }",
    "has no cryptography": "Object.defineProperty(crypto, 'subtle', { value: undefined })",
}


@pytest.mark.parametrize("how", UNSOUND)
def test_a_browser_that_decides_otherwise_is_not_used(browser: Browser, how: str) -> None:
    page = browser.new_page(locale="en-GB")
    page.add_init_script(UNSOUND[how])
    page.goto(FOLDER.joinpath("index.html").as_uri())
    expect(page.get_by_text("This browser cannot check Ed25519 signatures")).to_be_visible()
    expect(page.locator("#check")).to_be_disabled()
    page.close()


# --- no network ---


@contextmanager
def served(files: dict[str, bytes]) -> Iterator[str]:
    """The files as a hub would serve them, below one address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.removeprefix("/verify/") or "index.html")
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", guess_type(self.path)[0] or "text/html")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/verify/"
        server.shutdown()
        thread.join()


def test_served_by_a_hub_it_asks_for_its_own_files_and_for_nothing_more(browser: Browser) -> None:
    files = page_files()
    with served(files) as address:
        page = browser.new_page(locale="en-GB")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("#check:enabled").wait_for()
        assert sorted(asked) == sorted([address, *(address + name for name in files if name != "index.html")])
        page.context.set_offline(True)
        assert check(page, WHOLE.bundle()) == "VERIFIED"
        assert check(page, broken()) == "NOT VERIFIED"
        assert len(asked) == len(files)
        page.close()


ATTEMPTS = {
    "fetch": "() => fetch('https://log.pumasi.example/').then(() => true, () => false)",
    "a picture": """() => new Promise((done) => {
        Object.assign(new Image(), { onload: () => done(true), onerror: () => done(false), src: "https://log.pumasi.example/x.png" });
    })""",
    "inline script": """() => {
        document.body.append(Object.assign(document.createElement("script"), { textContent: "globalThis.ran = true" }));
        return globalThis.ran === true;
    }""",
    "inline style": """() => {
        document.body.setAttribute("style", "margin-top: 77px");
        return getComputedStyle(document.body).marginTop === "77px";
    }""",
    "another base": """() => {
        document.head.append(Object.assign(document.createElement("base"), { href: "https://log.pumasi.example/" }));
        return document.baseURI.startsWith("https");
    }""",
    "evaluation": """() => new Promise((done) => setTimeout(() => {
        try { done(new Function("return true")()); } catch { done(false); }
    }))""",
}


@pytest.mark.parametrize("how", ATTEMPTS)
def test_the_content_security_policy_holds(browser: Browser, how: str) -> None:
    page = browser.new_page()
    page.goto(FOLDER.joinpath("index.html").as_uri())
    page.evaluate("blocked = []; document.addEventListener('securitypolicyviolation', (event) => blocked.push(event.blockedURI))")
    assert page.evaluate(ATTEMPTS[how]) is False
    assert len(page.evaluate("() => new Promise((done) => setTimeout(() => done(blocked), 20))")) == 1
    page.close()


def test_pages_outside_know_no_other_names() -> None:
    """Every file that the page names is there, and every file is named."""
    files = page_files()
    html = files["index.html"].decode()
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', html))
    assert named == set(files) - {"index.html"}


# --- languages ---


def test_korean_comes_first_when_the_reader_prefers_it(open_page: Open) -> None:
    with open_page(locale="ko-KR") as page:
        expect(page.locator("html")).to_have_attribute("lang", "ko")
        expect(page.get_by_role("heading", level=1)).to_have_text("사건 묶음 확인")
        assert check(page, WHOLE.bundle()) == "확인됨"
        expect(page.locator(".warnings strong")).to_have_text(["키가 고정되지 않음"])
        expect(page.locator("#result")).to_contain_text("종결 사건이 센 과제 사건 51건과 컨소시엄 사건 61건이 모두 여기 있습니다")
        page.get_by_role("button", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator("#verdict")).to_have_text("VERIFIED")
        expect(page.locator("#bundle-drop .chosen")).to_have_text("case.json")
        assert check(page, broken()) == "NOT VERIFIED"
        page.get_by_role("button", name="한국어").click()
        expect(page.locator(".reasons li")).to_have_text(["항목 0: 원장의 이 자리에 있지 않습니다: 바뀌었거나 옮겨졌습니다"])


def test_other_readers_get_english(open_page: Open) -> None:
    with open_page(locale="fr-FR") as page:
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.get_by_role("button", name="English")).to_have_attribute("aria-pressed", "true")


def test_in_korean_nothing_is_left_in_english(open_page: Open) -> None:
    with open_page(locale="ko-KR") as page:
        for data in (broken(entries=13), WHOLE.bundle()):
            check(page, data)
            left = page.locator("main, footer").all_inner_texts()
            words = set(
                re.findall(
                    r"[A-Za-z]{3,}", re.sub(r"[\w.-]*[@/.%][\w.-]*|[0-9a-f]{16,}…?|([0-9a-f]{4}-){3}[0-9a-f]{4}", " ", " ".join(left))
                )
            )
            names = {"Mountain", "University", "Hospital", "river", "hospital", "platform", "coordinator", "case", "json"}
            terms = {"SHA", "SP", "tlog", "policy", "open", "pumasi", "verify", "Ed", "Pumasi"}
            assert words - names - terms == set()


# --- people with a keyboard, a screen reader, a printer ---


def test_by_keyboard_alone_and_the_result_takes_the_focus(page: Page) -> None:
    with_bundle(page, WHOLE.bundle())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the check")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Case bundle")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Policy (optional)")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Accept a case that still runs")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="VERIFIED")).to_be_focused()


HERE = Path(__file__).parent
BASICS, CONTRAST = ((HERE / name).read_text(encoding="utf-8") for name in ("basics.js", "contrast.js"))


@pytest.mark.parametrize("width", [320, 375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody(open_page: Open, scheme: Any, width: int) -> None:
    with open_page(locale="ko-KR" if width == 375 else "en-GB", color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        page.locator("summary").click()
        with_policy(page, "quorum\n")
        states = [
            lambda: None,
            lambda: check(page, WHOLE.bundle()),
            lambda: check(page, broken(entries=20)),
            lambda: page.locator("#forget").click(),
        ]
        for state in [*states, lambda: check(page), lambda: check(page, WHOLE.bundle())]:
            state()
            page.mouse.move(0, 0)
            assert page.evaluate(BASICS) == []
            seen, low = page.evaluate(CONTRAST)
            assert (low, seen > 12) == ([], True)


def test_on_paper_there_is_the_result_alone(page: Page) -> None:
    check(page, WHOLE.bundle())
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("#form", ".languages", ".skip", "[data-print]"):
        expect(page.locator(hidden)).to_be_hidden()
    for shown in ("#verdict", ".keys", "#result code >> nth=0", "footer"):
        expect(page.locator(shown)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST)[1] == []
    page.evaluate("globalThis.print = () => document.body.classList.add('printed')")
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Print this result").click()
    expect(page.locator("body")).to_have_class("printed")
