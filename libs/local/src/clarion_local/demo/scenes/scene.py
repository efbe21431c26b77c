"""What a scene has to tell, and the stage it is played on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from clarion.notification.v1.notification_service_pb2 import Delivery, GetResponse
from clarion.recipient.v1.recipient_service_pb2 import Wishes
from clarion.types.v1.address_pb2 import Address
from clarion_client import AsyncClient, JsonValue, Notification, Priority, Recipient
from clarion_kit.vocabulary import DeliveryState, NotificationState, Reason
from clarion_local.demo.practice_room import PracticeRoom

LIMIT = timedelta(seconds=30)
_POLL = timedelta(milliseconds=100)
_ENDED = (NotificationState.DONE, NotificationState.CANCELLED, NotificationState.EXPIRED)

SeenT = TypeVar("SeenT")


@dataclass(frozen=True, slots=True)
class Told:
    """What a person reads of a scene (`line`) and a machine (`facts`). `notifications`: how many it handed in, those that
    a broadcast made included; `fault`: what was not as promised, empty if all was."""

    name: str
    line: str
    notifications: int = 0
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    fault: str = ""


class Late(Exception):
    """What a scene waited for did not come in time."""


class Stage:
    """The shop's client and the sandbox, for people who are there for this run alone."""

    def __init__(self, client: AsyncClient, room: PracticeRoom, run: str) -> None:
        self.client = client
        self.room = room
        self.run = run

    async def person(
        self, name: str, addresses: Sequence[Address], *, time_zone: str = "", wishes: Wishes | None = None
    ) -> str:
        """Store somebody; gives their id. Raises ClarionError."""
        recipient_id = f"{self.run}-{name}"
        await self.client.recipients.upsert(
            Recipient(recipient_id=recipient_id, time_zone=time_zone, addresses=addresses, wishes=wishes)
        )
        return recipient_id

    async def send(self, what: str, notification: Notification) -> str:
        """Hand in, urgent so that no bulk is in front of it; gives the notification's id. Raises ClarionError."""
        named = replace(notification, event_id=f"{self.run}:{what}", priority=Priority.URGENT)
        return (await self.client.send(named)).notification_id

    async def ended(self, notification_id: str, limit: timedelta = LIMIT) -> GetResponse:
        """The notification once nothing of it is in flight. Raises ClarionError, Late."""

        async def look() -> GetResponse | None:
            whole = await self.client.get(notification_id)
            return whole if NotificationState(whole.notification.state) in _ENDED else None

        return await until(look, limit)


async def until(look: Callable[[], Awaitable[SeenT | None]], limit: timedelta = LIMIT) -> SeenT:
    """What `look` finds first. Raises Late after `limit`."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + limit.total_seconds()
    while (found := await look()) is None:
        if clock.time() >= deadline:
            raise Late(f"nothing came of it within {limit.total_seconds():g} s")
        await asyncio.sleep(_POLL.total_seconds())
    return found


def ends(delivery: Delivery) -> str:
    """How a delivery ended, as the summary names it: "sent", "suppressed: capped"."""
    state = DeliveryState(delivery.state).name.lower()
    return f"{state}: {Reason(delivery.reason).name.lower()}" if delivery.reason else state
