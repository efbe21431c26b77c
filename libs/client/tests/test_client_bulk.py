"""Sending and storing many."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import grpc
import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import AsyncClient, ClarionError, InvalidArgument, Notification, Recipient, Sent, Unavailable
from clarion_client._batches import Packer, encoded_size

from .scripted_gateway import UNAVAILABLE, Gateway, status


def notification(number: int) -> Notification:
    return Notification(recipients=["u"], category="c", template="t", event_id=f"e{number}")


def heavy(number: int, size: int) -> pb.Notification:
    made = pb.Notification(event_id=f"h{number}")
    made.content.mail.html = "x" * size
    return made


async def test_results_come_in_order_from_batches_of_a_thousand(client: AsyncClient, gateway: Gateway) -> None:
    outcomes = [outcome async for outcome in client.send_many(notification(n) for n in range(2_500))]

    assert [outcome.event_id for outcome in outcomes] == [f"e{n}" for n in range(2_500)]
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert sorted(len(batch.notifications) for batch in gateway.batches) == [500, 1_000, 1_000]


async def test_order_holds_when_a_later_batch_is_answered_first(client: AsyncClient, gateway: Gateway) -> None:
    second_answered = asyncio.Event()

    async def answer_second_first(batch: pb.SendBatchRequest) -> None:
        if batch.notifications[0].event_id == "e0":
            await second_answered.wait()
        else:
            second_answered.set()

    gateway.before_batch = answer_second_first

    outcomes = [outcome async for outcome in client.send_many(notification(n) for n in range(1_001))]

    assert [outcome.event_id for outcome in outcomes] == [f"e{n}" for n in range(1_001)]


async def test_batches_stay_within_four_mebibytes(client: AsyncClient, gateway: Gateway) -> None:
    async def source() -> AsyncIterator[pb.Notification]:
        for number in range(9):
            yield heavy(number, 1_000_000)

    outcomes = [outcome async for outcome in client.send_many(source())]

    assert [len(batch.notifications) for batch in sorted(gateway.batches, key=first_id)] == [4, 4, 1]
    assert max(batch.ByteSize() for batch in gateway.batches) <= 4 << 20
    assert len(outcomes) == 9


def first_id(batch: pb.SendBatchRequest) -> str:
    return batch.notifications[0].event_id


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 70_000])
def test_size_of_an_item_is_counted_exactly(size: int) -> None:
    item = heavy(1, size)

    assert encoded_size(item) == pb.SendBatchRequest(notifications=[item]).ByteSize()


def test_packer_fills_a_batch_to_the_last_byte() -> None:
    item = heavy(1, 100)
    packer = Packer(max_bytes=3 * encoded_size(item))

    assert [packer.add(item) for _ in range(3)] == [None, None, None]
    assert packer.add(item) == [item, item, item]
    assert packer.rest() == [item]
    assert packer.rest() == []


async def test_item_too_large_for_any_batch_fails_alone(client: AsyncClient, gateway: Gateway) -> None:
    items = [heavy(0, 10), heavy(1, 5 << 20), heavy(2, 10)]

    outcomes = [outcome async for outcome in client.send_many(items)]

    assert [isinstance(outcome, Sent) for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], ClarionError)
    assert (outcomes[1].event_id, outcomes[1].reason) == ("h1", "TOO_LARGE")


async def test_bad_item_fails_alone_with_its_faults(client: AsyncClient, gateway: Gateway) -> None:
    refusal = status(
        grpc.StatusCode.INVALID_ARGUMENT, "no", reason="INVALID_FIELD", faults=[("recipient_ids", "required")]
    )
    gateway.item_error = lambda item: refusal if item.event_id == "e1" else None

    outcomes = [outcome async for outcome in client.send_many([notification(n) for n in range(3)])]

    assert [type(outcome) for outcome in outcomes] == [Sent, InvalidArgument, Sent]
    error = outcomes[1]
    assert isinstance(error, InvalidArgument)
    assert (error.event_id, error.field_faults[0].field) == ("e1", "recipient_ids")


async def test_failed_batch_gives_its_error_for_each_item(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.extend([UNAVAILABLE] * 4)

    outcomes = [outcome async for outcome in client.send_many([notification(0), notification(1)])]

    assert [(type(outcome), outcome.event_id) for outcome in outcomes] == [(Unavailable, "e0"), (Unavailable, "e1")]


async def test_source_is_read_no_further_than_the_batches_in_flight(client: AsyncClient, gateway: Gateway) -> None:
    taken = 0
    may_answer = asyncio.Event()

    async def wait(batch: pb.SendBatchRequest) -> None:
        await may_answer.wait()

    def source() -> Iterator[Notification]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield notification(number)

    gateway.before_batch = wait
    async with aclosing(client.send_many(source(), batches_in_flight=2)) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await gateway.wait_for_requests(2)
        read_ahead = taken
        may_answer.set()
        await first

    assert read_ahead <= 3_001
    assert len(gateway.batches) <= 3


async def test_recipients_are_stored_five_hundred_at_a_time_with_progress(
    client: AsyncClient, gateway: Gateway
) -> None:
    progress: list[int] = []

    outcomes = await client.recipients.upsert_many(
        (Recipient(recipient_id=f"u{n}") for n in range(1_100)), progress=progress.append
    )

    assert progress == [500, 1_000, 1_100]
    assert len(outcomes) == 1_100
