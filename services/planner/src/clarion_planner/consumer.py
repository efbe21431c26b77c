"""The PLAN lanes: plan what waits, commit, hand the deliveries on."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from uuid import UUID

from opentelemetry.trace import SpanKind

from clarion_kit.bus import Batch, BusUnavailable, JetStreamBus, Verdict
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.scavenger import Scavenger
from clarion_kit.subjects import Lane, Stream
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import exemplar
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import BatchSpans
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger import flow, planning
from clarion_ledger.db import Pool
from clarion_ledger.ids import uuid_of
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan
from clarion_ledger.runway import Runway
from clarion_planner.planning import Planning
from clarion_planner.turns import Pause, Turns

log = logging.getLogger(__name__)

CHUNK = 250
"""Notifications planned in one transaction. The longest piece between two pauses takes 8 ms of this process's time, which
more urgent ones may have to wait for."""


class PlanConsumer:
    """Plans batches of one daemon."""

    def __init__(
        self,
        pool: Pool,
        bus: JetStreamBus,
        runway: Runway,
        rules: Planning,
        telemetry: Telemetry,
        bulk: Scavenger | None = None,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._runway = runway
        self._rules = rules
        self._tracing = telemetry.tracing
        self._planned = telemetry.metrics.counter(names.PLANNED)
        self._age = telemetry.metrics.histogram(names.PLAN_AGE)
        self._turns = Turns()
        self._bulk = bulk or Scavenger()

    def handler(self, priority: Priority) -> Callable[[Batch], Awaitable[Verdict]]:
        """The bus handler of one priority."""

        async def handle(batch: Batch) -> Verdict:
            ids = [uuid_of(id_) for id_ in sorted(batch.ids)]
            try:
                while ids:
                    size = await self.step(CHUNK, priority)
                    chunk, ids = ids[:size], ids[size:]
                    async with self.turn(priority) as pause:
                        await self._plan(chunk, priority, batch.link, pause)
            except (Unavailable, DomainError) as away:
                log.warning("planning postponed: %s", away)
                return Verdict.LATER
            return Verdict.ACK

        return handle

    async def step(self, most: int, priority: Priority) -> int:
        """How many of `most` are planned together now; bulk waits while others are late."""
        return await self._bulk.step(most) if priority is Priority.BULK else most

    def turn(self, priority: Priority) -> AbstractAsyncContextManager[Pause]:
        """The turn of a chunk (`Turns.turn`)."""
        return self._turns.turn(priority)

    async def _plan(self, ids: Sequence[UUID], priority: Priority, link: str, pause: Pause) -> None:
        """What waits of `ids`, which ascend; by turns where their payloads are large."""
        while sources := await planning.load(self._pool, ids):
            await self._plan_sources(sources, priority, link, pause)
            ids = [id_ for id_ in ids if id_ > sources[-1].notification_id]

    async def _plan_sources(self, sources: Sequence[ToPlan], priority: Priority, link: str, pause: Pause) -> None:
        await planning.expire(self._pool, [source.notification_id for source in sources if source.expired])
        live = [source for source in sources if not source.expired]
        if not live:
            return
        with self._tracing.batch(
            f"process PLAN.{priority.slug}",
            SpanKind.CONSUMER,
            [source.traceparent for source in live],
            names.messaging("process", f"PLAN.{priority.slug}", len(live)),
            link,
        ) as spans:
            plans = await self._rules.plans(live, pause)
            await pause()
            written = await self._write([self.onward(plan, spans) for plan in plans])
            now = datetime.now(UTC)
            ages = [(now - plan.source.accepted_at).total_seconds() for plan in written]
            for plan, age in zip(written, ages, strict=True):
                self._age.labels(priority.slug).observe(age, exemplar(plan.source.traceparent))
            if ages and priority is not Priority.BULK:
                self._bulk.waited(min(ages))
            await self.hand_on(written, priority)

    async def hand_on(self, written: Sequence[Plan], priority: Priority) -> None:
        """Count what was planned and committed, and publish what goes at once; what the bus does not take rests again."""
        flying: dict[Channel, list[PlannedDelivery]] = defaultdict(list)
        counts: Counter[tuple[Channel, str]] = Counter()
        for plan in written:
            for delivery in plan.deliveries:
                counts[delivery.channel, "suppressed" if delivery.reason else "in_flight"] += 1
                if delivery.goes_now and delivery.enqueue:
                    flying[delivery.channel].append(delivery)
        for (channel, state), count in counts.items():
            self._planned.labels(channel.slug, state).inc(count)
        async with asyncio.TaskGroup() as group:
            for channel, deliveries in flying.items():
                group.create_task(self._publish(_lane(channel, priority), deliveries))

    async def _write(self, plans: Sequence[Plan]) -> list[Plan]:
        """Those that took hold, written together; in halves where that fails, so that one bad plan harms no other."""
        try:
            taken = await planning.plan(self._pool, plans)
        except (DomainError, Unavailable):
            raise
        except Exception as defect:  # something in one of them that the ledger cannot take
            if len(plans) > 1:
                half = len(plans) // 2
                return [*await self._write(plans[:half]), *await self._write(plans[half:])]
            plans = await self._rules.poisoned(plans[0].source, defect)
            taken = await planning.plan(self._pool, plans)
        return [plan for plan in plans if plan.source.notification_id in taken]

    def onward(self, plan: Plan, spans: BatchSpans) -> Plan:
        """Which deliveries go straight to the bus, and the trace they continue."""
        context = spans.onward(plan.source.traceparent)
        closed = {
            channel
            for channel in {delivery.channel for delivery in plan.deliveries if delivery.reason is None}
            if not self._runway.open_for(_lane(channel, plan.source.priority), plan.source.app_id)
        }
        if not context and not closed:  # as it was planned
            return plan
        deliveries = [
            delivery
            if delivery.reason is not None
            else delivery._replace(enqueue=delivery.channel not in closed, traceparent=context)
            for delivery in plan.deliveries
        ]
        return plan._replace(deliveries=deliveries)

    async def _publish(self, lane: Lane, deliveries: Sequence[PlannedDelivery]) -> None:
        ids = [delivery.delivery_id for delivery in deliveries]
        try:
            await self._bus.publish(lane, [id_.bytes for id_ in ids], [delivery.traceparent for delivery in deliveries])
        except BusUnavailable:
            self._runway.close(lane)
            try:
                await flow.release(self._pool, lane, ids)
            except Unavailable:
                log.warning("rows stay enqueued; the reconciler brings them back", extra={"count": len(ids)})


def _lane(channel: Channel, priority: Priority) -> Lane:
    return Lane(Stream.DISPATCH, priority, channel)
