"""Wires the monitor: the only module that names concrete adapters."""

from datetime import timedelta
from functools import partial

from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_ledger import db
from clarion_monitor.adapters.bus import BusQueues
from clarion_monitor.adapters.ledger import LedgerView
from clarion_monitor.gauges import Gauges
from clarion_monitor.settings import Settings
from clarion_monitor.watch import Watch


async def build(d: Daemon, s: Settings) -> None:
    """Look at the bus and the ledger on their own clocks; ready while both answer. Serves nothing but health."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    ledger = LedgerView(pool)
    watch = Watch(BusQueues(bus, d.clock), ledger, Gauges(d.telemetry.metrics, d.clock), s.limits)

    d.every("bus", timedelta(seconds=s.look_seconds), watch.look_at_bus)
    d.every("backlog", timedelta(seconds=s.look_seconds), watch.look_at_backlog)
    window = timedelta(seconds=s.audit_window_seconds)
    d.every("audit", timedelta(seconds=s.audit_seconds), partial(watch.audit, window))

    d.ready_when(nats=bus.ping, postgres=partial(db.ping, pool, "tracking.inbound"))
    d.serve()
