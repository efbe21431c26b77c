from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from clarion_testkit.faults.valkeypair import ValkeyPair


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[ValkeyPair]:
    async with ValkeyPair(tmp_path) as pair:
        yield pair


def client(url: str) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True, socket_timeout=5)


async def test_replica_takes_over_behind_the_same_url(pair: ValkeyPair) -> None:
    url = pair.url()
    async with client(url) as before:
        await before.set("cap", "7")
        assert await before.wait(1, 5000) == 1

        await pair.kill_primary()

        with pytest.raises(redis.exceptions.ConnectionError):
            await before.get("cap")
    await pair.promote()
    assert pair.url() == url
    async with client(url) as after:
        assert await after.get("cap") == "7"
        await after.set("cap", "8")


async def test_clients_of_a_primary_that_still_lives_move_at_promotion(pair: ValkeyPair) -> None:
    async with client(pair.url()) as moved:
        await moved.set("cap", "7")
        await pair.promote()
        with pytest.raises(redis.exceptions.ConnectionError):
            await moved.get("cap")
        await moved.set("cap", "8")

    async with client(pair.replica.url()) as replica:
        assert await replica.get("cap") == "8"


async def test_replica_refuses_writes_until_it_is_promoted(pair: ValkeyPair) -> None:
    async with client(pair.replica.url()) as replica:
        with pytest.raises(redis.exceptions.ReadOnlyError):
            await replica.set("cap", "7")
