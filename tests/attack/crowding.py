"""Too much of everything at the public port: messages too large, messages that unpack to far more than they weigh, connections
and streams that say nothing. Others are served meanwhile, and the gateway's memory stays."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import grpc

from clarion_client import Content
from clarion_kit.mesh import GATEWAY
from clarion_local.demo.memory import proportional_set_size

from .calls import ask, bearer
from .filling import padded
from .finding import Size
from .forging import ISSUE_TOKEN, honest_token
from .polling import until
from .stage import Stage

SEND = "/clarion.notification.v1.NotificationService/Send"
SEND_STREAM = "/clarion.notification.v1.NotificationService/SendStream"
IMPORT = "/clarion.recipient.v1.RecipientService/ImportRecipients"
WATCH = "/clarion.tracking.v1.TrackingService/WatchDeliveries"
BOMB_BYTES = {Size.SHORT: 8 << 20, Size.FULL: 64 << 20}
BOMBS = {Size.SHORT: 2, Size.FULL: 20}
OVERSIZE_BYTES = 8 << 20
IDLE_CONNECTIONS = {Size.SHORT: 100, Size.FULL: 2_000}
IDLE_STREAMS = {Size.SHORT: 200, Size.FULL: 10_000}
STREAMS_A_CHANNEL = 100
SERVED = 20
PATIENCE = timedelta(seconds=60)
MOST_GROWTH_BYTES = 200 << 20
"""By which the gateway may grow under all of it."""
_REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
_OWN_CONNECTION: tuple[str, int | str] = ("grpc.use_local_subchannel_pool", 1)


@dataclass(slots=True)
class Crowd:
    """What came of it."""

    tries: int = 0
    escapes: list[str] = field(default_factory=list)
    notes: dict[str, float | int | str] = field(default_factory=dict)
    most_growth_bytes: int = 0
    """Of the gateway, while all of it was there; 0 where it has no process of its own."""


async def crowd(stage: Stage, size: Size) -> Crowd:
    """All of it, one after the other. Raises ClarionError where the stage itself does not work."""
    found = Crowd()
    before = gateway_memory(stage)
    token = await honest_token(stage, stage.attacker.app_key, stage.attacker.app_secret)
    await _too_large(stage, size, token, found)
    _look_at_memory(stage, before, found)
    await _connections(stage, size, before, found)
    await _streams(stage, size, token, before, found)
    if found.most_growth_bytes > MOST_GROWTH_BYTES:
        found.escapes.append(f"flood: the gateway grew by {found.most_growth_bytes >> 20} MiB")
    found.notes["gateway_grew_mib"] = round(found.most_growth_bytes / (1 << 20), 1)
    return found


def gateway_memory(stage: Stage) -> int | None:
    """PSS in bytes; None where the gateway has no process of its own, or the kernel does not tell."""
    pid = stage.stack.daemons.pids().get(GATEWAY)
    return None if pid is None else proportional_set_size(pid)


def _look_at_memory(stage: Stage, before: int | None, found: Crowd) -> None:
    now = gateway_memory(stage)
    if before is not None and now is not None:
        found.most_growth_bytes = max(found.most_growth_bytes, now - before)


async def _too_large(stage: Stage, size: Size, token: str, found: Crowd) -> None:
    """Refused by weight, and by what a compressed message unpacks to, with and without a token."""
    unlimited: list[tuple[str, int | str]] = [("grpc.max_send_message_length", -1)]
    async with stage.gateway_channel(unlimited) as channel:
        for path, metadata in ((SEND, bearer(token)), (ISSUE_TOKEN, ()), (SEND_STREAM, bearer(token)), (SEND, ())):
            for compression, weight in (
                (None, OVERSIZE_BYTES),
                *((grpc.Compression.Gzip, BOMB_BYTES[size]) for _ in range(BOMBS[size] // 2)),
                (grpc.Compression.Deflate, BOMB_BYTES[size]),
            ):
                answer = await ask(channel, path, padded(weight), metadata, compression=compression)
                found.tries += 1
                if answer.code not in _REFUSED or answer.responses:
                    found.escapes.append(f"flood: {weight >> 20} MiB to {path} ({compression}): {answer.code.name}")


async def _connections(stage: Stage, size: Size, before: int | None, found: Crowd) -> None:
    """Connections that never say a word, not even hello."""
    host, _, port = stage.stack.endpoints.gateway.rpartition(":")
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(IDLE_CONNECTIONS[size]):
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writers.append(writer)
        found.tries += len(writers)
        await _others_are_served(stage, f"{len(writers)} silent connections", found)
        _look_at_memory(stage, before, found)
    finally:
        for writer in writers:
            writer.transport.abort()


async def _streams(stage: Stage, size: Size, token: str, before: int | None, found: Crowd) -> None:
    """Streams of one key on which nothing comes: each takes one of the calls that the gateway answers at once."""
    for path in (SEND_STREAM, IMPORT, WATCH):
        async with AsyncExitStack() as opened:
            calls: list[grpc.aio.StreamStreamCall[bytes, bytes]] = []
            for _ in range(IDLE_STREAMS[size] // STREAMS_A_CHANNEL):
                channel = await opened.enter_async_context(stage.gateway_channel([_OWN_CONNECTION]))
                open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
                for _ in range(STREAMS_A_CHANNEL):
                    calls.append(open_stream(metadata=bearer(token)))
            if path == WATCH:
                for call in calls:
                    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                        await call.write(b"")
            found.tries += len(calls)
            await _until_some_are_refused(calls, path, found)
            await _others_are_served(stage, f"{len(calls)} idle streams of {path.rpartition('/')[2]}", found)
            _look_at_memory(stage, before, found)
            codes: Counter[str] = Counter()
            for call in calls:
                codes[(await call.code()).name if call.done() else "open"] += 1
                call.cancel()
            name = path.rpartition("/")[2]
            found.notes[f"idle_{name}_open"] = codes["open"]
            found.notes[f"idle_{name}_refused"] = codes["RESOURCE_EXHAUSTED"]


async def _until_some_are_refused(
    calls: "list[grpc.aio.StreamStreamCall[bytes, bytes]]", path: str, found: Crowd
) -> None:
    """Any key has fewer than are opened here."""

    async def some_ended() -> bool:
        return any(call.done() for call in calls)

    try:
        await until(some_ended, PATIENCE)
    except TimeoutError:
        found.escapes.append(f"flood: one key may hold {len(calls)} idle streams of {path}")


async def _others_are_served(stage: Stage, while_: str, found: Crowd) -> None:
    """Another app's sends pass."""
    client = stage.victim.client.with_timeout(PATIENCE)
    for _ in range(SERVED):
        sent = await client.send(recipients=["nobody"], category="transactional", content=Content(sms="hello"))
        if not sent.notification_id:
            found.escapes.append(f"flood: nobody else is served beside {while_}")
    found.tries += SERVED
