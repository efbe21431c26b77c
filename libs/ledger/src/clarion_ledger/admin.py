"""Administration of apps, categories, provider accounts and routes; every change is in the audit log. Keys: app_keys.py."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from clarion.category.v1.category_service_pb2 import Category, Guarantee
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import AppSealer, KeyWrapper, Unsealable
from clarion_kit.vocabulary import Channel
from clarion_ledger import audit_log
from clarion_ledger.config import LaneConfig, lane_config
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.keys import create_app_keys

DELETED_MARK = "~"
"""Between the name that a deleted account had and its lane id; no name that can be given holds it."""


@dataclass(frozen=True, slots=True)
class AppRow:
    """An app. `sms_countries` and `sender_domains` empty: all."""

    app_id: int
    name: str
    enabled: bool
    created_at: datetime
    sms_countries: frozenset[str] = frozenset()
    sender_domains: frozenset[str] = frozenset()

    def may_send_from(self, address: str) -> bool:
        """Whether mail may come from `address`: of an allowed domain or below one."""
        domain = address.rpartition("@")[2].lower().rstrip(".")
        return not self.sender_domains or any(
            domain == allowed or domain.endswith(f".{allowed}") for allowed in self.sender_domains
        )


def default_categories() -> list[Category]:
    """What every new app starts with: one-time codes at most once, transactions, promotions by opt-in off."""
    security = Category(name="security", critical=True, guarantee=Guarantee.GUARANTEE_AT_MOST_ONCE, max_attempts=5)
    security.time_to_live.FromTimedelta(timedelta(minutes=10))
    transactional = Category(name="transactional", guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    marketing = Category(name="marketing", guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    cap = marketing.caps.add(limit=10)
    cap.window.FromTimedelta(timedelta(days=1))
    return [security, transactional, marketing]


async def create_app(pool: Pool, wrapper: KeyWrapper, name: str) -> AppRow:
    """An app with its data keys and default categories. Raises NAME_TAKEN, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        return await insert_app(db, wrapper, name)


async def insert_app(db: Connection, wrapper: KeyWrapper, name: str) -> AppRow:
    """`create_app` in a transaction of the caller's."""
    try:
        row = await db.fetchrow("INSERT INTO ledger.app (name) VALUES ($1) RETURNING *", name)
    except asyncpg.UniqueViolationError:
        raise DomainError(ErrorReason.NAME_TAKEN, f"there is an app {name!r}", metadata={"name": name}) from None
    app = _app(row)
    await create_app_keys(db, wrapper, app.app_id)
    for category in default_categories():
        await db.execute(_PUT_CATEGORY, app.app_id, category.name, category.SerializeToString())
    await audit_log.record(db, "CreateApp", app.app_id, f"app {name}", after=_app_state(app))
    return app


async def update_app(
    pool: Pool,
    name: str,
    *,
    enabled: bool | None = None,
    sms_countries: Iterable[str] | None = None,
    sender_domains: Iterable[str] | None = None,
) -> AppRow:
    """Change what is given. Raises APP_NOT_FOUND, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        row = await db.fetchrow("SELECT * FROM ledger.app WHERE name = $1 FOR UPDATE", name)
        if row is None:
            raise _no_app(name)
        before = _app(row)
        app = _app(
            await db.fetchrow(
                """UPDATE ledger.app SET enabled = $2, sms_countries = $3, sender_domains = $4
                   WHERE app_id = $1 RETURNING *""",
                before.app_id,
                before.enabled if enabled is None else enabled,
                sorted(before.sms_countries if sms_countries is None else set(sms_countries)),
                sorted(before.sender_domains if sender_domains is None else set(sender_domains)),
            )
        )
        await audit_log.record(
            db, "UpdateApp", app.app_id, f"app {name}", before=_app_state(before), after=_app_state(app)
        )
    return app


async def apps(pool: Pool) -> list[AppRow]:
    """All apps by name. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return [_app(row) for row in await db.fetch("SELECT * FROM ledger.app ORDER BY name")]


async def app_id_of(pool: Pool, name: str) -> int:
    """Raises APP_NOT_FOUND, LedgerUnavailable."""
    return (await app_named(pool, name)).app_id


async def app_named(pool: Pool, name: str) -> AppRow:
    """Raises APP_NOT_FOUND, LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow("SELECT * FROM ledger.app WHERE name = $1", name)
    if row is None:
        raise _no_app(name)
    return _app(row)


_PUT_CATEGORY = """
INSERT INTO ledger.category (app_id, name, definition) VALUES ($1, $2, $3)
ON CONFLICT (app_id, name) DO UPDATE SET definition = excluded.definition RETURNING category_id
"""


async def put_category(pool: Pool, app_id: int, category: Category) -> int:
    """Create or replace; gives its id. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        stored: bytes | None = await db.fetchval(
            "SELECT definition FROM ledger.category WHERE app_id = $1 AND name = $2 FOR UPDATE", app_id, category.name
        )
        category_id = int(await db.fetchval(_PUT_CATEGORY, app_id, category.name, category.SerializeToString()))
        await audit_log.record(
            db,
            "PutCategory",
            app_id,
            f"category {category.name}",
            before=None if stored is None else audit_log.state_of(Category.FromString(stored)),
            after=audit_log.state_of(category),
        )
    return category_id


async def categories(pool: Pool, app_id: int) -> list[Category]:
    """Categories of an app by name. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT definition FROM ledger.category WHERE app_id = $1 ORDER BY name", app_id)
    return [Category.FromString(row["definition"]) for row in rows]


async def lanes(pool: Pool, app_id: int) -> list[LaneConfig]:
    """Provider accounts of an app by channel and name, without deleted ones. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(
            "SELECT * FROM ledger.lane WHERE app_id = $1 AND deleted_at IS NULL ORDER BY channel, name", app_id
        )
    return [lane_config(row) for row in rows]


async def routes(pool: Pool, app_id: int) -> list[ChannelRoutes]:
    """Routes of an app by channel. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT routes FROM ledger.route WHERE app_id = $1 ORDER BY channel", app_id)
    return [ChannelRoutes.FromString(row["routes"]) for row in rows]


async def put_lane(
    pool: Pool,
    sealer: AppSealer,
    app_id: int,
    name: str,
    kind: str,
    channel: Channel,
    settings: bytes,
    *,
    enabled: bool,
    limits: Limits | None = None,
) -> int:
    """Create or replace a provider account; gives its lane id. One that was stopped for its credentials or settings is
    tried at once. Raises NAME_TAKEN (by an account of another channel: what is in flight on it cannot change channels),
    LedgerUnavailable."""
    sealed = sealer.seal("lane", name.encode(), "settings", settings)
    async with connection(pool) as db, db.transaction():
        former = await db.fetchrow("SELECT * FROM ledger.lane WHERE app_id = $1 AND name = $2 FOR UPDATE", app_id, name)
        lane_id: int | None = await db.fetchval(
            """WITH put AS (
                   INSERT INTO ledger.lane AS l (app_id, name, kind, channel, enabled, settings, limits)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (app_id, name) DO UPDATE SET kind = excluded.kind, enabled = excluded.enabled,
                       settings = excluded.settings, limits = excluded.limits, revision = l.revision + 1
                       WHERE l.channel = excluded.channel
                   RETURNING lane_id
               ), tried AS (
                   UPDATE ledger.lane_stop s SET probe_at = now() FROM put p
                   WHERE s.lane_id = p.lane_id AND s.reason IN (1, 5)
               )
               SELECT lane_id FROM put""",
            app_id,
            name,
            kind,
            channel,
            enabled,
            sealed,
            None if limits is None else limits.SerializeToString(),
        )
        if lane_id is None:
            raise DomainError(
                ErrorReason.NAME_TAKEN, f"there is a provider {name!r} of another channel", metadata={"name": name}
            )
        known = None if former is None else _opened(sealer, lane_config(former))
        await audit_log.record(
            db,
            "PutProvider",
            app_id,
            f"provider {name}",
            before=None if former is None else _lane_state(lane_config(former), known or {}),
            after={
                **_lane_state(
                    LaneConfig(lane_id, app_id, name, kind, channel, enabled, b"", limits=limits or Limits()),
                    _document(settings),
                ),
                "changed_settings": _changed(known, _document(settings)),
            },
        )
    return lane_id


async def delete_lane(
    pool: Pool, sealer: AppSealer, app_id: int, name: str, kept_settings: Callable[[str, bytes], bytes]
) -> bool:
    """Delete a provider account; False if there never was one of this name. Idempotent. Raises LedgerUnavailable.

    Its credentials are overwritten by what `kept_settings` keeps of (kind, document), its targets leave the app's routes, its
    stop goes, and its name is free. A route that loses its last target stays and serves nobody: the next less specific one
    decides, so that deleting never widens whom another account serves.
    """
    async with connection(pool) as db, db.transaction():
        # Rows are locked in the order in which put_routes takes them; writing bumps the configuration's revision, whose row
        # is the last to be locked everywhere.
        row = await db.fetchrow("SELECT * FROM ledger.lane WHERE app_id = $1 AND name = $2 FOR UPDATE", app_id, name)
        if row is None:
            return bool(
                await db.fetchval(
                    "SELECT EXISTS (SELECT FROM ledger.lane WHERE app_id = $1 AND starts_with(name, $2 || '~'))",
                    app_id,
                    name,
                )
            )
        lane = lane_config(row)
        stored = await db.fetchval(
            "SELECT routes FROM ledger.route WHERE app_id = $1 AND channel = $2 FOR UPDATE", app_id, lane.channel
        )
        await db.execute("DELETE FROM ledger.lane_stop WHERE lane_id = $1", lane.lane_id)
        if stored is not None:
            await db.execute(
                "UPDATE ledger.route SET routes = $3 WHERE app_id = $1 AND channel = $2",
                app_id,
                lane.channel,
                _without(ChannelRoutes.FromString(stored), name).SerializeToString(),
            )
        gone = f"{name}{DELETED_MARK}{lane.lane_id}"
        try:
            kept = kept_settings(lane.kind, sealer.open("lane", name.encode(), "settings", lane.settings))
        except Unsealable:  # nobody can read them any more, which is what deleting is for
            kept = b"{}"
        await db.execute(
            """UPDATE ledger.lane SET deleted_at = now(), enabled = false, name = $2, settings = $3, limits = NULL,
                   revision = revision + 1
               WHERE lane_id = $1""",
            lane.lane_id,
            gone,
            sealer.seal("lane", gone.encode(), "settings", kept),
        )
        await audit_log.record(
            db, "DeleteProvider", app_id, f"provider {name}", before=_lane_state(lane, _opened(sealer, lane) or {})
        )
    return True


def _without(routes: ChannelRoutes, provider: str) -> ChannelRoutes:
    """The routes without the targets that name `provider`."""
    left = ChannelRoutes(channel=routes.channel)
    for route in routes.routes:
        copy = left.routes.add()
        copy.CopyFrom(route)
        del copy.targets[:]
        copy.targets.extend(target for target in route.targets if target.provider != provider)
    return left


async def put_routes(pool: Pool, app_id: int, routes: ChannelRoutes) -> None:
    """Replace the routes of a channel. Raises PROVIDER_NOT_FOUND, LedgerUnavailable."""
    wanted = {target.provider for route in routes.routes for target in route.targets}
    async with connection(pool) as db, db.transaction():
        known = {
            row["name"]
            for row in await db.fetch(  # locked: an account that is deleted meanwhile must not be named afterwards
                """SELECT name FROM ledger.lane WHERE app_id = $1 AND channel = $2 AND name = ANY ($3)
                   ORDER BY lane_id FOR SHARE""",
                app_id,
                routes.channel,
                sorted(wanted),
            )
        }
        for provider in sorted(wanted - known):
            raise DomainError(
                ErrorReason.PROVIDER_NOT_FOUND,
                f"there is no provider {provider!r} for this channel",
                metadata={"provider": provider},
            )
        stored: bytes | None = await db.fetchval(
            "SELECT routes FROM ledger.route WHERE app_id = $1 AND channel = $2 FOR UPDATE", app_id, routes.channel
        )
        await db.execute(
            """INSERT INTO ledger.route (app_id, channel, routes) VALUES ($1, $2, $3)
               ON CONFLICT (app_id, channel) DO UPDATE SET routes = excluded.routes""",
            app_id,
            routes.channel,
            routes.SerializeToString(),
        )
        await audit_log.record(
            db,
            "PutRoutes",
            app_id,
            f"routes {Channel(routes.channel).slug}",
            before=None if stored is None else audit_log.state_of(ChannelRoutes.FromString(stored)),
            after=audit_log.state_of(routes),
        )


def _lane_state(lane: LaneConfig, document: dict[str, object]) -> audit_log.State:
    """What the audit log tells of an account: of its settings the names alone, for they hold credentials."""
    return {
        "number": lane.lane_id,
        "kind": lane.kind,
        "channel": lane.channel.slug,
        "enabled": lane.enabled,
        "limits": audit_log.state_of(lane.limits),
        "settings": sorted(document),
    }


def _opened(sealer: AppSealer, lane: LaneConfig) -> dict[str, object] | None:
    """None: nobody can read them."""
    try:
        return _document(sealer.open("lane", lane.name.encode(), "settings", lane.settings))
    except Unsealable:
        return None


def _document(settings: bytes) -> dict[str, object]:
    try:
        document = json.loads(settings)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _changed(before: dict[str, object] | None, after: dict[str, object]) -> list[str]:
    """Names of settings that came, went or have another value."""
    known = before or {}
    missing = object()
    return sorted(name for name in known.keys() | after.keys() if known.get(name, missing) != after.get(name, missing))


def _no_app(name: str) -> DomainError:
    return DomainError(ErrorReason.APP_NOT_FOUND, f"there is no app {name!r}", metadata={"app": name})


def _app_state(app: AppRow) -> audit_log.State:
    return {
        "enabled": app.enabled,
        "sms_countries": sorted(app.sms_countries),
        "sender_domains": sorted(app.sender_domains),
    }


def _app(row: asyncpg.Record | None) -> AppRow:
    if row is None:
        raise RuntimeError("RETURNING gave no row")
    return AppRow(
        row["app_id"],
        row["name"],
        row["enabled"],
        row["created_at"],
        frozenset(row["sms_countries"]),
        frozenset(row["sender_domains"]),
    )
