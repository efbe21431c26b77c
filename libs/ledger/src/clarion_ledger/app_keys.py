"""Keys of apps: made, proven, rotated, limited, revoked."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

import asyncpg

from clarion_kit.errors import DomainError, ErrorReason
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection

SECRET_BYTES = 32
ADMIN = "admin"
"""The scope that may do everything; a mesh's first key with it is made by `bootstrap`."""

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """From where and how much a key may be used; no networks: from everywhere, None: as much as the mesh takes."""

    networks: tuple[Network, ...] = ()
    requests_per_second: int | None = None
    notifications_per_day: int | None = None


UNLIMITED = KeyLimits()


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key. `former_until`: how long the secret before the present one is good, too. `used_at` to about a minute."""

    app_key: str
    app_id: int
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    secret_version: int = 1
    former_until: datetime | None = None
    limits: KeyLimits = UNLIMITED
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """A live key whose secret was shown; `version` is that secret's."""

    key: KeyRow
    version: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a gateway must know of keys to judge their tokens.

    `dead`: their tokens are not believed any more: revoked, expired, or of a disabled app. `oldest`: of keys that were
    rotated, the oldest version of their secret that is good. `limits`: of keys that have some.
    """

    dead: frozenset[str] = frozenset()
    oldest: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, KeyLimits] = field(default_factory=dict)


def hash_secret(pepper: bytes, secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so one keyed hash is enough: there is nothing to guess."""
    return hmac.digest(pepper, secret.encode(), "sha256")


async def create_key(
    pool: Pool,
    pepper: bytes,
    app_id: int,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    limits: KeyLimits = UNLIMITED,
) -> tuple[KeyRow, str]:
    """A key and its secret, which exists nowhere else afterwards. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        return await insert_key(db, pepper, app_id, scopes, expires_at, limits, act="CreateKey")


async def insert_key(
    db: Connection,
    pepper: bytes,
    app_id: int,
    scopes: Sequence[str],
    expires_at: datetime | None,
    limits: KeyLimits,
    *,
    act: str,
) -> tuple[KeyRow, str]:
    """`create_key` in a transaction of the caller's; logged as `act`."""
    app_key = f"ck_{secrets.token_hex(10)}"
    secret = _new_secret()
    key = _key(
        await db.fetchrow(
            """INSERT INTO ledger.app_key (app_key, app_id, secret_hash, scopes, expires_at, networks, requests_per_second,
                                           notifications_per_day)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *""",
            app_key,
            app_id,
            hash_secret(pepper, secret),
            sorted(scopes),
            expires_at,
            limits.networks,
            limits.requests_per_second,
            limits.notifications_per_day,
        )
    )
    await audit_log.record(db, act, app_id, f"key {app_key}", after=_state(key))
    return key, secret


async def keys(pool: Pool, app_id: int) -> list[KeyRow]:
    """Keys of an app, newest first. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(
            """SELECT k.*, u.used_at FROM ledger.app_key k LEFT JOIN ledger.app_key_use u USING (app_key)
               WHERE k.app_id = $1 ORDER BY k.created_at DESC, k.app_key""",
            app_id,
        )
    return [_key(row) for row in rows]


async def rotate_key(pool: Pool, pepper: bytes, app_key: str, grace: timedelta) -> tuple[KeyRow, str]:
    """A new secret for a key; the present one stays good for `grace`, one before it ends. Raises APP_NOT_FOUND,
    KEY_ENDED, LedgerUnavailable."""
    secret = _new_secret()
    async with connection(pool) as db, db.transaction():
        before = await _live(db, app_key)
        key = _key(
            await db.fetchrow(
                """UPDATE ledger.app_key SET secret_version = secret_version + 1, secret_hash = $2,
                       former_hash = CASE WHEN $3::interval > interval '0' THEN secret_hash END,
                       former_until = CASE WHEN $3::interval > interval '0' THEN now() + $3::interval END
                   WHERE app_key = $1 RETURNING *""",
                app_key,
                hash_secret(pepper, secret),
                grace,
            )
        )
        await audit_log.record(db, "RotateKey", key.app_id, f"key {app_key}", before=_state(before), after=_state(key))
    return key, secret


async def limit_key(
    pool: Pool,
    app_key: str,
    *,
    networks: Sequence[Network] | None = None,
    quotas: tuple[int | None, int | None] | None = None,
) -> KeyRow:
    """Change the networks of a key, its quotas (calls a second, notifications a day), or both; None: as it is. Raises
    APP_NOT_FOUND, KEY_ENDED, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        before = await _live(db, app_key)
        per_second, per_day = quotas or (before.limits.requests_per_second, before.limits.notifications_per_day)
        key = _key(
            await db.fetchrow(
                """UPDATE ledger.app_key SET networks = $2, requests_per_second = $3, notifications_per_day = $4
                   WHERE app_key = $1 RETURNING *""",
                app_key,
                before.limits.networks if networks is None else networks,
                per_second,
                per_day,
            )
        )
        await audit_log.record(db, "UpdateKey", key.app_id, f"key {app_key}", before=_state(before), after=_state(key))
    return key


async def revoke_key(pool: Pool, app_key: str) -> KeyRow | None:
    """Idempotent; None if there is no such key. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        row = await db.fetchrow("SELECT * FROM ledger.app_key WHERE app_key = $1 FOR UPDATE", app_key)
        if row is None or row["revoked_at"] is not None:
            return _key(row) if row else None
        key = _key(
            await db.fetchrow("UPDATE ledger.app_key SET revoked_at = now() WHERE app_key = $1 RETURNING *", app_key)
        )
        await audit_log.record(
            db, "RevokeKey", key.app_id, f"key {app_key}", before=_state(_key(row)), after=_state(key)
        )
    return key


# An unknown key costs the same as a known one: the row of the next key is read instead, of the last one behind that. Both are
# looked for in any case.
_PROVE = """
WITH place AS MATERIALIZED (
    SELECT (SELECT app_key FROM ledger.app_key WHERE app_key >= $1 ORDER BY app_key LIMIT 1) AS following,
           (SELECT app_key FROM ledger.app_key ORDER BY app_key DESC LIMIT 1) AS last
)
SELECT k.*, k.app_key = $1 AS known, now() AS now,
       a.enabled AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true) AS live
FROM place p JOIN ledger.app_key k ON k.app_key = coalesce(p.following, p.last) JOIN ledger.app a USING (app_id)
"""
_NO_HASH = bytes(32)


async def authenticate(pool: Pool, pepper: bytes, app_key: str, secret: str) -> Proven | None:
    """The live key of an enabled app if the secret is its present or its former one. Unknown keys and wrong secrets cost
    the same work. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_PROVE, app_key)
    shown = hash_secret(pepper, secret)
    if row is None:  # a mesh without any key
        return None
    former_lives = row["former_until"] is not None and row["former_until"] > row["now"]
    is_present = hmac.compare_digest(row["secret_hash"], shown)
    is_former = hmac.compare_digest(row["former_hash"] or _NO_HASH, shown) and former_lives
    if not (row["known"] and row["live"] and (is_present or is_former)):
        return None
    key = _key(row)
    return Proven(key, key.secret_version if is_present else key.secret_version - 1)


async def standing(pool: Pool) -> Standing:
    """Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(
            """SELECT * FROM (
                   SELECT k.*, NOT a.enabled OR k.revoked_at IS NOT NULL OR coalesce(k.expires_at < now(), false) AS dead,
                          least(k.revoked_at, k.expires_at) < now() - interval '1 hour' AS forgotten,
                          k.secret_version - (coalesce(k.former_until, '-infinity') > now())::int AS oldest
                   FROM ledger.app_key k JOIN ledger.app a USING (app_id)
               ) k
               WHERE CASE WHEN k.dead THEN forgotten IS NOT true
                     ELSE oldest > 1 OR networks <> '{}' OR num_nonnulls(requests_per_second, notifications_per_day) > 0 END"""
        )
    live = [row for row in rows if not row["dead"]]
    return Standing(
        dead=frozenset(row["app_key"] for row in rows if row["dead"]),
        oldest={row["app_key"]: row["oldest"] for row in live if row["oldest"] > 1},
        limits={row["app_key"]: limits for row in live if (limits := _limits(row)) != UNLIMITED},
    )


async def note_uses(pool: Pool, uses: Mapping[str, datetime]) -> None:
    """When keys were last used; an earlier time than the stored one changes nothing. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        await db.execute(
            """INSERT INTO ledger.app_key_use AS u (app_key, used_at)
               SELECT k.app_key, i.used_at FROM unnest($1::text[], $2::timestamptz[]) AS i (app_key, used_at)
               JOIN ledger.app_key k ON k.app_key = i.app_key ORDER BY k.app_key
               ON CONFLICT (app_key) DO UPDATE SET used_at = excluded.used_at WHERE u.used_at < excluded.used_at""",
            list(uses),
            list(uses.values()),
        )


def _new_secret() -> str:
    return f"cs_{secrets.token_urlsafe(SECRET_BYTES)}"


async def _live(db: Connection, app_key: str) -> KeyRow:
    """The key, locked. Raises APP_NOT_FOUND, KEY_ENDED."""
    row = await db.fetchrow(
        """SELECT *, revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false) AS ended
           FROM ledger.app_key WHERE app_key = $1 FOR UPDATE""",
        app_key,
    )
    if row is None:
        raise DomainError(ErrorReason.APP_NOT_FOUND, "no such key", metadata={"key": app_key})
    if row["ended"]:
        raise DomainError(ErrorReason.KEY_ENDED, "the key is revoked or has expired", metadata={"key": app_key})
    return _key(row)


def _state(key: KeyRow) -> audit_log.State:
    """What the audit log tells of a key: never its hashes."""
    times = {"expires_at": key.expires_at, "revoked_at": key.revoked_at, "former_until": key.former_until}
    return {
        "scopes": sorted(key.scopes),
        "secret_version": key.secret_version,
        "networks": [str(network) for network in key.limits.networks],
        "requests_per_second": key.limits.requests_per_second,
        "notifications_per_day": key.limits.notifications_per_day,
        **{name: at.isoformat() for name, at in times.items() if at is not None},
    }


def _limits(row: asyncpg.Record) -> KeyLimits:
    return KeyLimits(tuple(row["networks"]), row["requests_per_second"], row["notifications_per_day"])


def _key(row: asyncpg.Record | None) -> KeyRow:
    if row is None:
        raise RuntimeError("RETURNING gave no row")
    return KeyRow(
        app_key=row["app_key"],
        app_id=row["app_id"],
        scopes=frozenset(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        secret_version=row["secret_version"],
        former_until=row["former_until"],
        limits=_limits(row),
        used_at=row.get("used_at"),
    )
