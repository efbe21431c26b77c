"""Who is prepared when: calls of an app one after the other, apps by turns, everything else between two slices."""

import asyncio

from clarion_gateway.slices import Slices


async def test_apps_take_turns_and_calls_of_one_app_come_one_after_the_other() -> None:
    slices = Slices()
    done: list[str] = []

    async def call(app_id: int, name: str) -> None:
        async with slices.call_of(app_id):
            for number in range(3):
                async with slices.turn():
                    done.append(f"{name}{number}")

    await asyncio.gather(call(1, "a"), call(1, "b"), call(2, "c"))

    assert done == ["a0", "c0", "a1", "c1", "a2", "c2", "b0", "b1", "b2"]


async def test_what_becomes_ready_runs_after_one_slice_whatever_waits() -> None:
    slices = Slices()
    done: list[str] = []

    async def call(app_id: int) -> None:
        async with slices.call_of(app_id):
            for _ in range(5):
                async with slices.turn():
                    done.append("slice")

    calls = [asyncio.create_task(call(app_id)) for app_id in range(10)]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(done.append, "single")
    await asyncio.gather(*calls)

    assert done.index("single") <= 2
    assert done.count("slice") == 50


async def test_call_that_was_given_up_lets_the_next_one_on() -> None:
    slices = Slices()
    entered, never = asyncio.Event(), asyncio.Event()

    async def gives_up() -> None:
        async with slices.call_of(1), slices.turn():
            entered.set()
            await never.wait()

    first = asyncio.create_task(gives_up())
    await entered.wait()
    first.cancel()

    async with asyncio.timeout(10), slices.call_of(1), slices.turn():
        assert first.done()
