"""Which claimed deliveries may be sent now: the lane's limits, its pace, the recipient's wishes, at most once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil
from random import Random
from time import monotonic
from uuid import UUID

from clarion_channels.engine.budget import WINDOW_SECONDS
from clarion_channels.engine.capacity import URGENT_SHARE
from clarion_channels.engine.dead import DeadAddresses
from clarion_channels.engine.lanes import Lane
from clarion_channels.engine.lease import Leases
from clarion_channels.engine.outcomes import MAX_CODE, clean, given_back, postponed
from clarion_channels.engine.pacing import Pacer
from clarion_channels.engine.wishes import Wishes
from clarion_kit.vocabulary import DeliveryState, Priority
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Claimed, Record, changed, mark_writing

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


class Admission:
    """Lets deliveries through, and puts a record for each one that has to wait or is not wanted any more."""

    def __init__(
        self,
        pool: Pool,
        leases: Leases,
        ask: Collaborators,
        random: Random,
        *,
        put: Callable[[Record], None],
        enter: Callable[[Claimed, Lane], None],
    ) -> None:
        self._pool = pool
        self._leases = leases
        self._ask = ask
        self._random = random
        self._put = put
        self._enter = enter

    async def admit(self, lane: Lane, deliveries: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those that go now. Raises LedgerUnavailable, DEPENDENCY_UNAVAILABLE."""
        return await self._wanted(await self._paced(lane, self._within_limits(lane, deliveries)))

    def _within_limits(self, lane: Lane, deliveries: Sequence[Claimed]) -> list[Claimed]:
        """Those the lane takes now; the others come again in turn."""
        now = monotonic()
        limit = lane.protection.limit
        for_others = max(1, limit - ceil(limit * URGENT_SHARE))
        taken = []
        for delivery in deliveries:
            if lane.in_flight >= (limit if delivery.priority is Priority.URGENT else for_others):
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

    async def _wanted(self, deliveries: Sequence[Claimed]) -> Sequence[Claimed]:
        """Those whose recipients want them still: the gates are asked again where something changed since the plan."""
        late = [delivery for delivery in deliveries if self._leases.age(delivery) > FRESH_SECONDS]
        moved = await changed(self._pool, late) if late else set()
        doubtful = [delivery for delivery in deliveries if delivery.changed or delivery.delivery_id in moved]
        if not doubtful:
            return deliveries
        answers = await self._ask.wishes.again(doubtful)
        by_id = {delivery.delivery_id: answer for delivery, answer in zip(doubtful, answers, strict=True)}
        allowed = []
        for delivery in deliveries:
            answer = by_id.get(delivery.delivery_id)
            if answer is None:
                allowed.append(delivery)
            elif answer.cancelled is not None:
                code = clean(answer.rule, MAX_CODE)
                self._put(Record(delivery, DeliveryState.CANCELLED, answer.cancelled, code=code, tried=False))
            else:
                allowed.append(replace(delivery, address=answer.address))
        return allowed

    async def writable(self, claims: Sequence[Claimed]) -> set[UUID]:
        """At most once: the ledger knows of the write before it happens, and a lost lease forbids it. Raises
        LedgerUnavailable."""
        once = [claimed for claimed in claims if claimed.at_most_once]
        allowed = await mark_writing(self._pool, once) if once else set()
        for claimed in once:
            if claimed.delivery_id not in allowed:
                self._put(given_back(claimed))
        return allowed | {claimed.delivery_id for claimed in claims if not claimed.at_most_once}
