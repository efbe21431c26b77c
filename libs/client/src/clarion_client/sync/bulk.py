"""Sends many notifications in batches, several at a time, results in order."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import _trace
from clarion_client._batches import Packer
from clarion_client._results import SendOutcome, batch_outcomes, failed_batch
from clarion_client._trace import TraceContext
from clarion_client.calls.notifications import SEND_BATCH
from clarion_client.errors import ClarionError
from clarion_client.notification import NotificationLike, notification_proto
from clarion_client.sync.core import SyncCore


def send_many(
    core: SyncCore, notifications: Iterable[NotificationLike], timeout: timedelta, batches_in_flight: int
) -> Generator[SendOutcome, None, None]:
    """At most `batches_in_flight` batches are unanswered or unread; the source waits meanwhile."""
    if batches_in_flight < 1:
        raise ValueError("batches_in_flight must be positive")
    # Worker threads do not see the caller's span.
    trace = _trace.current()
    in_flight: deque[Future[list[SendOutcome]]] = deque()
    pool = ThreadPoolExecutor(batches_in_flight, thread_name_prefix="clarion-batch")
    try:
        for batch in _batches(notifications):
            while len(in_flight) >= batches_in_flight:
                yield from in_flight.popleft().result()
            in_flight.append(pool.submit(_send_batch, core, batch, timeout, trace))
        while in_flight:
            yield from in_flight.popleft().result()
    finally:
        # Whoever stops early waits for what is on the wire, each call being bounded by its timeout.
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(notifications: Iterable[NotificationLike]) -> Iterator[Sequence[pb.Notification]]:
    packer = Packer[pb.Notification](max_bytes=SEND_BATCH.max_request_bytes)
    for notification in notifications:
        full = packer.add(notification_proto(notification))
        if full is not None:
            yield full
    if rest := packer.rest():
        yield rest


def _send_batch(
    core: SyncCore, items: Sequence[pb.Notification], timeout: timedelta, trace: TraceContext | None
) -> list[SendOutcome]:
    try:
        answer = core.call(SEND_BATCH, pb.SendBatchRequest(notifications=items), timeout, trace)
    except ClarionError as error:
        return list(failed_batch(items, error))
    return batch_outcomes(items, answer.results, trace)
