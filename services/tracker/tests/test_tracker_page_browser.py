"""The preference page in a real browser: without script, by keyboard, on a phone and on a desk."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Playwright, async_playwright, expect

from clarion_kit.vocabulary import Channel
from clarion_tracker.adapters.granian_server import GranianServer
from clarion_tracker.wish_page import Change

from .preference_samples import TOKEN, PageWorld

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


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
async def opened(browser: Browser, world: PageWorld, width: int = 1440) -> AsyncIterator[Page]:
    """The page as its owner sees it, no script allowed."""
    async with GranianServer("127.0.0.1", 0, None).serve(world.handle) as port:
        context = await browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 740})
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{port}/p/{TOKEN}")
        yield page
        await context.close()


@pytest.mark.parametrize("width", [360, 1440])
async def test_page_fits_its_width_and_every_switch_has_a_name(chromium: Browser, width: int) -> None:
    async with opened(chromium, PageWorld(), width) as page:
        boxes = page.get_by_role("checkbox")
        await expect(boxes).to_have_count(5)
        await expect(page.get_by_role("group", name="Weekly news").get_by_label("Mail")).to_be_checked()
        await expect(page.get_by_label("Send me nothing at all")).not_to_be_checked()
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=SCREENSHOTS / f"preferences-{width}.png", full_page=True)
        main = await page.get_by_role("main").bounding_box()
        assert main is not None
        assert main["x"] >= 0
        assert main["x"] + main["width"] <= width
        for number in range(5):
            label = await page.locator("label").nth(number).bounding_box()
            assert label is not None
            assert label["height"] >= 40


async def test_switch_is_turned_and_saved_by_keyboard_alone(chromium: Browser) -> None:
    world = PageWorld()
    async with opened(chromium, world) as page:
        for _ in range(4):  # both channels, then news by SMS, then by mail
            await page.keyboard.press("Tab")
        await expect(page.get_by_role("group", name="Weekly news").get_by_label("Mail")).to_be_focused()
        await page.keyboard.press("Space")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("status")).to_have_text("Saved.")
        await expect(page.get_by_role("group", name="Weekly news").get_by_label("Mail")).not_to_be_checked()
        assert world.turned == [Change(Channel.EMAIL, "weekly-news", False)]

        await page.reload()
        await expect(page.get_by_role("status")).to_have_text("Saved.")
        assert len(world.turned) == 1
