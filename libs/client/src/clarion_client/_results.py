"""Answers to sending, as Python values."""

from collections.abc import Iterable, Iterator, Sequence

import grpc

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client._status import from_status
from clarion_client._trace import TraceContext
from clarion_client.errors import ClarionError, Internal
from clarion_client.notification import Sent

SendOutcome = Sent | ClarionError
"""What came of one notification of many; an error is given, not raised."""


def sent(event_id: str, answer: pb.SendResponse, trace: TraceContext | None) -> Sent:
    return Sent(event_id, answer.notification_id, answer.duplicate, trace.sampled_trace_id if trace else "")


def outcome(event_id: str, result: pb.SendResult, trace: TraceContext | None) -> SendOutcome:
    if result.WhichOneof("result") == "accepted":
        return sent(event_id, result.accepted, trace)
    return from_status(result.error, trace_id=trace.sampled_trace_id if trace else "", event_id=event_id)


def batch_outcomes(
    items: Sequence[pb.Notification], results: Iterable[pb.SendResult], trace: TraceContext | None
) -> list[SendOutcome]:
    """One outcome per item, in order. A server that answers with another number of results breaks the contract; then
    none can be told apart and all items fail."""
    listed = list(results)
    if len(listed) != len(items):
        mismatch = Internal(
            f"{len(items)} notifications were answered with {len(listed)} results", code=grpc.StatusCode.INTERNAL
        )
        return list(failed_batch(items, mismatch))
    return [outcome(item.event_id, result, trace) for item, result in zip(items, listed, strict=True)]


def failed_batch(items: Iterable[pb.Notification], error: ClarionError) -> Iterator[ClarionError]:
    """The error of a whole call as the outcome of each of its items."""
    for item in items:
        yield type(error)(
            error.message,
            code=error.code,
            reason=error.reason,
            metadata=error.metadata,
            field_faults=error.field_faults,
            trace_id=error.trace_id,
            event_id=item.event_id,
        )
