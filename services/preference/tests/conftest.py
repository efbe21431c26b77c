"""What the tests of the preference daemon share: one database for all of them, an app of its own for each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Protocol

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2
from hypothesis import settings

from clarion_kit.clock import SystemClock
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import new_secret_file
from clarion_kit.rpc.caller import Caller
from clarion_kit.sealing import KeyWrapper
from clarion_kit.settings import load
from clarion_kit.telemetry.provider import Telemetry
from clarion_ledger import admin
from clarion_ledger.db import Pool, pool
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.audience import PostgresAudiences, PostgresTopics
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.people import PostgresPeople
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.app import build
from clarion_preference.settings import Settings
from clarion_testkit.plugin import App, Database

settings.register_profile("no timing", deadline=None)
settings.load_profile("no timing")

_names = count(1)


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_url(postgres_databases: Databases) -> AsyncIterator[str]:
    """A migrated database; copying one costs more than all that a test does in it."""
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    async with pool(shared_url, size=8, application="test") as connections:
        yield Database(shared_url, connections)


@pytest_asyncio.fixture
async def app(database: Database, kek: KeyWrapper) -> App:
    row = await admin.create_app(database.pool, kek, f"app{next(_names)}")
    return App(row.app_id, KeyRing(database.pool, kek), {})


@pytest_asyncio.fixture
async def other_app(database: Database, kek: KeyWrapper) -> App:
    row = await admin.create_app(database.pool, kek, f"app{next(_names)}")
    return App(row.app_id, KeyRing(database.pool, kek), {})


@pytest_asyncio.fixture
async def daemon_pool(database: Database) -> AsyncIterator[Pool]:
    """Connections with the daemon's own role, so that a missing grant fails a test."""
    async with pool(f"{database.url}?role=clarion_preference", size=8, application="test") as connections:
        yield connections


@pytest_asyncio.fixture
async def directory(daemon_pool: Pool, kek: KeyWrapper) -> PostgresDirectory:
    return PostgresDirectory(daemon_pool, KeyRing(daemon_pool, kek))


@pytest.fixture
def topics(daemon_pool: Pool) -> PostgresTopics:
    return PostgresTopics(daemon_pool)


@pytest.fixture
def audiences(daemon_pool: Pool) -> PostgresAudiences:
    return PostgresAudiences(daemon_pool)


@pytest_asyncio.fixture
async def people(daemon_pool: Pool, kek: KeyWrapper) -> PostgresPeople:
    return PostgresPeople(daemon_pool, KeyRing(daemon_pool, kek))


@pytest.fixture
def suppressions(daemon_pool: Pool, kek: KeyWrapper) -> PostgresSuppressionList:
    return PostgresSuppressionList(daemon_pool, KeyRing(daemon_pool, kek))


@pytest_asyncio.fixture
async def wish_book(daemon_pool: Pool) -> PostgresWishBook:
    return PostgresWishBook(daemon_pool)


@pytest_asyncio.fixture
async def book(daemon_pool: Pool) -> PostgresAddressBook:
    return PostgresAddressBook(daemon_pool)


class Serving(Daemon):
    """Remembers its port."""

    port = 0

    def serve(self, *services: object, **options: object) -> int:
        self.port = super().serve(*services, **options)  # type: ignore[arg-type]
        return self.port


@pytest.fixture
def link_key_file(tmp_path: Path) -> Path:
    path = tmp_path / "link.key"
    new_secret_file(path)
    return path


@pytest_asyncio.fixture
async def channel(
    database: Database, kek_file: Path, link_key_file: Path, telemetry: Telemetry
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a running daemon that is ready."""
    loaded = load(
        Settings,
        {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_preference",
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_LINK_KEY_FILE": str(link_key_file),
            "CLARION_LINK_BASE_URL": "https://t.example.com/",
            "CLARION_INSECURE": "1",
        },
    )
    daemon = Serving("preference", loaded, telemetry, SystemClock())
    await build(daemon, loaded)
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{daemon.port}") as opened:
            await opened.channel_ready()
            watch = opened.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            async for health in watch(health_pb2.HealthCheckRequest()):
                if health.status == health_pb2.HealthCheckResponse.SERVING:
                    break
            yield opened
        daemon.stopping.set()
    await daemon.close()


@pytest.fixture
def as_app(app: App) -> tuple[tuple[str, str], ...]:
    """What the gateway hands on for the app."""
    return Caller("gateway", app.app_id, "key", frozenset({"recipient:write"})).metadata()
