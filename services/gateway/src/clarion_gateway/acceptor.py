"""Group commit of sends: each commit takes what gathered during the last one; there is no timer.

A single `Send` shares its commit with whoever sends at the same moment; apps take turns. After the commit the caller has its answer; the
ids go to the bus in the background, and what the bus does not confirm goes back to the pump.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from clarion_gateway.turns import Turns
from clarion_kit.bus import BusUnavailable, JetStreamBus
from clarion_kit.errors import DomainError, ErrorReason, Unavailable
from clarion_kit.subjects import plan_lane
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority
from clarion_ledger import flow
from clarion_ledger.accept import Accepted, AcceptItem, AcceptResult, accept
from clarion_ledger.db import Pool
from clarion_ledger.runway import Runway

log = logging.getLogger(__name__)

RELEASE_TIMEOUT_SECONDS = 5.0
LAST_PUBLISH_SECONDS = 2.0
COMMITTERS = 2
"""Commits in progress at once: one waits for the disk while the other is prepared."""
MOST_OF_QUEUE = 0.75
"""Of the queue that one app may fill."""
PUBLISHERS = 8
PUBLISH_QUEUE = 200
"""Published batches waiting for the bus; above it ids rest with the pump."""

_Pending = tuple[Sequence[AcceptItem], "asyncio.Future[list[AcceptResult]]"]


class Acceptor:
    """Makes notifications durable. `accept` may be called by any number of tasks."""

    def __init__(
        self,
        pool: Pool,
        bus: JetStreamBus,
        runway: Runway,
        telemetry: Telemetry,
        *,
        batch: int,
        queue: int,
        app_label: Callable[[int], str] = str,
    ) -> None:
        """`app_label`: what metrics call an app."""
        self._pool = pool
        self._bus = bus
        self._runway = runway
        self._batch = batch
        self._queue = queue
        self._waiting: Turns[_Pending] = Turns()
        self._wake = asyncio.Event()
        self._publishing: asyncio.Queue[tuple[Priority, list[UUID], list[str]]] = asyncio.Queue(PUBLISH_QUEUE)
        self._app_label = app_label
        self._accepted = telemetry.metrics.counter(names.ACCEPTED)
        self._by_app = telemetry.metrics.counter(names.ACCEPTED_BY_APP)
        self._commit = telemetry.metrics.histogram(names.ACCEPT_BATCH)

    def goes_straight(self, priority: Priority, app_id: int) -> bool:
        """Whether a notification of this app would be put on the bus at once."""
        return not self._publishing.full() and self._runway.open_for(plan_lane(priority), app_id)

    async def accept(self, items: Sequence[AcceptItem]) -> list[AcceptResult]:
        """Durable when this returns. `items`: at least one, all of one app. Raises OVERLOADED, STORAGE_FULL, LedgerUnavailable."""
        app_id = items[0].app_id
        full = self._waiting.size + len(items) > self._queue
        if full or self._waiting.size_of(app_id) + len(items) > self._queue * MOST_OF_QUEUE:
            raise DomainError(ErrorReason.OVERLOADED, "too many notifications wait to be stored; try again")
        answer: asyncio.Future[list[AcceptResult]] = asyncio.get_running_loop().create_future()
        self._waiting.put(app_id, (items, answer), len(items))
        self._wake.set()
        return await answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit and publish while entered. Leave it after the last call was answered: nothing waits then."""
        async with asyncio.TaskGroup() as group:
            committers = [group.create_task(self._commit_loop()) for _ in range(COMMITTERS)]
            publishers = [group.create_task(self._publish_loop()) for _ in range(PUBLISHERS)]
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._publishing.join(), LAST_PUBLISH_SECONDS)
                for task in (*committers, *publishers):
                    task.cancel()

    async def _commit_loop(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._commit_one(list(self._waiting.take(self._batch)))

    async def _commit_one(self, group: Sequence[_Pending]) -> None:
        items = [item for items, _ in group for item in items]
        try:
            with self._commit.time():
                results = await accept(self._pool, items)
        except Exception as refused:  # a defect too: it is its callers' answer, and the next commit goes on
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(refused)
            return
        start = 0
        for part, answer in group:
            if not answer.done():
                answer.set_result(results[start : start + len(part)])
            start += len(part)
        self._hand_on(items, results)

    def _hand_on(self, items: Sequence[AcceptItem], results: Sequence[AcceptResult]) -> None:
        by_priority: dict[Priority, tuple[list[UUID], list[str]]] = defaultdict(lambda: ([], []))
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Accepted) and result.fresh:
                self._accepted.labels(item.priority.slug).inc()
                self._by_app.labels(self._app_label(item.app_id)).inc()
                if item.enqueue and not result.scheduled:
                    ids, traceparents = by_priority[item.priority]
                    ids.append(result.notification_id)
                    traceparents.append(item.traceparent)
        for priority, (ids, traceparents) in by_priority.items():
            try:
                self._publishing.put_nowait((priority, ids, traceparents))
            except asyncio.QueueFull:
                log.warning("publishing is behind; the reconciler brings these back", extra={"count": len(ids)})

    async def _publish_loop(self) -> None:
        while True:
            priority, ids, traceparents = await self._publishing.get()
            await self._publish(priority, ids, traceparents)
            self._publishing.task_done()

    async def _publish(self, priority: Priority, ids: list[UUID], traceparents: list[str]) -> None:
        lane = plan_lane(priority)
        try:
            await self._bus.publish(lane, [id_.bytes for id_ in ids], traceparents)
        except BusUnavailable:
            self._runway.close(lane)
            try:
                await asyncio.wait_for(flow.release(self._pool, lane, ids), RELEASE_TIMEOUT_SECONDS)
            except (Unavailable, TimeoutError):
                log.warning("rows stay enqueued; the reconciler brings them back", extra={"count": len(ids)})
