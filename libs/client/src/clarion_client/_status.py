"""From the wire form of an error (google.rpc.Status with ErrorInfo and BadRequest) to a `ClarionError`."""

from collections.abc import Iterable
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from clarion_client.errors import ClarionError, DeadlineExceeded, FieldFault, error_class

DOMAIN = "clarion"
DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_aio_error(error: grpc.aio.AioRpcError, trace_id: str) -> ClarionError:
    """What an async call raises instead of gRPC's own error."""
    trailing = cast(Iterable[tuple[str, str | bytes]], error.trailing_metadata() or ())
    return _from_parts(error.code(), error.details(), trailing, trace_id)


def from_sync_error(error: grpc.RpcError, trace_id: str) -> ClarionError:
    """What a sync call raises; gRPC's sync errors are the failed calls themselves."""
    call = cast(grpc.Call, error)
    trailing = cast(Iterable[tuple[str, str | bytes]], call.trailing_metadata() or ())
    return _from_parts(call.code(), call.details(), trailing, trace_id)


def from_status(status: status_pb2.Status, *, trace_id: str = "", event_id: str = "") -> ClarionError:
    """The error of one item, as bulk answers carry it."""
    return _from_status(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status, trace_id, event_id)


def out_of_time(waiting_for: str) -> DeadlineExceeded:
    """The call's time passed here, before or between attempts."""
    return DeadlineExceeded(f"no time left while waiting for {waiting_for}", code=grpc.StatusCode.DEADLINE_EXCEEDED)


def _from_parts(
    code: grpc.StatusCode, message: str | None, trailing: Iterable[tuple[str, str | bytes]], trace_id: str
) -> ClarionError:
    status = status_pb2.Status()
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                # Some proxies put text of their own there; the code still says what kind of error it is.
                status.Clear()
    status.message = message or status.message
    return _from_status(code, status, trace_id, "")


def _from_status(code: grpc.StatusCode, status: status_pb2.Status, trace_id: str, event_id: str) -> ClarionError:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    try:
        for detail in status.details:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
            elif detail.Is(bad_request.DESCRIPTOR):
                detail.Unpack(bad_request)
    except DecodeError:
        info.Clear()
    ours = info.domain == DOMAIN
    return error_class(code)(
        status.message or code.name,
        code=code,
        reason=info.reason if ours else "",
        metadata=info.metadata if ours else None,
        field_faults=[FieldFault(fault.field, fault.description) for fault in bad_request.field_violations],
        trace_id=(info.metadata.get("trace_id", "") if ours else "") or trace_id,
        event_id=event_id,
    )
