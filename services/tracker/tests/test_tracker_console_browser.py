"""The console in a real browser: log in, look, search, by keyboard, at two widths, in the light and in the dark."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, async_playwright, expect

from clarion_tracker.adapters.granian_server import GranianServer

from .console_samples import APP_KEY, NOTIFICATION, SECRET, ConsoleWorld, found

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDTHS = (360, 1440)


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


@asynccontextmanager
async def opened(
    browser: Browser, world: ConsoleWorld, *, width: int = 1440, dark: bool = False, script: bool = True
) -> AsyncIterator[tuple[Page, str, list[str]]]:
    """The log-in page, its address, and what the browser complains of."""
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # Chromium reports every answer over 399 as an error, also one that is meant.
        if message.type in ("error", "warning") and "status of 40" not in message.text:
            complaints.append(message.text)

    async with GranianServer("127.0.0.1", 0, None).serve(world.console.answer) as port:
        context = await browser.new_context(
            viewport={"width": width, "height": 900 if width > 600 else 740},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
            locale="en-GB",
        )
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        origin = f"http://127.0.0.1:{port}"
        await page.goto(f"{origin}/console")
        yield page, origin, complaints
        await context.close()


async def log_in(page: Page, secret: str = SECRET) -> None:
    await page.get_by_label("Key").fill(APP_KEY)
    await page.get_by_label("Secret").fill(secret)
    await page.keyboard.press("Enter")


async def shot(page: Page, name: str, width: int, *, dark: bool) -> None:
    """Keep a picture, and see that nothing is wider than the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    scheme = "dark" if dark else "light"
    await page.screenshot(path=SCREENSHOTS / f"console-{name}-{width}-{scheme}.png", full_page=True)
    assert (name, await page.evaluate("document.documentElement.scrollWidth - innerWidth")) == (name, 0)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_every_page_fits_its_width_and_its_own_policy(chromium: Browser, width: int, dark: bool) -> None:
    world = ConsoleWorld(secure=False)
    async with opened(chromium, world, width=width, dark=dark) as (page, origin, complaints):
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await shot(page, "login", width, dark=dark)
        await log_in(page)
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await shot(page, "overview", width, dark=dark)
        world.finds = [found(), found(event_id="order-1002-shipped")]
        await page.goto(f"{origin}/console/search?q=user-7")
        await expect(page.get_by_role("row")).to_have_count(3)
        await shot(page, "search", width, dark=dark)
        await page.goto(f"{origin}/console/n/{NOTIFICATION}")
        await expect(page.get_by_role("article")).to_have_count(6)
        await expect(page.get_by_role("img").nth(1)).to_have_accessible_name(  # the second lane
            "android, sent: planned +12 ms; retry +140 ms; retry +2.4 s; sent +9.1 s; receipt: delivered +9.9 s"
        )
        await shot(page, "timeline", width, dark=dark)
        assert complaints == []


async def test_wrong_secret_is_said_and_right_one_opens_until_log_out(chromium: Browser) -> None:
    world = ConsoleWorld(secure=False)
    async with opened(chromium, world) as (page, origin, _):
        await log_in(page, "wrong")
        await expect(page.get_by_role("alert")).to_have_text("That key and secret do not open this page.")
        await log_in(page)
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        [cookie] = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await page.goto(f"{origin}/console")
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_search_by_keyboard_alone_ends_at_the_timeline(chromium: Browser) -> None:
    world = ConsoleWorld(secure=False)
    world.finds = [found()]
    async with opened(chromium, world, script=False) as (page, _, _):
        await log_in(page)
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.keyboard.press("Tab")  # skip link
        await page.keyboard.press("Tab")  # the name
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("Notification, event or recipient id")).to_be_focused()
        await page.keyboard.type("order-1001-shipped")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name=f"Notification {NOTIFICATION}")).to_be_visible()
        assert world.searched == [("order-1001-shipped", "")]


async def test_live_page_shows_what_is_new_and_can_be_held(chromium: Browser) -> None:
    world = ConsoleWorld(secure=False)
    async with opened(chromium, world) as (page, _, complaints):
        await page.clock.install()
        await log_in(page)
        await expect(page.get_by_label("Live")).to_be_checked()
        asked = len(world.spans)
        async with page.expect_response("**/console"):
            await page.clock.run_for(4_100)
        assert len(world.spans) == asked + 1
        await page.get_by_label("Live").uncheck()
        await page.clock.run_for(20_000)
        assert len(world.spans) == asked + 1
        assert complaints == []
