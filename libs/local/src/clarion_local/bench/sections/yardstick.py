"""The machine without us: the same bytes through the same servers by the shortest way that keeps them durable and encrypted.

Each part has the machine to itself, so the times of all parts together are what a notification costs here at least if nothing
but bytes moved. Other rates are also given as ratios to that.
"""

import asyncio
import base64
import json
import os
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable
from email.message import EmailMessage

import aiosmtplib
import nats
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

from clarion_client import Channel
from clarion_ledger.db import connection
from clarion_local.bench import disk, meter, traffic
from clarion_local.bench.context import Context
from clarion_local.bench.meter import Cost
from clarion_local.bench.sections.edges import http_client
from clarion_local.bench.world import World

NARROW_ROWS, NARROW_BYTES = 7, 150
"""A notification leaves about so many narrow rows in the ledger: itself, event key, delivery, attempt, three events."""
BODY_ROWS, BODY_BYTES = 2, 500
"""And two sealed bodies; the frame of a mail lies there once per template."""
_COPY_NOTIFICATIONS = 500
_COPIERS = 2
_IDS_A_MESSAGE = 100
_HOPS = 2
"""An id travels twice: to be planned and to be dispatched."""
_PUBLISHERS = 8
_STREAMS = 50
_HTTP_CLIENTS = 2
_SMTP_CONNECTIONS = 10
_FEWEST_SYNCS = 20
_JWT_CURVE_BYTES = 32
_STREAM, _SUBJECT = "BENCH", "bench.bare"
_SCHEMA = "CREATE TABLE IF NOT EXISTS public.bench_bare (id uuid PRIMARY KEY, payload bytea STORAGE EXTERNAL NOT NULL)"
_DROP = "DROP TABLE public.bench_bare"


async def yardstick(context: Context, world: World) -> dict[str, object]:
    """Postgres, NATS, HTTP/2 and SMTP by themselves, and what they allow together."""
    count = context.sizes.bare
    copied, copy_cost = await _copy(world, count)
    published, publish_cost = await _publish(world, count)
    pushed, push_cost = await _push(world, count)
    mailed, mail_cost = await _mail(world, max(_SMTP_CONNECTIONS, count // 4))
    synced = await asyncio.to_thread(disk.syncs, world.folder, max(_FEWEST_SYNCS, count // 10))
    mails = traffic.MIX[Channel.EMAIL] / sum(traffic.MIX.values())
    return {
        "disk_sync": synced.document(),
        "copy_per_s": round(copied, 1),
        "publish_per_s": round(published, 1),
        "push_per_s": round(pushed, 1),
        "mail_per_s": round(mailed, 1),
        "limit_per_s": round(together(copied, published, pushed, mailed, mails), 1),
        "cost": {
            "copy": copy_cost.each(count),
            "publish": publish_cost.each(count),
            "push": push_cost.each(count),
            "mail": mail_cost.each(max(_SMTP_CONNECTIONS, count // 4)),
        },
    }


def together(copied: float, published: float, pushed: float, mailed: float, mails: float) -> float:
    """Notifications a second where each takes every part's time one after the other; `mails` of 1 go by mail, the others
    cost a push (SMS too). Raises ValueError for a rate that is not positive."""
    if min(copied, published, pushed, mailed) <= 0:
        raise ValueError("every part needs a rate")
    return 1.0 / (1.0 / copied + 1.0 / published + (1.0 - mails) / pushed + mails / mailed)


async def _copy(world: World, count: int) -> tuple[float, Cost]:
    """Notifications a second whose rows are copied into a logged table, a commit for each 500."""
    narrow, body = os.urandom(NARROW_BYTES), os.urandom(BODY_BYTES)
    async with connection(world.pool) as db:
        await db.execute(_SCHEMA)

    async def work(size: int) -> None:
        rows = [(uuid.uuid4(), narrow) for _ in range(size * NARROW_ROWS)]
        rows += [(uuid.uuid4(), body) for _ in range(size * BODY_ROWS)]
        async with connection(world.pool) as db:
            await db.copy_records_to_table(
                "bench_bare", schema_name="public", records=rows, columns=("id", "payload"), timeout=60.0
            )

    chunks = [min(_COPY_NOTIFICATIONS, count - at) for at in range(0, count, _COPY_NOTIFICATIONS)]
    async with meter.metered(world) as cost:
        seconds = await _shared(chunks, work, _COPIERS)
    async with connection(world.pool) as db:
        await db.execute(_DROP)
    return count / seconds, cost


async def _publish(world: World, count: int) -> tuple[float, Cost]:
    """Notifications a second whose ids are published twice, 100 a message, each confirmed after its fsync."""
    payload = os.urandom(_IDS_A_MESSAGE * 18)
    client = await nats.connect(world.stack.endpoints.nats_url)
    try:
        stream = client.jetstream()
        config = StreamConfig(
            name=_STREAM,
            subjects=[_SUBJECT],
            storage=StorageType.FILE,
            retention=RetentionPolicy.WORK_QUEUE,
            max_bytes=256 << 20,
        )
        await stream.add_stream(config)

        async def work(_: int) -> None:
            await stream.publish(_SUBJECT, payload, timeout=10.0)

        messages = max(1, count * _HOPS // _IDS_A_MESSAGE)
        async with meter.metered(world) as cost:
            seconds = await _shared([1] * messages, work, _PUBLISHERS)
        await stream.delete_stream(_STREAM)
        return messages * _IDS_A_MESSAGE / _HOPS / seconds, cost
    finally:
        await client.close()


async def _push(world: World, count: int) -> tuple[float, Cost]:
    """Pushes a second over HTTP/2 and TLS to the sandbox's APNs, with a token as Apple asks for."""
    apns = world.practice.document["apns"]
    token = provider_token(apns["private_key"], apns["key_id"], apns["team_id"])
    body = json.dumps({"aps": {"alert": {"title": "Order", "body": "x" * traffic.PUSH_BYTES}}}).encode()
    url = f"{world.practice.url}/3/device/{'ab' * 32}"
    headers = {"authorization": f"bearer {token}", "apns-topic": apns["topics"][0], "apns-push-type": "alert"}
    async with http_client(world.practice.ca_file) as first, http_client(world.practice.ca_file) as second:
        clients = (first, second)

        async def work(number: int) -> None:
            request = clients[number % _HTTP_CLIENTS].post(url).headers(headers).body_bytes(body)
            answer = await request.build().send()
            await answer.bytes()
            if answer.status != 200:
                raise OSError(f"the sandbox answered {answer.status}")

        async with meter.metered(world) as cost:
            seconds = await _shared(list(range(count)), work, _STREAMS)
    return count / seconds, cost


async def _mail(world: World, count: int) -> tuple[float, Cost]:
    """Mails a second over kept SMTP connections with STARTTLS; the mail is built once."""
    relay = world.practice.document["smtp"]
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "hello@shop.example", "ann@example.com", "Order"
    mail.set_content("x" * 78 + "\n")
    mail.add_alternative(("<p>" + "x" * 70 + "</p>\n") * (traffic.MAIL_BYTES // 78 + 1), subtype="html")
    raw = mail.as_bytes()
    context = ssl.create_default_context(cafile=world.practice.ca_file)
    connections = [
        aiosmtplib.SMTP(
            hostname=relay["host"],
            port=int(relay["port"]),
            start_tls=True,
            tls_context=context,
            username=relay["username"],
            password=relay["password"],
        )
        for _ in range(_SMTP_CONNECTIONS)
    ]
    try:
        for smtp in connections:
            await smtp.connect()
        free = list(connections)

        async def work(_: int) -> None:
            smtp = free.pop()
            try:
                await smtp.sendmail("hello@shop.example", ["ann@example.com"], raw)
            finally:
                free.append(smtp)

        async with meter.metered(world) as cost:
            seconds = await _shared(list(range(count)), work, _SMTP_CONNECTIONS)
        return count / seconds, cost
    finally:
        for smtp in connections:
            smtp.close()


async def _shared(pieces: list[int], work: Callable[[int], Awaitable[None]], workers: int) -> float:
    """Seconds that so many workers take for all pieces."""
    left = iter(pieces)

    async def worker() -> None:
        for piece in left:
            await work(piece)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
    return time.perf_counter() - began


def provider_token(private_key_pem: str, key_id: str, team_id: str) -> str:
    """An ES256 token (RFC 7515, RFC 7518 §3.4). Raises ValueError for another key."""
    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a provider token is signed with an EC key")
    parts = ({"alg": "ES256", "kid": key_id}, {"iss": team_id, "iat": int(time.time())})
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(_JWT_CURVE_BYTES) + s.to_bytes(_JWT_CURVE_BYTES)
    return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
