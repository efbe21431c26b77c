"""Valkey: frozen, flushed, killed. Nothing in it may cost a notification, or a caller time."""

import asyncio
import time
from datetime import timedelta
from statistics import median
from typing import ClassVar

from redis.asyncio import Redis

from clarion_client import Channel, ClarionError, Priority
from tests.adversity import shop
from tests.adversity.faults.base import Fault, Part, demand, fired
from tests.adversity.told import Word

_PROBES = 15
ADDED_LIMIT_SECONDS = 0.1


class ValkeyFrozen(Fault):
    row, name = 28, "Valkey frozen"
    parts: ClassVar = (Part.VALKEY,)
    stood = False
    hold_seconds = (2.0, 4.0)

    async def inject(self) -> None:
        async with self.world.frozen(self.world.servers.valkey.process):
            await super().hold()
            self.stood = True

    async def hold(self) -> None:
        """Nothing: it was frozen by `inject`."""

    async def heal(self) -> None:
        """Nothing: it goes on by itself."""

    async def prove(self) -> None:
        fired(self.stood, "the server did not stand still")


class ValkeyAway(Fault):
    row, name = 28, "Valkey unreachable"
    parts: ClassVar = (Part.VALKEY,)
    cut = 0

    async def inject(self) -> None:
        line = self.world.lines.valkey
        await line.refuse()
        self.cut = line.open_connections
        await line.reset()

    async def heal(self) -> None:
        self.world.lines.valkey.heal()

    async def prove(self) -> None:
        fired(self.cut > 0, "nobody was connected to Valkey")


class Flushed(Fault):
    row, name = 29, "FLUSHALL"
    parts: ClassVar = (Part.VALKEY,)
    share = 8
    flushed = False

    async def inject(self) -> None:
        client = Redis.from_url(self.world.servers.valkey.url())
        try:
            self.flushed = bool(await client.flushall())
            await client.script_flush()
        finally:
            await client.aclose()

    async def hold(self) -> None:
        """Nothing: it has happened."""

    async def heal(self) -> None:
        """Nothing: counts begin anew."""

    async def prove(self) -> None:
        fired(self.flushed, "nothing was flushed")


class ValkeyKilled(Fault):
    row, name = 50, "Valkey killed and started again"
    parts: ClassVar = (Part.VALKEY,)

    async def inject(self) -> None:
        await self.world.servers.valkey.stop(timedelta(0))

    async def heal(self) -> None:
        await self.world.servers.valkey.start()

    async def prove(self) -> None:
        fired(self.world.servers.valkey.process.returncode is None, "Valkey did not come back")


class SendsWhileFrozen:
    """Measures what a frozen Valkey adds to a single Send; the events go into the register like any other."""

    def __init__(self, fault: Fault) -> None:
        self._world = fault.world
        self._register = fault.world.register
        self._marks = f"valkey-{fault.random.randrange(1 << 30)}"

    async def added_seconds(self) -> float:
        """Median with Valkey frozen less the median without. Raises ClarionError, Violation beyond the limit."""
        before = await self._median("before")
        async with self._world.frozen(self._world.servers.valkey.process):
            during = await self._median("during")
        added = during - before
        demand(added <= ADDED_LIMIT_SECONDS, f"a frozen Valkey adds {added * 1000:.0f} ms to a Send")
        return added

    async def _median(self, when: str) -> float:
        took: list[float] = []
        for number in range(_PROBES):
            event_id = f"{self._marks}-{when}-{number}"
            one = shop.notification(event_id, "p0", Channel.IOS, shop.AT_LEAST_ONCE, Priority.URGENT)
            self._register.handed_in(one, at_most_once=False, phase="valkey")
            began = time.perf_counter()
            while self._register.events[event_id].word is not Word.OK:
                try:
                    self._register.heard(event_id, await self._world.client.send(one))
                except ClarionError as error:
                    self._register.heard(event_id, error)
                    await asyncio.sleep(0.1)
            took.append(time.perf_counter() - began)
        return median(took)
