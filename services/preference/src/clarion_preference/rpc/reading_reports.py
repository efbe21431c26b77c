"""What the tracker reports of addresses, as domain values."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.suppression.v1 import suppression_pb2
from clarion_kit.validate import Faults
from clarion_preference.addresses import Address
from clarion_preference.recipients import DeadAddress
from clarion_preference.rpc.faults import RequestFaults
from clarion_preference.rpc.reading_address import read_address
from clarion_preference.suppressions import Decision, Reach, SuppressionReason, SuppressionSource

MAX_ITEMS = 1_000
_UUID_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_UNIX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, where Python's calendar ends."""


class _OfApp(Protocol):
    @property
    def app_id(self) -> int: ...


MessageT = TypeVar("MessageT")


def read_dead(addresses: Sequence[pb.ReportDeadRequest.DeadAddress]) -> list[DeadAddress]:
    """Raises INVALID_FIELD."""

    def check(faults: Faults, address: pb.ReportDeadRequest.DeadAddress) -> None:
        _check_app(faults, address)
        _check_id(faults, "address_id", address.address_id)
        _check_moment(faults, "dead_since_ms", address.dead_since_ms)

    _check_each("addresses", addresses, check)
    return [
        DeadAddress(address.app_id, UUID(bytes=address.address_id), _moment(address.dead_since_ms))
        for address in addresses
    ]


def read_suppressions(items: Sequence[pb.SuppressRequest.Item]) -> tuple[list[Decision], list[int], list[int]]:
    """Decisions, their positions in the request, and the positions of items whose address breaks its rules.

    Raises INVALID_FIELD.
    """

    def check(faults: Faults, item: pb.SuppressRequest.Item) -> None:
        _check_key(faults, item.key)
        _check_moment(faults, "since_ms", item.since_ms)
        faults.require("reason", item.reason in _REASONS, "required")
        faults.require("source", item.source in _SOURCES, "required")

    _check_each("items", items, check)
    return _decisions(
        items,
        lambda item, key: Decision(
            item.key.app_id,
            key,
            SuppressionReason(item.reason),
            SuppressionSource(item.source),
            _moment(item.since_ms),
        ),
    )


def read_lifts(items: Sequence[pb.LiftStopsRequest.Item]) -> tuple[list[Decision], list[int], list[int]]:
    """As `read_suppressions`, of STOP words that are taken back."""

    def check(faults: Faults, item: pb.LiftStopsRequest.Item) -> None:
        _check_key(faults, item.key)
        _check_moment(faults, "at_ms", item.at_ms)

    _check_each("items", items, check)
    return _decisions(
        items,
        lambda item, key: Decision(
            item.key.app_id, key, SuppressionReason.STOP_WORD, SuppressionSource.INBOUND_SMS, _moment(item.at_ms)
        ),
    )


def read_reach(items: Sequence[pb.ReportReachRequest.Item]) -> list[Reach]:
    """Raises INVALID_FIELD."""

    def check(faults: Faults, item: pb.ReportReachRequest.Item) -> None:
        _check_app(faults, item)
        _check_id(faults, "address_id", item.address_id)
        _check_id(faults, "delivery_id", item.delivery_id)
        _check_moment(faults, "at_ms", item.at_ms)

    _check_each("items", items, check)
    return [
        Reach(item.app_id, UUID(bytes=item.address_id), UUID(bytes=item.delivery_id), _moment(item.at_ms), item.arrived)
        for item in items
    ]


_REASONS = frozenset(suppression_pb2.SuppressionReason.values()) - {0}
_SOURCES = frozenset(suppression_pb2.SuppressionSource.values()) - {0}


class _Keyed(Protocol):
    @property
    def key(self) -> pb.AddressKey: ...


KeyedT = TypeVar("KeyedT", bound=_Keyed)


def _decisions(
    items: Sequence[KeyedT], make: Callable[[KeyedT, UUID | Address], Decision]
) -> tuple[list[Decision], list[int], list[int]]:
    decisions: list[Decision] = []
    positions: list[int] = []
    refused: list[int] = []
    for position, item in enumerate(items):
        key = _key(item.key)
        if key is None:
            refused.append(position)
        else:
            decisions.append(make(item, key))
            positions.append(position)
    return decisions, positions, refused


def _key(key: pb.AddressKey) -> UUID | Address | None:
    """None: an address that breaks its rules. Who wrote to us decides what it says, so it fails no other item."""
    if key.WhichOneof("key") == "address_id":
        return UUID(bytes=key.address_id)
    faults = RequestFaults()
    address = read_address(faults, "address", key.address, private_hosts=True)
    return None if faults.found else address


def _check_each(
    field: str, items: Sequence[MessageT], check: Callable[[Faults, MessageT], None], most: int = MAX_ITEMS
) -> None:
    faults = Faults()
    faults.require(field, 1 <= len(items) <= most, f"must be 1-{most:,}")
    for index, item in enumerate(items[:most]):
        with faults.within(f"{field}[{index}]."):
            check(faults, item)
    faults.raise_if_any()


def _check_key(faults: Faults, key: pb.AddressKey) -> None:
    with faults.within("key."):
        _check_app(faults, key)
        kind = key.WhichOneof("key")
        faults.require("key", kind is not None, "required: address_id or address")
        if kind == "address_id":
            _check_id(faults, "address_id", key.address_id)


def _check_app(faults: Faults, item: _OfApp) -> None:
    faults.require("app_id", item.app_id > 0, "required")


def _check_id(faults: Faults, field: str, value: bytes) -> None:
    faults.require(field, len(value) == _UUID_BYTES, "must be 16 bytes")


def _check_moment(faults: Faults, field: str, value: int) -> None:
    faults.require(field, 0 < value <= _MAX_UNIX_MS, "must be Unix milliseconds")


def _moment(value: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=value)
