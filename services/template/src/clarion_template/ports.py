"""What the rules need of the world."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from clarion.template.v1.template_service_pb2 import Partial
from clarion_template.domain import Current, Listed, NewVersion, Stored, Summary, Use, VersionKey
from clarion_template.guard.protocol import Conversion, Request


class Store(Protocol):
    """Versions at rest. Every method raises Unavailable while the store is away."""

    async def put(self, new: NewVersion, *, publish: bool) -> int:
        """Store and, if asked, publish; gives the version: an older one where the content is the same."""
        ...

    async def get(self, key: VersionKey) -> Stored | None: ...

    async def summaries(self, app_id: int, *, archived: bool = False) -> list[Summary]:
        """By name, archived ones too if asked."""
        ...

    async def versions(self, app_id: int, name: str, *, before: int, most: int) -> list[Listed]:
        """Versions below `before` (0: all), newest first."""
        ...

    async def publish(self, key: VersionKey, by: str) -> bool:
        """False if there is no such version."""
        ...

    async def archive(self, app_id: int, name: str, *, restore: bool) -> bool:
        """False if there is no such template."""
        ...

    async def used_by(self, app_id: int, name: str, *, most: int) -> list[Use]:
        """Schedules that have not ended and broadcasts that have not been planned, up to `most`; schedules by name first."""
        ...

    async def published(self, names: Sequence[tuple[int, str]]) -> list[Current]:
        """The versions of each (app, name)."""
        ...

    async def put_partial(self, app_id: int, partial: Partial, by: str) -> int:
        """Store; gives the version: the newest where that one is the same."""
        ...

    async def partials(self, app_id: int, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Partial]:
        """Those there are, by name and version as asked (0: the newest); each says its own version."""
        ...

    async def partial_names(self, app_id: int) -> list[tuple[str, int]]:
        """Name and newest version, by name."""
        ...


class Guard(Protocol):
    """Renders sources that nobody vouches for."""

    async def render(self, request: Request) -> str:
        """The text. Raises RenderFault, also where the source goes over the guard's limits; DomainError OVERLOADED."""
        ...

    async def convert(self, request: Conversion) -> str:
        """The source in its new markup. Raises as `render`."""
        ...
