"""The dispatch engine (decisions: lease, ack, duplicates; lane).

A batch of ids is claimed under a lease and acknowledged at once; sending goes on in the background, bounded by
`Capacity`; each answer becomes a record as soon as it is known. A call starts only while its lease has the provider's
timeout and a margin left, so that whoever takes over after the lease cannot overtake a call in progress; a heartbeat
prolongs what is still in hand.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import Priority as ProtoPriority
from clarion_channels.engine.admission import Admission, Collaborators
from clarion_channels.engine.capacity import Capacity, slots_of
from clarion_channels.engine.dead import DeadAddress
from clarion_channels.engine.failover import Failover
from clarion_channels.engine.lanes import Lane, LaneDeleted, Lanes, LaneUnusable
from clarion_channels.engine.lease import LeaseKey, Leases, lease_key
from clarion_channels.engine.meters import Meters
from clarion_channels.engine.outcomes import (
    ABANDONED,
    MAX_CODE,
    MAX_PROVIDER_ID,
    abandoned,
    clean,
    expired,
    given_back,
    held,
    orphaned,
    receipt_keys,
    unreadable,
)
from clarion_channels.engine.policies import with_own
from clarion_channels.engine.recorder import BULK_LINGER, Recorder
from clarion_channels.engine.retry import Decision, RetryPolicy, decide
from clarion_channels.engine.stops import TRIAL, Stops, TrialResult
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message
from clarion_kit.bus import Batch, Verdict
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.scavenger import Scavenger
from clarion_kit.sealing import Unsealable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import BatchSpans, attempt_span
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, StopReason
from clarion_ledger.app_labels import AppLabels
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import MAX_CLAIM_BYTES, Claimed, Record, claim, claim_held
from clarion_ledger.keys import KeyRing

log = logging.getLogger(__name__)

CLAIM_LIMIT = 500
BULK_CLAIM_LIMIT = 100
"""Bulk goes in steps that leave the event loop to others within some milliseconds."""
UNUSABLE_PAUSE = timedelta(seconds=5)
"""Between tries to make a provider of an account that none can be made of."""

_PRIORITIES = {priority: ProtoPriority.Value(f"PRIORITY_{priority.name}") for priority in Priority}


@dataclass(slots=True)
class _Open:
    """A claimed delivery on its way."""

    claimed: Claimed
    message: Message
    lane: Lane
    started_ns: int = 0
    started: float = 0.0
    context: str = ""
    trial: list[Outcome] | None = field(default=None)


class DispatchEngine:
    """Hands the deliveries of one channel to their lanes' providers."""

    def __init__(
        self,
        channel: Channel,
        pool: Pool,
        keys: KeyRing,
        config: ConfigCache,
        lanes: Lanes,
        leases: Leases,
        collaborators: Collaborators,
        telemetry: Telemetry,
        *,
        capacity: int,
        abandoned_rest: timedelta = ABANDONED,
        random: Random | None = None,
        bulk: Scavenger | None = None,
    ) -> None:
        self._channel = channel
        self._pool = pool
        self._keys = keys
        self._config = config
        self._lanes = lanes
        self._leases = leases
        self._ask = collaborators
        self._abandoned_rest = abandoned_rest
        self._random = random or Random()
        self._capacity = Capacity(capacity)
        self._bulk = bulk or Scavenger()
        self._tracing = telemetry.tracing
        self._meters = Meters(channel, telemetry.metrics, AppLabels(config))
        self._failover = Failover(channel, config, lanes, self._random)
        self._recorder = Recorder(pool, self._recorded)
        self._bulk_recorder = Recorder(pool, self._recorded, BULK_LINGER)  # nobody waits behind a commit of its many
        self._stops = Stops(pool, lanes)
        self._admission = Admission(
            channel, pool, config, leases, collaborators, self._random, put=self._put, enter=self._enter
        )
        self._sending: set[asyncio.Task[None]] = set()
        self._undecided: dict[LeaseKey, Lane | None] = {}

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
            recording = [group.create_task(one.run()) for one in (self._recorder, self._bulk_recorder)]
            try:
                yield self
            finally:
                for one in recording:
                    one.cancel()
                for task in tuple(self._sending):
                    task.cancel()
                await asyncio.gather(*self._sending, return_exceptions=True)

    async def show_lanes(self) -> None:
        """Bring the gauges of the lanes up to date."""
        self._meters.show(self._lanes.all())

    async def look_at_stops(self) -> None:
        """Learn which lanes are stopped, try those that are due, end what was held too long. Raises LedgerUnavailable."""
        await self._stops.look(self._try)
        await self._stops.end_held()

    async def heartbeat(self) -> None:
        """Prolong the leases of what is in hand. Raises LedgerUnavailable."""
        lost = await self._leases.beat(self._pool)
        if lost:
            log.warning("leases were taken over", extra={"count": lost})

    async def drain(self) -> None:
        """Return when every delivery in hand is recorded."""
        with self._recorder.hurried(), self._bulk_recorder.hurried():
            await self._capacity.empty.wait()

    async def _handle(self, batch: Batch, priority: Priority) -> Verdict:
        ids = [UUID(bytes=id_) for id_ in batch.ids]
        most = CLAIM_LIMIT
        while ids:
            if priority is Priority.BULK:
                most = await self._bulk.step(BULK_CLAIM_LIMIT)
            taken = await self._capacity.take(min(len(ids), most), priority)
            chunk, ids = ids[:taken], ids[taken:]
            leased_at = time.monotonic()
            try:
                claimed = await claim(self._pool, chunk, self._leases.length)
            except BaseException:
                self._capacity.give_back({priority: taken})
                raise
            self._capacity.give_back(_spare(taken, priority, claimed))
            if claimed:
                self._leases.take(claimed, leased_at)
                if sum(len(delivery.content) for delivery in claimed) >= MAX_CLAIM_BYTES:
                    ids = [id_ for id_ in chunk if id_ > claimed[-1].delivery_id] + ids
                task = asyncio.create_task(self._send_all(claimed, batch.link))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        return Verdict.ACK

    async def _try(self, lane: Lane) -> TrialResult:
        """The half-open trial: it works if the provider took some of what the lane holds, or it holds nothing."""
        taken = await self._capacity.take(TRIAL, Priority.NORMAL)
        leased_at = time.monotonic()
        try:
            claimed = await claim_held(self._pool, lane.config.lane_id, taken, self._leases.length)
        except BaseException:
            self._capacity.give_back({Priority.NORMAL: taken})
            raise
        self._capacity.give_back(_spare(taken, Priority.NORMAL, claimed))
        self._leases.take(claimed, leased_at)
        trial: list[Outcome] = []
        if claimed:
            await self._send_all(claimed, "", trial)
        worked = not claimed or any(outcome in (Outcome.ACCEPTED, Outcome.BAD) for outcome in trial)
        return TrialResult(len(claimed), worked)

    async def _send_all(self, claimed: Sequence[Claimed], link: str, trial: list[Outcome] | None = None) -> None:
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
                    self._put(expired(delivery))
                else:
                    by_lane[delivery.lane_id].append(delivery)
            async with asyncio.TaskGroup() as group:
                for lane_id, deliveries in by_lane.items():
                    group.create_task(self._send_lane(lane_id, deliveries, spans, trial))

    async def _send_lane(
        self, lane_id: int, deliveries: Sequence[Claimed], spans: BatchSpans, trial: list[Outcome] | None
    ) -> None:
        """Send through one lane and decide about each delivery. What breaks here leaves the other lanes alone."""
        self._undecided.update((lease_key(delivery), None) for delivery in deliveries)
        to_blame = True
        try:
            await self._send_through(lane_id, deliveries, spans, trial)
        except (Unavailable, DomainError) as away:
            to_blame = False
            log.warning("sending postponed: %s", away)
        except Exception:  # whatever it was: its deliveries are tried again, and end as poison if it stays
            log.exception("a send ended by a defect")
        finally:
            for delivery in deliveries:
                if lease_key(delivery) in self._undecided:
                    self._put(abandoned(delivery, to_blame=to_blame, rest=self._abandoned_rest))

    async def _send_through(
        self, lane_id: int, deliveries: Sequence[Claimed], spans: BatchSpans, trial: list[Outcome] | None
    ) -> None:
        try:
            lane = await self._lanes.get(lane_id)
        except LaneDeleted:
            self._route_again(deliveries)
            return
        except LaneUnusable as unusable:
            app_id = unusable.app_id or deliveries[0].app_id
            self._stops.stop_unusable(lane_id, app_id, str(unusable), UNUSABLE_PAUSE)
            self._hold(deliveries, "lane unusable")
            return
        if lane.stop is not None and trial is None:
            self._hold(deliveries, f"lane stopped: {lane.stop.name.lower()}")
            return
        admitted = await self._admission.admit(lane, deliveries)
        readable = [one for delivery in admitted if (one := await self._open(delivery, lane, spans, trial)) is not None]
        writable = await self._admission.writable([one.claimed for one in readable])
        opened = [one for one in readable if one.claimed.delivery_id in writable]
        bulk = all(one.claimed.priority is Priority.BULK for one in opened)
        send = self._send_in_turn if bulk else self._send_batch
        size = lane.batch_size(bulk=bulk)
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(opened), size):
                group.create_task(send(lane, opened[start : start + size]))

    def _enter(self, delivery: Claimed, lane: Lane) -> None:
        self._undecided[lease_key(delivery)] = lane
        lane.enter(delivery.priority)

    async def _send_in_turn(self, lane: Lane, batch: Sequence[_Open]) -> None:
        """Send bulk: what fills a provider's queue would make everything behind it wait."""
        async with lane.bulk_turns:
            await self._send_batch(lane, batch)

    async def _send_batch(self, lane: Lane, batch: Sequence[_Open]) -> None:
        timeout = lane.provider.timeout
        now_ns, now = time.time_ns(), time.monotonic()
        by_delivery = {}
        for one in batch:
            if not self._leases.allows(one.claimed, timeout):
                self._put(given_back(one.claimed))
                continue
            one.started_ns, one.started = now_ns, now
            by_delivery[one.claimed.delivery_id] = one
            self._note_wait(one.claimed)

        def report(message: Message, result: Result) -> None:
            one = by_delivery.pop(message.delivery_id, None)
            if one is not None:
                self._answered(one, result)

        if not by_delivery:
            return
        # A provider that breaks its contract must not strand deliveries: what it did not report is unknown.
        try:
            async with asyncio.timeout(self._leases.length.total_seconds()):
                await lane.provider.send([one.message for one in by_delivery.values()], report)
        except Exception:  # nor may it take the batches beside this one with it
            log.exception("provider %s raised or never ended", lane.config.kind, extra={"lane": lane.config.name})
        finally:
            for one in list(by_delivery.values()):
                report(one.message, Result(Outcome.UNKNOWN, "not reported"))

    def _note_wait(self, claimed: Claimed) -> None:
        """How long something was on its way from its plan to its call, for bulk to yield; not what rested in between."""
        if claimed.priority is not Priority.BULK and claimed.attempt == 1 and not claimed.gates_due:
            waited = (claimed.claimed_at - claimed.planned_at).total_seconds() + self._leases.age(claimed)
            self._bulk.waited(waited)

    async def _open(
        self, delivery: Claimed, lane: Lane, spans: BatchSpans, trial: list[Outcome] | None
    ) -> _Open | None:
        try:
            sealer = await self._keys.sealer(delivery.app_id, delivery.address, delivery.content)
            address = Address.FromString(sealer.open("address", delivery.address_id.bytes, "address", delivery.address))
            content = Rendered.FromString(
                sealer.open("delivery", delivery.delivery_id.bytes, "content", delivery.content)
            )
        except (Unsealable, KeyError, DecodeError) as broken:
            log.error("delivery cannot be opened: %s", type(broken).__name__)
            self._put(unreadable(delivery, type(broken).__name__))
            return None
        context = spans.onward(delivery.traceparent)
        message = Message(
            delivery_id=delivery.delivery_id,
            address=address,
            content=content,
            priority=_PRIORITIES.get(delivery.priority, ProtoPriority.PRIORITY_NORMAL),
            expire_at=delivery.expire_at,
            attempt=delivery.attempt,
            collapse_key=delivery.collapse_key,
            traceparent=context,
        )
        return _Open(delivery, message, lane, context=context, trial=trial)

    def _answered(self, one: _Open, result: Result) -> None:
        claimed, lane = one.claimed, one.lane
        outcome = result.outcome.name.lower()
        lane.outcomes[outcome] += 1
        elapsed = time.monotonic() - one.started
        self._protect(one, result, elapsed)
        decision, next_lane = self._decided(one, result)
        self._meters.answered(lane.config.kind, result, decision.state, elapsed, one.context)
        keys = receipt_keys(lane.config.lane_id, result)
        self._put(
            Record(
                claimed,
                decision.state,
                decision.reason,
                outcome=result.outcome,
                code=clean(result.code, MAX_CODE),
                provider_message_id=clean(result.provider_message_id, MAX_PROVIDER_ID),
                receipt_key=keys[0] if keys else "",
                segments=keys if len(keys) > 1 else (),
                delay=decision.delay,
                ambiguous=decision.ambiguous,
                began=one.started,
                duration=timedelta(seconds=elapsed),
                tried=decision.tried,
                next_lane=next_lane,
            )
        )
        if decision.state is DeliveryState.FAILED and result.outcome is Outcome.DEAD:
            since = result.dead_since or self._leases.now(claimed) - timedelta(seconds=elapsed)
            self._ask.dead.put(
                DeadAddress(lane.config.lane_id, claimed.app_id, claimed.address_id, since, result.opted_out)
            )
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
                    names.Attr.ATTEMPT: claimed.attempt,
                },
                error=None if result.outcome is Outcome.ACCEPTED else result.code or outcome,
                link=attempt_span(one.context, claimed.delivery_id, claimed.attempt - 1)
                if claimed.attempt > 1
                else None,
                # A trial gives its attempt back: the next one has the same number.
                itself=attempt_span(one.context, claimed.delivery_id, claimed.attempt) if decision.tried else None,
            )

    def _decided(self, one: _Open, result: Result) -> tuple[Decision, int | None]:
        """What becomes of a delivery, and the account that takes over, where one does."""
        claimed, lane = one.claimed, one.lane
        policy = self._retry_policy(claimed, lane)
        decision = decide(
            result,
            attempt=claimed.attempt,
            max_attempts=claimed.max_attempts,
            at_most_once=claimed.at_most_once,
            stopped=lane.stop is not None,
            age=self._leases.now(claimed) - claimed.planned_at,
            policy=policy,
            random=self._random,
        )
        if one.trial is not None:
            one.trial.append(result.outcome)
            if decision.state in (
                DeliveryState.HELD,
                DeliveryState.DEAD_LETTERED,
            ):  # it burns not even the last attempt
                decision = Decision(DeliveryState.HELD, ambiguous=decision.ambiguous, tried=False)
            return decision, None
        elsewhere = decision.state is DeliveryState.HELD or result.outcome in (Outcome.RETRY, Outcome.AFTER)
        if decision.state in (DeliveryState.HELD, DeliveryState.RETRY_WAIT) and elsewhere:
            next_lane = self._failover.next_lane(claimed)
            if next_lane is not None:
                # The wait is the one provider's business, not the other's.
                soon = policy.delay(1, self._random)
                return replace(decision, state=DeliveryState.RETRY_WAIT, delay=soon), next_lane
        return decision, None

    def _protect(self, one: _Open, result: Result, latency: float) -> None:
        """Count the answer for its lane, and stop the lane where it is time to."""
        lane = one.lane
        reason = lane.protection.answered(
            result.outcome, attempt=one.claimed.attempt, latency=latency, in_flight=lane.in_flight
        )
        if reason is None or lane.stop is not None:
            return
        self._stops.stop(lane, reason, clean(result.code, MAX_CODE))
        if reason is StopReason.DEAD_JUMP:
            self._ask.dead.forget(lane.config.lane_id)

    def _retry_policy(self, claimed: Claimed, lane: Lane) -> RetryPolicy:
        policy = lane.protection.policy.retry
        category = self._config.snapshot.categories_by_id.get(claimed.category_id)
        return policy if category is None else with_own(policy, category.retry)

    def _hold(self, deliveries: Sequence[Claimed], code: str) -> None:
        """What its lane does not take: another account's, or held."""
        for delivery in deliveries:
            next_lane = self._failover.next_lane(delivery)
            self._put(held(delivery, code) if next_lane is None else given_back(delivery, next_lane))

    def _route_again(self, deliveries: Sequence[Claimed]) -> None:
        """What was on a deleted account: another's by today's routes, or dead."""
        for delivery in deliveries:
            successor = self._failover.successor(delivery)
            self._put(orphaned(delivery) if successor is None else given_back(delivery, successor))

    def _put(self, done: Record) -> None:
        lane = self._undecided.pop(lease_key(done.claimed), None)
        if lane is not None:
            lane.leave(done.claimed.priority)
        recorder = self._bulk_recorder if done.claimed.priority is Priority.BULK else self._recorder
        recorder.put(done)

    def _recorded(self, records: Sequence[Record], still_held: set[UUID]) -> None:
        now = datetime.now(UTC)
        for done in records:
            self._leases.drop(done.claimed)
            if done.claimed.delivery_id not in still_held:
                log.warning("a lease was lost before its outcome was recorded", extra={"state": done.state.name})
            elif done.state.terminal:
                self._meters.ended(done.claimed, done.state, now)
        self._capacity.give_back(_slots(done.claimed for done in records))


def _slots(claimed: Iterable[Claimed]) -> Counter[Priority]:
    slots = Counter[Priority]()
    for delivery in claimed:
        slots[delivery.priority] += slots_of(delivery.content)
    return slots


def _spare(taken: int, priority: Priority, claimed: Sequence[Claimed]) -> Counter[Priority]:
    """What is to be given back of `taken` slots, by what was claimed for them; negative where that needs more."""
    spare = Counter({priority: taken})
    spare.subtract(_slots(claimed))
    return spare
