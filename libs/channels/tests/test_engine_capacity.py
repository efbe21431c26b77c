"""Room for urgent work, takers in order, nothing lost to those who give up."""

import asyncio

from clarion_channels.engine.capacity import Capacity
from clarion_kit.vocabulary import Priority


async def turn() -> None:
    """Let everything that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_gives_what_there_is_up_to_what_is_wanted() -> None:
    capacity = Capacity(10)

    assert await capacity.take(3, Priority.NORMAL) == 3
    assert await capacity.take(99, Priority.NORMAL) == 5
    assert capacity.held == 8


async def test_urgent_finds_room_where_others_filled_it() -> None:
    capacity = Capacity(10)
    await capacity.take(99, Priority.NORMAL)

    assert await capacity.take(99, Priority.URGENT) == 2
    assert capacity.held == 10


async def test_bulk_fills_a_quarter_and_normal_the_rest() -> None:
    capacity = Capacity(100)

    assert await capacity.take(99, Priority.BULK) == 25
    assert await capacity.take(99, Priority.NORMAL) == 55
    assert await capacity.take(99, Priority.URGENT) == 20


async def test_none_waits_behind_bulk_that_has_its_share() -> None:
    capacity = Capacity(100)
    await capacity.take(99, Priority.BULK)
    more = asyncio.create_task(capacity.take(99, Priority.BULK))
    await turn()

    assert await capacity.take(99, Priority.NORMAL) == 55
    capacity.give_back({Priority.NORMAL: 55})
    await turn()
    assert not more.done()
    capacity.give_back({Priority.BULK: 7})

    assert await more == 7


async def test_what_was_taken_for_one_priority_is_exchanged_for_what_it_is() -> None:
    capacity = Capacity(100)
    taken = await capacity.take(10, Priority.NORMAL)

    capacity.give_back({Priority.NORMAL: taken - 2, Priority.BULK: -8})

    assert capacity.held == 10
    assert await capacity.take(99, Priority.BULK) == 17


async def test_takers_are_served_in_order_and_as_many_as_fit() -> None:
    capacity = Capacity(10)
    await capacity.take(8, Priority.NORMAL)
    order: list[int] = []

    async def take(number: int, priority: Priority) -> None:
        await capacity.take(2, priority)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number, priority in enumerate([Priority.NORMAL] * 4):
            group.create_task(take(number, priority))
        await turn()
        capacity.give_back({Priority.NORMAL: 4})
        late = group.create_task(take(4, Priority.NORMAL))
        await turn()
        assert order == [0, 1]
        capacity.give_back({Priority.NORMAL: 6})
        await turn()
        assert late.done()
    assert order == [0, 1, 2, 3, 4]


async def test_urgent_takers_go_first() -> None:
    capacity = Capacity(10)
    await capacity.take(8, Priority.NORMAL)
    await capacity.take(2, Priority.URGENT)
    order: list[str] = []

    async def take(priority: Priority) -> None:
        await capacity.take(1, priority)
        order.append(priority.slug)

    async with asyncio.TaskGroup() as group:
        group.create_task(take(Priority.NORMAL))
        group.create_task(take(Priority.URGENT))
        await turn()
        capacity.give_back({Priority.NORMAL: 1})
        await turn()
        assert order == ["urgent"]
        capacity.give_back({Priority.NORMAL: 9})
    assert order == ["urgent", "normal"]


async def test_who_gives_up_waiting_takes_nothing_along() -> None:
    capacity = Capacity(10)
    await capacity.take(8, Priority.NORMAL)
    gone = asyncio.create_task(capacity.take(2, Priority.NORMAL))
    patient = asyncio.create_task(capacity.take(2, Priority.NORMAL))
    await turn()

    gone.cancel()
    capacity.give_back({Priority.NORMAL: 2})  # before the cancelled one could run

    assert await patient == 2
    assert gone.cancelled()
    assert capacity.held == 8


async def test_room_given_to_someone_who_was_cancelled_goes_to_the_next() -> None:
    capacity = Capacity(10)
    await capacity.take(8, Priority.NORMAL)
    gone = asyncio.create_task(capacity.take(2, Priority.NORMAL))
    patient = asyncio.create_task(capacity.take(2, Priority.NORMAL))
    await turn()

    capacity.give_back({Priority.NORMAL: 2})
    gone.cancel()  # it has its share and will not run

    assert await patient == 2
    assert capacity.held == 8


async def test_is_empty_only_when_all_is_given_back() -> None:
    capacity = Capacity(10)
    assert capacity.empty.is_set()

    await capacity.take(5, Priority.NORMAL)
    capacity.give_back({Priority.NORMAL: 4})
    assert not capacity.empty.is_set()

    capacity.give_back({Priority.NORMAL: 1})
    assert capacity.empty.is_set()
