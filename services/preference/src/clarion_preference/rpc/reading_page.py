"""Preference pages: requests as domain values, every fault named."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.domain import Wishes, switched
from clarion_preference.page_links import DEFAULT_LIFE, MAX_LIFE
from clarion_preference.rpc.reading_wishes import read_channel

MAX_SWITCHES = 500
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch; `channel` None: all channels, `category` empty: all categories."""

    channel: Channel | None
    category: str
    enabled: bool


def read_whose(faults: Faults, request: pb.ShowWishesRequest | pb.SwitchWishesRequest) -> None:
    """App and recipient are there."""
    faults.require("app_id", request.app_id > 0, "required")
    faults.require("recipient_ref", len(request.recipient_ref) == _UUID_BYTES, "must be 16 bytes")


def read_switches(request: pb.SwitchWishesRequest) -> tuple[UUID, list[Switch]]:
    """Whose and which. Raises INVALID_FIELD with every fault."""
    faults = Faults()
    read_whose(faults, request)
    faults.require("switches", 1 <= len(request.switches) <= MAX_SWITCHES, f"must be 1-{MAX_SWITCHES}")
    switches: list[Switch] = []
    for index, switch in enumerate(request.switches[:MAX_SWITCHES]):
        with faults.within(f"switches[{index}]."):
            channel = read_channel(faults, "channel", switch.channel)
            if switch.category:
                faults.name("category", switch.category)
        switches.append(Switch(channel, switch.category, switch.enabled))
    faults.raise_if_any()
    return UUID(bytes=request.recipient_ref), switches


def turned(wishes: Wishes, switches: Sequence[Switch]) -> Wishes:
    """Wishes after all switches, in their order."""
    for switch in switches:
        wishes = switched(wishes, switch.channel, switch.category, enabled=switch.enabled)
    return wishes


def read_expiry(stamp: Timestamp | None, now: datetime) -> datetime:
    """When a page's link ends. Raises INVALID_FIELD, EXPIRY_IN_PAST."""
    if stamp is None:
        return now + DEFAULT_LIFE
    faults = Faults()
    try:
        expire_at = stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        expire_at = now
        faults.add("expire_at", "is no time of the years 1-9999")
    faults.require("expire_at", expire_at <= now + MAX_LIFE, f"must be at most {MAX_LIFE.days} days ahead")
    faults.raise_if_any()
    if expire_at <= now:
        fault = "must be later than now"
        raise DomainError(ErrorReason.EXPIRY_IN_PAST, f"expire_at {fault}", fields=[FieldFault("expire_at", fault)])
    return expire_at
