"""Which claimed deliveries may be sent now: the lane's limits, its pace, the recipient's wishes and quiet hours, caps of what
rested, at most once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from time import monotonic
from uuid import UUID

from clarion_channels.engine.budget import WINDOW_SECONDS
from clarion_channels.engine.dead import DeadAddresses
from clarion_channels.engine.lanes import Lane
from clarion_channels.engine.lease import Leases
from clarion_channels.engine.outcomes import MAX_CODE, clean, given_back, postponed
from clarion_channels.engine.pacing import Pacer
from clarion_channels.engine.wishes import Again, Wishes
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger.caps import CapAnswer, CapQuery, Caps, NoCaps, caps_for
from clarion_ledger.config import CategoryRule, ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.deferral import Denied, over_cap, quiet_hours
from clarion_ledger.dispatching import Claimed, Record, changed, mark_writing, test_sends
from clarion_ledger.rests import Rest

OVER_BUDGET = timedelta(seconds=WINDOW_SECONDS)
"""How long a retry rests, at most, that the budget does not allow: by then its window shows something else."""
FRESH_SECONDS = 0.5
"""A claim older than this looks once more whether its recipient changed, before its call."""


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the engine asks before and tells after a call."""

    wishes: Wishes
    pacer: Pacer
    dead: DeadAddresses
    caps: Caps = field(default_factory=NoCaps)


class Admission:
    """Lets deliveries through, and puts a record for each one that has to wait or is not wanted any more."""

    def __init__(
        self,
        channel: Channel,
        pool: Pool,
        config: ConfigCache,
        leases: Leases,
        ask: Collaborators,
        random: Random,
        *,
        put: Callable[[Record], None],
        enter: Callable[[Claimed, Lane], None],
    ) -> None:
        self._channel = channel
        self._pool = pool
        self._config = config
        self._leases = leases
        self._ask = ask
        self._random = random
        self._put = put
        self._enter = enter

    async def admit(self, lane: Lane, deliveries: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those that go now. Raises LedgerUnavailable, DEPENDENCY_UNAVAILABLE."""
        return await self._within_caps(
            await self._wanted(await self._paced(lane, self._within_limits(lane, deliveries)))
        )

    def _within_limits(self, lane: Lane, deliveries: Sequence[Claimed]) -> list[Claimed]:
        """Those the lane takes now; the others come again in turn."""
        now = monotonic()
        taken = []
        for delivery in deliveries:
            if not lane.has_room(delivery.priority):
                self._put(postponed(delivery, lane.protection.next_turn()))
            elif lane.stop is None and not lane.protection.budget.allows(delivery.attempt, now):  # a trial is no retry
                rest = min(lane.protection.policy.retry.cap, OVER_BUDGET)
                self._put(postponed(delivery, rest * (0.5 + self._random.random() / 2)))
            else:
                self._enter(delivery, lane)
                taken.append(delivery)
        return taken

    async def _paced(self, lane: Lane, deliveries: Sequence[Claimed]) -> Sequence[Claimed]:
        pace = lane.protection.policy.pace
        if pace is None or not deliveries:
            return deliveries
        config = lane.config
        waits = await self._ask.pacer.acquire(
            config.app_id, config.lane_id, pace, [delivery.priority for delivery in deliveries]
        )
        going = []
        for delivery, wait in zip(deliveries, waits, strict=True):
            if wait:
                self._put(postponed(delivery, lane.protection.next_paced_turn(wait)))
            else:
                going.append(delivery)
        return going

    async def _wanted(self, deliveries: Sequence[Claimed]) -> "list[tuple[Claimed, Again | None]]":
        """Those whose recipients want them still, now: the gates are asked again where something changed since the plan, or
        where it rested or quiet hours began; then with what they said."""
        late = [delivery for delivery in deliveries if self._leases.age(delivery) > FRESH_SECONDS]
        moved = await changed(self._pool, late) if late else set()
        doubtful = [one for one in deliveries if one.changed or one.gates_due or one.delivery_id in moved]
        if not doubtful:
            return [(delivery, None) for delivery in deliveries]
        answers = await self._ask.wishes.again(doubtful)
        tests = await test_sends(self._pool, doubtful)
        by_id = {
            delivery.delivery_id: replace(answer, test=delivery.notification_id in tests)
            for delivery, answer in zip(doubtful, answers, strict=True)
        }
        allowed: list[tuple[Claimed, Again | None]] = []
        for delivery in deliveries:
            answer = by_id.get(delivery.delivery_id)
            if answer is None:
                allowed.append((delivery, None))
            elif answer.cancelled is not None:
                code = clean(answer.rule, MAX_CODE)
                self._put(Record(delivery, DeliveryState.CANCELLED, answer.cancelled, code=code, tried=False))
            elif not self._ended_or_resting(delivery, self._hushed(delivery, answer)):
                allowed.append((replace(delivery, address=answer.address), answer))
        return allowed

    def _hushed(self, delivery: Claimed, answer: Again) -> Denied | Rest | None:
        """What app and quiet hours say of a delivery today."""
        snapshot = self._config.snapshot
        if delivery.gates_due and delivery.app_id not in snapshot.enabled_apps:
            return Denied(Reason.APP_DISABLED, "app disabled")
        category = snapshot.categories_by_id.get(delivery.category_id)
        if category is None:
            return None
        now = self._leases.now(delivery)
        until = None if answer.test else answer.quiet_until
        return quiet_hours(category, until, delivery.expire_at, now, self._random)

    async def _within_caps(self, deliveries: "Sequence[tuple[Claimed, Again | None]]") -> list[Claimed]:
        """Those that their caps let through. What was planned to go at once passed them then; what rested asks now."""
        asked = [
            (delivery, answer, category)
            for delivery, answer in deliveries
            if delivery.gates_due
            and answer is not None
            and (category := self._config.snapshot.categories_by_id.get(delivery.category_id)) is not None
        ]
        queries = [self._cap_query(delivery, answer, category) for delivery, answer, category in asked]
        queries = [query for query in queries if query.asks]
        answers = {
            query.delivery_id: answer
            for query, answer in zip(queries, await self._ask.caps.acquire(queries) if queries else (), strict=True)
        }
        within = []
        for delivery, _ in deliveries:
            capped = answers.get(delivery.delivery_id, CapAnswer(True))
            category = self._config.snapshot.categories_by_id.get(delivery.category_id)
            now = self._leases.now(delivery)
            found = None if category is None else over_cap(category, capped, delivery.expire_at, now, self._random)
            if not self._ended_or_resting(delivery, found):
                within.append(delivery)
        return within

    def _cap_query(self, delivery: Claimed, answer: Again, category: CategoryRule) -> CapQuery:
        return CapQuery(
            delivery.app_id,
            delivery.delivery_id,
            delivery.recipient_ref.bytes,
            category.name,
            self._channel,
            caps_for(category.caps, self._channel, test=answer.test),
            answer.time_zone,
        )

    def _ended_or_resting(self, delivery: Claimed, found: Denied | Rest | None) -> bool:
        """Record what a closed gate made of a delivery; True where one closed."""
        match found:
            case None:
                return False
            case Denied():
                code = clean(found.rule, MAX_CODE)
                self._put(Record(delivery, DeliveryState.SUPPRESSED, found.reason, code=code, tried=False))
            case Rest():
                delay = found.delay if found.due_at is None else found.due_at - self._leases.now(delivery)
                code = clean(found.code, MAX_CODE)
                self._put(Record(delivery, found.state, found.reason, code=code, delay=delay, tried=False))
        return True

    async def writable(self, claims: Sequence[Claimed]) -> set[UUID]:
        """At most once: the ledger knows of the write before it happens, and a lost lease forbids it. Raises
        LedgerUnavailable."""
        once = [claimed for claimed in claims if claimed.at_most_once]
        allowed = await mark_writing(self._pool, once) if once else set()
        for claimed in once:
            if claimed.delivery_id not in allowed:
                self._put(given_back(claimed))
        return allowed | {claimed.delivery_id for claimed in claims if not claimed.at_most_once}
