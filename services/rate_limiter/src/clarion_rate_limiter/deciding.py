"""Decides by the shared limits, and by the local ones while those are away: nothing is held up by a lost Valkey."""

import logging
from collections.abc import Sequence

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_rate_limiter.breaker import Breaker
from clarion_rate_limiter.domain import Grant, Item
from clarion_rate_limiter.errors import SharedLimitsUnavailable
from clarion_rate_limiter.local import LocalLimits
from clarion_rate_limiter.ports import SharedLimits

log = logging.getLogger(__name__)


class Decider:
    """Answers every batch; says which grants were decided without the shared limits."""

    def __init__(self, shared: SharedLimits, local: LocalLimits, metrics: Metrics) -> None:
        self._shared = shared
        self._local = local
        self._breaker = Breaker()
        decisions = metrics.counter(names.LIMITER_DECISIONS)
        self._granted = decisions.labels("granted")
        self._refused = decisions.labels("refused")
        self._fallback = metrics.counter(names.LIMITER_FALLBACK)

    async def acquire(self, items: Sequence[Item]) -> list[Grant]:
        """Take; one grant for each item, in order."""
        grants = await self._decide(items, take=True)
        granted = sum(grant.allowed for grant in grants)
        self._granted.inc(granted)
        self._refused.inc(len(grants) - granted)
        return grants

    async def peek(self, items: Sequence[Item]) -> list[Grant]:
        """Look without taking."""
        return await self._decide(items, take=False)

    async def probe(self) -> None:
        """Ask an absent Valkey whether it is back; run every quarter of a second."""
        if not self._breaker.open:
            return
        try:
            await self._shared.ping()
        except SharedLimitsUnavailable:
            return
        self._breaker.succeeded()
        log.info("limits are shared again")

    async def _decide(self, items: Sequence[Item], *, take: bool) -> list[Grant]:
        if not self._breaker.open:
            try:
                grants = await self._shared.decide(items, take=take)
            except SharedLimitsUnavailable as away:
                self._breaker.failed()
                log.warning("limits are decided locally: %s", away)
            else:
                self._breaker.succeeded()
                return grants
        self._fallback.inc(len(items))
        return self._local.decide(items, take=take)
