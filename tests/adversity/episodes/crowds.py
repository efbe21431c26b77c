"""A broadcast whose planners and schedulers die on its way, while people of it and of the load are erased and merged (rows 8,
18, 45)."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar
from uuid import UUID

from clarion_client import Channel, Content, DeadlineExceeded, Mail, Recipient, Unavailable, addresses
from clarion_client.calls.broadcasts import broadcast
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import BroadcastState, DeliveryState, Reason
from clarion_ledger.broadcasts import child_id
from tests.adversity import shop
from tests.adversity.crowd import Audience, Sending, complaints, too_late
from tests.adversity.episodes.base import GENTLE, Episode
from tests.adversity.evidence import arrivals, delivery_of
from tests.adversity.report import Report
from tests.adversity.trial import trial
from tests.adversity.world import World, open_world

T = TypeVar("T")

MEMBERS = 3_600
_PACE_PER_SECOND = 100
"""Half a minute and more: time for every strike."""
_TOPIC = "crowd"
_SUBSCRIBE_AT_ONCE = 1_000
_BEFORE = 100
_ERASED_EACH_TIME, _MERGED_EACH_TIME = 6, 4
_DIES_WITHIN_SECONDS = 40.0
_PLANNED_WITHIN_SECONDS = 180.0
_IN_FLIGHT_WITHIN_SECONDS = 60.0
_ANSWERS_WITHIN_SECONDS = 120.0
_IN_FLIGHT = """
SELECT w.recipient_ref FROM ledger.delivery_work w JOIN ledger.notification n ON n.id = w.notification_id
WHERE n.broadcast_id = $1 ORDER BY w.delivery_id
"""
_CHILDREN = """
SELECT n.id, d.id AS delivery_id, d.state, d.reason, d.ambiguous
FROM ledger.notification n JOIN ledger.delivery d ON d.notification_id = n.id WHERE n.broadcast_id = $1
"""
_CALLS = """
SELECT d.recipient_ref, a.started_at FROM ledger.delivery d JOIN ledger.attempt a ON a.delivery_id = d.id
WHERE d.recipient_ref = ANY ($1)
"""


@dataclass(slots=True)
class _People:
    """Members of the crowd, and what was done to them."""

    world: World
    random: Random
    members: Sequence[str]
    untouched: list[str] = field(default_factory=list)
    erased: dict[str, float] = field(default_factory=dict)
    """Who, and when that was acknowledged (Unix seconds)."""
    merged: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.untouched = list(self.members)
        self.random.shuffle(self.untouched)

    def ref(self, recipient_id: str) -> UUID:
        return UUID(bytes=recipient_reference(self.world.app_id, recipient_id))

    async def change(self, among: Collection[str] = ()) -> None:
        """Erase and merge some, those `among` first; and erase somebody whom the load writes to."""
        chosen = sorted(self.untouched, key=lambda one: one not in among)
        count = _ERASED_EACH_TIME + 2 * _MERGED_EACH_TIME
        chosen, self.untouched = chosen[:count], chosen[count:]
        for one in (*chosen[:_ERASED_EACH_TIME], f"p{self.random.randrange(shop.PEOPLE)}"):
            if one not in self.erased:
                await _patiently(partial(self.world.client.recipients.erase, one))
                self.erased[one] = time.time()
        pairs = chosen[_ERASED_EACH_TIME:]
        for stays, goes in zip(pairs[::2], pairs[1::2], strict=True):
            await _patiently(partial(self.world.client.recipients.merge, stays, goes))
            self.merged[goes] = stays


class Crowd(Episode):
    name = "a broadcast while planners and schedulers die and people are erased and merged"

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        random = Random(f"{seed} crowd")
        async with open_world(folder) as world:
            people = _People(world, random, await _gathered(world))
            async with trial(world, GENTLE, seed, report) as running:
                await running.accepts(_BEFORE, 60)
                id_ = await _started(world)
                await world.script.put(self.name, {"provider": "smtp", "answer": "outage"})
                await people.change(among=await _in_flight(world, id_, people))
                await world.script.put(self.name)
                fleet = world.fleet
                for number, point in enumerate(("broadcast.children_planned", "broadcast.after_commit")):
                    for daemon, row in (("planner", 18), ("scheduler", 8)):
                        replica = random.choice(fleet.names(daemon))
                        await fleet.kill(replica)
                        await people.change()
                        await fleet.start(replica)
                        running.struck(row, f"{daemon} killed amid a broadcast")
                    await _dies_at(world, fleet.names("planner")[number], point)
                    running.struck(18, f"planner dies amid a broadcast, at {point}")
                await _planned(world, id_)
                await running.recovered(self.name)
            found = await _children(world, id_, people)
            report.complaints += complaints(Audience(people.members, people.erased, people.merged), found.children)
            if late := too_late(people.erased, await _calls(world, people)):
                report.complaints.append(f"{len(late)} were sent to though they were erased, such as {late[0]}")
            if found.taken_back:
                running.struck(45, "people erased with messages in flight")
            else:
                report.complaints.append("nothing was in flight for anybody who was erased")


async def _gathered(world: World) -> list[str]:
    """The crowd, registered and subscribed."""
    members = [f"c{number}" for number in range(MEMBERS)]
    crowd = [Recipient(recipient_id=one, addresses=[addresses.mail(f"{one}@example.com")]) for one in members]
    await _patiently(partial(world.client.recipients.upsert_many, crowd))
    for start in range(0, MEMBERS, _SUBSCRIBE_AT_ONCE):
        some = members[start : start + _SUBSCRIBE_AT_ONCE]
        await _patiently(partial(world.client.topics.subscribe, _TOPIC, some))
    return members


async def _started(world: World) -> UUID:
    """By mail, which names its delivery: what is for many says nothing of whose it is."""
    asked = broadcast(
        event_id="crowd",
        topic=_TOPIC,
        category=shop.AT_LEAST_ONCE,
        content=Content(mail=Mail(subject="To all", text="For everybody.")),
        channels=[Channel.EMAIL],
        pace_per_second=_PACE_PER_SECOND,
    )
    started = await _patiently(partial(world.client.broadcasts.start, asked))
    return UUID(started.broadcast_id)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: all that is asked here may be repeated."""
    async with asyncio.timeout(_ANSWERS_WITHIN_SECONDS):
        while True:
            try:
                return await call()
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(0.5)


async def _dies_at(world: World, replica: str, point: str) -> None:
    fleet = world.fleet
    await fleet.kill(replica)
    await fleet.start(replica, {"CLARION_CRASH_POINT": point}, may_end=True, serving_within=None)
    async with asyncio.timeout(_DIES_WITHIN_SECONDS):
        await fleet.until_ended(replica)
    await fleet.start(replica)


async def _in_flight(world: World, id_: UUID, people: _People) -> set[str]:
    """Members who wait for their mail, once enough do."""
    names = {people.ref(one): one for one in people.untouched}
    async with asyncio.timeout(_IN_FLIGHT_WITHIN_SECONDS):
        while True:
            rows = await world.pool.fetch(_IN_FLIGHT, id_)
            waiting = {names[row["recipient_ref"]] for row in rows if row["recipient_ref"] in names}
            if len(waiting) >= _ERASED_EACH_TIME + 2 * _MERGED_EACH_TIME:
                return waiting
            await asyncio.sleep(0.2)


async def _planned(world: World, id_: UUID) -> None:
    async with asyncio.timeout(_PLANNED_WITHIN_SECONDS):
        # The planners tell nobody but the ledger.
        while (  # noqa: ASYNC110
            await world.pool.fetchval("SELECT state FROM ledger.broadcast WHERE broadcast_id = $1", id_)
            != BroadcastState.PLANNED
        ):
            await asyncio.sleep(0.5)


@dataclass(frozen=True, slots=True)
class _Found:
    """What became of the children; `taken_back`: how many ended since their recipient was erased."""

    children: Mapping[str, Sequence[Sending]]
    taken_back: int


async def _children(world: World, id_: UUID, people: _People) -> _Found:
    names = {child_id(id_, people.ref(one)): one for one in people.members}
    came = defaultdict(list)
    for message in arrivals(world.sandbox_ledger):
        came[delivery_of(message["our_id"])].append(float(message["received_at"]))
    children: dict[str, list[Sending]] = defaultdict(list)
    taken_back = 0
    for row in await world.pool.fetch(_CHILDREN, id_):
        sending = Sending(DeliveryState(row["state"]), row["ambiguous"], came[str(row["delivery_id"])])
        children[names.get(row["id"], "nobody")].append(sending)
        taken_back += row["reason"] == Reason.ERASED
    return _Found(children, taken_back)


async def _calls(world: World, people: _People) -> dict[str, list[float]]:
    """When calls of providers for erased people began, whatever became of them."""
    names = {people.ref(one): one for one in people.erased}
    calls: dict[str, list[float]] = defaultdict(list)
    for row in await world.pool.fetch(_CALLS, list(names)):
        calls[names[row["recipient_ref"]]].append(row["started_at"].timestamp())
    return calls
