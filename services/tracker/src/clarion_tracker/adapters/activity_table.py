"""`tracking.activity`: what was done with deliveries, one row for each thing, by the day of the delivery."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from clarion_channels.receipt import ProviderReceipt
from clarion_kit.links import OpenLink
from clarion_kit.sealing import AppSealer
from clarion_kit.vocabulary import Receipt
from clarion_ledger import flow
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.keys import KeyRing
from clarion_ledger.receipts import replaced, seal_inbound
from clarion_tracker.activity import RECEIPTS, Activity, AppEvent, EventIdentity, Kind
from clarion_tracker.inbound import Reading, Result
from clarion_tracker.machines import TOO_SOON

STORED_AS = "app.events"
"""The kind of rows in `tracking.inbound`: receipts that apps told, which may overtake the record of their send."""
MAX_EVENTS_OF_DELIVERY = 200
"""A token is in the hands of whoever has the push."""

_LEASE = timedelta(seconds=90)
_JOB = "activity"
_NO_LANE = 0
_LATE = "NOT EXISTS (SELECT FROM ledger.delivery d WHERE d.id = i.delivery_id AND d.id BETWEEN $1 AND $2)"
_NOTE = f"""
INSERT INTO tracking.activity AS a
    (delivery_id, app_id, category_id, template_version, channel, country, kind, machine, mark, times, late)
SELECT i.*, {_LATE}
FROM unnest($3::uuid[], $4::int4[], $5::int4[], $6::int4[], $7::int2[], $8::text[], $9::int2[], $10::boolean[], $11::text[],
            $12::int4[])
    AS i (delivery_id, app_id, category_id, template_version, channel, country, kind, machine, mark, times)
ORDER BY i.delivery_id, i.kind, i.machine, i.mark
ON CONFLICT (delivery_id, kind, machine, mark) DO UPDATE
SET times = least(a.times::int8 + excluded.times, 2147483647)::int4, last_at = now()
"""
# What is there already takes no place of what is new: only that is numbered.
_TELL = f"""
INSERT INTO tracking.activity AS a
    (delivery_id, app_id, category_id, template_version, channel, country, kind, mark, name, amount, currency, late)
SELECT i.delivery_id, i.app_id, i.category_id, i.template_version, i.channel, i.country, i.kind, i.mark, i.name, i.amount, i.currency,
       {_LATE}
FROM (
    SELECT t.*, row_number() OVER (PARTITION BY t.delivery_id ORDER BY t.kind, t.mark) AS place
    FROM unnest($3::uuid[], $4::int4[], $5::int4[], $6::int4[], $7::int2[], $8::text[], $9::int2[], $10::text[], $11::text[],
                $12::numeric[], $13::text[])
        AS t (delivery_id, app_id, category_id, template_version, channel, country, kind, mark, name, amount, currency)
    WHERE NOT EXISTS (
        SELECT FROM tracking.activity o
        WHERE o.delivery_id = t.delivery_id AND o.kind = t.kind AND NOT o.machine AND o.mark = t.mark COLLATE "C"
    )
) i
WHERE (SELECT count(*) FROM tracking.activity o WHERE o.delivery_id = i.delivery_id) + i.place <= $14
ORDER BY i.delivery_id, i.kind, i.mark
ON CONFLICT DO NOTHING
RETURNING a.app_id, a.delivery_id, a.kind, a.mark, a.late
"""
_RECEIPTS = "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body) VALUES ($1, $2, 'app', $3, $4)"
_SOON = """
SELECT i.delivery_id FROM unnest($1::uuid[], $2::interval[]) AS i (delivery_id, ago)
JOIN ledger.delivery d ON d.id = i.delivery_id AND d.id BETWEEN $3 AND $4
WHERE d.terminal_at IS NULL OR d.terminal_at > now() - i.ago - $5::interval
"""


class ActivityTable:
    """`ports.Activities` and `ports.AppEventRows`."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys
        self._holder = uuid4().hex

    async def note(self, done: Mapping[Activity, int]) -> None:
        links = [one.delivery for one in done]
        ids = [link.delivery_id for link in links]
        async with connection(self._pool) as db:
            await db.execute(
                _NOTE,
                *_facts(ids, links),
                [one.kind for one in done],
                [one.machine for one in done],
                [one.mark for one in done],
                list(done.values()),
            )

    async def too_soon(self, clicked: Mapping[UUID, timedelta]) -> set[UUID]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_SOON, list(clicked), list(clicked.values()), min(clicked), max(clicked), TOO_SOON)
        return {row["delivery_id"] for row in rows}

    async def replaced(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        async with connection(self._pool) as db:
            return await replaced(db, delivery_ids)

    async def keep(self, kept: timedelta) -> None:
        if await flow.take_lease(self._pool, _JOB, self._holder, _LEASE):
            async with connection(self._pool) as db:
                await db.fetchval("SELECT tracking.keep_activity($1)", kept)

    async def store(self, events: Sequence[AppEvent]) -> set[EventIdentity]:
        """As `ports.AppEventRows` says; receipts rest in `tracking.inbound`, committed together with their events."""
        sealers = {app_id: await self._keys.sealer(app_id) for app_id in {one.delivery.app_id for one in events}}
        async with connection(self._pool) as db:
            instead = await replaced(db, {one.delivery.delivery_id for one in events})
            distinct = {_credited(one, instead): one for one in reversed(events)}
            async with db.transaction():
                new = await self._store(db, distinct, sealers)
        return {distinct[identity].identity for identity in new}

    async def _store(
        self, db: Connection, distinct: Mapping[EventIdentity, AppEvent], sealers: Mapping[int, AppSealer]
    ) -> list[EventIdentity]:
        links = [one.delivery for one in distinct.values()]
        ids = [delivery_id for delivery_id, _, _ in distinct]
        told: dict[int, list[tuple[str, int, str]]] = {}
        rows = await db.fetch(
            _TELL,
            *_facts(ids, links),
            [one.kind for one in distinct.values()],
            [one.id for one in distinct.values()],
            [one.name for one in distinct.values()],
            [one.amount for one in distinct.values()],
            [one.currency for one in distinct.values()],
            MAX_EVENTS_OF_DELIVERY,
        )
        for row in rows:
            kind = Kind(row["kind"])
            if kind in RECEIPTS and not row["late"]:
                code = f"app:{kind.name.lower()}"
                told.setdefault(row["app_id"], []).append((str(row["delivery_id"]), RECEIPTS[kind], code))
        for app_id, receipts in told.items():
            body = seal_inbound(sealers[app_id], _NO_LANE, json.dumps(receipts).encode())
            await db.execute(_RECEIPTS, app_id, _NO_LANE, STORED_AS, body)
        return [(row["delivery_id"], Kind(row["kind"]), row["mark"]) for row in rows]


def _facts(ids: Sequence[UUID], links: Sequence[OpenLink]) -> tuple[object, ...]:
    """`$1` to `$8` of `_NOTE` and `_TELL`: the bounds of the ids, the ids, and what their links tell of each."""
    return (
        min(ids),
        max(ids),
        ids,
        [link.app_id for link in links],
        [link.category_id for link in links],
        [link.template_version for link in links],
        [link.channel for link in links],
        [link.country for link in links],
    )


def _credited(event: AppEvent, instead: Mapping[UUID, UUID]) -> EventIdentity:
    """Under what it is kept: the delivery that was sent."""
    delivery_id, kind, id_ = event.identity
    return instead.get(delivery_id, delivery_id), kind, id_


def read(body: bytes) -> Reading:
    """Reads rows that `ActivityTable.store` left."""
    try:
        return tuple(
            ProviderReceipt(receipt=Receipt(receipt), code=code, delivery_id=UUID(delivery_id))
            for delivery_id, receipt, code in json.loads(body)
        )
    except (ValueError, TypeError, AttributeError):
        return Result.MALFORMED
