"""The suppression list: which addresses must not be used, why, and who said so."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import Address

SOFT_BOUNCES = 5
"""Soft bounces, none older than `BOUNCES_KEPT`, that suppress an address once `BOUNCE_SPAN` lies between first and last."""
BOUNCE_SPAN = timedelta(days=3)
BOUNCES_KEPT = timedelta(days=30)


class SuppressionReason(IntEnum):
    """Why an address stands on the list; numbers of clarion.suppression.v1.SuppressionReason."""

    APP = 1
    STOP_WORD = 2
    COMPLAINT = 3
    HARD_BOUNCE = 4
    SOFT_BOUNCES = 5
    UNSUBSCRIBED = 6

    @property
    def rule(self) -> str:
        """The rule as gates name it."""
        return f"suppression list: {self.name.lower().replace('_', ' ')}"


class SuppressionSource(IntEnum):
    """Who said so; numbers of clarion.suppression.v1.SuppressionSource."""

    APP = 1
    INBOUND_SMS = 2
    PROVIDER = 3
    BOUNCE_MAIL = 4


@dataclass(frozen=True, slots=True)
class Decision:
    """An address that is to stand on the list, or come off it, for a reason. `key`: its id, or the address as it is.

    Of decisions about one address and reason the latest (`at`) counts, in whatever order they come; one in the future
    counts as now, by the database's clock, and so does None.
    """

    app_id: int
    key: UUID | Address = field(repr=False)
    reason: SuppressionReason
    source: SuppressionSource
    at: datetime | None = None
    note: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a batch: how many addresses moved, and the positions of those that nobody knows by their id."""

    moved: int
    unknown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """A delivery arrived at an address, or bounced softly."""

    app_id: int
    address_id: UUID
    delivery_id: UUID
    at: datetime
    arrived: bool


class Place(NamedTuple):
    """Where an entry stands in its app's list, latest first."""

    since: datetime
    address_id: UUID
    reason: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as its app sees it; `address` is None where it was removed or erased."""

    place: Place
    channel: Channel
    reason: SuppressionReason
    source: SuppressionSource
    address: Address | None = field(repr=False)
    note: str = field(default="", repr=False)
