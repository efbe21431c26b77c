"""Wires the tracker: the only module that names concrete adapters."""

import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

from clarion.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.settings import from_file, split_listen
from clarion_kit.telemetry import names
from clarion_kit.tls import TlsFiles
from clarion_ledger import db
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_tracker.adapters import smpp
from clarion_tracker.adapters.granian_server import GranianServer
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.opens import OpenQueue
from clarion_tracker.pages import Pages
from clarion_tracker.ports import HttpServer
from clarion_tracker.receipts import ReceiptJob
from clarion_tracker.rpc import TrackingRpc
from clarion_tracker.settings import Settings

log = logging.getLogger(__name__)

RECEIPTS_EVERY = timedelta(milliseconds=250)
OPENS_EVERY = timedelta(milliseconds=100)
PRUNE_EVERY = timedelta(minutes=1)


async def build(d: Daemon, s: Settings) -> None:
    """Apply receipts, serve pixels and statistics; ready while the database answers. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    ledger = Ledger(pool)
    inbound = InboundTable(pool, KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file)), [smpp.KIND])
    tracked = d.telemetry.metrics.counter(names.TRACKED)

    job = ReceiptJob(inbound, ledger, smpp.read, tracked)
    d.every("receipts", RECEIPTS_EVERY, partial(job.run, d.stopping.is_set))
    d.every("prune", PRUNE_EVERY, partial(job.prune, timedelta(days=s.inbound_days), d.stopping.is_set))

    if s.http_listen is not None:
        opens = await d.open(OpenQueue(ledger, tracked, size=s.open_queue))
        d.every("opens", OPENS_EVERY, opens.write)
        pages = Pages(_link_key(s.link_key_file), opens, tracked, d.stopping.is_set)
        server: HttpServer = GranianServer(
            *split_listen(s.http_listen), TlsFiles.in_dir(s.tls_dir) if s.tls_dir is not None else None
        )
        port = await d.open(server.serve(pages.answer))
        d.ready_when(http=server.ping)
        log.info("serving HTTP", extra={"port": port})

    d.ready_when(postgres=partial(db.ping, pool, "tracking.inbound"))
    d.serve(partial(add_TrackingServiceServicer_to_server, TrackingRpc(ledger, d.clock)))


def _link_key(path: Path | None) -> bytes | None:
    if path is None:
        log.warning("no link key: opens do not count")
        return None
    return from_file("CLARION_LINK_KEY_FILE", load_secret, path)
