"""The feed of events, read once per tracker and shared by everybody who follows it.

One poll reads what happened to all apps that somebody follows, and keeps the latest of it per app. A follower whose place
lies behind that reads pages of its own until it has caught up. Nobody follows: nothing is read.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Protocol

from prometheus_client import Gauge

from clarion_tracker.changes import Change
from clarion_tracker.positions import Position

PAGE_EVENTS = 5_000
"""Events, of whatever app, that one statement looks at: its time is bounded however far behind a follower is."""
PAGES_A_POLL = 40
KEPT_CHANGES = 20_000
"""Changes kept in memory, all apps together: some 15 MB."""
HANDED_OUT = 500
"""Changes that a follower gets at once: all that one who stopped reading keeps in memory."""
CATCHING_UP = 2
"""Followers that read the ledger at once; the others wait, so that the pool has room for everything else."""
_place = attrgetter("place")


@dataclass(frozen=True, slots=True)
class Page:
    """What one look found. Everything up to `position` was looked at; `more`: there is more to look at now."""

    changes: list[Change]
    position: Position
    more: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be read. `now`: the last event that can; `horizon`: transactions from this id on may not have ended; `oldest`: a
    place whose time is before it has pruned events behind it."""

    now: Position
    horizon: int
    oldest: datetime


class Events(Protocol):
    """The ledger's events."""

    async def bounds(self) -> Bounds:
        """Raises Unavailable."""
        ...

    async def page(self, after: Position, app_ids: Collection[int], *, events: int, most: int) -> Page:
        """Changes of some apps among the next `events` events of all, at most `most` of them. Raises Unavailable."""
        ...


class _Log:
    """The latest changes of one app: all that lie between `floor` and `head`. None: nothing was read for it yet."""

    def __init__(self) -> None:
        self.followers = 0
        self.floor: Position | None = None
        self.head: Position | None = None
        self.changes: list[Change] = []
        self.moved = asyncio.Event()

    def begin(self, position: Position) -> bool:
        """True the first time."""
        if self.floor is not None:
            return False
        self.floor = self.head = position
        return True

    def after(self, position: Position) -> Page | None:
        """None where what follows is not all here."""
        if self.floor is None or self.head is None or position < self.floor:
            return None
        start = bisect_right(self.changes, (position.xid, position.seq), key=_place)
        found = self.changes[start : start + HANDED_OUT]
        if start + len(found) < len(self.changes):
            return Page(found, found[-1].position, more=True)
        return Page(found, max(self.head, position), more=False)

    def drop(self, count: int) -> None:
        self.floor = self.changes[count - 1].position
        del self.changes[:count]

    def wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()


class Follower:
    """Somebody's way through the changes of one app."""

    def __init__(self, feed: "Feed", log: _Log, app_id: int) -> None:
        self._feed = feed
        self._log = log
        self._app_id = app_id
        self._next_move = log.moved

    async def after(self, position: Position) -> Page:
        """The next changes, from memory or from the ledger. Raises Unavailable."""
        # Noted before reading: what comes meanwhile must wake `moved`.
        self._next_move = self._log.moved
        page = self._log.after(position)
        return page if page is not None else await self._feed.read_behind(self._app_id, position)

    async def moved(self, timeout_seconds: float) -> bool:
        """Waits until there may be more than `after` gave; False where the time passed."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._next_move.wait()
        except TimeoutError:
            return False
        return True


class Feed:
    """`poll` runs every 200 ms; `looked`: when it last came to the end, in Unix seconds."""

    def __init__(self, events: Events, looked: Gauge, *, kept: int = KEPT_CHANGES) -> None:
        self._events = events
        self._looked = looked
        self._kept = kept
        self._logs: dict[int, _Log] = {}
        self._position: Position | None = None
        self._behind = asyncio.Semaphore(CATCHING_UP)

    async def bounds(self) -> Bounds:
        """Raises Unavailable."""
        return await self._events.bounds()

    @asynccontextmanager
    async def follow(self, app_id: int) -> AsyncIterator[Follower]:
        """Read an app's events while entered."""
        log = self._logs.setdefault(app_id, _Log())
        log.followers += 1
        try:
            yield Follower(self, log, app_id)
        finally:
            log.followers -= 1
            if not log.followers:
                del self._logs[app_id]

    async def poll(self) -> None:
        """Read on, to the end if that is near. Raises Unavailable."""
        if not self._logs:
            self._position = None
            return
        if self._position is None:
            self._position = (await self._events.bounds()).now
        for _ in range(PAGES_A_POLL):
            logs = dict(self._logs)
            begun = {app_id for app_id, log in logs.items() if log.begin(self._position)}
            page = await self._events.page(self._position, logs.keys(), events=PAGE_EVENTS, most=PAGE_EVENTS)
            self._position = page.position
            self._keep(page, logs, begun)
            if not page.more:
                self._looked.set_to_current_time()
                return

    async def read_behind(self, app_id: int, position: Position) -> Page:
        """A page for one whose place is behind what is kept. Raises Unavailable."""
        async with self._behind:
            return await self._events.page(position, [app_id], events=PAGE_EVENTS, most=HANDED_OUT)

    def _keep(self, page: Page, logs: Mapping[int, _Log], begun: set[int]) -> None:
        for change in page.changes:
            logs[change.app_id].changes.append(change)
        for log in logs.values():
            log.head = page.position
        for app_id in begun | {change.app_id for change in page.changes}:
            logs[app_id].wake()
        excess = sum(len(log.changes) for log in self._logs.values()) - self._kept
        while excess > 0:
            longest = max(self._logs.values(), key=lambda log: len(log.changes))
            dropped = (len(longest.changes) + 1) // 2
            longest.drop(dropped)
            excess -= dropped
