"""Wires the rate limiter."""

from datetime import timedelta
from functools import partial

from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import add_RateLimitServiceServicer_to_server
from clarion_kit.daemon import Daemon
from clarion_rate_limiter.adapters.valkey import ValkeyLimits
from clarion_rate_limiter.deciding import Decider
from clarion_rate_limiter.local import LocalLimits
from clarion_rate_limiter.rpc import RateLimitRpc
from clarion_rate_limiter.settings import Settings

PROBE_INTERVAL = timedelta(milliseconds=250)


async def build(d: Daemon, s: Settings) -> None:
    """Ready whether Valkey is there or not: limits fail open."""
    shared = await d.open(ValkeyLimits.connect(s.valkey_url.get_secret_value(), connections=s.valkey_connections))
    local = LocalLimits(lambda: int(d.clock.monotonic() * 1_000_000))
    decider = Decider(shared, local, d.telemetry.metrics)
    d.every("probe valkey", PROBE_INTERVAL, decider.probe)
    d.serve(partial(add_RateLimitServiceServicer_to_server, RateLimitRpc(decider)))
