"""Wires the monitor: the only module that names concrete adapters."""

from datetime import timedelta

from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.settings import split_listen
from clarion_kit.subjects import Subjects
from clarion_ledger import db, durable
from clarion_monitor.adapters.accounts import AccountsView
from clarion_monitor.adapters.bus import BusView
from clarion_monitor.adapters.incidents import IncidentStore
from clarion_monitor.adapters.ledger import LedgerView
from clarion_monitor.adapters.mail import MailServer, MailSink
from clarion_monitor.adapters.webhook import WebhookSink
from clarion_monitor.alerts import Alerts
from clarion_monitor.gauges import Gauges
from clarion_monitor.ports import Sink
from clarion_monitor.settings import Settings, mail_addresses
from clarion_monitor.watch import Watch

TELL_EVERY = timedelta(seconds=2)
FORGET_EVERY = timedelta(hours=1)


async def build(d: Daemon, s: Settings) -> None:
    """Look at the bus and the ledger on their own clocks, tell the sinks; ready while both answer. Serves nothing but
    health."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    incidents = IncidentStore(
        pool,
        remind_every=timedelta(seconds=s.remind_seconds),
        recover_after=timedelta(seconds=s.recover_seconds),
    )
    watch = Watch(
        BusView(bus, Subjects(s.subject_prefix), d.clock),
        LedgerView(pool),
        AccountsView(pool),
        incidents,
        Gauges(d.telemetry.metrics, d.clock),
        s.limits,
        d.clock,
        failure_window=timedelta(seconds=s.failure_window_seconds),
    )
    alerts = Alerts(incidents, await _sinks(d, s), s.runbook_url, d.telemetry.metrics)

    d.every("bus", timedelta(seconds=s.look_seconds), watch.look_at_bus)
    d.every("backlog", timedelta(seconds=s.look_seconds), watch.look_at_backlog)
    d.every("accounts", timedelta(seconds=s.look_seconds), watch.look_at_accounts)
    d.every("audit", timedelta(seconds=s.audit_seconds), watch.audit)
    d.every("alerts", TELL_EVERY, alerts.tell)
    d.every("forget", FORGET_EVERY, incidents.forget)

    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.incident", production=s.production))
    d.serve()


async def _sinks(d: Daemon, s: Settings) -> list[Sink]:
    """Those that the settings name."""
    sinks: list[Sink] = []
    if s.alert_webhook_url is not None:
        secret = s.alert_webhook_secret.get_secret_value() if s.alert_webhook_secret else ""
        sinks.append(
            await d.open(WebhookSink.connect(s.alert_webhook_url.get_secret_value(), secret.encode(), d.clock))
        )
    if s.alert_mail_server is not None:
        host, port = split_listen(s.alert_mail_server)
        server = MailServer(
            host,
            port,
            s.alert_mail_tls,
            s.alert_mail_user,
            s.alert_mail_password.get_secret_value() if s.alert_mail_password else "",
            str(s.alert_mail_ca_file or ""),
        )
        sinks.append(MailSink(server, s.alert_mail_from, mail_addresses(s.alert_mail_to), d.clock))
    return sinks
