"""Dead letters between the contract and the ledger: filters, positions in a walk, rows as messages."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.validate import Faults, moment
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger.dead_letters import AttemptRow, DeadLetterRow, LetterFilter
from clarion_ledger.redriving import Position, Redriven

_POSITION = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REDRIVEN = {pb.REDRIVEN_UNSPECIFIED: None, pb.REDRIVEN_YES: True, pb.REDRIVEN_NO: False}
MAX_NAME_BYTES = 64


def list_filter(request: pb.ListDeadLettersRequest) -> LetterFilter:
    """Raises INVALID_FIELD."""
    faults = Faults()
    faults.require("redriven", request.redriven in _REDRIVEN, "unknown value")
    wanted = _filter(faults, request, _REDRIVEN.get(request.redriven))
    faults.raise_if_any()
    return wanted


def redrive_filter(faults: Faults, wanted: pb.DeadLetterFilter) -> LetterFilter:
    """Letters whether they were redriven or not, so that a repeated call finds the same ones."""
    with faults.within("filter."):
        return _filter(faults, wanted, None)


def _filter(
    faults: Faults, wanted: pb.ListDeadLettersRequest | pb.DeadLetterFilter, redriven: bool | None
) -> LetterFilter:
    faults.require("channel", wanted.channel in {0, *Channel}, "unknown channel")
    faults.require("reason", wanted.reason in {0, *Reason}, "unknown reason")
    for field, text in (("provider", wanted.provider), ("last_code", wanted.last_code)):
        if text:
            faults.text(field, text, max_bytes=MAX_NAME_BYTES)
    return LetterFilter(
        channel=wanted.channel or None,
        reason=wanted.reason or None,
        since=moment(faults, "since", wanted.since) if wanted.HasField("since") else None,
        until=moment(faults, "until", wanted.until) if wanted.HasField("until") else None,
        lane=wanted.provider or None,
        last_code=wanted.last_code or None,
        redriven=redriven,
    )


def position_token(position: Position) -> str:
    microseconds = (position.at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_POSITION.pack(microseconds, position.delivery_id.bytes)).decode()


def parse_position(token: str) -> Position | None:
    """None for the beginning. Raises INVALID_FIELD."""
    if not token:
        return None
    try:
        microseconds, id_ = _POSITION.unpack(base64.urlsafe_b64decode(token))
        return Position(_EPOCH + _MICROSECOND * microseconds, UUID(bytes=id_))
    except (ValueError, OverflowError, struct.error):
        raise invalid_fields([FieldFault("page_token", "not a token of this service")]) from None


def letter(row: DeadLetterRow) -> pb.DeadLetter:
    return pb.DeadLetter(
        delivery_id=str(row.delivery_id),
        notification_id=str(row.notification_id),
        channel=row.channel,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        reason=row.reason,  # type: ignore[arg-type]
        last_code=row.last_code,
        attempts=row.attempts,
        at=stamp(row.at),
        redriven_as=str(row.redriven_as or ""),
        provider=row.lane,
    )


def attempt(row: AttemptRow) -> pb.Attempt:
    duration = Duration()
    duration.FromTimedelta(row.duration)
    return pb.Attempt(
        attempt=row.attempt,
        started_at=stamp(row.started_at),
        duration=duration,
        provider=row.lane,
        outcome=row.outcome,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        code=row.code,
        provider_message_id=row.provider_message_id,
    )


def result(done: Redriven) -> pb.RedriveResult:
    return pb.RedriveResult(
        delivery_id=str(done.letter),
        outcome=done.outcome.value,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        new_delivery_id=str(done.new_id or ""),
    )


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at.astimezone(UTC))
    return made
