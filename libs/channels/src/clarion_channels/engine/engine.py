"""The dispatch engine (decisions: lease, ack, duplicates).

A batch of ids is claimed under a lease and acknowledged at once; sending goes on in the background, bounded by
`Capacity`; each answer becomes a record as soon as it is known. A call starts only while its lease has the provider's
timeout and a margin left, so that whoever takes over after the lease cannot overtake a call in progress.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import Priority as ProtoPriority
from clarion_channels.engine.capacity import Capacity
from clarion_channels.engine.dead import DeadAddress
from clarion_channels.engine.lanes import Lane, Lanes, LaneUnusable
from clarion_channels.engine.lease import LEASE, LEASE_MARGIN
from clarion_channels.engine.recorder import Recorder
from clarion_channels.engine.retry import HOLD, RetryPolicy, decide
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message
from clarion_kit.bus import Batch, Verdict
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.sealing import Unsealable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import BatchSpans
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Claimed, Record, claim, mark_writing
from clarion_ledger.ids import timestamp_ms
from clarion_ledger.keys import KeyRing

log = logging.getLogger(__name__)

CLAIM_LIMIT = 500
OVER_SHARE = timedelta(seconds=1)
"""How long a delivery rests that found its lane full."""
ABANDONED = timedelta(seconds=30)
"""How long a delivery rests whose sending broke off for a reason that is not its provider's."""
LANE_SHARE = 0.5
"""Beside others no lane holds more than this share of the capacity: a slow account leaves room for them."""

_Lease = tuple[UUID, int]
"""What names a claim: a delivery given back may be claimed again while its first batch is still at work."""

_PRIORITIES = {priority: ProtoPriority.Value(f"PRIORITY_{priority.name}") for priority in Priority}


@dataclass(slots=True)
class _Open:
    """A claimed delivery on its way."""

    claimed: Claimed
    message: Message
    lane: Lane
    started_ns: int = 0
    context: str = ""


class DispatchEngine:
    """Hands the deliveries of one channel to their lanes' providers."""

    def __init__(
        self,
        channel: Channel,
        pool: Pool,
        keys: KeyRing,
        lanes: Lanes,
        telemetry: Telemetry,
        *,
        capacity: int,
        policy: RetryPolicy,
        on_dead: Callable[[DeadAddress], None],
        random: Random | None = None,
    ) -> None:
        self._channel = channel
        self._pool = pool
        self._keys = keys
        self._lanes = lanes
        self._policy = policy
        self._on_dead = on_dead
        self._random = random or Random()
        self._capacity = Capacity(capacity)
        self._total = capacity
        self._lane_limit = max(1, int(capacity * LANE_SHARE))
        self._tracing = telemetry.tracing
        self._attempts = telemetry.metrics.counter(names.ATTEMPTS)
        self._terminal = telemetry.metrics.counter(names.TERMINAL)
        self._age = telemetry.metrics.histogram(names.DELIVERY_AGE)
        self._in_flight = telemetry.metrics.gauge(names.LANE_IN_FLIGHT)
        self._recorder = Recorder(pool, self._recorded)
        self._sending: set[asyncio.Task[None]] = set()
        self._undecided: dict[_Lease, Lane | None] = {}

    @property
    def lanes(self) -> Lanes:
        return self._lanes

    def handler(self, priority: Priority) -> Callable[[Batch], Awaitable[Verdict]]:
        """The bus handler of this channel's lanes of one priority."""

        async def handle(batch: Batch) -> Verdict:
            return await self._handle(batch, priority)

        return handle

    @asynccontextmanager
    async def running(self) -> AsyncIterator["DispatchEngine"]:
        """Write outcomes while entered. Leave it after `drain`. A recorder that fails ends whoever entered."""
        async with asyncio.TaskGroup() as group:
            recording = group.create_task(self._recorder.run())
            try:
                yield self
            finally:
                recording.cancel()
                for task in tuple(self._sending):
                    task.cancel()
                await asyncio.gather(*self._sending, return_exceptions=True)

    async def show_lanes(self) -> None:
        """Bring the gauge of what is open with providers up to date."""
        open_by_kind = Counter({lane.config.kind: 0 for lane in self._lanes.all()})
        for lane in self._lanes.all():
            open_by_kind[lane.config.kind] += lane.in_flight
        for kind, count in open_by_kind.items():
            self._in_flight.labels(self._channel.slug, kind).set(count)

    async def drain(self) -> None:
        """Return when every delivery in hand is recorded."""
        await self._capacity.empty.wait()

    async def _handle(self, batch: Batch, priority: Priority) -> Verdict:
        ids = [UUID(bytes=id_) for id_ in batch.ids]
        while ids:
            taken = await self._capacity.take(min(len(ids), CLAIM_LIMIT), priority)
            chunk, ids = ids[:taken], ids[taken:]
            leased_at = time.monotonic()
            try:
                claimed = await claim(self._pool, chunk, LEASE)
            except BaseException:
                self._capacity.give_back(taken)
                raise
            self._capacity.give_back(taken - len(claimed))
            if claimed:
                task = asyncio.create_task(self._send_all(claimed, leased_at, batch.link))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        return Verdict.ACK

    async def _send_all(self, claimed: Sequence[Claimed], leased_at: float, link: str) -> None:
        with self._tracing.batch(
            f"process DISPATCH.{self._channel.slug}",
            SpanKind.CONSUMER,
            [delivery.traceparent for delivery in claimed],
            names.messaging("process", f"DISPATCH.{self._channel.slug}", len(claimed)),
            link,
        ) as spans:
            by_lane: dict[int, list[Claimed]] = defaultdict(list)
            for delivery in claimed:
                if delivery.expired:
                    self._put(Record(delivery, DeliveryState.EXPIRED, Reason.DEADLINE_PASSED, tried=False))
                else:
                    by_lane[delivery.lane_id].append(delivery)
            async with asyncio.TaskGroup() as group:
                for lane_id, deliveries in by_lane.items():
                    group.create_task(self._send_lane(lane_id, deliveries, leased_at, spans))

    async def _send_lane(
        self, lane_id: int, deliveries: Sequence[Claimed], leased_at: float, spans: BatchSpans
    ) -> None:
        """Send through one lane and decide about each delivery. What breaks here leaves the other lanes alone."""
        self._undecided.update((_lease(delivery), None) for delivery in deliveries)
        to_blame = True
        try:
            await self._send_through(lane_id, deliveries, leased_at, spans)
        except (Unavailable, DomainError) as away:
            to_blame = False
            log.warning("sending postponed: %s", away)
        except Exception:  # whatever it was: its deliveries are tried again, and end as poison if it stays
            log.exception("a send ended by a defect")
        finally:
            for delivery in deliveries:
                if _lease(delivery) in self._undecided:
                    self._put(_abandoned(delivery, to_blame=to_blame))

    async def _send_through(
        self, lane_id: int, deliveries: Sequence[Claimed], leased_at: float, spans: BatchSpans
    ) -> None:
        try:
            lane = await self._lanes.get(lane_id)
        except LaneUnusable as unusable:
            log.error("lane cannot be used: %s", unusable, extra={"lane_id": lane_id})
            self._hold(deliveries, "lane unusable")
            return
        if lane.stopped:
            self._hold(deliveries, "lane stopped")
            return
        readable = [
            one
            for delivery in self._within_share(lane, deliveries)
            if (one := await self._open(delivery, lane, spans)) is not None
        ]
        opened = await self._marked(readable)
        size = lane.provider.max_batch
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(opened), size):
                group.create_task(self._send_batch(lane, opened[start : start + size], leased_at))

    def _within_share(self, lane: Lane, deliveries: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those the lane takes now; the others come again soon."""
        limit = self._lane_limit if len(self._lanes.all()) > 1 else self._total
        room = max(0, limit - lane.in_flight)
        for delivery in deliveries[room:]:
            self._put(Record(delivery, DeliveryState.RETRY_WAIT, delay=OVER_SHARE, tried=False))
        for delivery in deliveries[:room]:
            self._undecided[_lease(delivery)] = lane
            lane.enter()
        return deliveries[:room]

    async def _marked(self, opened: Sequence[_Open]) -> Sequence[_Open]:
        """At most once: the ledger knows of the write before it happens, and a lost lease forbids it."""
        once = [one.claimed for one in opened if one.claimed.at_most_once]
        if not once:
            return opened
        allowed = await mark_writing(self._pool, once)
        for claimed in once:
            if claimed.delivery_id not in allowed:
                self._put(Record(claimed, DeliveryState.READY, tried=False))
        return [one for one in opened if not one.claimed.at_most_once or one.claimed.delivery_id in allowed]

    async def _send_batch(self, lane: Lane, batch: Sequence[_Open], leased_at: float) -> None:
        left = leased_at + (LEASE - LEASE_MARGIN).total_seconds() - time.monotonic()
        if left < lane.provider.timeout.total_seconds():
            for one in batch:
                self._put(Record(one.claimed, DeliveryState.READY, tried=False))
            return
        now = time.time_ns()
        by_delivery = {}
        for one in batch:
            one.started_ns = now
            by_delivery[one.claimed.delivery_id] = one

        def report(message: Message, result: Result) -> None:
            one = by_delivery.pop(message.delivery_id, None)
            if one is not None:
                self._answered(one, result)

        # A provider that breaks its contract must not strand deliveries: what it did not report is unknown.
        try:
            async with asyncio.timeout(left):
                await lane.provider.send([one.message for one in batch], report)
        except Exception:  # nor may it take the batches beside this one with it
            log.exception("provider %s raised or never ended", lane.config.kind, extra={"lane": lane.config.name})
        finally:
            for one in list(by_delivery.values()):
                report(one.message, Result(Outcome.UNKNOWN, "not reported"))

    async def _open(self, delivery: Claimed, lane: Lane, spans: BatchSpans) -> _Open | None:
        try:
            sealer = await self._keys.sealer(delivery.app_id)
            address = Address.FromString(sealer.open("address", delivery.address_id.bytes, "address", delivery.address))
            content = Rendered.FromString(
                sealer.open("delivery", delivery.delivery_id.bytes, "content", delivery.content)
            )
        except (Unsealable, KeyError, DecodeError) as unreadable:
            log.error("delivery cannot be opened: %s", type(unreadable).__name__)
            code = f"unreadable: {type(unreadable).__name__}"
            self._put(Record(delivery, DeliveryState.DEAD_LETTERED, Reason.POISON, code=code))
            return None
        context = spans.onward(delivery.traceparent)
        message = Message(
            delivery_id=delivery.delivery_id,
            address=address,
            content=content,
            priority=_PRIORITIES[delivery.priority],
            expire_at=delivery.expire_at,
            attempt=delivery.attempt,
            collapse_key=delivery.collapse_key,
            traceparent=context,
        )
        return _Open(delivery, message, lane, context=context)

    def _answered(self, one: _Open, result: Result) -> None:
        claimed, lane = one.claimed, one.lane
        outcome = result.outcome.name.lower()
        lane.outcomes[outcome] += 1
        self._attempts.labels(self._channel.slug, lane.config.kind, outcome).inc()
        if result.outcome is Outcome.CRED:
            lane.stop_for(HOLD.total_seconds())
        decision = decide(
            result,
            attempt=claimed.attempt,
            max_attempts=claimed.max_attempts,
            at_most_once=claimed.at_most_once,
            policy=self._policy,
            random=self._random,
        )
        elapsed = (time.time_ns() - one.started_ns) / 1e9
        key = receipt_key(lane.config.lane_id, result) if self._channel is Channel.SMS else ""
        self._put(
            Record(
                claimed,
                decision.state,
                decision.reason,
                outcome=result.outcome,
                code=_clean(result.code, 64),
                provider_message_id=_clean(result.provider_message_id, 1_024),
                receipt_key=_clean(key, 1_024),
                delay=decision.delay,
                ambiguous=decision.ambiguous,
                seconds_ago=elapsed,
                duration=timedelta(seconds=elapsed),
                tried=decision.tried,
            )
        )
        if result.outcome is Outcome.DEAD:
            since = result.dead_since or datetime.fromtimestamp(one.started_ns / 1e9, UTC)
            self._on_dead(DeadAddress(claimed.app_id, claimed.address_id, since))
        if one.context:
            self._tracing.record(
                f"{lane.config.kind} send",
                SpanKind.CLIENT,
                one.context,
                one.started_ns,
                {
                    names.Attr.CHANNEL: self._channel.slug,
                    names.Attr.PROVIDER: lane.config.kind,
                    names.Attr.OUTCOME: outcome,
                    names.Attr.DELIVERY_ID: str(claimed.delivery_id),
                    names.Attr.NOTIFICATION_ID: str(claimed.notification_id),
                },
                error=None if result.outcome is Outcome.ACCEPTED else result.code or outcome,
            )

    def _hold(self, deliveries: Sequence[Claimed], code: str) -> None:
        for delivery in deliveries:
            delay = HOLD * (1 + self._random.random() / 5)
            self._put(Record(delivery, DeliveryState.HELD, code=code, delay=delay, tried=False))

    def _put(self, done: Record) -> None:
        lane = self._undecided.pop(_lease(done.claimed), None)
        if lane is not None:
            lane.leave()
        self._recorder.put(done)

    def _recorded(self, records: Sequence[Record], held: set[UUID]) -> None:
        now_ms = time.time_ns() // 1_000_000
        for done in records:
            if done.claimed.delivery_id not in held:
                log.warning("a lease was lost before its outcome was recorded", extra={"state": done.state.name})
            elif done.state.terminal:
                self._terminal.labels(self._channel.slug, done.state.name.lower()).inc()
                if done.state is DeliveryState.SENT:
                    age_ms = now_ms - timestamp_ms(done.claimed.notification_id)
                    self._age.labels(self._channel.slug, done.claimed.priority.slug).observe(age_ms / 1_000)
        self._capacity.give_back(len(records))


def _lease(claimed: Claimed) -> _Lease:
    return claimed.delivery_id, claimed.lease_gen


def _clean(text: str, limit: int) -> str:
    """A peer's word as Postgres can store it: without NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]


def _abandoned(delivery: Claimed, *, to_blame: bool) -> Record:
    """A delivery no provider was asked for: tried again later, and poison once it used up its attempts."""
    if to_blame and delivery.attempt >= delivery.max_attempts:
        return Record(delivery, DeliveryState.DEAD_LETTERED, Reason.POISON, code="sending broke off")
    return Record(delivery, DeliveryState.RETRY_WAIT, code="sending broke off", delay=ABANDONED, tried=to_blame)


def receipt_key(lane_id: int, result: Result) -> str:
    """What a receipt of this message will be found by; empty where the provider gave no id.

    The id is that of the first segment, in lower case without leading zeros, as the tracker's candidates are (carriers
    write it differently in receipts). Receipts of later segments are not looked at yet.
    """
    first = result.provider_message_id.partition(",")[0].strip().lower()
    return f"{lane_id}:{first.lstrip('0') or first[:1]}" if first else ""
