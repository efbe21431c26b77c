"""One notification on every channel, from its send to the last click: the CLI, the RPC, the trace and the console find the
same facts."""

import asyncio
import email
import json
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email import policy
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.template.v1 import template_service_pb2 as template_pb
from clarion_client import Channel, Content, Mail, Push
from clarion_client.content import content_proto
from clarion_kit.vocabulary import Channel as Word
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_local.process import becomes_true
from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector, ReceivedSpan
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

TITLE = "Your order 1001 is on its way"
TARGET = "https://shop.example/orders/1001"
PERSON = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"}
CHANNELS = {"ios": "ios", "android": "android", "browser": "web", "sms": "sms", "mail": "email"}
"""The inbox's names and ours."""
ENDS = {"ios": "clicked", "android": "clicked", "web": "clicked", "sms": "delivered", "email": "clicked"}
LOOK_AGAIN_SECONDS = 0.1
SOON = 40.0


@dataclass(frozen=True)
class Fact:
    """What every view must say of a delivery."""

    delivery_id: str
    state: str
    receipt: str
    attempts: int


Facts = Mapping[str, Fact]


class Outside:
    """The world beyond the mesh: devices, browsers and mail readers, over HTTPS."""

    def __init__(self, shop: Shop, tracker_url: str) -> None:
        self._practice = shop.practice
        self._tracker_url = tracker_url
        tls = ssl.create_default_context(cafile=shop.practice.ca_file)
        self._still = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls), _NoRedirects())
        self._browser = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=tls), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    async def got(self) -> Mapping[str, str]:
        """What arrived, by channel, once it is on all of them: sources as they were sent."""
        found: dict[str, int] = {}
        async with asyncio.timeout(SOON):
            while found.keys() != set(CHANNELS.values()):
                listed = json.loads(await self._inbox(f"messages?limit=50&q={quote('order 1001')}"))
                found = {CHANNELS[one["channel"]]: one["n"] for one in listed["messages"]}
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return {channel: json.loads(await self._inbox(f"messages/{n}"))["source"] for channel, n in found.items()}

    async def tell(self, token: str, *types: str) -> None:
        """As an app does."""
        events = [{"token": token, "id": f"{kind}-1", "type": kind} for kind in types]
        await self.ask("/v1/events", json.dumps({"events": events}).encode(), {"content-type": "application/json"})

    async def ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] = PERSON) -> tuple[int, str]:
        """Status and body, or where a redirect leads."""
        request = urllib.request.Request(f"{self._tracker_url}{path}", body, dict(headers))

        def fetch() -> tuple[int, str]:
            try:
                with self._still.open(request, timeout=10) as answer:
                    return answer.status, answer.read().decode("latin-1")
            except urllib.error.HTTPError as other:
                with other:
                    return other.code, other.headers.get("location", "")

        return await asyncio.to_thread(fetch)

    async def console(self, path: str, form: Mapping[str, str] | None = None) -> str:
        """A page as a browser sees it, with its cookies."""
        body = urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(f"{self._tracker_url}{path}", body, {"sec-fetch-site": "same-origin"})

        def fetch() -> str:
            with self._browser.open(request, timeout=10) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(fetch)

    async def _inbox(self, path: str) -> bytes:
        headers = {"authorization": f"Bearer {self._practice.api_token}"}
        request = urllib.request.Request(f"{self._practice.url}/inbox/api/{path}", headers=headers)

        def fetch() -> bytes:
            with self._still.open(request, timeout=10) as answer:
                return bytes(answer.read())

        return await asyncio.to_thread(fetch)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What a redirect answers is what was asked for."""

    def redirect_request(self, *_: object) -> None:
        return None


async def test_every_view_of_a_notification_tells_the_same_from_send_to_click(
    stack: Stack, collector: Collector
) -> None:
    async with open_shop(stack, "follow-one") as shop:
        outside = Outside(shop, stack.endpoints.tracker_url)
        await shop.client.recipients.upsert(shop.everywhere("user-7"))
        await shop.client.templates.store(_template())

        sent = await shop.client.send(
            recipients=["user-7"],
            category="transactional",
            template="shipped",
            channels=list(Channel),
            event_id="order-1001-shipped",
            trace=True,
        )
        await _open_and_click(shop, outside, sent.notification_id)
        answer = await _until(shop, sent.notification_id, lambda facts: _receipts(facts) == ENDS)

        by_rpc = _by_rpc(answer)
        assert {fact.state for fact in by_rpc.values()} == {"sent"}
        assert await asyncio.to_thread(_by_cli, stack, shop, sent.notification_id) == by_rpc
        assert await _by_trace_once(collector, sent.trace_id, by_rpc) == by_rpc
        assert await _by_console(outside, stack, sent.notification_id, sent.trace_id) == by_rpc
        assert answer.notification.trace_id == sent.trace_id


async def _open_and_click(shop: Shop, outside: Outside, notification_id: str) -> None:
    """As the person with the phones, the browser and the mailbox does."""
    got = await outside.got()
    for channel in ("ios", "android", "web"):
        token = re.search(r'"?clarion_event_token"?\s*:\s*"([A-Za-z0-9_-]+)"', got[channel])
        assert token is not None, (channel, got[channel])
        await outside.tell(token[1], "received", "opened", "clicked")
    html = _html(got["email"])
    pixel, click = (re.search(rf"https://[^\"/]+(/{door}/[A-Za-z0-9_.-]+)", html) for door in ("o", "c"))
    assert pixel is not None
    assert click is not None
    assert (await outside.ask(pixel[1]))[0] == 200
    await _until(shop, notification_id, lambda facts: facts["email"].receipt == "seen")
    async with asyncio.timeout(SOON):
        # Within a second of its hand-over a click is a scanner's; a person's comes after.
        while _receipts(_by_rpc(await shop.client.get(notification_id)))["email"] != "clicked":
            assert await outside.ask(click[1]) == (302, TARGET)
            await asyncio.sleep(0.5)


async def _until(shop: Shop, notification_id: str, holds: Callable[[Facts], bool]) -> pb.GetResponse:
    async with asyncio.timeout(SOON):
        while True:
            answer = await shop.client.get(notification_id)
            if len(answer.deliveries) == len(ENDS) and holds(_by_rpc(answer)):
                return answer
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _template() -> template_pb.Template:
    html = f'<p><a href="{TARGET}">Follow your order 1001</a></p>'
    content = Content(
        push=Push(title=TITLE, body="It arrives tomorrow.", link=TARGET),
        sms=TITLE,
        mail=Mail(subject=TITLE, text=f"{TITLE}: {TARGET}", html=html),
    )
    return template_pb.Template(
        name="shipped",
        track_links=True,
        bodies=[template_pb.LocalizedBody(locale="en", content=content_proto(content))],
    )


def _html(source: str) -> str:
    mail = email.message_from_string(source, policy=policy.default)
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def _receipts(facts: Facts) -> Mapping[str, str]:
    return {channel: fact.receipt for channel, fact in facts.items()}


def _by_rpc(answer: pb.GetResponse) -> Facts:
    return {
        Word(one.channel).slug: Fact(
            one.delivery_id,
            DeliveryState(one.state).name.lower(),
            Receipt(one.receipt).name.lower() if one.receipt else "",
            one.attempts,
        )
        for one in answer.deliveries
    }


def _by_cli(stack: Stack, shop: Shop, notification_id: str) -> Facts:
    """What `clarion get` prints."""
    env = {
        "CLARION_ENDPOINT": stack.endpoints.gateway,
        "CLARION_APP_KEY": shop.app_key,
        "CLARION_APP_SECRET": shop.app_secret,
        "CLARION_CA_FILE": stack.endpoints.ca_file,
    }
    clarion = Path(sys.executable).with_name("clarion")
    ended = subprocess.run(
        [str(clarion), "get", notification_id, "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    return {
        one["channel"].removeprefix("CHANNEL_").lower(): Fact(
            one["delivery_id"],
            one["state"].removeprefix("DELIVERY_STATE_").lower(),
            one["receipt"].removeprefix("RECEIPT_").lower(),
            one["attempts"],
        )
        for one in document["deliveries"]
    }


async def _by_trace_once(collector: Collector, trace_id: str, awaited: Facts) -> Facts:
    """The trace's facts once they are the awaited ones, or what they are when the wait ends: daemons export by batches."""
    await becomes_true(lambda: _by_trace(collector.tree(trace_id), trace_id) == awaited, timedelta(seconds=SOON))
    return _by_trace(collector.tree(trace_id), trace_id)


def _by_trace(spans: list[ReceivedSpan], trace_id: str) -> Facts:
    """What the spans of dispatchers and tracker tell; every receipt is linked to its attempt."""
    facts: dict[str, Fact] = {}
    for attempt in (span for span in spans if span.told("clarion.attempt")):
        came_back = [span for span in spans if (trace_id, attempt.span_id) in span.links]
        assert all(span.name.startswith("process RECEIPT.") for span in came_back)
        highest = max((Receipt[span.told("clarion.receipt").upper()] for span in came_back), default=None)
        facts[attempt.told("clarion.channel")] = Fact(
            attempt.told("clarion.delivery.id"),
            "sent" if attempt.told("clarion.outcome") == "accepted" else attempt.told("clarion.outcome"),
            highest.name.lower() if highest is not None else "",
            int(attempt.told("clarion.attempt")),
        )
    return facts


async def _by_console(outside: Outside, stack: Stack, notification_id: str, trace_id: str) -> Facts:
    """What the operators' page shows, found by the event's id and by the person's."""
    ends = stack.endpoints
    await outside.console("/console/login", {"key": ends.admin_key, "secret": ends.admin_secret})
    page = await outside.console("/console/search?q=order-1001-shipped&app=follow-one")
    assert await outside.console("/console/search?q=user-7&app=follow-one") == page
    assert f"Notification <code>{notification_id}</code>" in page
    assert f"<code>{trace_id}</code>" in page
    assert "@example.com" not in page
    assert "+8210" not in page
    facts: dict[str, Fact] = {}
    for article in re.findall(r"<article.*?</article>", page, re.DOTALL):
        label = _first(r'aria-label="(\w+) delivery"', article)
        state, *others = re.findall(r'<span class="badge [a-z]+">([^<]+)</span>', article)
        attempts = max(int(found) for found in re.findall(r"attempt (\d+)", article))
        facts[label] = Fact(
            _first(r"delivery <code>([0-9a-f-]{36})", article), state, others[-1] if others else "", attempts
        )
    return facts


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, unescape(text))
    assert found is not None, pattern
    return found[1]
