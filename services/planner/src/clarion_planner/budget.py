"""SMS budgets as a planner spends them: slices of the ledger's budgets, held here and topped up before they are empty.

The gate CAPS charges an SMS last, with its number of segments, to the budget of its number's country (else that of all
other countries) and to the one with the longest prefix that fits. Where one of them has no room:

| | non-critical | critical |
|---|---|---|
| used up | stops | goes on and is counted beyond the limit; with `stops_critical` it stops |
| the ledger gives no slice | stops: spending fails closed | goes on unchecked and is counted later |
| shadow | goes on and is counted | goes on and is counted |

A plan may be made twice. Within a process a delivery is charged once, since its id is remembered with its answer. Another
planner that plans it again (this one died, its message came again) charges it again, and a slice that dies with its
planner stays spent. Both only ever stop SMS too early, never too late, by at most what was in flight and one slice.

What was taken from a slice stands beside the delivery in the ledger. Where that ends without any provider being asked, some
planner's `refresh` puts it back. What went on without a slice is not: it was counted when it was told, in whatever period.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.number_hint import NumberHint, prefix_digest, read_hint
from clarion_kit.sealing import Unsealable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_ledger import budgets, bursts
from clarion_ledger.budgets import Ask, SmsBudgetState
from clarion_ledger.bursts import Burst
from clarion_ledger.caps import Taken
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing
from clarion_planner.burst import BurstWatch, Range
from clarion_planner.ports import CapAnswer, SmsCharge
from clarion_planner.purse import Purse

log = logging.getLogger(__name__)

REFRESH = timedelta(seconds=1)
TAKE_TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 1.0
"""After the ledger gave no answer: until then nobody waits for it again."""
HELD_REFRESHES = 2
"""A purse is topped up to what this many refreshes spend."""
MAX_REMEMBERED = 20_000
"""Deliveries whose charge is remembered, about 4 MB: several batches of every pull loop."""

BURST_RULE = "sms burst: too many numbers of one range"


@dataclass(frozen=True, slots=True)
class _Book:
    """The budgets of one app."""

    by_country: Mapping[str, SmsBudgetState] = field(default_factory=dict)
    by_prefix: Mapping[str, SmsBudgetState] = field(default_factory=dict)
    """By the digest of the prefix."""

    def matching(self, hint: NumberHint | None, country: str) -> list[SmsBudgetState]:
        region = hint.region if hint is not None else country
        place = self.by_country.get(region) or self.by_country.get("")
        prefixes = reversed(hint.prefixes) if hint is not None else ()
        prefix = next((self.by_prefix[digest] for digest in prefixes if digest in self.by_prefix), None)
        return [budget for budget in (place, prefix) if budget is not None]


_NO_BUDGETS = _Book()


@dataclass(frozen=True, slots=True)
class _Case:
    """A charge with the budgets it draws on."""

    charge: SmsCharge
    hint: NumberHint | None
    drawn: Sequence[SmsBudgetState]


class SmsBudgets:
    """Implements `Budgets`. `refresh` runs every second, `running` gives back what is unspent at the end."""

    def __init__(self, pool: Pool, keys: KeyRing, watch: BurstWatch, metrics: Metrics, clock: Clock) -> None:
        self._pool = pool
        self._keys = keys
        self._watch = watch
        self._clock = clock
        self._loaded = False
        self._books: dict[int, _Book] = {}
        self._purses: dict[int, Purse] = {}
        # One batch at a time from what it lacks to what it spends; waits for the ledger are rare and bounded.
        self._lock = asyncio.Lock()
        self._ask_again_at = 0.0
        self._remembered: dict[UUID, CapAnswer] = {}
        self._held: frozenset[Range] = frozenset()
        self._noticed: dict[Range, int] = {}
        self._shown: set[tuple[str, str]] = set()
        self._warned: dict[int, int] = {}
        self._used = metrics.gauge(names.SMS_BUDGET_USED)
        self._remaining = metrics.gauge(names.SMS_BUDGET_REMAINING)
        self._near = metrics.gauge(names.SMS_BUDGET_NEAR)
        self._verdicts = metrics.counter(names.SMS_BUDGET_VERDICTS)
        self._bursts = metrics.counter(names.SMS_BURSTS)

    async def charge(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        """In order. Raises LedgerUnavailable only while no budget was ever read."""
        if not charges:
            return []
        if not self._loaded:
            await self.refresh()
        async with self._lock:
            cases = [self._case(charge) for charge in charges]
            await self._take(self._missing(cases))
            return [self._answer(case) for case in cases]

    async def look(self, charges: Sequence[SmsCharge]) -> list[CapAnswer]:
        """By what the ledger said last, a second ago at most; bursts are not looked at. Raises as `charge`."""
        if charges and not self._loaded:
            await self.refresh()
        return [_would(self._case(charge)) for charge in charges]

    async def refresh(self) -> None:
        """Put back what never went, read all budgets, tell what was noticed, top purses up. Raises LedgerUnavailable."""
        returned = await budgets.put_back(self._pool)
        self._verdicts.labels("returned").inc(sum(returned.values()))
        states = await budgets.of_all_apps(self._pool)
        books = await self._bound(states)
        noticed, self._noticed = self._noticed, {}
        self._held |= noticed.keys()
        await bursts.report(self._pool, [Burst(*key, stopped) for key, stopped in noticed.items()])
        self._held = await bursts.held(self._pool)
        async with self._lock:
            self._books = books
            self._adopt(states)
            self._loaded = True
            await self._take([ask for purse in self._purses.values() if (ask := _top_up(purse)) is not None])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Gives back what is unspent when left; what cannot be given back stays spent."""
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(TAKE_TIMEOUT_SECONDS):
                    await budgets.take(self._pool, [purse.ask(0) for purse in self._purses.values() if purse.debt])
                    unspent = [purse.unspent() for purse in self._purses.values()]
                    await budgets.give_back(self._pool, [slice_ for slice_ in unspent if slice_.segments])
            except (Unavailable, DomainError, TimeoutError) as away:
                log.warning("slices of SMS budgets could not be given back: %s", away)

    def _case(self, charge: SmsCharge) -> _Case:
        hint = read_hint(charge.hint)
        return _Case(charge, hint, self._books.get(charge.app_id, _NO_BUDGETS).matching(hint, charge.country))

    def _missing(self, cases: Sequence[_Case]) -> list[Ask]:
        """What the purses lack for these."""
        now = self._clock.monotonic()
        needed: dict[int, int] = {}
        for case in cases:
            if case.charge.delivery_id not in self._remembered:
                for budget in case.drawn:
                    needed[budget.budget_id] = needed.get(budget.budget_id, 0) + case.charge.segments
        asks: list[Ask] = []
        for budget_id, segments in needed.items():
            purse = self._purses[budget_id]
            if not purse.covers(segments, now) and not purse.knows_empty(now):
                asks.append(purse.ask(segments - purse.left))
        return asks

    async def _take(self, asks: Sequence[Ask]) -> None:
        """Slices into purses; without an answer they stay as they are, and a slice that was taken after all is spent."""
        if not asks or self._clock.monotonic() < self._ask_again_at:
            return
        try:
            async with asyncio.timeout(TAKE_TIMEOUT_SECONDS):
                given = await budgets.take(self._pool, asks)
        except (Unavailable, DomainError, TimeoutError) as away:
            log.warning("no slices of SMS budgets: %s", away)
            self._ask_again_at = self._clock.monotonic() + RETRY_SECONDS
            return
        now = self._clock.monotonic()
        for ask in asks:
            purse = self._purses.get(ask.budget_id)
            if purse is not None and ask.budget_id in given:
                purse.receive(ask, given[ask.budget_id], now)

    def _answer(self, case: _Case) -> CapAnswer:
        known = self._remembered.get(case.charge.delivery_id)
        if known is not None:
            return known
        answer, verdict = self._burst(case) or self._spend(case)
        self._verdicts.labels(verdict).inc(case.charge.segments)
        if answer.allowed and case.drawn:
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[case.charge.delivery_id] = answer
        return answer

    def _burst(self, case: _Case) -> tuple[CapAnswer, str] | None:
        """Whether the number's range is flooded. It holds back only what a budget covers: who set none is warned, since many
        numbers of one town look the same. Critical ones go on, unless a budget of theirs says that they stop."""
        charge = case.charge
        if case.hint is None:
            return None
        key = (charge.app_id, case.hint.bucket)
        noticed = self._watch.note(*key, charge.address_id, self._clock.monotonic())
        if not noticed and key not in self._held:
            return None
        stops = any(
            not state.budget.shadow and (state.budget.stops_critical or not charge.critical) for state in case.drawn
        )
        if noticed:
            if key not in self._noticed and key not in self._held:
                self._bursts.inc()
                log.warning("a burst of SMS to one range of numbers", extra={"app_id": charge.app_id})
            self._noticed[key] = self._noticed.get(key, 0) + stops
        return (CapAnswer(False, rule=BURST_RULE), "burst") if stops else None

    def _spend(self, case: _Case) -> tuple[CapAnswer, str]:
        """Charges every budget or, where one refuses, none."""
        now = self._clock.monotonic()
        segments = case.charge.segments
        verdict = "charged" if case.drawn else "unbounded"
        unchecked = False
        rules: list[str] = []
        owing: list[Purse] = []
        paying: list[Purse] = []
        for state in case.drawn:
            purse = self._purses[state.budget_id]
            if purse.covers(segments, now):
                paying.append(purse)
                continue
            empty = purse.knows_empty(now)
            # Not the digits: the rule stands beside a recipient.
            rule = f"sms budget {'prefix' if state.budget.prefix else state.budget.name}"
            if state.budget.shadow:
                verdict, rule = "shadow", f"{rule} (shadow)"
            elif case.charge.critical and not (empty and state.budget.stops_critical):
                verdict, rule = ("overdrawn", f"{rule} (overdrawn)") if empty else ("unchecked", f"{rule} (no slice)")
                unchecked = unchecked or not empty
            elif empty:
                return CapAnswer(False, rule=rule), "capped"
            else:
                return CapAnswer(False, rule=f"{rule} (no slice)"), "stopped"
            owing.append(purse)
            rules.append(rule)
        for purse in paying:
            purse.spend(segments)
        for purse in owing:
            purse.owe(segments)
        taken = tuple(Taken(purse.budget_id, purse.generation, segments) for purse in paying)
        return CapAnswer(True, unchecked, "; ".join(rules), taken=taken), verdict

    async def _bound(self, states: Sequence[SmsBudgetState]) -> dict[int, _Book]:
        by_country: dict[int, dict[str, SmsBudgetState]] = {}
        by_prefix: dict[int, dict[str, SmsBudgetState]] = {}
        for state in states:
            if not state.budget.prefix:
                by_country.setdefault(state.app_id, {})[state.budget.country] = state
                continue
            try:
                sealer = await self._keys.sealer(state.app_id)
            except (KeyError, Unsealable):  # nothing of an app without its keys can be planned either
                continue
            by_prefix.setdefault(state.app_id, {})[prefix_digest(sealer, state.budget.prefix)] = state
        return {
            app_id: _Book(by_country.get(app_id, {}), by_prefix.get(app_id, {}))
            for app_id in by_country.keys() | by_prefix.keys()
        }

    def _adopt(self, states: Sequence[SmsBudgetState]) -> None:
        """Purses and metrics as the ledger has the budgets."""
        self._purses = {
            state.budget_id: self._purses.get(state.budget_id) or Purse(state.budget_id) for state in states
        }
        shown: set[tuple[str, str]] = set()
        for state in states:
            self._purses[state.budget_id].learn(state)
            labels = (state.app, state.budget.name)
            shown.add(labels)
            self._used.labels(*labels).set(state.used)
            self._remaining.labels(*labels).set(state.remaining)
            self._near.labels(*labels).set(state.near_limit)
            if state.near_limit and self._warned.get(state.budget_id) != state.generation:
                self._warned[state.budget_id] = state.generation
                log.warning("an SMS budget is nearly used up", extra={"app": state.app, "budget": state.budget.name})
        for gone in self._shown - shown:
            for gauge in (self._used, self._remaining, self._near):
                gauge.remove(*gone)
        self._shown = shown
        self._warned = {id_: generation for id_, generation in self._warned.items() if id_ in self._purses}


def _would(case: _Case) -> CapAnswer:
    for state in case.drawn:
        budget = state.budget
        empty = state.remaining < case.charge.segments
        if empty and not budget.shadow and (budget.stops_critical or not case.charge.critical):
            return CapAnswer(False, rule=f"sms budget {'prefix' if budget.prefix else budget.name}")
    return CapAnswer(True)


def _top_up(purse: Purse) -> Ask | None:
    """What a purse asks for between batches: room for what comes next, or to tell its debt."""
    enough = HELD_REFRESHES * purse.spent_since_refresh
    purse.spent_since_refresh = 0
    if purse.left < enough and not purse.exhausted:
        return purse.ask(enough - purse.left)
    return purse.ask(0) if purse.debt else None
