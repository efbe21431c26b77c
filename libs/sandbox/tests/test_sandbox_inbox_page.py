"""The inbox page in a real browser: every view, by keyboard, live, at two widths, with hostile contents."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, Request, async_playwright, expect

from clarion_sandbox.server import Sandbox

from . import inbox_samples as samples

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
VIEWS = ("all", "ios", "android", "browser", "sms", "mail")
WIDTHS = (360, 1440)
WITHIN_MS = 2_000
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path(playwright: Playwright) -> str | None:
    """A Chromium of this machine, else the one ``playwright install chromium`` brought."""
    installed = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    own = playwright.chromium.executable_path
    return installed or (own if Path(own).exists() else None)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        path = chromium_path(playwright)
        if path is None:
            pytest.skip("no Chromium: install Debian's package chromium, or run playwright install chromium")
        sandboxed = os.geteuid() != 0
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS, chromium_sandbox=sandboxed)
        yield browser
        await browser.close()


class Complaints:
    """What went wrong in a page: errors, what its policies refused, requests for anything but files and messages."""

    def __init__(self, page: Page, origin: str) -> None:
        self.errors: list[str] = []
        self.refused: list[str] = []
        self.away: list[str] = []
        self._own = re.compile(re.escape(f"{origin}/inbox/") + r"(|[a-z]+\.(css|js|svg)|api/.*|mail/\d+/[0-9a-f]+)")
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfinished", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "sandboxed" in message.text:
            self.refused.append(message.text)
        elif message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        if self._own.fullmatch(request.url.partition("#")[0]) is None:
            self.away.append(request.url)


async def open_inbox(
    browser: Browser, sandbox: Sandbox, *, width: int = 1440, scheme: str = "light"
) -> tuple[Page, Complaints]:
    context = await browser.new_context(
        ignore_https_errors=True,
        viewport={"width": width, "height": 900 if width > 600 else 740},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = await context.new_page()
    page.set_default_timeout(10_000)
    complaints = Complaints(page, sandbox.base_url)
    await page.goto(str(sandbox.description()["inbox_url"]))
    await expect(page.get_by_role("status")).to_have_text("Live")
    return page, complaints


async def show(page: Page, view: str) -> None:
    await page.keyboard.press(str(VIEWS.index(view) + 1))
    await expect(page.locator(f"#tab-{view}")).to_have_attribute("aria-selected", "true")
    await expect(page.locator("#panel > *").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_fits_its_width(chromium: Browser, sandbox: Sandbox, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    samples.fill(sandbox.ledger)
    for width in WIDTHS:
        page, complaints = await open_inbox(chromium, sandbox, width=width, scheme=scheme)
        for view in VIEWS:
            await show(page, view)
            overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            await page.screenshot(path=SCREENSHOTS / f"inbox-{view}-{width}-{scheme}.png", full_page=True)
            assert (view, overflow) == (view, 0)
        assert complaints.errors == []
        assert complaints.away == []
        assert all("tracker.example" in line for line in complaints.refused)


async def test_views_are_reached_and_read_by_keyboard(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    page, complaints = await open_inbox(chromium, sandbox)
    await page.locator("#tab-all").focus()
    for view in (*VIEWS[1:], "all"):
        await page.keyboard.press("ArrowRight")
        await expect(page.locator(":focus")).to_have_attribute("id", f"tab-{view}")
        await expect(page.locator("#panel")).to_have_attribute("aria-labelledby", f"tab-{view}")
    await expect(page.locator(".event")).not_to_have_count(0)
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(":focus")).to_contain_text("Your order #2041 is on its way")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("Subject: =?utf-8?")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator(":focus")).to_contain_text("Überraschung")
    await page.keyboard.press("/")
    await page.keyboard.type("lamps sofa")
    await expect(page.locator(".event")).to_have_count(1)
    assert complaints.errors == []


async def test_page_fits_while_a_message_is_inspected(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    for width in WIDTHS:
        page, _ = await open_inbox(chromium, sandbox, width=width)
        await page.locator(".event").nth(12).click()
        await expect(page.get_by_role("dialog").locator("pre")).to_contain_text("order-2041")
        await page.screenshot(path=SCREENSHOTS / f"inbox-sheet-{width}-light.png")
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


async def test_mail_is_read_as_text_html_headers_and_source(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    for width in WIDTHS:
        page, complaints = await open_inbox(chromium, sandbox, width=width)
        await show(page, "mail")
        await page.get_by_role("button", name="Your order #2041").click()
        await expect(page.frame_locator("iframe").get_by_text("Track the parcel")).to_be_visible()
        await page.screenshot(path=SCREENSHOTS / f"inbox-mail-html-{width}-light.png")
        await page.get_by_role("tab", name="HTML").focus()
        for tab, words in (
            ("headers", "List-Unsubscribe"),
            ("source", "Content-Type: multipart/alternative;"),
            ("text", "Your order #2041 is on its way."),
        ):
            await page.keyboard.press("ArrowRight")
            await expect(page.locator(f".mail-{tab}")).to_contain_text(words)
            await page.screenshot(path=SCREENSHOTS / f"inbox-mail-{tab}-{width}-light.png")
        assert complaints.errors == []


async def test_segments_of_a_text_are_shown_on_demand(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    for width in WIDTHS:
        page, complaints = await open_inbox(chromium, sandbox, width=width)
        await show(page, "sms")
        await page.get_by_role("button", name="Your table for four").click()
        await expect(page.locator(".segment")).to_have_count(0)
        await page.get_by_role("button", name="2 segments").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".segment")).to_have_count(2)
        await expect(page.locator(".bubble-meta", has_text="2 segments")).to_contain_text("GSM-7, 199 septets")
        await expect(page.get_by_role("button", name="2 segments")).to_be_focused()
        await page.screenshot(path=SCREENSHOTS / f"inbox-sms-segments-{width}-light.png")
        assert complaints.errors == []


async def test_new_message_is_seen_within_two_seconds(chromium: Browser, sandbox: Sandbox) -> None:
    page, complaints = await open_inbox(chromium, sandbox)
    await expect(page.locator(".empty")).to_contain_text("Nothing has arrived yet")
    samples.sms(sandbox.ledger, "first")
    await expect(page.locator(".event")).to_have_count(1, timeout=WITHIN_MS)
    samples.apns(sandbox.ledger, {"alert": "second"})
    await expect(page.locator(".event").first).to_contain_text("second", timeout=WITHIN_MS)
    await expect(page.locator("#announcer")).to_have_text("1 new message")
    await show(page, "ios")
    samples.apns(sandbox.ledger, {"alert": "third"}, collapse_id="score")
    await expect(page.locator(".note")).to_have_count(2, timeout=WITHIN_MS)
    samples.apns(sandbox.ledger, {"alert": "fourth"}, collapse_id="score")
    await expect(page.locator(".note").first).to_contain_text("Replaced 1 earlier message", timeout=WITHIN_MS)
    await expect(page.locator(".note")).to_have_count(2)
    assert complaints.errors == []


async def test_mail_shows_the_picture_that_it_brings_and_names_its_files(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    for width in WIDTHS:
        page, complaints = await open_inbox(chromium, sandbox, width=width)
        await show(page, "mail")
        await page.get_by_role("button", name="Your table is ready").click()
        picture = page.frame_locator("iframe").get_by_alt_text("Ready")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
        files = page.get_by_role("list", name="Attachments")
        await expect(files).to_contain_text("mark.png image/png")
        await expect(files).to_contain_text("in the text")
        await expect(files).to_contain_text("pick-up.ics")
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        await page.screenshot(path=SCREENSHOTS / f"inbox-mail-picture-{width}-light.png", full_page=True)
        assert (complaints.errors, complaints.away) == ([], [])


async def test_open_mail_and_focus_stay_when_another_arrives(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    page, _ = await open_inbox(chromium, sandbox)
    await show(page, "mail")
    opened = page.get_by_role("button", name="Your order #2041")
    await opened.click()
    await expect(page.frame_locator("iframe").get_by_text("Track the parcel")).to_be_visible()
    await page.locator("iframe").evaluate("frame => { frame.marked = true }")
    await opened.focus()
    samples.mail(sandbox.ledger, samples.mail_bytes("Another", "text"))
    await expect(page.locator(".row")).to_have_count(5, timeout=WITHIN_MS)
    assert await page.locator("iframe").evaluate("frame => frame.marked") is True
    await expect(opened).to_be_focused()


async def test_app_filter_and_search_narrow_every_view(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill(sandbox.ledger)
    page, complaints = await open_inbox(chromium, sandbox)
    await page.get_by_label("App or sender").select_option(samples.BANK)
    await expect(page.locator(".event")).to_have_count(1)
    await show(page, "ios")
    await expect(page.locator(".note")).to_have_count(1)
    await page.get_by_label("Search messages").fill("nothing like it")
    await expect(page.locator(".empty")).to_be_visible()
    assert complaints.errors == []


async def test_wrong_token_asks_for_another(chromium: Browser, sandbox: Sandbox) -> None:
    page, _ = await open_inbox(chromium, sandbox)
    assert sandbox.credentials.api_token not in page.url
    await page.goto("about:blank")
    await page.goto(f"{sandbox.base_url}/inbox/#token=wrong")
    await expect(page.get_by_role("status")).to_have_text("Locked")
    await page.screenshot(path=SCREENSHOTS / "inbox-gate-1440-light.png")
    await page.get_by_label("Token").fill(sandbox.credentials.api_token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Live")


async def test_hostile_contents_are_shown_and_never_run(chromium: Browser, sandbox: Sandbox) -> None:
    samples.fill_with_hostile(sandbox.ledger)
    for width in WIDTHS:
        page, complaints = await open_inbox(chromium, sandbox, width=width)
        for view in VIEWS:
            await show(page, view)
            await expect(page.locator("#panel")).to_contain_text("<script>")
            assert (view, await page.evaluate("document.documentElement.scrollWidth - innerWidth")) == (view, 0)
            await page.screenshot(path=SCREENSHOTS / f"inbox-hostile-{view}-{width}.png", full_page=True)
        await page.get_by_role("button", name="<script>").first.click()
        await page.frame_locator("iframe").locator("a").click()
        assert await page.evaluate("window.hacked") is None
        assert (complaints.errors, complaints.away) == ([], [])
