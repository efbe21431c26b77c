"""Composition of the scheduler."""

from datetime import timedelta

from clarion.broadcast.v1 import broadcast_service_pb2
from clarion.schedule.v1 import schedule_service_pb2
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.rpc.unbuilt import Unbuilt
from clarion_kit.subjects import Stream, all_lanes
from clarion_ledger import db, durable, runway
from clarion_ledger.retention import Retention
from clarion_scheduler.jobs import Jobs
from clarion_scheduler.settings import Settings

TOPOLOGY_EVERY = timedelta(seconds=5)
PARTITIONS_EVERY = timedelta(minutes=10)


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

    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.lane_stop", production=s.production))
    d.every("topology", TOPOLOGY_EVERY, jobs.topology)
    d.every("runway", runway.REFRESH, room.refresh)
    d.every("pump", timedelta(seconds=s.poll_seconds), jobs.pump)
    d.every("due", timedelta(seconds=s.poll_seconds), jobs.due)
    d.every("reconcile", timedelta(seconds=s.reconcile_seconds), jobs.reconcile)
    d.every("partitions", PARTITIONS_EVERY, jobs.partitions)
    d.every("prune", PARTITIONS_EVERY, jobs.prune)
    d.serve(
        Unbuilt(
            broadcast_service_pb2.DESCRIPTOR.services_by_name["BroadcastService"],
            schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
        ).add_to
    )
