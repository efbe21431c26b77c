"""The monitor's jobs: look, show, warn once when a limit is passed, and keep the incidents."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from clarion_kit.clock import Clock
from clarion_kit.errors import Unavailable
from clarion_monitor import accounts, causes, domain, stalls, webhooks
from clarion_monitor.domain import Kind, Limits, Reading, Standstills, Thresholds
from clarion_monitor.gauges import Gauges
from clarion_monitor.ports import Accounts, Bus, BusRefuses, Incidents, Ledger
from clarion_monitor.stalls import Stall, Stalls

log = logging.getLogger(__name__)

STALLED_AFTER = timedelta(seconds=15)


class Watch:
    """Each job raises Unavailable where its source is away, with its figures forgotten."""

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        provider_accounts: Accounts,
        incidents: Incidents,
        gauges: Gauges,
        limits: Limits,
        clock: Clock,
        *,
        failure_window: timedelta = timedelta(minutes=5),
        stalled_after: timedelta = STALLED_AFTER,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._accounts = provider_accounts
        self._incidents = incidents
        self._gauges = gauges
        self._limits = limits
        self._clock = clock
        self._failure_window = failure_window
        self._stalled_after = stalled_after
        self._stalls = Stalls(stalled_after)
        self._streams = causes.Streams()
        self._standstills = Standstills(limits.standstill)
        self._thresholds: dict[Kind | None, Thresholds] = {kind: Thresholds() for kind in (None, *Kind)}
        self._bus_away = False

    async def look_at_bus(self) -> None:
        try:
            look = await self._bus.look()
        except BusRefuses as refused:
            self._bus_away = False
            self._gauges.forget_queues()
            await self._settle(Kind.STREAM, [causes.refused_reading(str(refused))])
            raise
        except Unavailable:
            self._bus_away = True
            self._gauges.forget_queues()
            raise
        self._bus_away = False
        self._gauges.show_queues(look.queues)
        found = self._stalls.judge(look.consumers, self._clock.monotonic())
        for stall in found:
            await self._heal(stall)
        await self._settle(Kind.QUEUE_AGE, domain.queue_readings(look.queues, self._limits))
        await self._settle(Kind.CONSUMER, stalls.stall_readings(found, self._stalled_after))
        await self._settle(Kind.STREAM, self._streams.judge(look.streams, self._limits))

    async def look_at_backlog(self) -> None:
        try:
            backlog = domain.every_state(await self._ledger.backlog())
            by_app = await self._ledger.backlog_by_app()
            letters = domain.every_channel(await self._ledger.dead_letters())
        except Unavailable:
            self._gauges.forget_backlog()
            raise
        self._gauges.show_backlog(backlog, by_app, letters)
        self._warn(None, domain.dead_letter_readings(letters, self._limits))
        standing = self._standstills.judge(backlog, self._clock.monotonic())
        await self._settle(Kind.BACKLOG_AGE, domain.backlog_readings(backlog, self._limits, standing))
        outbox = domain.outbox_reading(backlog, self._limits, bus_away=self._bus_away)
        await self._settle(Kind.OUTBOX_AGE, [outbox])
        self._gauges.show_incidents(await self._incidents.open_by_kind())

    async def look_at_accounts(self) -> None:
        try:
            # Failures last: what shows in the answers also shows there, with its code.
            look = await self._accounts.look(self._failure_window)
            stops = await self._ledger.stops()
            failures = await self._ledger.failures(self._failure_window)
            off = await self._ledger.webhooks_off()
        except Unavailable:
            self._gauges.forget_accounts()
            raise
        self._gauges.show_accounts(look)
        # And first here: of one trouble of one account only the first is told.
        await self._settle(Kind.FAILURES, causes.failure_readings(failures, self._limits))
        stopped = causes.stop_readings(stops, self._limits)
        for kind in (Kind.LANE_STOPPED, Kind.BREAKER):
            await self._settle(kind, [reading for reading in stopped if reading.kind is kind])
        await self._settle(Kind.PROVIDER_ERRORS, accounts.error_readings(look.answers, self._limits))
        await self._settle(Kind.TOKEN_DEATHS, accounts.death_readings(look.answers, stops, self._limits))
        await self._settle(Kind.LANE_QUALITY, accounts.quality_readings(look.quality, self._limits))
        await self._settle(Kind.WEBHOOKS, webhooks.off_readings(off))

    async def audit(self) -> None:
        try:
            findings = await self._ledger.audit()
        except Unavailable:
            self._gauges.forget_audit()
            raise
        self._gauges.show_audit(findings)
        await self._settle(Kind.LEDGER, domain.audit_readings(findings))

    async def _heal(self, stall: Stall) -> None:
        log.warning("a consumer is healed", extra={"lane": stall.lane.name, "fault": stall.fault.value})
        await self._bus.heal(stall)
        self._gauges.count_healed(stall)

    async def _settle(self, kind: Kind, readings: Sequence[Reading]) -> None:
        """Everything of one kind, as it is now."""
        self._warn(kind, readings)
        await self._incidents.settle(kind, [reading for reading in readings if reading.passed])

    def _warn(self, kind: Kind | None, readings: Sequence[Reading]) -> None:
        for crossing in self._thresholds[kind].judge(readings):
            reading = crossing.reading
            details = {"subject": reading.subject, "value": reading.value, "limit": reading.limit}
            if crossing.passed:
                log.warning("a threshold is passed", extra=details)
            else:
                log.info("a threshold is no longer passed", extra=details)
