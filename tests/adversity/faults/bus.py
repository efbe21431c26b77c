"""NATS: away, wiped, emptied, damaged; messages late, twice, unreadable; consumers that starve."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import nats
import nats.errors
from nats.js.errors import NotFoundError

from clarion.bus.v1.work_pb2 import Work
from clarion_kit.bus import MAX_IDS
from clarion_kit.subjects import Lane, Stream, Subjects, dispatch_lanes, plan_lanes
from clarion_kit.vocabulary import Channel, Priority
from clarion_testkit.faults.connection import Direction
from clarion_testkit.faults.natsstore import Corruption, corrupt_store, wipe_store
from tests.adversity.faults.base import Fault, Part, demand, fired
from tests.adversity.world import World

_STOP_GRACE = timedelta(seconds=5)
_HEALED_WITHIN_SECONDS = 30.0
_DAMAGES = 8
_MADE_ANEW_SECONDS = 60.0


def _lanes() -> list[Lane]:
    return [
        *plan_lanes(),
        *(lane for channel in Channel for lane in dispatch_lanes(channel) if lane.stream is Stream.DISPATCH),
    ]


async def _ask(world: World, subject: str, request: object) -> dict[str, object]:
    """One request to the API of JetStream, past the proxy."""
    connection = await nats.connect(world.servers.nats.url(), connect_timeout=5)
    try:
        answer = await connection.request(f"$JS.API.{subject}", json.dumps(request).encode(), timeout=5)
    finally:
        await connection.close()
    found: dict[str, object] = json.loads(answer.data)
    return found


class NatsAway(Fault):
    row, name = 9, "NATS away"
    parts: ClassVar = (Part.NATS,)
    hold_seconds = (3.0, 8.0)
    """5 min at 1:30 is 10 s."""
    cut = 0

    async def inject(self) -> None:
        line = self.world.lines.nats
        await line.refuse()
        self.cut = line.open_connections
        await line.reset()

    async def heal(self) -> None:
        self.world.lines.nats.heal()

    async def prove(self) -> None:
        fired(self.cut > 0, "nobody was connected")


class NatsKilled(Fault):
    row, name = 9, "NATS killed and started again"
    parts: ClassVar = (Part.NATS,)
    hold_seconds = (0.2, 2.0)

    async def inject(self) -> None:
        await self.world.servers.nats.stop(timedelta(0))

    async def heal(self) -> None:
        await self.world.servers.nats.start()

    async def prove(self) -> None:
        fired(self.world.servers.nats.process.returncode is None, "NATS did not come back")


class StoreWiped(Fault):
    row, name = 11, "NATS loses its whole store"
    parts: ClassVar = (Part.NATS, Part.POSTGRES, Part.SCHEDULER, Part.PLANNER, Part.DISPATCHERS, Part.PROVIDERS)
    share = 1
    settles_within = _MADE_ANEW_SECONDS
    created: datetime
    again: datetime

    async def inject(self) -> None:
        world = self.world
        self.created, _ = await world.bus.stream_identity(Stream.DISPATCH)
        await world.servers.nats.stop(timedelta(0))
        await asyncio.to_thread(wipe_store, world.servers.nats)

    async def heal(self) -> None:
        await self.world.servers.nats.start()

    async def prove(self) -> None:
        async with asyncio.timeout(_MADE_ANEW_SECONDS):
            while not await self._made_anew():  # noqa: ASYNC110  # only the server knows
                await asyncio.sleep(0.5)

    async def _made_anew(self) -> bool:
        connection = await nats.connect(self.world.servers.nats.url(), connect_timeout=5)
        try:
            info = await connection.jetstream().stream_info(Subjects().stream_name(Stream.DISPATCH))
        except (NotFoundError, nats.errors.TimeoutError):
            return False
        finally:
            await connection.close()
        return info.created is not None and info.created > self.created


class StoreDamaged(Fault):
    row, name = 13, "bits flip in the files of NATS, or their ends are missing"
    parts: ClassVar = (Part.NATS,)
    share = 2
    damaged = 0

    async def inject(self) -> None:
        server = self.world.servers.nats
        await server.stop(_STOP_GRACE)
        for _ in range(_DAMAGES):
            with suppress(FileNotFoundError):
                corrupt_store(server, self.random.randrange(1 << 30), self.random.choice(list(Corruption)))
                self.damaged += 1

    async def hold(self) -> None:
        """Nothing: the server is down."""

    async def heal(self) -> None:
        await self.world.servers.nats.start()

    async def prove(self) -> None:
        fired(self.damaged > 0, "there was no file to damage")


class ConfirmationsLost(Fault):
    row, name = 15, "publishes arrive, their confirmations come after the timeout"
    parts: ClassVar = (Part.NATS,)
    share = 2
    hold_seconds = (6.5, 8.0)
    """A publish waits 5 s."""
    heard = 0
    answered = 0

    async def inject(self) -> None:
        line = self.world.lines.nats
        line.blackhole(Direction.TO_CLIENT)
        self.heard = line.bytes_through[Direction.TO_SERVER]
        self.answered = line.bytes_through[Direction.TO_CLIENT]

    async def heal(self) -> None:
        through = self.world.lines.nats.bytes_through
        self.heard = through[Direction.TO_SERVER] - self.heard
        self.answered = through[Direction.TO_CLIENT] - self.answered
        self.world.lines.nats.heal()

    async def prove(self) -> None:
        fired(self.heard > 0, "nothing was published meanwhile")


class StreamEmptied(Fault):
    row, name = 17, "messages gone that the dedupe window still remembers"
    parts: ClassVar = (Part.NATS,)
    purged = 0

    async def inject(self) -> None:
        async with asyncio.timeout(15):
            while not self.purged:
                for stream in (Stream.PLAN, Stream.DISPATCH):
                    answer = await _ask(self.world, f"STREAM.PURGE.{Subjects().stream_name(stream)}", {})
                    self.purged += int(str(answer.get("purged") or 0))
                await asyncio.sleep(0.05)

    async def heal(self) -> None:
        """Nothing: the reconciler publishes again, under a fresh id."""

    async def prove(self) -> None:
        fired(self.purged > 0, "no message was there to be lost")


class Replayed(Fault):
    row, name = 18, "ids that were handed out come again"
    parts: ClassVar = (Part.NATS,)
    share = 5
    replayed = 0

    async def inject(self) -> None:
        rows = await self.world.pool.fetch(
            """SELECT id, channel, priority FROM ledger.delivery WHERE id >= ledger.uuid_floor(now() - interval '2 minutes')
               AND state >= 20 ORDER BY id DESC LIMIT 2000"""
        )
        for channel in Channel:
            for priority in Priority:
                ids = [row["id"].bytes for row in rows if (row["channel"], row["priority"]) == (channel, priority)]
                if ids:
                    await self.world.bus.publish(Lane(Stream.DISPATCH, priority, channel), ids)
                    self.replayed += len(ids)

    async def heal(self) -> None:
        """Nothing: claims make it nothing."""

    async def prove(self) -> None:
        fired(self.replayed > 0, "nothing had been delivered yet")


class ConsumerGone(Fault):
    row, name = 19, "a consumer deleted"
    parts: ClassVar = (Part.NATS,)
    hold_seconds = (0.0, 0.1)
    lane: Lane

    async def inject(self) -> None:
        self.lane = self.random.choice(_lanes())
        stream = Subjects().stream_name(self.lane.stream)
        answer = await _ask(self.world, f"CONSUMER.DELETE.{stream}.{self.lane.name}", {})
        fired(bool(answer.get("success")), f"{self.lane.name} was not deleted: {answer}")

    async def heal(self) -> None:
        """Nothing: the mesh itself has to."""

    async def prove(self) -> None:
        asked = f"CONSUMER.INFO.{Subjects().stream_name(self.lane.stream)}.{self.lane.name}"
        try:
            async with asyncio.timeout(_HEALED_WITHIN_SECONDS):
                while "error" in await _ask(self.world, asked, {}):  # noqa: ASYNC110  # only the server knows
                    await asyncio.sleep(0.5)
        except TimeoutError:
            demand(False, f"{self.lane.name} was not made again within {_HEALED_WITHIN_SECONDS:g} s")


class ConsumerPaused(Fault):
    row, name = 19, "a consumer paused"
    parts: ClassVar = (Part.NATS,)
    share = 2
    lane: Lane

    async def inject(self) -> None:
        self.lane = self.random.choice(_lanes())
        until = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
        answer = await _ask(
            self.world,
            f"CONSUMER.PAUSE.{Subjects().stream_name(self.lane.stream)}.{self.lane.name}",
            {"pause_until": until},
        )
        fired(bool(answer.get("paused")), f"{self.lane.name} was not paused: {answer}")

    async def heal(self) -> None:
        """Nothing: the mesh itself has to."""

    async def prove(self) -> None:
        asked = f"CONSUMER.INFO.{Subjects().stream_name(self.lane.stream)}.{self.lane.name}"
        try:
            async with asyncio.timeout(_HEALED_WITHIN_SECONDS):
                while (await _ask(self.world, asked, {})).get("paused"):  # noqa: ASYNC110  # only the server knows
                    await asyncio.sleep(0.5)
        except TimeoutError:
            demand(False, f"{self.lane.name} stayed paused for {_HEALED_WITHIN_SECONDS:g} s")


class Unreadable(Fault):
    row, name = 22, "messages that are none, and ids of nothing"
    parts: ClassVar = (Part.NATS,)
    published = 0

    async def inject(self) -> None:
        connection = await nats.connect(self.world.servers.nats.url(), connect_timeout=5)
        try:
            stream = connection.jetstream(timeout=5)
            for lane in self.random.sample(_lanes(), 5):
                for payload in self._payloads():
                    await stream.publish(Subjects().subject(lane), payload)
                    self.published += 1
        finally:
            await connection.close()

    async def heal(self) -> None:
        """Nothing: what cannot be read is dropped, and nothing is claimed for what is not there."""

    async def prove(self) -> None:
        fired(self.published > 0, "nothing was published")

    def _payloads(self) -> Sequence[bytes]:
        return (
            self.random.randbytes(200),
            b"",
            Work(ids=[self.random.randbytes(7)]).SerializeToString(),
            Work(ids=[self.random.randbytes(16) for _ in range(MAX_IDS)]).SerializeToString(),
            Work(ids=[self.random.randbytes(16) for _ in range(MAX_IDS + 1)]).SerializeToString(),
        )
