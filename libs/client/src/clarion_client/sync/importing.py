"""Stores many recipients in batches, several at a time, results in order."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion_client._rpc import SyncCaller
from clarion_client.calls.recipients import UPSERT_MANY, UpsertOutcome, import_packer, upsert_outcomes
from clarion_client.errors import ClarionError
from clarion_client.recipient import RecipientLike, recipient_proto


@dataclass(frozen=True, slots=True)
class _Batch:
    ids: frozenset[str]
    answer: Future[list[UpsertOutcome]]


def import_many(
    caller: SyncCaller, recipients: Iterable[RecipientLike], batches_in_flight: int
) -> Generator[UpsertOutcome, None, None]:
    """At most `batches_in_flight` batches are unanswered or unread; the source waits meanwhile. Changes of one recipient are
    made in their order."""
    if batches_in_flight < 1:
        raise ValueError("batches_in_flight must be positive")
    in_flight: deque[_Batch] = deque()
    pool = ThreadPoolExecutor(batches_in_flight, thread_name_prefix="clarion-import")
    try:
        for batch in _batches(recipients):
            ids = frozenset(recipient.recipient_id for recipient in batch)
            while len(in_flight) >= batches_in_flight or any(ids & earlier.ids for earlier in in_flight):
                yield from in_flight.popleft().answer.result()
            # Worker threads do not see the caller's span by themselves.
            in_flight.append(_Batch(ids, pool.submit(copy_context().run, _store, caller, batch)))
        while in_flight:
            yield from in_flight.popleft().answer.result()
    finally:
        # Whoever stops early waits for what is on the wire, each call being bounded by its timeout.
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(recipients: Iterable[RecipientLike]) -> Iterator[Sequence[pb.Recipient]]:
    packer = import_packer()
    for recipient in recipients:
        full = packer.add(recipient_proto(recipient))
        if full is not None:
            yield full
    if rest := packer.rest():
        yield rest


def _store(caller: SyncCaller, batch: Sequence[pb.Recipient]) -> list[UpsertOutcome]:
    request = pb.UpsertRecipientsRequest(recipients=batch)
    try:
        return upsert_outcomes(request, caller.call(UPSERT_MANY, request))
    except ClarionError as error:
        return [error] * len(batch)
