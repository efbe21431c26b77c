"""A dispatch engine of any channel with the installed providers, on a real ledger."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion_channels.engine.admission import Collaborators
from clarion_channels.engine.dead import DeadAddress, DeadAddresses
from clarion_channels.engine.engine import DispatchEngine
from clarion_channels.engine.lanes import Lanes, provider_factories
from clarion_channels.engine.lease import Leases
from clarion_channels.engine.policies import Policies
from clarion_channels.port import ProviderFactory
from clarion_kit.bus import Batch
from clarion_kit.sealing import KeyWrapper
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Priority
from clarion_ledger import admin, stops
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.audit import audit
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_ledger.db import Pool, pool
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan
from clarion_testkit.plugin import App, Database

from .engine_samples import ScriptedPacer, ScriptedWishes

SOON = 20.0
"""Seconds after which something that should have happened has not."""


class Kept:
    """Receipts that come on a provider's own connection; nobody looks at them here."""

    def __init__(self, lane: LaneConfig) -> None:
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        return


@dataclass(slots=True)
class Live:
    """An engine with what a test looks at. `dead`: addresses that were reported."""

    pool: Pool
    app: App
    channel: Channel
    engine: DispatchEngine
    lanes: Lanes
    config: ConfigCache
    dead: list[DeadAddress] = field(default_factory=list)

    async def put(self, kind: str, settings: bytes, name: str = "main") -> int:
        """Put an account and let the engine know of it."""
        sealer = await self.app.keys.sealer(self.app.app_id)
        lane_id = await admin.put_lane(
            self.pool, sealer, self.app.app_id, name, kind, self.channel, settings, enabled=True
        )
        await self.config.refresh()
        return lane_id

    async def planned(self, lane_id: int, messages: Sequence[tuple[Address, Rendered]]) -> list[UUID]:
        """Enqueued deliveries of one notification each."""
        return await planned(self.pool, self.app, self.channel, lane_id, messages)

    async def hand_over(self, ids: Sequence[UUID]) -> None:
        """What the bus does with a message."""
        async with asyncio.timeout(SOON):
            await self.engine.handler(Priority.NORMAL)(Batch([id_.bytes for id_ in ids], ""))

    async def settled(self) -> None:
        async with asyncio.timeout(SOON):
            await self.engine.drain()

    async def send(self, ids: Sequence[UUID]) -> None:
        await self.hand_over(ids)
        await self.settled()

    async def look(self) -> None:
        """What a dispatcher does about stopped lanes twice a second."""
        async with asyncio.timeout(SOON):
            await self.engine.look_at_stops()
        await self.settled()

    async def go_on(self, ids: Sequence[UUID]) -> None:
        """Give back what no stopped lane holds any more, and send it."""
        await stops.release(self.pool, 1_000)
        ready = await self.pool.fetch(
            """UPDATE ledger.delivery_work SET state = 2, ready_since = NULL, enqueued_at = now()
               WHERE delivery_id = ANY ($1) AND state = 1 RETURNING delivery_id""",
            ids,
        )
        await self.send([row["delivery_id"] for row in ready])

    async def rows(self, ids: Sequence[UUID]) -> list[asyncpg.Record]:
        """`state`, `tried` and `reason` of deliveries, in their order."""
        return await self.pool.fetch(
            """SELECT coalesce(w.state, d.state) AS state, coalesce(w.attempt, d.attempts) AS tried, d.reason
               FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, place) JOIN ledger.delivery d USING (id)
               LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id ORDER BY i.place""",
            ids,
        )

    async def states(self, ids: Sequence[UUID]) -> set[DeliveryState]:
        return {DeliveryState(row["state"]) for row in await self.rows(ids)}

    async def unaccounted(self) -> int:
        """Contradictions in what the app has in the ledger."""
        found = await audit(self.pool, since=datetime.now(UTC) - timedelta(days=1), app_id=self.app.app_id)
        return found.unaccounted


async def new_app(pool: Pool, kek: KeyWrapper) -> App:
    """An app of one test."""
    row = await admin.create_app(pool, kek, f"shop-{uuid4().hex[:12]}")
    rows = await pool.fetch("SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id)
    return App(row.app_id, KeyRing(pool, kek), {found["name"]: found["category_id"] for found in rows})


@asynccontextmanager
async def live(
    database: Database,
    app: App,
    telemetry: Telemetry,
    channel: Channel,
    factories: Mapping[str, ProviderFactory] | None = None,
) -> AsyncIterator[Live]:
    """A running engine under the dispatcher's role; `factories` None: every provider that is installed."""
    reported: list[DeadAddress] = []

    async def report(addresses: Sequence[DeadAddress]) -> None:
        reported.extend(addresses)

    async with pool(f"{database.url}?role=clarion_dispatcher", size=6, application="test") as connections:
        config = ConfigCache(connections, with_lanes=True)
        keys = KeyRing(connections, app.keys._wrapper)
        leases = Leases(timedelta(seconds=90))
        lanes = Lanes(
            channel,
            config,
            keys,
            provider_factories() if factories is None else factories,
            Kept,
            Policies.load(),
            longest_timeout=leases.longest_timeout,
            most_open=1_000,
        )
        engine = DispatchEngine(
            channel,
            connections,
            keys,
            config,
            lanes,
            leases,
            Collaborators(ScriptedWishes(), ScriptedPacer(), DeadAddresses(report, timedelta(0))),
            telemetry,
            capacity=1_000,
        )
        async with engine.running():
            yield Live(database.pool, app, channel, engine, lanes, config, reported)
        await lanes.close()


async def planned(
    pool: Pool, app: App, channel: Channel, lane_id: int, messages: Sequence[tuple[Address, Rendered]]
) -> list[UUID]:
    """Accept and plan notifications of one delivery each; gives the delivery ids in order."""
    items = [
        AcceptItem(
            app_id=app.app_id,
            event_id=uuid4().hex,
            payload_hash=bytes(32),
            category_id=app.categories["transactional"],
            priority=Priority.NORMAL,
            recipient_count=1,
            deliver_at=None,
            expire_at=None,
            time_to_live=timedelta(hours=1),
            payload=b"",
            traceparent="",
            enqueue=True,
        )
        for _ in messages
    ]
    ids = [result.notification_id for result in await accept(pool, items) if isinstance(result, Accepted)]
    sealer = await app.keys.sealer(app.app_id)
    plans = []
    for source, (address, content) in zip(await load(pool, ids), messages, strict=True):
        recipient, address_id = uuid4(), uuid4()
        id_ = delivery_id(source.notification_id, recipient, channel, address_id)
        delivery = PlannedDelivery(
            id_,
            recipient,
            channel,
            address_id=address_id,
            lane_id=lane_id,
            address=sealer.seal("address", address_id.bytes, "address", address.SerializeToString()),
            content=sealer.seal("delivery", id_.bytes, "content", content.SerializeToString()),
        )
        plans.append(Plan(source, [delivery], max_attempts=3, at_most_once=False))
    assert len(await plan(pool, plans)) == len(messages)
    return [one.deliveries[0].delivery_id for one in plans]
