"""How long a claimed delivery is ours, and what that leaves for a call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Claimed, extend

LEASE_MARGIN = timedelta(seconds=5)
"""What must be left of a lease after a call's timeout, for its outcome to be recorded."""
BEATS = 3
"""Heartbeats within one lease."""

LeaseKey = tuple[UUID, int]
"""What names a claim: a delivery given back may be claimed again while its first batch is still at work."""


def lease_key(claimed: Claimed) -> LeaseKey:
    return claimed.delivery_id, claimed.lease_gen


@dataclass(slots=True)
class _Held:
    claimed: Claimed
    until: float
    asked_at: float
    answered_at: float


@dataclass(slots=True)
class Leases:
    """The claims in hand. Times are monotonic, so that a stepped clock neither ends nor prolongs one."""

    length: timedelta
    _held: dict[LeaseKey, _Held] = field(default_factory=dict)

    @property
    def longest_timeout(self) -> timedelta:
        """A provider that may take longer gets no lane: its calls would hardly ever fit into their lease."""
        return self.length - 2 * LEASE_MARGIN

    def take(self, claims: Sequence[Claimed], since: float) -> None:
        """`since`: just before the claim was asked for."""
        now = time.monotonic()
        for claimed in claims:
            self._held[lease_key(claimed)] = _Held(claimed, since + self.length.total_seconds(), since, now)

    def drop(self, claimed: Claimed) -> None:
        self._held.pop(lease_key(claimed), None)

    def allows(self, claimed: Claimed, timeout: timedelta) -> bool:
        """Whether a call of `timeout` may begin now and still be recorded under its lease."""
        held = self._held.get(lease_key(claimed))
        if held is None:
            return False
        return held.until - time.monotonic() >= (timeout + LEASE_MARGIN).total_seconds()

    def age(self, claimed: Claimed) -> float:
        """Seconds since the claim of something in hand."""
        return time.monotonic() - self._held[lease_key(claimed)].asked_at

    def now(self, claimed: Claimed) -> datetime:
        """The database's time, as far as it can be told from here and never ahead of it: this machine's clock may be
        stepped."""
        return claimed.claimed_at + timedelta(seconds=time.monotonic() - self._held[lease_key(claimed)].answered_at)

    async def beat(self, pool: Pool) -> int:
        """Prolong what is in hand; gives how many are ours no more: no call begins for them, and what one gave writes
        nothing. Raises LedgerUnavailable."""
        began = time.monotonic()
        held = list(self._held.values())
        if not held:
            return 0
        kept = await extend(pool, [one.claimed for one in held], self.length)
        lost = 0
        for one in held:
            if lease_key(one.claimed) in kept:
                one.until = began + self.length.total_seconds()
            elif lease_key(one.claimed) in self._held:
                one.until = 0.0
                lost += 1
        return lost
