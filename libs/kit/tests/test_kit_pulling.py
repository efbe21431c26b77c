"""A reader of a consumer against a real NATS."""

import asyncio

import pytest
from nats.js import api
from nats.js.errors import ServiceUnavailableError

from clarion_kit.bus import JetStreamBus
from clarion_kit.pulling import Puller
from clarion_kit.subjects import Subjects, plan_lane
from clarion_kit.vocabulary import Priority

PLAN = plan_lane(Priority.NORMAL)


async def reader(bus: JetStreamBus, subjects: Subjects, consumer: str = PLAN.name) -> Puller:
    puller = Puller(bus._client, subjects.stream_name(PLAN.stream), consumer)
    await puller.open()
    return puller


async def publish(bus: JetStreamBus, count: int) -> None:
    for n in range(count):
        await bus.publish(PLAN, [n.to_bytes(16)])


async def asked(bus: JetStreamBus) -> None:
    async with asyncio.timeout(10):
        while True:
            if (await bus.consumer(PLAN)).asked:
                return
            await asyncio.sleep(0.01)


async def test_what_is_there_comes_at_once_and_no_more_than_was_asked_for(
    bus: JetStreamBus, subjects: Subjects
) -> None:
    await publish(bus, 5)
    puller = await reader(bus, subjects)

    taken = [len(await puller.fetch(3) or ()) for _ in range(2)]
    await puller.close()

    assert taken == [3, 2]


async def test_message_that_comes_later_ends_the_wait(bus: JetStreamBus, subjects: Subjects) -> None:
    puller = await reader(bus, subjects)
    fetching = asyncio.create_task(puller.fetch(16))
    await asked(bus)

    await publish(bus, 1)
    messages = await asyncio.wait_for(fetching, 2)
    await puller.close()

    assert len(messages or ()) == 1


async def test_stop_ends_the_wait_and_what_comes_then_goes_to_another_reader(
    bus: JetStreamBus, subjects: Subjects
) -> None:
    puller = await reader(bus, subjects)
    fetching = asyncio.create_task(puller.fetch(16))
    await asked(bus)

    puller.stop()
    none = await asyncio.wait_for(fetching, 2)
    await publish(bus, 2)  # the request still waits at the server
    await puller.close()
    other = await reader(bus, subjects)
    taken = [message for _ in range(2) for message in await asyncio.wait_for(other.fetch(1), 4) or ()]
    await other.close()

    assert none == []
    assert len(taken) == 2


async def test_reader_of_a_full_consumer_waits_until_it_gives_out_more(bus: JetStreamBus, subjects: Subjects) -> None:
    narrow = api.ConsumerConfig(
        durable_name=PLAN.name,
        filter_subject=subjects.subject(PLAN),
        ack_policy=api.AckPolicy.EXPLICIT,
        max_ack_pending=1,
    )
    await bus._jetstream.add_consumer(subjects.stream_name(PLAN.stream), narrow)
    await publish(bus, 2)
    puller = await reader(bus, subjects)
    first = await puller.fetch(1) or []
    fetching = asyncio.create_task(puller.fetch(16))
    await asked(bus)

    await first[0].ack()
    messages = await asyncio.wait_for(fetching, 4)
    await puller.close()

    assert len(messages or ()) == 1


async def test_new_connection_ends_the_reader(bus: JetStreamBus, subjects: Subjects) -> None:
    puller = await reader(bus, subjects)
    fetching = asyncio.create_task(puller.fetch(16))

    puller.ask_anew()

    assert await asyncio.wait_for(fetching, 2) is None
    await puller.close()


async def test_reader_of_no_consumer_is_told(bus: JetStreamBus, subjects: Subjects) -> None:
    puller = await reader(bus, subjects, "nobody")

    with pytest.raises(ServiceUnavailableError):
        await asyncio.wait_for(puller.fetch(1), 4)
    await puller.close()
