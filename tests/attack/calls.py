"""Calls as bytes, past every client library of ours: what a stranger can put on the wire, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2

from clarion_kit.rpc.interceptor import STATUS_DETAILS_KEY

TIMEOUT_SECONDS = 60.0
"""Bounds a call that should be answered at once; on a busy machine that takes a while."""
MOST_RESPONSES = 64

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended. `reason` and `metadata` are those of its ErrorInfo, empty where there is none."""

    code: grpc.StatusCode
    text: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    responses: Sequence[bytes] = ()


async def ask(
    channel: grpc.aio.Channel,
    path: str,
    request: bytes,
    metadata: Metadata = (),
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    most_responses: int = MOST_RESPONSES,
    compression: grpc.Compression | None = None,
) -> Answer:
    """One request, whatever the method's kind: on the wire all of them are a stream. Never raises for a refusal.

    Of a method without an end the first `most_responses` are taken.
    """
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    call = method(request, metadata=tuple(metadata), timeout=timeout_seconds, compression=compression)
    responses: list[bytes] = []
    try:
        async for response in call:
            responses.append(response)
            if len(responses) >= most_responses:
                break
    except grpc.aio.AioRpcError as refused:
        reason, told = _error_info(refused)
        return Answer(refused.code(), refused.details() or "", reason, told, responses)
    finally:
        call.cancel()
    return Answer(grpc.StatusCode.OK, "", responses=responses)


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def _error_info(refused: grpc.aio.AioRpcError) -> tuple[str, dict[str, str]]:
    packed = next((value for key, value in refused.trailing_metadata() or () if key == STATUS_DETAILS_KEY), None)
    if not isinstance(packed, bytes):
        return "", {}
    for detail in status_pb2.Status.FromString(packed).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason, dict(info.metadata)
    return "", {}
