"""The scheduler's jobs: each moves rows in the ledger first and publishes after the commit.

What is not confirmed by the bus goes back to the pump; what is lost later is found by the reconciler.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from clarion_kit.bus import MAX_IDS, PUBLISH_TIMEOUT, BusUnavailable, JetStreamBus
from clarion_kit.errors import Unavailable
from clarion_kit.subjects import Lane, Stream
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_ledger import broadcasts, flow, retention, stops
from clarion_ledger.db import Pool
from clarion_ledger.flow import MOVE_LIMIT, Moved
from clarion_ledger.retention import Retention
from clarion_ledger.runway import Runway

log = logging.getLogger(__name__)

SINGLETON_LEASE = timedelta(seconds=10)
"""Of jobs that one replica does; another takes over when that is gone."""
MAX_ROUNDS = 20
"""Batches of a job that one call moves before the other jobs get their turn."""
PUBLISH_LAG = 2 * PUBLISH_TIMEOUT
"""A message may reach its stream this much later than its rows were enqueued, by two clocks."""


class Jobs:
    """The jobs of one replica."""

    def __init__(
        self,
        pool: Pool,
        bus: JetStreamBus,
        runway: Runway,
        lanes: Sequence[Lane],
        telemetry: Telemetry,
        *,
        retention: Retention,
        lost_after: timedelta,
    ) -> None:
        """`lanes`: the PLAN and DISPATCH lanes, whose backlog the pump moves."""
        self._pool = pool
        self._bus = bus
        self._runway = runway
        self._lanes = lanes
        self._retention = retention
        self._lost_after = lost_after
        self._holder = uuid4().hex
        self._moved = telemetry.metrics.counter(names.SCHEDULER_MOVED)
        self._lateness = telemetry.metrics.histogram(names.SCHEDULER_LATENESS)

    async def pump(self) -> None:
        """Move resting rows onto the bus while their lanes have room. Raises LedgerUnavailable."""
        plans, deliveries = await flow.has_ready(self._pool)
        waiting = {(0, priority) for priority, _ in plans} | {
            (channel, priority) for channel, priority, _ in deliveries
        }
        for lane in self._lanes:
            if (lane.channel or 0, lane.priority) not in waiting:
                continue
            room = min(self._runway.room(lane) * MAX_IDS, MOVE_LIMIT)
            if room > 0:
                await self._publish("pump", [await flow.pump(self._pool, lane, room)])

    async def due(self) -> None:
        """Enqueue retries, what was deferred and steps of escalations, let schedules in that are due; give back what lanes
        hold that go on. Raises LedgerUnavailable."""
        self._count("held", await stops.release(self._pool, MOVE_LIMIT))
        await self._all_due("retry", flow.due_retries)
        steps, needless = await flow.due_steps(self._pool)
        self._count("step not needed", needless)
        await self._publish("step", steps)
        await self._all_due("schedule", flow.due_schedules)

    async def broadcasts(self) -> None:
        """End broadcasts whose deadline passed, and what is in flight of those that were cancelled. Raises
        LedgerUnavailable."""
        self._count("broadcast expired", await broadcasts.expire(self._pool))
        for _ in range(MAX_ROUNDS):
            ended = await broadcasts.end_cancelled(self._pool)
            self._count("broadcast cancelled", ended)
            if not ended:
                break

    async def reconcile(self) -> None:
        """Find what the bus lost and what frozen workers hold. Raises LedgerUnavailable, BusUnavailable."""
        self._count("lease", await flow.ended_leases(self._pool))
        self._count("expired", await flow.expired(self._pool))
        for lane in self._lanes:
            oldest = await self._oldest(lane)
            await self._publish("lost", [await flow.lost(self._pool, lane, oldest, lost_after=self._lost_after)])

    async def topology(self) -> None:
        """Keep streams and consumers as they should be; give rows back whose stream lost them. Raises BusUnavailable,
        LedgerUnavailable."""
        await self._bus.ensure_topology()
        # One replica watches: of two, one could write down an older look after a newer one, which is what loss looks like.
        if not await flow.take_lease(self._pool, "streams", self._holder, SINGLETON_LEASE):
            return
        for stream in (Stream.PLAN, Stream.DISPATCH, Stream.RETRY):
            created_at, last_seq = await self._bus.stream_identity(stream)
            if await flow.stream_lost_content(self._pool, stream, created_at, last_seq):
                rows = await flow.restart(self._pool, stream)
                log.error("stream lost its content; its rows are moved again", extra={"stream": stream, "rows": rows})
                self._count("restart", rows)

    async def prune(self) -> None:
        """Drop partitions that are past their time, on one replica. Raises LedgerUnavailable."""
        strays = await retention.strays(self._pool)
        if strays:
            log.error("rows lie in DEFAULT partitions: their day was missing when they came", extra={"rows": strays})
        if not await flow.take_lease(self._pool, "prune", self._holder, SINGLETON_LEASE):
            return
        for expired in await retention.prunable(self._pool, self._retention):
            if expired.held_by is not None:
                log.warning("%s is kept for %s", expired.partition, expired.held_by)
            elif await retention.prune(self._pool, self._retention, expired.partition):
                log.info("%s is dropped", expired.partition)
                self._count("prune", 1)

    async def partitions(self) -> None:
        """Keep partitions two weeks ahead, on one replica. Raises LedgerUnavailable."""
        if await flow.take_lease(self._pool, "partitions", self._holder, SINGLETON_LEASE):
            self._count("partition", await flow.ensure_partitions(self._pool))

    async def _all_due(self, job: str, move: Callable[[Pool], Awaitable[list[Moved]]]) -> None:
        """Everything that is due, not only a batch of it: thousands may share one moment."""
        for _ in range(MAX_ROUNDS):
            moves = await move(self._pool)
            await self._publish(job, moves)
            if sum(len(moved.ids) for moved in moves) < MOVE_LIMIT:
                break

    async def _oldest(self, lane: Lane) -> datetime | None:
        """Rows enqueued from this moment on may still be held by a message: that of the oldest one, less its way there.

        Retries of a channel travel on a lane of their own.
        """
        lanes = [lane] if lane.channel is None else [lane, Lane(Stream.RETRY, lane.priority, lane.channel)]
        found = [moment for one in lanes if (moment := await self._bus.oldest(one)) is not None]
        return min(found) - PUBLISH_LAG if found else None

    async def _publish(self, job: str, moves: Sequence[Moved]) -> None:
        """Publish all of them at once; what fails on one lane keeps nothing back on another. Raises BusUnavailable."""
        async with asyncio.TaskGroup() as group:
            published = [group.create_task(self._publish_one(job, moved)) for moved in moves if moved.ids]
        if not all(task.result() for task in published):
            raise BusUnavailable(job)

    async def _publish_one(self, job: str, moved: Moved) -> bool:
        try:
            await self._bus.publish(moved.lane, [id_.bytes for id_ in moved.ids], moved.traceparents)
        except BusUnavailable:
            self._runway.close(moved.lane)
            try:
                await flow.release(self._pool, moved.lane, moved.ids)
            except Unavailable:
                log.warning("rows stay enqueued; the reconciler brings them back", extra={"count": len(moved.ids)})
            return False
        self._count(job, len(moved.ids))
        if moved.lateness:
            self._lateness.labels(job).observe(moved.lateness.total_seconds())
        return True

    def _count(self, job: str, rows: int) -> None:
        if rows:
            self._moved.labels(job).inc(rows)
