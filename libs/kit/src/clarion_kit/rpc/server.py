"""The gRPC server of a daemon: limits, keepalive, health, one interceptor, a stop that waits."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from clarion_kit import mesh
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import Caller, caller_from_metadata
from clarion_kit.rpc.interceptor import Authenticator, Edge
from clarion_kit.rpc.refusals import Refusals
from clarion_kit.telemetry.provider import Telemetry

MAX_MESSAGE_BYTES = (4 << 20) + (64 << 10)
"""What gRPC lets through; methods refuse over 4 MiB by themselves, with a typed error."""
MAX_CONCURRENT_RPCS = 2_000
READINESS_SERVICE = ""
LIVENESS_SERVICE = "live"

_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
)

AddServicer = Callable[[grpc.aio.Server], None]
"""Registers one servicer or generic handler on a server."""


class MeshAuthenticator:
    """Between daemons: the peer's certificate names the caller, the caller matrix decides.

    Without TLS (loopback only) the caller is believed to be whoever may call.
    """

    def __init__(self, *, insecure: bool) -> None:
        self._insecure = insecure
        self._refusals = Refusals()

    def authenticate(self, method: str, metadata: Mapping[str, str], identities: frozenset[str]) -> Caller:
        service = method[1:].rpartition("/")[0]
        allowed = mesh.callers(service)
        if self._insecure:
            return caller_from_metadata(next(iter(allowed)), metadata)
        caller = next(iter(identities & allowed), None)
        if caller is None:
            named = ",".join(sorted(identities))
            self._refusals.note(named, method, ErrorReason.CALLER_REFUSED)
            raise DomainError(
                ErrorReason.CALLER_REFUSED,
                "this daemon may not call this method",
                metadata={"caller": named, "method": method},
            )
        return caller_from_metadata(caller, metadata if caller == mesh.GATEWAY else {})


class RpcServer:
    """A server that is built, started and stopped once. `port` is known after `start`."""

    def __init__(
        self,
        daemon: str,
        listen: str,
        credentials: grpc.ServerCredentials | None,
        authenticator: Authenticator,
        telemetry: Telemetry,
        services: Sequence[AddServicer],
    ) -> None:
        self._edge = Edge(daemon, authenticator, telemetry)
        self._server = grpc.aio.server(
            interceptors=[self._edge],
            options=[
                *_KEEPALIVE,
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES * 4),
                ("grpc.max_concurrent_streams", 1_000),
            ],
            maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS,
        )
        self._health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for add in services:
            add(self._server)
        try:
            self.port = (
                self._server.add_secure_port(listen, credentials)
                if credentials is not None
                else self._server.add_insecure_port(listen)
            )
        except RuntimeError as taken:
            raise PortInUse(listen) from taken

    async def start(self) -> None:
        await self._server.start()
        await self._health.set(LIVENESS_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        await self.set_ready(False)

    async def set_ready(self, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health.set(READINESS_SERVICE, status.SERVING if ready else status.NOT_SERVING)

    async def drain(self) -> None:
        """Readiness off for good; calls in progress go on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: timedelta) -> None:
        """Refuse new calls, wait for those in progress at most `grace`, then cut."""
        await self._server.stop(grace.total_seconds())


class PortInUse(Exception):
    """The listen address cannot be bound."""

    def __init__(self, listen: str) -> None:
        super().__init__(f"cannot listen on {listen}: the port is in use or the address is not ours")
