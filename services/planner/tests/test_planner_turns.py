"""Who lets whom pass: decided by events, never by time."""

import asyncio
from datetime import timedelta

import pytest

from clarion_kit.vocabulary import Priority
from clarion_planner.turns import Turns

URGENT, NORMAL, BULK = Priority.URGENT, Priority.NORMAL, Priority.BULK
LONG = timedelta(hours=1)
LIMIT_SECONDS = 10.0


class Chunk:
    """A chunk of two pieces; `order` gets its name with each piece, and the second waits for `go`."""

    def __init__(self, turns: Turns, priority: Priority, name: str, order: list[str]) -> None:
        self.go = asyncio.Event()
        self.began = asyncio.Event()
        self._turns, self._priority, self._name, self._order = turns, priority, name, order

    async def run(self) -> None:
        async with self._turns.turn(self._priority) as pause:
            self._order.append(f"{self._name} 1")
            self.began.set()
            await self.go.wait()
            await pause()
            self._order.append(f"{self._name} 2")


@pytest.mark.parametrize(("first", "then"), [(BULK, NORMAL), (BULK, URGENT), (NORMAL, URGENT)])
async def test_what_is_more_urgent_ends_before_the_next_piece(first: Priority, then: Priority) -> None:
    turns, order = Turns(LONG), list[str]()
    earlier, later = Chunk(turns, first, "earlier", order), Chunk(turns, then, "later", order)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(earlier.run())
        await earlier.began.wait()
        group.create_task(later.run())
        await later.began.wait()
        earlier.go.set()
        later.go.set()

    assert order == ["earlier 1", "later 1", "later 2", "earlier 2"]


@pytest.mark.parametrize(("first", "then"), [(NORMAL, BULK), (URGENT, NORMAL), (URGENT, BULK)])
async def test_what_is_less_urgent_does_not_begin_before_it_ends(first: Priority, then: Priority) -> None:
    turns, order = Turns(LONG), list[str]()
    earlier, later = Chunk(turns, first, "earlier", order), Chunk(turns, then, "later", order)
    later.go.set()
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(earlier.run())
        await earlier.began.wait()
        group.create_task(later.run())
        earlier.go.set()

    assert order == ["earlier 1", "earlier 2", "later 1", "later 2"]


@pytest.mark.parametrize("priority", [URGENT, NORMAL, BULK])
async def test_chunks_of_one_priority_go_on_together(priority: Priority) -> None:
    turns, order = Turns(LONG), list[str]()
    one, two = Chunk(turns, priority, "one", order), Chunk(turns, priority, "two", order)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        for chunk in (one, two):
            group.create_task(chunk.run())
            await chunk.began.wait()
        one.go.set()
        two.go.set()

    assert order[:2] == ["one 1", "two 1"]


async def test_bulk_goes_on_although_normal_never_ends_but_one_chunk_at_a_time() -> None:
    turns, order = Turns(timedelta(0)), list[str]()
    normal = Chunk(turns, NORMAL, "normal", order)
    one, two = Chunk(turns, BULK, "one", order), Chunk(turns, BULK, "two", order)
    two.go.set()
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(normal.run())
        await normal.began.wait()
        group.create_task(one.run())
        await one.began.wait()
        group.create_task(two.run())
        one.go.set()
        await two.began.wait()
        normal.go.set()

    assert [step for step in order if not step.startswith("normal")] == ["one 1", "one 2", "two 1", "two 2"]


async def test_chunk_that_fails_holds_nobody_up() -> None:
    turns, order = Turns(LONG), list[str]()
    for priority in (URGENT, NORMAL, BULK):
        with pytest.raises(ValueError, match="bad"):
            async with turns.turn(priority):
                raise ValueError("bad")
    bulk = Chunk(turns, BULK, "bulk", order)
    bulk.go.set()
    async with asyncio.timeout(LIMIT_SECONDS):
        await bulk.run()

    assert order == ["bulk 1", "bulk 2"]
