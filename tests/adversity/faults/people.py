"""Single notifications that are bad by themselves: to a dead token, or with a payload that nobody can read."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from clarion_client import Channel, ClarionError, Notification, Priority
from clarion_kit.vocabulary import DeliveryState, Reason
from tests.adversity import shop
from tests.adversity.faults.base import Fault, demand, fired
from tests.adversity.told import Register, Word
from tests.adversity.world import World

_ENDS_WITHIN_SECONDS = 60.0
_NEVER_GOOD_AGAIN: dict[Channel, str] = {Channel.IOS: "dead410000", Channel.ANDROID: "dead404000"}


async def sent_ok(world: World, register: Register, one: Notification) -> str:
    """Hand one in until it is OK; its notification id."""
    register.handed_in(one, at_most_once=one.category == shop.AT_MOST_ONCE, phase="single")
    while register.events[one.event_id].word is not Word.OK:
        try:
            register.heard(one.event_id, await world.client.send(one))
        except ClarionError as error:
            register.heard(one.event_id, error)
            await asyncio.sleep(0.2)
    return register.events[one.event_id].notification_id


class _Single(Fault):
    """A notification of its own."""

    notification_id = ""

    @property
    def register(self) -> Register:
        return self.world.register

    async def hold(self) -> None:
        """Nothing: it has been sent."""

    async def heal(self) -> None:
        """Nothing: it has to end by itself."""

    async def ended(self) -> tuple[DeliveryState, Reason | None] | None:
        """How its one delivery ended, None if it has not within a minute."""
        try:
            async with asyncio.timeout(_ENDS_WITHIN_SECONDS):
                while True:
                    row = await self.world.pool.fetchrow(
                        "SELECT state, reason FROM ledger.delivery WHERE notification_id = $1 AND state >= 20",
                        self.notification_id,
                    )
                    if row is not None:
                        return DeliveryState(row["state"]), Reason(row["reason"]) if row["reason"] else None
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return None


class DeadToken(_Single):
    row, name = 27, "a token is dead"
    parts: ClassVar = ()
    share = 3

    async def inject(self) -> None:
        number = self.random.randrange(1 << 30)
        channel = self.random.choice(sorted(_NEVER_GOOD_AGAIN))
        recipient = shop.person(
            self.world.practice, f"dead{number}", number % 1_000_000, token_prefix=_NEVER_GOOD_AGAIN[channel]
        )
        await self.world.client.recipients.upsert(recipient)
        one = shop.notification(f"dead-{number}", f"dead{number}", channel, shop.AT_LEAST_ONCE, Priority.NORMAL)
        self.notification_id = await sent_ok(self.world, self.register, one)

    async def prove(self) -> None:
        ended = await self.ended()
        demand(ended == (DeliveryState.FAILED, Reason.ADDRESS_DEAD), f"a delivery to a dead token ended {ended}")


class Poison(_Single):
    row, name = 22, "a notification that nobody can read"
    parts: ClassVar = ()
    share = 3
    spoilt = 0

    async def inject(self) -> None:
        number = self.random.randrange(1 << 30)
        soon = shop.notification(f"poison-{number}", "p0", Channel.SMS, shop.AT_LEAST_ONCE, Priority.NORMAL)
        due = datetime.now(UTC) + timedelta(seconds=3)
        one = Notification(
            event_id=soon.event_id,
            recipients=soon.recipients,
            category=soon.category,
            template=soon.template,
            data=soon.data,
            channels=soon.channels,
            deliver_at=due,
        )
        self.notification_id = await sent_ok(self.world, self.register, one)
        spoilt = await self.world.pool.execute(
            "UPDATE ledger.schedule SET payload = $2 WHERE notification_id = $1",
            self.notification_id,
            self.random.randbytes(64),
        )
        self.spoilt = int(spoilt.rpartition(" ")[2])

    async def prove(self) -> None:
        fired(self.spoilt == 1, "it was planned before it was spoilt")
        ended = await self.ended()
        demand(ended is not None and ended[0] is not DeliveryState.SENT, f"an unreadable notification ended {ended}")
