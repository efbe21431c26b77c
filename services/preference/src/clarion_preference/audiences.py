"""Parts of an app's recipients, as broadcasts walk them."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """Recipients whose attribute has one of these values."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audience:
    """Subscribers of a topic, or those who meet every condition; without both every recipient."""

    topic: str = ""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Which next recipients: behind a reference, without those that came after `as_of`."""

    audience: Audience
    as_of: datetime
    after: bytes = field(default=bytes(16))
    size: int = 1
