"""One app hands in far more than anyone can send; another one's few messages go on in time. Then everything that crowds the
public port."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from clarion_client import AsyncClient, Channel, Content, Notification, Priority, Push, Recipient, Sent, addresses
from clarion_kit.vocabulary import DeliveryState

from .crowding import crowd
from .finding import Finding, Size
from .polling import until
from .stage import Stage

NAME = "flood"
BULK = {Size.SHORT: 1_000, Size.FULL: 60_000}
HEAD_START = {Size.SHORT: 100, Size.FULL: 5_000}
"""Of the flood that is accepted before the other app's stretch begins."""
SECONDS = {Size.SHORT: 2, Size.FULL: 20}
FIRST_SECONDS = 2
"""Of the other app after a silence, in which bulk had everything."""
PER_SECOND = 50
MOST_MORE_MS = 50.0
"""By how much a flood that is accepted may raise the other one's p99."""
PEOPLE = 200
ENDS_WITHIN = timedelta(minutes=5)
_WORDS = Content(push=Push(title="hello", body="hello"))


@dataclass(frozen=True, slots=True)
class Stretch:
    """One app's sends at a steady rate, each from the moment it was meant for: milliseconds, sorted."""

    answered: Sequence[float]
    sent: Sequence[float]

    def p99(self, of: Sequence[float]) -> float:
        return round(of[min(len(of) - 1, int(len(of) * 0.99))], 1) if of else float("inf")


async def attack(stage: Stage, size: Size) -> Finding:
    """Tenants first, then the crowd. Raises ClarionError, TimeoutError where the flood never ends."""
    escapes: list[str] = []
    for shop in (stage.attacker, stage.victim):
        await shop.client.recipients.upsert_many(
            Recipient(recipient_id=f"flood-{number}", addresses=[addresses.ios(f"f100d{number:059x}")])
            for number in range(PEOPLE)
        )
    await _stretch(stage, 1)
    alone = await _stretch(stage, SECONDS[size])
    head_start = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        handing_in = group.create_task(_hand_in(stage.attacker.client, size, head_start))
        await head_start.wait()
        beside = await _stretch(stage, SECONDS[size])
    accepted, refused = handing_in.result()
    first = await _stretch(stage, FIRST_SECONDS)
    after = await _stretch(stage, SECONDS[size])
    waiting = await _in_flight(stage)
    if refused:
        escapes.append(f"flood: {refused} of {BULK[size]} were refused")
    if size is Size.FULL:
        escapes += _delayed(alone, after, waiting)
    expected = PER_SECOND * SECONDS[size]
    for stretch in (beside, after):
        if len(stretch.sent) < expected:
            escapes.append(f"flood: only {len(stretch.sent)} of another app's {expected} were sent")
    await until(partial(_drained, stage), ENDS_WITHIN)
    crowding = await crowd(stage, size)
    return Finding(
        NAME,
        BULK[size] + crowding.tries,
        [*escapes, *crowding.escapes],
        {
            "bulk_accepted": accepted,
            "bulk_waiting_at_the_end": waiting,
            **{
                f"{what}_{when}_ms": stretch.p99(of)
                for when, stretch in (
                    ("alone", alone),
                    ("while_handed_in", beside),
                    ("first_seconds", first),
                    ("once_accepted", after),
                )
                for what, of in (("p99", stretch.sent), ("send_p99", stretch.answered))
            },
            **crowding.notes,
        },
    )


def _delayed(alone: Stretch, after: Stretch, waiting: int) -> Iterator[str]:
    """What the flood did to the other app's p99, if it did too much, or ended too early to show it. What it does while it is
    handed in, and until bulk has learned to yield, is told and not judged."""
    if not waiting:
        yield "flood: it was over before the other app's stretch was"
    more = after.p99(after.sent) - alone.p99(alone.sent)
    if more > MOST_MORE_MS:
        yield f"flood: another app's p99 grew by {more:.0f} ms to {after.p99(after.sent)} ms once it was accepted"


async def _hand_in(client: AsyncClient, size: Size, head_start: asyncio.Event) -> tuple[int, int]:
    """How many of the flood were accepted, and how many were not."""
    accepted = refused = 0
    bulk = (
        Notification(
            recipients=[f"flood-{number % PEOPLE}"],
            category="transactional",
            channels=[Channel.IOS],
            content=_WORDS,
            priority=Priority.BULK,
        )
        for number in range(BULK[size])
    )
    async with aclosing(client.with_timeout(ENDS_WITHIN).send_many(bulk)) as outcomes:
        async for outcome in outcomes:
            accepted += isinstance(outcome, Sent)
            refused += not isinstance(outcome, Sent)
            if accepted >= HEAD_START[size] or refused:
                head_start.set()
    return accepted, refused


async def _stretch(stage: Stage, seconds: int) -> Stretch:
    """The other app's sends, on time whatever becomes of earlier ones, until each is sent."""
    client = stage.victim.client.with_timeout(ENDS_WITHIN)
    answered: list[float] = []
    meant: dict[str, datetime] = {}
    began, began_at = time.monotonic(), datetime.now(UTC)

    async def one(number: int) -> None:
        moment = number / PER_SECOND
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        sent = await client.send(
            recipients=[f"flood-{number % PEOPLE}"],
            category="transactional",
            channels=[Channel.IOS],
            content=_WORDS,
        )
        answered.append((time.monotonic() - began - moment) * 1e3)
        meant[sent.notification_id] = began_at + timedelta(seconds=moment)

    async with asyncio.TaskGroup() as group:
        for number in range(seconds * PER_SECOND):
            group.create_task(one(number))
    ended = await _ended(stage, list(meant))
    taken = [(ended[one] - moment).total_seconds() * 1e3 for one, moment in meant.items() if one in ended]
    return Stretch(sorted(answered), sorted(taken))


async def _ended(stage: Stage, notification_ids: Sequence[str]) -> dict[str, datetime]:
    """When each was sent, once all are."""
    found: dict[str, datetime] = {}

    async def all_sent() -> bool:
        rows = await stage.pool.fetch(
            """SELECT notification_id, terminal_at FROM ledger.delivery
               WHERE notification_id = ANY ($1::uuid[]) AND state = $2""",
            notification_ids,
            DeliveryState.SENT,
        )
        found.update({str(row["notification_id"]): row["terminal_at"] for row in rows})
        return len(found) >= len(notification_ids)

    await until(all_sent, ENDS_WITHIN)
    return found


async def _in_flight(stage: Stage) -> int:
    """Of the flood, what waits to be planned or sent."""
    return int(
        await stage.pool.fetchval(
            """SELECT (SELECT count(*) FROM ledger.plan_work WHERE app_id = $1)
                    + (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1)""",
            stage.attacker_id,
        )
    )


async def _drained(stage: Stage) -> bool:
    return not await _in_flight(stage)
