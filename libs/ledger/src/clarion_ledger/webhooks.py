"""Outgoing webhooks as their administration sees them; posting is the tracker's."""

import asyncio
import base64
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit.sealing import AppSealer
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.keys import KeyRing

TABLE = "webhook"
"""With the name as owner: where url and secrets are sealed."""
MAX_WEBHOOKS = 20
SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
KEPT_FAILURES = 100
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Webhook:
    """What an app wants posted where; a filter that is empty lets everything through. Numbers are those of the contract."""

    name: str
    url: str = field(repr=False)
    enabled: bool = True
    kinds: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How far it is and how it fares."""

    reached: datetime
    delivered_at: datetime | None = None
    failing_since: datetime | None = None
    tries: int = 0
    last_error: str = ""
    disabled_at: datetime | None = None
    disabled_reason: str = ""
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that failed; `status` 0: there was no answer."""

    at: datetime
    message_id: str
    changes: int
    attempt: int
    status: int
    error: str


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of a sample; `error` empty: it was taken."""

    status: int
    error: str
    duration: timedelta


class TooMany(Exception):
    """The app has as many webhooks as it may."""


def new_secret() -> bytes:
    """Key of an HMAC-SHA256; Standard Webhooks asks for 24 to 64 bytes."""
    return os.urandom(SECRET_BYTES)


def shown_secret(secret: bytes) -> str:
    """As receivers are given it (Standard Webhooks, "Signature scheme")."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


_SELECT = """
SELECT w.*, p.at, p.delivered_at, p.failing_since, p.tries, p.last_error, p.disabled_at, p.disabled_reason, p.gaps
FROM ledger.webhook w JOIN ledger.webhook_progress p USING (webhook_id)
"""
_ONE = f"{_SELECT} WHERE w.app_id = $1 AND w.name = $2"
_INSERT = """
INSERT INTO ledger.webhook (app_id, name, enabled, kinds, channels, categories, url, secret)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING webhook_id
"""
_UPDATE = """
UPDATE ledger.webhook SET enabled = $3, kinds = $4, channels = $5, categories = $6, url = $7, revision = revision + 1
WHERE app_id = $1 AND name = $2
"""
# What was switched off goes on where it stopped, and what waits for its next try is tried at once.
_WAKE = """
UPDATE ledger.webhook_progress
SET disabled_at = NULL, disabled_reason = '', failing_since = NULL, tries = 0, next_at = now() WHERE webhook_id = $1
"""
_ROTATE = """
UPDATE ledger.webhook SET former_secret = $5, former_ends_at = now() + $4, secret = $3, revision = revision + 1
WHERE app_id = $1 AND name = $2 RETURNING former_ends_at
"""
_FAILURES = """
SELECT at, message_id, changes, attempt, status, error FROM ledger.webhook_failure
WHERE webhook_id = $1 ORDER BY failure_id DESC LIMIT $2
"""


async def put(pool: Pool, keys: KeyRing, app_id: int, wanted: Webhook) -> tuple[Webhook, Status, bytes | None]:
    """Create or replace; gives the secret of a new one. Raises TooMany, LedgerUnavailable."""
    owner = wanted.name.encode()
    sealer = await keys.sealer(app_id)
    url = sealer.seal(TABLE, owner, "url", wanted.url.encode())
    filters = (list(wanted.kinds), list(wanted.channels), list(wanted.categories))
    secret: bytes | None = None
    async with connection(pool) as db, db.transaction():
        # One app's webhooks are put one after the other, so that their number is known.
        await db.execute("SELECT pg_advisory_xact_lock(7219, $1)", app_id)
        before = await _row(db, app_id, wanted.name)
        if before is None:
            count = await db.fetchval("SELECT count(*) FROM ledger.webhook WHERE app_id = $1", app_id)
            if count >= MAX_WEBHOOKS:
                raise TooMany(count)
            secret = new_secret()
            sealed = sealer.seal(TABLE, owner, "secret", secret)
            webhook_id = await db.fetchval(_INSERT, app_id, wanted.name, wanted.enabled, *filters, url, sealed)
            await db.execute(
                "INSERT INTO ledger.webhook_progress (webhook_id, app_id) VALUES ($1, $2)", webhook_id, app_id
            )
        else:
            await db.execute(_UPDATE, app_id, wanted.name, wanted.enabled, *filters, url)
            if wanted.enabled:
                await db.execute(_WAKE, before["webhook_id"])
        [stored] = await db.fetch(_ONE, app_id, wanted.name)
        former = None if before is None else _told(before)
        await audit_log.record(db, "PutWebhook", app_id, wanted.name, before=former, after=_told(stored))
    return _webhook(stored, sealer), _status(stored), secret


async def every(pool: Pool, keys: KeyRing, app_id: int) -> list[tuple[Webhook, Status]]:
    """An app's webhooks by name. Raises LedgerUnavailable, Unsealable."""
    async with connection(pool) as db:
        rows = await db.fetch(f"{_SELECT} WHERE w.app_id = $1 ORDER BY w.name", app_id)
    sealer = await keys.sealer(app_id, *(row["url"] for row in rows))
    return [(_webhook(row, sealer), _status(row)) for row in rows]


async def delete(pool: Pool, app_id: int, name: str) -> bool:
    """False if there is none of this name. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        before = await _row(db, app_id, name)
        if before is None:
            return False
        for table in ("webhook_test", "webhook_failure", "webhook_progress", "webhook"):
            await db.execute(f"DELETE FROM ledger.{table} WHERE webhook_id = $1", before["webhook_id"])
        await audit_log.record(db, "DeleteWebhook", app_id, name, before=_told(before))
    return True


async def rotate(
    pool: Pool, keys: KeyRing, app_id: int, name: str, former_valid_for: timedelta
) -> tuple[bytes, datetime] | None:
    """A new secret, and when the former one ends; None if there is no such webhook. Raises LedgerUnavailable."""
    owner, secret = name.encode(), new_secret()
    async with connection(pool) as db, db.transaction():
        # The former secret moves to another column and must be sealed for its new place.
        row = await db.fetchrow(
            "SELECT secret FROM ledger.webhook WHERE app_id = $1 AND name = $2 FOR UPDATE", app_id, name
        )
        if row is None:
            return None
        sealer = await keys.sealer(app_id, row["secret"])
        former = sealer.open(TABLE, owner, "secret", row["secret"])
        ends_at = await db.fetchval(
            _ROTATE,
            app_id,
            name,
            sealer.seal(TABLE, owner, "secret", secret),
            former_valid_for,
            sealer.seal(TABLE, owner, "former_secret", former),
        )
        await audit_log.record(db, "RotateWebhookSecret", app_id, name)
    return secret, ends_at


async def failures(pool: Pool, app_id: int, name: str) -> list[Failure] | None:
    """The latest failed tries, newest first; None if there is no such webhook. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await _row(db, app_id, name)
        if row is None:
            return None
        rows = await db.fetch(_FAILURES, row["webhook_id"], KEPT_FAILURES)
    return [Failure(**dict(found)) for found in rows]


async def test(pool: Pool, app_id: int, name: str, patience: timedelta) -> Tested | UUID | None:
    """Has a tracker post one sample. None: no such webhook; an id: no tracker answered in time. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await _row(db, app_id, name)
        if row is None:
            return None
        test_id: UUID = await db.fetchval(
            "INSERT INTO ledger.webhook_test (webhook_id, app_id) VALUES ($1, $2) RETURNING test_id",
            row["webhook_id"],
            app_id,
        )
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await _answer(pool, test_id)
    except TimeoutError:
        return test_id


async def _answer(pool: Pool, test_id: UUID) -> Tested:
    while True:
        async with connection(pool) as db:
            row = await db.fetchrow(
                "DELETE FROM ledger.webhook_test WHERE test_id = $1 AND answered_at IS NOT NULL RETURNING *", test_id
            )
        if row is not None:
            return Tested(row["status"], row["error"], timedelta(milliseconds=row["duration_ms"]))
        await asyncio.sleep(_LOOK_SECONDS)


async def _row(db: Connection, app_id: int, name: str) -> asyncpg.Record | None:
    return await db.fetchrow(_ONE, app_id, name)


def _webhook(row: asyncpg.Record, sealer: AppSealer) -> Webhook:
    url = sealer.open(TABLE, row["name"].encode(), "url", row["url"]).decode()
    return Webhook(
        row["name"], url, row["enabled"], tuple(row["kinds"]), tuple(row["channels"]), tuple(row["categories"])
    )


def _status(row: asyncpg.Record) -> Status:
    return Status(
        reached=row["at"],
        delivered_at=row["delivered_at"],
        failing_since=row["failing_since"],
        tries=row["tries"],
        last_error=row["last_error"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
        gaps=row["gaps"],
    )


def _told(row: asyncpg.Record) -> audit_log.State:
    """For the log of administrative acts: the URL may hold a secret of the receiver."""
    return {name: row[name] for name in ("enabled", "kinds", "channels", "categories")}
