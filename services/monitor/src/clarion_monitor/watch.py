"""The monitor's jobs: look, show, warn once when a limit is passed."""

import logging
from datetime import timedelta

from clarion_kit.errors import Unavailable
from clarion_monitor import domain
from clarion_monitor.domain import Limits, Reading, Thresholds
from clarion_monitor.gauges import Gauges
from clarion_monitor.ports import Bus, Ledger

log = logging.getLogger(__name__)


class Watch:
    """Each job raises Unavailable where its source is away, with its figures forgotten."""

    def __init__(self, bus: Bus, ledger: Ledger, gauges: Gauges, limits: Limits) -> None:
        self._bus = bus
        self._ledger = ledger
        self._gauges = gauges
        self._limits = limits
        self._thresholds = Thresholds()

    async def look_at_bus(self) -> None:
        try:
            queues = await self._bus.queues()
        except Unavailable:
            self._gauges.forget_queues()
            raise
        self._gauges.show_queues(queues)
        self._judge(domain.queue_readings(queues, self._limits))

    async def look_at_backlog(self) -> None:
        try:
            backlog = domain.every_state(await self._ledger.backlog())
            letters = domain.every_channel(await self._ledger.dead_letters())
        except Unavailable:
            self._gauges.forget_backlog()
            raise
        self._gauges.show_backlog(backlog, letters)
        self._judge(domain.backlog_readings(backlog, self._limits))
        self._judge(domain.dead_letter_readings(letters, self._limits))

    async def audit(self, window: timedelta) -> None:
        try:
            findings = await self._ledger.audit(window)
        except Unavailable:
            self._gauges.forget_audit()
            raise
        self._gauges.show_audit(findings)
        self._judge(domain.audit_readings(findings))

    def _judge(self, readings: list[Reading]) -> None:
        for crossing in self._thresholds.judge(readings):
            reading = crossing.reading
            details = {"subject": reading.subject, "value": reading.value, "limit": reading.limit}
            if crossing.passed:
                log.warning("a threshold is passed", extra=details)
            else:
                log.info("a threshold is no longer passed", extra=details)
