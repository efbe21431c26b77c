"""Hands the shop's notifications in by all three ways at once: unary, in batches, over a stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random

from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import AsyncClient, ClarionError, Notification, SendOutcome, Sent
from clarion_local.demo.traffic import SEED, Traffic, order_update, showcase

_CALLERS = 8


@dataclass(slots=True)
class Handed:
    """What came of handing in; grows while it goes on. `call_seconds`: of each unary call, until its OK."""

    accepted: int = 0
    refused: list[ClarionError] = field(default_factory=list)
    call_seconds: list[float] = field(default_factory=list)
    finished: bool = False

    def note(self, outcome: SendOutcome) -> None:
        if isinstance(outcome, Sent):
            self.accepted += 1
        else:
            self.refused.append(outcome)


async def send_showcase(client: AsyncClient, run: str, people: Sequence[Recipient]) -> Sent:
    """One traced order update, to be shown whole later. Raises ClarionError."""
    person = showcase(people)
    return await client.send(order_update(f"{run}:showcase", person, Random(SEED)), trace=True)


async def send_all(client: AsyncClient, traffic: Traffic, people: Sequence[Recipient], handed: Handed) -> None:
    """Codes by unary calls, order updates in batches, promotions over a stream, all together.

    Refusals are noted, not raised; raises ClarionError when the stream cannot go on.
    """
    codes = traffic.one_time_codes(people)
    async with asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(_call(client, codes, handed))
        async with (
            aclosing(client.send_many(traffic.order_updates(people))) as batches,
            aclosing(client.stream(traffic.offers(people))) as stream,
        ):
            reading = group.create_task(_note_all(batches, handed))
            await _note_all(stream, handed)
            await reading
    handed.finished = True


async def _call(client: AsyncClient, notifications: Iterator[Notification], handed: Handed) -> None:
    """One caller of several that share the iterator."""
    for notification in notifications:
        began = time.perf_counter()
        try:
            handed.note(await client.send(notification))
        except ClarionError as error:
            handed.note(error)
        else:
            handed.call_seconds.append(time.perf_counter() - began)


async def _note_all(outcomes: AsyncIterator[SendOutcome], handed: Handed) -> None:
    async for outcome in outcomes:
        handed.note(outcome)
