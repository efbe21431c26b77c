"""A feed whose events are a list, and changes to fill it with."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind
from clarion_tracker.changes import Change
from clarion_tracker.feed import Bounds, Feed, Page
from clarion_tracker.positions import Position
from clarion_tracker.watch_rpc import WatchRpc
from clarion_tracker.watching import Limits, Watching
from clarion_tracker.wish_page import Offered

APP, OTHER_APP = 42, 43
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def change(xid: int, seq: int = 1, app_id: int = APP, **fields: object) -> Change:
    given: dict[str, object] = {
        "kind": EventKind.TERMINAL,
        "notification_id": UUID(int=xid),
        "delivery_id": UUID(int=xid << 8 | seq),
        "recipient_ref": UUID(int=7),
        "channel": Channel.IOS,
        "state": DeliveryState.SENT,
        "category": "orders",
        "event_id": f"e{xid}",
        "provider": "apns",
        "attempt": 1,
        **fields,
    }
    return Change(xid=xid, seq=seq, at=START + timedelta(seconds=xid), app_id=app_id, **given)  # type: ignore[arg-type]


class FakeEvents:
    """The ledger: what has been committed, and how far it may be read."""

    def __init__(self, changes: Sequence[Change] = ()) -> None:
        self.committed = sorted(changes, key=lambda one: one.place)
        self.horizon = max((one.xid for one in changes), default=0) + 1
        self.oldest = START - timedelta(days=1)
        self.now = START
        self.pages = 0
        self.failing: Exception | None = None
        self.failed = asyncio.Event()

    def commit(self, *changes: Change, horizon: int | None = None) -> None:
        self.committed = sorted([*self.committed, *changes], key=lambda one: one.place)
        self.horizon = horizon if horizon is not None else max(one.xid for one in self.committed) + 1

    @property
    def readable(self) -> list[Change]:
        return [one for one in self.committed if one.xid < self.horizon]

    async def bounds(self) -> Bounds:
        last = self.readable[-1].place if self.readable else (0, 0)
        return Bounds(Position(*last, self.now), self.horizon, self.oldest)

    async def page(self, after: Position, app_ids: Collection[int], *, events: int, most: int) -> Page:
        if self.failing is not None:
            self.failed.set()
            raise self.failing
        self.pages += 1
        seen = [one for one in self.readable if one.place > (after.xid, after.seq)][:events]
        ours = [one for one in seen if one.app_id in app_ids][:most]
        if len(ours) == most:
            return Page(ours, ours[-1].position, more=True)
        last = seen[-1].place if seen else (after.xid, after.seq)
        return Page(ours, Position(*last, self.now), more=len(seen) == events)


class Offering:
    """Categories of every app."""

    def offered(self, app_id: int) -> list[Offered]:
        return [Offered("orders"), Offered("news")]


def feed_of(events: FakeEvents, *, kept: int = 20_000) -> Feed:
    return Feed(events, Metrics().gauge(names.FEED_LOOKED), kept=kept)


def watch_of(feed: Feed, limits: Limits | None = None) -> WatchRpc:
    gauge = Metrics().gauge(names.FEED_STREAMS)
    return WatchRpc(Watching(feed, gauge, lambda: False, limits), Offering())


def no_watch() -> WatchRpc:
    """For tests of everything else."""
    return watch_of(feed_of(FakeEvents()))
