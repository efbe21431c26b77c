"""DeadLetterService: deliveries that ended without a provider's answer."""

from collections.abc import Sequence
from datetime import datetime

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "DeadLetterService")

LIST_DEAD_LETTERS = _contract.method("ListDeadLetters", pb.ListDeadLettersRequest, pb.ListDeadLettersResponse)


class DeadLetterCalls:
    """Looking at dead letters and redriving them."""

    @_contract.rpc("GetDeadLetter", pb.GetDeadLetterRequest, pb.GetDeadLetterResponse)
    def get(self, delivery_id: str) -> pb.GetDeadLetterRequest:
        """One dead letter with every attempt and the content it had.

        Raises NotFound (NOTIFICATION_NOT_FOUND), InvalidArgument (INVALID_FIELD).
        """
        return pb.GetDeadLetterRequest(delivery_id=delivery_id)

    @_contract.rpc("Redrive", pb.RedriveRequest, pb.RedriveResponse)
    def redrive(
        self, delivery_ids: Sequence[str], *, rate_per_second: float = 0.0, due_at: datetime | None = None
    ) -> pb.RedriveRequest:
        """Sends 1-1,000 dead letters again as new deliveries; one outcome each, in order. Repeating it is harmless.

        They become due `rate_per_second` (0: 100) after `due_at` (None: now). Raises InvalidArgument (INVALID_FIELD),
        ValueError for a naive datetime.
        """
        return pb.RedriveRequest(
            delivery_ids=delivery_ids, rate_per_second=rate_per_second, due_at=optional_timestamp("due_at", due_at)
        )

    @_contract.rpc("Redrive", pb.RedriveRequest, pb.RedriveResponse)
    def redrive_matching(
        self,
        *,
        channel: Channel | None = None,
        reason: state_pb2.Reason.ValueType = state_pb2.REASON_UNSPECIFIED,
        since: datetime | None = None,
        until: datetime | None = None,
        provider: str = "",
        last_code: str = "",
        limit: int = 0,
        rate_per_second: float = 0.0,
        due_at: datetime | None = None,
        page_token: str = "",
    ) -> pb.RedriveRequest:
        """Like `redrive`, for the first `limit` (1-10,000, 0: 1,000) letters that match, in the order in which they ended.

        Letters that were redriven before count, so repeating it is harmless; the next ones come with the answer's
        `next_page_token` and, to keep the pace, its `next_due_at`.
        """
        return pb.RedriveRequest(
            filter=pb.DeadLetterFilter(
                channel=channel_pb2.Channel.ValueType(channel or 0),
                reason=reason,
                since=optional_timestamp("since", since),
                until=optional_timestamp("until", until),
                provider=provider,
                last_code=last_code,
            ),
            max=limit,
            rate_per_second=rate_per_second,
            due_at=optional_timestamp("due_at", due_at),
            page_token=page_token,
        )


def list_request(
    channel: Channel | None,
    reason: state_pb2.Reason.ValueType,
    since: datetime | None,
    until: datetime | None,
    provider: str,
    last_code: str,
    redriven: bool | None,
    page_size: int,
) -> pb.ListDeadLettersRequest:
    wanted = {None: pb.REDRIVEN_UNSPECIFIED, True: pb.REDRIVEN_YES, False: pb.REDRIVEN_NO}
    return pb.ListDeadLettersRequest(
        channel=channel_pb2.Channel.ValueType(channel or 0),
        reason=reason,
        since=optional_timestamp("since", since),
        until=optional_timestamp("until", until),
        provider=provider,
        last_code=last_code,
        redriven=wanted[redriven],
        page_size=page_size,
    )
