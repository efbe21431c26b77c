"""The lanes of JetStream."""

from datetime import timedelta

from clarion_kit.bus import JetStreamBus
from clarion_kit.clock import Clock
from clarion_kit.subjects import Lane, all_lanes
from clarion_monitor.domain import Queue


class BusQueues:
    """One or two requests a lane, one after the other: a look costs the bus no burst."""

    def __init__(self, bus: JetStreamBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def queues(self) -> list[Queue]:
        return [await self._queue(lane) for lane in all_lanes()]

    async def _queue(self, lane: Lane) -> Queue:
        depth = await self._bus.depth(lane)
        oldest = await self._bus.oldest(lane) if depth.waiting or depth.pending else None
        age = self._clock.now() - oldest if oldest is not None else timedelta(0)
        return Queue(lane.name, depth.waiting, depth.pending, max(age, timedelta(0)))
