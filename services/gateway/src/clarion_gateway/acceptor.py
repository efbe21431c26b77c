"""Group commit of sends: each commit takes what gathered during the last one; there is no timer.

A single `Send` shares its commit with whoever sends at the same moment, and with nobody's batches: those are cut into commits of their own,
beside them. Apps take turns at both. After the commit the caller has its answer; the ids go to the bus in the background, and what the
bus does not confirm goes back to the pump.
"""

import asyncio
import logging
from collections import Counter, defaultdict
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
SMALL_COMMITTERS = 2
"""Commits of small calls in progress at once: one waits for the disk while the other is prepared. Of large ones there is one: a second
brought no more of them in (measured on two cores), and doubled what a single `Send` waits for."""
SMALL = 20
"""Notifications of a call that is stored apart from larger ones."""
MOST_OF_QUEUE = 0.75
"""Of the queue that one app may fill."""
PUBLISHERS = 8
PUBLISH_QUEUE = 200
"""Published batches waiting for the bus; above it ids rest with the pump."""

_Pending = tuple[Sequence[AcceptItem], "asyncio.Future[list[AcceptResult]]"]


class _Waiting:
    """Calls, or parts of one, that wait for their commit."""

    def __init__(self) -> None:
        self.turns: Turns[_Pending] = Turns()
        self._wake = asyncio.Event()

    def put(self, app_id: int, items: Sequence[AcceptItem]) -> "asyncio.Future[list[AcceptResult]]":
        answer: asyncio.Future[list[AcceptResult]] = asyncio.get_running_loop().create_future()
        self.turns.put(app_id, (items, answer), len(items))
        self._wake.set()
        return answer

    async def take(self, most: int) -> Sequence[_Pending]:
        """What gathered, at least one."""
        while not self.turns:
            self._wake.clear()
            await self._wake.wait()
        return list(self.turns.take(most))


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
        self._small, self._large = _Waiting(), _Waiting()
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
        app_id, count = items[0].app_id, len(items)
        full = self._small.turns.size + self._large.turns.size + count > self._queue
        of_app = self._small.turns.size_of(app_id) + self._large.turns.size_of(app_id)
        if full or of_app + count > self._queue * MOST_OF_QUEUE:
            raise DomainError(ErrorReason.OVERLOADED, "too many notifications wait to be stored; try again")
        if count <= SMALL:
            return await self._small.put(app_id, items)
        parts = [self._large.put(app_id, items[at : at + self._batch]) for at in range(0, count, self._batch)]
        return [result for results in await asyncio.gather(*parts) for result in results]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit and publish while entered. Leave it after the last call was answered: nothing waits then."""
        async with asyncio.TaskGroup() as group:
            waitings = [*[self._small] * SMALL_COMMITTERS, self._large]
            committers = [group.create_task(self._commit_loop(waiting)) for waiting in waitings]
            publishers = [group.create_task(self._publish_loop()) for _ in range(PUBLISHERS)]
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._publishing.join(), LAST_PUBLISH_SECONDS)
                for task in (*committers, *publishers):
                    task.cancel()

    async def _commit_loop(self, waiting: "_Waiting") -> None:
        while True:
            await self._commit_one(await waiting.take(self._batch))

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
        fresh: Counter[tuple[Priority, int]] = Counter()
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Accepted) and result.fresh:
                fresh[item.priority, item.app_id] += 1
                if item.enqueue and not result.scheduled:
                    ids, traceparents = by_priority[item.priority]
                    ids.append(result.notification_id)
                    traceparents.append(item.traceparent)
        for (priority, app_id), count in fresh.items():
            self._accepted.labels(priority.slug).inc(count)
            self._by_app.labels(self._app_label(app_id)).inc(count)
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
