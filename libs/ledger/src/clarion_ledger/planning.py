"""Planning: what waits to be planned, and the one transaction that turns a notification into deliveries.

Taking the `plan_work` row is the fence: whoever deletes it writes the plan, a second planner writes nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from clarion_kit import crash
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason
from clarion_ledger.caps import Taken
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.rests import DigestWindow, EscalationStep, Rest


class ToPlan(NamedTuple):
    """A notification that waits. `expired` by the database's clock. `payload` is sealed (owner: the event id)."""

    notification_id: UUID
    app_id: int
    category_id: int
    priority: Priority
    event_id: str
    accepted_at: datetime
    expire_at: datetime
    expired: bool
    payload: bytes
    traceparent: str
    tries: int


class PlannedDelivery(NamedTuple):
    """A delivery to be: in flight with sealed address and content, or suppressed with its reason.

    `address_id`, `lane_id`, `address` and `content` are set exactly where it is in flight; `enqueue` says whether the
    planner publishes it at once. `gates` is a serialised GateTrail, empty where every gate simply passed. What rests, and a
    claim after `ask_again_at`, passes the gates again before its call. `taken`: what it took of SMS budgets, put back if it
    never goes.
    """

    delivery_id: UUID
    recipient_ref: UUID
    channel: Channel
    reason: Reason | None = None
    address_id: UUID | None = None
    lane_id: int | None = None
    address: bytes = b""
    content: bytes = b""
    gates: bytes = b""
    template_version: int | None = None
    country: str | None = None
    enqueue: bool = True
    traceparent: str = ""
    wishes_revision: int | None = None
    locale: str = ""
    hint: str = ""
    rest: Rest | None = None
    ask_again_at: datetime | None = None
    escalation: EscalationStep | None = None
    digest: DigestWindow | None = None
    taken: Sequence[Taken] = ()

    @property
    def goes_now(self) -> bool:
        """In flight, and not resting until some moment."""
        return self.reason is None and self.rest is None


class Plan(NamedTuple):
    """All deliveries of one notification. `resolved_at`: monotonic seconds when its recipients were looked up, None where
    the plan needs none; wishes that changed since then are looked at again. `template`: its name, "" where there is none."""

    source: ToPlan
    deliveries: Sequence[PlannedDelivery]
    max_attempts: int
    at_most_once: bool
    collapse_key: str = ""
    resolved_at: float | None = None
    template: str = ""


MAX_LOAD_BYTES = 16 << 20
"""Payloads after which `load` gives no more at a time: a notification may carry files."""

# Bounds of ids leave out partitions and are no ranges to read, for the reason that 0026_hot_path.sql gives.
_LOAD = """
SELECT * FROM (
    SELECT w.notification_id, w.tries, n.app_id, n.category_id, n.priority, n.event_id, n.accepted_at, n.expire_at,
           n.expire_at <= now() AS expired, b.payload, n.traceparent,
           sum(octet_length(b.payload)) OVER (ORDER BY w.notification_id) - octet_length(b.payload) AS bytes_before
    FROM ledger.plan_work w
    CROSS JOIN LATERAL (
        SELECT * FROM ledger.notification n WHERE n.id = w.notification_id AND n.id BETWEEN $2 AND $3 OFFSET 0
    ) n
    CROSS JOIN LATERAL (
        SELECT b.payload FROM ledger.notification_body b WHERE b.id = w.notification_id AND b.id BETWEEN $2 AND $3 OFFSET 0
    ) b
    WHERE w.notification_id = ANY ($1)
) waiting
WHERE bytes_before < $4
ORDER BY notification_id
"""

# Rows are locked in a statement of their own, for the reason that 0006_protection.sql gives.
_TAKE = """
SELECT notification_id FROM ledger.plan_work WHERE notification_id = ANY ($1) ORDER BY notification_id FOR UPDATE SKIP LOCKED
"""

# Whoever holds the rows deletes all of them, or else nothing counts as planned.
_PLAN = """
WITH taken AS (
    DELETE FROM ledger.plan_work WHERE notification_id = ANY ($1) RETURNING notification_id
), planned AS (
    UPDATE ledger.notification n SET state = 3, planned_count = t.planned_count, template = t.template
    FROM unnest($1::uuid[], $2::int4[], $36::text[]) AS t (id, planned_count, template)
    WHERE n.id = t.id AND n.id >= $3 AND n.id <= ANY (ARRAY[$4::uuid])
    RETURNING n.id, n.app_id, n.category_id, n.priority, n.expire_at
), input AS (
    SELECT i.*, p.app_id, p.category_id, p.priority, p.expire_at
    FROM unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::int2[], $9::int2[], $10::uuid[], $11::int4[], $12::bytea[],
                $13::bytea[], $14::bytea[], $15::int4[], $16::text[], $17::boolean[], $18::text[], $19::int2[],
                $20::boolean[], $21::text[], $22::int8[], $23::interval[],
                $24::text[], $25::text[], $26::int2[], $27::timestamptz[], $28::interval[], $29::int2[], $30::text[],
                $31::timestamptz[], $32::int2[], $33::int2[], $34::interval[], $35::int8[])
        AS i (id, notification_id, recipient_ref, channel, reason, address_id, lane_id, address, content, gates,
              template_version, country, enqueue, traceparent, max_attempts, at_most_once, collapse_key, wishes_revision,
              resolved_ago, locale, hint, rest, due_at, delay, rest_reason, rest_code, ask_again_at, step, until,
              escalate_after, digest_id)
    JOIN planned p ON p.id = i.notification_id
), deliveries AS (
    INSERT INTO ledger.delivery (terminal_at, id, notification_id, recipient_ref, address_id, app_id, category_id, lane_id,
                                 template_version, channel, priority, state, reason, country, gates)
    SELECT CASE WHEN i.reason <> 0 THEN now() END, i.id, i.notification_id, i.recipient_ref, i.address_id, i.app_id,
           i.category_id, i.lane_id, i.template_version, i.channel, i.priority,
           CASE WHEN i.reason <> 0 THEN 22 ELSE coalesce(i.rest, CASE WHEN i.enqueue THEN 2 ELSE 1 END) END, i.reason,
           i.country, i.gates
    FROM input i
), bodies AS (
    INSERT INTO ledger.delivery_body (id, address, content) SELECT i.id, i.address, i.content FROM input i WHERE i.reason = 0
), work AS (
    INSERT INTO ledger.delivery_work (enqueued_at, ready_since, due_at, ask_again_at, expire_at, delivery_id, notification_id,
                                      recipient_ref, app_id, lane_id, channel, priority, state, max_attempts, at_most_once,
                                      collapse_key, traceparent, wishes_revision, planned_at, locale, hint, step, until,
                                      escalate_after, digest_id)
    SELECT CASE WHEN i.rest IS NULL AND i.enqueue THEN now() END, CASE WHEN i.rest IS NULL AND NOT i.enqueue THEN now() END,
           CASE WHEN i.rest IS NOT NULL THEN coalesce(i.due_at, now() + i.delay) END,
           CASE WHEN i.rest IS NOT NULL THEN now() ELSE i.ask_again_at END, i.expire_at, i.id, i.notification_id,
           i.recipient_ref, i.app_id, i.lane_id, i.channel, i.priority,
           coalesce(i.rest, CASE WHEN i.enqueue THEN 2 ELSE 1 END),
           i.max_attempts, i.at_most_once, i.collapse_key, i.traceparent, i.wishes_revision, now() - i.resolved_ago,
           i.locale, i.hint, i.step, i.until, i.escalate_after, i.digest_id
    FROM input i WHERE i.reason = 0
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state, reason, code)
    SELECT p.id, NULL, p.app_id, 3, NULL, NULL, NULL FROM planned p
    UNION ALL
    SELECT i.notification_id, i.id, i.app_id, 5, 22, i.reason, NULL FROM input i WHERE i.reason <> 0
    UNION ALL
    SELECT i.notification_id, i.id, i.app_id, CASE i.rest WHEN 5 THEN 11 ELSE 12 END, i.rest, i.rest_reason, i.rest_code
    FROM input i WHERE i.reason = 0 AND i.rest IS NOT NULL
)
SELECT id FROM planned WHERE (SELECT count(*) FROM taken) = cardinality($1)
"""

_EXPIRE = """
WITH taken AS (
    DELETE FROM ledger.plan_work WHERE notification_id = ANY ($1) RETURNING notification_id
), ended AS (
    UPDATE ledger.notification n SET state = 6 FROM taken t
    WHERE n.id = t.notification_id AND n.id >= $2 AND n.id <= ANY (ARRAY[$3::uuid]) RETURNING n.id, n.app_id
)
INSERT INTO ledger.event (notification_id, app_id, kind) SELECT id, app_id, 8 FROM ended
"""

# Who joins a window that is due but not closed yet holds its row first; the planner that closes it sees the new member or
# leaves it to the next window. A window closes early for a member that would not live to its end.
_JOIN = """
INSERT INTO ledger.digest AS g (app_id, category_id, recipient_ref, digest_key, length, due_at, time_zone)
SELECT i.app_id, i.category_id, i.recipient_ref, i.digest_key, max(i.length),
       greatest(now(), min(least(now() + i.length, i.expire_at - interval '10 seconds'))), max(i.time_zone)
FROM unnest($1::int4[], $2::int4[], $3::uuid[], $4::text[], $5::interval[], $6::timestamptz[], $7::text[])
    AS i (app_id, category_id, recipient_ref, digest_key, length, expire_at, time_zone)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (app_id, category_id, recipient_ref, digest_key) DO UPDATE
SET due_at = least(g.due_at, excluded.due_at), time_zone = excluded.time_zone
RETURNING g.app_id, g.category_id, g.recipient_ref, g.digest_key, g.digest_id, g.due_at
"""

_CHARGE = """
INSERT INTO ledger.sms_charge (delivery_id, app_id, budget_id, generation, segments)
SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int4[], $4::int8[], $5::int4[])
"""

_TRIED = "UPDATE ledger.plan_work SET tries = tries + 1 WHERE notification_id = ANY ($1)"


async def load(pool: Pool, ids: Sequence[UUID]) -> list[ToPlan]:
    """Those of `ids` that still wait, by id; the others were planned or cancelled. Large ones end the list early: who asks
    again for the ids behind the last one gets the rest. Raises LedgerUnavailable."""
    if not ids:
        return []
    async with connection(pool) as db:
        rows = await db.fetch(_LOAD, ids, min(ids), max(ids), MAX_LOAD_BYTES)
    return [
        ToPlan(
            notification_id=row["notification_id"],
            app_id=row["app_id"],
            category_id=row["category_id"],
            priority=Priority(row["priority"]),
            event_id=row["event_id"],
            accepted_at=row["accepted_at"],
            expire_at=row["expire_at"],
            expired=row["expired"],
            payload=row["payload"],
            traceparent=row["traceparent"] or "",
            tries=row["tries"],
        )
        for row in rows
    ]


async def plan(pool: Pool, plans: Sequence[Plan]) -> set[UUID]:
    """Write plans in one transaction; gives the notifications that were planned by this call (others were taken before).

    Raises LedgerUnavailable.
    """
    if not plans:
        return set()
    now = time.monotonic()
    crash.point("plan.before_commit")
    async with connection(pool) as db, db.transaction():
        taken = await _take(db, [plan.source.notification_id for plan in plans])
        mine = [plan for plan in plans if plan.source.notification_id in taken]
        planned = await write(db, mine, now) if mine else set()
        if planned != taken:  # half of a move must not be committed, whatever made it
            raise RuntimeError(f"of {len(taken)} notifications {len(planned)} were planned")
    crash.point("plan.after_commit")
    return planned


async def expire(pool: Pool, ids: Sequence[UUID]) -> None:
    """End notifications whose deadline passed before they were planned. Raises LedgerUnavailable."""
    if ids:
        async with connection(pool) as db, db.transaction():
            taken = await _take(db, ids)
            if taken:
                await db.execute(_EXPIRE, sorted(taken), min(taken), max(taken))


async def _take(db: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of `ids` that wait and are nobody else's, for this transaction."""
    return {row["notification_id"] for row in await db.fetch(_TAKE, ids)}


async def write(db: Connection, plans: Sequence[Plan], now: float) -> set[UUID]:
    """Deliveries, work and events of notifications whose `plan_work` rows this transaction holds; gives those. `now`:
    monotonic seconds."""
    flat = sorted(
        ((plan, delivery) for plan in plans for delivery in plan.deliveries), key=lambda pair: pair[1].delivery_id
    )
    windows = await _join(db, flat)
    flat = [(plan, _in_window(delivery, windows)) for plan, delivery in flat]
    ids = [plan.source.notification_id for plan in plans]
    rows = await db.fetch(
        _PLAN,
        ids,
        [len(plan.deliveries) for plan in plans],
        min(ids),
        max(ids),
        [delivery.delivery_id for _, delivery in flat],
        [plan.source.notification_id for plan, _ in flat],
        [delivery.recipient_ref for _, delivery in flat],
        [delivery.channel for _, delivery in flat],
        [delivery.reason or 0 for _, delivery in flat],
        [delivery.address_id for _, delivery in flat],
        [delivery.lane_id for _, delivery in flat],
        [delivery.address for _, delivery in flat],
        [delivery.content for _, delivery in flat],
        [delivery.gates or None for _, delivery in flat],
        [delivery.template_version for _, delivery in flat],
        [delivery.country for _, delivery in flat],
        [delivery.enqueue for _, delivery in flat],
        [delivery.traceparent or None for _, delivery in flat],
        [plan.max_attempts for plan, _ in flat],
        [plan.at_most_once for plan, _ in flat],
        [plan.collapse_key or None for plan, _ in flat],
        [delivery.wishes_revision for _, delivery in flat],
        [timedelta(seconds=now - (now if plan.resolved_at is None else plan.resolved_at)) for plan, _ in flat],
        [delivery.locale or None for _, delivery in flat],
        [delivery.hint or None for _, delivery in flat],
        [delivery.rest.state if delivery.rest else None for _, delivery in flat],
        [delivery.rest.due_at if delivery.rest else None for _, delivery in flat],
        [delivery.rest.delay if delivery.rest else None for _, delivery in flat],
        [delivery.rest.reason if delivery.rest else None for _, delivery in flat],
        [(delivery.rest.code or None) if delivery.rest else None for _, delivery in flat],
        [delivery.ask_again_at for _, delivery in flat],
        [delivery.escalation.step if delivery.escalation else 0 for _, delivery in flat],
        [delivery.escalation.until if delivery.escalation else None for _, delivery in flat],
        [delivery.escalation.after if delivery.escalation else None for _, delivery in flat],
        [windows[delivery.delivery_id].digest_id if delivery.delivery_id in windows else None for _, delivery in flat],
        [plan.template or None for plan in plans],
    )
    await _charge(db, flat)
    return {row["id"] for row in rows}


async def _charge(db: Connection, flat: Sequence[tuple[Plan, PlannedDelivery]]) -> None:
    """Note what each SMS took of which budget."""
    charges = [
        (delivery.delivery_id, plan.source.app_id, taken.budget_id, taken.generation, taken.segments)
        for plan, delivery in flat
        if delivery.reason is None
        for taken in delivery.taken
    ]
    if charges:
        await db.execute(_CHARGE, *(list(column) for column in zip(*charges, strict=True)))


@dataclass(frozen=True, slots=True)
class _Window:
    digest_id: int
    due_at: datetime


async def _join(db: Connection, flat: Sequence[tuple[Plan, PlannedDelivery]]) -> dict[UUID, _Window]:
    """Windows of the members of digests, by delivery; their rows are held from here on."""
    members = [(plan.source, delivery, delivery.digest) for plan, delivery in flat if delivery.digest is not None]
    if not members:
        return {}
    rows = await db.fetch(
        _JOIN,
        [source.app_id for source, _, _ in members],
        [source.category_id for source, _, _ in members],
        [delivery.recipient_ref for _, delivery, _ in members],
        [digest.key for _, _, digest in members],
        [digest.length for _, _, digest in members],
        [source.expire_at for source, _, _ in members],
        [digest.time_zone for _, _, digest in members],
    )
    windows = {
        (row["app_id"], row["category_id"], row["recipient_ref"], row["digest_key"]): _Window(
            row["digest_id"], row["due_at"]
        )
        for row in rows
    }
    return {
        delivery.delivery_id: windows[source.app_id, source.category_id, delivery.recipient_ref, digest.key]
        for source, delivery, digest in members
    }


def _in_window(delivery: PlannedDelivery, windows: Mapping[UUID, _Window]) -> PlannedDelivery:
    window = windows.get(delivery.delivery_id)
    if window is None:
        return delivery
    return delivery._replace(rest=Rest(DeliveryState.WAITING, window.due_at, code="digest"))


async def count_try(pool: Pool, ids: Sequence[UUID]) -> None:
    """Note that planning these failed once more, so that poison is found. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        await db.execute(_TRIED, ids)
