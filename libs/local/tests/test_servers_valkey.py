from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from clarion_local.servers.valkey import ValkeyServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


async def test_refuses_writes_rather_than_forget_counters_when_memory_is_short(server: ValkeyServer) -> None:
    async with redis.asyncio.Redis.from_url(server.url()) as client:
        settings = await client.config_get("maxmemory*", "save", "appendonly")

    assert settings["maxmemory"] == str(256 * 1024**2)
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["appendonly"] == "no"


async def test_connection_without_a_password_is_refused(server: ValkeyServer) -> None:
    async with redis.asyncio.Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.get("cap")


async def test_restart_keeps_the_port_and_the_password(server: ValkeyServer) -> None:
    url = server.url()
    await server.stop()
    await server.start()

    assert server.url() == url
    async with redis.asyncio.Redis.from_url(url) as client:
        assert await client.get("cap") is None
