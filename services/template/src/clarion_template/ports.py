"""What the rules need of the world."""

from collections.abc import Sequence
from typing import Protocol

from clarion_template.domain import NewVersion, Stored, Summary, VersionKey
from clarion_template.guard.protocol import Request


class Store(Protocol):
    """Versions at rest. Every method raises Unavailable while the store is away."""

    async def put(self, new: NewVersion, *, publish: bool) -> int:
        """Store and, if asked, publish; gives the version: an older one where the content is the same."""
        ...

    async def get(self, key: VersionKey) -> Stored | None: ...

    async def summaries(self, app_id: int) -> list[Summary]:
        """By name."""
        ...

    async def publish(self, key: VersionKey) -> bool:
        """False if there is no such version."""
        ...

    async def published(self, names: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
        """(published, latest) version for each (app, name), 0 where there is none."""
        ...


class Guard(Protocol):
    """Renders sources that nobody vouches for."""

    async def render(self, request: Request) -> str:
        """The text. Raises RenderFault, also where the source goes over the guard's limits; DomainError OVERLOADED."""
        ...
