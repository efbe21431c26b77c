"""The feed as followers see it: every change once, in order, whoever reads when, however little is kept."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_tracker.changes import Change, Wanted
from clarion_tracker.feed import Feed, Follower
from clarion_tracker.positions import Position

from .tracker_feed_samples import APP, OTHER_APP, START, FakeEvents, change, feed_of

BEGINNING = Position(0, 0, START)


async def to_the_end(follower: Follower, position: Position) -> tuple[list[Change], Position]:
    found: list[Change] = []
    while True:
        page = await follower.after(position)
        found += page.changes
        position = page.position
        if not page.more:
            return found, position


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(1, 3), st.sampled_from([APP, OTHER_APP])),
        st.tuples(st.just("commit"), st.integers(0, 20)),
        st.tuples(st.just("poll")),
        st.tuples(st.just("read"), st.integers(0, 1)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 8))
def test_followers_see_every_change_once_and_in_order_however_transactions_end(
    steps: Sequence[tuple[object, ...]], kept: int
) -> None:
    """Transactions begin in the order of their ids and end in any; what began before one that is open is not readable."""

    async def run() -> None:
        events = FakeEvents()
        feed = feed_of(events, kept=kept)
        running: dict[int, list[Change]] = {}
        next_xid = 1
        async with feed.follow(APP) as one, feed.follow(APP) as other:
            followers = [one, other]
            seen: list[list[Change]] = [[], []]
            positions = [BEGINNING, BEGINNING]
            for step in steps:
                if step[0] == "begin":
                    running[next_xid] = [
                        change(next_xid, seq + 1, int(str(step[2]))) for seq in range(int(str(step[1])))
                    ]
                    next_xid += 1
                elif step[0] == "commit" and running:
                    xid = sorted(running)[int(str(step[1])) % len(running)]
                    events.commit(*running.pop(xid), horizon=min([next_xid, *running]))
                elif step[0] == "poll":
                    await feed.poll()
                elif step[0] == "read":
                    number = int(str(step[1]))
                    found, positions[number] = await to_the_end(followers[number], positions[number])
                    seen[number] += found
            for xid in sorted(running):
                events.commit(*running[xid], horizon=next_xid)
            await feed.poll()
            expected = [found for found in events.committed if found.app_id == APP]
            for number in (0, 1):
                found, _ = await to_the_end(followers[number], positions[number])
                assert seen[number] + found == expected

    asyncio.run(run())


async def test_nobody_follows_nothing_is_read() -> None:
    events = FakeEvents([change(1)])
    feed = feed_of(events)

    await feed.poll()

    assert events.pages == 0


async def test_one_read_serves_all_followers_of_all_apps() -> None:
    events = FakeEvents()
    feed = feed_of(events)
    async with feed.follow(APP) as one, feed.follow(APP) as two, feed.follow(OTHER_APP) as three:
        await feed.poll()
        events.commit(change(5), change(6, app_id=OTHER_APP))
        events.pages = 0

        await feed.poll()
        pages = [await follower.after(Position(0, 0, START)) for follower in (one, two, three)]

    assert events.pages == 1
    assert [[found.xid for found in page.changes] for page in pages] == [[5], [5], [6]]


async def test_follower_is_woken_by_a_change_of_its_app_alone() -> None:
    events = FakeEvents()
    feed = feed_of(events)
    async with feed.follow(APP) as mine, feed.follow(OTHER_APP) as others:
        await feed.poll()
        positions = [(await follower.after(Position(0, 0, START))).position for follower in (mine, others)]
        waiting = asyncio.create_task(mine.moved(5))
        events.commit(change(5))
        await feed.poll()

        assert await waiting
        assert not await others.moved(0.01)
        assert [found.xid for found in (await mine.after(positions[0])).changes] == [5]


async def test_what_came_between_reading_and_waiting_wakes_at_once() -> None:
    events = FakeEvents()
    feed = feed_of(events)
    async with feed.follow(APP) as follower:
        await feed.poll()
        await follower.after(Position(0, 0, START))
        events.commit(change(5))
        await feed.poll()

        assert await follower.moved(0)


async def test_place_moves_on_while_nothing_of_the_app_happens() -> None:
    events = FakeEvents()
    feed = feed_of(events)
    async with feed.follow(APP) as follower:
        await feed.poll()
        events.commit(change(9, app_id=OTHER_APP))
        events.now = START + timedelta(minutes=1)
        await feed.poll()

        page = await follower.after(Position(0, 0, START))

    assert (page.changes, page.position.xid, page.position.at) == ([], 9, events.now)


async def test_memory_is_bounded_and_who_is_behind_reads_the_ledger() -> None:
    events = FakeEvents()
    feed = feed_of(events, kept=10)
    async with feed.follow(APP) as follower:
        await feed.poll()
        events.commit(*(change(5, seq) for seq in range(1, 101)))
        await feed.poll()
        events.pages = 0

        found, _ = await to_the_end(follower, BEGINNING)
        late, _ = await to_the_end(follower, found[-3].position)

    assert [one.seq for one in found] == list(range(1, 101))
    assert events.pages == 1
    assert [one.seq for one in late] == [99, 100]


async def test_looks_are_dated_so_that_a_feed_that_stands_still_is_seen() -> None:
    metrics = Metrics()
    feed = Feed(FakeEvents(), metrics.gauge(names.FEED_LOOKED))
    async with feed.follow(APP):
        await feed.poll()

    assert (metrics.registry.get_sample_value(names.FEED_LOOKED.name) or 0) > 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [1, 2, 3]),
        (Wanted(categories=frozenset({"news"})), [2]),
        (Wanted(recipient_ref=change(1).recipient_ref), [1, 2]),
        (Wanted(notification_ids=frozenset({change(3).notification_id})), [3]),
        (Wanted(categories=frozenset({"news"}), notification_ids=frozenset({change(3).notification_id})), []),
    ],
)
def test_filters_let_through_what_all_of_them_name(wanted: Wanted, expected: list[int]) -> None:
    changes = [change(1), change(2, category="news"), change(3, delivery_id=None, recipient_ref=None, channel=None)]

    assert [found.xid for found in wanted.of(changes)] == expected
