"""What daemons ask each other for every batch, and what readers ask the tracker: calls of one at a time, and pixels."""

import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import grpc
from pyreqwest.client import Client, ClientBuilder

from clarion.internal.preference.v1 import preference_service_pb2 as preference
from clarion.internal.preference.v1 import preference_service_pb2_grpc as preference_rpc
from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as ratelimit
from clarion.internal.ratelimit.v1 import rate_limit_service_pb2_grpc as ratelimit_rpc
from clarion.internal.template.v1 import template_service_pb2 as template
from clarion.internal.template.v1 import template_service_pb2_grpc as template_rpc
from clarion.template.v1.template_service_pb2 import LocalizedBody, Template
from clarion.types.v1.channel_pb2 import Channel as ProtoChannel
from clarion_client import Channel, ClarionError, Content, Mail, Notification
from clarion_client.content import content_proto
from clarion_kit import keyfiles, links
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel as LinkChannel
from clarion_local.bench import meter, records, samples, traffic
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

BATCH = 500
_CALL_SECONDS = 10.0
_HTTP_TIMEOUT = timedelta(seconds=10)
_READERS = 32
_TELLERS = 128
_READER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36"
_MESSAGE_BYTES = 64 << 20
_CLICK = re.compile(r'href="(https?://[^"]+/c/[^"]+)"')
_MAILS_LOOKED_AT = 500
_LINKED = "order-linked"
_LINKED_MAIL = Mail(
    subject="On its way", text="It is.", html='<html><body><a href="https://shop.example/orders">Here</a></body></html>'
)
_CAP_WINDOW_SECONDS = 3_600
_SEED = 20_260_102

RequestT = TypeVar("RequestT")


async def edges(context: Context, world: World) -> dict[str, object]:
    """Resolve, Render and Acquire of 500; pixels, clicks and app events."""
    draw = random.Random(_SEED)
    return {
        "resolve_500": await _resolve(context, world, draw),
        "render_500": await _render(context, world, draw),
        "acquire_500": await _acquire(context, world, draw),
        "tracker": await _tracker(context, world),
    }


async def _resolve(context: Context, world: World, draw: random.Random) -> dict[str, object]:
    channels = [ProtoChannel.ValueType(int(channel)) for channel in traffic.MIX]

    def request() -> preference.ResolveRequest:
        return preference.ResolveRequest(
            queries=[
                preference.ResolveRequest.Query(
                    app_id=world.app_id,
                    recipient_ref=recipient_reference(world.app_id, traffic.recipient_id(draw.randrange(world.people))),
                    category=traffic.CATEGORY,
                    channels=channels,
                )
                for _ in range(BATCH)
            ]
        )

    async with _peer(world, "preference") as channel:
        stub = preference_rpc.PreferenceServiceStub(channel)
        return await _timed(context, lambda asked: stub.Resolve(asked, timeout=_CALL_SECONDS), request)


async def _render(context: Context, world: World, draw: random.Random) -> dict[str, object]:
    pattern = traffic.pattern()

    def request() -> template.RenderRequest:
        made = template.RenderRequest()
        for number in range(BATCH):
            item = made.items.add(app_id=world.app_id, template=traffic.TEMPLATE, locale="en")
            item.channels.append(ProtoChannel.ValueType(int(pattern[number % len(pattern)])))
            item.data.update({"order": f"A-{draw.randrange(10**6)}", "name": "Ann"})
        return made

    async with _peer(world, "template") as channel:
        stub = template_rpc.TemplateServiceStub(channel)
        return await _timed(context, lambda asked: stub.Render(asked, timeout=_CALL_SECONDS), request)


async def _acquire(context: Context, world: World, draw: random.Random) -> dict[str, object]:
    def request() -> ratelimit.AcquireRequest:
        made = ratelimit.AcquireRequest()
        for _ in range(BATCH):
            item = made.items.add(app_id=world.app_id, id=draw.randbytes(16))
            limit = item.limits.add(
                key=f"bench:{draw.randrange(world.people)}",
                algorithm=ratelimit.ALGORITHM_WINDOW,
                limit=1_000_000,
            )
            limit.window.FromSeconds(_CAP_WINDOW_SECONDS)
        return made

    async with _peer(world, "rate_limiter") as channel:
        stub = ratelimit_rpc.RateLimitServiceStub(channel)
        return await _timed(context, lambda asked: stub.Acquire(asked, timeout=_CALL_SECONDS), request)


async def _timed(
    context: Context, call: Callable[[RequestT], Awaitable[object]], request: Callable[[], RequestT]
) -> dict[str, object]:
    """One call after the other; the first ones only warm caches."""
    calls = context.sizes.edge_calls
    took: list[float] = []
    for number in range(calls + calls // 5 + 1):
        asked = request()
        began = time.perf_counter()
        await call(asked)
        if number > calls // 5:
            took.append((time.perf_counter() - began) * 1_000.0)
    spread = samples.spread(took)
    return {"call": spread.document(), "items_per_s": round(BATCH * len(took) / (sum(took) / 1_000.0), 0)}


async def _tracker(context: Context, world: World) -> dict[str, object]:
    """Open pixels of mails that were really sent, each once; clicks where mails have links of ours."""
    closing = await context.sent(world, "opened", context.sizes.pixels, channels=(Channel.EMAIL,))
    key = keyfiles.load_secret(world.folder / "keys" / "link_key.key")
    async with world.pool.acquire() as db:
        category: int = await db.fetchval(
            "SELECT category_id FROM ledger.category WHERE app_id = $1 AND name = $2", world.app_id, traffic.CATEGORY
        )
    pixels = [
        f"{world.stack.endpoints.tracker_url}/o/"
        + links.sign_open(key, links.OpenLink(world.app_id, UUID(sent.delivery_id), category, 1, "", LinkChannel.EMAIL))
        + ".gif"
        for sent in closing.deliveries
    ]
    return {
        "pixels": await _read(world, pixels),
        "clicks": await _read(world, await _clicks(context, world)),
        "app_events": await _read(world, *await _app_events(context, world, key, category), callers=_TELLERS),
    }


async def _app_events(context: Context, world: World, key: bytes, category: int) -> tuple[list[str], Sequence[bytes]]:
    """A call for each of some pushes that were really sent, with one event, as apps tell them: the hardest way to send many."""
    closing = await context.sent(world, "told", context.sizes.pixels, channels=(Channel.IOS,))
    bodies = [
        json.dumps({"events": [{"token": links.sign_event(key, push), "id": "bench", "type": "opened"}]}).encode()
        for sent in closing.deliveries
        for push in (links.OpenLink(world.app_id, UUID(sent.delivery_id), category, 1, "", LinkChannel.IOS),)
    ]
    return [f"{world.stack.endpoints.tracker_url}/v1/events"] * len(bodies), bodies


async def _clicks(context: Context, world: World) -> list[str]:
    """Links that lead over the tracker, taken out of mails as the sandbox got them."""
    template_of_links = Template(
        name=_LINKED,
        bodies=[LocalizedBody(locale="en", content=content_proto(Content(mail=_LINKED_MAIL)))],
        default_locale="en",
        track_links=True,
    )
    await world.client.templates.store(template_of_links)
    since = await records.mark(world)
    before = await asyncio.to_thread(world.room.accepted)
    count = min(context.sizes.pixels, _MAILS_LOOKED_AT)
    mails = [
        Notification(
            recipients=[traffic.recipient_id(number % world.people)],
            category=traffic.CATEGORY,
            template=_LINKED,
            channels=[Channel.EMAIL],
        )
        for number in range(count)
    ]
    refused = [outcome async for outcome in world.client.send_many(mails) if isinstance(outcome, ClarionError)]
    if refused:
        raise refused[0]
    await context.until_taken(world, count, before)
    await context.close(world, "linked", since)
    newest = await asyncio.to_thread(world.room.entries)
    found: list[str] = []
    for n in range(max(1, newest - count + 1), newest + 1):
        message = json.loads(await world.ask(f"messages/{n}"))
        html = message["content"].get("html")
        found += _CLICK.findall(html) if isinstance(html, str) else []
    return found


async def _read(
    world: World, urls: list[str], bodies: Sequence[bytes] = (), *, callers: int = _READERS
) -> dict[str, object] | None:
    """GET, or POST where there are bodies."""
    if not urls:
        return None
    took: list[float] = []
    bad = 0
    left = zip(urls, bodies or itertools.repeat(b""), strict=False)

    async def reader(client: Client) -> None:
        nonlocal bad
        for url, body in left:
            asked = (
                client.post(url).body_bytes(body).header("content-type", "application/json")
                if body
                else client.get(url)
            )
            began = time.perf_counter()
            answer = await asked.header("user-agent", _READER).build().send()
            await answer.bytes()
            took.append((time.perf_counter() - began) * 1_000.0)
            bad += answer.status not in (200, 302, 303, 307)

    async with meter.metered(world) as cost, http_client(world.practice.ca_file) as client:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(reader(client))
        seconds = time.perf_counter() - began
    return {
        "requests": len(took),
        "not_served": bad,
        "per_s": round(len(took) / seconds, 1),
        "request": samples.spread(took).document(),
        "cost": cost.each(len(took)),
    }


@asynccontextmanager
async def http_client(ca_file: str) -> AsyncIterator[Client]:
    """One HTTP/2 connection's worth of client, trusting the stack's authority. Raises OSError."""
    client = _client(ca_file)
    try:
        yield client
    finally:
        await client.close()


def _client(ca_file: str) -> Client:
    builder = ClientBuilder().http2(True).https_only(True).no_proxy().follow_redirects(False)
    return builder.add_root_certificate_pem(Path(ca_file).read_bytes()).timeout(_HTTP_TIMEOUT).build()


@asynccontextmanager
async def _peer(world: World, daemon: str) -> AsyncIterator[grpc.aio.Channel]:
    """A daemon as the planner reaches it."""
    options = (
        ("grpc.ssl_target_name_override", daemon.replace("_", "-")),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    )
    credentials = world.identity("planner").mesh_channel_credentials()
    async with grpc.aio.secure_channel(world.stack.endpoints.peers[daemon], credentials, options) as channel:
        yield channel
