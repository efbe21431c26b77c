"""A whole mesh that may be hurt: real servers behind fault proxies, two replicas of every daemon, the sandbox, an app."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from clarion_client import AlreadyExists, AsyncClient, RetryPolicy
from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_ledger import db
from clarion_ledger.db import Pool
from clarion_local.fleet import Fleet
from clarion_local.practice import Practice
from clarion_local.process import Process
from clarion_local.servers.nats import NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer
from clarion_local.stack import Options, Stack
from clarion_testkit.faults.proxy import FaultProxy
from clarion_testkit.faults.signals import Signals
from clarion_testkit.otlp import Collector

from . import shop
from .script import Script
from .told import Register

LEASE = timedelta(seconds=20)
STOP_GRACE = timedelta(seconds=12)
"""What the stack tells its daemons (CLARION_STOP_GRACE_SECONDS)."""
_SERVER_GRACE = timedelta(seconds=10)
_CALL_TIMEOUT = timedelta(seconds=20)
SHORT: Mapping[str, str] = {
    "CLARION_DATABASE_POOL": "4",
    "CLARION_LEASE_SECONDS": f"{LEASE.total_seconds():g}",
    "CLARION_LOST_AFTER_SECONDS": "4",
    "CLARION_RETRY_BASE_SECONDS": "0.3",
    "CLARION_RETRY_CAP_SECONDS": "4",
    "CLARION_ABANDONED_SECONDS": "3",
    "CLARION_HOLD_SECONDS": "3",
    "CLARION_BREAKER_OPEN_SECONDS": "2",
}
"""Outages of the suite are a thirtieth of real ones, and so is the mesh's patience."""


Server = PostgresServer | NatsServer | ValkeyServer


@dataclass(frozen=True, slots=True)
class Lines:
    """What stands between the daemons and their servers."""

    postgres: FaultProxy
    nats: FaultProxy
    valkey: FaultProxy
    collector: FaultProxy


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers themselves."""

    postgres: PostgresServer
    nats: NatsServer
    valkey: ValkeyServer


@dataclass(slots=True)
class World:
    """Everything a fault may touch. `pool` reaches Postgres past its proxy, `bus` NATS past its own."""

    folder: Path
    servers: Servers
    lines: Lines
    stack: Stack
    pool: Pool
    bus: JetStreamBus
    client: AsyncClient
    connect: Callable[[RetryPolicy | None], AsyncClient]
    """Makes another client of the app, with retries of its own."""
    practice: Practice
    script: Script
    signals: Signals
    app_id: int
    register: Register = field(default_factory=Register)
    """What callers were told, whoever they are."""

    @property
    def fleet(self) -> Fleet:
        return self.stack.fleet

    @property
    def sandbox_ledger(self) -> Path:
        """The sandbox's own record, a line of JSON for each message."""
        return self.folder / "mesh" / "sandbox" / "ledger.ndjson"

    @asynccontextmanager
    async def frozen(self, server: Process) -> AsyncIterator[None]:
        """A server stands still, with everything it forked, while entered."""
        await self.signals.freeze(server.pid, tree=True)
        try:
            yield
        finally:
            self.signals.thaw(server.pid)


@asynccontextmanager
async def open_world(folder: Path, *, replicas: int = 2) -> AsyncIterator[World]:
    """A running world with a furnished app; everything it started is stopped on exit. Raises what servers raise."""
    servers = Servers(PostgresServer(folder / "postgres"), NatsServer(folder / "nats"), ValkeyServer(folder / "valkey"))
    async with started(servers), mesh_around(servers, folder, replicas=replicas) as world:
        yield world


@asynccontextmanager
async def started(servers: Servers, *, but: Collection[Server] = ()) -> AsyncIterator[None]:
    """The servers run while entered, but those that are somebody else's."""
    async with AsyncExitStack() as stack:
        for server in (servers.postgres, servers.nats, servers.valkey):
            if server not in but:
                await server.start()
                stack.push_async_callback(server.stop, _SERVER_GRACE)
        yield


@asynccontextmanager
async def mesh_around(
    servers: Servers,
    folder: Path,
    *,
    replicas: int = 1,
    database_url: str | None = None,
    nats_url: str | None = None,
    valkey_url: str | None = None,
    stream_replicas: int = 1,
) -> AsyncIterator[World]:
    """The mesh, its proxies and its app around servers that run; a URL given here is taken past its proxy."""
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(Collector.start())
        ports = (servers.postgres.port, servers.nats.port, servers.valkey.port, urlsplit(collector.endpoint).port or 0)
        lines = Lines(*[await stack.enter_async_context(FaultProxy(port)) for port in ports])
        options = Options(
            folder / "mesh",
            replicas=replicas,
            database_url=database_url or _through(servers.postgres.url(), lines.postgres),
            nats_url=nats_url or _through(servers.nats.url(), lines.nats),
            valkey_url=valkey_url or _through(servers.valkey.url(), lines.valkey),
            otlp_endpoint=f"http://127.0.0.1:{lines.collector.port}",
            trace_ratio=0.02,
            extra={**SHORT, "CLARION_STREAM_REPLICAS": str(stream_replicas)},
        )
        mesh = await stack.enter_async_context(Stack.start(options))
        direct = database_url or servers.postgres.url()
        pool = await stack.enter_async_context(db.pool(direct, size=4, application="adversity"))
        telemetry = Telemetry(await stack.enter_async_context(Tracing("adversity", 0.0, None)), Metrics())
        bus = await stack.enter_async_context(
            JetStreamBus.connect(nats_url or servers.nats.url(), "adversity", Subjects(), telemetry)
        )
        practice = Practice.read(Path(mesh.endpoints.sandbox), mesh.endpoints.ca_file)
        connect = await _open_app(mesh, practice)
        client = await stack.enter_async_context(connect(None))
        await shop.furnish(client)
        await client.recipients.upsert_many(shop.people(practice))
        signals = await stack.enter_async_context(Signals())
        app_id: int = await pool.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", shop.APP)
        yield World(
            folder=folder,
            servers=servers,
            lines=lines,
            stack=mesh,
            pool=pool,
            bus=bus,
            client=client,
            connect=connect,
            practice=practice,
            script=Script(practice),
            signals=signals,
            app_id=app_id,
        )


async def _open_app(mesh: Stack, practice: Practice) -> Callable[[RetryPolicy | None], AsyncClient]:
    """Makes clients of the app, which is set up with its accounts if it is new."""
    ends = mesh.endpoints
    async with AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file) as operator:
        with suppress(AlreadyExists):
            await operator.apps.create(shop.APP)
        key = await operator.apps.create_key(shop.APP, list(shop.SCOPES))
        for account in shop.accounts(practice):
            await operator.providers.put(shop.APP, account.name, account.kind, account.settings)

    def connect(retry: RetryPolicy | None) -> AsyncClient:
        return AsyncClient.connect(
            ends.gateway,
            key.key.app_key,
            key.app_secret,
            ca_file=ends.ca_file,
            timeout=_CALL_TIMEOUT,
            retry=retry,
        )

    return connect


def _through(url: str, line: FaultProxy) -> str:
    """The same server by way of its proxy."""
    parts = urlsplit(url)
    who, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{line.port}"))
