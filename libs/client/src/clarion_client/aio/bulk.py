"""Sends many notifications in batches, several at a time, results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import _trace
from clarion_client._batches import Packer
from clarion_client._results import SendOutcome, batch_outcomes, failed_batch
from clarion_client.aio.core import AsyncCore
from clarion_client.calls.notifications import SEND_BATCH
from clarion_client.errors import ClarionError
from clarion_client.notification import NotificationLike, notification_proto

T = TypeVar("T")


async def send_many(
    core: AsyncCore,
    notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike],
    timeout: timedelta,
    batches_in_flight: int,
) -> AsyncGenerator[SendOutcome, None]:
    """At most `batches_in_flight` batches are unanswered or unread; the source waits meanwhile."""
    if batches_in_flight < 1:
        raise ValueError("batches_in_flight must be positive")
    in_flight: deque[asyncio.Task[list[SendOutcome]]] = deque()
    try:
        async for batch in _batches(notifications):
            while len(in_flight) >= batches_in_flight:
                for outcome in await in_flight[0]:
                    yield outcome
                in_flight.popleft()
            in_flight.append(asyncio.create_task(_send_batch(core, batch, timeout), name="clarion batch"))
        while in_flight:
            for outcome in await in_flight[0]:
                yield outcome
            in_flight.popleft()
    finally:
        # Whoever stops reading early, or is cancelled, leaves no batch behind.
        for task in in_flight:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)


async def each(source: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Either kind of iterable as an async one."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


async def _batches(
    notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike],
) -> AsyncIterator[Sequence[pb.Notification]]:
    packer = Packer[pb.Notification](max_bytes=SEND_BATCH.max_request_bytes)
    async for notification in each(notifications):
        full = packer.add(notification_proto(notification))
        if full is not None:
            yield full
    if rest := packer.rest():
        yield rest


async def _send_batch(core: AsyncCore, items: Sequence[pb.Notification], timeout: timedelta) -> list[SendOutcome]:
    trace = _trace.current()
    try:
        answer = await core.call(SEND_BATCH, pb.SendBatchRequest(notifications=items), timeout, trace)
    except ClarionError as error:
        return list(failed_batch(items, error))
    return batch_outcomes(items, answer.results, trace)
