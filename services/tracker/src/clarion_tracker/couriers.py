"""Posts changes to webhooks: one courier for each webhook that this tracker holds, so that none waits for another.

A webhook belongs to the tracker that holds its lease. What it took is recorded under the lease's number; a tracker that
lost it in between records nothing, and the changes come once more from whoever holds it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from prometheus_client import Counter, Gauge

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_tracker.changes import Change
from clarion_tracker.feed import Feed, Follower
from clarion_tracker.positions import Position
from clarion_tracker.webhooks import (
    MAX_CHANGES,
    Again,
    Answer,
    Batch,
    Disabled,
    Hook,
    Lost,
    batch_of,
    body_of,
    headers_of,
    judge,
    sample_of,
)

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=8)
"""Without renewal another tracker takes over after it."""
STEP = timedelta(seconds=1)
POST_TIMEOUT = timedelta(seconds=10)
TEST_TIMEOUT = timedelta(seconds=5)
MAX_HELD = 500
AT_ONCE, FAILING_AT_ONCE = 64, 32
"""Posts open at once: to receivers that took the last one, and to those that did not."""
_PAUSE_SECONDS = 1.0
_FRESH_SECONDS = 2.0
_SURELY_KEPT = timedelta(hours=6)
"""Events are kept for days: what is younger needs no look."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A test that somebody waits for."""

    test_id: UUID
    hook: Hook


@dataclass(frozen=True, slots=True)
class Held:
    """A lease to keep, and what its holder goes by; `position`: where its webhook stands now."""

    webhook_id: int
    lease_gen: int
    revision: int
    two_secrets: bool
    position: Position


class Hooks(Protocol):
    """Webhooks and how far they are. What is recorded under a lease that has passed on is dropped: False."""

    async def claim(self, most: int) -> Sequence[Hook]:
        """Webhooks whose lease nobody holds, now ours. Raises Unavailable."""
        ...

    async def keep(self, held: Sequence[Held]) -> Collection[int]:
        """Renew leases and note positions; gives those that are still ours and unchanged. Raises Unavailable."""
        ...

    async def release(self, held: Sequence[Held]) -> None:
        """Others may take them at once. Raises Unavailable."""
        ...

    async def taken(self, hook: Hook) -> bool:
        """Everything up to its position was taken. Raises Unavailable."""
        ...

    async def failed(self, hook: Hook, batch: Batch, answer: Answer, pause: timedelta) -> bool:
        """Raises Unavailable."""
        ...

    async def disable(self, hook: Hook, batch: Batch, answer: Answer, why: Disabled) -> bool:
        """Raises Unavailable."""
        ...

    async def lost(self, hook: Hook, lost: Lost) -> bool:
        """Note a gap that the next body tells. Raises Unavailable."""
        ...

    async def disabled(self) -> Mapping[str, int]:
        """How many are switched off, by reason. Raises Unavailable."""
        ...

    async def samples(self, most: int) -> Sequence[Sample]:
        """Tests that were asked for, now ours. Raises Unavailable."""
        ...

    async def tested(self, sample: Sample, answer: Answer, took: timedelta) -> None:
        """Raises Unavailable."""
        ...


class Door(Protocol):
    """One receiver's."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout: timedelta) -> Answer:
        """Never raises for what a receiver does."""
        ...


Knock = Callable[[], AbstractAsyncContextManager[Door]]
"""Connections to one receiver, kept while entered."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What couriers count."""

    posts: Counter
    changes: Counter
    gaps: Counter
    held: Gauge
    failing: Gauge
    disabled: Gauge

    @classmethod
    def of(cls, metrics: Metrics) -> "Counts":
        return cls(
            metrics.counter(names.WEBHOOK_POSTS),
            metrics.counter(names.WEBHOOK_CHANGES),
            metrics.counter(names.WEBHOOK_GAPS),
            metrics.gauge(names.WEBHOOKS_HELD),
            metrics.gauge(names.WEBHOOKS_FAILING),
            metrics.gauge(names.WEBHOOKS_DISABLED),
        )


class Couriers:
    """Owns the tasks. `step` runs every second, `test` twice a second."""

    def __init__(self, hooks: Hooks, feed: Feed, knock: Knock, clock: Clock, counts: Counts) -> None:
        self._hooks = hooks
        self._feed = feed
        self._knock = knock
        self._clock = clock
        self._counts = counts
        self._couriers: dict[int, tuple[Courier, asyncio.Task[None]]] = {}
        self._healthy = asyncio.Semaphore(AT_ONCE)
        self._failing = asyncio.Semaphore(FAILING_AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Couriers"]:
        """On leaving, posts in progress are given up and the leases given back."""
        try:
            yield self
        finally:
            held = [courier.held for courier, _ in self._couriers.values()]
            await self._dismiss(list(self._couriers))
            try:
                await self._hooks.release(held)
            except (Unavailable, DomainError) as away:
                log.warning("leases of webhooks end by themselves: %s", away)

    async def step(self) -> None:
        """Renew what is held, let go of what passed on or was changed, take what is free. Raises Unavailable."""
        await self._dismiss([id_ for id_, (_, task) in self._couriers.items() if task.done()])
        held = [courier.held for courier, _ in self._couriers.values()]
        if held:
            asked_at = time.monotonic()
            ours = await self._hooks.keep(held)
            gone = [one for one in held if one.webhook_id not in ours]
            await self._dismiss([one.webhook_id for one in gone])
            if gone:
                await self._hooks.release(gone)
            for courier, _ in self._couriers.values():
                courier.leased_at(asked_at)
        asked_at = time.monotonic()
        for hook in await self._hooks.claim(MAX_HELD - len(self._couriers)):
            courier = Courier(hook, self._hooks, self._feed, self._knock, self._clock, self._counts, self._gate)
            courier.leased_at(asked_at)
            self._couriers[hook.webhook_id] = courier, asyncio.create_task(courier.run(), name=f"webhook {hook.name}")
        self._counts.held.set(len(self._couriers))
        self._counts.failing.set(sum(courier.hook.tries > 0 for courier, _ in self._couriers.values()))
        disabled = await self._hooks.disabled()
        for reason in Disabled:
            self._counts.disabled.labels(reason).set(disabled.get(reason, 0))

    async def test(self) -> None:
        """Post the samples that were asked for. Raises Unavailable."""
        samples = await self._hooks.samples(10)
        async with asyncio.TaskGroup() as group:
            for sample in samples:
                group.create_task(self._test(sample))

    async def _test(self, sample: Sample) -> None:
        hook, now = sample.hook, self._clock.now()
        message_id = f"msg_test_{sample.test_id}"
        body = sample_of(hook, now)
        started = time.monotonic()
        async with self._knock() as door:
            answer = await door.post(hook.url, headers_of(message_id, hook.secrets, now, body), body, TEST_TIMEOUT)
        await self._hooks.tested(sample, answer, timedelta(seconds=time.monotonic() - started))

    def _gate(self, hook: Hook) -> asyncio.Semaphore:
        return self._failing if hook.tries else self._healthy

    async def _dismiss(self, webhook_ids: Sequence[int]) -> None:
        tasks = {id_: self._couriers.pop(id_)[1] for id_ in webhook_ids}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for id_, task in tasks.items():
            if not task.cancelled() and (defect := task.exception()) is not None:
                log.error("webhook %d stopped by a defect; it is taken anew when its lease ends", id_, exc_info=defect)


class Courier:
    """One webhook's way."""

    def __init__(
        self,
        hook: Hook,
        hooks: Hooks,
        feed: Feed,
        knock: Knock,
        clock: Clock,
        counts: Counts,
        gate: Callable[[Hook], asyncio.Semaphore],
    ) -> None:
        self.hook = hook
        self._lease_ends_at = 0.0
        self._renewed = asyncio.Event()
        self._hooks = hooks
        self._feed = feed
        self._knock = knock
        self._clock = clock
        self._counts = counts
        self._gate = gate
        self._due_at = time.monotonic() + hook.due_in.total_seconds()
        self._failing_since = time.monotonic() - hook.failing_for.total_seconds()

    @property
    def held(self) -> Held:
        hook = self.hook
        return Held(hook.webhook_id, hook.lease_gen, hook.revision, len(hook.secrets) > 1, hook.position)

    def leased_at(self, asked_at: float) -> None:
        """The lease was taken or renewed by a statement that began then (monotonic)."""
        self._lease_ends_at = asked_at + LEASE.total_seconds()
        self._renewed.set()

    async def run(self) -> None:
        """Until it is cancelled, switched off, or its lease has passed on."""
        async with self._feed.follow(self.hook.app_id) as follower, self._knock() as door:
            while True:
                try:
                    batch = await self._gather(follower)
                    if batch is not None and not await self._deliver(batch, door):
                        return
                except (Unavailable, DomainError) as away:
                    log.warning("webhook %d waits: %s", self.hook.webhook_id, away)
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _gather(self, follower: Follower) -> Batch | None:
        """The next batch; None: there is nothing to post yet, and the position has moved."""
        if not await self._is_kept():
            return None
        if self.hook.batch_end is not None:
            return await self._gather_again(follower, self.hook.batch_end)
        page = await follower.after(self.hook.position)
        found = self.hook.wanted.of(page.changes)
        if found:
            batch, more = found[:MAX_CHANGES], found[MAX_CHANGES:]
            return batch_of(self.hook, batch, batch[-1].position if more else page.position)
        self.hook = replace(self.hook, position=page.position)
        if not page.more:
            await follower.moved(_FRESH_SECONDS)
        return None

    async def _gather_again(self, follower: Follower, end: Position) -> Batch | None:
        """The batch that failed last, whose id says where it ends."""
        found: list[Change] = []
        position = self.hook.position
        while position < end:
            page = await follower.after(position)
            found += self.hook.wanted.of(change for change in page.changes if change.position <= end)
            if not page.more and page.position < end:
                # Its last events were pruned.
                break
            position = page.position
        if found:
            batch, more = found[:MAX_CHANGES], found[MAX_CHANGES:]
            return batch_of(self.hook, batch, batch[-1].position if more else end)
        self.hook = replace(self.hook, position=max(end, self.hook.position), batch_end=None)
        return None

    async def _is_kept(self) -> bool:
        """Notes a gap where what follows was pruned. False: look again."""
        position = self.hook.position
        if self._clock.now() - position.at < _SURELY_KEPT:
            return True
        bounds = await self._feed.bounds()
        if position.at >= bounds.oldest:
            return True
        lost = Lost(self.hook.lost.since if self.hook.lost else position.at, bounds.oldest)
        await self._hooks.lost(self.hook, lost)
        self.hook = replace(self.hook, lost=lost, position=replace(position, at=bounds.oldest), batch_end=None)
        self._counts.gaps.inc()
        log.error("a webhook is behind what is kept: changes were lost", extra={"webhook_id": self.hook.webhook_id})
        return False

    async def _deliver(self, batch: Batch, door: Door) -> bool:
        """Try until it is taken; False where the webhook was switched off or has passed on."""
        body = body_of(self.hook, batch)
        while True:
            await asyncio.sleep(max(0.0, self._due_at - time.monotonic()))
            await self._leased()
            async with self._gate(self.hook):
                headers = headers_of(batch.message_id, self.hook.secrets, self._clock.now(), body)
                answer = await door.post(self.hook.url, headers, body, POST_TIMEOUT)
            self._counts.posts.labels("taken" if answer.taken else "refused" if answer.status else "no_answer").inc()
            if answer.taken:
                self._counts.changes.inc(len(batch.changes))
                self.hook = replace(self.hook, position=batch.end, batch_end=None, lost=None, tries=0)
                return await self._recorded(partial(self._hooks.taken, self.hook))
            if not await self._put_off(batch, answer):
                return False

    async def _leased(self) -> None:
        """Nothing is posted after the lease's end; `Couriers` renews it, or ends this."""
        while time.monotonic() >= self._lease_ends_at:
            self._renewed.clear()
            await self._renewed.wait()

    async def _put_off(self, batch: Batch, answer: Answer) -> bool:
        now = time.monotonic()
        if self.hook.tries == 0:
            self._failing_since = now
        self.hook = replace(self.hook, tries=self.hook.tries + 1)
        verdict = judge(answer, self.hook.tries, timedelta(seconds=now - self._failing_since))
        if isinstance(verdict, Again):
            self._due_at = now + verdict.pause.total_seconds()
            return await self._recorded(partial(self._hooks.failed, self.hook, batch, answer, verdict.pause))
        log.error(
            "a webhook was switched off: %s",
            verdict,
            extra={"webhook_id": self.hook.webhook_id, "app_id": self.hook.app_id, "fault": answer.fault},
        )
        await self._recorded(partial(self._hooks.disable, self.hook, batch, answer, verdict))
        return False

    async def _recorded(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """What happened is written down however long that takes, or else it would happen again."""
        while True:
            try:
                return await write()
            except (Unavailable, DomainError) as away:
                log.warning("webhook %d: not recorded yet: %s", self.hook.webhook_id, away)
                await asyncio.sleep(_PAUSE_SECONDS)
