"""Broadcasts become children on a real ledger and bus: each recipient one, whatever fails or runs twice."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.recipient.v1.recipient_service_pb2 import Audience
from clarion.types.v1.content_pb2 import Content as ProtoContent
from clarion.types.v1.content_pb2 import PushContent
from clarion.types.v1.time_pb2 import SendWindow
from clarion_kit.bus import JetStreamBus
from clarion_kit.errors import DomainError, Unavailable, unavailable
from clarion_kit.subjects import Lane, Stream
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import BroadcastState, Channel, DeliveryState, Priority, Reason
from clarion_ledger import broadcasts
from clarion_ledger.audit import audit
from clarion_ledger.broadcasts import Broadcast, NewBroadcast, child_id
from clarion_ledger.db import Pool, pool
from clarion_ledger.runway import Runway
from clarion_planner import broadcast_turns
from clarion_planner.broadcast import CHUNK, AudiencePage, Walk, chunk_size, notification_of
from clarion_planner.broadcast_turns import BroadcastTurns
from clarion_planner.consumer import PlanConsumer
from clarion_planner.domain import Recipient
from clarion_planner.ports import ResolveQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, plant

LANES = [Lane(Stream.DISPATCH, Priority.BULK, channel) for channel in Channel]
PUSH = ProtoContent(push=PushContent(title="Sale"))


def refs(count: int) -> list[UUID]:
    return sorted(UUID(bytes=hashlib.sha256(b"%d" % number).digest()[:16]) for number in range(count))


@dataclass(slots=True)
class FakeAudiences:
    """Everybody is in `members`."""

    members: Sequence[UUID]
    away: bool = False
    asked: list[tuple[Audience, UUID, int, datetime, bool]] = field(default_factory=list)

    async def page(
        self, app_id: int, audience: Audience, after: UUID, size: int, as_of: datetime, *, estimate: bool
    ) -> AudiencePage:
        if self.away:
            raise unavailable("preference")
        self.asked.append((audience, after, size, as_of, estimate))
        behind = [ref for ref in self.members if ref > after]
        return AudiencePage(behind[:size], len(behind) < size, len(self.members) if estimate else None)


@dataclass(slots=True)
class Desk:
    """A planner's turns with what a test looks at."""

    plant: Plant
    own: Pool
    runway: Runway
    audiences: FakeAudiences
    bus: JetStreamBus
    telemetry: Telemetry

    def turns(self) -> BroadcastTurns:
        rules = replace(self.plant, pool=self.own).rules
        consumer = PlanConsumer(self.own, self.bus, self.runway, rules, self.telemetry)
        return BroadcastTurns(
            self.own, self.plant.app.keys, self.runway, rules, consumer, self.audiences, self.telemetry
        )

    async def start(self, request: StartBroadcastRequest) -> UUID:
        """As the scheduler does."""
        event_id = uuid4().hex
        sealer = await self.plant.app.keys.sealer(self.plant.app.app_id)
        started = await broadcasts.start(
            self.plant.pool,
            NewBroadcast(
                app_id=self.plant.app.app_id,
                event_id=event_id,
                payload_hash=bytes(32),
                category_id=self.plant.app.categories["marketing"],
                priority=Priority.BULK,
                deliver_at=None,
                expire_at=None,
                time_to_live=timedelta(hours=48),
                pace=request.pace_per_second,
                payload=sealer.seal("broadcast", event_id.encode(), "payload", request.SerializeToString()),
            ),
        )
        return started.broadcast_id

    async def seen(self, id_: UUID) -> Broadcast:
        found = await broadcasts.get(self.plant.pool, self.plant.app.app_id, id_)
        assert found is not None
        return found

    async def children(self, id_: UUID) -> list[UUID]:
        rows = await self.plant.pool.fetch(
            "SELECT id FROM ledger.notification WHERE broadcast_id = $1 ORDER BY id", id_
        )
        return [row["id"] for row in rows]

    async def whole(self, id_: UUID) -> bool:
        """Every member has one child, all is counted, and the audit agrees."""
        found = await self.seen(id_)
        expected = sorted(child_id(id_, ref) for ref in self.audiences.members)
        audited = await audit(self.plant.pool, since=datetime.now(UTC) - timedelta(hours=1), app_id=found.app_id)
        return (
            found.state is BroadcastState.PLANNED
            and await self.children(id_) == expected
            and found.planned == len(expected)
            and not audited.findings
        )

    async def go_on_now(self) -> None:
        await self.plant.pool.execute("UPDATE ledger.broadcast SET next_at = now()")


@asynccontextmanager
async def desk(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, members: Sequence[UUID]
) -> AsyncIterator[Desk]:
    """Turns under the planner's own role, with a runway that has room."""
    await database.pool.execute("DELETE FROM ledger.broadcast")
    async with pool(f"{database.url}?role=clarion_planner", size=6, application="test") as own:
        runway = Runway(own, bus, LANES)
        await runway.refresh()
        made = await plant(database.pool, app)
        made.preferences.reachable = {Channel.IOS}
        yield Desk(made, own, runway, FakeAudiences(members), bus, telemetry)


async def test_every_member_of_a_topic_gets_one_child_and_its_delivery(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(600)) as d:
        id_ = await d.start(StartBroadcastRequest(topic="news", content=PUSH))

        await d.turns().round()

        found = await d.seen(id_)
        assert await d.whole(id_)
        assert (found.deliveries, found.suppressed, found.total) == (600, 0, 600)
        (audience, _, _, as_of, estimate), *_ = d.audiences.asked  # a round of several turns asks again
        assert (audience.topic, as_of, estimate) == ("news", found.deliver_at, True)
        states = await d.plant.pool.fetch(
            "SELECT DISTINCT state FROM ledger.delivery_work WHERE app_id = $1", app.app_id
        )
        assert [row["state"] for row in states] == [DeliveryState.ENQUEUED]


async def test_topic_with_no_one_is_done_at_once(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, []) as d:
        id_ = await d.start(StartBroadcastRequest(topic="nobody", content=PUSH))

        await d.turns().round()

        assert await d.whole(id_)
        assert (await d.seen(id_)).total == 0


async def test_template_is_rendered_once_for_each_locale_of_a_chunk(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(30)) as d:
        id_ = await d.start(StartBroadcastRequest(everybody=True, template="sale"))

        await d.turns().round()

        assert await d.whole(id_)
        assert len(d.plant.templates.asked) == 1


async def test_no_room_on_a_lane_leaves_recipients_unplanned_until_there_is_some(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(40)) as d:
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))
        d.runway.close(LANES[0])

        await d.turns().round()
        unplanned = await d.children(id_)
        await d.runway.refresh()
        await d.turns().round()

        assert unplanned == []
        assert await d.whole(id_)


async def test_preference_service_away_postpones_and_loses_nothing(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(40)) as d:
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))
        d.audiences.away = True
        with pytest.raises(DomainError):
            await d.turns().round()
        d.audiences.away, d.plant.preferences.away = False, True
        with pytest.raises(DomainError):
            await d.turns().round()
        d.plant.preferences.away = False

        await d.turns().round()

        assert await d.whole(id_)


async def test_two_planners_at_once_plan_every_recipient_once(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast_turns, "TURN_SECONDS", 0.0)
    async with desk(database, app, bus, telemetry, refs(4 * CHUNK + 3)) as d:
        ids = [await d.start(StartBroadcastRequest(everybody=True, content=PUSH)) for _ in range(2)]

        await asyncio.gather(d.turns().round(), d.turns().round())

        assert [await d.whole(id_) for id_ in ids] == [True, True]


async def test_broadcasts_take_turns(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast_turns, "TURN_SECONDS", 0.0)
    async with desk(database, app, bus, telemetry, refs(2 * CHUNK)) as d:
        ids = [await d.start(StartBroadcastRequest(everybody=True, content=PUSH)) for _ in range(3)]
        turns = d.turns()

        for _ in ids:
            turn = await broadcasts.claim(d.own)
            assert turn is not None
            await turns.serve(turn)

        assert [(await d.seen(id_)).planned for id_ in ids] == [CHUNK] * 3


async def test_pace_bounds_what_is_planned(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(100)) as d:
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH, pace_per_second=10))

        await d.turns().round()

        assert 5 <= (await d.seen(id_)).planned <= 70  # up to a second's share at once, and a round lasts five seconds


async def test_recipient_that_cannot_be_planned_ends_with_a_reason_and_holds_up_nobody_for_long(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    members = refs(20)
    poison = members[7].bytes

    def answer(query: ResolveQuery) -> Recipient:
        if query.recipient_ref == poison:
            raise RuntimeError("poison")
        return d.plant.preferences._usual(query)

    async with desk(database, app, bus, telemetry, members) as d:
        d.plant.preferences.answer = answer
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))

        for _ in range(broadcasts.MAX_TRIES):
            await d.turns().round()
            await d.go_on_now()

        reason = await d.plant.pool.fetchval(
            "SELECT reason FROM ledger.delivery WHERE notification_id = $1", child_id(id_, members[7])
        )
        assert await d.whole(id_)
        assert reason == Reason.RENDER_FAILED
        assert (await d.seen(id_)).deliveries == 19


async def test_broadcast_that_cannot_be_read_rests_and_stops_no_other(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(10)) as d:
        broken = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))
        await d.plant.pool.execute("UPDATE ledger.broadcast SET payload = 'nonsense' WHERE broadcast_id = $1", broken)
        good = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))

        await d.turns().round()

        assert await d.whole(good)
        assert (await d.seen(broken)).planned == 0


async def test_ledger_that_goes_away_in_the_middle_loses_nothing(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    async with desk(database, app, bus, telemetry, refs(3 * CHUNK)) as d:
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH))

        def cut(query: ResolveQuery) -> Recipient:
            if query.recipient_ref == d.audiences.members[2 * CHUNK].bytes:
                raise Unavailable("ledger")
            return d.plant.preferences._usual(query)

        d.plant.preferences.answer = cut
        with pytest.raises(Unavailable):
            await d.turns().round()
        between = (await d.seen(id_)).planned
        d.plant.preferences.answer = d.plant.preferences._usual
        await d.turns().round()

        assert between in (CHUNK, 2 * CHUNK)
        assert await d.whole(id_)


async def test_local_time_defers_each_child_to_its_own_moment(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    wall = (datetime.now(UTC) + timedelta(hours=13)).replace(tzinfo=None, second=0, microsecond=0)
    members = refs(2)
    zones = dict(zip((ref.bytes for ref in members), ("Asia/Seoul", "UTC"), strict=True))

    def answer(query: ResolveQuery) -> Recipient:
        return d.plant.preferences._usual(query)._replace(time_zone=zones[query.recipient_ref])

    async with desk(database, app, bus, telemetry, members) as d:
        d.plant.preferences.answer = answer
        id_ = await d.start(StartBroadcastRequest(everybody=True, content=PUSH, deliver_at_local=wall.isoformat()[:16]))

        await d.turns().round()

        rows = await d.plant.pool.fetch(
            "SELECT notification_id, state, due_at FROM ledger.delivery_work WHERE app_id = $1", app.app_id
        )
        utc = wall.replace(tzinfo=UTC)
        due = {row["notification_id"]: row["due_at"] for row in rows}
        assert {row["state"] for row in rows} == {DeliveryState.DEFERRED}
        assert due == {child_id(id_, members[0]): utc - timedelta(hours=9), child_id(id_, members[1]): utc}


async def test_closed_window_defers_to_its_next_opening(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    opens = (datetime.now(UTC) + timedelta(hours=2)).replace(second=0, microsecond=0)
    window = SendWindow(opens=f"{opens:%H:%M}", closes=f"{opens + timedelta(hours=1):%H:%M}")
    async with desk(database, app, bus, telemetry, refs(1)) as d:
        await d.start(StartBroadcastRequest(everybody=True, content=PUSH, send_window=window))

        await d.turns().round()

        due = await d.plant.pool.fetchval("SELECT due_at FROM ledger.delivery_work WHERE app_id = $1", app.app_id)
        assert due == opens


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(("pace", "size"), [(0, CHUNK), (1, 1), (10, 5), (100_000, CHUNK)])
def test_chunk_with_a_pace_is_at_most_half_a_second_of_it(pace: int, size: int) -> None:
    assert chunk_size(pace) == size


def test_child_is_what_its_broadcast_says() -> None:
    request = StartBroadcastRequest(
        category="marketing",
        template="sale",
        template_version=3,
        locale="ko-KR",
        collapse_key="k",
        deliver_at_local="2026-06-01T09:00",
    )
    request.data.fields["percent"].number_value = 20

    child = notification_of(request)

    assert (child.template.name, child.template.version, child.template.locale) == ("sale", 3, "ko-KR")
    assert child.template.data.fields["percent"].number_value == 20
    assert (child.category, child.collapse_key, child.deliver_at_local) == ("marketing", "k", "2026-06-01T09:00")
    assert list(child.recipient_ids) == []


async def test_walk_asks_for_a_page_only_when_the_last_one_is_used_up(
    database: Database, app: App, bus: JetStreamBus, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion_planner.broadcast.PAGE", 4)
    members = refs(9)
    async with desk(database, app, bus, telemetry, members) as d:
        await d.start(StartBroadcastRequest(everybody=True, content=PUSH))
        turn = await broadcasts.claim(d.own)
        assert turn is not None
        walk = Walk(d.audiences, turn, Audience())
        cursor, pages = turn.cursor, []
        for _ in range(5):
            page = await walk.next(cursor, 2)
            pages.append(list(page.refs))
            cursor = page.refs[-1]

        assert pages == [members[0:2], members[2:4], members[4:6], members[6:8], members[8:]]
        assert page.last
        assert [asked[1] for asked in d.audiences.asked] == [turn.cursor, members[3], members[7]]
        assert (walk.total, [asked[4] for asked in d.audiences.asked]) == (9, [True, False, False])
