"""Administration of apps, keys, categories, provider accounts and routes."""

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from clarion.category.v1.category_service_pb2 import Category, Guarantee
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import AppSealer, KeyWrapper, Unsealable
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import LaneConfig, lane_config
from clarion_ledger.db import Pool, connection
from clarion_ledger.keys import create_app_keys

SECRET_BYTES = 32
DELETED_MARK = "~"
"""Between the name that a deleted account had and its lane id; no name that can be given holds it."""


@dataclass(frozen=True, slots=True)
class AppRow:
    app_id: int
    name: str
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyRow:
    app_key: str
    app_id: int
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def default_categories() -> list[Category]:
    """What every new app starts with: one-time codes at most once, transactions, promotions by opt-in off."""
    security = Category(name="security", critical=True, guarantee=Guarantee.GUARANTEE_AT_MOST_ONCE, max_attempts=5)
    security.time_to_live.FromTimedelta(timedelta(minutes=10))
    transactional = Category(name="transactional", guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    marketing = Category(name="marketing", guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    cap = marketing.caps.add(limit=10)
    cap.window.FromTimedelta(timedelta(days=1))
    return [security, transactional, marketing]


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so one keyed hash is enough: there is nothing to guess."""
    return hmac.digest(pepper, secret.encode(), "sha256")


async def create_app(pool: Pool, wrapper: KeyWrapper, name: str) -> AppRow:
    """An app with its data keys and default categories. Raises NAME_TAKEN, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        try:
            row = await db.fetchrow("INSERT INTO ledger.app (name) VALUES ($1) RETURNING *", name)
        except asyncpg.UniqueViolationError:
            raise DomainError(ErrorReason.NAME_TAKEN, f"there is an app {name!r}", metadata={"name": name}) from None
        app = _app(row)
        await create_app_keys(db, wrapper, app.app_id)
        for category in default_categories():
            await db.execute(_PUT_CATEGORY, app.app_id, category.name, category.SerializeToString())
    return app


async def apps(pool: Pool) -> list[AppRow]:
    """All apps by name. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return [_app(row) for row in await db.fetch("SELECT * FROM ledger.app ORDER BY name")]


async def app_id_of(pool: Pool, name: str) -> int:
    """Raises APP_NOT_FOUND, LedgerUnavailable."""
    async with connection(pool) as db:
        app_id: int | None = await db.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", name)
    if app_id is None:
        raise DomainError(ErrorReason.APP_NOT_FOUND, f"there is no app {name!r}", metadata={"app": name})
    return app_id


async def create_key(
    pool: Pool, pepper: bytes, app_id: int, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[KeyRow, str]:
    """A key and its secret, which exists nowhere else afterwards. Raises LedgerUnavailable."""
    app_key = f"ck_{secrets.token_hex(10)}"
    secret = f"cs_{secrets.token_urlsafe(SECRET_BYTES)}"
    async with connection(pool) as db:
        row = await db.fetchrow(
            """INSERT INTO ledger.app_key (app_key, app_id, secret_hash, scopes, expires_at)
               VALUES ($1, $2, $3, $4, $5) RETURNING *""",
            app_key,
            app_id,
            hash_secret(pepper, secret),
            sorted(scopes),
            expires_at,
        )
    return _key(row), secret


async def keys(pool: Pool, app_id: int) -> list[KeyRow]:
    """Keys of an app, newest first. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT * FROM ledger.app_key WHERE app_id = $1 ORDER BY created_at DESC", app_id)
    return [_key(row) for row in rows]


async def revoke_key(pool: Pool, app_key: str) -> KeyRow | None:
    """Idempotent; None if there is no such key. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(
            "UPDATE ledger.app_key SET revoked_at = coalesce(revoked_at, now()) WHERE app_key = $1 RETURNING *", app_key
        )
    return _key(row) if row else None


async def authenticate(pool: Pool, pepper: bytes, app_key: str, secret: str) -> KeyRow | None:
    """The live key of an enabled app if the secret fits. Unknown keys and wrong secrets cost the same work.

    Raises LedgerUnavailable.
    """
    async with connection(pool) as db:
        row = await db.fetchrow(
            """SELECT k.*, a.enabled AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true) AS live
               FROM ledger.app_key k JOIN ledger.app a USING (app_id) WHERE k.app_key = $1""",
            app_key,
        )
    stored = row["secret_hash"] if row else bytes(32)
    fits = hmac.compare_digest(stored, hash_secret(pepper, secret))
    return _key(row) if row is not None and fits and row["live"] else None


async def dead_keys(pool: Pool) -> set[str]:
    """Keys whose tokens must not be believed any more: revoked, expired, or of a disabled app. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(
            """SELECT k.app_key FROM ledger.app_key k JOIN ledger.app a USING (app_id)
               WHERE NOT a.enabled OR k.revoked_at > now() - interval '1 hour'
                  OR (k.expires_at < now() AND k.expires_at > now() - interval '1 hour')"""
        )
    return {row["app_key"] for row in rows}


_PUT_CATEGORY = """
INSERT INTO ledger.category (app_id, name, definition) VALUES ($1, $2, $3)
ON CONFLICT (app_id, name) DO UPDATE SET definition = excluded.definition RETURNING category_id
"""


async def put_category(pool: Pool, app_id: int, category: Category) -> int:
    """Create or replace; gives its id. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return int(await db.fetchval(_PUT_CATEGORY, app_id, category.name, category.SerializeToString()))


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
    async with connection(pool) as db:
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
        await db.execute(
            """INSERT INTO ledger.route (app_id, channel, routes) VALUES ($1, $2, $3)
               ON CONFLICT (app_id, channel) DO UPDATE SET routes = excluded.routes""",
            app_id,
            routes.channel,
            routes.SerializeToString(),
        )


def _app(row: asyncpg.Record | None) -> AppRow:
    if row is None:
        raise RuntimeError("RETURNING gave no row")
    return AppRow(row["app_id"], row["name"], row["enabled"], row["created_at"])


def _key(row: asyncpg.Record | None) -> KeyRow:
    if row is None:
        raise RuntimeError("RETURNING gave no row")
    return KeyRow(
        row["app_key"], row["app_id"], frozenset(row["scopes"]), row["created_at"], row["expires_at"], row["revoked_at"]
    )
