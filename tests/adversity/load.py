"""Seeded load through the SDK, and its register of what every caller was told."""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from clarion_client import AsyncClient, ClarionError, Notification
from clarion_ledger.db import LedgerUnavailable, Pool, connection

from . import shop
from .told import Register

_UNARY_SHARE = 0.1
_BATCH = (50, 500)
_PAUSE_AFTER_FAILURE_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_LAST_WORDS_SECONDS = 60.0
_BACKLOG = """
SELECT (SELECT count(*) FROM ledger.plan_work) + (SELECT count(*) FROM ledger.delivery_work WHERE state <= 4)
"""
"""Retries count: they are work for two cores as well, and would pile up beside a load that does not see them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How much is handed in: at most so many a second, and nothing while more than `backlog` waits in the mesh."""

    per_second: float
    backlog: int = 6_000
    batchers: int = 2
    callers: int = 4


class _Pace:
    """Turns at an even rate; time that was lost is not made up for."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._due = 0.0

    def pause(self, size: int) -> float:
        """Take the next turn for `size` items; gives how long to wait for it, in seconds."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + size / self.per_second
        return self._due - now


class Load:
    """Callers of the app. An event whose fate is unknown is handed in again, unchanged, until it is known."""

    def __init__(self, client: AsyncClient, pool: Pool, register: Register, rate: Rate, seed: int) -> None:
        self._client = client
        self._pool = pool
        self._register = register
        self._rate = rate
        self._seed = seed
        self._numbers = itertools.count(1)
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()
        self.phase = "main"
        self._singles_pace = _Pace(rate.per_second * _UNARY_SHARE)
        self._batches_pace = _Pace(rate.per_second * (1 - _UNARY_SHARE))

    def go_at(self, per_second: float) -> None:
        """Another pace from now on."""
        self._singles_pace.per_second = per_second * _UNARY_SHARE
        self._batches_pace.per_second = per_second * (1 - _UNARY_SHARE)

    def stop(self) -> None:
        """No new events; what is open gets its last word."""
        self._stopping.set()

    async def run(self) -> None:
        """Hand in until stopped. Events that are unknown then are asked about for a minute more."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            async with asyncio.TaskGroup() as callers:
                for number in range(self._rate.batchers):
                    callers.create_task(self._batches(self._batches_pace, Random(f"{self._seed} batch {number}")))
                for number in range(self._rate.callers):
                    callers.create_task(self._singles(self._singles_pace, Random(f"{self._seed} single {number}")))
            watching.cancel()

    async def _batches(self, pace: _Pace, random: Random) -> None:
        while await self._turn(pace, size := random.randint(*_BATCH)):
            await self._until_known([self._next(random) for _ in range(size)])

    async def _singles(self, pace: _Pace, random: Random) -> None:
        while await self._turn(pace, 1):
            await self._until_known([self._next(random)])

    async def _turn(self, pace: _Pace, size: int) -> bool:
        """Wait for the turn and for room in the mesh; False when it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pace.pause(size)):
                await self._stopping.wait()
        while not self._room.is_set() and not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._room.wait()
        return not self._stopping.is_set()

    def _next(self, random: Random) -> Notification:
        made = shop.drawn(random, f"{self.phase}-{next(self._numbers)}")
        self._register.handed_in(made, at_most_once=made.category == shop.AT_MOST_ONCE, phase=self.phase)
        return made

    async def _until_known(self, open_ones: Sequence[Notification]) -> None:
        loop = asyncio.get_running_loop()
        give_up_at: float | None = None
        while open_ones:
            open_ones = await self._hand_in(open_ones)
            if not open_ones:
                return
            if self._stopping.is_set():
                give_up_at = give_up_at or loop.time() + _LAST_WORDS_SECONDS
                if loop.time() > give_up_at:
                    return
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)

    async def _hand_in(self, items: Sequence[Notification]) -> list[Notification]:
        """Those whose fate is still unknown."""
        if len(items) == 1:
            try:
                known = self._register.heard(items[0].event_id, await self._client.send(items[0]))
            except ClarionError as error:
                known = self._register.heard(items[0].event_id, error)
            return [] if known else list(items)
        again: list[Notification] = []
        outcomes = self._client.send_many(items)
        for item in items:
            outcome = await anext(outcomes)
            if not self._register.heard(item.event_id, outcome):
                again.append(item)
        await outcomes.aclose()
        return again

    async def _watch(self) -> None:
        """Keep the backlog bounded; a database that is away says nothing, and callers feel it by themselves."""
        while True:
            with suppress(LedgerUnavailable):
                async with connection(self._pool) as db:
                    waiting: int = await db.fetchval(_BACKLOG)
                (self._room.set if waiting < self._rate.backlog else self._room.clear)()
            await asyncio.sleep(_LOOK_SECONDS)
