"""What planning needs of the other daemons, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from google.protobuf.struct_pb2 import Struct

from clarion_kit.vocabulary import Channel
from clarion_ledger.caps import CapAnswer, CapQuery, Caps
from clarion_ledger.config import CategoryRule
from clarion_planner.domain import Content, Recipient

__all__ = [
    "Budgets",
    "CapAnswer",
    "CapQuery",
    "Caps",
    "Preferences",
    "RenderQuery",
    "RenderedTemplate",
    "ResolveQuery",
    "SmsCharge",
    "Templates",
]


class ResolveQuery(NamedTuple):
    """One recipient in one category."""

    app_id: int
    recipient_ref: bytes
    category: CategoryRule
    channels: tuple[Channel, ...]


class RenderQuery(NamedTuple):
    """One template, locale and data, for some channels; times are told in `time_zone` (empty: UTC). `data` is passed on as it
    came."""

    app_id: int
    template: str
    version: int
    locale: str
    channels: tuple[Channel, ...]
    data: Struct
    time_zone: str = ""

    def __repr__(self) -> str:
        return f"RenderQuery({self.app_id}, {self.template!r}, {self.version}, {self.locale!r})"


class RenderedTemplate(NamedTuple):
    """`contents` has None for a channel the template has no body for. `track_links`: its links tell of clicks."""

    version: int
    contents: dict[Channel, Content | None]
    track_links: bool = False


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


class Budgets(Protocol):
    async def charge(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        """In order; charged where allowed, the same delivery once. Raises Unavailable while no budget was ever read."""
        ...

    async def look(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        """What `charge` would say, as far as is known here, with nothing charged. Raises as `charge`."""
        ...
