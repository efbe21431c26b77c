"""Recipients as the daemon stores and shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import Address
from clarion_preference.attributes import AddressFacts, Attribute
from clarion_preference.domain import Wishes
from clarion_preference.suppressions import Entry, SuppressionReason

DEFAULT_LOCALE = "en"
DEFAULT_TIME_ZONE = "UTC"


class AddressStatus(IntEnum):
    """Whether an address may be used; numbers of clarion.recipient.v1.AddressStatus."""

    ACTIVE = 1
    DEAD = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class RecipientUpdate:
    """A recipient to create or change. Empty texts, `wishes` and `attributes` None keep what is stored; addresses are
    added. `facts`: of each address, where they are told."""

    recipient_id: str
    locale: str = ""
    time_zone: str = ""
    country: str = ""
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    wishes: Wishes | None = None
    attributes: tuple[Attribute, ...] | None = field(default=None, repr=False)
    facts: Mapping[Address, AddressFacts] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Upserted:
    """A stored recipient; ids of the given addresses in their order."""

    created: bool
    address_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """An address as it is shown: masked, empty once removed. `address`: opened, for an export alone."""

    address_id: UUID
    channel: Channel
    masked: str
    status: AddressStatus
    registered_at: datetime
    facts: AddressFacts | None = None
    push_environment: str = ""
    address: Address | None = field(default=None, repr=False)


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
    attributes: tuple[Attribute, ...] = field(default=(), repr=False)


class WishWay(IntEnum):
    """How a wish came to change; numbers of clarion.recipient.v1.WishChangeWay."""

    API = 1
    ONE_CLICK = 2
    SMS_WORD = 3
    PAGE = 4
    MERGE = 5


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a wish: how, and with which of the app's keys."""

    way: WishWay = WishWay.API
    who: str = ""


@dataclass(frozen=True, slots=True)
class WishChange:
    """A change of wishes, as the log has it. `before` and `after` None: none, a word by SMS (`stopped`), or erased."""

    change_id: UUID
    at: datetime
    way: WishWay
    who: str
    revision: int
    before: Wishes | None = None
    after: Wishes | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryTo:
    """A delivery to a person, without its content; state, reason and receipt are numbers of clarion.notification.v1."""

    delivery_id: UUID
    notification_id: UUID
    channel: int
    state: int
    reason: int
    receipt: int
    planned_at: datetime


@dataclass(frozen=True, slots=True)
class Everything:
    """All that is kept of a person, opened."""

    profile: Profile
    created_at: datetime
    former_ids: tuple[str, ...]
    topics: tuple[str, ...]
    wish_changes: tuple[WishChange, ...]
    suppressed: tuple[Entry, ...]
    deliveries: tuple[DeliveryTo, ...]


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
