"""A dispatch engine at work on a real ledger, with providers that do what a test says."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.types.v1.address_pb2 import Address, AndroidDevice
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.engine.admission import Collaborators
from clarion_channels.engine.dead import DeadAddress, DeadAddresses
from clarion_channels.engine.engine import DispatchEngine
from clarion_channels.engine.lanes import Lane, Lanes
from clarion_channels.engine.lease import Leases
from clarion_channels.engine.pacing import Pacer
from clarion_channels.engine.policies import Pace, Policies
from clarion_channels.engine.wishes import Again, Wishes
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_kit.bus import Batch, Verdict
from clarion_kit.errors import unavailable
from clarion_kit.scavenger import Scavenger
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Priority
from clarion_ledger import admin, stops
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.audit import audit
from clarion_ledger.caps import Caps, NoCaps
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_ledger.db import Pool, pool
from clarion_ledger.dispatching import Claimed
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan
from clarion_testkit.plugin import App, Database

KIND = "scripted"
SOON = 10.0
"""Seconds after which something that should have happened has not."""

Behaviour = Callable[[Sequence[Message], Report], Awaitable[None]]


def answer(result: Result) -> Behaviour:
    """Report the same of every message."""

    async def behave(batch: Sequence[Message], report: Report) -> None:
        for message in batch:
            report(message, result)

    return behave


ACCEPT = answer(Result(Outcome.ACCEPTED, code="200", provider_message_id="m1"))


class Paused:
    """A provider in the middle of its calls: `reached` at the first, `calls` one for each; accepts after `go`."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.calls = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def __call__(self, batch: Sequence[Message], report: Report) -> None:
        self.reached.set()
        self.calls.release()
        await self.go.wait()
        await ACCEPT(batch, report)


class ScriptedProvider:
    """Implements the provider port. `away`: what a probe says."""

    name = KIND
    channel = CHANNEL_ANDROID

    def __init__(self, behaviour: Behaviour, max_batch: int, max_in_flight: int, timeout: timedelta) -> None:
        self.behaviour = behaviour
        self.max_batch = max_batch
        self.max_in_flight = max_in_flight
        self.timeout = timeout
        self.away = ""
        self.probes = 0
        self.sent: list[Message] = []
        self.closed = asyncio.Event()

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        self.sent += batch
        await self.behaviour(batch, report)

    async def probe(self) -> None:
        self.probes += 1
        if self.away:
            raise ProviderUnavailable(self.away)

    async def close(self) -> None:
        self.closed.set()


class ScriptedFactory:
    """Makes providers and remembers them; `before` runs when one is asked for."""

    channel = CHANNEL_ANDROID

    def __init__(self) -> None:
        self.behaviour: Behaviour = ACCEPT
        self.max_batch = 100
        self.max_in_flight = 1_000
        self.timeout = timedelta(seconds=5)
        self.before: Callable[[], Awaitable[None]] | None = None
        self.made: list[ScriptedProvider] = []
        self.settings: list[bytes] = []

    async def connect(self, settings: bytes, receipts: Receipts) -> ScriptedProvider:
        if self.before is not None:
            await self.before()
        self.settings.append(settings)
        made = ScriptedProvider(self.behaviour, self.max_batch, self.max_in_flight, self.timeout)
        self.made.append(made)
        return made

    @property
    def sent(self) -> list[Message]:
        return [message for provider in self.made for message in provider.sent]


class Unexpected:
    """Receipts that nobody sends."""

    def __init__(self, lane: LaneConfig) -> None:
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("no receipts here")


class ScriptedWishes:
    """Implements `Wishes`: what a test says of a delivery, else that nothing is against it."""

    def __init__(self) -> None:
        self.answers: dict[UUID, Again] = {}
        self.away = False
        self.asked: list[UUID] = []

    async def again(self, claims: Sequence[Claimed]) -> list[Again]:
        if self.away:
            raise unavailable("preference")
        self.asked += [claimed.delivery_id for claimed in claims]
        return [self.answers.get(claimed.delivery_id, Again(None, claimed.address)) for claimed in claims]


class ScriptedPacer:
    """Implements `Pacer`: lets through as many as `room` says, and tells the others to wait."""

    def __init__(self) -> None:
        self.room = 1_000_000
        self.wait = timedelta(milliseconds=100)
        self.asked: list[tuple[int, int, Pace]] = []

    async def acquire(self, app_id: int, lane_id: int, pace: Pace, priorities: Sequence[Priority]) -> list[timedelta]:
        self.asked.append((app_id, lane_id, pace))
        going = min(self.room, len(priorities))
        self.room -= going
        return [timedelta(0)] * going + [self.wait] * (len(priorities) - going)


@dataclass(slots=True)
class Bench:
    """An engine of channel android with everything a test looks at. `pool` is the superuser's, not the engine's; `dead` are
    the addresses that were reported."""

    pool: Pool
    app: App
    engine: DispatchEngine
    lanes: Lanes
    leases: Leases
    config: ConfigCache
    factory: ScriptedFactory
    wishes: ScriptedWishes
    pacer: ScriptedPacer
    dead_queue: DeadAddresses
    dead: list[DeadAddress] = field(default_factory=list)

    async def lane(
        self, name: str = "main", settings: bytes = b"{}", kind: str = KIND, limits: Limits | None = None
    ) -> int:
        """Put an account and let the engine know of it."""
        sealer = await self.app.keys.sealer(self.app.app_id)
        lane_id = await admin.put_lane(
            self.pool, sealer, self.app.app_id, name, kind, Channel.ANDROID, settings, enabled=True, limits=limits
        )
        await self.config.refresh()
        return lane_id

    def at_work(self, lane_id: int) -> Lane:
        """The lane as this engine has it."""
        [lane] = [lane for lane in self.lanes.all() if lane.config.lane_id == lane_id]
        return lane

    async def deliveries(
        self,
        lane_id: int,
        count: int = 1,
        *,
        at_most_once: bool = False,
        max_attempts: int = 3,
        traceparents: Sequence[str] = (),
        priority: Priority = Priority.NORMAL,
    ) -> list[UUID]:
        """Enqueued deliveries with sealed address and content."""
        return await planned(self.pool, self.app, lane_id, count, at_most_once, max_attempts, traceparents, priority)

    async def hand_over(self, ids: Sequence[UUID], priority: Priority = Priority.NORMAL) -> Verdict:
        """What the bus does with a message."""
        async with asyncio.timeout(SOON):
            return await self.engine.handler(priority)(Batch([id_.bytes for id_ in ids], ""))

    async def settled(self) -> None:
        """Return when all that was handed over is recorded."""
        async with asyncio.timeout(SOON):
            await self.engine.drain()

    async def send(self, ids: Sequence[UUID], priority: Priority = Priority.NORMAL) -> None:
        """Hand over and wait until it is recorded."""
        assert await self.hand_over(ids, priority) is Verdict.ACK
        await self.settled()

    async def look(self) -> None:
        """What a dispatcher does about stopped lanes twice a second."""
        async with asyncio.timeout(SOON):
            await self.engine.look_at_stops()

    async def stop_of(self, lane_id: int) -> stops.Stop | None:
        """What the ledger says about a stopped lane."""
        return (await stops.stopped(self.pool)).get(lane_id)

    async def try_now(self, lane_id: int) -> None:
        """As if the time for a stopped lane's next trial had come."""
        await self.pool.execute("UPDATE ledger.lane_stop SET probe_at = now() WHERE lane_id = $1", lane_id)
        await self.look()
        await self.settled()

    async def go_on(self, ids: Sequence[UUID]) -> None:
        """Give back what lanes hold that go on, and send it as far as it is ready."""
        await stops.release(self.pool, 1_000)
        ready = [id_ for id_ in ids if await self.state(id_) is DeliveryState.READY]
        await self.enqueue_again(ready)
        await self.send(ready)

    async def unaccounted(self) -> int:
        """Contradictions in what the app has in the ledger."""
        found = await audit(self.pool, since=datetime.now(UTC) - timedelta(days=1), app_id=self.app.app_id)
        return found.unaccounted

    async def states(self, ids: Sequence[UUID]) -> list[DeliveryState]:
        return [DeliveryState((await self.row(id_))["now"]) for id_ in ids]

    async def state(self, id_: UUID) -> DeliveryState:
        [state] = await self.states([id_])
        return state

    async def row(self, id_: UUID) -> asyncpg.Record:
        """A delivery with what is in flight of it; `now` is its state."""
        row = await self.pool.fetchrow(
            """SELECT coalesce(w.state, d.state) AS now, coalesce(w.attempt, d.attempts) AS tried,
                      CASE WHEN w.due_at < 'infinity' THEN w.due_at - clock_timestamp() END AS rests,
                      coalesce(w.ambiguous, d.ambiguous) AS doubtful, w.writing_at, w.lease_until, d.reason, d.provider_message_id
               FROM ledger.delivery d LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id WHERE d.id = $1""",
            id_,
        )
        assert row is not None
        return row

    async def enqueue_again(self, ids: Sequence[UUID]) -> None:
        """As a scheduler does with what is due."""
        await self.pool.execute(
            """UPDATE ledger.delivery_work SET state = 2, due_at = NULL, ready_since = NULL, enqueued_at = now()
               WHERE delivery_id = ANY ($1)""",
            ids,
        )

    async def steal(self, ids: Sequence[UUID]) -> None:
        """As if the leases had ended and someone else had claimed the deliveries."""
        await self.pool.execute(
            "UPDATE ledger.delivery_work SET lease_gen = lease_gen + 1 WHERE delivery_id = ANY ($1)", ids
        )


@asynccontextmanager
async def bench(
    database: Database,
    app: App,
    telemetry: Telemetry,
    *,
    capacity: int = 1_000,
    most_open: int = 1_000,
    url: str | None = None,
    lease: timedelta = timedelta(seconds=90),
    policies: Policies | None = None,
    wishes: Callable[[ConfigCache], Wishes] | None = None,
    pacer: Pacer | None = None,
    caps: Caps | None = None,
    bulk: Scavenger | None = None,
) -> AsyncIterator[Bench]:
    """A running engine under the dispatcher's role; `url`: reach Postgres through it. `wishes` and `pacer` replace what is
    scripted; without `caps` there are none, and without `bulk` it yields as it does."""
    factory = ScriptedFactory()
    scripted_wishes, scripted_pacer = ScriptedWishes(), ScriptedPacer()
    reported: list[DeadAddress] = []

    async def report(addresses: Sequence[DeadAddress]) -> None:
        reported.extend(addresses)

    async with pool(f"{url or database.url}?role=clarion_dispatcher", size=6, application="test") as connections:
        config = ConfigCache(connections, with_lanes=True)
        keys = KeyRing(connections, app.keys._wrapper)
        leases = Leases(lease)
        dead = DeadAddresses(report, timedelta(0))
        lanes = Lanes(
            Channel.ANDROID,
            config,
            keys,
            {KIND: factory},
            Unexpected,
            policies or Policies.load(),
            longest_timeout=leases.longest_timeout,
            most_open=most_open,
        )
        engine = DispatchEngine(
            Channel.ANDROID,
            connections,
            keys,
            config,
            lanes,
            leases,
            Collaborators(
                wishes(config) if wishes else scripted_wishes, pacer or scripted_pacer, dead, caps or NoCaps()
            ),
            telemetry,
            capacity=capacity,
            bulk=bulk,
        )
        async with engine.running():
            yield Bench(
                database.pool,
                app,
                engine,
                lanes,
                leases,
                config,
                factory,
                scripted_wishes,
                scripted_pacer,
                dead,
                reported,
            )
        await lanes.close()


async def planned(
    pool: Pool,
    app: App,
    lane_id: int,
    count: int,
    at_most_once: bool = False,
    max_attempts: int = 3,
    traceparents: Sequence[str] = (),
    priority: Priority = Priority.NORMAL,
) -> list[UUID]:
    """Accept and plan notifications of one delivery each; gives the delivery ids."""
    items = [
        AcceptItem(
            app_id=app.app_id,
            event_id=uuid4().hex,
            payload_hash=bytes(32),
            category_id=app.categories["transactional"],
            priority=priority,
            recipient_count=1,
            deliver_at=None,
            expire_at=None,
            time_to_live=timedelta(hours=1),
            payload=b"",
            traceparent="",
            enqueue=True,
        )
        for _ in range(count)
    ]
    results = await accept(pool, items)
    ids = [result.notification_id for result in results if isinstance(result, Accepted)]
    sealer = await app.keys.sealer(app.app_id)
    address = Address(android=AndroidDevice(token="device")).SerializeToString()
    content = Rendered(push=PushContent(title="Order 7")).SerializeToString()
    plans = []
    for number, source in enumerate(await load(pool, ids)):
        recipient, address_id = uuid4(), uuid4()
        id_ = delivery_id(source.notification_id, recipient, Channel.ANDROID, address_id)
        delivery = PlannedDelivery(
            id_,
            recipient,
            Channel.ANDROID,
            address_id=address_id,
            lane_id=lane_id,
            address=sealer.seal("address", address_id.bytes, "address", address),
            content=sealer.seal("delivery", id_.bytes, "content", content),
            traceparent=traceparents[number] if number < len(traceparents) else "",
        )
        plans.append(Plan(source, [delivery], max_attempts=max_attempts, at_most_once=at_most_once))
    assert len(await plan(pool, plans)) == count
    return [one.deliveries[0].delivery_id for one in plans]


class Heard(logging.Handler):
    """Log records as they come."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self._came.set()

    async def until(self, text: str) -> None:
        """Return when a message with this text was logged."""
        async with asyncio.timeout(SOON):
            while not any(text in message for message in self.messages):
                self._came.clear()
                await self._came.wait()


@contextmanager
def hearing() -> Iterator[Heard]:
    """What the engine logs meanwhile."""
    heard = Heard()
    logger = logging.getLogger("clarion_channels.engine")
    logger.addHandler(heard)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)
