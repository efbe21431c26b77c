"""Wires the tracker: the only module that names concrete adapters."""

import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

from prometheus_client import Counter

from clarion.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from clarion_channels.errortable import load as load_errors
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.rpc.client import connect
from clarion_kit.settings import from_file, split_listen
from clarion_kit.telemetry import names
from clarion_kit.tls import TlsFiles
from clarion_ledger import db, durable
from clarion_ledger.config import POLL, ConfigCache
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_tracker.activity_queue import ActivityQueue
from clarion_tracker.adapters import activity_table, bounce_mail, https_get, huawei, sendgrid, ses, smpp, twilio
from clarion_tracker.adapters.activity_table import ActivityTable
from clarion_tracker.adapters.configuration import Configuration
from clarion_tracker.adapters.console_ledger import ConsoleLedger
from clarion_tracker.adapters.counted_wishes import CountedWishes
from clarion_tracker.adapters.event_feed import EventFeed
from clarion_tracker.adapters.gateway import Gateway
from clarion_tracker.adapters.granian_server import GranianServer
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.names import Names
from clarion_tracker.adapters.preference import Preference
from clarion_tracker.adapters.quality_table import QualityTable
from clarion_tracker.adapters.rollup_table import RollupTable
from clarion_tracker.adapters.segments import SegmentTable
from clarion_tracker.adapters.smtp_listener import SmtpListener
from clarion_tracker.adapters.stats_table import StatsTable
from clarion_tracker.adapters.traced_receipts import TracedDeliveries
from clarion_tracker.adapters.webhook_http import Receivers
from clarion_tracker.adapters.webhook_table import WebhookTable
from clarion_tracker.app_event_groups import AppEventGroups
from clarion_tracker.app_events import AppEventDoor
from clarion_tracker.bounces import STORED_AS, BounceDoor
from clarion_tracker.callbacks import Callbacks, Source
from clarion_tracker.clicks import Clicks
from clarion_tracker.console.door import Console
from clarion_tracker.console.session import Sessions
from clarion_tracker.console.throttle import Throttle
from clarion_tracker.console.views import Views
from clarion_tracker.couriers import STEP, Counts, Couriers
from clarion_tracker.doors import Doors
from clarion_tracker.feed import Feed
from clarion_tracker.pages import Pages
from clarion_tracker.ports import HttpServer, Read
from clarion_tracker.preferences import Preferences
from clarion_tracker.receipts import ReceiptJob
from clarion_tracker.rolling import Roller
from clarion_tracker.rollup import roll
from clarion_tracker.rpc import TrackingRpc
from clarion_tracker.settings import Settings
from clarion_tracker.site import Site
from clarion_tracker.statistics import Kept
from clarion_tracker.stats_rpc import StatsRpc
from clarion_tracker.unsubscribe import Unsubscribing
from clarion_tracker.unsubscribe_mail import UnsubscribeMail
from clarion_tracker.watch_rpc import WatchRpc
from clarion_tracker.watching import Watching
from clarion_tracker.words import Words

log = logging.getLogger(__name__)

RECEIPTS_EVERY = timedelta(milliseconds=250)
ACTIVITY_EVERY = timedelta(milliseconds=100)
QUALITY_EVERY = timedelta(seconds=10)
FEED_EVERY = timedelta(milliseconds=200)
TESTS_EVERY = timedelta(milliseconds=500)
ROLL_EVERY = timedelta(seconds=1)
PRUNE_EVERY = timedelta(minutes=1)


async def build(d: Daemon, s: Settings) -> None:
    """Apply what came back, take callbacks and bounce mail, serve pixels, unsubscribing and statistics; ready while the
    database answers. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    ledger = Ledger(pool)
    deliveries = TracedDeliveries(ledger, pool, d.telemetry.tracing)
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    preference = Preference(await d.open(connect("preference", s, d.telemetry)))
    config = ConfigCache(pool, with_lanes=True)
    configuration = Configuration(config, keys)
    wishes = CountedWishes(preference, pool, config)
    tracked = d.telemetry.metrics.counter(names.TRACKED)
    link_key = _link_key(s.link_key_file)

    words = Words.load()
    readers: dict[str, Read] = {
        smpp.KIND: smpp.Reader(words, load_errors(smpp.RECEIPT_TABLE)),
        twilio.Source.stored_as: twilio.Reader(words, load_errors(twilio.Source.kind)),
        huawei.Source.stored_as: huawei.read,
        sendgrid.Source.stored_as: sendgrid.read,
        ses.Source.stored_as: ses.read,
        STORED_AS: bounce_mail.read,
        activity_table.STORED_AS: activity_table.read,
    }
    inbound = InboundTable(pool, keys, list(readers))
    job = ReceiptJob(inbound, deliveries, SegmentTable(pool), preference, readers, tracked)
    d.every("config", POLL, config.refresh)
    d.every("receipts", RECEIPTS_EVERY, partial(job.run, d.stopping.is_set))
    d.every("sender quality", QUALITY_EVERY, partial(roll, QualityTable(pool)))
    activities = ActivityTable(pool, keys)
    d.every("activity days", PRUNE_EVERY, partial(activities.keep, timedelta(days=s.activity_days)))
    d.every("prune", PRUNE_EVERY, partial(job.prune, timedelta(days=s.inbound_days), d.stopping.is_set))

    metrics = d.telemetry.metrics
    kept = Kept(timedelta(days=s.stats_hours_days), timedelta(days=s.stats_days))
    roller = Roller(RollupTable(pool), kept, metrics.counter(names.ROLLED), metrics.gauge(names.ROLLUP_LAG), d.clock)
    d.every("statistics", ROLL_EVERY, partial(roller.run, d.stopping.is_set))
    d.every("old statistics", PRUNE_EVERY, partial(roller.prune, d.stopping.is_set))

    if s.http_listen is not None:
        queue = await d.open(ActivityQueue(deliveries, activities, tracked, d.clock, size=s.open_queue))
        d.every("opens and clicks", ACTIVITY_EVERY, queue.write)
        sources: dict[str, Source] = {
            source.kind: source
            for source in (twilio.Source(), huawei.Source(), sendgrid.Source(), ses.Source(https_get.fetch))
        }
        site = Site(
            Pages(link_key, queue, tracked, d.stopping.is_set),
            Clicks(link_key, queue, tracked),
            AppEventDoor(link_key, AppEventGroups(activities), tracked),
            Callbacks(sources, configuration, inbound, tracked, d.clock),
            Unsubscribing(link_key, configuration, wishes, tracked),
            Preferences(link_key, configuration, preference, tracked, d.clock),
            console=await _console(d, s, pool, config, tracked, link_key),
        )
        server: HttpServer = GranianServer(*split_listen(s.http_listen), _tls(s))
        port = await d.open(server.serve(Doors(site.answer, d.telemetry.metrics).answer))
        d.ready_when(http=server.ping)
        log.info("serving HTTP", extra={"port": port})

    if s.bounce_listen is not None and link_key is not None:
        listener = SmtpListener(*split_listen(s.bounce_listen), s.bounce_hostname, _tls(s))
        by_mail = UnsubscribeMail(link_key, configuration, wishes, tracked)
        smtp_port = await d.open(listener.serve(BounceDoor(link_key, configuration, inbound, tracked, by_mail)))
        d.ready_when(smtp=listener.ping)
        log.info("taking mail", extra={"port": smtp_port})

    feed = Feed(EventFeed(pool, config), metrics.gauge(names.FEED_LOOKED))
    watch = WatchRpc(Watching(feed, metrics.gauge(names.FEED_STREAMS), d.stopping.is_set), configuration)
    receivers = await d.open(Receivers(private=s.webhook_private_hosts).open())
    hooks = WebhookTable(pool, keys)
    couriers = await d.open(Couriers(hooks, feed, receivers.knock, d.clock, Counts.of(metrics)).running())
    d.every("feed", FEED_EVERY, feed.poll)
    d.every("webhooks", STEP, couriers.step)
    d.every("webhook tests", TESTS_EVERY, couriers.test)

    d.ready_when(
        postgres=durable.Ready(pool, "ledger.template_key", production=s.production), configuration=configuration.ping
    )
    stats = StatsRpc(StatsTable(pool), Names(config), d.clock, kept)
    d.serve(partial(add_TrackingServiceServicer_to_server, TrackingRpc(stats, watch)))


async def _console(
    d: Daemon, s: Settings, pool: db.Pool, config: ConfigCache, tracked: Counter, link_key: bytes | None
) -> Console | None:
    if not s.console or link_key is None:
        return None
    return Console(
        Sessions(link_key, secure=s.tls_dir is not None),
        Gateway(await d.open(connect("gateway", s, d.telemetry)), d.clock),
        ConsoleLedger(pool, lambda: config.snapshot, d.clock),
        Views(s.trace_url or ""),
        Throttle(d.clock),
        tracked,
        d.clock,
    )


def _tls(s: Settings) -> TlsFiles | None:
    return TlsFiles.in_dir(s.tls_dir) if s.tls_dir is not None else None


def _link_key(path: Path | None) -> bytes | None:
    if path is None:
        log.warning("no link key: opens do not count, no link leads anywhere, nobody can unsubscribe")
        return None
    return from_file("CLARION_LINK_KEY_FILE", load_secret, path)
