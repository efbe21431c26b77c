"""Opens and clicks on their way into the ledger: a bounded queue that promises nothing and counts what it drops.

What comes again takes no more room: a flood on one link is one entry. Clicks rest a little longer than a burst lasts, so that
what follows still tells who made them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Self
from uuid import UUID

from prometheus_client import Counter

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import ClickLink, OpenLink
from clarion_kit.vocabulary import Channel
from clarion_tracker.activity import RECEIPTS, Activity, Kind
from clarion_tracker.inbound import DeliveryReceipt
from clarion_tracker.machines import BURST, Click, judge
from clarion_tracker.ports import Activities, Deliveries

log = logging.getLogger(__name__)

BATCH = 500
FLUSH_TIMEOUT_SECONDS = 3.0
HOLD = BURST + timedelta(milliseconds=200)
AGAIN = timedelta(seconds=3)
"""When a receipt that changed nothing is tried once more: its mail may have been opened before its send was recorded."""
NAMES = {Kind.OPENED: "open", Kind.CLICKED: "click"}
"""As they are counted."""


class ActivityQueue:
    """Entered for as long as opens and clicks come in; leaving writes what is left, within three seconds."""

    def __init__(
        self, deliveries: Deliveries, activities: Activities, counter: Counter, clock: Clock, *, size: int
    ) -> None:
        self._deliveries = deliveries
        self._activities = activities
        self._counter = counter
        self._clock = clock
        self._size = size
        self._waiting: dict[Activity, int] = {}
        self._clicks: dict[UUID, dict[ClickLink, Click]] = {}
        self._held = 0
        self._clicked_at: dict[Activity, float] = {}
        self._unchanged: dict[Activity, float] = {}

    def offer_open(self, delivery: OpenLink, *, machine: bool) -> None:
        """Take an open, or drop it where the queue is full."""
        opened = Activity(delivery, Kind.OPENED, machine)
        known = self._waiting.get(opened)
        if known is None and self._full():
            self._count(Kind.OPENED, "dropped")
            return
        self._waiting[opened] = (known or 0) + 1
        if machine:
            self._count(Kind.OPENED, "machine")

    def offer_click(self, link: ClickLink, *, machine: bool) -> None:
        """Take a click, or drop it where the queue is full."""
        now = self._clock.monotonic()
        siblings = self._clicks.get(link.delivery.delivery_id)
        click = siblings.get(link) if siblings is not None else None
        if click is None:
            if self._full():
                self._count(Kind.CLICKED, "dropped")
                return
            click = Click(link, now, now, times=0)
            siblings = self._clicks.setdefault(link.delivery.delivery_id, {})
            siblings[link] = click
            self._held += 1
        click.times += 1
        click.last_at = now
        click.machine = click.machine or machine
        if siblings is not None and len(siblings) > 1:
            judge(click, siblings.values())

    async def write(self) -> None:
        """Write what is due. Raises Unavailable; it stays queued."""
        self._ripen(self._clock.monotonic() - HOLD.total_seconds())
        while self._waiting:
            await self._write(list(islice(self._waiting.items(), BATCH)))
        await self._try_again()

    async def _try_again(self) -> None:
        until = self._clock.monotonic() - AGAIN.total_seconds()
        due = [activity for activity, tried_at in islice(self._unchanged.items(), BATCH) if tried_at <= until]
        if not due:
            return
        changed = await self._raise(due)
        for activity in due:
            del self._unchanged[activity]
            if activity.delivery.delivery_id in changed:
                self._count(activity.kind, "applied")

    async def _raise(self, people: Sequence[Activity]) -> set[UUID]:
        return await self._deliveries.raise_receipts(
            [DeliveryReceipt(one.delivery.delivery_id, RECEIPTS[one.kind]) for one in people]
        )

    async def _write(self, batch: Sequence[tuple[Activity, int]]) -> None:
        instead = await self._activities.replaced({activity.delivery.delivery_id for activity, _ in batch})
        soon = await self._too_soon([activity for activity, _ in batch], instead)
        noted: dict[Activity, int] = {}
        for activity, times in batch:
            if activity in soon:
                self._count(activity.kind, "machine", times)
                activity = replace(activity, machine=True)
            credited = _credited(activity, instead)
            noted[credited] = noted.get(credited, 0) + times
        people = [activity for activity in noted if not activity.machine]
        changed = await self._raise(people)
        await self._activities.note(noted)
        for activity, times in batch:
            self._clicked_at.pop(activity, None)
            more = self._waiting[activity] - times
            del self._waiting[activity]
            if more:
                self._waiting[activity] = more
        for one in people:
            raised = one.delivery.delivery_id in changed
            self._count(one.kind, "applied" if raised else "unchanged")
            if not raised and len(self._unchanged) < self._size:
                self._unchanged[one] = self._clock.monotonic()

    async def _too_soon(self, activities: Sequence[Activity], instead: Mapping[UUID, UUID]) -> set[Activity]:
        """Clicks in mails that nobody can have read yet."""
        now = self._clock.monotonic()
        asked = {
            _credited(one, instead).delivery.delivery_id: timedelta(seconds=now - self._clicked_at[one])
            for one in activities
            if one in self._clicked_at and not one.machine and one.delivery.channel is Channel.EMAIL
        }
        if not asked:
            return set()
        found = await self._activities.too_soon(asked)
        return {
            one
            for one in activities
            if one in self._clicked_at and _credited(one, instead).delivery.delivery_id in found
        }

    def _ripen(self, until: float) -> None:
        """Let go of clicks that came before `until`."""
        ripe: list[UUID] = []
        for delivery_id, siblings in self._clicks.items():
            if next(iter(siblings.values())).first_at > until:
                break  # deliveries stand in the order of their first clicks
            if all(click.first_at <= until for click in siblings.values()):
                ripe.append(delivery_id)
        for delivery_id in ripe:
            siblings = self._clicks.pop(delivery_id)
            self._held -= len(siblings)
            for click in siblings.values():
                clicked = Activity(click.link.delivery, Kind.CLICKED, click.machine, str(click.link.number))
                self._waiting[clicked] = self._waiting.get(clicked, 0) + click.times
                self._clicked_at.setdefault(clicked, click.first_at)
                if click.machine:
                    self._count(Kind.CLICKED, "machine", click.times)

    def _full(self) -> bool:
        return len(self._waiting) + self._held >= self._size

    def _count(self, kind: Kind, result: str, times: int = 1) -> None:
        self._counter.labels(NAMES[kind], result).inc(times)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ripen(self._clock.monotonic())
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await self.write()
        except (TimeoutError, Unavailable, DomainError):
            for activity in self._waiting:
                self._count(activity.kind, "dropped")
            log.warning("opens and clicks dropped at the end", extra={"activities": len(self._waiting)})


def _credited(activity: Activity, instead: Mapping[UUID, UUID]) -> Activity:
    """The same, of the delivery that was sent."""
    id_ = instead.get(activity.delivery.delivery_id)
    return activity if id_ is None else replace(activity, delivery=replace(activity.delivery, delivery_id=id_))
