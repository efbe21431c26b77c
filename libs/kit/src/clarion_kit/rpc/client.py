"""Calls to peers: one channel per daemon, mTLS, client-side balancing, deadlines that travel."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import grpc
from opentelemetry.trace import SpanKind

from clarion_kit.errors import unavailable
from clarion_kit.rpc.renewing import RenewingChannel
from clarion_kit.rpc.server import MAX_MESSAGE_BYTES
from clarion_kit.settings import Common
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import current_traceparent
from clarion_kit.tls import TlsFiles

log = logging.getLogger(__name__)

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

_RETRY_UNAVAILABLE = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)
"""Internal calls are idempotent by contract, so UNAVAILABLE may be repeated; forwarded ones get a channel without."""


class Peer:
    """A daemon of the mesh as seen from another."""

    def __init__(self, daemon: str, channel: grpc.aio.Channel, telemetry: Telemetry) -> None:
        self.daemon = daemon
        self.channel = channel
        self._tracing = telemetry.tracing

    async def call(
        self,
        method: Callable[..., Awaitable[ResponseT]],
        request: object,
        *,
        timeout: timedelta,
        name: str,
    ) -> ResponseT:
        """Call a stub's method within `timeout`. Raises DomainError DEPENDENCY_UNAVAILABLE if the peer is away or slow;
        other errors stay `grpc.aio.AioRpcError`. `name` is the span's: "package.Service/Method"."""
        attributes = {names.Attr.RPC_SYSTEM: "grpc", names.Attr.RPC_METHOD: name}
        with self._tracing.span(name, SpanKind.CLIENT, attributes=attributes):
            traceparent = current_traceparent()
            metadata = (("traceparent", traceparent or UNSAMPLED),)
            try:
                return await method(request, timeout=timeout.total_seconds(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    log.warning("%s failed: %s %s", name, error.code().name, error.details())
                    raise unavailable(self.daemon) from error
                raise


UNSAMPLED = "00-00000000000000000000000000000001-0000000000000001-00"
"""Sent where the caller is not sampled, so that the peer does not draw lots again."""


@asynccontextmanager
async def connect(daemon: str, settings: Common, telemetry: Telemetry, *, retry: bool = True) -> AsyncIterator[Peer]:
    """A channel to `daemon` (Python name), closed on exit, that follows this daemon's certificate files. Never blocks: a peer
    may start later."""
    options: list[tuple[str, str | int]] = [
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES * 4),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ]
    if retry:
        options.append(("grpc.service_config", _RETRY_UNAVAILABLE))
    target = settings.peer(daemon)
    channel: grpc.aio.Channel
    if settings.tls_dir is None:
        channel = grpc.aio.insecure_channel(target, options)
    else:
        options.append(("grpc.ssl_target_name_override", daemon.replace("_", "-")))
        files = TlsFiles.in_dir(settings.tls_dir)
        channel = RenewingChannel(files, lambda credentials: grpc.aio.secure_channel(target, credentials, options))
    try:
        yield Peer(daemon, channel, telemetry)
    finally:
        await channel.close(grace=1.0)
