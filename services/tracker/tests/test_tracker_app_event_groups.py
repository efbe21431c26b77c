"""Calls with app events that share a COMMIT: each is told of its own, and none is told too early."""

import asyncio
from collections.abc import Collection, Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import OpenLink
from clarion_kit.vocabulary import Channel
from clarion_tracker.activity import AppEvent, EventIdentity, Kind
from clarion_tracker.app_event_groups import MOST_EVENTS, AppEventGroups

from .tracker_samples import Away


def event(number: int, app_id: int = 1) -> AppEvent:
    return AppEvent(OpenLink(app_id, UUID(int=1), 2, 3, "", Channel.IOS), Kind.RECEIVED, f"e{number}")


class Rows:
    """Commits when it is told to; `commits` has what each one holds."""

    def __init__(self, *, held: bool = False) -> None:
        self.commits: list[list[AppEvent]] = []
        self.kept: dict[EventIdentity, AppEvent] = {}
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.faults: list[Exception] = []
        if not held:
            self.go.set()

    async def store(self, events: Sequence[AppEvent]) -> Collection[EventIdentity]:
        self.commits.append(list(events))
        self.begun.set()
        await self.go.wait()
        if self.faults:
            raise self.faults.pop(0)
        new = {one.identity for one in events} - self.kept.keys()
        for one in events:
            self.kept.setdefault(one.identity, one)
        return new


async def waiting(group: asyncio.TaskGroup, groups: AppEventGroups, *calls: list[AppEvent]) -> list[asyncio.Task[int]]:
    """Calls that came one after the other."""
    tasks = [group.create_task(groups.store(call)) for call in calls]
    await asyncio.sleep(0)  # each runs up to its turn
    return tasks


async def test_call_alone_is_committed_at_once() -> None:
    rows = Rows()
    groups = AppEventGroups(rows)

    assert await groups.store([event(1), event(2)]) == 2
    assert await groups.store([event(2), event(3)]) == 1
    assert len(rows.commits) == 2
    assert groups._groups == {}


async def test_calls_that_come_meanwhile_share_the_next_commit_and_are_told_of_their_own() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        [first] = await waiting(group, groups, [event(1)])
        await rows.begun.wait()
        others = await waiting(group, groups, [event(2), event(3)], [event(3)], [event(1), event(4)])
        assert not first.done()
        rows.go.set()

    assert [len(commit) for commit in rows.commits] == [1, 5]
    assert [first.result(), *(task.result() for task in others)] == [1, 2, 0, 1]


async def test_nobody_is_told_before_the_commit() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(group, groups, [event(1)], [event(2)])
        await rows.begun.wait()
        assert not any(task.done() for task in tasks)
        rows.go.set()


async def test_commit_takes_only_so_many_events() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        await waiting(group, groups, [event(0)])
        await rows.begun.wait()
        calls = [[event(100 * call + number) for number in range(100)] for call in range(1, 14)]
        await waiting(group, groups, *calls)
        rows.go.set()

    assert [len(commit) for commit in rows.commits] == [1, MOST_EVENTS, 300]
    assert len(rows.kept) == 1_301


async def test_fault_is_told_to_all_who_shared_it_and_to_no_one_later() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    rows.faults = [Away(), Away()]
    async with asyncio.TaskGroup() as group:
        gathered = group.create_task(
            asyncio.wait_for(
                asyncio.gather(*(groups.store([event(n)]) for n in range(4)), return_exceptions=True), timeout=30
            )
        )
        await rows.begun.wait()
        rows.go.set()

    assert [type(answer) for answer in gathered.result()] == [Away] * 4
    assert rows.kept == {}
    assert await groups.store([event(9)]) == 1


async def test_apps_share_no_commit() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        await waiting(group, groups, [event(1, 1)], [event(1, 2)], [event(2, 1), event(2, 2)])
        await rows.begun.wait()
        assert len(rows.commits) == 3
        rows.go.set()


async def test_caller_that_gives_up_takes_nobody_with_it() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        [leader] = await waiting(group, groups, [event(1)])
        await rows.begun.wait()
        follower, gone, last = await waiting(group, groups, [event(2)], [event(3)], [event(4)])
        gone.cancel()
        leader.cancel()
        rows.go.set()

    assert (follower.result(), last.result()) == (1, 1)
    assert set(rows.kept) == {event(2).identity, event(4).identity}
    assert groups._groups == {}


async def test_leader_that_gives_up_amid_a_shared_commit_leaves_the_others_their_turns() -> None:
    rows = Rows(held=True)
    groups = AppEventGroups(rows)
    async with asyncio.TaskGroup() as group:
        [first] = await waiting(group, groups, [event(1)])
        await rows.begun.wait()
        leader, follower = await waiting(group, groups, [event(2)], [event(3)])
        rows.begun.clear()
        rows.go.set()
        await first
        rows.go.clear()
        await rows.begun.wait()
        leader.cancel()
        rows.go.set()

    assert first.result() == follower.result() == 1
    assert event(3).identity in rows.kept


async def test_defect_of_one_call_is_not_every_call_s() -> None:
    class Picky(Rows):
        async def store(self, events: Sequence[AppEvent]) -> Collection[EventIdentity]:
            found = await super().store(events)
            if event(2) in events:
                raise RuntimeError("a defect of ours")
            return found

    groups = AppEventGroups(Picky())

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(groups.store([event(n)]) for n in range(1, 5)), return_exceptions=True)

    assert sum(isinstance(answer, RuntimeError) for answer in answers) == 1


@pytest.mark.filterwarnings("error")
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), min_size=1, max_size=12))
async def test_every_event_is_new_to_exactly_one_caller(numbers: list[list[int]]) -> None:
    rows = Rows()
    groups = AppEventGroups(rows)

    told = await asyncio.gather(*(groups.store([event(n) for n in call]) for call in numbers))

    assert sum(told) == len(rows.kept) == len({n for call in numbers for n in call})
