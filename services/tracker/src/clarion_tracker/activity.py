"""What people and machines do with a delivery, as links and apps tell it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

from clarion_kit.links import OpenLink
from clarion_kit.vocabulary import Receipt


class Kind(IntEnum):
    """What was done; numbers are those of `tracking.activity`. From RECEIVED on apps tell it."""

    OPENED = 1
    CLICKED = 2
    RECEIVED = 3
    PUSH_OPENED = 4
    PUSH_CLICKED = 5
    CLOSED = 6
    READ = 7
    CONVERTED = 8


RECEIPTS: Mapping[Kind, Receipt] = {
    Kind.OPENED: Receipt.SEEN,
    Kind.CLICKED: Receipt.CLICKED,
    Kind.RECEIVED: Receipt.DELIVERED,
    Kind.PUSH_OPENED: Receipt.SEEN,
    Kind.PUSH_CLICKED: Receipt.CLICKED,
    # Whoever closes it has it.
    Kind.CLOSED: Receipt.DELIVERED,
    Kind.READ: Receipt.SEEN,
}


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that counts once, and how often. `mark`: the number of a link."""

    delivery: OpenLink
    kind: Kind
    machine: bool = False
    mark: str = ""


EventIdentity = tuple[UUID, Kind, str]
"""Delivery, kind and the app's own id."""


@dataclass(frozen=True, slots=True)
class AppEvent:
    """What an app told. `id`: its own, the same in each repetition; `name`, `amount` and `currency` (ISO 4217): of a conversion."""

    delivery: OpenLink
    kind: Kind
    id: str
    name: str = ""
    amount: Decimal | None = field(default=None, repr=False)
    currency: str = ""

    @property
    def identity(self) -> EventIdentity:
        """The same in each repetition."""
        return self.delivery.delivery_id, self.kind, self.id
