"""What deciding needs of the world."""

from collections.abc import Sequence
from typing import Protocol

from clarion_rate_limiter.domain import Grant, Item


class SharedLimits(Protocol):
    """Limits that all replicas share. Both raise SharedLimitsUnavailable within their time limit."""

    async def decide(self, items: Sequence[Item], *, take: bool) -> list[Grant]:
        """In the order of the items; items of one app are decided at one moment, one after the other."""
        ...

    async def ping(self) -> None: ...
