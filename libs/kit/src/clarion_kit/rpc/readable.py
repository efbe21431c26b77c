"""Requests that are no messages: refused like every other fault, after the caller is known.

gRPC itself would answer a stranger with the name of our exception, and write a traceback for each.
"""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from google.protobuf.message import DecodeError

from clarion_kit.errors import DomainError, ErrorReason

MessageT = TypeVar("MessageT")


class Unreadable:
    """Stands in for a request that could not be parsed."""


UNREADABLE = Unreadable()


def tolerant(deserialize: Callable[[bytes], MessageT] | None) -> "Callable[[bytes], MessageT | Unreadable] | None":
    """The same deserializer, giving UNREADABLE where it would raise."""
    if deserialize is None:
        return None

    def read(request: bytes) -> MessageT | Unreadable:
        try:
            return deserialize(request)
        except DecodeError:
            return UNREADABLE

    return read


def readable(request: object) -> object:
    """The request itself. Raises INVALID_FIELD for what is no message."""
    if request is UNREADABLE:
        raise DomainError(ErrorReason.INVALID_FIELD, "the request is no message of this method")
    return request


async def readable_stream(requests: AsyncIterator[object]) -> AsyncIterator[object]:
    """The requests themselves. Raises INVALID_FIELD at one that is no message."""
    async for request in requests:
        yield readable(request)
