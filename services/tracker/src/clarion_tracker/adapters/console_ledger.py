"""What the console shows, read from the ledger across all apps. Addresses and contents are in none of these columns."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from clarion.notification.v1.state_pb2 import GateTrail
from clarion_kit.clock import Clock
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import (
    Channel,
    DeliveryState,
    EventKind,
    Gate,
    NotificationState,
    Priority,
    Reason,
    Receipt,
    StopReason,
    Verdict,
)
from clarion_ledger.config import Snapshot
from clarion_ledger.db import Connection, Pool, connection
from clarion_tracker.console.facts import (
    ChannelFunnel,
    DeliveryFacts,
    Event,
    Found,
    GateNote,
    NotificationFacts,
    Overview,
    Provider,
    Queue,
    Span,
    Stop,
)
from clarion_tracker.console.words import word

FRESH_SECONDS = 2.0
"""How long an overview is shown again: however many look on, the ledger is asked once."""
MOST_FOUND = 50
MOST_DELIVERIES = 100
MOST_EVENTS = 2_000
MOST_APPS = 2_000
MOST_PROVIDERS = 500
_ANSWERS_READ = 20_000

_FUNNEL = """
SELECT channel, sum(planned) AS planned, sum(sent) AS sent, sum(suppressed) AS suppressed, sum(cancelled) AS cancelled,
       sum(failed) + sum(expired) + sum(dead_lettered) AS lost, sum(delivered) AS delivered, sum(opened) AS opened,
       sum(clicked) AS clicked
FROM tracking.rollup_hour WHERE grain = 0 AND at >= $1 AND channel > 0 GROUP BY channel HAVING sum(planned) > 0 ORDER BY channel
"""
# Rows age from when they began to wait for us; what waits for a later moment ages from when that has passed.
_QUEUES = """
SELECT 'plan' AS stage, 0 AS channel, CASE WHEN ready_since IS NULL THEN 2 ELSE 1 END AS state, count(*) AS n,
       extract(epoch FROM now() - min(coalesce(ready_since, enqueued_at)))::float8 AS age
FROM ledger.plan_work GROUP BY 3
UNION ALL
SELECT 'dispatch', channel, state, count(*),
       extract(epoch FROM now() - min(coalesce(ready_since, enqueued_at, nullif(due_at, 'infinity'), planned_at)))::float8
FROM ledger.delivery_work GROUP BY 2, 3
UNION ALL
SELECT 'schedule', 0, 0, count(*), extract(epoch FROM now() - min(deliver_at))::float8 FROM ledger.schedule HAVING count(*) > 0
ORDER BY 1 DESC, 2, 3
"""
# Answers come newest first by the key of the events, so that what is read is bounded however many there are.
_PROVIDERS = """
WITH work AS (
    SELECT lane_id, count(*) FILTER (WHERE state = 3) AS in_flight, count(*) FILTER (WHERE state = 6) AS held
    FROM ledger.delivery_work GROUP BY lane_id
), latest AS (
    SELECT at, lane_id, kind, state FROM ledger.event
    WHERE at >= date_trunc('day', now(), 'UTC') - interval '1 day'
    ORDER BY xid DESC, seq DESC LIMIT $1
), answers AS (
    SELECT lane_id, count(*) FILTER (WHERE kind = 5 AND state = 20) AS taken,
           count(*) FILTER (WHERE kind = 4 OR (kind = 5 AND state IN (21, 25))) AS refused
    FROM latest WHERE at > now() - interval '1 minute' AND lane_id IS NOT NULL GROUP BY lane_id
)
SELECT l.lane_id, a.name AS app, l.name, l.kind, l.channel, l.enabled, s.reason, s.since, s.probe_at,
       coalesce(w.in_flight, 0) AS in_flight, coalesce(w.held, 0) AS held, coalesce(n.taken, 0) AS taken,
       coalesce(n.refused, 0) AS refused
FROM ledger.lane l
JOIN ledger.app a ON a.app_id = l.app_id
LEFT JOIN ledger.lane_stop s ON s.lane_id = l.lane_id
LEFT JOIN work w ON w.lane_id = l.lane_id
LEFT JOIN answers n ON n.lane_id = l.lane_id
WHERE l.deleted_at IS NULL
ORDER BY s.reason IS NULL, a.name, l.channel, l.name LIMIT $2
"""
_APPS = "SELECT app_id, name FROM ledger.app ORDER BY name LIMIT $1"

_COLUMNS = """
SELECT n.id, n.app_id, n.event_id, n.category_id, n.priority, n.accepted_at, n.expire_at, n.recipient_count, n.traceparent,
       NULL::timestamptz AS deliver_at,
       CASE WHEN n.state = 3 AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.notification_id = n.id)
            THEN 4 ELSE n.state END AS state
FROM ledger.notification n
"""
_SCHEDULED = """
SELECT s.notification_id, s.app_id, s.event_id, s.category_id, s.priority, s.accepted_at, s.expire_at, s.recipient_count,
       s.traceparent, s.deliver_at, 1::int2
FROM ledger.schedule s
"""
_ONE = f"{_COLUMNS} WHERE n.id = $1 UNION ALL {_SCHEDULED} WHERE s.notification_id = $1"
_SOME = f"{_COLUMNS} WHERE n.id = ANY ($1) UNION ALL {_SCHEDULED} WHERE s.notification_id = ANY ($1) ORDER BY 1 DESC LIMIT $2"
_BY_ID = "SELECT notification_id FROM ledger.delivery WHERE id = $1"
_BY_RECIPIENTS = """
SELECT DISTINCT notification_id FROM ledger.delivery WHERE recipient_ref = ANY ($1) ORDER BY 1 DESC LIMIT $2
"""
_BY_EVENT = """
SELECT k.notification_id FROM ledger.event_key k
WHERE k.app_id = ANY ($1) AND k.event_id = $2 AND k.epoch BETWEEN (SELECT epoch - 5 FROM ledger.event_epoch)
                                                              AND (SELECT epoch FROM ledger.event_epoch)
"""
_DELIVERIES = """
SELECT d.id, d.recipient_ref, d.channel, coalesce(w.state, d.state) AS state, d.reason, d.receipt, l.name AS lane,
       coalesce(w.attempt, d.attempts) AS attempts, d.ambiguous OR coalesce(w.ambiguous, false) AS ambiguous, d.gates,
       d.provider_message_id, d.planned_at, d.terminal_at, d.receipt_at, count(*) OVER () AS in_all
FROM ledger.delivery d
LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
LEFT JOIN ledger.lane l ON l.lane_id = coalesce(w.lane_id, d.lane_id)
WHERE d.notification_id = $1 ORDER BY d.planned_at, d.recipient_ref, d.channel, d.id LIMIT $2
"""
_EVENTS = """
SELECT e.at, e.kind, e.delivery_id, e.state, e.reason, e.receipt, l.name AS lane, e.code, e.attempt
FROM ledger.event e LEFT JOIN ledger.lane l ON l.lane_id = e.lane_id
WHERE e.notification_id = $1 AND e.at >= $2 ORDER BY e.at, e.xid, e.seq LIMIT $3
"""


class ConsoleLedger:
    """`console.ports.Facts`."""

    def __init__(self, pool: Pool, snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._pool = pool
        self._snapshot = snapshot
        self._clock = clock
        self._looking = asyncio.Lock()
        self._kept: dict[Span, tuple[float, Overview]] = {}

    async def overview(self, span: Span) -> Overview:
        async with self._looking:
            kept = self._kept.get(span)
            if kept is None or kept[0] + FRESH_SECONDS <= self._clock.monotonic():
                kept = self._kept[span] = (self._clock.monotonic(), await self._look(span))
        return kept[1]

    async def search(self, text: str, app: str) -> Sequence[Found]:
        apps = {name: app_id for app_id, name in (await self._apps()).items() if app in ("", name)}
        async with connection(self._pool) as db:
            ids = await _ids(db, text, list(apps.values()))
            rows = await db.fetch(_SOME, list(ids), MOST_FOUND) if ids else []
        names = {app_id: name for name, app_id in apps.items()}
        return [self._found(row, names[row["app_id"]]) for row in rows if row["app_id"] in names]

    async def notification(self, notification_id: UUID) -> NotificationFacts | None:
        names = await self._apps()
        async with connection(self._pool) as db:
            row = await db.fetchrow(_ONE, notification_id)
            if row is None:
                return None
            deliveries = await db.fetch(_DELIVERIES, notification_id, MOST_DELIVERIES)
            events = await db.fetch(_EVENTS, notification_id, row["accepted_at"], MOST_EVENTS)
        by_delivery: dict[UUID | None, list[Event]] = {}
        for event in events:
            by_delivery.setdefault(event["delivery_id"], []).append(_event(event))
        return NotificationFacts(
            found=self._found(row, names.get(row["app_id"], "")),
            expire_at=row["expire_at"],
            deliver_at=row["deliver_at"],
            trace_id=(row["traceparent"] or "")[3:35],
            events=by_delivery.get(None, []),
            deliveries=[_delivery(one, by_delivery.get(one["id"], [])) for one in deliveries],
            deliveries_in_all=deliveries[0]["in_all"] if deliveries else 0,
        )

    async def apps(self) -> Sequence[str]:
        return list((await self._apps()).values())

    async def _apps(self) -> Mapping[int, str]:
        async with connection(self._pool) as db:
            return {row["app_id"]: row["name"] for row in await db.fetch(_APPS, MOST_APPS)}

    async def _look(self, span: Span) -> Overview:
        now = datetime.now(UTC)
        since = span.begin(now)
        async with connection(self._pool) as db:
            funnels = await db.fetch(_FUNNEL, since)
            queues = await db.fetch(_QUEUES)
            providers = await db.fetch(_PROVIDERS, _ANSWERS_READ, MOST_PROVIDERS)
        quality: dict[int, dict[str, int]] = {}
        for (lane_id, country), factor in self._snapshot().quality.items():
            quality.setdefault(lane_id, {})[country] = factor
        return Overview(
            at=now,
            span=span,
            since=since,
            funnels=[_funnel(row) for row in funnels],
            queues=[_queue(row) for row in queues],
            providers=[_provider(row, quality.get(row["lane_id"], {})) for row in providers],
        )

    def _found(self, row: asyncpg.Record, app: str) -> Found:
        category = self._snapshot().categories_by_id.get(row["category_id"])
        return Found(
            notification_id=row["id"],
            app=app,
            event_id=row["event_id"],
            category=category.name if category is not None else "",
            priority=Priority(row["priority"]),
            state=NotificationState(row["state"]),
            accepted_at=row["accepted_at"],
            recipients=row["recipient_count"],
        )


async def _ids(db: Connection, text: str, apps: Sequence[int]) -> set[UUID]:
    """Notifications that a text may mean; those of other apps are left out later."""
    found: set[UUID] = {row["notification_id"] for row in await db.fetch(_BY_EVENT, apps, text)}
    people = [UUID(bytes=recipient_reference(app_id, text)) for app_id in apps]
    try:
        named = UUID(text)
    except ValueError:
        pass
    else:
        found |= {named, *(row["notification_id"] for row in await db.fetch(_BY_ID, named))}
        people.append(named)
    return found | {row["notification_id"] for row in await db.fetch(_BY_RECIPIENTS, people, MOST_FOUND)}


def _funnel(row: asyncpg.Record) -> ChannelFunnel:
    return ChannelFunnel(
        Channel(row["channel"]),
        planned=row["planned"],
        sent=row["sent"],
        suppressed=row["suppressed"],
        cancelled=row["cancelled"],
        lost=row["lost"],
        delivered=row["delivered"],
        seen=row["opened"],
        clicked=row["clicked"],
    )


def _queue(row: asyncpg.Record) -> Queue:
    stage = f"{row['stage']} {Channel(row['channel']).slug}" if row["channel"] else row["stage"]
    state = word(DeliveryState(row["state"])) if row["state"] else "scheduled"
    return Queue(stage, state, row["n"], row["age"])


def _provider(row: asyncpg.Record, quality: Mapping[str, int]) -> Provider:
    stop = None
    if row["reason"] is not None:
        stop = Stop(StopReason(row["reason"]), row["since"], row["probe_at"])
    return Provider(
        app=row["app"],
        name=row["name"],
        kind=row["kind"],
        channel=Channel(row["channel"]),
        enabled=row["enabled"],
        stop=stop,
        in_flight=row["in_flight"],
        held=row["held"],
        taken=row["taken"],
        refused=row["refused"],
        quality=quality,
    )


def _delivery(row: asyncpg.Record, events: Sequence[Event]) -> DeliveryFacts:
    trail = GateTrail.FromString(row["gates"] or b"")
    return DeliveryFacts(
        delivery_id=row["id"],
        recipient_ref=row["recipient_ref"],
        channel=Channel(row["channel"]),
        state=DeliveryState(row["state"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        receipt=Receipt(row["receipt"]) if row["receipt"] else None,
        account=row["lane"] or "",
        attempts=row["attempts"],
        ambiguous=row["ambiguous"],
        planned_at=row["planned_at"],
        terminal_at=row["terminal_at"],
        receipt_at=row["receipt_at"],
        provider_message_id=row["provider_message_id"] or "",
        passed_up_to=Gate(trail.passed_up_to) if trail.passed_up_to else None,
        gates=[
            GateNote(Gate(one.gate), Verdict(one.verdict), Reason(one.reason) if one.reason else None, one.rule)
            for one in trail.records
        ],
        events=events,
    )


def _event(row: asyncpg.Record) -> Event:
    return Event(
        at=row["at"],
        kind=EventKind(row["kind"]),
        state=DeliveryState(row["state"]) if row["state"] else None,
        reason=Reason(row["reason"]) if row["reason"] else None,
        receipt=Receipt(row["receipt"]) if row["receipt"] else None,
        account=row["lane"] or "",
        code=row["code"] or "",
        attempt=row["attempt"] or 0,
    )
