"""Unsubscribing with one click: only a POST to a signed link does, and a 2xx means that it is kept."""

from uuid import UUID

import pytest

from clarion_kit.links import OpenLink, UnsubscribeLink, sign_open, sign_unsubscribe
from clarion_kit.vocabulary import Channel
from clarion_tracker.ports import Reply, Request
from clarion_tracker.unsubscribe import MAX_BODY_BYTES, Unsubscribing

from .tracker_calls import Bytes
from .tracker_samples import Away, count, tracked

KEY = bytes(range(32))
RECIPIENT = UUID(int=9)
LINK = UnsubscribeLink(3, RECIPIENT, 5, Channel.EMAIL)
TOKEN = sign_unsubscribe(KEY, LINK)
FORM = "application/x-www-form-urlencoded"
ONE_CLICK = b"List-Unsubscribe=One-Click"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
    'multipart/form-data; boundary="x"',
)


class World:
    """Categories and wishes in memory."""

    def __init__(self, key: bytes | None = KEY) -> None:
        counter, self.metrics = tracked()
        self.wishes: list[tuple[int, UUID, str, Channel]] = []
        self.away = False
        self.unsubscribing = Unsubscribing(key, self, self, counter)

    def category(self, app_id: int, category_id: int) -> str | None:
        return "news" if (app_id, category_id) == (LINK.app_id, LINK.category_id) else None

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        if self.away:
            raise Away
        self.wishes.append((app_id, recipient_ref, category, channel))

    async def ask(
        self, method: str = "POST", body: bytes = ONE_CLICK, content_type: str = FORM, token: str = TOKEN
    ) -> Reply:
        request = Request(method, f"/u/{token}", headers={"content-type": content_type}, body=Bytes(body))
        return await self.unsubscribing.answer(request, token)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (ONE_CLICK, FORM),
        (ONE_CLICK + b"&x=y", f"{FORM}; charset=utf-8"),
        MULTIPART,
    ],
)
async def test_one_click_switches_the_category_off(body: bytes, content_type: str) -> None:
    world = World()

    reply = await world.ask(body=body, content_type=content_type)

    assert reply.status == 200
    assert "location" not in reply.headers
    assert world.wishes == [(3, RECIPIENT, "news", Channel.EMAIL)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_the_link_only_asks(method: str) -> None:
    world = World()

    reply = await world.ask(method)

    assert reply.status == 200
    assert b'<form method="post">' in reply.body
    assert reply.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert world.wishes == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B"),
        "",
        "x",
        "%00" * 20,
        sign_unsubscribe(bytes(32), LINK),
        sign_unsubscribe(KEY, UnsubscribeLink(4, RECIPIENT, 5, Channel.EMAIL)),
        sign_unsubscribe(KEY, UnsubscribeLink(3, RECIPIENT, 6, Channel.EMAIL)),
        sign_open(KEY, OpenLink(3, RECIPIENT, 5, 0, "", Channel.EMAIL)),
    ],
)
async def test_link_that_is_not_ours_is_not_found(method: str, token: str) -> None:
    world = World()

    reply = await world.ask(method, token=token)

    assert (reply.status, reply.body) == (404, b"not found\n")
    assert world.wishes == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", FORM, 400),
        (b"List-Unsubscribe=No", FORM, 400),
        (ONE_CLICK, "text/plain", 400),
        (ONE_CLICK, "", 400),
        (b"\xff" * 10, FORM, 400),
        (b"a=b&" * 50 + ONE_CLICK, FORM, 400),
        (MULTIPART[0], "multipart/form-data", 400),
        (MULTIPART[0], 'multipart/form-data; boundary="x"\r\nx: y', 400),
        (b"x" * (MAX_BODY_BYTES + 1), FORM, 413),
    ],
)
async def test_post_of_another_form_unsubscribes_nobody(body: bytes, content_type: str, status: int) -> None:
    world = World()

    assert (await world.ask(body=body, content_type=content_type)).status == status
    assert world.wishes == []


async def test_wish_that_cannot_be_kept_is_not_answered_for() -> None:
    world = World()
    world.away = True
    away = await world.ask()
    world.away = False

    assert (away.status, away.headers["retry-after"]) == (503, "30")
    assert (await world.ask()).status == 200
    assert [count(world.metrics, "unsubscribe", result) for result in ("unavailable", "applied")] == [1, 1]


async def test_other_methods_are_refused() -> None:
    assert (await World().ask("DELETE")).status == 405


async def test_without_a_key_no_link_is_valid() -> None:
    assert (await World(key=None).ask()).status == 404
