"""Personal data and secrets sent through a whole mesh, then looked for in everything that it left behind.

Sealed by decision, and so looked for: addresses and names, template data, literal content, files, attributes that are not
`filterable`, notes, what providers send back, credentials and secrets. In the clear by decision, and so not: the apps' own
ids (recipients, events), names of templates and categories, sources of templates, filterable attributes, countries. The
sandbox stands for the world outside: what it keeps is not looked at.
"""

import asyncio
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from redis.asyncio import Redis

from clarion.recipient.v1.recipient_service_pb2 import AddressFacts
from clarion_client import (
    AsyncClient,
    Attachment,
    Channel,
    Content,
    Mail,
    Notification,
    Push,
    Recipient,
    addresses,
)
from clarion_client.calls.broadcasts import broadcast
from clarion_ledger import db
from clarion_ledger.db import Pool
from clarion_local.stack import Options, Stack
from clarion_sandbox import browser
from clarion_testkit.memory import memory_folder
from clarion_testkit.shop import Shop, open_shop

from .dump import dump
from .finding import Finding, Size
from .needles import forms, search
from .stage import Folders, Stage
from .terminal import until_ended

_APP = "canary"
_TEMPLATE = "canary"
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
_MARKER_LETTERS = 14
_PICTURE = b"\x89PNG"
_ABROAD = "sandbox.log"
_FAR = timedelta(days=3)
Fate = tuple[str, str, str, str]
_FATES: Sequence[Fate] = (
    ("", "device", "", "{}@example.com"),
    ("dead410000", "dead404000", "9990110", "bounce+550-5.1.1+{}@example.org"),
    ("dead503001", "dead503001", "9990881", "{}.again@example.com"),
    ("dead400000", "dead400000", "9996500", "bounce+late-550-5.1.1+{}@example.org"),
)
"""How addresses of push, of Android, of phones and mailboxes begin or end: taken, refused for good, refused once, other."""
_SHORT = 2
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Canaries:
    """What was sent. `control` was put where it rests in the clear: a search that does not find it finds nothing."""

    hidden: Mapping[str, str]
    control: str
    messages: int


async def attack(stage: Stage, size: Size) -> Finding:
    """FULL: in a mesh of its own whose daemons are processes, log at DEBUG and trace every call; SHORT: on the stage."""
    random = stage.random("canary")
    if size is Size.SHORT:
        canaries = await _sing(stage.stack, random, _FATES[:_SHORT])
        finding = await _looked_for(stage.stack, stage.pool, stage.folders, canaries)
        return _and_in_spans(finding, repr(stage.collector.spans).encode() if stage.collector else b"", canaries)
    with memory_folder("canary") as folder:
        async with _spans() as spans:
            options = Options(
                folder / "stack",
                otlp_endpoint=spans.endpoint,
                trace_ratio=1.0,
                extra={"CLARION_LOG_LEVEL": "DEBUG"},
            )
            async with (
                Stack.start(options) as stack,
                db.pool(stack.endpoints.database_url, size=2, application="attack") as pool,
            ):
                canaries = await _sing(stack, random, _FATES)
                finding = await _looked_for(stack, pool, Folders(options.folder.absolute()), canaries)
            # The last of them came when the daemons stopped.
            return _and_in_spans(finding, bytes(spans.received), canaries)


async def _sing(stack: Stack, random: Random, fates: Sequence[Fate]) -> Canaries:
    """Every channel, sent and failed, retried and dead; receipts, bounces, webhooks; what waits for its time."""
    marker = "".join(random.choices(_LETTERS, k=_MARKER_LETTERS))
    control = "".join(random.choices(_LETTERS, k=_MARKER_LETTERS))
    async with open_shop(stack, _APP) as shop, _webhook(stack, shop, marker) as secret:
        people = [*_people(shop, marker, random, fates)]
        await shop.client.recipients.upsert_many(person for person, _ in people)
        await shop.client.recipients.register_address(
            people[0][0].recipient_id,
            addresses.mail(f"second.{marker}@example.com", display_name=f"Zoe {marker}"),
            facts=AddressFacts(app_version="1", device_name=f"phone of {marker}", verified=True),
        )
        await shop.client.suppressions.add(addresses.mail(f"listed.{marker}@example.com"), note=f"asked by {marker}")
        # Sources of templates rest in the clear: the marker is in their data alone.
        words = Content(
            push=Push(title="{{ v }}", body="{{ v }}", data={"v": "{{ v }}"}),
            sms="{{ v }}",
            mail=Mail(subject="{{ v }}", text="{{ v }}", html="<p>{{ v }}</p>"),
        )
        await shop.client.templates.put(_TEMPLATE, {"en": words}, sample_data={"v": "1"})
        sent = [
            (await shop.client.send(one, trace=True)).notification_id
            for person, _ in people
            for one in _messages(person.recipient_id, marker, control)
        ]
        await until_ended(shop.client, sent)
        letters = [letter.delivery_id async for letter in shop.client.dead_letters.list()]
        for letter in letters:
            await shop.client.dead_letters.get(letter)
        if letters:
            await shop.client.dead_letters.redrive(letters)
        waiting = Notification(
            event_id=f"{control}-waits",
            recipients=[people[0][0].recipient_id],
            category="transactional",
            content=_literal(marker),
            deliver_at=datetime.now(UTC) + _FAR,
        )
        await shop.client.send(waiting)
        await shop.client.schedules.put("canary", "0 3 * * *", replace(waiting, deliver_at=None).to_proto())
        started = broadcast(category="transactional", everybody=True, content=_literal(marker), channels=[Channel.SMS])
        await shop.client.broadcasts.start(started)
        await _settled(stack, 2 if len(fates) > _SHORT else 1)
        credentials = shop.practice.document
        hidden = {
            "marker": marker,
            **{label: value for _, values in people for label, value in values.items()},
            "app secret": shop.app_secret,
            "webhook secret": secret,
            "SMTP password": credentials["smtp"]["password"],
            "SMPP password": credentials["smpp"]["password"],
            "VAPID key": max(credentials["webpush"]["vapid_private_key"].splitlines(), key=len),
        }
        return Canaries({label: value for label, value in hidden.items() if len(value) >= 8}, control, len(sent) + 2)


def _people(
    shop: Shop, marker: str, random: Random, fates: Sequence[Fate]
) -> Iterator[tuple[Recipient, Mapping[str, str]]]:
    """Recipients with every kind of address, of whom some fail for good, for a while, or after they were taken."""
    token = marker.encode().hex()
    for number, (push, android, code, mail) in enumerate(fates):
        rest = "".join(random.choices("0123456789", k=7 - len(code)))
        phone = f"8210{random.randrange(2, 10)}{rest}{code}"
        web = browser.subscription(shop.practice.vapid_public_key, f"{push}{marker}{number}")
        recipient = Recipient(
            recipient_id=f"canary-{number}",
            addresses=[
                addresses.ios(f"{push}{token}{number:02x}".ljust(64, "0")),
                addresses.android(f"{android}-{marker}{number}-{'x' * 100}"),
                addresses.web(
                    {
                        "endpoint": f"{shop.practice.url}{web.endpoint_path}",
                        "keys": {"p256dh": web.p256dh, "auth": web.auth},
                    }
                ),
                addresses.phone(f"+{phone}"),
                addresses.mail(mail.format(marker), display_name=f"Zoe {marker}"),
            ],
            attributes={"name": f"Zoe {marker}", "city": "Seoul"},
            filterable=["city"],
        )
        yield (
            recipient,
            {
                f"phone {number}": phone,
                f"p256dh {number}": web.p256dh,
                f"auth {number}": web.auth,
                f"endpoint {number}": web.endpoint_path,
            },
        )


def _messages(recipient_id: str, marker: str, control: str) -> Iterator[Notification]:
    yield Notification(
        event_id=f"{control}-{recipient_id}-template",
        recipients=[recipient_id],
        category="transactional",
        template=_TEMPLATE,
        data={"v": f"code {marker}"},
    )
    yield Notification(
        event_id=f"{control}-{recipient_id}-literal",
        recipients=[recipient_id],
        category="transactional",
        content=_literal(marker),
    )
    yield Notification(
        event_id=f"{control}-{recipient_id}-file",
        recipients=[recipient_id],
        category="transactional",
        content=Content(mail=Mail(subject=f"file for {marker}", text=f"dear {marker}")),
        channels=[Channel.EMAIL],
        attachments=[
            Attachment(
                filename=f"{marker}.png", content_type="image/png", content=_PICTURE + marker.encode(), content_id=""
            )
        ],
    )


def _literal(marker: str) -> Content:
    return Content(
        push=Push(title=f"for {marker}", body=f"dear {marker}", data={"name": marker}),
        sms=f"dear {marker}",
        mail=Mail(subject=f"for {marker}", text=f"dear {marker}", html=f"<p>dear {marker}</p>"),
    )


@asynccontextmanager
async def _webhook(stack: Stack, shop: Shop, marker: str) -> AsyncIterator[str]:
    """Posts go to a receiver whose URL is a secret, and which refuses the first; gives the signing secret."""
    posts = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        posts += 1
        status = "500 Not now" if posts == 1 else "204 Taken"
        try:
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    ends = stack.endpoints
    async with (
        server,
        AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file) as operator,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/{marker}"
        put = await operator.webhooks.put(shop.name, "canary", url)
        try:
            yield put.signing_secret
        finally:
            await operator.webhooks.delete(shop.name, "canary")


async def _settled(stack: Stack, kinds: int) -> None:
    """Until so many kinds of callbacks came, what came was applied, and what was redriven is over."""
    over = """SELECT (SELECT count(DISTINCT i.kind) FROM tracking.inbound i WHERE i.app_id = a.app_id) >= $2
                AND NOT EXISTS (SELECT FROM tracking.inbound i WHERE i.app_id = a.app_id AND i.applied_at IS NULL)
                AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.app_id = a.app_id AND w.state < 4)
              FROM ledger.app a WHERE a.name = $1"""
    async with db.pool(stack.endpoints.database_url, size=1, application="attack") as pool, asyncio.timeout(60):
        while not await pool.fetchval(over, _APP, kinds):  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.1)


async def _looked_for(stack: Stack, pool: Pool, folders: Folders, canaries: Canaries) -> Finding:
    """Everything that was left behind, as it lies on the disk and as it can be read."""
    with tempfile.TemporaryDirectory(prefix="clarion-canary-") as made:
        read = Path(made)
        await pool.execute("CHECKPOINT")
        for table, rows in (await dump(pool)).items():
            (read / table).write_bytes(rows)
        for replica, url in stack.endpoints.metrics.items():
            (read / f"metrics-{replica.replace('/', '-')}").write_bytes(await asyncio.to_thread(_fetch, url))
        (read / "valkey").write_bytes(await _valkey(stack.endpoints.valkey_url))
        logs = [path for path in folders.logs.rglob("*") if path.is_file() and path.name != _ABROAD]
        places = [folders.postgres, folders.nats, folders.valkey, *logs, read]
        hits, looked_at = await asyncio.to_thread(search, places, canaries.hidden)
        found, _ = await asyncio.to_thread(search, [folders.postgres, read], {"control": canaries.control})
    escapes = [f"{hit.label} as {hit.form} in {_short(hit.place, folders)}" for hit in hits]
    if not any(Path(hit.place).is_relative_to(folders.postgres) for hit in found):
        escapes.append("the search found nothing at all: not even what rests in the clear in Postgres's files")
    if not any(not Path(hit.place).is_relative_to(folders.postgres) for hit in found):
        escapes.append("the search found nothing at all: not even what rests in the clear in Postgres's tables")
    notes = {
        "values": len(canaries.hidden),
        "messages": canaries.messages,
        "looked_at_mb": round(looked_at / 1e6),
        "log_files": len(logs),
    }
    return Finding("canary", len(canaries.hidden), escapes, notes)


def _and_in_spans(finding: Finding, spans: bytes, canaries: Canaries) -> Finding:
    hits = [
        f"{label} as {form} in spans"
        for label, value in canaries.hidden.items()
        for form, needle in forms(value).items()
        if needle in spans
    ]
    return replace(finding, escapes=[*finding.escapes, *hits], notes={**finding.notes, "span_bytes": len(spans)})


async def _valkey(url: str) -> bytes:
    """Names and values of all that is kept. What it writes to disk would be compressed unless it is told not to."""
    lines: list[bytes] = []
    async with Redis.from_url(url) as valkey:
        await valkey.config_set("rdbcompression", "no")
        await valkey.save()
        async for key in valkey.scan_iter(count=1_000):
            lines += (bytes(key), bytes(await valkey.dump(key) or b""))
    return b"\n".join(lines)


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        return bytes(answer.read())


def _short(place: str, folders: Folders) -> str:
    path = Path(place)
    return str(path.relative_to(folders.root)) if path.is_relative_to(folders.root) else path.name


class _Spans(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every export as its bytes: names, attributes, events and status texts."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.endpoint = ""

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.received += request.SerializeToString()
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def _spans() -> AsyncIterator[_Spans]:
    spans = _Spans()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(spans, server)  # type: ignore[no-untyped-call]
    spans.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield spans
    finally:
        await server.stop(1.0)
