"""`ledger.webhook` and its progress, failures and tests, as couriers use them."""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import uuid4

import asyncpg

from clarion_kit.errors import Unavailable
from clarion_kit.sealing import Unsealable
from clarion_kit.vocabulary import Channel, EventKind
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.keys import KeyRing
from clarion_ledger.webhooks import KEPT_FAILURES, TABLE
from clarion_tracker.changes import Wanted
from clarion_tracker.couriers import LEASE, Held, Sample
from clarion_tracker.positions import Position
from clarion_tracker.webhooks import Answer, Batch, Disabled, Hook, Lost

log = logging.getLogger(__name__)

TEST_WAITS = timedelta(seconds=8)
"""Nobody waits longer for a test."""
MAX_ERROR = 200

_HOOK = """
SELECT w.webhook_id, w.app_id, a.name AS app, w.name, w.revision, w.kinds, w.channels, w.categories, w.url, w.secret,
       CASE WHEN w.former_ends_at > now() THEN w.former_secret END AS former_secret,
       p.xid::text::int8 AS xid, p.seq, p.at, p.batch_xid::text::int8 AS batch_xid, p.batch_seq, p.lost_since, p.lost_until,
       p.tries, p.lease_gen, greatest(p.next_at - now(), interval '0') AS due_in,
       coalesce(now() - p.failing_since, interval '0') AS failing_for
FROM ledger.webhook w JOIN ledger.webhook_progress p USING (webhook_id) JOIN ledger.app a ON a.app_id = w.app_id
"""
_CLAIM = f"""
WITH free AS (
    SELECT p.webhook_id FROM ledger.webhook_progress p
    JOIN ledger.webhook w USING (webhook_id) JOIN ledger.app a ON a.app_id = w.app_id
    WHERE w.enabled AND a.enabled AND p.disabled_at IS NULL AND p.lease_until <= now()
    ORDER BY p.lease_until LIMIT $2 FOR UPDATE OF p SKIP LOCKED
), claimed AS (
    UPDATE ledger.webhook_progress p SET holder = $1, lease_gen = p.lease_gen + 1, lease_until = now() + $3
    FROM free f WHERE p.webhook_id = f.webhook_id RETURNING p.webhook_id, p.lease_gen
)
SELECT h.*, c.lease_gen AS claimed_gen FROM ({_HOOK}) AS h JOIN claimed c USING (webhook_id)
"""
# A webhook that was changed, switched off or deleted is not kept, nor one whose former secret has ended: who takes it next
# reads it anew.
_KEEP = """
UPDATE ledger.webhook_progress p
SET lease_until = now() + $6, xid = i.xid::text::xid8, seq = i.seq, at = i.at
FROM unnest($1::int4[], $2::int4[], $3::int8[], $4::int8[], $5::timestamptz[], $7::int4[], $8::boolean[])
    AS i (webhook_id, lease_gen, xid, seq, at, revision, two_secrets),
    ledger.webhook w, ledger.app a
WHERE p.webhook_id = i.webhook_id AND p.lease_gen = i.lease_gen AND p.disabled_at IS NULL
  AND w.webhook_id = i.webhook_id AND w.revision = i.revision AND w.enabled AND a.app_id = w.app_id AND a.enabled
  AND coalesce(w.former_ends_at > now(), false) = i.two_secrets
RETURNING p.webhook_id
"""
_RELEASE = """
UPDATE ledger.webhook_progress p SET lease_until = now(), holder = '', xid = i.xid::text::xid8, seq = i.seq, at = i.at
FROM unnest($1::int4[], $2::int4[], $3::int8[], $4::int8[], $5::timestamptz[]) AS i (webhook_id, lease_gen, xid, seq, at)
WHERE p.webhook_id = i.webhook_id AND p.lease_gen = i.lease_gen
"""
_TAKEN = """
UPDATE ledger.webhook_progress
SET xid = $3::int8::text::xid8, seq = $4, at = $5, delivered_at = now(), batch_xid = NULL, batch_seq = NULL, lost_since = NULL,
    lost_until = NULL, failing_since = NULL, tries = 0, last_error = '', next_at = now()
WHERE webhook_id = $1 AND lease_gen = $2 RETURNING true
"""
_FAILED = """
UPDATE ledger.webhook_progress
SET batch_xid = $3::int8::text::xid8, batch_seq = $4, tries = $5, last_error = $6, failing_since = coalesce(failing_since, now()),
    next_at = now() + $7::interval, disabled_at = CASE WHEN $8 <> '' THEN now() END, disabled_reason = $8
WHERE webhook_id = $1 AND lease_gen = $2 RETURNING true
"""
_NOTE_FAILURE = """
INSERT INTO ledger.webhook_failure (webhook_id, app_id, changes, attempt, status, message_id, error)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_FORGET_FAILURES = """
DELETE FROM ledger.webhook_failure WHERE webhook_id = $1 AND failure_id <= (
    SELECT failure_id FROM ledger.webhook_failure WHERE webhook_id = $1 ORDER BY failure_id DESC OFFSET $2 LIMIT 1)
"""
_LOST = """
UPDATE ledger.webhook_progress SET lost_since = $3, lost_until = $4, at = $4, gaps = gaps + 1, batch_xid = NULL, batch_seq = NULL
WHERE webhook_id = $1 AND lease_gen = $2 RETURNING true
"""
_DISABLED = """
SELECT disabled_reason, count(*) AS n FROM ledger.webhook_progress WHERE disabled_at IS NOT NULL GROUP BY 1
"""
_SAMPLES = f"""
WITH asked AS (
    SELECT test_id FROM ledger.webhook_test WHERE taken_at IS NULL AND asked_at > now() - $2::interval
    ORDER BY asked_at LIMIT $1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE ledger.webhook_test t SET taken_at = now() FROM asked a WHERE t.test_id = a.test_id RETURNING t.test_id, t.webhook_id
)
SELECT h.*, h.lease_gen AS claimed_gen, t.test_id FROM ({_HOOK}) AS h JOIN taken t USING (webhook_id)
"""
_TESTED = (
    "UPDATE ledger.webhook_test SET answered_at = now(), status = $2, error = $3, duration_ms = $4 WHERE test_id = $1"
)
_FORGET_TESTS = "DELETE FROM ledger.webhook_test WHERE asked_at < now() - interval '1 minute'"


class WebhookTable:
    """`couriers.Hooks`."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys
        self._holder = uuid4().hex

    async def claim(self, most: int) -> list[Hook]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_CLAIM, self._holder, most, LEASE)
        hooks = []
        for row in rows:
            # One that cannot be opened keeps its lease until that ends, and holds up no other.
            try:
                hooks.append(await self._hook(row))
            except (Unsealable, Unavailable) as closed:
                log.error("webhook %d cannot be opened: %s", row["webhook_id"], closed)
        return hooks

    async def keep(self, held: Sequence[Held]) -> Collection[int]:
        async with connection(self._pool) as db:
            revisions, two = [one.revision for one in held], [one.two_secrets for one in held]
            rows = await db.fetch(_KEEP, *_columns(held), LEASE, revisions, two)
        return {row["webhook_id"] for row in rows}

    async def release(self, held: Sequence[Held]) -> None:
        if not held:
            return
        async with connection(self._pool) as db:
            await db.execute(_RELEASE, *_columns(held))

    async def taken(self, hook: Hook) -> bool:
        place = hook.position
        async with connection(self._pool) as db:
            row = await db.fetchrow(_TAKEN, hook.webhook_id, hook.lease_gen, place.xid, place.seq, place.at)
        return row is not None

    async def failed(self, hook: Hook, batch: Batch, answer: Answer, pause: timedelta) -> bool:
        return await self._note(hook, batch, answer, pause, "")

    async def disable(self, hook: Hook, batch: Batch, answer: Answer, why: Disabled) -> bool:
        return await self._note(hook, batch, answer, timedelta(0), why)

    async def lost(self, hook: Hook, lost: Lost) -> bool:
        async with connection(self._pool) as db:
            row = await db.fetchrow(_LOST, hook.webhook_id, hook.lease_gen, lost.since, lost.until)
        return row is not None

    async def disabled(self) -> Mapping[str, int]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_DISABLED)
        return {row["disabled_reason"]: row["n"] for row in rows}

    async def samples(self, most: int) -> list[Sample]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_SAMPLES, most, TEST_WAITS)
        return [Sample(row["test_id"], await self._hook(row)) for row in rows]

    async def tested(self, sample: Sample, answer: Answer, took: timedelta) -> None:
        milliseconds = round(took / timedelta(milliseconds=1))
        async with connection(self._pool) as db:
            await db.execute(_TESTED, sample.test_id, answer.status, answer.fault[:MAX_ERROR], milliseconds)
            await db.execute(_FORGET_TESTS)

    async def _note(self, hook: Hook, batch: Batch, answer: Answer, pause: timedelta, why: str) -> bool:
        error = answer.fault[:MAX_ERROR]
        async with connection(self._pool) as db, db.transaction():
            row = await db.fetchrow(
                _FAILED,
                hook.webhook_id,
                hook.lease_gen,
                batch.end.xid,
                batch.end.seq,
                hook.tries,
                error,
                pause,
                why,
            )
            if row is None:
                return False
            await self._note_failure(db, hook, batch, answer.status, error)
        return True

    async def _note_failure(self, db: Connection, hook: Hook, batch: Batch, status: int, error: str) -> None:
        changes = len(batch.changes)
        await db.execute(
            _NOTE_FAILURE, hook.webhook_id, hook.app_id, changes, hook.tries, status, batch.message_id, error
        )
        await db.execute(_FORGET_FAILURES, hook.webhook_id, KEPT_FAILURES)

    async def _hook(self, row: asyncpg.Record) -> Hook:
        sealer = await self._keys.sealer(row["app_id"], row["url"], row["secret"], row["former_secret"])
        owner = row["name"].encode()
        secrets = [sealer.open(TABLE, owner, "secret", row["secret"])]
        if row["former_secret"] is not None:
            secrets.append(sealer.open(TABLE, owner, "former_secret", row["former_secret"]))
        position = Position(row["xid"], row["seq"], row["at"])
        end = Position(row["batch_xid"], row["batch_seq"], row["at"]) if row["batch_xid"] is not None else None
        return Hook(
            webhook_id=row["webhook_id"],
            app_id=row["app_id"],
            app=row["app"],
            name=row["name"],
            lease_gen=row["claimed_gen"],
            revision=row["revision"],
            url=sealer.open(TABLE, owner, "url", row["url"]).decode(),
            secrets=tuple(secrets),
            wanted=Wanted(
                frozenset(map(Channel, row["channels"])),
                frozenset(map(EventKind, row["kinds"])),
                categories=frozenset(row["categories"]),
            ),
            position=position,
            batch_end=end if end is not None and end > position else None,
            lost=Lost(row["lost_since"], row["lost_until"]) if row["lost_since"] is not None else None,
            tries=row["tries"],
            due_in=row["due_in"],
            failing_for=row["failing_for"],
        )


def _columns(held: Sequence[Held]) -> tuple[list[object], ...]:
    return (
        [one.webhook_id for one in held],
        [one.lease_gen for one in held],
        [one.position.xid for one in held],
        [one.position.seq for one in held],
        [one.position.at for one in held],
    )
