"""The preference page over HTTP: a GET changes nothing, a link that is not ours finds nothing."""

from datetime import timedelta
from uuid import UUID

import pytest

from clarion_kit.links import PageLink, UnsubscribeLink, sign_page, sign_unsubscribe
from clarion_kit.vocabulary import Channel
from clarion_tracker.preferences import MAX_BODY_BYTES
from clarion_tracker.wish_page import Change

from .preference_samples import APP, KEY, LINK, NOW, RECIPIENT, TOKEN, PageWorld, form
from .tracker_samples import count

ALL = ["sms", "email", "weekly-news/sms", "weekly-news/email"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_the_page_changes_nothing(method: str) -> None:
    world = PageWorld()

    reply = await world.ask(method)

    assert (reply.status, reply.content_type, world.turned) == (200, "text/html; charset=utf-8", [])
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert count(world.metrics, "page", "shown") == 1


async def test_page_says_what_is_on_and_escapes_names() -> None:
    text = (await PageWorld().ask()).body.decode()

    assert text.count(" checked") == len(ALL)
    assert "<legend>Weekly news</legend>" in text
    assert "&lt;b&gt;&amp;" in text
    assert "<b>" not in text
    assert "<script" not in text
    assert "Saved." not in text


async def test_post_turns_what_differs_and_leads_back_to_the_page() -> None:
    world = PageWorld()

    reply = await world.ask("POST", form(ALL, ["email", "weekly-news/sms"]))

    assert (reply.status, reply.headers["location"]) == (303, f"/p/{TOKEN}?saved")
    assert world.turned == [
        Change(Channel.SMS, "", False),
        Change(Channel.EMAIL, "weekly-news", False),
    ]
    assert b"Saved." in (await world.ask(query="saved")).body
    assert [count(world.metrics, "page", result) for result in ("changed", "shown")] == [1, 1]


async def test_post_that_changes_nothing_tells_nobody() -> None:
    world = PageWorld()

    assert (await world.ask("POST", form(ALL, ALL))).status == 303
    assert world.turned == []
    assert count(world.metrics, "page", "unchanged") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B"),
        TOKEN + "A",
        TOKEN[:-1],
        "",
        "%00" * 20,
        sign_page(bytes(32), LINK),
        sign_page(KEY, PageLink(APP, RECIPIENT, NOW)),
        sign_page(KEY, PageLink(APP, RECIPIENT, NOW - timedelta(days=1))),
        sign_unsubscribe(KEY, UnsubscribeLink(APP, RECIPIENT, 5, Channel.EMAIL)),
    ],
)
async def test_link_that_is_not_ours_or_is_over_is_not_found(method: str, token: str) -> None:
    world = PageWorld()

    reply = await world.ask(method, form(ALL, []), token=token)

    assert (reply.status, reply.body) == (404, b"not found\n")
    assert world.turned == []


@pytest.mark.parametrize("link", [PageLink(4, RECIPIENT, LINK.expire_at), PageLink(APP, UUID(int=8), LINK.expire_at)])
async def test_link_of_somebody_who_is_gone_is_not_found(link: PageLink) -> None:
    assert (await PageWorld().ask(token=sign_page(KEY, link))).status == 404


async def test_somebody_who_goes_between_reading_and_writing_is_not_found() -> None:
    world = PageWorld()
    asked = world.wanted

    async def then_gone(app_id: int, recipient_ref: UUID) -> object:
        found = await asked(app_id, recipient_ref)
        world.gone = True
        return found

    world.wanted = then_gone  # type: ignore[assignment, method-assign]

    assert (await world.ask("POST", form(ALL, []))).status == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (form(ALL, []), "text/plain", 400),
        (form(ALL, []), "", 400),
        (b"\xff" * 10, "application/x-www-form-urlencoded", 400),
        (b"nonsense", "application/x-www-form-urlencoded", 400),
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded", 400),
        (b"on=a&" * 1_000 + b"on=a", "application/x-www-form-urlencoded", 400),
        (b"x" * (MAX_BODY_BYTES + 1), "application/x-www-form-urlencoded", 413),
    ],
)
async def test_post_of_another_form_changes_nothing(body: bytes, content_type: str, status: int) -> None:
    world = PageWorld()

    assert (await world.ask("POST", body, content_type)).status == status
    assert world.turned == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_wishes_that_cannot_be_reached_are_not_answered_for(method: str) -> None:
    world = PageWorld()
    world.away = True

    reply = await world.ask(method, form(ALL, []))

    assert (reply.status, reply.headers["retry-after"]) == (503, "30")
    assert world.turned == []


async def test_other_methods_are_refused() -> None:
    assert (await PageWorld().ask("DELETE")).status == 405


async def test_without_a_key_no_link_is_valid() -> None:
    assert (await PageWorld(key=None).ask()).status == 404
