"""Recipients as the daemon stores and shows them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import Address
from clarion_preference.domain import Wishes
from clarion_preference.suppressions import SuppressionReason

DEFAULT_LOCALE = "en"
DEFAULT_TIME_ZONE = "UTC"


class AddressStatus(IntEnum):
    """Whether an address may be used; numbers of clarion.recipient.v1.AddressStatus."""

    ACTIVE = 1
    DEAD = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class RecipientUpdate:
    """A recipient to create or change. Empty texts and `wishes` None keep what is stored; addresses are added."""

    recipient_id: str
    locale: str = ""
    time_zone: str = ""
    country: str = ""
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    wishes: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Upserted:
    """A stored recipient; ids of the given addresses in their order."""

    created: bool
    address_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """An address as it is shown: masked, empty once removed."""

    address_id: UUID
    channel: Channel
    masked: str
    status: AddressStatus
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """One recipient, addresses newest registration first."""

    recipient_id: str
    locale: str
    time_zone: str
    country: str
    wishes: Wishes
    addresses: tuple[KnownAddress, ...]
    revision: int


class Sought(NamedTuple):
    """A recipient (by its 16-byte reference) whose addresses of some channels are sought."""

    app_id: int
    recipient_ref: bytes
    channels: Sequence[int]


class SealedAddress(NamedTuple):
    """A usable address that only a dispatcher can read."""

    address_id: bytes
    sealed: bytes
    hint: str


@dataclass(slots=True)
class Reachable:
    """A recipient as planning needs it; usable addresses by channel number, newest registration first. `suppressed`: of
    channels with addresses that only the suppression list forbids, why (the first reason)."""

    locale: str
    time_zone: str
    country: str
    wishes: Wishes
    revision: int
    addresses: dict[int, list[SealedAddress]]
    suppressed: dict[int, SuppressionReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadAddress:
    """An address that a provider called dead, and since when."""

    app_id: int
    address_id: UUID
    dead_since: datetime
