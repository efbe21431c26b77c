"""DeadLetterService."""

from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.deadletter.v1.dead_letter_service_pb2_grpc import DeadLetterServiceServicer
from clarion_gateway.rpc.paging import page_size, page_token, parse_page_token
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.unbuilt import not_built
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger import dead_letters
from clarion_ledger.db import Pool


class DeadLetterRpc(DeadLetterServiceServicer):
    """The dead letters of the caller's app."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListDeadLetters(
        self,
        request: pb.ListDeadLettersRequest,
        context: grpc.aio.ServicerContext[pb.ListDeadLettersRequest, pb.ListDeadLettersResponse],
    ) -> pb.ListDeadLettersResponse:
        faults = Faults()
        faults.require("channel", request.channel in {0, *Channel}, "unknown channel")
        faults.require("reason", request.reason in {0, *Reason}, "unknown reason")
        faults.raise_if_any()
        size = page_size(request.page_size)
        rows = await dead_letters.page(
            self._pool,
            current_caller().app_id,
            size=size + 1,
            before=parse_page_token(request.page_token),
            channel=request.channel or None,
            reason=request.reason or None,
        )
        response = pb.ListDeadLettersResponse()
        for row in rows[:size]:
            at = Timestamp()
            at.FromDatetime(row.at)
            letter = response.dead_letters.add(
                delivery_id=str(row.delivery_id),
                notification_id=str(row.notification_id),
                last_code=row.last_code,
                attempts=row.attempts,
                at=at,
                redriven_as=str(row.redriven_as or ""),
            )
            letter.channel = row.channel  # type: ignore[assignment]  # our numbers are the contract's (tested)
            letter.reason = row.reason  # type: ignore[assignment]
        if len(rows) > size:
            response.next_page_token = page_token(UUID(response.dead_letters[-1].delivery_id))
        return response

    async def Redrive(
        self, request: pb.RedriveRequest, context: grpc.aio.ServicerContext[pb.RedriveRequest, pb.RedriveResponse]
    ) -> pb.RedriveResponse:
        raise not_built("clarion.deadletter.v1.DeadLetterService/Redrive")
