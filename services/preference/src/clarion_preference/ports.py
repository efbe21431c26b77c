"""What the rules and the edge need from outside."""

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from clarion_kit.errors import DomainError
from clarion_kit.vocabulary import Channel
from clarion_preference.addresses import Address
from clarion_preference.attributes import AddressFacts
from clarion_preference.audiences import Audience, Page
from clarion_preference.domain import Wishes
from clarion_preference.recipients import (
    Actor,
    DeadAddress,
    Everything,
    Profile,
    Reachable,
    RecipientUpdate,
    Sought,
    Upserted,
    WishChange,
)
from clarion_preference.suppressions import Decided, Decision, Entry, Place, Reach, SuppressionReason


class Directory(Protocol):
    """Recipients of one app at a time. Every method may raise `Unavailable`; what was returned is durable."""

    async def upsert(
        self, app_id: int, updates: Sequence[RecipientUpdate], actor: Actor | None = None
    ) -> list[Upserted | DomainError]:
        """Store recipients, none twice, each on its own; results in their order. A refused one stores nothing.

        An address given by several belongs to the last. `actor`: who changes wishes, if any are among it.
        """
        ...

    async def profile(self, app_id: int, recipient_id: str) -> Profile:
        """Raises RECIPIENT_NOT_FOUND."""
        ...

    async def register(
        self, app_id: int, recipient_id: str, address: Address, facts: AddressFacts | None = None
    ) -> UUID:
        """Add, refresh or take over an address. Raises RECIPIENT_NOT_FOUND."""
        ...

    async def remove(self, app_id: int, recipient_id: str, address: UUID | Address) -> None:
        """Remove an address, if the recipient has it. Raises RECIPIENT_NOT_FOUND."""
        ...


class People(Protocol):
    """Whole persons of one app. Every method may raise `Unavailable`; what was returned is durable."""

    async def merge(self, app_id: int, into_id: str, from_id: str, who: str) -> int:
        """Make two recipients one; gives the revision of the one that stays. Doing it again changes nothing.

        Raises RECIPIENT_NOT_FOUND, INVALID_FIELD where one of them was merged elsewhere.
        """
        ...

    async def everything(self, app_id: int, recipient_id: str) -> Everything:
        """Raises RECIPIENT_NOT_FOUND."""
        ...

    async def erase(self, app_id: int, recipient_id: str) -> None:
        """Raises RECIPIENT_NOT_FOUND for one that never was. Doing it again changes nothing."""
        ...


class WishBook(Protocol):
    """Wishes of recipients and the log of their changes. Every method may raise `Unavailable`; what was returned is
    durable."""

    async def wishes(self, app_id: int, recipient_id: str) -> tuple[Wishes, int]:
        """Wishes and revision. Raises RECIPIENT_NOT_FOUND."""
        ...

    async def set_wishes(self, app_id: int, recipient_id: str, wishes: Wishes, if_revision: int, actor: Actor) -> int:
        """Replace wishes if the revision is `if_revision` (0: in any case) or they are stored already; gives the
        revision. Raises RECIPIENT_NOT_FOUND, REVISION_CONFLICT."""
        ...

    async def change_wishes(
        self, app_id: int, recipient_id: str, change: Callable[[Wishes], Wishes], actor: Actor
    ) -> int:
        """Apply a rule to the stored wishes, alone; gives the revision. Raises RECIPIENT_NOT_FOUND, what `change` raises."""
        ...

    async def change_wishes_of(
        self, app_id: int, recipient_ref: UUID, change: Callable[[Wishes], Wishes], actor: Actor
    ) -> int:
        """The same for a recipient by its reference."""
        ...

    async def changes(self, app_id: int, recipient_id: str, limit: int, before: UUID | None) -> list[WishChange]:
        """Up to `limit` changes before one, latest first. Raises RECIPIENT_NOT_FOUND."""
        ...


class Topics(Protocol):
    """Topics of one app. Every method may raise `Unavailable`; what was returned is durable."""

    async def subscribe(self, app_id: int, topic: str, recipient_ids: Sequence[str]) -> tuple[int, list[int]]:
        """How many were added, and positions of ids that nobody has."""
        ...

    async def unsubscribe(self, app_id: int, topic: str, recipient_ids: Sequence[str]) -> int:
        """How many were removed."""
        ...

    async def count(self, app_id: int, topic: str) -> int:
        """Subscribers."""
        ...

    async def topics_of(self, app_id: int, recipient_id: str, limit: int, after: str) -> list[str]:
        """Up to `limit` topics behind one, by name. Raises RECIPIENT_NOT_FOUND."""
        ...


class Audiences(Protocol):
    """Audiences of every app. Every method may raise `Unavailable`."""

    async def page(self, app_id: int, page: Page) -> list[bytes]:
        """References, ascending; fewer than the page holds: the last page."""
        ...

    async def estimate(self, app_id: int, audience: Audience) -> int:
        """About how many there are: exact for few, else from statistics; of several conditions the size of the smallest."""
        ...


class AddressBook(Protocol):
    """Batches over all apps. Every method may raise `Unavailable`."""

    async def reachable(self, sought: Sequence[Sought]) -> list[Reachable | None]:
        """In their order; None: unknown."""
        ...

    async def report_dead(self, addresses: Sequence[DeadAddress]) -> int:
        """Disable addresses that are in use and were not registered again since; gives how many."""
        ...


class SuppressionList(Protocol):
    """Every app's list. Every method may raise `Unavailable`; what was returned is durable."""

    async def put(self, decisions: Sequence[Decision]) -> Decided:
        """Put addresses on the list."""
        ...

    async def lift(self, decisions: Sequence[Decision]) -> Decided:
        """Take addresses off the list, each for its reason alone."""
        ...

    async def unsuppress(self, app_id: int, address: Address) -> None:
        """Take an address off the list, whatever put it there."""
        ...

    async def page(
        self, app_id: int, limit: int, after: Place | None, channel: Channel | None, reason: SuppressionReason | None
    ) -> list[Entry]:
        """Up to `limit` entries behind `after`, latest first."""
        ...

    async def report_reach(self, reached: Sequence[Reach]) -> int:
        """Count soft bounces and arrivals; gives how many addresses came on the list by it."""
        ...
