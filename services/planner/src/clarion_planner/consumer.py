"""The PLAN lanes: plan what waits, commit, hand the deliveries on."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from opentelemetry.trace import SpanKind

from clarion_kit.bus import Batch, BusUnavailable, JetStreamBus, Verdict
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.subjects import Lane, Stream
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import exemplar
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import BatchSpans
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger import flow, planning
from clarion_ledger.db import Pool
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan
from clarion_ledger.runway import Runway
from clarion_planner.planning import Planning

log = logging.getLogger(__name__)

CHUNK = 250
"""Notifications planned in one transaction: about 40 ms of this process's time, which urgent ones may have to wait for."""
YIELD_SECONDS = 0.25


class PlanConsumer:
    """Plans batches of one daemon."""

    def __init__(self, pool: Pool, bus: JetStreamBus, runway: Runway, rules: Planning, telemetry: Telemetry) -> None:
        self._pool = pool
        self._bus = bus
        self._runway = runway
        self._rules = rules
        self._tracing = telemetry.tracing
        self._planned = telemetry.metrics.counter(names.PLANNED)
        self._age = telemetry.metrics.histogram(names.PLAN_AGE)
        self._urgent = 0
        self._calm = asyncio.Event()
        self._calm.set()

    def handler(self, priority: Priority) -> Callable[[Batch], Awaitable[Verdict]]:
        """The bus handler of one priority."""

        async def handle(batch: Batch) -> Verdict:
            ids = sorted(UUID(bytes=id_) for id_ in batch.ids)
            try:
                for start in range(0, len(ids), CHUNK):
                    async with self.turn(priority):
                        await self._plan(ids[start : start + CHUNK], priority, batch.link)
            except (Unavailable, DomainError) as away:
                log.warning("planning postponed: %s", away)
                return Verdict.LATER
            return Verdict.ACK

        return handle

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[None]:
        """Urgent work goes at once; other chunks let it pass, yet wait no longer than `YIELD_SECONDS` each."""
        if priority is not Priority.URGENT:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._calm.wait(), YIELD_SECONDS)
            yield
            return
        self._urgent += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._urgent -= 1
            if not self._urgent:
                self._calm.set()

    async def _plan(self, ids: Sequence[UUID], priority: Priority, link: str) -> None:
        """What waits of `ids`, which ascend; by turns where their payloads are large."""
        while sources := await planning.load(self._pool, ids):
            await self._plan_sources(sources, priority, link)
            ids = [id_ for id_ in ids if id_ > sources[-1].notification_id]

    async def _plan_sources(self, sources: Sequence[ToPlan], priority: Priority, link: str) -> None:
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
            plans = [self.onward(plan, spans) for plan in await self._rules.plans(live)]
            written = await self._write(plans)
            now = datetime.now(UTC)
            for plan in written:
                age = (now - plan.source.accepted_at).total_seconds()
                self._age.labels(priority.slug).observe(age, exemplar(plan.source.traceparent))
            await self.hand_on(written, priority)

    async def hand_on(self, written: Sequence[Plan], priority: Priority) -> None:
        """Count what was planned and committed, and publish what goes at once; what the bus does not take rests again."""
        flying: dict[Lane, list[PlannedDelivery]] = defaultdict(list)
        for plan in written:
            for delivery in plan.deliveries:
                state = "suppressed" if delivery.reason else "in_flight"
                self._planned.labels(delivery.channel.slug, state).inc()
                if delivery.goes_now and delivery.enqueue:
                    flying[_lane(delivery.channel, priority)].append(delivery)
        for lane, deliveries in flying.items():
            await self._publish(lane, deliveries)

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
        deliveries = [
            replace(
                delivery,
                enqueue=self._runway.open_for(_lane(delivery.channel, plan.source.priority), plan.source.app_id),
                traceparent=context,
            )
            if delivery.reason is None
            else delivery
            for delivery in plan.deliveries
        ]
        return replace(plan, deliveries=deliveries)

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
