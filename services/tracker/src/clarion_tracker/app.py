"""Wires the tracker: the only module that names concrete adapters."""

import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

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
from clarion_tracker.adapters import bounce_mail, https_get, huawei, sendgrid, ses, smpp, twilio
from clarion_tracker.adapters.configuration import Configuration
from clarion_tracker.adapters.granian_server import GranianServer
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.preference import Preference
from clarion_tracker.adapters.quality_table import QualityTable
from clarion_tracker.adapters.segments import SegmentTable
from clarion_tracker.adapters.smtp_listener import SmtpListener
from clarion_tracker.bounces import STORED_AS, BounceDoor
from clarion_tracker.callbacks import Callbacks, Source
from clarion_tracker.opens import OpenQueue
from clarion_tracker.pages import Pages
from clarion_tracker.ports import HttpServer, Read
from clarion_tracker.preferences import Preferences
from clarion_tracker.receipts import ReceiptJob
from clarion_tracker.rollup import roll
from clarion_tracker.rpc import TrackingRpc
from clarion_tracker.settings import Settings
from clarion_tracker.site import Site
from clarion_tracker.unsubscribe import Unsubscribing
from clarion_tracker.unsubscribe_mail import UnsubscribeMail
from clarion_tracker.words import Words

log = logging.getLogger(__name__)

RECEIPTS_EVERY = timedelta(milliseconds=250)
OPENS_EVERY = timedelta(milliseconds=100)
ROLL_EVERY = timedelta(seconds=10)
PRUNE_EVERY = timedelta(minutes=1)


async def build(d: Daemon, s: Settings) -> None:
    """Apply what came back, take callbacks and bounce mail, serve pixels, unsubscribing and statistics; ready while the
    database answers. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    ledger = Ledger(pool)
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    preference = Preference(await d.open(connect("preference", s, d.telemetry)))
    config = ConfigCache(pool, with_lanes=True)
    configuration = Configuration(config, keys)
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
    }
    inbound = InboundTable(pool, keys, list(readers))
    job = ReceiptJob(inbound, ledger, SegmentTable(pool), preference, readers, tracked)
    d.every("config", POLL, config.refresh)
    d.every("receipts", RECEIPTS_EVERY, partial(job.run, d.stopping.is_set))
    d.every("sender quality", ROLL_EVERY, partial(roll, QualityTable(pool)))
    d.every("prune", PRUNE_EVERY, partial(job.prune, timedelta(days=s.inbound_days), d.stopping.is_set))

    if s.http_listen is not None:
        opens = await d.open(OpenQueue(ledger, tracked, size=s.open_queue))
        d.every("opens", OPENS_EVERY, opens.write)
        sources: dict[str, Source] = {
            source.kind: source
            for source in (twilio.Source(), huawei.Source(), sendgrid.Source(), ses.Source(https_get.fetch))
        }
        site = Site(
            Pages(link_key, opens, tracked, d.stopping.is_set),
            Callbacks(sources, configuration, inbound, tracked, d.clock),
            Unsubscribing(link_key, configuration, preference, tracked),
            Preferences(link_key, configuration, preference, tracked, d.clock),
        )
        server: HttpServer = GranianServer(*split_listen(s.http_listen), _tls(s))
        port = await d.open(server.serve(site.answer))
        d.ready_when(http=server.ping)
        log.info("serving HTTP", extra={"port": port})

    if s.bounce_listen is not None and link_key is not None:
        listener = SmtpListener(*split_listen(s.bounce_listen), s.bounce_hostname, _tls(s))
        by_mail = UnsubscribeMail(link_key, configuration, preference, tracked)
        smtp_port = await d.open(listener.serve(BounceDoor(link_key, configuration, inbound, tracked, by_mail)))
        d.ready_when(smtp=listener.ping)
        log.info("taking mail", extra={"port": smtp_port})

    d.ready_when(
        postgres=durable.Ready(pool, "ledger.lane_quality", production=s.production), configuration=configuration.ping
    )
    d.serve(partial(add_TrackingServiceServicer_to_server, TrackingRpc(ledger, d.clock)))


def _tls(s: Settings) -> TlsFiles | None:
    return TlsFiles.in_dir(s.tls_dir) if s.tls_dir is not None else None


def _link_key(path: Path | None) -> bytes | None:
    if path is None:
        log.warning("no link key: opens do not count, nobody can unsubscribe")
        return None
    return from_file("CLARION_LINK_KEY_FILE", load_secret, path)
