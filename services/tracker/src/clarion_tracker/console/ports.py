"""What the console needs of the world."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from clarion_tracker.console.facts import Found, NotificationFacts, Overview, Span
from clarion_tracker.console.session import Session


class Vouching(Protocol):
    """Whoever knows keys and tokens."""

    async def log_in(self, app_key: str, app_secret: str) -> Session | None:
        """A session for a key and secret with the scope `admin`, None for any others. Raises Unavailable."""
        ...

    async def vouches(self, session: Session) -> bool:
        """Whether its token still opens what admins may see; a revoked key is known within seconds. Raises Unavailable."""
        ...


class Facts(Protocol):
    """The ledger, across all apps."""

    async def overview(self, span: Span) -> Overview:
        """At most some seconds old. Raises Unavailable."""
        ...

    async def search(self, text: str, app: str) -> Sequence[Found]:
        """Notifications with that id, with a delivery of that id, with that event id, or to that recipient (the client's id,
        or the mesh's reference); newest first. `app` empty: of all. Raises Unavailable."""
        ...

    async def notification(self, notification_id: UUID) -> NotificationFacts | None:
        """One of any app. Raises Unavailable."""
        ...

    async def apps(self) -> Sequence[str]:
        """Names of all apps. Raises Unavailable."""
        ...
