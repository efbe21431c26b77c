"""Recurring schedules fire: each due fire time makes its notification or broadcast, and then the schedule moves on."""

import logging
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import Unsealable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_ledger import recurring
from clarion_ledger.db import Pool
from clarion_ledger.recurring import Fired, Recurring
from clarion_scheduler.intake import Intake

log = logging.getLogger(__name__)

_FINAL = frozenset({ErrorReason.CATEGORY_NOT_FOUND, ErrorReason.EVENT_ID_REUSED, ErrorReason.INVALID_FIELD})
"""What no repetition mends; anything else is tried again at the next look."""


class Firing:
    """The firings of one replica; others may make the same ones."""

    def __init__(self, pool: Pool, intake: Intake, telemetry: Telemetry) -> None:
        self._pool = pool
        self._intake = intake
        self._moved = telemetry.metrics.counter(names.SCHEDULER_MOVED)
        self._lateness = telemetry.metrics.histogram(names.SCHEDULER_LATENESS)

    async def fire_due(self) -> None:
        """Fire every schedule that is due. Raises LedgerUnavailable, STORAGE_FULL."""
        due, now = await recurring.due(self._pool)
        for one in due:
            outcome = await self._fire(one, now)
            if await recurring.fired(self._pool, one, outcome) and outcome.made and outcome.fire_at:
                self._moved.labels("recurring").inc()
                self._lateness.labels("recurring").observe(max(0.0, (now - outcome.fire_at).total_seconds()))

    async def _fire(self, one: Recurring, now: datetime) -> Fired:
        if one.next_at is None:
            raise ValueError("a schedule that has ended is never due")
        fire_at, missed = one.rule.due(one.next_at, now)
        following = one.rule.fires_after(max(now, fire_at or now), 1)
        next_at = following[0] if following else None
        if missed:
            log.warning("%d firings of a schedule were missed", missed, extra={"schedule_id": one.schedule_id})
        if fire_at is None:
            return Fired(None, None, "", missed, next_at)
        try:
            made = await self._intake.fire(one, fire_at)
        except DomainError as refused:
            if refused.reason not in _FINAL:
                raise
            error = refused.reason.name
        except (Unsealable, DecodeError, KeyError) as unreadable:
            error = type(unreadable).__name__.upper()
        else:
            return Fired(fire_at, made.made_id, "", missed, next_at, made.template)
        log.error("a schedule could not fire: %s", error, extra={"schedule_id": one.schedule_id})
        return Fired(fire_at, None, error, missed, next_at)


FIRE_EVERY = timedelta(seconds=0.5)
