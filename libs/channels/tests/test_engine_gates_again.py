"""What rested passes the gates again before its call: wishes, quiet hours, caps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category
from clarion_channels.engine.wishes import Again
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason
from clarion_ledger import admin
from clarion_ledger.caps import CapAnswer, CapQuery
from clarion_testkit.plugin import App, Database

from .engine_samples import Bench, bench

SUPPRESS, DEFER = category_pb.GATE_ACTION_SUPPRESS, category_pb.GATE_ACTION_DEFER


class ScriptedCaps:
    """Implements `Caps`: says of everything what a test says."""

    def __init__(self) -> None:
        self.answer = CapAnswer(True)
        self.asked: list[CapQuery] = []

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        self.asked += queries
        return [self.answer] * len(queries)

    async def peek(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        return [self.answer] * len(queries)


async def category(b: Bench, **changes: object) -> None:
    """The category of every delivery of the bench, changed."""
    cap = category_pb.Cap(limit=3)
    cap.window.FromTimedelta(timedelta(days=1))
    changed = Category(name="transactional", caps=[cap], **changes)  # type: ignore[arg-type]
    await admin.put_category(b.pool, b.app.app_id, changed)
    await b.config.refresh()


async def rested(b: Bench, count: int = 1) -> list[UUID]:
    """Deliveries whose time came."""
    ids = await b.deliveries(await b.lane(), count)
    await b.pool.execute(
        "UPDATE ledger.delivery_work SET ask_again_at = now() - interval '1 second' WHERE delivery_id = ANY ($1)", ids
    )
    return ids


async def due_in(b: Bench, id_: UUID) -> timedelta:
    left = await b.pool.fetchval("SELECT due_at - now() FROM ledger.delivery_work WHERE delivery_id = $1", id_)
    assert isinstance(left, timedelta)
    return left


def quiet(b: Bench, id_: UUID, lasts: timedelta) -> None:
    b.wishes.answers[id_] = Again(None, b"", quiet_until=datetime.now(UTC) + lasts)


async def test_what_rested_asks_wishes_and_caps_and_goes(database: Database, app: App, telemetry: Telemetry) -> None:
    caps = ScriptedCaps()
    async with bench(database, app, telemetry, caps=caps) as b:
        await category(b)
        [id_] = await rested(b)

        await b.send([id_])

        assert (await b.row(id_))["now"] == DeliveryState.SENT
        assert b.wishes.asked == [id_]
        assert [(query.delivery_id, query.channel, len(query.caps)) for query in caps.asked] == [
            (id_, Channel.ANDROID, 1)
        ]
        assert await b.unaccounted() == 0


async def test_what_was_planned_to_go_at_once_asks_no_caps(database: Database, app: App, telemetry: Telemetry) -> None:
    caps = ScriptedCaps()
    async with bench(database, app, telemetry, caps=caps) as b:
        await category(b)
        [id_] = await b.deliveries(await b.lane(), 1)

        await b.send([id_])

        assert (b.wishes.asked, caps.asked) == ([], [])


async def test_quiet_hours_at_the_send_defer_it_again(database: Database, app: App, telemetry: Telemetry) -> None:
    caps = ScriptedCaps()
    async with bench(database, app, telemetry, caps=caps) as b:
        await category(b, quiet_hours_action=DEFER)
        [id_] = await rested(b)
        quiet(b, id_, timedelta(minutes=20))

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["tried"]) == (DeliveryState.DEFERRED, 0)
        assert timedelta(minutes=19) < await due_in(b, id_) <= timedelta(minutes=21)
        event = await b.pool.fetchrow(
            "SELECT reason, code FROM ledger.event WHERE delivery_id = $1 AND kind = $2", id_, EventKind.DEFERRED
        )
        assert event is not None
        assert (event["reason"], event["code"].startswith("quiet until")) == (Reason.QUIET_HOURS, True)
        assert (b.factory.sent, caps.asked) == ([], [])
        assert b.lanes.all()[0].in_flight == 0
        assert await b.unaccounted() == 0


@pytest.mark.parametrize(
    ("action", "lasts", "reason"),
    [
        (SUPPRESS, timedelta(minutes=20), Reason.QUIET_HOURS),
        (DEFER, timedelta(hours=9), Reason.DEFERRED_TOO_LONG),
    ],
)
async def test_quiet_hours_at_the_send_may_end_it(
    database: Database,
    app: App,
    telemetry: Telemetry,
    action: "category_pb.GateAction.ValueType",
    lasts: timedelta,
    reason: Reason,
) -> None:
    async with bench(database, app, telemetry) as b:
        await category(b, quiet_hours_action=action)
        [id_] = await rested(b)
        quiet(b, id_, lasts)

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.SUPPRESSED, reason)
        assert await b.unaccounted() == 0


async def test_cap_at_the_send_defers_it_until_there_is_room(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    caps = ScriptedCaps()
    caps.answer = CapAnswer(False, rule="3 a day", retry_after=timedelta(minutes=10))
    async with bench(database, app, telemetry, caps=caps) as b:
        await category(b, cap_action=DEFER)
        [id_] = await rested(b)

        await b.send([id_])

        assert (await b.row(id_))["now"] == DeliveryState.DEFERRED
        assert timedelta(minutes=9) < await due_in(b, id_) <= timedelta(minutes=11)
        assert b.factory.sent == []


async def test_cap_at_the_send_ends_it_where_the_category_drops(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    caps = ScriptedCaps()
    caps.answer = CapAnswer(False, rule="3 a day", retry_after=timedelta(minutes=10))
    async with bench(database, app, telemetry, caps=caps) as b:
        await category(b)
        [id_] = await rested(b)

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.SUPPRESSED, Reason.CAPPED)


async def test_app_that_was_switched_off_meanwhile_sends_nothing_that_rested(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        [id_] = await rested(b)
        await b.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", app.app_id)
        await b.config.refresh()

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.SUPPRESSED, Reason.APP_DISABLED)


async def test_while_nobody_can_say_what_rested_is_not_sent(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        [id_] = await rested(b)
        b.wishes.away = True

        await b.send([id_])

        assert (await b.row(id_))["now"] == DeliveryState.RETRY_WAIT
        assert b.factory.sent == []


async def test_test_send_passes_quiet_hours_and_is_asked_for_caps_of_the_app_alone(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    caps = ScriptedCaps()
    async with bench(database, app, telemetry, caps=caps) as b:
        whole_app = category_pb.Cap(limit=9, scope=category_pb.CAP_SCOPE_APP)
        whole_app.window.FromTimedelta(timedelta(days=1))
        own = category_pb.Cap(limit=3)
        own.window.FromTimedelta(timedelta(days=1))
        changed = Category(name="transactional", caps=[own, whole_app])
        await admin.put_category(b.pool, b.app.app_id, changed)
        await b.config.refresh()
        [id_] = await rested(b)
        address = await b.pool.fetchval("SELECT address FROM ledger.delivery_body WHERE id = $1", id_)
        b.wishes.answers[id_] = Again(None, address, quiet_until=datetime.now(UTC) + timedelta(minutes=20))
        await b.pool.execute(
            """INSERT INTO ledger.test_send (notification_id, app_id)
               SELECT notification_id, app_id FROM ledger.delivery_work WHERE delivery_id = $1""",
            id_,
        )

        await b.send([id_])

        assert (await b.row(id_))["now"] == DeliveryState.SENT
        assert [[cap.whole_app for cap in query.caps] for query in caps.asked] == [[True]]
