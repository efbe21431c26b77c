"""A subscriber's stream: what follows its cursor, until it leaves, falls asleep, or its time is up."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from prometheus_client import Gauge

from clarion_kit.errors import DomainError, ErrorReason
from clarion_tracker.changes import Change, Wanted
from clarion_tracker.feed import Feed, Follower
from clarion_tracker.positions import Fault, Position, expired, invalid


@dataclass(frozen=True, slots=True)
class Limits:
    """`heartbeat`: longest silence towards a subscriber; `patience`: how long one may take no more; `longest`: a stream ends
    by itself after it, so that a token's end and a new version reach everybody; `streams` of one tracker."""

    heartbeat: timedelta = timedelta(seconds=2)
    patience: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=10)
    streams: int = 300


class Subscriber(Protocol):
    """Whoever listens."""

    async def take(self, change: Change | None, position: Position) -> None:
        """Returns once there is room for more. `change` None: only a position."""
        ...


class Watching:
    """The streams of one tracker. `stopping`: they end."""

    def __init__(
        self, feed: Feed, open_streams: Gauge, stopping: Callable[[], bool], limits: Limits | None = None
    ) -> None:
        self._feed = feed
        self._gauge = open_streams
        self._stopping = stopping
        self._limits = limits or Limits()
        self._open = 0

    async def watch(self, app_id: int, cursor: Position | None, wanted: Wanted, subscriber: Subscriber) -> None:
        """Returns where the stream is to be resumed by another call. Raises DomainError CURSOR_INVALID, CURSOR_EXPIRED,
        OVERLOADED, SUBSCRIBER_TOO_SLOW; Unavailable."""
        with self._counted():
            position = await self._start(cursor)
            async with self._feed.follow(app_id) as follower:
                await self._tell(follower, position, wanted, subscriber)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._open >= self._limits.streams:
            raise DomainError(ErrorReason.OVERLOADED, "too many streams are open; try again later")
        self._open += 1
        self._gauge.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._gauge.set(self._open)

    async def _start(self, cursor: Position | None) -> Position:
        bounds = await self._feed.bounds()
        if cursor is None:
            return bounds.now
        if cursor.xid >= bounds.horizon:
            raise invalid(Fault.FUTURE)
        if cursor.at < bounds.oldest:
            raise expired(bounds.oldest)
        return cursor

    async def _tell(self, follower: Follower, position: Position, wanted: Wanted, subscriber: Subscriber) -> None:
        now = asyncio.get_running_loop().time
        heartbeat = self._limits.heartbeat.total_seconds()
        ends_at = now() + self._limits.longest.total_seconds() * random.uniform(0.9, 1.0)
        await self._hand_over(subscriber, None, position)
        told_at = now()
        while now() < ends_at and not self._stopping():
            page = await follower.after(position)
            for change in wanted.of(page.changes):
                await self._hand_over(subscriber, change, change.position)
                told_at = now()
            position = page.position
            if not page.more:
                await follower.moved(max(0.0, told_at + heartbeat - now()))
            if now() >= told_at + heartbeat:
                await self._hand_over(subscriber, None, position)
                told_at = now()

    async def _hand_over(self, subscriber: Subscriber, change: Change | None, position: Position) -> None:
        try:
            async with asyncio.timeout(self._limits.patience.total_seconds()):
                await subscriber.take(change, position)
        except TimeoutError:
            raise DomainError(
                ErrorReason.SUBSCRIBER_TOO_SLOW, "the stream was not read for too long; resume with its last cursor"
            ) from None
