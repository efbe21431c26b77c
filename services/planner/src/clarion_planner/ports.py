"""What planning needs of the other daemons, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from clarion_kit.vocabulary import Channel
from clarion_ledger.config import Cap, CategoryRule
from clarion_planner.domain import Content, Recipient


@dataclass(frozen=True, slots=True)
class ResolveQuery:
    """One recipient in one category."""

    app_id: int
    recipient_ref: bytes
    category: CategoryRule
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class RenderQuery:
    """One template, locale and data, for some channels. `data` is passed on as it came."""

    app_id: int
    template: str
    version: int
    locale: str
    channels: tuple[Channel, ...]
    data: Struct = field(repr=False)


@dataclass(frozen=True, slots=True)
class RenderedTemplate:
    """`contents` has None for a channel the template has no body for."""

    version: int
    contents: dict[Channel, Content | None]


@dataclass(frozen=True, slots=True)
class CapQuery:
    """One delivery against the caps of its category that apply to its channel."""

    app_id: int
    delivery_id: UUID
    recipient_ref: bytes
    category: str
    channel: Channel
    caps: tuple[Cap, ...]


@dataclass(frozen=True, slots=True)
class CapAnswer:
    """`unchecked`: nobody could say, so it may go. `rule` of what is allowed: why it may go over a limit."""

    allowed: bool
    unchecked: bool = False
    rule: str = ""


@dataclass(frozen=True, slots=True)
class SmsCharge:
    """One SMS against the budgets of its app. `hint` tells of its number; `country`, the recipient's, stands in for it."""

    app_id: int
    delivery_id: UUID
    address_id: bytes
    hint: str
    country: str
    segments: int
    critical: bool


class Preferences(Protocol):
    async def resolve(self, queries: Sequence[ResolveQuery]) -> list[Recipient]:
        """In order. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        ...


class Templates(Protocol):
    async def render(self, queries: Sequence[RenderQuery]) -> list[RenderedTemplate]:
        """In order. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        ...


class Caps(Protocol):
    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """In order. Never raises for a limiter that is away: caps fail open and say so."""
        ...


class Budgets(Protocol):
    async def charge(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        """In order; charged where allowed, the same delivery once. Raises Unavailable while no budget was ever read."""
        ...
