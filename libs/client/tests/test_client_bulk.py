"""Sending and storing many."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import grpc
import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import (
    AsyncClient,
    ClarionError,
    InvalidArgument,
    Notification,
    Recipient,
    Sent,
    Unavailable,
    UpsertOutcome,
)
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
    packer = Packer[pb.Notification](max_bytes=3 * encoded_size(item))

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


def person(number: int, locale: str = "") -> Recipient:
    return Recipient(recipient_id=f"u{number}", locale=locale)


def told(outcomes: list[UpsertOutcome]) -> list[str]:
    """Ids in the order of their outcomes; the scripted gateway gives them as address ids."""
    return ["!" if isinstance(outcome, ClarionError) else outcome.address_ids[0] for outcome in outcomes]


async def test_import_gives_outcomes_in_order_from_batches_of_five_hundred(
    client: AsyncClient, gateway: Gateway
) -> None:
    second_answered = asyncio.Event()

    async def answer_second_first(ids: list[str]) -> None:
        if ids[0] == "u0":
            await second_answered.wait()
        else:
            second_answered.set()

    gateway.before_upsert = answer_second_first

    outcomes = [outcome async for outcome in client.recipients.import_many(person(n) for n in range(1_100))]

    assert told(outcomes) == [f"u{n}" for n in range(1_100)]
    assert sorted(len(ids) for ids in gateway.upserts) == [100, 500, 500]


async def test_import_takes_any_source_and_reads_it_no_further_than_the_batches_in_flight(
    client: AsyncClient, gateway: Gateway
) -> None:
    taken = 0
    may_answer = asyncio.Event()

    async def wait(ids: list[str]) -> None:
        await may_answer.wait()

    async def source() -> AsyncIterator[Recipient]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield person(number)

    gateway.before_upsert = wait
    async with aclosing(client.recipients.import_many(source(), batches_in_flight=2)) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await gateway.wait_for_requests(2)
        read_ahead = taken
        may_answer.set()
        await first

    assert read_ahead <= 1_501


async def test_changes_of_one_recipient_are_made_in_their_order(client: AsyncClient, gateway: Gateway) -> None:
    first_may_end = asyncio.Event()
    begun: list[list[str]] = []

    async def hold_the_first(ids: list[str]) -> None:
        begun.append(ids)
        if len(begun) == 1:
            await first_may_end.wait()

    gateway.before_upsert = hold_the_first
    people = [person(0, "en"), person(1), person(0, "ko"), person(2)]
    importing = asyncio.ensure_future(collected(client.recipients.import_many(people)))
    await gateway.wait_for_requests(1)
    at_first = list(begun)
    first_may_end.set()

    assert told(await importing) == ["u0", "u1", "u0", "u2"]
    assert at_first == [["u0", "u1"]]
    assert gateway.upserts == [["u0", "u1"], ["u0", "u2"]]


async def collected(outcomes: AsyncIterator[UpsertOutcome]) -> list[UpsertOutcome]:
    return [outcome async for outcome in outcomes]


async def test_import_goes_on_behind_a_bad_recipient_and_a_failed_batch(client: AsyncClient, gateway: Gateway) -> None:
    refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "no", reason="INVALID_FIELD", faults=[("country", "unknown")])
    gateway.recipient_error = lambda id_: refusal if id_ == "u1" else None
    gateway.steps.extend([UNAVAILABLE] * 4)

    outcomes = [
        outcome async for outcome in client.recipients.import_many((person(n) for n in range(502)), batches_in_flight=1)
    ]
    again = [outcome async for outcome in client.recipients.import_many([person(0), person(1)])]

    assert [type(outcome) for outcome in outcomes[:500]] == [Unavailable] * 500
    assert told(outcomes[500:]) == ["u500", "u501"]
    assert [type(outcome) for outcome in again[1:]] == [InvalidArgument]


async def test_import_repeats_a_batch_that_was_lost_on_the_way(client: AsyncClient, gateway: Gateway) -> None:
    gateway.steps.extend([UNAVAILABLE] * 2)

    outcomes = [outcome async for outcome in client.recipients.import_many([person(0)])]

    assert told(outcomes) == ["u0"]
    assert len(gateway.requests) == 3


async def test_import_with_no_batch_in_flight_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="batches_in_flight"):
        await anext(client.recipients.import_many([person(0)], batches_in_flight=0))


def test_packer_keeps_one_key_to_a_batch() -> None:
    packer = Packer[pb.Notification](max_bytes=1 << 20, key=lambda item: item.event_id)
    one, other = heavy(1, 1), heavy(2, 1)

    assert [packer.add(item) for item in (one, other, one)] == [None, None, [one, other]]
    assert packer.rest() == [one]


async def test_recipients_are_stored_five_hundred_at_a_time_with_progress(
    client: AsyncClient, gateway: Gateway
) -> None:
    progress: list[int] = []

    outcomes = await client.recipients.upsert_many(
        (Recipient(recipient_id=f"u{n}") for n in range(1_100)), progress=progress.append
    )

    assert progress == [500, 1_000, 1_100]
    assert len(outcomes) == 1_100
