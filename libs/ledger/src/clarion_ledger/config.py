"""An app's configuration as daemons use it: apps, categories, lanes and routes in one snapshot, kept fresh.

The tables are small; a daemon reads one revision number every second and all of it when that changed.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from clarion.category.v1.category_service_pb2 import Category, GateAction, Guarantee
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes
from clarion.types.v1.retry_pb2 import RetryPolicy
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool, connection

POLL = timedelta(seconds=1)
DEFAULT_TIME_TO_LIVE = timedelta(hours=24)
DEFAULT_MAX_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` per recipient within `window`; `channel` None: all channels together."""

    channel: Channel | None
    limit: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """A category of an app. `channels` empty: all."""

    category_id: int
    app_id: int
    name: str
    critical: bool = False
    at_most_once: bool = False
    opt_in_required: bool = False
    channels: frozenset[Channel] = frozenset()
    time_to_live: timedelta = DEFAULT_TIME_TO_LIVE
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    caps: tuple[Cap, ...] = ()
    defer_over_cap: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """A provider account. `settings` is sealed (table "lane", owner the account's name, column "settings")."""

    lane_id: int
    app_id: int
    name: str
    kind: str
    channel: Channel
    enabled: bool
    settings: bytes = field(repr=False)
    revision: int = 1
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Target:
    """A provider within a route."""

    lane_id: int
    weight: int
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """Who is served by which lanes; empty country or locale: any."""

    country: str
    locale: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one revision."""

    revision: int = 0
    enabled_apps: frozenset[int] = frozenset()
    app_names: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[tuple[int, str], CategoryRule] = field(default_factory=dict)
    categories_by_id: Mapping[int, CategoryRule] = field(default_factory=dict)
    lanes: Mapping[int, LaneConfig] = field(default_factory=dict)
    routes: Mapping[tuple[int, Channel], tuple[Route, ...]] = field(default_factory=dict)

    def lanes_of(self, app_id: int, channel: Channel) -> list[LaneConfig]:
        """Enabled accounts of an app for a channel, by id."""
        return [
            lane for lane in self.lanes.values() if (lane.app_id, lane.channel, lane.enabled) == (app_id, channel, True)
        ]


class ConfigCache:
    """The newest snapshot; `refresh` runs every second. Yesterday's configuration serves while Postgres is away."""

    def __init__(self, pool: Pool, *, with_lanes: bool) -> None:
        self._pool = pool
        self._with_lanes = with_lanes
        self.snapshot = Snapshot()
        self._looking = asyncio.Lock()
        self._looked_at = 0.0

    async def look_again(self) -> Snapshot:
        """The snapshot as it is now, for a name that the last one lacks; who asks during a look shares the next one.
        Raises LedgerUnavailable."""
        asked_at = time.monotonic()
        async with self._looking:
            if self._looked_at < asked_at:
                self._looked_at = time.monotonic()
                await self.refresh()
        return self.snapshot

    async def refresh(self) -> bool:
        """Read anew if anything changed; True if so. Raises LedgerUnavailable."""
        async with connection(self._pool) as db:
            revision = await db.fetchval("SELECT revision FROM ledger.config_revision")
            if revision == self.snapshot.revision:
                return False
            apps = await db.fetch("SELECT app_id, name, enabled FROM ledger.app")
            categories = await db.fetch("SELECT category_id, app_id, name, definition FROM ledger.category")
            lanes = await db.fetch("SELECT * FROM ledger.lane ORDER BY lane_id") if self._with_lanes else []
            routes = await db.fetch("SELECT * FROM ledger.route") if self._with_lanes else []
        rules = [
            category_rule(row["category_id"], row["app_id"], Category.FromString(row["definition"]))
            for row in categories
        ]
        configured = {row["lane_id"]: lane_config(row) for row in lanes}
        by_name = {(lane.app_id, lane.name): lane.lane_id for lane in configured.values()}
        self.snapshot = Snapshot(
            revision=revision,
            enabled_apps=frozenset(row["app_id"] for row in apps if row["enabled"]),
            app_names={row["name"]: row["app_id"] for row in apps},
            categories={(rule.app_id, rule.name): rule for rule in rules},
            categories_by_id={rule.category_id: rule for rule in rules},
            lanes=configured,
            routes={
                (row["app_id"], Channel(row["channel"])): _routes(
                    row["app_id"], ChannelRoutes.FromString(row["routes"]), by_name
                )
                for row in routes
            },
        )
        return True


def category_rule(category_id: int, app_id: int, category: Category) -> CategoryRule:
    """A stored category with its defaults filled in."""
    seconds = category.time_to_live.ToTimedelta()
    return CategoryRule(
        category_id=category_id,
        app_id=app_id,
        name=category.name,
        critical=category.critical,
        at_most_once=category.guarantee == Guarantee.GUARANTEE_AT_MOST_ONCE,
        opt_in_required=category.opt_in_required,
        channels=frozenset(Channel(channel) for channel in category.channels),
        time_to_live=seconds if seconds > timedelta(0) else DEFAULT_TIME_TO_LIVE,
        max_attempts=category.max_attempts or DEFAULT_MAX_ATTEMPTS,
        caps=tuple(
            Cap(Channel(cap.channel) if cap.channel else None, cap.limit, cap.window.ToTimedelta())
            for cap in category.caps
        ),
        defer_over_cap=category.cap_action == GateAction.GATE_ACTION_DEFER,
        retry=category.retry,
    )


def lane_config(row: asyncpg.Record) -> LaneConfig:
    """A row of `ledger.lane`."""
    return LaneConfig(
        lane_id=row["lane_id"],
        app_id=row["app_id"],
        name=row["name"],
        kind=row["kind"],
        channel=Channel(row["channel"]),
        enabled=row["enabled"],
        settings=row["settings"],
        revision=row["revision"],
        limits=Limits.FromString(row["limits"] or b""),
    )


def _routes(app_id: int, stored: ChannelRoutes, lanes: Mapping[tuple[int, str], int]) -> tuple[Route, ...]:
    return tuple(
        Route(
            route.country,
            route.locale,
            tuple(
                Target(lanes[app_id, target.provider], target.weight or 100, target.rank)
                for target in route.targets
                if (app_id, target.provider) in lanes
            ),
        )
        for route in stored.routes
    )
