"""Queues, consumers and streams of JetStream."""

from datetime import timedelta

from clarion_kit.bus import MAX_ACK_PENDING, BusUnavailable, ConsumerLook, JetStreamBus, LaneMissing
from clarion_kit.clock import Clock
from clarion_kit.subjects import Lane, StreamSpec, Subjects, all_lanes
from clarion_monitor.causes import StreamState
from clarion_monitor.domain import Queue
from clarion_monitor.ports import BusLook, BusRefuses
from clarion_monitor.stalls import Consumer, Fault, Stall


class BusView:
    """One or two requests a lane, one after the other: a look costs the bus no burst."""

    def __init__(self, bus: JetStreamBus, subjects: Subjects, clock: Clock) -> None:
        self._bus = bus
        self._subjects = subjects
        self._clock = clock

    async def look(self) -> BusLook:
        await self._bus.ping()
        try:
            streams = [await self._stream(spec) for spec in self._subjects.streams()]
            lanes = [await self._lane(lane) for lane in all_lanes()]
            if all(stream.created for stream in streams):
                await self._bus.probe()
        except BusUnavailable as away:
            await self._bus.ping()
            raise BusRefuses(str(away)) from away
        return BusLook([queue for queue, _ in lanes], [consumer for _, consumer in lanes], streams)

    async def heal(self, stall: Stall) -> None:
        if stall.fault is Fault.PAUSED:
            await self._bus.resume(stall.lane)
        else:
            await self._bus.recreate(stall.lane)

    async def _lane(self, lane: Lane) -> tuple[Queue, Consumer]:
        try:
            look = await self._bus.consumer(lane)
        except LaneMissing:
            return Queue(lane.name, 0, 0, timedelta(0)), Consumer(lane, missing=True)
        oldest = await self._bus.oldest(lane) if look.waiting or look.pending else None
        age = self._clock.now() - oldest if oldest is not None else timedelta(0)
        return Queue(lane.name, look.waiting, look.pending, max(age, timedelta(0))), _consumer(lane, look)

    async def _stream(self, spec: StreamSpec) -> StreamState:
        try:
            look = await self._bus.stream(spec)
        except LaneMissing:
            return StreamState(spec.stream, None)
        return StreamState(spec.stream, look.created, look.last_seq, look.lost, look.fill)


def _consumer(lane: Lane, look: ConsumerLook) -> Consumer:
    return Consumer(
        lane,
        waiting=look.waiting,
        delivered=look.delivered,
        asked=look.asked,
        full=look.pending >= MAX_ACK_PENDING,
        paused=look.paused,
    )
