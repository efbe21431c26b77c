"""Fixtures with real servers: one Postgres, NATS and Valkey per test session, a fresh migrated database per test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from clarion_kit.bus import JetStreamBus
from clarion_kit.sealing import KeyWrapper
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_ledger import admin, migrate
from clarion_ledger.db import Pool, pool
from clarion_ledger.keys import KeyRing, load_wrapper, new_wrapper_file
from clarion_local.servers.nats import NatsOptions, NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer
from clarion_testkit.memory import memory_folder

_STOP_GRACE = timedelta(seconds=5)
_MIGRATED = "clarion_migrated"


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database of one test, its pool as superuser."""

    url: str
    pool: Pool


@dataclass(frozen=True, slots=True)
class App:
    """An app of one test: its id, its sealers, and category ids by name."""

    app_id: int
    keys: KeyRing
    categories: dict[str, int]


class _Databases:
    """A running server with one migrated database that new ones are copied from."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = count(1)

    async def prepare(self) -> None:
        await self._execute(f'CREATE DATABASE "{_MIGRATED}"')
        await asyncio.to_thread(migrate.upgrade, self._server.url(database=_MIGRATED))

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[str]:
        name = f"test_{next(self._numbers)}"
        # Copying files in memory takes a sixth of what writing them through the log does.
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{_MIGRATED}" STRATEGY FILE_COPY')
        try:
            yield self._server.url(database=name)
        finally:
            await self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.url(database="postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_databases() -> AsyncIterator[_Databases]:
    """The session's Postgres."""
    with memory_folder("postgres") as folder:
        server = PostgresServer(folder / "server")
        await server.start()
        try:
            databases = _Databases(server)
            await databases.prepare()
            yield databases
        finally:
            await server.stop(_STOP_GRACE)


@pytest_asyncio.fixture
async def database(postgres_databases: _Databases) -> AsyncIterator[Database]:
    """A fresh migrated database."""
    async with postgres_databases.fresh() as url, pool(url, size=8, application="test") as connections:
        yield Database(url, connections)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats_url() -> AsyncIterator[str]:
    """The session's NATS; use a subject prefix per test."""
    with memory_folder("nats") as folder:
        # Every test's streams stay and reserve a gigabyte, of which nothing is written.
        server = NatsServer(folder, options=NatsOptions(max_file_store_bytes=1 << 44))
        await server.start()
        try:
            yield server.url()
        finally:
            await server.stop(_STOP_GRACE)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The session's Valkey; use an app id per test."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    await server.start()
    try:
        yield server.url()
    finally:
        await server.stop(_STOP_GRACE)


@pytest.fixture(scope="session")
def kek_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key-encryption key file."""
    path = tmp_path_factory.mktemp("kek") / "kek.json"
    new_wrapper_file(path)
    return path


@pytest.fixture(scope="session")
def kek(kek_file: Path) -> KeyWrapper:
    return load_wrapper(kek_file)


@pytest_asyncio.fixture
async def app(database: Database, kek: KeyWrapper) -> App:
    """An app with its default categories."""
    row = await admin.create_app(database.pool, kek, "shop")
    rows = await database.pool.fetch("SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id)
    return App(row.app_id, KeyRing(database.pool, kek), {found["name"]: found["category_id"] for found in rows})


@pytest_asyncio.fixture
async def telemetry() -> AsyncIterator[Telemetry]:
    """Telemetry that exports nothing."""
    async with Tracing("test", 0.0, None) as tracing:
        yield Telemetry(tracing, Metrics())


_prefixes = count(1)


@pytest.fixture
def subjects() -> Subjects:
    """Subjects that no other test uses."""
    return Subjects(f"test{next(_prefixes)}")


@pytest_asyncio.fixture
async def bus(nats_url: str, subjects: Subjects, telemetry: Telemetry) -> AsyncIterator[JetStreamBus]:
    """A bus with its topology in place."""
    async with JetStreamBus.connect(nats_url, "test", subjects, telemetry) as connected:
        await connected.ensure_topology()
        yield connected
