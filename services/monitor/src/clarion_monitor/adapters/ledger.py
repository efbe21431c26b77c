"""Backlog, dead letters, failures, stopped accounts and the audit from the ledger."""

from collections.abc import Mapping
from datetime import timedelta

import asyncpg

from clarion_kit.vocabulary import Channel, DeliveryState, Reason, StopReason
from clarion_ledger.audit import Auditor, Resting, resting
from clarion_ledger.db import Pool, connection
from clarion_monitor.causes import Account, Failures, Stopped
from clarion_monitor.domain import AppBacklog, Backlog, Findings
from clarion_monitor.webhooks import SwitchedOff

FAILURES_READ = 20_000
"""Latest failures that are counted in one look, which takes 19 ms then; a cause that matters in a storm is among them."""
CAUSES = 100
"""Causes of one look, most frequent first."""
APPS = 50
"""Apps whose backlog is shown, the largest first."""
WEBHOOKS = 100
"""Webhooks that were switched off, the latest first."""

# Ages of what we have to move count from when it began to wait; of the rest, from planning.
_BACKLOG = """
SELECT *, now() - since AS age FROM (
SELECT 'plan' AS stage, CASE WHEN ready_since IS NULL THEN 2 ELSE 1 END AS state, count(*) AS n,
       min(coalesce(ready_since, enqueued_at)) AS since
FROM ledger.plan_work GROUP BY 2
UNION ALL
SELECT 'dispatch', state, count(*), min(coalesce(ready_since, enqueued_at, planned_at))
FROM ledger.delivery_work GROUP BY 2
UNION ALL
SELECT 'schedule', NULL, count(*), min(deliver_at) FROM ledger.schedule WHERE deliver_at <= now()
UNION ALL
SELECT 'receipts', NULL, count(*), min(next_at) FROM tracking.inbound WHERE applied_at IS NULL AND next_at <= now()
) w
"""
_BY_APP = """
SELECT a.name AS app, sum(w.n)::int8 AS n, now() - min(w.since) AS age
FROM (
    SELECT app_id, count(*) AS n, min(coalesce(ready_since, enqueued_at)) AS since FROM ledger.plan_work GROUP BY 1
    UNION ALL
    SELECT app_id, count(*), min(coalesce(ready_since, enqueued_at, planned_at)) FROM ledger.delivery_work GROUP BY 1
) w JOIN ledger.app a ON a.app_id = w.app_id
GROUP BY a.app_id ORDER BY n DESC LIMIT $1
"""
_APPS = "SELECT app_id, name FROM ledger.app WHERE app_id = ANY ($1)"
_DEAD_LETTERS = "SELECT channel, count(*) AS n FROM ledger.dead_letter WHERE redriven_as IS NULL GROUP BY 1"

# A dead address is the recipient's matter and common; a jump of them stops its lane. The predicate is the index's.
_FAILURES = """
SELECT f.app_id, f.lane_id, f.code, f.reason, count(*) AS failed, count(*) FILTER (WHERE f.dead) AS dead_letters, l.channel
FROM (
    SELECT e.app_id, e.lane_id, coalesce(e.code, '') AS code, CASE WHEN coalesce(e.code, '') = '' THEN e.reason END AS reason,
           e.kind = 5 AND e.state = 25 AS dead
    FROM ledger.event e
    WHERE (e.kind = 4 OR (e.kind = 5 AND e.state IN (21, 25))) AND e.at > now() - $1::interval AND e.reason IS DISTINCT FROM 41
    ORDER BY e.at DESC LIMIT $2
) f JOIN ledger.lane l ON l.lane_id = f.lane_id
GROUP BY f.app_id, f.lane_id, f.code, f.reason, l.channel ORDER BY failed DESC LIMIT $3
"""
_STOPS = """
SELECT s.app_id, s.lane_id, s.reason, now() - s.since AS age, l.channel
FROM ledger.lane_stop s JOIN ledger.lane l ON l.lane_id = s.lane_id WHERE s.reason <> $1 ORDER BY s.lane_id
"""

# One that its owner switched off as well is no incident, nor is one of an app that may do nothing.
_WEBHOOKS_OFF = """
SELECT w.webhook_id, w.app_id, w.name, p.disabled_reason, now() - p.disabled_at AS age
FROM ledger.webhook_progress p JOIN ledger.webhook w USING (webhook_id) JOIN ledger.app a ON a.app_id = w.app_id
WHERE p.disabled_at IS NOT NULL AND w.enabled AND a.enabled ORDER BY p.disabled_at DESC LIMIT $1
"""


class LedgerView:
    """Reads, never writes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._auditor = Auditor(pool)

    async def backlog(self) -> list[Backlog]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_BACKLOG)
        return [Backlog(row["stage"], _state(row["state"]), row["n"], _age(row), row["since"]) for row in rows]

    async def backlog_by_app(self) -> list[AppBacklog]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_BY_APP, APPS)
        return [AppBacklog(row["app"], row["n"], _age(row)) for row in rows]

    async def dead_letters(self) -> Mapping[Channel, int]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_DEAD_LETTERS)
        return {Channel(row["channel"]): row["n"] for row in rows}

    async def failures(self, window: timedelta) -> list[Failures]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_FAILURES, window, FAILURES_READ, CAUSES)
        return [Failures(_account(row), _cause(row), row["failed"], row["dead_letters"]) for row in rows]

    async def stops(self) -> list[Stopped]:
        """Those that no person wanted."""
        async with connection(self._pool) as db:
            rows = await db.fetch(_STOPS, StopReason.OPERATOR)
        return [Stopped(_account(row), StopReason(row["reason"]), row["age"]) for row in rows]

    async def webhooks_off(self) -> list[SwitchedOff]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_WEBHOOKS_OFF, WEBHOOKS)
        return [
            SwitchedOff(row["app_id"], row["webhook_id"], row["name"], row["disabled_reason"], _age(row))
            for row in rows
        ]

    async def audit(self) -> Findings:
        checks, more = await self._auditor.step()
        while more:
            checks, more = await self._auditor.step()
        late = await resting(self._pool)
        async with connection(self._pool) as db:
            apps = await db.fetch(_APPS, sorted({rest.app_id for rest in late}))
        names = {row["app_id"]: row["name"] for row in apps}
        return Findings(checks, {(names.get(rest.app_id, str(rest.app_id)), _stage(rest)): rest.rows for rest in late})


def _age(row: asyncpg.Record) -> timedelta:
    return max(row["age"] or timedelta(0), timedelta(0))


def _state(number: int | None) -> str:
    return "due" if number is None else DeliveryState(number).name.lower()


def _stage(rest: Resting) -> str:
    return f"{rest.channel.slug if rest.channel else 'plan'} {_state(rest.state)}"


def _account(row: asyncpg.Record) -> Account:
    return Account(row["app_id"], row["lane_id"], Channel(row["channel"]))


def _cause(row: asyncpg.Record) -> str:
    if row["code"] or row["reason"] is None:
        return row["code"] or "no code"
    return Reason(row["reason"]).name.lower().replace("_", " ")
