"""Deliveries with all that may become of them, in a real ledger, and what statistics must say about it."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from uuid import UUID, uuid4

from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason, Receipt
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan, load, plan
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_testkit.plugin import App

LEASE = timedelta(seconds=30)
ENDS = [
    (DeliveryState.SENT, None),
    (DeliveryState.SENT, None),
    (DeliveryState.SENT, None),
    (DeliveryState.FAILED, Reason.ADDRESS_DEAD),
    (DeliveryState.FAILED, Reason.REFUSED),
    (DeliveryState.EXPIRED, Reason.DEADLINE_PASSED),
    (DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED),
]
CHANNELS = [Channel.IOS, Channel.SMS, Channel.EMAIL]
COUNTRIES = ["KR", "DE", None]


@dataclass
class World:
    """An app at work."""

    pool: Pool
    app: App
    random: Random
    lanes: dict[Channel, list[int]] = field(default_factory=dict)
    flying: list[UUID] = field(default_factory=list)
    sent: list[UUID] = field(default_factory=list)

    async def open(self) -> "World":
        """Two accounts for each channel."""
        for channel in CHANNELS:
            for n in range(2):
                lane_id: int = await self.pool.fetchval(
                    "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'x', $3, '') RETURNING lane_id",
                    self.app.app_id,
                    f"{channel.slug}-{n}",
                    channel,
                )
                self.lanes.setdefault(channel, []).append(lane_id)
        return self

    async def happen(self, times: int) -> None:
        """Something, again and again."""
        for _ in range(times):
            await self.random.choice([self.plan, self.plan, self.end, self.receive])()

    async def plan(self, count: int = 3) -> None:
        results = await accept(self.pool, [self._item() for _ in range(count)])
        ids = [result.notification_id for result in results if isinstance(result, Accepted)]
        plans = [self._plan_of(source) for source in await load(self.pool, ids)]
        await plan(self.pool, plans)
        self.flying += [one.delivery_id for made in plans for one in made.deliveries if one.reason is None]

    async def end(self) -> None:
        """Some of those in flight."""
        chosen = self.random.sample(self.flying, min(4, len(self.flying)))
        claims = await claim(self.pool, chosen, LEASE)
        for claimed in claims:
            state, reason = self.random.choice(ENDS)
            outcome = 1 if state is DeliveryState.SENT else 2
            await record(self.pool, [Record(claimed, state, reason, outcome, "x", duration=timedelta(milliseconds=5))])
            self.flying.remove(claimed.delivery_id)
            if state is DeliveryState.SENT:
                self.sent.append(claimed.delivery_id)

    async def receive(self) -> None:
        chosen = self.random.sample(self.sent, min(3, len(self.sent)))
        await apply(self.pool, [ReceiptFor(id_, self.random.choice(list(Receipt))) for id_ in chosen])

    def _item(self) -> AcceptItem:
        return AcceptItem(
            app_id=self.app.app_id,
            event_id=uuid4().hex,
            payload_hash=hashlib.sha256(b"sealed").digest(),
            category_id=self.random.choice(sorted(self.app.categories.values())),
            priority=Priority.NORMAL,
            recipient_count=1,
            deliver_at=None,
            expire_at=None,
            time_to_live=timedelta(hours=1),
            payload=b"sealed",
            traceparent="",
            enqueue=True,
        )

    def _plan_of(self, source: ToPlan) -> Plan:
        recipient, made = uuid4(), []
        for channel in self.random.sample(CHANNELS, self.random.randint(1, 3)):
            address = uuid4()
            id_ = delivery_id(source.notification_id, recipient, channel, address)
            if self.random.random() < 0.3:
                why = self.random.choice([Reason.OPTED_OUT, Reason.CAPPED])
                made.append(PlannedDelivery(id_, recipient, channel, reason=why))
                continue
            made.append(
                PlannedDelivery(
                    id_,
                    recipient,
                    channel,
                    address_id=address,
                    lane_id=self.random.choice(self.lanes[channel]),
                    template_version=self.random.choice([None, 1, 2]),
                    country=self.random.choice(COUNTRIES),
                    address=b"address",
                    content=b"content",
                )
            )
        template = self.random.choice(["", "welcome", "receipt"])
        return Plan(source, made, max_attempts=3, at_most_once=False, template=template)


_ACCEPTED = """
SELECT date_bin('1 hour', uuid_extract_timestamp(id), 'epoch') AS at, app_id, category_id, '0' AS template, 0 AS channel,
       0 AS lane_id, '' AS country, 'accepted' AS what, 0 AS reason, count(*) AS n
FROM ledger.notification GROUP BY 1, 2, 3
"""
_DELIVERIES = """
SELECT date_bin('1 hour', uuid_extract_timestamp(d.id), 'epoch') AS at, d.app_id, d.category_id,
       CASE WHEN template_version > 0 THEN coalesce(n.template || ' ', '') ELSE '' END || coalesce(template_version, 0) AS template,
       d.channel,
       CASE WHEN d.state >= 20 AND d.state <> 22 THEN d.lane_id ELSE 0 END AS lane_id,
       coalesce(d.country, '') AS country, w.what, CASE WHEN w.what = 'ended' THEN reason ELSE 0 END AS reason, count(*) AS n
FROM ledger.delivery d LEFT JOIN ledger.notification n ON n.id = d.notification_id CROSS JOIN LATERAL (VALUES
    ('planned', true), ('sent', d.state = 20), ('failed', d.state = 21), ('suppressed', d.state = 22), ('expired', d.state = 23),
    ('dead_lettered', d.state = 25), ('delivered', receipt >= 2), ('undelivered', receipt = 1), ('opened', receipt >= 3),
    ('clicked', receipt >= 4), ('ended', d.reason <> 0)
) AS w (what, holds) WHERE w.holds GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
_ROLLED = """
SELECT r.at, r.app_id, r.category_id, coalesce(k.name || ' ' || k.version, r.template_version::text), r.channel, r.lane_id, r.country,
       w.what, 0 AS reason, r.grain, w.n
FROM tracking.rollup_{unit} r LEFT JOIN ledger.template_key k ON k.template_key = r.template_version AND k.app_id = r.app_id
CROSS JOIN LATERAL (VALUES
    ('accepted', accepted), ('planned', planned), ('sent', sent), ('failed', failed), ('suppressed', suppressed),
    ('expired', expired), ('cancelled', cancelled), ('dead_lettered', dead_lettered), ('delivered', delivered),
    ('undelivered', undelivered), ('opened', opened), ('clicked', clicked)
) AS w (what, n) WHERE w.n <> 0
UNION ALL
SELECT at, r.app_id, category_id, coalesce(k.name || ' ' || k.version, template_version::text), channel, lane_id, country, 'ended',
       reason, grain, count
FROM tracking.reason_{unit} r LEFT JOIN ledger.template_key k ON k.template_key = r.template_version AND k.app_id = r.app_id
WHERE count <> 0
"""
GRAINS = {"hour": range(3), "day": range(4), "week": range(3, 4)}

Cells = Counter[tuple[object, ...]]


async def true_cells(pool: Pool) -> Cells:
    """What the ledger itself says, counted anew, in every grain."""
    found: Cells = Counter()
    for row in [*await pool.fetch(_ACCEPTED), *await pool.fetch(_DELIVERIES)]:
        for unit, grains in GRAINS.items():
            for grain in grains:
                at = row["at"] if unit == "hour" else row["at"].replace(hour=0)
                at -= timedelta(days=at.weekday() if unit == "week" else 0)
                template = row["template"] if grain & 1 else "0"
                country = row["country"] if grain & 2 else ""
                key = (row["app_id"], row["category_id"], template, row["channel"], row["lane_id"], country)
                found[unit, grain, at, *key, row["what"], row["reason"]] += row["n"]
    return found


async def rolled_cells(pool: Pool) -> Cells:
    """What was counted as it happened, in every grain."""
    found: Cells = Counter()
    for unit in GRAINS:
        for row in await pool.fetch(_ROLLED.format(unit=unit)):
            at, *key, grain, n = row
            found[unit, grain, at, *key] += n
    return found
