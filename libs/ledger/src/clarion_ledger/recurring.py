"""Recurring schedules: when they fire, and the row that each is.

A firing is an accept under an event id of schedule and fire time, and then moves `next_at` on; so two replicas, or one that
died in between, fire once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import asyncpg
from cronsim import CronSim, CronSimError

from clarion_ledger import audit_log
from clarion_ledger.db import Pool, connection
from clarion_ledger.scheduling import zone

GRACE = timedelta(minutes=15)
"""A firing that nobody made in time is made up for within this, and only the latest of several."""
SHOWN = 5
"""Fire times that a listing shows."""
DUE_LIMIT = 100
_MAX_CRON_BYTES = 128


class BadCron(ValueError):
    """The expression is none, or never fires."""


def check_cron(cron: str) -> None:
    """Raises BadCron for what is no five-field expression of Debian's kind."""
    if len(cron.encode()) > _MAX_CRON_BYTES:
        raise BadCron(f"longer than {_MAX_CRON_BYTES} bytes")
    if len(cron.split()) != 5:
        raise BadCron("five fields are required: minute, hour, day of month, month, day of week")
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as bad:
        raise BadCron(str(bad)) from None


@dataclass(frozen=True, slots=True)
class Rule:
    """When a schedule fires: `cron` by the clocks of `time_zone`, from `start_at` until before `end_at`."""

    cron: str
    time_zone: str
    start_at: datetime
    end_at: datetime | None = None

    def fires_after(self, moment: datetime, count: int) -> list[datetime]:
        """Up to `count` fire times later than `moment` (UTC); fewer where it ends. Raises BadCron."""
        check_cron(self.cron)
        # CronSim begins after the second it is given, and a fire time at the very start counts.
        begin = max(moment, self.start_at - timedelta(microseconds=1))
        times = (time.astimezone(UTC) for time in CronSim(self.cron, begin.astimezone(zone(self.time_zone))))
        fires = islice((time for time in times if time > moment), count)
        return [time for time in fires if self.end_at is None or time < self.end_at]

    def due(self, next_at: datetime, now: datetime) -> tuple[datetime | None, int]:
        """Of the fire times from `next_at` until `now` the latest, if it is within its grace; and how many are left out."""
        latest = None
        passed = 0
        # What is older than the grace is not fired anyway; walking through years of it would be in vain.
        begin = max(next_at, now - GRACE) - timedelta(microseconds=1)
        while True:
            following = self.fires_after(latest or begin, 1)
            if not following or following[0] > now:
                break
            latest = following[0]
            passed += 1
        left_out = passed - 1 if latest is not None else 0
        return latest, left_out + (1 if next_at < now - GRACE else 0)


def event_id(schedule_id: int, fire_at: datetime) -> str:
    """The event id of one firing: no client can have meant it."""
    digest = hashlib.sha256(b"clarion schedule\0%d\0%d" % (schedule_id, int(fire_at.timestamp()))).hexdigest()
    return f"schedule-{schedule_id}-{digest[:32]}"


@dataclass(frozen=True, slots=True)
class Recurring:
    """One schedule as it is stored. `body` is sealed (owner: its name)."""

    schedule_id: int
    app_id: int
    category_id: int
    name: str
    rule: Rule
    broadcasts: bool
    paused: bool
    revision: int
    next_at: datetime | None
    last_fired_at: datetime | None
    last_made: UUID | None
    last_error: str
    missed: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fired:
    """What came of a firing: `made` where there is one, else `error`. `fire_at` None: nothing was due within its grace.
    `template`: the name of what it sends, for a row that was stored before rows had it."""

    fire_at: datetime | None
    made: UUID | None
    error: str
    missed: int
    next_at: datetime | None
    template: str = ""


_PUT = """
INSERT INTO ledger.recurring AS r (start_at, end_at, next_at, app_id, category_id, broadcasts, name, cron, time_zone, body,
                                   template)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (app_id, name) DO UPDATE
SET start_at = $1, end_at = $2, next_at = $3, category_id = $5, broadcasts = $6, cron = $8, time_zone = $9, body = $10,
    template = $11, revision = r.revision + 1, last_error = ''
RETURNING *
"""
# A firing that made something twice (another replica, a death before this) is told by its id, and counts once.
_FIRED = """
UPDATE ledger.recurring
SET next_at = $5, last_fired_at = coalesce($6, last_fired_at), last_made = coalesce($7, last_made), last_error = $8,
    missed = missed + $9, template = coalesce(template, nullif($10, ''))
WHERE app_id = $1 AND name = $2 AND revision = $3 AND next_at = $4
"""


async def put(
    pool: Pool,
    app_id: int,
    name: str,
    rule: Rule,
    *,
    category_id: int,
    broadcasts: bool,
    body: bytes,
    now: datetime,
    template: str = "",
) -> Recurring:
    """Create or replace a schedule; a paused one stays so. `template`: its name, where it sends one. Raises LedgerUnavailable,
    BadCron where it never fires."""
    following = rule.fires_after(now - timedelta(microseconds=1), 1)
    if not following:
        raise BadCron("never fires")
    async with connection(pool) as db, db.transaction():
        row = await db.fetchrow(
            _PUT,
            rule.start_at,
            rule.end_at,
            following[0],
            app_id,
            category_id,
            broadcasts,
            name,
            rule.cron,
            rule.time_zone,
            body,
            template or None,
        )
        if row is None:
            raise RuntimeError("a schedule was neither made nor replaced")
        stored = {"cron": rule.cron, "time_zone": rule.time_zone, "revision": row["revision"]}
        await audit_log.record(db, "PutSchedule", app_id, f"schedule {name}", after=stored)
    return _recurring(row)


async def delete(pool: Pool, app_id: int, name: str) -> bool:
    """Whether there was one. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        status = await db.execute("DELETE FROM ledger.recurring WHERE app_id = $1 AND name = $2", app_id, name)
        if status != "DELETE 0":
            await audit_log.record(db, "DeleteSchedule", app_id, f"schedule {name}")
    return status != "DELETE 0"


async def page(pool: Pool, app_id: int, *, after: str, size: int) -> list[Recurring]:
    """An app's schedules by name. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(
            "SELECT * FROM ledger.recurring WHERE app_id = $1 AND name > $2 ORDER BY name LIMIT $3", app_id, after, size
        )
    return [_recurring(row) for row in rows]


async def pause(pool: Pool, app_id: int, name: str, *, paused: bool, now: datetime) -> Recurring | None:
    """Stop firing or go on with what comes next; None where there is no such schedule. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        row = await db.fetchrow(
            "SELECT * FROM ledger.recurring WHERE app_id = $1 AND name = $2 FOR UPDATE", app_id, name
        )
        if row is None:
            return None
        following = _recurring(row).rule.fires_after(now, 1) if row["paused"] and not paused else [row["next_at"]]
        changed = await db.fetchrow(
            "UPDATE ledger.recurring SET paused = $3, next_at = $4, revision = revision + 1 WHERE app_id = $1 AND name = $2 RETURNING *",
            app_id,
            name,
            paused,
            following[0] if following else None,
        )
        await audit_log.record(
            db,
            "PauseSchedule",
            app_id,
            f"schedule {name}",
            before={"paused": row["paused"]},
            after={"paused": paused},
        )
    return _recurring(changed) if changed is not None else None


async def due(pool: Pool) -> tuple[list[Recurring], datetime]:
    """Schedules whose time has come, the latest first due first, and the database's clock. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        now: datetime = await db.fetchval("SELECT now()")
        rows = await db.fetch(
            "SELECT * FROM ledger.recurring WHERE next_at <= $1 AND NOT paused ORDER BY next_at LIMIT $2",
            now,
            DUE_LIMIT,
        )
    return [_recurring(row) for row in rows], now


async def fired(pool: Pool, one: Recurring, outcome: Fired) -> bool:
    """Note a firing and move on; False where somebody else did. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        status = await db.execute(
            _FIRED,
            one.app_id,
            one.name,
            one.revision,
            one.next_at,
            outcome.next_at,
            outcome.fire_at if outcome.made else None,
            outcome.made,
            outcome.error,
            outcome.missed,
            outcome.template,
        )
    return status != "UPDATE 0"


def shown_fires(one: Recurring, now: datetime) -> Sequence[datetime]:
    """The next fire times as a listing shows them."""
    return one.rule.fires_after(now, SHOWN)


def _recurring(row: asyncpg.Record) -> Recurring:
    return Recurring(
        schedule_id=row["schedule_id"],
        app_id=row["app_id"],
        category_id=row["category_id"],
        name=row["name"],
        rule=Rule(row["cron"], row["time_zone"], row["start_at"], row["end_at"]),
        broadcasts=row["broadcasts"],
        paused=row["paused"],
        revision=row["revision"],
        next_at=row["next_at"],
        last_fired_at=row["last_fired_at"],
        last_made=row["last_made"],
        last_error=row["last_error"],
        missed=row["missed"],
        body=row["body"],
    )
