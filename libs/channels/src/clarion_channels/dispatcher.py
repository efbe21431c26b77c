"""How a dispatcher is put together; the five of them differ in their channel and their providers' needs."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from pydantic import Field, SecretStr

from clarion.internal.dispatch.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from clarion_channels.caps import LimiterCaps
from clarion_channels.engine import lease, stops
from clarion_channels.engine.admission import Collaborators
from clarion_channels.engine.dead import DeadAddresses
from clarion_channels.engine.dead_report import report_dead
from clarion_channels.engine.engine import DispatchEngine
from clarion_channels.engine.lanes import Lanes, provider_factories
from clarion_channels.engine.lease import Leases
from clarion_channels.engine.pacing import LimiterPacer
from clarion_channels.engine.policies import Policies
from clarion_channels.engine.rpc import DispatchRpc
from clarion_channels.engine.wishes import PreferenceWishes
from clarion_channels.port import ProviderFactory, Receipts
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.rpc import client
from clarion_kit.settings import Common, from_file
from clarion_kit.subjects import dispatch_lanes
from clarion_kit.telemetry import names
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger import config, db, durable
from clarion_ledger.config import LaneConfig
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing, load_wrapper

FLUSH_DEAD = timedelta(milliseconds=500)
SHOW_LANES = timedelta(seconds=1)
LANE_SHARE = 0.5
"""No lane holds more than this share of the capacity: a slow account leaves room for others."""


class DispatcherSettings(Common):
    """Settings of every dispatcher."""

    database_url: SecretStr = Field(description="postgresql:// URL with the dispatcher's role.")
    nats_url: SecretStr = Field(description="nats:// or tls:// URLs, comma separated.")
    kek_file: Path = Field(description="File with the key-encryption keys.")
    capacity: int = Field(2_000, ge=10, le=100_000, description="Deliveries held at once, from claim to record.")
    width: int = Field(2, ge=1, le=16, description="Pull loops per subject.")
    lease_seconds: float = Field(90.0, ge=15, le=600, description="How long a claim lasts without a heartbeat.")
    dead_settling_seconds: float = Field(
        15.0, ge=0, le=600, description="From a provider's word that an address is dead to disabling it."
    )
    retry_base_seconds: float | None = Field(None, gt=0, description="First backoff ceiling, instead of each kind's.")
    retry_cap_seconds: float | None = Field(None, gt=0, description="Largest backoff ceiling, instead of each kind's.")
    probe_after_seconds: float | None = Field(
        None, gt=0, description="First trial of a stopped account, instead of each kind's."
    )
    abandoned_seconds: float = Field(30.0, gt=0, description="Rest of a delivery whose sending broke off.")


class NoReceipts:
    """For channels whose providers answer on no connection of ours."""

    def __init__(self, lane: LaneConfig) -> None:
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise RuntimeError(f"{provider} brought lane {self._lane.lane_id} a receipt that nobody expects")


async def build_dispatcher(
    d: Daemon,
    s: DispatcherSettings,
    channel: Channel,
    *,
    factories: Callable[[Pool], Mapping[str, ProviderFactory]] | None = None,
    receipts: Callable[[Pool, KeyRing, LaneConfig], Receipts] | None = None,
) -> None:
    """Wire a dispatcher. `factories` replaces providers that need more than their settings."""
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    preference_peer = await d.open(client.connect("preference", s, d.telemetry))
    limiter_peer = await d.open(client.connect("rate_limiter", s, d.telemetry))
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    cache = config.ConfigCache(pool, with_lanes=True)
    leases = Leases(timedelta(seconds=s.lease_seconds))
    dead = DeadAddresses(partial(report_dead, preference_peer), timedelta(seconds=s.dead_settling_seconds))
    policies = Policies.load(
        retry_base=_seconds(s.retry_base_seconds),
        retry_cap=_seconds(s.retry_cap_seconds),
        probe_after=_seconds(s.probe_after_seconds),
    )
    lanes = await d.open(
        _closing(
            Lanes(
                channel,
                cache,
                keys,
                provider_factories(factories(pool) if factories else None),
                partial(receipts, pool, keys) if receipts else NoReceipts,
                policies,
                longest_timeout=leases.longest_timeout,
                most_open=max(1, int(s.capacity * LANE_SHARE)),
            )
        )
    )
    pacer = LimiterPacer(limiter_peer, d.telemetry.metrics.counter(names.PACING_LOCAL).labels(channel.slug))
    engine = await d.open(
        DispatchEngine(
            channel,
            pool,
            keys,
            cache,
            lanes,
            leases,
            Collaborators(PreferenceWishes(preference_peer, cache, channel), pacer, dead, LimiterCaps(limiter_peer)),
            d.telemetry,
            capacity=s.capacity,
            abandoned_rest=timedelta(seconds=s.abandoned_seconds),
        ).running()
    )
    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.test_send", production=s.production))
    d.every("config", config.POLL, cache.refresh)
    d.every("dead addresses", FLUSH_DEAD, dead.flush)
    d.every("lane gauges", SHOW_LANES, engine.show_lanes)
    d.every("stopped lanes", stops.POLL, engine.look_at_stops)
    d.every("heartbeat", leases.length / lease.BEATS, engine.heartbeat)
    for lane in dispatch_lanes(channel):
        width = s.width + 1 if lane.priority is Priority.URGENT else s.width
        d.consume(bus, lane, engine.handler(lane.priority), width=width)
    d.drain_with(engine.drain)
    d.serve(partial(add_DispatchServiceServicer_to_server, DispatchRpc(lanes)))


@asynccontextmanager
async def _closing(lanes: Lanes) -> AsyncIterator[Lanes]:
    try:
        yield lanes
    finally:
        await lanes.close()


def _seconds(given: float | None) -> timedelta | None:
    return None if given is None else timedelta(seconds=given)
