"""Tells the sinks what is due."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_monitor.notices import Notice
from clarion_monitor.ports import Incidents, Sink, SinkFailed

log = logging.getLogger(__name__)


class Alerts:
    """Each sink is told on its own: one that fails holds up no other."""

    def __init__(self, incidents: Incidents, sinks: Sequence[Sink], runbook_url: str, metrics: Metrics) -> None:
        self._incidents = incidents
        self._sinks = {sink.name: sink for sink in sinks}
        self._runbook_url = runbook_url
        self._told = metrics.counter(names.ALERTS_TOLD)

    async def tell(self) -> None:
        """One round. Raises Unavailable: what was claimed comes again."""
        notices = await self._incidents.claim(self._sinks.keys())
        async with asyncio.TaskGroup() as group:
            for name in self._sinks:
                group.create_task(self._tell_all(name, [notice for notice in notices if notice.sink == name]))

    async def _tell_all(self, sink: str, notices: Sequence[Notice]) -> None:
        for notice in notices:
            try:
                await self._sinks[sink].tell(replace(notice, runbook=self._runbook(notice)))
            except SinkFailed as failed:
                log.warning("a sink failed", extra={"sink": sink, "incident": notice.key, "error": str(failed)})
                self._told.labels(sink, notice.status, "failed").inc()
                await self._incidents.put_off(notice)
            else:
                self._told.labels(sink, notice.status, "told").inc()
                await self._incidents.told(notice)

    def _runbook(self, notice: Notice) -> str:
        return f"{self._runbook_url}#{notice.kind}" if self._runbook_url else ""
