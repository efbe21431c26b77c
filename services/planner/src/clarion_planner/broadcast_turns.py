"""Fan-out: planners take turns with the broadcasts that run, a second each.

A turn plans chunk by chunk while the lanes have room: the next one is decided while the last one commits. The ledger lets
one planner at a time have a broadcast and fences those whose lease ended, so that each recipient gets one child.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.sealing import Unsealable
from clarion_kit.subjects import Lane, Stream
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel
from clarion_ledger import broadcasts
from clarion_ledger.broadcasts import Chunk, LeaseLost, Turn
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan
from clarion_ledger.runway import Runway
from clarion_planner.broadcast import (
    Audiences,
    Walk,
    audience_of,
    child_source,
    chunk_size,
    notification_of,
    read_payload,
)
from clarion_planner.cases import Job
from clarion_planner.consumer import PlanConsumer
from clarion_planner.planning import Planning
from clarion_planner.turns import Pause

log = logging.getLogger(__name__)

T = TypeVar("T")

TURN_SECONDS = 1.0
ROUND_SECONDS = 5.0
"""Turns of one call; the daemon may want to stop in between."""
RATE_MEMORY = 0.7
BROADCASTS_EVERY = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class _Decided:
    """A chunk before it is written. `refs`: of the plans, in their order."""

    plans: Sequence[Plan]
    refs: Sequence[UUID]
    cursor: UUID
    last: bool
    total: int | None

    def chunk(self) -> Chunk:
        return Chunk(self.plans, self.cursor, self.last, self.total)

    def halves(self) -> "tuple[_Decided, _Decided]":
        half = len(self.plans) // 2
        first = _Decided(self.plans[:half], self.refs[:half], self.refs[half - 1], False, self.total)
        return first, _Decided(self.plans[half:], self.refs[half:], self.cursor, self.last, self.total)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A broadcast whose turn it is. `pattern`: the job of any child, but for its recipient."""

    turn: Turn
    walk: Walk
    pattern: Job
    lanes: Sequence[Lane]


class Unplannable(Exception):
    """Something in the next chunk cannot be planned; it is tried again later."""


class BroadcastTurns:
    """The turns of one planner."""

    def __init__(
        self,
        pool: Pool,
        keys: KeyRing,
        runway: Runway,
        rules: Planning,
        consumer: PlanConsumer,
        audiences: Audiences,
        telemetry: Telemetry,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._runway = runway
        self._rules = rules
        self._consumer = consumer
        self._audiences = audiences
        self._tracing = telemetry.tracing
        self._children = telemetry.metrics.counter(names.BROADCAST_CHILDREN)

    async def round(self) -> None:
        """Take turns until no broadcast has anything to do, for `ROUND_SECONDS` at most. Raises LedgerUnavailable,
        DEPENDENCY_UNAVAILABLE."""
        ends = time.monotonic() + ROUND_SECONDS
        idle: list[UUID] = []
        while time.monotonic() < ends:
            turn = await broadcasts.claim(self._pool, without=idle)
            if turn is None:
                return
            if not await self.serve(turn):
                idle.append(turn.broadcast.broadcast_id)

    async def serve(self, turn: Turn) -> bool:
        """Give a broadcast its turn; False where nothing could be planned. Raises LedgerUnavailable,
        DEPENDENCY_UNAVAILABLE."""
        began = time.monotonic()
        planned = 0
        failed = True
        try:
            async for count in self._chunks(turn):
                planned += count
                self._children.inc(count)
            failed = False
        except LeaseLost:
            log.info("a broadcast went on without this planner")
            return planned > 0
        except (DomainError, Unavailable):
            failed = False
            raise
        except (Unplannable, Unsealable, DecodeError, KeyError) as defect:
            log.error(
                "a broadcast cannot go on: %s",
                type(defect).__name__,
                extra={"broadcast_id": str(turn.broadcast.broadcast_id)},
            )
        finally:
            await self._release(turn, planned, time.monotonic() - began, failed=failed)
        return planned > 0

    async def _release(self, turn: Turn, planned: int, elapsed: float, *, failed: bool) -> None:
        if turn.since_served is not None:
            elapsed = max(elapsed, turn.since_served.total_seconds())
        rate = planned / elapsed if elapsed > 0 else 0.0
        before = turn.broadcast.rate
        rate = RATE_MEMORY * before + (1 - RATE_MEMORY) * rate if before else rate
        try:
            await broadcasts.release(self._pool, turn, rate=rate, failed=failed)
        except Unavailable:
            log.warning("a broadcast stays leased until its lease ends")

    async def _chunks(self, turn: Turn) -> AsyncIterator[int]:
        """Recipients planned, chunk by chunk, until time, room, pace or audience come to an end."""
        if turn.expired:
            return
        opened = await self._open(turn)
        ends = time.monotonic() + TURN_SECONDS
        cursor = turn.cursor
        decided = await self._decide(opened, cursor) if self._has_room(opened) else None
        while decided is not None:
            more = not decided.last and time.monotonic() < ends and self._has_room(opened)
            async with _beside(self._write(opened, cursor, decided)) as writing:
                following = await self._decide(opened, decided.cursor) if more else None
            waits = await writing
            yield len(decided.plans)
            cursor = decided.cursor
            decided = None if waits else following

    async def _open(self, turn: Turn) -> _Opened:
        sealer = await self._keys.sealer(turn.broadcast.app_id)
        request = read_payload(turn, sealer)
        notification = notification_of(request)
        pattern = await self._rules.job(child_source(turn, turn.cursor), notification, sealer)
        walk = Walk(self._audiences, turn, audience_of(request))
        # Those that are named, or all: which of them content and addresses leave is known only recipient by recipient.
        named = [Channel(channel) for channel in notification.channel_policy.channels] or list(Channel)
        lanes = [Lane(Stream.DISPATCH, turn.broadcast.priority, channel) for channel in named]
        return _Opened(turn, walk, pattern, lanes)

    def _has_room(self, opened: _Opened) -> bool:
        """Backlog of a broadcast rests as recipients that are not planned yet, where pause and cancel cost nothing."""
        return all(self._runway.open_for(lane, opened.turn.broadcast.app_id) for lane in opened.lanes)

    async def _decide(self, opened: _Opened, after: UUID) -> _Decided:
        turn = opened.turn
        size = await self._consumer.step(chunk_size(turn.broadcast.pace), turn.broadcast.priority)
        async with self._consumer.turn(turn.broadcast.priority) as pause:
            page = await opened.walk.next(after, size)
            plans = await self._plans([_job(opened, ref) for ref in page.refs], pause)
        cursor = page.refs[-1] if page.refs else after
        return _Decided(plans, page.refs, cursor, page.last, opened.walk.total)

    async def _plans(self, jobs: Sequence[Job], pause: Pause) -> list[Plan]:
        """A plan for each job, in their order; one that cannot be planned, even alone, ends with a reason after some
        tries. Raises Unplannable until then, DEPENDENCY_UNAVAILABLE, Unavailable."""
        try:
            return await self._rules.plan_jobs(jobs, pause)
        except (DomainError, Unavailable):
            raise
        except Exception as defect:
            if len(jobs) > 1:
                half = len(jobs) // 2
                return [*await self._plans(jobs[:half], pause), *await self._plans(jobs[half:], pause)]
            plans = await self._rules.poisoned(jobs[0].source, defect)
            if not plans:
                raise Unplannable from defect
            return plans

    async def _write(self, opened: _Opened, after: UUID, decided: _Decided) -> bool:
        """Commit a chunk and hand its deliveries on; True where the pace wants a rest. Raises what `plan_chunk` raises, and
        Unplannable."""
        turn = opened.turn
        with self._tracing.batch(
            "process BROADCAST", SpanKind.INTERNAL, [turn.traceparent], {names.Attr.BATCH: len(decided.plans)}
        ) as spans:
            onward = [self._consumer.onward(plan, spans) for plan in decided.plans]
            decided = _Decided(onward, decided.refs, decided.cursor, decided.last, decided.total)
            return await self._commit(turn, after, decided)

    async def _commit(self, turn: Turn, after: UUID, decided: _Decided) -> bool:
        """In halves where something in it cannot be stored, so that one bad child harms no other."""
        try:
            waits = await broadcasts.plan_chunk(self._pool, turn, after, decided.chunk())
        except (DomainError, Unavailable, LeaseLost):
            raise
        except Exception as defect:
            if len(decided.plans) > 1:
                first, second = decided.halves()
                await self._commit(turn, after, first)
                return await self._commit(turn, first.cursor, second)
            if not decided.plans:
                raise
            plans = await self._rules.poisoned(decided.plans[0].source, defect)
            if not plans:
                raise Unplannable from defect
            last = Chunk(plans, decided.cursor, decided.last, decided.total)
            waits = await broadcasts.plan_chunk(self._pool, turn, after, last)
            await self._consumer.hand_on(plans, turn.broadcast.priority)
            return waits
        await self._consumer.hand_on(decided.plans, turn.broadcast.priority)
        return waits


def _job(opened: _Opened, ref: UUID) -> Job:
    id_ = opened.turn.broadcast.broadcast_id
    return opened.pattern._replace(source=child_source(opened.turn, ref), recipients=(ref.bytes,), content_id=id_)


@asynccontextmanager
async def _beside(work: Coroutine[None, None, T]) -> "AsyncIterator[asyncio.Task[T]]":
    """`work` runs while the block does and is done when it ends, so that nothing is left behind."""
    task = asyncio.create_task(work)
    try:
        yield task
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # looked at here, for where the block itself failed
