"""How load is made: open loop by a timetable, closed loop as fast as it is taken, or one way of calling alone."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from clarion_client import Priority
from clarion_local.bench import samples, traffic
from clarion_local.bench.generator.caller import milliseconds_since
from clarion_local.bench.generator.jobs import Done, Job
from clarion_local.bench.timetable import Call, timetable

BATCH = 500
_BATCHERS, _CALLERS, _UNARY_CALLERS, _STREAMS = 3, 16, 64, 2
_MOST_UNANSWERED = 20_000
_PAUSE_SECONDS = 0.2
_TRIES = 150
_LEAD_SECONDS = 0.5
_LOOK_SECONDS = 0.1
_NOT_SENT = "NOT_SENT: too many calls were unanswered"


class Calls(Protocol):
    """How a service is called (`caller.Caller`, or what stands in for it)."""

    refused: Counter[str]
    failed: Counter[str]

    def reset(self) -> None: ...

    async def single(self, request: bytes) -> int: ...

    async def batch(self, request: bytes) -> int: ...

    async def stream(self, requests: Iterable[bytes]) -> int: ...


class Load:
    """One job at work."""

    def __init__(self, job: Job, caller: Calls, taken: Callable[[], int]) -> None:
        """`taken` asks how many messages the providers have so far; it blocks."""
        self._job, self._caller, self._taken = job, caller, taken
        self._unary: list[float] = []
        self._batch: list[float] = []
        self._accepted = 0
        self._late_ms = 0.0
        self._room = asyncio.Event()
        self._room.set()

    async def run(self) -> Done:
        """Do it and keep the latencies. Raises OSError."""
        job = self._job
        self._caller.reset()
        calls = self._calls()
        due = self._due()
        maker = traffic.Maker(
            job.run, job.people, job.pattern() or traffic.pattern(), Priority(job.priority), due or None
        )
        requests = [self._request(maker, call) for call in calls] if job.mode == "open" else []
        began_at, began = time.time() + _LEAD_SECONDS, time.monotonic() + _LEAD_SECONDS
        await asyncio.sleep(_LEAD_SECONDS)
        match job.mode:
            case "open":
                await self._open(began, calls, requests)
            case "closed":
                await self._closed(maker)
            case "unary":
                await self._singles(maker, iter(range(job.count)), _UNARY_CALLERS)
            case "batch":
                await self._batches(maker, _slices(0, job.count))
            case "stream":
                await self._streams(maker)
        seconds = time.monotonic() - began
        for kind, values in (("unary", self._unary), ("batch", self._batch)):
            samples.write(Path(job.folder) / f"{job.run}.{kind}", values)
        caller = self._caller
        first, step = due or (0.0, 0.0)
        return Done(
            self._accepted, began_at, seconds, dict(caller.refused), dict(caller.failed), self._late_ms, first, step
        )

    def _calls(self) -> list[Call]:
        job = self._job
        return timetable(job.rate, job.seconds, unary_share=job.unary_share) if job.mode == "open" else []

    def _due(self) -> tuple[float, float] | None:
        job = self._job
        if not job.due_over:
            return None
        return time.time() + job.due_in, job.due_over / max(1, job.count)

    def _request(self, maker: traffic.Maker, call: Call) -> bytes:
        return maker.single(call.first) if call.count == 1 else maker.batch(call.first, call.count)

    async def _open(self, began: float, calls: list[Call], requests: list[bytes]) -> None:
        unanswered: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            for call, request in zip(calls, requests, strict=True):
                due = began + call.at
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                self._late_ms = max(self._late_ms, milliseconds_since(due))
                if len(unanswered) >= _MOST_UNANSWERED:
                    self._caller.failed[_NOT_SENT] += 1
                    continue
                task = group.create_task(self._timed(due, call.count == 1, request))
                unanswered.add(task)
                task.add_done_callback(unanswered.discard)

    async def _timed(self, due: float, single: bool, request: bytes) -> None:
        """A call that failed counts for as long as its caller waited."""
        taken = await (self._caller.single(request) if single else self._caller.batch(request))
        self._accepted += taken
        (self._unary if single else self._batch).append(milliseconds_since(due))

    async def _closed(self, maker: traffic.Maker) -> None:
        singles = int(self._job.count * self._job.unary_share)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch()) if self._job.window else None
            async with asyncio.TaskGroup() as callers:
                callers.create_task(self._singles(maker, iter(range(singles)), _CALLERS))
                callers.create_task(self._batches(maker, _slices(singles, self._job.count)))
            if watching is not None:
                watching.cancel()

    async def _singles(self, maker: traffic.Maker, numbers: Iterator[int], callers: int) -> None:
        async def one_after_the_other() -> None:
            for number in numbers:
                await self._until_taken(self._caller.single, maker.single(number), 1, self._unary)

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(one_after_the_other())

    async def _batches(self, maker: traffic.Maker, slices: Iterator[tuple[int, int]]) -> None:
        async def one_after_the_other() -> None:
            for first, count in slices:
                await self._until_taken(self._caller.batch, maker.batch(first, count), count, self._batch)

        async with asyncio.TaskGroup() as group:
            for _ in range(_BATCHERS):
                group.create_task(one_after_the_other())

    async def _streams(self, maker: traffic.Maker) -> None:
        numbers = iter(range(self._job.count))
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(self._caller.stream(_stream_items(maker, numbers))) for _ in range(_STREAMS)]
        self._accepted += sum(stream.result() for stream in streams)

    async def _until_taken(
        self, hand_in: Callable[[bytes], Awaitable[int]], request: bytes, count: int, latencies: list[float]
    ) -> None:
        """Repeated under the same event ids until all of it is taken, within bounds."""
        for _ in range(_TRIES):
            await self._room.wait()
            began = time.monotonic()
            if await hand_in(request) == count:
                self._accepted += count
                latencies.append(milliseconds_since(began))
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch(self) -> None:
        """Open and close the window by what has come out at the other end."""
        before = await asyncio.to_thread(self._taken)
        while True:
            on_their_way = self._accepted - (await asyncio.to_thread(self._taken) - before)
            (self._room.set if on_their_way < self._job.window else self._room.clear)()
            await asyncio.sleep(_LOOK_SECONDS)


def _stream_items(maker: traffic.Maker, numbers: Iterator[int]) -> Iterator[bytes]:
    """A SendStreamRequest has the fields of a SendRequest."""
    return (maker.single(number) for number in numbers)


def _slices(first: int, end: int) -> Iterator[tuple[int, int]]:
    """(first, count) of each batch."""
    return ((at, min(BATCH, end - at)) for at in range(first, end, BATCH))
