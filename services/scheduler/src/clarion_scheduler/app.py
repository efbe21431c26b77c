"""Composition of the scheduler."""

from datetime import timedelta
from functools import partial

from clarion.broadcast.v1.broadcast_service_pb2_grpc import add_BroadcastServiceServicer_to_server
from clarion.schedule.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.rpc import client
from clarion_kit.settings import from_file
from clarion_kit.subjects import Stream, all_lanes
from clarion_ledger import config, db, durable, runway
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_ledger.retention import Retention
from clarion_scheduler.firing import FIRE_EVERY, Firing
from clarion_scheduler.intake import Intake
from clarion_scheduler.jobs import Jobs
from clarion_scheduler.rpc.broadcasts import BroadcastRpc
from clarion_scheduler.rpc.schedules import ScheduleRpc
from clarion_scheduler.settings import Settings
from clarion_scheduler.templates import TemplateDirectory

TOPOLOGY_EVERY = timedelta(seconds=5)
PARTITIONS_EVERY = timedelta(minutes=10)
CANCELLED_EVERY = timedelta(seconds=0.5)


async def build(d: Daemon, s: Settings) -> None:
    """Open the ledger and the bus, start the jobs; ready while both answer."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    lanes = [lane for lane in all_lanes() if lane.stream is not Stream.RETRY]
    room = runway.Runway(pool, bus, lanes)
    jobs = Jobs(
        pool,
        bus,
        room,
        lanes,
        d.telemetry,
        retention=Retention(timedelta(days=s.keep_bodies_days), timedelta(days=s.keep_history_days)),
        lost_after=timedelta(seconds=s.lost_after_seconds),
    )
    cache = config.ConfigCache(pool, with_lanes=False)
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    templates = TemplateDirectory(await d.open(client.connect("template", s, d.telemetry)))
    intake = Intake(pool, cache, keys, templates)
    firing = Firing(pool, intake, d.telemetry)

    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.test_send", production=s.production))
    d.every("config", config.POLL, cache.refresh)
    d.every("topology", TOPOLOGY_EVERY, jobs.topology)
    d.every("runway", runway.REFRESH, room.refresh)
    d.every("pump", timedelta(seconds=s.poll_seconds), jobs.pump)
    d.every("due", timedelta(seconds=s.poll_seconds), jobs.due)
    d.every("reconcile", timedelta(seconds=s.reconcile_seconds), jobs.reconcile)
    d.every("partitions", PARTITIONS_EVERY, jobs.partitions)
    d.every("prune", PARTITIONS_EVERY, jobs.prune)
    d.every("broadcasts", CANCELLED_EVERY, jobs.broadcasts)
    d.every("recurring", FIRE_EVERY, firing.fire_due)
    d.serve(
        partial(add_BroadcastServiceServicer_to_server, BroadcastRpc(pool, cache, intake)),
        partial(add_ScheduleServiceServicer_to_server, ScheduleRpc(pool, cache, intake)),
    )
