"""The bidirectional stream."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import grpc
import pytest

from clarion_client import AsyncClient, InvalidArgument, Notification, Sent, Unavailable

from .scripted_gateway import Gateway, status


def notifications(count: int) -> Iterator[Notification]:
    for number in range(count):
        yield Notification(recipients=["u"], category="c", template="t", event_id=f"e{number}")


async def test_every_item_is_answered_in_order(client: AsyncClient) -> None:
    outcomes = [outcome async for outcome in client.stream(notifications(300))]

    assert [outcome.event_id for outcome in outcomes] == [f"e{n}" for n in range(300)]
    assert all(isinstance(outcome, Sent) for outcome in outcomes)


async def test_source_waits_while_the_window_is_full(client: AsyncClient, gateway: Gateway) -> None:
    taken = 0

    async def source() -> AsyncIterator[Notification]:
        nonlocal taken
        for item in notifications(1_000):
            taken += 1
            yield item

    async with aclosing(client.stream(source(), max_unanswered=10)) as outcomes:
        first = await anext(outcomes)
        await gateway.wait_for_streamed(11)

    assert isinstance(first, Sent)
    # One answered, ten in the window, one in the hand of the pump.
    assert taken <= 12


async def test_lost_connection_sends_again_what_was_unanswered(client: AsyncClient, gateway: Gateway) -> None:
    gateway.stream_cuts.extend([5, 3])

    outcomes = [outcome async for outcome in client.stream(notifications(20), max_unanswered=4)]

    assert [outcome.event_id for outcome in outcomes] == [f"e{n}" for n in range(20)]
    assert len(gateway.requests) == 3


async def test_stream_gives_up_when_no_attempt_makes_progress(client: AsyncClient, gateway: Gateway) -> None:
    gateway.stream_cuts.extend([0] * 10)

    with pytest.raises(Unavailable):
        await anext(client.stream(notifications(3)))

    assert len(gateway.requests) == 4


async def test_refused_item_is_an_outcome_among_others(client: AsyncClient, gateway: Gateway) -> None:
    refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "no", reason="INVALID_FIELD")
    gateway.item_error = lambda item: refusal if item.event_id == "e1" else None

    outcomes = [outcome async for outcome in client.stream(notifications(3))]

    assert [type(outcome) for outcome in outcomes] == [Sent, InvalidArgument, Sent]


async def test_error_of_the_source_comes_after_the_answers_to_what_it_gave(client: AsyncClient) -> None:
    def source() -> Iterator[Notification]:
        yield from notifications(3)
        raise LookupError("source broke")

    async with aclosing(client.stream(source())) as outcomes:
        answered = [(await anext(outcomes)).event_id for _ in range(3)]
        with pytest.raises(LookupError, match="source broke"):
            await anext(outcomes)

    assert answered == ["e0", "e1", "e2"]


async def test_item_is_sent_while_the_source_stays_open(client: AsyncClient, gateway: Gateway) -> None:
    more = asyncio.Event()

    async def source() -> AsyncIterator[Notification]:
        for item in notifications(1):
            yield item
        await more.wait()

    async with aclosing(client.stream(source())) as outcomes:
        first = await asyncio.wait_for(anext(outcomes), 5)

    assert first.event_id == "e0"
