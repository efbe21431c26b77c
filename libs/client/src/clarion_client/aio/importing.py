"""Stores many recipients in batches, several at a time, results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion_client._rpc import AsyncCaller
from clarion_client.aio.bulk import each
from clarion_client.calls.recipients import UPSERT_MANY, UpsertOutcome, import_packer, upsert_outcomes
from clarion_client.errors import ClarionError
from clarion_client.recipient import RecipientLike, recipient_proto


@dataclass(frozen=True, slots=True)
class _Batch:
    ids: frozenset[str]
    task: asyncio.Task[list[UpsertOutcome]]


async def import_many(
    caller: AsyncCaller, recipients: Iterable[RecipientLike] | AsyncIterable[RecipientLike], batches_in_flight: int
) -> AsyncGenerator[UpsertOutcome, None]:
    """At most `batches_in_flight` batches are unanswered or unread; the source waits meanwhile. Changes of one recipient are
    made in their order."""
    if batches_in_flight < 1:
        raise ValueError("batches_in_flight must be positive")
    in_flight: deque[_Batch] = deque()
    try:
        async for batch in _batches(recipients):
            ids = frozenset(recipient.recipient_id for recipient in batch)
            while len(in_flight) >= batches_in_flight or any(ids & earlier.ids for earlier in in_flight):
                for outcome in await in_flight[0].task:
                    yield outcome
                in_flight.popleft()
            in_flight.append(_Batch(ids, asyncio.create_task(_store(caller, batch), name="clarion import")))
        while in_flight:
            for outcome in await in_flight[0].task:
                yield outcome
            in_flight.popleft()
    finally:
        # Whoever stops reading early, or is cancelled, leaves no batch behind.
        for unread in in_flight:
            unread.task.cancel()
        await asyncio.gather(*(unread.task for unread in in_flight), return_exceptions=True)


async def _batches(
    recipients: Iterable[RecipientLike] | AsyncIterable[RecipientLike],
) -> AsyncIterator[Sequence[pb.Recipient]]:
    packer = import_packer()
    async for recipient in each(recipients):
        full = packer.add(recipient_proto(recipient))
        if full is not None:
            yield full
    if rest := packer.rest():
        yield rest


async def _store(caller: AsyncCaller, batch: Sequence[pb.Recipient]) -> list[UpsertOutcome]:
    request = pb.UpsertRecipientsRequest(recipients=batch)
    try:
        return upsert_outcomes(request, await caller.call(UPSERT_MANY, request))
    except ClarionError as error:
        return [error] * len(batch)
