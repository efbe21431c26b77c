"""Limits in Valkey: one Lua call for the items of an app, one round trip for all apps of a batch."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha1
from importlib.resources import files

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from clarion_rate_limiter.domain import Grant, Item
from clarion_rate_limiter.errors import SharedLimitsUnavailable

TIMEOUT = timedelta(milliseconds=100)
"""For a round trip, connecting and authenticating included."""
MAX_ROUND_LIMITS = 1_000
"""Limits of one round trip: about 20 ms in Valkey, which does nothing else meanwhile. Batches seldom have more."""
_NO_ID = b"\0" * 16


@dataclass(slots=True)
class _Shard:
    """The items of one app, as the script takes them."""

    keys: dict[str, int] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)
    limits: list[list[int]] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)

    def add(self, place: int, item: Item) -> None:
        numbers: list[int] = []
        for limit in item.limits:
            key = f"rl:{{{item.app_id}}}{limit.name}"
            index = self.keys.setdefault(key, len(self.keys) + 1)
            numbers += (index, limit.algorithm, limit.limit, limit.window_us, limit.burst)
        self.places.append(place)
        self.limits.append(numbers)
        self.ids.append(item.id or _NO_ID)

    def arguments(self, take: bool) -> list[str | bytes | int]:
        """What follows the script's name: key count, keys, arguments."""
        mode = "take" if take else "look"
        limits = json.dumps(self.limits, separators=(",", ":"))
        return [len(self.keys), *self.keys, mode, limits, b"".join(self.ids)]


def _rounds(items: Sequence[Item]) -> Iterator[list[_Shard]]:
    """The items by app, as many round trips as their limits need."""
    shards: dict[int, _Shard] = {}
    count = 0
    for place, item in enumerate(items):
        if count + len(item.limits) > MAX_ROUND_LIMITS:
            yield list(shards.values())
            shards, count = {}, 0
        shard = shards.get(item.app_id)
        if shard is None:
            shard = shards[item.app_id] = _Shard()
        shard.add(place, item)
        count += len(item.limits)
    yield list(shards.values())


class ValkeyLimits:
    """Implements the port SharedLimits."""

    def __init__(self, client: Redis, script: str) -> None:
        self._client = client
        self._script = script
        self._name = sha1(script.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, connections: int) -> AsyncIterator["ValkeyLimits"]:
        """Connects when first needed: the daemon may start before Valkey. Closed on exit."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=TIMEOUT.total_seconds(),
            socket_timeout=TIMEOUT.total_seconds(),
            socket_connect_timeout=TIMEOUT.total_seconds(),
            # The default retries ten times, and would count twice what cannot be counted twice.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        client = Redis(connection_pool=pool)
        try:
            yield cls(client, script())
        finally:
            await client.aclose()
            await pool.aclose()

    async def decide(self, items: Sequence[Item], *, take: bool) -> list[Grant]:
        """In the order of the items. Raises SharedLimitsUnavailable after 100 ms without an answer."""
        grants: list[Grant | None] = [None] * len(items)
        for shards in _rounds(items):
            answers = await self._within_time([shard.arguments(take) for shard in shards])
            for shard, answer in zip(shards, answers, strict=True):
                for place, text in zip(shard.places, answer.split(b" "), strict=True):
                    closed, retry_after, *lefts = map(int, text.split(b","))
                    grants[place] = Grant(closed - 1 if closed else None, retry_after, tuple(lefts))
        return [grant for grant in grants if grant is not None]

    async def ping(self) -> None:
        """Raises SharedLimitsUnavailable unless Valkey runs the script in time."""
        await self._within_time([_Shard().arguments(True)])

    async def _within_time(self, calls: Sequence[Sequence[str | bytes | int]]) -> list[bytes]:
        try:
            async with asyncio.timeout(TIMEOUT.total_seconds()):
                return await self._run(calls)
        except (RedisError, OSError, TimeoutError) as away:
            raise SharedLimitsUnavailable(type(away).__name__) from away

    async def _run(self, calls: Sequence[Sequence[str | bytes | int]]) -> list[bytes]:
        answers = await self._pipeline(calls)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            await self._client.script_load(self._script)
            for index, answer in zip(unknown, await self._pipeline([calls[index] for index in unknown]), strict=True):
                answers[index] = answer
        found: list[bytes] = []
        for answer in answers:
            if isinstance(answer, bytes):
                found.append(answer)
            else:
                raise answer
        return found

    async def _pipeline(self, calls: Sequence[Sequence[str | bytes | int]]) -> list[bytes | RedisError]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for arguments in calls:
                pipeline.execute_command("EVALSHA", self._name, *arguments)
            answers: list[bytes | RedisError] = await pipeline.execute(raise_on_error=False)
            return answers


def script() -> str:
    """The Lua that decides."""
    return files(__package__).joinpath("decide.lua").read_text()
