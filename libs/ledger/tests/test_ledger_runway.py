"""The runway: fresh rows go straight to the bus while their lane has room and nothing older of their app rests."""

from collections import Counter

from clarion_kit.bus import JetStreamBus, LaneDepth
from clarion_kit.subjects import Lane, Stream
from clarion_kit.vocabulary import Priority
from clarion_ledger.accept import accept
from clarion_ledger.runway import LEAST_ROOM, Runway
from clarion_testkit.plugin import App, Database

from .ledger_samples import DISPATCH, PLAN, item, planned


async def test_lane_that_was_never_seen_has_no_room(database: Database, bus: JetStreamBus) -> None:
    runway = Runway(database.pool, bus, [PLAN])

    assert not runway.open_for(PLAN, 1)


async def test_empty_lane_has_room(database: Database, bus: JetStreamBus) -> None:
    runway = Runway(database.pool, bus, [PLAN])

    await runway.refresh()

    assert (runway.room(PLAN), runway.open_for(PLAN, 1)) == (LEAST_ROOM, True)


async def test_messages_on_the_lane_take_its_room(database: Database, bus: JetStreamBus) -> None:
    runway = Runway(database.pool, bus, [PLAN])
    await bus.publish(PLAN, [bytes([n]) * 16 for n in range(200)])

    await runway.refresh()

    assert runway.room(PLAN) == LEAST_ROOM - 2


class CountingBus:
    """Says that every lane is empty, and which were looked at."""

    def __init__(self) -> None:
        self.looked: list[Lane] = []

    async def depth(self, lane: Lane) -> LaneDepth:
        self.looked.append(lane)
        return LaneDepth(0, 0, 0)


async def test_lanes_at_rest_are_looked_at_in_turn_and_one_that_is_asked_for_at_once(database: Database) -> None:
    lanes = [Lane(Stream.PLAN, priority) for priority in Priority]
    bus = CountingBus()
    runway = Runway(database.pool, bus, lanes)
    await runway.refresh()
    bus.looked.clear()

    for _ in lanes:
        await runway.refresh()
    at_rest = list(bus.looked)
    bus.looked.clear()
    runway.room(lanes[0])
    runway.close(lanes[1])
    await runway.refresh()

    assert Counter(at_rest) == Counter(lanes)
    assert set(bus.looked) >= {lanes[0], lanes[1]}


async def test_app_with_older_resting_rows_queues_behind_them(database: Database, bus: JetStreamBus, app: App) -> None:
    runway = Runway(database.pool, bus, [PLAN, DISPATCH])
    await accept(database.pool, [item(app, "e1", enqueue=False)])
    await planned(database.pool, app, enqueue=False)

    await runway.refresh()

    for lane in (PLAN, DISPATCH):
        assert not runway.open_for(lane, app.app_id)
        assert runway.open_for(lane, app.app_id + 1)


async def test_unconfirmed_publish_closes_the_lane_until_the_next_look(database: Database, bus: JetStreamBus) -> None:
    runway = Runway(database.pool, bus, [PLAN])
    await runway.refresh()

    runway.close(PLAN)
    closed = runway.open_for(PLAN, 1)
    await runway.refresh()

    assert (closed, runway.open_for(PLAN, 1)) == (False, True)


async def test_lane_of_a_bus_that_is_away_has_no_room(database: Database, bus: JetStreamBus) -> None:
    runway = Runway(database.pool, bus, [PLAN])
    await runway.refresh()
    await bus._client.close()

    await runway.refresh()

    assert not runway.open_for(PLAN, 1)
