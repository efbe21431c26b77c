"""The PLAN lanes on a real Postgres and NATS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clarion_kit.bus import Batch, BusUnavailable, JetStreamBus, Verdict
from clarion_kit.scavenger import Scavenger
from clarion_kit.subjects import Lane, Stream, Subjects
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing, parse_traceparent
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, NotificationState, Priority, Reason
from clarion_ledger import flow, planning
from clarion_ledger.db import Pool, pool
from clarion_ledger.runway import Runway
from clarion_planner.consumer import CHUNK, PlanConsumer
from clarion_planner.domain import Recipient
from clarion_planner.planning import POISON_TRIES
from clarion_planner.ports import ResolveQuery
from clarion_testkit.depth import waiting
from clarion_testkit.plugin import App, Database
from clarion_testkit.yielding import OneByOne

from .planner_samples import FakePreferences, Plant, address, literal, plant, reference

IOS, SMS = Channel.IOS, Channel.SMS
LANES = [Lane(Stream.DISPATCH, Priority.NORMAL, channel) for channel in (IOS, SMS)]


class Desk:
    """A consumer with what a test looks at."""

    def __init__(
        self, plant: Plant, bus: JetStreamBus, telemetry: Telemetry, own: Pool, bulk: Scavenger | None = None
    ) -> None:
        self.plant = plant
        self.bus = bus
        self.runway = Runway(own, bus, LANES)
        planner = replace(plant, pool=own)
        self.consumer = PlanConsumer(own, bus, self.runway, planner.rules, telemetry, bulk)

    async def plan(self, ids: list[UUID], link: str = "", priority: Priority = Priority.NORMAL) -> Verdict:
        return await self.consumer.handler(priority)(Batch([id_.bytes for id_ in ids], link))

    async def depth(self) -> list[int]:
        """Messages waiting for dispatchers of ios and sms."""
        return await waiting(self.bus, LANES)

    async def published(self, lane: Lane) -> list[UUID]:
        """Take what waits on a lane."""
        stopping = asyncio.Event()
        taken: list[UUID] = []

        async def take(batch: Batch) -> Verdict:
            taken.extend(UUID(bytes=id_) for id_ in batch.ids)
            stopping.set()
            return Verdict.ACK

        async with asyncio.timeout(10):
            await self.bus.consume(lane, take, stopping, max_messages=16)
        return taken

    async def deliveries(self, id_: UUID) -> list[asyncpg.Record]:
        return await self.plant.pool.fetch(
            """SELECT d.*, coalesce(w.state, d.state) AS now, w.traceparent, w.expire_at FROM ledger.delivery d
               LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id WHERE d.notification_id = $1 ORDER BY d.channel""",
            id_,
        )

    async def waits(self, ids: list[UUID]) -> int:
        return len(await planning.load(self.plant.pool, ids))


@asynccontextmanager
async def desk(
    database: Database,
    app: App,
    bus: JetStreamBus,
    telemetry: Telemetry,
    preferences: FakePreferences | None = None,
    bulk: Scavenger | None = None,
) -> AsyncIterator[Desk]:
    """A consumer under the planner's own role, with a runway that has room."""
    async with pool(f"{database.url}?role=clarion_planner", size=6, application="test") as own:
        planted = await plant(database.pool, app)
        planted.preferences = preferences or planted.preferences
        made = Desk(planted, bus, telemetry, own, bulk)
        await made.runway.refresh()
        yield made


async def test_planned_deliveries_are_published_for_their_channels(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        d.plant.preferences.reachable = {IOS, SMS}
        ids = await d.plant.accept(literal(IOS, SMS, Channel.EMAIL), literal(SMS))

        assert await d.plan(ids) is Verdict.ACK

        ios, sms, mail = await d.deliveries(ids[0])
        assert [row["now"] for row in (ios, sms, mail)] == [
            DeliveryState.ENQUEUED,
            DeliveryState.ENQUEUED,
            DeliveryState.SUPPRESSED,
        ]
        assert mail["reason"] == Reason.NO_ADDRESS
        assert await d.published(LANES[0]) == [ios["id"]]
        assert set(await d.published(LANES[1])) == {sms["id"], (await d.deliveries(ids[1]))[0]["id"]}
        assert await d.waits(ids) == 0


async def test_planning_twice_makes_nothing_new(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        ids = await d.plant.accept(literal(IOS))
        await asyncio.gather(d.plan(ids), d.plan(ids))

        assert await d.plan(ids) is Verdict.ACK

        assert len(await d.deliveries(ids[0])) == 1
        assert await d.depth() == [1, 0]
        kinds = await d.plant.pool.fetch("SELECT kind FROM ledger.event WHERE notification_id = $1", ids[0])
        assert sorted(row["kind"] for row in kinds) == [EventKind.ACCEPTED, EventKind.PLANNED]


async def test_rows_rest_where_their_lane_has_no_room(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        d.runway.close(LANES[0])
        ids = await d.plant.accept(literal(IOS, SMS))

        await d.plan(ids)

        assert [row["now"] for row in await d.deliveries(ids[0])] == [DeliveryState.READY, DeliveryState.ENQUEUED]
        assert await d.depth() == [0, 1]


async def test_app_with_resting_rows_queues_behind_them(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        d.runway.close(LANES[0])
        await d.plan(await d.plant.accept(literal(IOS)))
        await d.runway.refresh()
        ids = await d.plant.accept(literal(IOS))

        await d.plan(ids)

        assert [row["now"] for row in await d.deliveries(ids[0])] == [DeliveryState.READY]


async def test_publish_that_is_not_confirmed_gives_the_rows_back(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: object) -> None:
        raise BusUnavailable("dispatch-ios-normal")

    async with desk(database, app, bus, telemetry) as d:
        ids = await d.plant.accept(literal(IOS))
        monkeypatch.setattr(bus, "publish", refuse)

        assert await d.plan(ids) is Verdict.ACK

        assert [row["now"] for row in await d.deliveries(ids[0])] == [DeliveryState.READY]
        assert d.runway.room(LANES[0]) == 0


@pytest.mark.parametrize("away", ["preferences", "templates"])
async def test_dependency_away_leaves_everything_for_later(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, away: str
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        ids = await d.plant.accept(literal(IOS), literal(IOS))
        getattr(d.plant, away).away = True

        assert await d.plan(ids) is Verdict.LATER
        assert (await d.waits(ids), await d.deliveries(ids[0]), await d.depth()) == (2, [], [0, 0])

        getattr(d.plant, away).away = False
        assert await d.plan(ids) is Verdict.ACK
        assert await d.waits(ids) == 0


async def test_expired_notification_ends_unplanned_beside_a_live_one(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        late = await d.plant.accept(literal(IOS), ttl=timedelta(0))
        live = await d.plant.accept(literal(IOS))

        assert await d.plan(late + live) is Verdict.ACK

        states = [
            await d.plant.pool.fetchval("SELECT state FROM ledger.notification WHERE id = $1", id_)
            for id_ in late + live
        ]
        assert states == [NotificationState.EXPIRED, NotificationState.PLANNED]
        assert (await d.deliveries(late[0]), await d.waits(late)) == ([], 0)


async def test_one_plan_that_the_ledger_cannot_take_harms_no_other(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        bad = reference(app, "bad").bytes
        usual = d.plant.preferences.answer

        def answer(query: ResolveQuery) -> Recipient:
            found = usual(query)
            return found._replace(country="K\0") if query.recipient_ref == bad else found

        d.plant.preferences.answer = answer
        ids = await d.plant.accept(*(literal(IOS, recipients=["bad" if n == 3 else f"r{n}"]) for n in range(8)))

        assert await d.plan(ids) is Verdict.ACK
        [poison] = await planning.load(d.plant.pool, ids)
        assert poison.tries == 1
        for _ in range(POISON_TRIES - 1):
            assert await d.plan([poison.notification_id]) is Verdict.ACK

        [ended] = await d.deliveries(poison.notification_id)
        assert (ended["now"], ended["reason"]) == (DeliveryState.SUPPRESSED, Reason.RENDER_FAILED)
        assert len(await d.published(LANES[0])) == 7


async def test_sampled_trace_goes_on_in_the_ledger_and_unsampled_ones_cost_nothing(
    database: Database, app: App, nats_url: str, subjects: Subjects
) -> None:
    sampled, unsampled = f"00-{'a' * 32}-{'1' * 16}-01", f"00-{'b' * 32}-{'2' * 16}-00"
    exporter = InMemorySpanExporter()
    async with Tracing("test", 0.0, exporter) as tracing:
        telemetry = Telemetry(tracing, Metrics())
        async with JetStreamBus.connect(nats_url, "test", subjects, telemetry) as bus:
            await bus.ensure_topology()
            async with desk(database, app, bus, telemetry) as d:
                first = await d.plant.accept(literal(IOS), traceparent=sampled)
                second = await d.plant.accept(literal(IOS), traceparent=unsampled)
                await d.plan(first + second)
                rows = [(await d.deliveries(id_))[0] for id_ in first + second]

    spans = {span.name: span.context for span in exporter.get_finished_spans()}
    process = spans["process PLAN.normal"]
    assert set(spans) == {"process PLAN.normal", "send DISPATCH.ios"}
    assert process is not None
    onward = parse_traceparent(rows[0]["traceparent"])
    assert onward is not None
    assert (onward.trace_id, onward.span_id) == (process.trace_id, process.span_id)
    assert rows[1]["traceparent"] is None


class SlowPreferences(FakePreferences):
    """Whoever is in `held` is looked up once its event is set; `looking` gets who is being looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[bytes, asyncio.Event] = {}
        self.looking: asyncio.Queue[bytes] = asyncio.Queue()

    async def resolve(self, queries: Sequence[ResolveQuery]) -> list[Recipient]:
        for query in queries:
            self.looking.put_nowait(query.recipient_ref)
            await self.held[query.recipient_ref].wait()
        return await super().resolve(queries)


async def test_normal_one_passes_a_bulk_batch_that_is_being_planned(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    preferences = SlowPreferences()
    bulk, normal = (reference(app, recipient).bytes for recipient in ("bob", "ann"))
    preferences.held = {bulk: asyncio.Event(), normal: asyncio.Event()}
    async with desk(database, app, bus, telemetry, preferences) as d:
        first = await d.plant.accept(literal(SMS, recipients=("bob",)))
        second = await d.plant.accept(literal(SMS, recipients=("ann",)))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(d.plan(first, priority=Priority.BULK))
            assert await preferences.looking.get() == bulk
            group.create_task(d.plan(second))
            assert await preferences.looking.get() == normal
            preferences.held[bulk].set()
            preferences.held[normal].set()

        # Charged once a batch has its recipients and its content.
        charged = [charge.address_id for charge in d.plant.budgets.charged]
        assert charged == [address(ref, SMS).address_id for ref in (normal, bulk)]
        assert await d.waits(first + second) == 0


async def test_bulk_is_planned_in_steps_that_it_is_given_and_yields_to_what_others_waited(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    yielding = OneByOne()
    async with desk(database, app, bus, telemetry, bulk=yielding) as d:
        ids = await d.plant.accept(literal(SMS), literal(SMS), literal(SMS))
        await d.plan(ids[:2], priority=Priority.BULK)
        assert yielding.asked == [CHUNK] * 2
        assert yielding.waits == []

        await d.plan(ids[2:])

        assert len(yielding.asked) == 2
        [waited] = yielding.waits
        assert -1 < waited < 60
        assert await d.waits(ids) == 0


async def test_rows_it_gives_to_the_pump_are_found_by_it(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry) as d:
        d.runway.close(LANES[0])
        await d.plan(ids := await d.plant.accept(literal(IOS)))

        moved = await flow.pump(d.plant.pool, LANES[0], 500)

        assert (await d.deliveries(ids[0]))[0]["id"] in moved.ids
