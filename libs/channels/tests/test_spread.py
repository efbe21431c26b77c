import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import Priority
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message
from clarion_channels.providers.spread import Progress, spread

ACCEPTED = Result(Outcome.ACCEPTED)
LONG = timedelta(seconds=30)


def messages(count: int) -> list[Message]:
    return [
        Message(uuid4(), Address(), Rendered(), Priority.PRIORITY_NORMAL, datetime.max.replace(tzinfo=UTC))
        for _ in range(count)
    ]


class Results:
    """Reports by delivery; a second report of one message is a fault."""

    def __init__(self) -> None:
        self.by_delivery: dict[UUID, Result] = {}

    def __call__(self, message: Message, result: Result) -> None:
        assert message.delivery_id not in self.by_delivery
        self.by_delivery[message.delivery_id] = result


async def test_each_message_is_reported_once_and_no_more_than_the_width_are_open() -> None:
    width, open_now, most = 3, 0, 0

    async def send_one(message: Message, progress: Progress) -> Result:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        return ACCEPTED

    batch, results = messages(10), Results()
    await spread(batch, results, send_one, width=width, timeout=LONG)
    assert results.by_delivery == {message.delivery_id: ACCEPTED for message in batch}
    assert most == width


async def test_a_message_that_takes_too_long_is_cut_off_by_how_far_it_came() -> None:
    batch = messages(3)

    async def send_one(message: Message, progress: Progress) -> Result:
        if message is not batch[0]:
            progress.written()
        if message is batch[2]:
            progress.answered()
        await asyncio.Event().wait()
        return ACCEPTED

    results = Results()
    await spread(batch, results, send_one, width=3, timeout=timedelta(milliseconds=10))
    assert [results.by_delivery[message.delivery_id] for message in batch] == [
        Result(Outcome.RETRY, "timeout"),
        Result(Outcome.UNKNOWN, "timeout"),
        Result(Outcome.RETRY, "timeout"),
    ]


async def test_cancelling_reports_what_is_under_way_and_what_waits() -> None:
    begun = asyncio.Event()

    async def send_one(message: Message, progress: Progress) -> Result:
        progress.written()
        begun.set()
        await asyncio.Event().wait()
        return ACCEPTED

    batch, results = messages(4), Results()
    sending = asyncio.ensure_future(spread(batch, results, send_one, width=1, timeout=LONG))
    await begun.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [results.by_delivery[message.delivery_id] for message in batch] == [
        Result(Outcome.UNKNOWN, "cancelled"),
        *[Result(Outcome.RETRY, "cancelled")] * 3,
    ]


async def test_a_fault_of_the_sender_is_raised_and_leaves_no_message_unreported() -> None:
    batch, results = messages(3), Results()

    async def send_one(message: Message, progress: Progress) -> Result:
        raise LookupError("a bug")

    with pytest.raises(ExceptionGroup, match="unhandled"):
        await spread(batch, results, send_one, width=1, timeout=LONG)
    assert [result.outcome for result in results.by_delivery.values()] == [Outcome.RETRY] * len(results.by_delivery)
    assert set(results.by_delivery) == {message.delivery_id for message in batch}
