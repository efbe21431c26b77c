"""An app's configuration as daemons use it: apps, categories, lanes and routes in one snapshot, kept fresh.

The tables are small; a daemon reads one revision number every second and all of it when that changed.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from functools import cached_property

import asyncpg

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category, GateAction, Guarantee
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes
from clarion.types.v1.retry_pb2 import RetryPolicy
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool, connection
from clarion_ledger.scheduling import Window, window_of

POLL = timedelta(seconds=1)
DEFAULT_TIME_TO_LIVE = timedelta(hours=24)
DEFAULT_MAX_ATTEMPTS = 8
_QUALITY = "SELECT lane_id, country, factor FROM ledger.lane_quality WHERE factor < 100"
_PERIODS = (0, 1, 2, 3)


class CapPeriod(IntEnum):
    """A calendar period; numbers are those of the contract."""

    DAY = 1
    WEEK = 2
    MONTH = 3


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` per recipient within a sliding `window` or a calendar `period` (then `window` is zero); `channel`
    None: all channels together. `shadow`: counts and stops nothing. `whole_app`: all recipients of the category together."""

    channel: Channel | None
    limit: int
    window: timedelta
    period: CapPeriod | None = None
    shadow: bool = False
    whole_app: bool = False


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """A category of an app. `channels` empty: all. `app_receipts`: the app tells which pushes arrive."""

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
    defer_in_quiet_hours: bool = False
    digest_window: timedelta = timedelta(0)
    dedupe_window: timedelta = timedelta(0)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    send_window: Window | None = None
    app_receipts: bool = False


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """A provider account. `settings` is sealed (table "lane", owner the account's name, column "settings"). A `deleted` one
    sends nothing any more: it is known for what comes back."""

    lane_id: int
    app_id: int
    name: str
    kind: str
    channel: Channel
    enabled: bool
    settings: bytes = field(repr=False)
    revision: int = 1
    limits: Limits = field(default_factory=Limits)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A provider within a route."""

    lane_id: int
    weight: int
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """Who is served by which lanes; empty country or locale: any. `by_receipts`: weights count as far as an account's
    receipts bear them out."""

    country: str
    locale: str
    targets: tuple[Target, ...]
    by_receipts: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything at one revision. `quality`: percent of its weight that a lane keeps in a country, where it is not all.
    `sms_countries`: of apps that may send SMS to some countries only."""

    revision: int = 0
    enabled_apps: frozenset[int] = frozenset()
    app_names: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[tuple[int, str], CategoryRule] = field(default_factory=dict)
    categories_by_id: Mapping[int, CategoryRule] = field(default_factory=dict)
    lanes: Mapping[int, LaneConfig] = field(default_factory=dict)
    routes: Mapping[tuple[int, Channel], tuple[Route, ...]] = field(default_factory=dict)
    quality: Mapping[tuple[int, str], int] = field(default_factory=dict)
    sms_countries: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def category(self, app_id: int, name: str) -> CategoryRule:
        """Raises CATEGORY_NOT_FOUND."""
        found = self.categories.get((app_id, name))
        if found is None:
            raise DomainError(
                ErrorReason.CATEGORY_NOT_FOUND, f"there is no category {name!r}", metadata={"category": name}
            )
        return found

    def lanes_of(self, app_id: int, channel: Channel) -> list[LaneConfig]:
        """Enabled accounts of an app for a channel, by id."""
        return self._enabled_lanes.get((app_id, channel), [])

    @cached_property
    def _enabled_lanes(self) -> Mapping[tuple[int, Channel], list[LaneConfig]]:
        found: dict[tuple[int, Channel], list[LaneConfig]] = {}
        for lane in self.lanes.values():
            if lane.enabled:
                found.setdefault((lane.app_id, lane.channel), []).append(lane)
        return found


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

    async def category(self, app_id: int, name: str) -> CategoryRule:
        """By its name, looked for once more where it is not known. Raises CATEGORY_NOT_FOUND, LedgerUnavailable."""
        if (app_id, name) not in self.snapshot.categories:
            await self.look_again()
        return self.snapshot.category(app_id, name)

    async def refresh(self) -> bool:
        """Read anew if anything changed; True if so. Raises LedgerUnavailable."""
        async with connection(self._pool) as db:
            revision = await db.fetchval("SELECT revision FROM ledger.config_revision")
            if revision == self.snapshot.revision:
                return False
            apps = await db.fetch("SELECT * FROM ledger.app")
            categories = await db.fetch("SELECT category_id, app_id, name, definition FROM ledger.category")
            lanes = await db.fetch("SELECT * FROM ledger.lane ORDER BY lane_id") if self._with_lanes else []
            routes = await db.fetch("SELECT * FROM ledger.route") if self._with_lanes else []
            quality = await db.fetch(_QUALITY) if self._with_lanes else []
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
            quality={(row["lane_id"], row["country"]): row["factor"] for row in quality},
            # Migration 0020 may not have been yet.
            sms_countries={row["app_id"]: frozenset(row["sms_countries"]) for row in apps if row.get("sms_countries")},
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
            Cap(
                Channel(cap.channel) if cap.channel else None,
                cap.limit,
                cap.window.ToTimedelta(),
                CapPeriod(cap.period) if cap.period else None,
                cap.shadow,
                cap.scope == category_pb.CAP_SCOPE_APP,
            )
            for cap in category.caps
            if cap.period in _PERIODS  # one of a newer version cannot be counted here
        ),
        defer_over_cap=category.cap_action == GateAction.GATE_ACTION_DEFER,
        defer_in_quiet_hours=category.quiet_hours_action == GateAction.GATE_ACTION_DEFER,
        digest_window=category.digest_window.ToTimedelta(),
        app_receipts=category.app_receipts,
        dedupe_window=category.dedupe_window.ToTimedelta(),
        retry=category.retry,
        send_window=window_of(category.send_window) if category.HasField("send_window") else None,
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
        deleted=row.get("deleted_at") is not None,  # migration 0011 may not have been yet
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
            route.by_receipts,
        )
        for route in stored.routes
    )
