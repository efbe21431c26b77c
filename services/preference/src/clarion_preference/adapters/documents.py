"""Wishes as stored: one serialised clarion.recipient.v1.Wishes.

A document and not columns, because it is always read and written whole; protobuf and not jsonb, because the contract
is its schema (its changes are checked already) and decoding 500 of them is part of every planned batch.
"""

from functools import lru_cache

from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion_preference.domain import NO_WISHES, Wishes
from clarion_preference.wire import wishes_from_proto, wishes_to_proto

_REMEMBERED = 4096


def to_document(wishes: Wishes) -> bytes:
    """Equal wishes give equal bytes."""
    return wishes_to_proto(wishes).SerializeToString(deterministic=True)


@lru_cache(maxsize=_REMEMBERED)
def from_document(document: bytes | None) -> Wishes:
    """None or empty: none. Remembered by content, since most recipients of an app share few different documents."""
    return wishes_from_proto(recipient.Wishes.FromString(document)) if document else NO_WISHES
